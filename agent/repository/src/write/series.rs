//! One of a session's two series of packs: frames go in, full packs go to the store.

use bytes::Bytes;

use super::uploads::Uploads;
use crate::{
    error::{Error, Result},
    layout,
    pack::{PackBuilder, TocRow},
    pack_table::PackTable,
    seal::{self, Recipient},
    session::SessionId,
    table::{PackId, PackKind, PackRef},
};

/// Packs of one session and series: their numbers fit the index's 24 bits.
const PACKS_MAX: u32 = 1 << 24;

/// Packs of one session and kind, in order.
#[derive(Debug)]
pub(super) struct Series {
    session: SessionId,
    kind: PackKind,
    recipients: Vec<Recipient>,
    target: u32,
    uploads: Uploads,
    filling: Option<PackBuilder>,
    number: u32,
    rows: PackTable,
    stored: u64,
}

impl Series {
    pub(super) fn new(
        session: SessionId,
        kind: PackKind,
        recipients: Vec<Recipient>,
        target: u32,
        uploads: Uploads,
    ) -> Self {
        let rows = PackTable::default();
        Self { session, kind, recipients, target, uploads, filling: None, number: 0, rows, stored: 0 }
    }

    fn key_of_current(&self) -> PackRef {
        PackRef { session: self.session, kind: self.kind, number: self.number }
    }

    fn failed(&self, source: seal::Error) -> Error {
        Error::Seal { key: layout::pack(self.key_of_current()), source }
    }

    /// Appends a frame; gives the pack and the frame's offset in it. Stores the pack when it has reached its target.
    pub(super) fn add(&mut self, frame: &[u8], row: TocRow) -> Result<(PackId, u32)> {
        let mut filling = match self.filling.take() {
            Some(filling) => filling,
            None => PackBuilder::new(&self.recipients, self.target).map_err(|e| self.failed(e))?,
        };
        let offset = filling.add(frame, row).map_err(|e| self.failed(e))?;
        let pack = PackId { session: self.session, number: self.number };
        let full = filling.length() >= self.target;
        self.filling = Some(filling);
        if full {
            self.flush()?;
        }
        Ok((pack, offset))
    }

    /// Ends the pack that is being filled and begins to store it.
    pub(super) fn flush(&mut self) -> Result<()> {
        let Some(filling) = self.filling.take() else { return Ok(()) };
        let finished = filling.finish().map_err(|e| self.failed(e))?;
        let pack = self.key_of_current();
        self.rows.0.insert(pack, finished.row);
        self.stored += u64::from(finished.row.stored);
        self.number += 1;
        if self.number >= PACKS_MAX {
            return Err(Error::Bug("a session has more packs than their numbers can name"));
        }
        self.uploads.begin(layout::pack(pack), Bytes::from(finished.body))
    }

    /// The rows of the packs ended so far.
    pub(super) fn rows(&self) -> &PackTable {
        &self.rows
    }

    /// Bytes of the packs ended so far.
    pub(super) fn stored(&self) -> u64 {
        self.stored
    }

    /// Number of packs ended so far.
    pub(super) fn packs(&self) -> u32 {
        self.number
    }
}

/// Rows of the packs of each series from that number on.
pub(super) fn new_rows<const N: usize>(series: [(&Series, u32); N]) -> PackTable {
    let rows = series.into_iter().flat_map(|(s, from)| s.rows().0.iter().filter(move |(p, _)| p.number >= from));
    PackTable(rows.map(|(pack, row)| (*pack, *row)).collect())
}
