//! A merged generation as a session asks it: a Bloom filter and the first ids of blocks in memory, everything else where it is.
//!
//! Memory for ten million entries: 12.5 MB filter, 1.6 MB first ids, 4 MB blocks; twice the filter while it is opened.

use std::sync::Arc;

use super::{
    blocks::{ENTRIES, PACKS, ShardEntry, decode_row},
    bloom::Bloom,
    description::Description,
    pages::{Paged, Pages},
};
use crate::{
    error::{Error, Result},
    frame::FrameId,
    keys::SealKey,
    layout::GenerationPart,
    pack_table::PackRow,
    seal,
    store::ObjectStore,
    table::{Extent, PackKind, PackRef},
};

/// Magic of the sealed filter.
pub(super) const BLOOM_MAGIC: [u8; 8] = *b"TSIXBLM1";
/// Magic of the sealed first ids.
pub(super) const FIRSTS_MAGIC: [u8; 8] = *b"TSIXFST1";
/// Bytes of an id.
const ID_BYTES: usize = 16;
/// Rows in one object of rows: 3.8 MB.
pub(super) const ROWS_PER_OBJECT: usize = 50_000;

/// A generation that can be asked.
#[derive(Debug)]
pub(super) struct Generation {
    description: Description,
    bloom: Bloom,
    /// First ids of the blocks of all shards, sixteen bytes each.
    firsts: Vec<u8>,
    /// Number of the first block of each shard in [`Self::firsts`], and of the end.
    starts: Vec<usize>,
    pages: Pages,
}

/// The shard of so many in which an id lies: its leading bits.
pub(super) fn shard_of(id: FrameId, shards: usize) -> usize {
    let leading = u64::from(u32::from_be_bytes([id.0[0], id.0[1], id.0[2], id.0[3]]));
    usize::try_from((leading * shards as u64) >> 32).unwrap_or_default()
}

impl Generation {
    /// Reads what is kept in memory.
    ///
    /// # Errors
    /// Where that is missing or damaged: then this generation answers nothing.
    pub(super) async fn open(store: &Arc<dyn ObjectStore>, seal: &SealKey, description: Description) -> Result<Self> {
        let bloom = unsealed(&**store, seal, &description, GenerationPart::Bloom, BLOOM_MAGIC).await?;
        let bloom = Bloom::from_bytes(bloom);
        let firsts = unsealed(&**store, seal, &description, GenerationPart::Firsts, FIRSTS_MAGIC).await?;
        let mut starts = vec![0];
        starts.extend(description.shards.iter().scan(0, |end, shard| {
            *end += ENTRIES.blocks(shard.records);
            Some(*end)
        }));
        let whole = starts.last().is_some_and(|blocks| blocks * ID_BYTES == firsts.len());
        let Some(bloom) = bloom.filter(|_| whole) else {
            let key = description.key(GenerationPart::Firsts);
            return Err(Error::Damaged { key, what: "it does not fit its generation's description".to_owned() });
        };
        let pages = Pages::new(store.clone(), seal.clone(), paged(&description));
        Ok(Self { description, bloom, firsts, starts, pages })
    }

    /// What it is made of.
    pub(super) fn description(&self) -> &Description {
        &self.description
    }

    /// Where a frame of that id is, and what is known of the pack.
    pub(super) async fn find(&self, id: FrameId) -> Option<(Extent, PackRef, PackRow)> {
        if !self.bloom.may_contain(id) {
            return None;
        }
        let shard = shard_of(id, self.description.shards.len());
        let block = self.pages.block(shard, self.block(shard, id)?).await;
        let entry = find_entry(&block, id)?;
        let (pack, row) = self.row(usize::try_from(entry.row).ok()?).await?;
        (pack.kind == PackKind::Data).then(|| (entry.extent(pack), pack, row))
    }

    /// The block of the shard that has the id, if any has.
    fn block(&self, shard: usize, id: FrameId) -> Option<usize> {
        let (from, to) = (*self.starts.get(shard)?, *self.starts.get(shard + 1)?);
        let firsts = self.firsts.get(from * ID_BYTES..to * ID_BYTES)?;
        let (mut low, mut high) = (0, to - from);
        while low < high {
            let middle = usize::midpoint(low, high);
            if firsts.get(middle * ID_BYTES..(middle + 1) * ID_BYTES)? <= id.0.as_slice() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1)
    }

    async fn row(&self, n: usize) -> Option<(PackRef, PackRow)> {
        let (object, within) = (n / ROWS_PER_OBJECT, n % ROWS_PER_OBJECT);
        let block = self.pages.block(self.description.shards.len() + object, within / PACKS.per_block).await;
        let record = block.chunks_exact(PACKS.record).nth(within % PACKS.per_block)?;
        decode_row(record).ok()
    }
}

/// The entry of that id among the sorted records of a block.
fn find_entry(block: &[u8], id: FrameId) -> Option<ShardEntry> {
    let record = block.chunks_exact(ENTRIES.record).find(|record| record.starts_with(&id.0))?;
    ShardEntry::decode(record).ok()
}

/// The objects of blocks, shards first.
fn paged(description: &Description) -> Vec<Paged> {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let shards = description.shards.iter().enumerate().map(|(n, part)| {
        let key = description.key(GenerationPart::Shard(number(n)));
        Paged { key, shape: ENTRIES, records: part.records }
    });
    let packs = description.packs.iter().enumerate().map(|(n, part)| {
        let key = description.key(GenerationPart::Packs(number(n)));
        Paged { key, shape: PACKS, records: part.records }
    });
    shards.chain(packs).collect()
}

async fn unsealed(
    store: &dyn ObjectStore,
    seal: &SealKey,
    description: &Description,
    part: GenerationPart,
    magic: [u8; 8],
) -> Result<Vec<u8>> {
    let key = description.key(part);
    let object = store.get(&key).await?;
    seal::unseal(magic, key.as_str(), &object, seal).map_err(|source| Error::Seal { key, source })
}

#[cfg(test)]
impl Generation {
    /// Bytes that it holds in memory whatever is asked, and blocks that it has kept.
    pub(super) fn memory(&self) -> (usize, usize) {
        (self.bloom.bytes().len() + self.firsts.len() + self.starts.len() * size_of::<usize>(), self.pages.cached())
    }
}
