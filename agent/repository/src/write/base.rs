//! What a session starts from: the rows of the newest snapshot of its volume and, after a session that died, the rows that it had
//! finished.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::{
    error::{Class, Error, Result},
    pack_set::PackSet,
    read::{meta::MetaReader, rows},
    table::{BlockRef, Extent, MetaRef, PackId, PackKind, StoredRow, order},
};

/// Meta packs that hold only a little of the table and are still referred to. More of them are gathered into a new pack, so that a table
/// is never spread over many objects.
const SMALL_PACKS_MAX: usize = 4;

/// Stored bytes of a table's blocks in one pack below which the pack counts as small: a quarter of a meta pack.
const SMALL_PACK_BYTES: u64 = 1 << 20;

/// Rows to compare a walk with, in path order.
#[derive(Debug)]
pub struct BaseRows {
    reader: MetaReader,
    /// The table of a dead session, if any, then that of the newest snapshot.
    tables: VecDeque<VecDeque<BlockRef>>,
    rows: std::vec::IntoIter<StoredRow>,
    /// Path of the last row of a table that has ended: rows of the next one count after it.
    passed: Option<Vec<u8>>,
    last: Option<Vec<u8>>,
}

impl BaseRows {
    pub(super) fn new(reader: MetaReader, tables: Vec<Vec<BlockRef>>) -> Self {
        let tables = tables.into_iter().map(VecDeque::from).collect();
        Self { reader, tables, rows: Vec::new().into_iter(), passed: None, last: None }
    }

    /// The next row. Blocks that are damaged are left out: what they describe is read from the volume again.
    pub async fn next(&mut self) -> Result<Option<StoredRow>> {
        loop {
            for row in self.rows.by_ref() {
                let after = |path: &Vec<u8>| order::compare(&row.row.path, path).is_gt();
                if self.passed.as_ref().is_none_or(after) {
                    self.last = Some(row.row.path.clone());
                    return Ok(Some(row));
                }
            }
            let Some(table) = self.tables.front_mut() else { return Ok(None) };
            let Some(block) = table.pop_front() else {
                self.tables.pop_front();
                self.passed = self.last.clone().or(self.passed.take());
                continue;
            };
            match rows::block(&mut self.reader, &block).await {
                Ok(rows) => self.rows = rows.into_iter(),
                Err(error) => leave_out(error)?,
            }
        }
    }

    /// The extents of a list of one of the rows; `None` where it is damaged.
    pub async fn list(&mut self, frame: &MetaRef) -> Result<Option<Vec<Extent>>> {
        match rows::list(&mut self.reader, frame).await {
            Ok(extents) => Ok(Some(extents)),
            Err(error) => leave_out(error).map(|()| None),
        }
    }
}

/// Goes on without what is damaged or gone; any other failure would meet the rest of the session too.
pub(super) fn leave_out(error: Error) -> Result<()> {
    match error.class() {
        Class::Corrupt | Class::Missing => {
            tracing::warn!(%error, "Left out a damaged part of the previous snapshot; its files are read again");
            Ok(())
        }
        Class::Transient | Class::Denied | Class::Invalid | Class::Bug => Err(error),
    }
}

/// The frames of these tables and their roots that a new table may refer to again, by the hash of their bytes.
pub(super) fn known_frames(
    tables: &[Vec<BlockRef>],
    roots: &[MetaRef],
    excluded: &PackSet,
) -> HashMap<[u8; 32], MetaRef> {
    let mut stored: BTreeMap<PackId, u64> = BTreeMap::new();
    let frames = || tables.iter().flatten().map(|b| b.frame);
    for frame in frames() {
        *stored.entry(frame.pack).or_default() += u64::from(frame.stored);
    }
    // The newest small packs stay: they are the ones that most blocks still agree with.
    let small = stored.iter().rev().filter(|(_, bytes)| **bytes < SMALL_PACK_BYTES).map(|(pack, _)| *pack);
    let gathered: Vec<PackId> = small.skip(SMALL_PACKS_MAX).collect();
    let kept = |frame: &MetaRef| !gathered.contains(&frame.pack) && !excluded.contains(frame.pack.of(PackKind::Meta));
    // A root agrees with that of a table that changed nowhere, and with no other.
    roots.iter().copied().chain(frames()).filter(kept).map(|frame| (frame.sha256, frame)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionId;

    #[test]
    fn a_table_spread_over_many_small_packs_is_gathered_and_a_condemned_pack_is_not_used() {
        let block = |n: u8, stored: u32| {
            let pack = PackId { session: SessionId::from_bytes([n; 16]), number: 0 };
            let frame = MetaRef { pack, offset: 0, stored, plain: 1, sha256: [n; 32] };
            BlockRef { first: vec![n], rows: 1, frame }
        };
        let mut table: Vec<BlockRef> = (1..=7).map(|n| block(n, 100)).collect();
        table.push(block(8, 2 << 20));
        let condemned = [(table[6].frame.pack.of(PackKind::Meta), 0)].into_iter().collect();
        let root = |table: &[BlockRef], n: usize, hash: u8| MetaRef { sha256: [hash; 32], ..table[n].frame };
        let roots = [root(&table, 7, 9), root(&table, 6, 10)];
        let mut kept: Vec<u8> = known_frames(&[table], &roots, &condemned).into_keys().map(|k| k[0]).collect();
        kept.sort_unstable();
        // 4 to 7 are the newest small ones, 7 is condemned, 8 is large; so is the pack of the root 9.
        assert_eq!(kept, [4, 5, 6, 8, 9]);
    }
}
