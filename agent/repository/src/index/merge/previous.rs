//! The generation before, read from its beginning to its end: rows, then entries, one object at a time.
//! What is damaged or missing is left out, block by block.

use bytes::Bytes;

use super::{Merge, NO_ROW, draft::Draft};
use crate::{
    error::Result,
    index::{
        blocks::{ENTRIES, PACKS, Shape, ShardEntry, decode_row},
        description::Description,
    },
    layout::GenerationPart,
    store::{ErrorKind, Key, ObjectStore},
};

/// Hands over the rows of packs that may still be offered; gives the new number of each old row, or [`NO_ROW`].
pub(super) async fn rows(merge: &Merge<'_>, base: &Description, draft: &mut Draft<'_>) -> Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for (n, part) in (0..).zip(&base.packs) {
        let key = base.key(GenerationPart::Packs(n));
        let body = body(merge.store, &key).await?;
        for n in 0..PACKS.blocks(part.records) {
            let block = block(merge, PACKS, &key, part.records, n, &body);
            let records = (part.records - n * PACKS.per_block).min(PACKS.per_block);
            for i in 0..records {
                let record = block.get(i * PACKS.record..(i + 1) * PACKS.record);
                let row = record.and_then(|record| decode_row(record).ok());
                numbers.push(match row.filter(|(pack, _)| !merge.excluded.contains(*pack)) {
                    Some((pack, row)) => draft.row(pack, &row).await?,
                    None => NO_ROW,
                });
            }
        }
    }
    Ok(numbers)
}

/// The object; empty where it is missing.
async fn body(store: &dyn ObjectStore, key: &Key) -> Result<Bytes> {
    match store.get(key).await {
        Ok(body) => Ok(body),
        Err(error) if error.kind == ErrorKind::Missing => Ok(Bytes::new()),
        Err(error) => Err(error.into()),
    }
}

/// The records of a block; empty where it is damaged.
fn block(merge: &Merge<'_>, shape: Shape, key: &Key, records: usize, n: usize, body: &[u8]) -> Vec<u8> {
    let found = shape.range(records, n).and_then(|range| {
        let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        shape.open(key, n, body.get(range)?, merge.key)
    });
    found.unwrap_or_else(|| {
        tracing::warn!(%key, block = n, "Dropped a block of the index that is damaged");
        Vec::new()
    })
}

/// The entries of a generation in order, with the new numbers of their rows.
pub(super) struct Entries<'a> {
    merge: &'a Merge<'a>,
    base: Option<&'a Description>,
    rows: Vec<u32>,
    shard: usize,
    body: Bytes,
    block: usize,
    records: Vec<u8>,
    position: usize,
}

impl<'a> Entries<'a> {
    /// Those of `base`; none where there is none.
    pub(super) fn new(merge: &'a Merge<'a>, base: Option<&'a Description>, rows: Vec<u32>) -> Self {
        Self { merge, base, rows, shard: 0, body: Bytes::new(), block: 0, records: Vec::new(), position: 0 }
    }

    /// The next one whose pack may be offered.
    pub(super) async fn next(&mut self) -> Result<Option<ShardEntry>> {
        loop {
            while let Some(record) = self.records.get(self.position..self.position + ENTRIES.record) {
                self.position += ENTRIES.record;
                let Ok(entry) = ShardEntry::decode(record) else { continue };
                let row = usize::try_from(entry.row).ok().and_then(|row| self.rows.get(row));
                if let Some(row) = row.filter(|row| **row != NO_ROW) {
                    return Ok(Some(ShardEntry { row: *row, ..entry }));
                }
            }
            if !self.next_block().await? {
                return Ok(None);
            }
        }
    }

    async fn next_block(&mut self) -> Result<bool> {
        let Some((base, part)) = self.base.and_then(|base| Some((base, base.shards.get(self.shard)?))) else {
            return Ok(false);
        };
        (self.records, self.position) = (Vec::new(), 0);
        if self.block == ENTRIES.blocks(part.records) {
            (self.shard, self.block, self.body) = (self.shard + 1, 0, Bytes::new());
            return Ok(true);
        }
        let key = base.key(GenerationPart::Shard(u32::try_from(self.shard).unwrap_or(u32::MAX)));
        if self.block == 0 {
            self.body = body(self.merge.store, &key).await?;
        }
        self.records = block(self.merge, ENTRIES, &key, part.records, self.block, &self.body);
        self.block += 1;
        Ok(true)
    }
}
