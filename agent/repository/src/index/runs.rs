//! The sorted entries of many deltas, in one unlinked file, and their merge in order: sixteen kilobytes of memory for each delta.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    blocks::{ENTRIES, ShardEntry},
    scratch::Scratch,
};
use crate::{
    error::{Error, Result},
    frame::FrameId,
};

/// Records of a run that are read at once: 16,000 bytes.
const READ_RECORDS: usize = 400;

/// Runs of sorted entries; the last one added is the newest.
#[derive(Debug)]
pub(super) struct Runs {
    scratch: Scratch,
    runs: Vec<Run>,
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
        Ok(Self { scratch: Scratch::new()?, runs: Vec::new(), heads: BinaryHeap::new(), entries: 0 })
    }

    /// All entries that were added.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// Adds a run.
    pub(super) fn add(&mut self, mut entries: Vec<ShardEntry>) -> Result<()> {
        entries.sort_by_key(|e| e.id);
        let at = self.scratch.len();
        for some in entries.chunks(READ_RECORDS) {
            let bytes: Vec<u8> = some.iter().flat_map(ShardEntry::encode).collect();
            self.scratch.append(&bytes)?;
        }
        self.entries += entries.len();
        self.runs.push(Run { at, left: entries.len(), buffer: Vec::new(), position: 0, head: None });
        Ok(())
    }

    /// Ends the adding: from here on [`Self::peek`] and [`Self::next`] give the entries in order.
    pub(super) fn start(&mut self) -> Result<()> {
        (0..self.runs.len()).try_for_each(|run| self.advance(run))
    }

    /// The id of the next entry.
    pub(super) fn peek(&self) -> Option<FrameId> {
        self.heads.peek().map(|Reverse((id, _))| *id)
    }

    /// The next entry; of equal ids the newest first.
    pub(super) fn next(&mut self) -> Result<Option<ShardEntry>> {
        let Some(Reverse((_, Reverse(run)))) = self.heads.pop() else { return Ok(None) };
        let entry = self.runs[run].head.take();
        self.advance(run)?;
        Ok(entry)
    }

    fn advance(&mut self, n: usize) -> Result<()> {
        let run = &mut self.runs[n];
        if run.position == run.buffer.len() {
            let records = run.left.min(READ_RECORDS);
            run.buffer.resize(records * ENTRIES.record, 0);
            run.buffer.shrink_to_fit();
            self.scratch.read(run.at, &mut run.buffer)?;
            run.at += run.buffer.len() as u64;
            (run.left, run.position) = (run.left - records, 0);
        }
        let Some(record) = run.buffer.get(run.position..run.position + ENTRIES.record) else { return Ok(()) };
        let entry = ShardEntry::decode(record).map_err(|_| Error::Bug("a scratch file gives other bytes"))?;
        run.position += ENTRIES.record;
        run.head = Some(entry);
        self.heads.push(Reverse((entry.id, Reverse(n))));
        Ok(())
    }
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
}
