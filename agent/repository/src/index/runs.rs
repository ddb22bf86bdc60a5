//! The sorted entries of many deltas, in one unlinked file, and their merge in order: sixteen kilobytes of memory for each delta.
//!
//! Lengths of chunks tell what a file is to who knows it, so each piece of a run is sealed under a key that is in memory only.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    blocks::{ENTRIES, SEAL_BYTES, ShardEntry},
    scratch::Scratch,
};
use crate::{
    error::{Error, Result},
    frame::FrameId,
    keys::SealKey,
    seal,
};

const MAGIC: [u8; 8] = *b"TSIXRUN1";

/// Records of a piece of a run, which is read at once: 16,000 bytes.
const PIECE_RECORDS: usize = 400;

/// Runs of sorted entries; the last one added is the newest.
#[derive(Debug)]
pub(super) struct Runs {
    scratch: Scratch,
    key: SealKey,
    sorted: Vec<Run>,
    /// The next entry of each run that has one, by id and then by how new the run is.
    heads: BinaryHeap<Reverse<(FrameId, Reverse<usize>)>>,
    entries: usize,
}

#[derive(Debug)]
struct Run {
    at: u64,
    left: usize,
    buffer: Vec<u8>,
    position: usize,
    head: Option<ShardEntry>,
}

impl Runs {
    /// No runs.
    pub(super) fn new() -> Result<Self> {
        let key = SealKey::ephemeral().map_err(|e| Error::Random(e.to_string()))?;
        Ok(Self { scratch: Scratch::new()?, key, sorted: Vec::new(), heads: BinaryHeap::new(), entries: 0 })
    }

    /// All entries that were added.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// Adds a run.
    pub(super) fn add(&mut self, mut entries: Vec<ShardEntry>) -> Result<()> {
        entries.sort_by_key(|e| e.id);
        let at = self.scratch.len();
        for some in entries.chunks(PIECE_RECORDS) {
            let bytes: Vec<u8> = some.iter().flat_map(ShardEntry::encode).collect();
            let sealed = seal::seal(MAGIC, &place(self.scratch.len()), &bytes, &self.key);
            self.scratch.append(&sealed.map_err(|_| Error::Bug("a piece of a run is not sealed"))?)?;
        }
        self.entries += entries.len();
        self.sorted.push(Run { at, left: entries.len(), buffer: Vec::new(), position: 0, head: None });
        Ok(())
    }

    /// Ends the adding: from here on [`Self::peek`] and [`Self::next`] give the entries in order.
    pub(super) fn start(&mut self) -> Result<()> {
        (0..self.sorted.len()).try_for_each(|run| self.advance(run))
    }

    /// The id of the next entry.
    pub(super) fn peek(&self) -> Option<FrameId> {
        self.heads.peek().map(|Reverse((id, _))| *id)
    }

    /// The next entry; of equal ids the newest first.
    pub(super) fn next(&mut self) -> Result<Option<ShardEntry>> {
        let Some(Reverse((_, Reverse(run)))) = self.heads.pop() else { return Ok(None) };
        let entry = self.sorted[run].head.take();
        self.advance(run)?;
        Ok(entry)
    }

    fn advance(&mut self, n: usize) -> Result<()> {
        let run = &mut self.sorted[n];
        if run.position == run.buffer.len() {
            let records = run.left.min(PIECE_RECORDS);
            (run.buffer, run.position) = (piece(&self.scratch, &self.key, run.at, records)?, 0);
            run.at += (run.buffer.len() + SEAL_BYTES) as u64;
            run.left -= records;
        }
        let Some(record) = run.buffer.get(run.position..run.position + ENTRIES.record) else { return Ok(()) };
        let entry = ShardEntry::decode(record).map_err(|_| Error::Bug(OTHER_BYTES))?;
        run.position += ENTRIES.record;
        run.head = Some(entry);
        self.heads.push(Reverse((entry.id, Reverse(n))));
        Ok(())
    }
}

const OTHER_BYTES: &str = "a scratch file gives other bytes";

/// What the piece at an offset is bound to.
fn place(at: u64) -> String {
    at.to_string()
}

/// So many records of the piece at an offset; no bytes where there are none.
fn piece(scratch: &Scratch, key: &SealKey, at: u64, records: usize) -> Result<Vec<u8>> {
    if records == 0 {
        return Ok(Vec::new());
    }
    let mut sealed = vec![0; records * ENTRIES.record + SEAL_BYTES];
    scratch.read(at, &mut sealed)?;
    seal::unseal(MAGIC, &place(at), &sealed, key).map_err(|_| Error::Bug(OTHER_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_come_out_in_order_and_of_equal_ids_the_newest_first() {
        let entry = |id: u16, row| {
            let mut bytes = [0; 16];
            bytes[..2].copy_from_slice(&id.to_be_bytes());
            ShardEntry { id: FrameId(bytes), row, fields: [0, 1, 1, 0, 1] }
        };
        let mut runs = Runs::new().expect("room");
        for row in 0..3 {
            runs.add((0..1000).rev().filter(|id| id % (row + 1) == 0).map(|id| entry(id, row.into())).collect())
                .expect("room");
        }
        runs.start().expect("it reads");
        let mut all = Vec::new();
        while let Some(entry) = runs.next().expect("it reads") {
            all.push((entry.id, Reverse(entry.row)));
        }
        assert_eq!((all.len(), all.is_sorted()), (1000 + 500 + 334, true));
        assert_eq!((runs.peek(), runs.entries()), (None, all.len()));
    }

    #[test]
    fn no_id_lies_readable_in_the_scratch_file() {
        let id = *b"sixteen bytes id";
        let mut runs = Runs::new().expect("room");
        runs.add(vec![ShardEntry { id: FrameId(id), row: 7, fields: [0, 1, 1, 0, 1] }; 1000]).expect("room");
        let mut stored = vec![0; usize::try_from(runs.scratch.len()).expect("short")];
        runs.scratch.read(0, &mut stored).expect("it was written");
        assert_eq!(stored.len(), 1000 * ENTRIES.record + 3 * SEAL_BYTES);
        assert!(!stored.windows(id.len()).any(|bytes| bytes == id));
    }
}
