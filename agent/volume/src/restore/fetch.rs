//! Bytes of windows, fetched ahead of the threads that need them.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use trysail_repository::{
    Error, Result,
    frame::{self, Decompressor},
    layout,
    read::{Snapshot, packs::PackReader},
    table::{Extent, PackId, PackKind},
};

use super::plan::{Fetch, Wanted, fetches};

/// Ranges of packs that were fetched, in order; where one could not be, the reason.
#[derive(Debug, Default)]
pub(crate) struct Fetched(Vec<(Fetch, Result<Bytes>)>);

/// Ranges of one window that are fetched and decrypted at once.
const RANGES_AT_ONCE: usize = 4;

/// Fetches what these parts of frames are in.
pub(super) async fn fetch(reader: Arc<PackReader>, wanted: Vec<Wanted>) -> Fetched {
    let ranges = fetches(wanted.iter()).into_iter().map(|fetch| {
        let reader = reader.clone();
        async move {
            let answer = reader.range(fetch.pack, fetch.from..fetch.to).await;
            (fetch, answer)
        }
    });
    Fetched(stream::iter(ranges).buffered(RANGES_AT_ONCE).collect().await)
}

/// Refuses identities that open the file table but no content, before anything is made in the target.
pub(super) async fn can_open(snapshot: &mut Snapshot, reader: &PackReader) -> Result<()> {
    let Some(first) = snapshot.blocks().first().cloned() else { return Ok(()) };
    let rows = snapshot.rows(&first).await?;
    let Some(extent) = rows.iter().find_map(|stored| stored.row.member.first()) else { return Ok(()) };
    let frame = extent.offset..extent.offset.saturating_add(extent.stored);
    match reader.range(extent.pack, frame).await {
        Err(error @ Error::NoIdentity { .. }) => Err(error),
        // What is damaged is for the restore to find, with the paths that it costs.
        _ => Ok(()),
    }
}

impl Fetched {
    /// The decoded bytes of an extent. Files of one bundle come one after another, and their frame is decoded once.
    pub(super) fn decode<'a>(&self, extent: &Extent, decoder: &'a mut Decoder) -> Result<&'a [u8]> {
        let key = || layout::pack(extent.pack.of(PackKind::Data));
        let at = self.0.partition_point(|(f, _)| (f.pack, f.from) <= (extent.pack, extent.offset));
        let missing = || Error::Damaged { key: key(), what: format!("no frame at byte {}", extent.offset) };
        let (fetch, answer) = at.checked_sub(1).and_then(|at| self.0.get(at)).ok_or_else(missing)?;
        let bytes = answer.as_ref().map_err(Clone::clone)?;
        let from = (extent.offset - fetch.from) as usize;
        let frame = bytes.get(from..from.saturating_add(extent.stored as usize)).ok_or_else(missing)?;
        let plain = decoder.decode(extent, frame);
        let plain = plain.map_err(|source| Error::Frame { key: key(), offset: extent.offset, source })?;
        let skip = extent.skip as usize;
        plain.get(skip..skip.saturating_add(extent.take as usize)).ok_or_else(missing)
    }
}

/// Decodes frames, and keeps the last one decoded; one for each thread.
#[derive(Debug)]
pub(super) struct Decoder {
    decompressor: Decompressor,
    held: Option<(PackId, u32, u32)>,
}

impl Decoder {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { decompressor: Decompressor::new().map_err(Error::Compress)?, held: None })
    }

    /// The decoded bytes of the extent's frame, whose stored bytes are given.
    fn decode(&mut self, extent: &Extent, frame: &[u8]) -> Result<&[u8], frame::Error> {
        let wanted = Some((extent.pack, extent.offset, extent.plain));
        if self.held == wanted {
            return Ok(self.decompressor.last());
        }
        self.held = None;
        self.decompressor.decode(frame, extent.plain)?;
        self.held = wanted;
        Ok(self.decompressor.last())
    }
}

/// Decoded extents, one after another, each fetched on its own: for reading a file or a stream.
#[derive(Debug)]
pub struct ExtentReader {
    reader: Arc<PackReader>,
    decoder: Decoder,
}

impl ExtentReader {
    /// Reads from these packs.
    pub fn new(reader: Arc<PackReader>) -> Result<Self> {
        Ok(Self { reader, decoder: Decoder::new()? })
    }

    /// The decoded bytes of an extent; valid until the next call.
    pub async fn read(&mut self, extent: &Extent) -> Result<&[u8]> {
        let wanted = vec![Wanted { extent: *extent, at: 0 }];
        let fetched = fetch(self.reader.clone(), wanted).await;
        fetched.decode(extent, &mut self.decoder)
    }
}
