//! The archive of a backup, read from its bucket as often as it is needed and never held whole unless it is small or encrypted.

use std::io::{self, Cursor, Read};

use bytes::Bytes;
use tokio::runtime::Handle;
use trysail_api::download_request::DownloadTargetKind;
use trysail_repository::{
    seal::{self, Identity},
    store::{ErrorKind, Key, ObjectStore as _},
};

use crate::{
    Error, Result,
    bucket::{Place, layout},
};

/// Bytes that are fetched at once; an archive of no more is fetched once.
const WINDOW: u64 = 8 << 20;

/// Bytes by which an encrypted file is known.
const HEAD: u64 = 64;

/// An archive that can be read from its beginning, again and again.
#[derive(Debug)]
pub(super) struct Archive {
    place: Place,
    key: Key,
    size: u64,
    held: Option<Bytes>,
}

/// Whether an archive can be opened, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seal {
    /// By anybody.
    Open,
    /// With an identity.
    Encrypted,
}

impl Archive {
    /// Finds the archive of a backup; none where there is none.
    pub(super) async fn find(place: Place, backup: &str) -> Result<Option<Self>> {
        let name = layout::download(DownloadTargetKind::BackupContents, backup);
        let Some(key) = layout::key(&name) else { return Ok(None) };
        let page = place.store.list(&name, None).await.map_err(|error| place.error(error))?;
        let found = page.objects.into_iter().find(|object| object.key == key);
        Ok(found.map(|object| Self { place, key, size: object.size, held: None }))
    }

    /// Looks at its first bytes.
    pub(super) async fn seal(&self) -> Result<Seal> {
        if self.size == 0 {
            return Ok(Seal::Open);
        }
        let head = self.place.store.get_range(&self.key, 0..self.size.min(HEAD)).await;
        let head = head.map_err(|error| self.place.error(error))?;
        Ok(if seal::is_age(&head) { Seal::Encrypted } else { Seal::Open })
    }

    /// Makes it ready to be read. An encrypted one is opened in memory, and for one Restore.
    pub(super) async fn prepared(mut self, identity: Option<&Identity>) -> Result<Self> {
        if self.size > WINDOW && identity.is_none() {
            return Ok(self);
        }
        let body = self.place.store.get(&self.key).await.map_err(|error| self.place.error(error))?;
        let opened = match identity {
            Some(identity) => seal::decrypt(&body, identity).map_err(|error| self.damaged(&error))?,
            None => body,
        };
        self.held = Some(opened);
        Ok(self)
    }

    /// Its bytes from the beginning. They are fetched while they are read, so this belongs on a thread that may block.
    pub(super) fn reader(&self, runtime: &Handle) -> Box<dyn Read + Send + '_> {
        match &self.held {
            Some(held) => Box::new(Cursor::new(held.clone())),
            None => Box::new(Windows { archive: self, runtime: runtime.clone(), next: 0, window: Cursor::default() }),
        }
    }

    fn damaged(&self, reason: &dyn std::error::Error) -> Error {
        let (location, key) = (self.place.location.clone(), self.key.to_string());
        Error::Record { location, key, reason: reason.to_string() }
    }
}

/// An object of a bucket, window after window.
struct Windows<'a> {
    archive: &'a Archive,
    runtime: Handle,
    next: u64,
    window: Cursor<Bytes>,
}

impl Read for Windows<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.window.read(buffer)?;
        if count > 0 || buffer.is_empty() || self.next >= self.archive.size {
            return Ok(count);
        }
        let end = self.archive.size.min(self.next + WINDOW);
        let fetched = self.runtime.block_on(self.archive.place.store.get_range(&self.archive.key, self.next..end));
        self.window = Cursor::new(fetched.map_err(|error| match error.kind {
            ErrorKind::Corrupt | ErrorKind::Invalid => io::Error::new(io::ErrorKind::InvalidData, error),
            _ => io::Error::other(error),
        })?);
        self.next = end;
        self.window.read(buffer)
    }
}
