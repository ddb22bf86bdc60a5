//! A generation under construction: rows, then entries in order, then all that speaks of them, and its description last.

use bytes::Bytes;
use jiff::Timestamp;

use super::Merge;
use crate::{
    commit::Sha256Hex,
    config::FORMAT,
    error::{Error, Result},
    frame::sha256,
    index::{
        blocks::{Builder, ENTRIES, PACKS, ShardEntry, encode_row},
        bloom::Bloom,
        description::{Contained, Description, Part},
        generation::{BLOOM_MAGIC, FIRSTS_MAGIC, ROWS_PER_OBJECT, shard_of},
    },
    keys::SealKey,
    layout::{self, GenerationPart},
    pack_set::PackSet,
    pack_table::PackRow,
    seal,
    session::SessionId,
    store::{Key, ObjectStore},
    table::PackRef,
};

/// What is written so far.
pub(super) struct Draft<'a> {
    store: &'a dyn ObjectStore,
    key: &'a SealKey,
    id: SessionId,
    opened: Timestamp,
    offers: PackSet,
    rows: Option<Builder>,
    packs: Vec<Part>,
    bloom: Bloom,
    firsts: Vec<u8>,
    shard: Option<Builder>,
    shards: Vec<Part>,
    shard_count: usize,
}

impl<'a> Draft<'a> {
    /// A generation of that name, with nothing in it.
    pub(super) fn new(merge: &Merge<'a>, id: SessionId) -> Self {
        Self {
            store: merge.store,
            key: merge.key,
            id,
            opened: merge.opened,
            offers: PackSet::default(),
            rows: None,
            packs: Vec::new(),
            bloom: Bloom::for_entries(0),
            firsts: Vec::new(),
            shard: None,
            shards: Vec::new(),
            shard_count: 1,
        }
    }

    fn object(&self, part: GenerationPart) -> Key {
        layout::generation(self.id, part)
    }

    /// Adds a pack; gives the number by which entries name it.
    pub(super) async fn row(&mut self, pack: PackRef, row: &PackRow) -> Result<u32> {
        if self.rows.as_ref().is_some_and(|rows| rows.records() == ROWS_PER_OBJECT) {
            self.end_rows().await?;
        }
        let full = self.packs.len() * ROWS_PER_OBJECT;
        let key = self.object(GenerationPart::Packs(number(self.packs.len())?));
        let rows = self.rows.get_or_insert_with(|| Builder::new(PACKS, key, self.key));
        let n = number(full + rows.records())?;
        rows.push(&encode_row(pack, row))?;
        self.offers.add(pack, 0);
        Ok(n)
    }

    async fn end_rows(&mut self) -> Result<()> {
        if let Some(rows) = self.rows.take() {
            let part = self.store_part(rows).await?;
            self.packs.push(part);
        }
        Ok(())
    }

    /// Ends the rows. At most `entries` entries follow, in so many shards.
    pub(super) async fn begin_entries(&mut self, entries: usize, shards: usize) -> Result<()> {
        self.end_rows().await?;
        (self.bloom, self.shard_count) = (Bloom::for_entries(entries), shards);
        Ok(())
    }

    /// Adds the entry with the next greater id.
    pub(super) async fn entry(&mut self, entry: &ShardEntry) -> Result<()> {
        while self.shards.len() < shard_of(entry.id, self.shard_count) {
            self.end_shard().await?;
        }
        let key = self.object(GenerationPart::Shard(number(self.shards.len())?));
        let shard = self.shard.get_or_insert_with(|| Builder::new(ENTRIES, key, self.key));
        if shard.at_block_start() {
            self.firsts.extend_from_slice(&entry.id.0);
        }
        self.bloom.add(entry.id);
        shard.push(&entry.encode())
    }

    async fn end_shard(&mut self) -> Result<()> {
        let part = match self.shard.take() {
            Some(shard) => self.store_part(shard).await?,
            None => Part { records: 0, sha256: Sha256Hex(sha256(&[])) },
        };
        self.shards.push(part);
        Ok(())
    }

    async fn store_part(&self, builder: Builder) -> Result<Part> {
        let (key, body, records) = builder.finish()?;
        Ok(Part { records, sha256: self.put(&key, body).await? })
    }

    /// Stores the rest. The description is the last object: without it there is no generation.
    pub(super) async fn publish(mut self, deltas: Contained) -> Result<()> {
        while self.shards.len() < self.shard_count {
            self.end_shard().await?;
        }
        let offers = self.put(&self.object(GenerationPart::Offers), self.offers.encode()).await?;
        let firsts = self.sealed(GenerationPart::Firsts, FIRSTS_MAGIC, &self.firsts).await?;
        let bloom = self.sealed(GenerationPart::Bloom, BLOOM_MAGIC, self.bloom.bytes()).await?;
        let description = Description {
            format: FORMAT.to_owned(),
            generation: self.id,
            opened: self.opened,
            bloom,
            firsts,
            offers,
            packs: std::mem::take(&mut self.packs),
            shards: std::mem::take(&mut self.shards),
            deltas,
        };
        self.put(&self.object(GenerationPart::Description), description.seal(self.key)?).await.map(drop)
    }

    async fn sealed(&self, part: GenerationPart, magic: [u8; 8], plain: &[u8]) -> Result<Sha256Hex> {
        let key = self.object(part);
        let sealed = seal::seal(magic, key.as_str(), plain, self.key)
            .map_err(|source| Error::Seal { key: key.clone(), source })?;
        self.put(&key, sealed).await
    }

    /// Stores an object; gives its hash. The name is random: where it is taken, an attempt whose answer was lost has stored it.
    async fn put(&self, key: &Key, body: Vec<u8>) -> Result<Sha256Hex> {
        let hash = Sha256Hex(sha256(&body));
        self.store.create(key, Bytes::from(body)).await?;
        Ok(hash)
    }
}

fn number(n: usize) -> Result<u32> {
    u32::try_from(n).map_err(|_| Error::Bug("a generation has more than four billion rows"))
}
