//! The archive of a backup, read from its bucket as often as it is needed and never held whole unless it is small or encrypted.
//! Where its inventory says what it must be, each pass over it is compared with that before what was read is used.

use std::io::{self, Cursor, Read};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use trysail_api::download_request::DownloadTargetKind;
use trysail_repository::{
    seal::{self, Identity},
    store::{Error as StoreError, ErrorKind, Key, ObjectStore as _},
};

use crate::{
    Error, Result,
    bucket::{Place, layout},
    inventory::{Expected, NotAsStored},
};

/// Bytes that are fetched at once; an archive of no more is fetched once.
const WINDOW: u64 = 8 << 20;

/// Bytes by which an encrypted file is known.
const HEAD: u64 = 64;

/// An archive that can be read from its beginning, again and again.
#[derive(Debug)]
pub(crate) struct Archive {
    place: Place,
    key: Key,
    size: u64,
    /// What its stored bytes must be.
    expected: Option<Expected>,
    held: Option<Bytes>,
}

/// Whether an archive can be opened, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seal {
    /// By anybody.
    Open,
    /// With an identity.
    Encrypted,
}

impl Archive {
    /// Finds the archive of a backup; none where there is none.
    ///
    /// # Errors
    /// [`Error::Record`] where its size is not what is expected, and those of the store.
    pub(crate) async fn find(place: Place, backup: &str, expected: Option<Expected>) -> Result<Option<Self>> {
        let name = layout::download(DownloadTargetKind::BackupContents, backup);
        let Some(key) = layout::key(&name) else { return Ok(None) };
        let page = place.store.list(&name, None).await.map_err(|error| place.error(error))?;
        let found = page.objects.into_iter().find(|object| object.key == key);
        let Some(object) = found else { return Ok(None) };
        let archive = Self { place, key, size: object.size, expected, held: None };
        archive.compare_size()?;
        Ok(Some(archive))
    }

    fn compare_size(&self) -> Result<()> {
        match self.expected {
            Some(expected) if expected.bytes != self.size => {
                Err(self.damaged(&NotAsStored { expected: expected.bytes, found: self.size }))
            }
            _ => Ok(()),
        }
    }

    /// Looks at its first bytes.
    pub(crate) async fn seal(&self) -> Result<Seal> {
        if self.size == 0 {
            return Ok(Seal::Open);
        }
        let head = self.place.store.get_range(&self.key, 0..self.size.min(HEAD)).await;
        let head = head.map_err(|error| self.place.error(error))?;
        Ok(if seal::is_age(&head) { Seal::Encrypted } else { Seal::Open })
    }

    /// Makes it ready to be read: a small or encrypted one is held in memory, for one Restore.
    ///
    /// # Errors
    /// [`Error::Record`] where it is not what is expected, and those of the store.
    pub(crate) async fn prepared(mut self, seal: Seal) -> Result<Self> {
        if self.size > WINDOW && seal == Seal::Open {
            return Ok(self);
        }
        let body = self.place.store.get(&self.key).await.map_err(|error| self.place.error(error))?;
        if let Some(expected) = self.expected {
            expected.compare(&body).map_err(|error| self.damaged(&error))?;
        }
        self.held = Some(body);
        Ok(self)
    }

    /// Opens one that is held and encrypted.
    ///
    /// # Errors
    /// The identity is not one of its recipients, or it is damaged.
    pub(crate) fn opened(mut self, identity: &Identity) -> Result<Self, seal::Error> {
        self.held = self.held.map(|held| seal::decrypt(&held, identity)).transpose()?;
        Ok(self)
    }

    /// Reads it from its beginning. It is fetched while it is read, so this belongs on a thread that may block.
    ///
    /// # Errors
    /// It is not what is expected; then what was read is worth nothing.
    pub(crate) fn pass<T>(&self, runtime: &Handle, read: impl FnOnce(&mut dyn Read) -> T) -> Result<T> {
        if let Some(held) = &self.held {
            return Ok(read(&mut Cursor::new(held.clone())));
        }
        let hash = self.expected.map(|_| Sha256::new());
        let mut windows = Windows { archive: self, runtime: runtime.clone(), next: 0, window: Cursor::default(), hash };
        let done = read(&mut windows);
        windows.end()?;
        Ok(done)
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
    /// Of all windows so far, where there is something to compare it with.
    hash: Option<Sha256>,
}

impl Windows<'_> {
    fn fetch(&mut self) -> Result<(), StoreError> {
        let end = self.archive.size.min(self.next + WINDOW);
        let fetched = self.runtime.block_on(self.archive.place.store.get_range(&self.archive.key, self.next..end))?;
        if let Some(hash) = &mut self.hash {
            hash.update(&fetched);
        }
        self.window = Cursor::new(fetched);
        self.next = end;
        Ok(())
    }

    /// Reads what is left and compares.
    fn end(mut self) -> Result<()> {
        let (Some(expected), true) = (self.archive.expected, self.hash.is_some()) else { return Ok(()) };
        while self.next < self.archive.size {
            self.fetch().map_err(|error| self.archive.place.error(error))?;
        }
        let found: Option<[u8; 32]> = self.hash.take().map(|hash| hash.finalize().into());
        if found == Some(expected.sha256) {
            return Ok(());
        }
        Err(self.archive.damaged(&NotAsStored { expected: expected.bytes, found: self.archive.size }))
    }
}

impl Read for Windows<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.window.read(buffer)?;
        if count > 0 || buffer.is_empty() || self.next >= self.archive.size {
            return Ok(count);
        }
        self.fetch().map_err(|error| match error.kind {
            ErrorKind::Corrupt | ErrorKind::Invalid => io::Error::new(io::ErrorKind::InvalidData, error),
            _ => io::Error::other(error),
        })?;
        self.window.read(buffer)
    }
}
