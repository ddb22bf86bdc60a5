//! Objects of records in blocks that are sealed one by one, so that a ranged read of one block is enough. Source: `FORMAT.md` §10.

use std::ops::Range;

use crate::{
    error::{Error, Result},
    frame::FrameId,
    keys::SealKey,
    pack_table::{self, PackRow},
    seal,
    store::Key,
    table::{Extent, PackRef},
    wire::{Decoder, Encoder, Malformed},
};

/// What sealing adds to each block: magic, nonce and tag.
pub(super) const SEAL_BYTES: usize = 8 + 24 + 16;

/// How the records of an object lie in blocks. All blocks but the last are full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    magic: [u8; 8],
    /// Bytes of a record.
    pub(super) record: usize,
    /// Records of a block.
    pub(super) per_block: usize,
}

/// Entries of a shard: a block is 4,048 bytes, which no store reads slower than fewer.
pub(super) const ENTRIES: Shape = Shape { magic: *b"TSIXSHD1", record: 40, per_block: 100 };

/// Rows of packs: a block is 3,848 bytes.
pub(super) const PACKS: Shape = Shape { magic: *b"TSIXPKS1", record: 76, per_block: 50 };

impl Shape {
    /// Blocks that so many records take.
    pub(super) fn blocks(&self, records: usize) -> usize {
        records.div_ceil(self.per_block)
    }

    /// Where block n of an object of so many records lies; `None` where there is no such block.
    pub(super) fn range(&self, records: usize, n: usize) -> Option<Range<u64>> {
        let before = n.checked_mul(self.per_block)?;
        let here = records.checked_sub(before)?.min(self.per_block);
        let start = n as u64 * (self.per_block * self.record + SEAL_BYTES) as u64;
        (here > 0).then(|| start..start + (here * self.record + SEAL_BYTES) as u64)
    }

    /// Block n of the object at `key`; `None` where it is not what was sealed as that block.
    pub(super) fn open(&self, key: &Key, n: usize, sealed: &[u8], seal: &SealKey) -> Option<Vec<u8>> {
        let plain = seal::unseal(self.magic, &name(key, n), sealed, seal).ok()?;
        plain.len().is_multiple_of(self.record).then_some(plain)
    }
}

/// What a block is bound to; `#` is in no key.
fn name(key: &Key, n: usize) -> String {
    format!("{key}#{n}")
}

/// An object under construction.
#[derive(Debug)]
pub(super) struct Builder {
    shape: Shape,
    key: Key,
    seal: SealKey,
    block: Vec<u8>,
    blocks: usize,
    body: Vec<u8>,
}

impl Builder {
    /// An object without records.
    pub(super) fn new(shape: Shape, key: Key, seal: &SealKey) -> Self {
        let block = Vec::with_capacity(shape.per_block * shape.record);
        Self { shape, key, seal: seal.clone(), block, blocks: 0, body: Vec::new() }
    }

    /// Records so far.
    pub(super) fn records(&self) -> usize {
        self.blocks * self.shape.per_block + self.block.len() / self.shape.record
    }

    /// Whether the next record begins a block.
    pub(super) fn at_block_start(&self) -> bool {
        self.block.is_empty()
    }

    /// Adds a record.
    pub(super) fn push(&mut self, record: &[u8]) -> Result<()> {
        self.block.extend_from_slice(record);
        if self.block.len() < self.shape.per_block * self.shape.record { Ok(()) } else { self.end_block() }
    }

    fn end_block(&mut self) -> Result<()> {
        let sealed = seal::seal(self.shape.magic, &name(&self.key, self.blocks), &self.block, &self.seal);
        self.body.extend_from_slice(&sealed.map_err(|source| Error::Seal { key: self.key.clone(), source })?);
        self.block.clear();
        self.blocks += 1;
        Ok(())
    }

    /// The object's key, bytes and number of records.
    pub(super) fn finish(mut self) -> Result<(Key, Vec<u8>, usize)> {
        let records = self.records();
        if !self.block.is_empty() {
            self.end_block()?;
        }
        Ok((self.key, self.body, records))
    }
}

/// An entry as a shard has it: its pack is the number of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShardEntry {
    pub(super) id: FrameId,
    pub(super) row: u32,
    /// Offset, stored, plain, skip and take of the extent.
    pub(super) fields: [u32; 5],
}

impl ShardEntry {
    /// The entry of a frame in the pack of that row.
    pub(super) fn new(id: FrameId, row: u32, extent: &Extent) -> Self {
        let Extent { offset, stored, plain, skip, take, .. } = *extent;
        Self { id, row, fields: [offset, stored, plain, skip, take] }
    }

    /// Its record.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut e = Encoder(Vec::with_capacity(ENTRIES.record));
        e.raw(&self.id.0);
        e.u32(self.row);
        self.fields.iter().for_each(|field| e.u24(*field));
        e.raw(&[0; 5]);
        e.0
    }

    /// The entry in a record.
    pub(super) fn decode(record: &[u8]) -> Result<Self, Malformed> {
        let mut d = Decoder::new(record);
        let (id, row) = (FrameId(d.array("an id")?), d.u32("a row")?);
        let mut fields = [0; 5];
        for field in &mut fields {
            *field = d.u24("an extent")?;
        }
        let [_, _, plain, skip, take] = fields;
        let fits = skip.checked_add(take).is_some_and(|end| end <= plain);
        let reserved = d.array::<5>("the reserved field")?;
        d.finish()?;
        if fits && reserved == [0; 5] { Ok(Self { id, row, fields }) } else { Err(Malformed::Field("an entry")) }
    }

    /// The extent, in that pack.
    pub(super) fn extent(&self, pack: PackRef) -> Extent {
        let [offset, stored, plain, skip, take] = self.fields;
        let pack = crate::table::PackId { session: pack.session, number: pack.number };
        Extent { pack, offset, stored, plain, skip, take }
    }
}

/// The record of a pack's row.
pub(super) fn encode_row(pack: PackRef, row: &PackRow) -> Vec<u8> {
    let mut e = Encoder(Vec::with_capacity(PACKS.record));
    pack_table::encode_row(&mut e, pack, row);
    e.0
}

/// The row in a record.
pub(super) fn decode_row(record: &[u8]) -> Result<(PackRef, PackRow), Malformed> {
    let mut d = Decoder::new(record);
    let row = pack_table::decode_row(&mut d)?;
    d.finish()?;
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{layout, session::SessionId};

    #[test]
    fn an_entry_lies_as_the_format_text_says() {
        let entry = ShardEntry { id: FrameId([2; 16]), row: 258, fields: [65_536, 3, 9, 4, 5] };
        let text = "02010000 000001 030000 090000 040000 050000 0000000000".replace(' ', "");
        assert_eq!(hex::encode(entry.encode()), "02".repeat(16) + &text);
        assert_eq!(ShardEntry::decode(&entry.encode()), Ok(entry));
    }

    #[test]
    fn each_block_opens_alone_at_its_place_and_under_its_own_number_only() {
        let key = layout::generation(SessionId::from_bytes([4; 16]), layout::GenerationPart::Shard(0));
        let seal = SealKey(zeroize::Zeroizing::new([6; 32]));
        let record = |n: u8| ShardEntry { id: FrameId([n; 16]), row: n.into(), fields: [1, 2, 9, 4, 5] };
        let mut builder = Builder::new(ENTRIES, key.clone(), &seal);
        for n in 0..150 {
            builder.push(&record(n).encode()).expect("seals");
        }
        let (_, body, records) = builder.finish().expect("seals");
        assert_eq!((records, ENTRIES.blocks(records), body.len()), (150, 2, 4048 + 2048));
        assert_eq!(ENTRIES.range(150, 2), None);
        let block = |n: usize| {
            let range = ENTRIES.range(150, n).expect("there is one");
            &body[usize::try_from(range.start).expect("short")..usize::try_from(range.end).expect("short")]
        };
        let plain = ENTRIES.open(&key, 1, block(1), &seal).expect("it was sealed so");
        let entries: Vec<_> = plain.chunks(ENTRIES.record).map(ShardEntry::decode).collect();
        assert_eq!(entries, (100..150).map(|n| Ok(record(n))).collect::<Vec<_>>());
        assert_eq!((ENTRIES.open(&key, 0, block(1), &seal), PACKS.open(&key, 1, block(1), &seal)), (None, None));
    }

    #[test]
    fn every_flipped_bit_of_a_block_is_detected() {
        let key = layout::generation(SessionId::from_bytes([4; 16]), layout::GenerationPart::Shard(0));
        let seal = SealKey(zeroize::Zeroizing::new([6; 32]));
        let mut builder = Builder::new(ENTRIES, key.clone(), &seal);
        builder.push(&ShardEntry { id: FrameId([1; 16]), row: 1, fields: [1, 2, 9, 4, 5] }.encode()).expect("seals");
        let (_, body, _) = builder.finish().expect("seals");
        for bit in 0..body.len() * 8 {
            let mut damaged = body.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ENTRIES.open(&key, 0, &damaged, &seal), None, "bit {bit}");
        }
    }
}
