//! Partial tables: what a session that dies leaves for the next one. Source: `FORMAT.md` §10.

use crate::{
    keys::SealKey,
    pack_set::PackSet,
    pack_table::{self, PackTable},
    seal,
    store::Key,
    table::{BlockRef, block, decode},
    wire::{Decoder, Encoder, Malformed},
};

const MAGIC: [u8; 8] = *b"TSPART01";

/// What was finished since the part before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Part {
    pub(super) packs: PackTable,
    pub(super) blocks: Vec<BlockRef>,
}

/// What the parts of a session have told so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Number of parts.
    pub(super) parts: u32,
    /// Number of blocks.
    pub(super) blocks: usize,
    /// Number of data packs of the session.
    pub(super) data: u32,
    /// Number of meta packs of the session.
    pub(super) meta: u32,
    /// Packs of other sessions. Who takes over from this one finds their rows nowhere else where those sessions died too.
    pub(super) others: PackSet,
}

impl Part {
    pub(super) fn seal(&self, key: &Key, part: &SealKey) -> Result<Vec<u8>, seal::Error> {
        let mut e = Encoder::default();
        e.u32(u32::try_from(self.packs.0.len()).unwrap_or(u32::MAX));
        for (pack, row) in &self.packs.0 {
            pack_table::encode_row(&mut e, *pack, row);
        }
        for root in block::roots(&self.blocks) {
            e.bytes(&root);
        }
        seal::seal(MAGIC, key.as_str(), &e.0, part)
    }

    pub(super) fn open(key: &Key, object: &[u8], part: &SealKey) -> Result<Self, String> {
        let plain = seal::unseal(MAGIC, key.as_str(), object, part).map_err(|e| e.to_string())?;
        Self::decode(&plain).map_err(|e| e.to_string())
    }

    fn decode(plain: &[u8]) -> Result<Self, Malformed> {
        let mut d = Decoder::new(plain);
        let mut part = Self::default();
        for _ in 0..d.u32("the number of packs")? {
            let (pack, row) = pack_table::decode_row(&mut d)?;
            part.packs.0.insert(pack, row);
        }
        while d.remaining() > 0 {
            part.blocks.extend(decode::root(d.bytes(usize::MAX, "a root")?)?);
        }
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        keys::Keys,
        layout::{self, Beside, SnapshotId, VolumeName},
        pack_table::PackRow,
        session::SessionId,
        table::{MetaRef, PackId, PackKind},
    };

    #[test]
    fn a_part_opens_to_what_was_sealed() {
        let volume = VolumeName::new("v").expect("a name");
        let session = SessionId::from_bytes([1; 16]);
        let seal = Keys::from_parts([1; 32], [2; 32]).for_volume(&volume).part;
        let key = layout::beside(&SnapshotId { volume, session }, Beside::Part(0));
        let pack = PackId { session, number: 0 };
        let row = PackRow { stored: 1, plain: 1, frames: 1, decoded: 1, sha256: [0; 32] };
        let frame = MetaRef { pack, offset: 0, stored: 1, plain: 1, sha256: [3; 32] };
        let part = Part {
            packs: PackTable([(pack.of(PackKind::Meta), row)].into()),
            blocks: vec![BlockRef { first: Vec::new(), rows: 9, frame }],
        };
        let object = part.seal(&key, &seal).expect("seals");
        assert_eq!(Part::open(&key, &object, &seal), Ok(part));
    }
}
