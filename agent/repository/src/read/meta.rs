//! Frames of meta packs: fetched a pack at a time, because these packs are small and their frames are read in order.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    error::{Error, Result},
    frame::{Decompressor, sha256},
    layout,
    repository::Repository,
    seal::Identity,
    table::{MetaRef, PackId, PackKind},
};

/// Plain bytes of meta packs that are held in memory: five packs of 4 MiB, or many small ones, over which tables of several snapshots are
/// spread (see `write::base`).
const HELD_BYTES_MAX: usize = 20 << 20;

/// Reads frames of meta packs with one identity.
#[derive(Debug)]
pub struct MetaReader {
    repository: Repository,
    identity: Identity,
    /// The pack that was used last comes last.
    held: VecDeque<(PackId, Bytes)>,
    held_bytes: usize,
    held_bytes_max: usize,
    decompress: Decompressor,
}

impl MetaReader {
    /// A reader that opens packs with that identity (a recipient's, or the volume's state key).
    pub fn new(repository: Repository, identity: Identity) -> Result<Self> {
        let decompress = Decompressor::new().map_err(Error::Compress)?;
        let held_bytes_max = HELD_BYTES_MAX;
        Ok(Self { repository, identity, held: VecDeque::new(), held_bytes: 0, held_bytes_max, decompress })
    }

    /// Sets how many plain bytes of packs it holds; one pack it holds in any case.
    #[must_use]
    pub fn holding(self, held_bytes_max: usize) -> Self {
        Self { held_bytes_max, ..self }
    }

    /// The decoded bytes of a frame, compared with its hash.
    pub async fn frame(&mut self, frame: &MetaRef) -> Result<Vec<u8>> {
        let pack = self.pack(frame.pack).await?;
        let key = || layout::pack(frame.pack.of(PackKind::Meta));
        let range = frame.offset as usize..(frame.offset as usize).saturating_add(frame.stored as usize);
        let stored = pack.get(range).ok_or_else(|| Error::Damaged {
            key: key(),
            what: format!("it ends before the frame at byte {}", frame.offset),
        })?;
        let decoded = self.decompress.decode(stored, frame.plain);
        let plain = decoded.map_err(|source| Error::Frame { key: key(), offset: frame.offset, source })?;
        if sha256(plain) == frame.sha256 {
            Ok(plain.to_vec())
        } else {
            Err(Error::Damaged { key: key(), what: format!("the frame at byte {} has another hash", frame.offset) })
        }
    }

    /// A whole plain pack.
    async fn pack(&mut self, pack: PackId) -> Result<Bytes> {
        if let Some(at) = self.held.iter().position(|(held, _)| *held == pack) {
            if let Some(entry) = self.held.remove(at) {
                self.held.push_back(entry);
            }
        } else {
            let key = layout::pack(pack.of(PackKind::Meta));
            let object = self.repository.store().get(&key).await?;
            let plain = self.repository.open_object(&key, &object, &self.identity)?;
            self.held_bytes += plain.len();
            while self.held_bytes > self.held_bytes_max
                && let Some((_, oldest)) = self.held.pop_front()
            {
                self.held_bytes -= oldest.len();
            }
            self.held.push_back((pack, plain));
        }
        self.held.back().map(|(_, plain)| plain.clone()).ok_or(Error::Bug("a meta pack that was just read is not held"))
    }
}
