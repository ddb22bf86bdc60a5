//! The table of all packs that a session wrote or adopted. Source: `FORMAT.md` §6.

use std::collections::BTreeMap;

use crate::{
    session::SessionId,
    table::{PackKind, PackRef},
    wire::{Decoder, Encoder, Malformed},
};

const MAGIC: &[u8; 8] = b"TSPACKS1";

/// Stored length of one row in bytes.
#[cfg(test)]
const ROW_BYTES: usize = 76;

/// What is known of a stored pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackRow {
    /// Length of the object in bytes.
    pub stored: u32,
    /// Length of the plain pack in bytes; equal to `stored` where packs are not encrypted.
    pub plain: u32,
    /// Number of frames.
    pub frames: u32,
    /// Decoded length of all frames in bytes.
    pub decoded: u64,
    /// SHA-256 of the object.
    pub sha256: [u8; 32],
}

/// Packs and what is known of them, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackTable(pub BTreeMap<PackRef, PackRow>);

impl PackTable {
    /// The object's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::default();
        e.raw(MAGIC);
        e.u32(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        e.u32(0);
        for (pack, row) in &self.0 {
            encode_row(&mut e, *pack, row);
        }
        e.0
    }

    /// The table in these bytes; an error where they are not exactly one table with its rows in order.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut d = Decoder::new(bytes);
        if &d.array::<8>("the magic")? != MAGIC {
            return Err(Malformed::Magic);
        }
        let rows = d.u32("the number of rows")?;
        if d.u32("the reserved field")? != 0 {
            return Err(Malformed::Field("the reserved field"));
        }
        let mut table = BTreeMap::new();
        for _ in 0..rows {
            let (pack, row) = decode_row(&mut d)?;
            if table.last_key_value().is_some_and(|(last, _)| *last >= pack) {
                return Err(Malformed::Field("the order of the rows"));
            }
            table.insert(pack, row);
        }
        d.finish()?;
        Ok(Self(table))
    }
}

pub(crate) fn encode_row(e: &mut Encoder, pack: PackRef, row: &PackRow) {
    e.raw(&pack.session.to_bytes());
    e.u32(match pack.kind {
        PackKind::Data => 0,
        PackKind::Meta => 1,
    });
    e.u32(pack.number);
    e.u32(row.stored);
    e.u32(row.plain);
    e.u32(row.frames);
    e.u64(row.decoded);
    e.raw(&row.sha256);
}

pub(crate) fn decode_row(d: &mut Decoder<'_>) -> Result<(PackRef, PackRow), Malformed> {
    let session = SessionId::from_bytes(d.array("a session")?);
    let kind = match d.u32("a series")? {
        0 => PackKind::Data,
        1 => PackKind::Meta,
        _ => return Err(Malformed::Field("a series")),
    };
    let pack = PackRef { session, kind, number: d.u32("a pack's number")? };
    let row = PackRow {
        stored: d.u32("a stored length")?,
        plain: d.u32("a plain length")?,
        frames: d.u32("a number of frames")?,
        decoded: d.u64("a decoded length")?,
        sha256: d.array("a hash")?,
    };
    Ok((pack, row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> PackTable {
        let row = PackRow { stored: 0x0102, plain: 0x0304, frames: 5, decoded: 6, sha256: [0xab; 32] };
        let pack = |number, kind| PackRef { session: SessionId::from_bytes([9; 16]), kind, number };
        PackTable([(pack(0, PackKind::Data), row), (pack(1, PackKind::Meta), row)].into())
    }

    #[test]
    fn its_bytes_are_those_of_the_format_text() {
        let golden = "5453 5041 434b 5331 02000000 00000000 \
            09090909090909090909090909090909 00000000 00000000 02010000 04030000 05000000 0600000000000000 SHA \
            09090909090909090909090909090909 01000000 01000000 02010000 04030000 05000000 0600000000000000 SHA"
            .replace("SHA", &"ab".repeat(32))
            .replace(' ', "");
        assert_eq!(hex::encode(table().encode()), golden);
        assert_eq!(PackTable::decode(&table().encode()), Ok(table()));
    }

    #[test]
    fn a_table_that_is_cut_short_or_longer_or_out_of_order_is_refused() {
        let bytes = table().encode();
        for len in 0..bytes.len() {
            assert!(PackTable::decode(&bytes[..len]).is_err(), "cut to {len} bytes");
        }
        assert_eq!(PackTable::decode(&[&bytes[..], &[0]].concat()), Err(Malformed::Trailing));
        let mut swapped = bytes[..16].to_vec();
        swapped.extend_from_slice(&bytes[16 + ROW_BYTES..]);
        swapped.extend_from_slice(&bytes[16..16 + ROW_BYTES]);
        assert_eq!(PackTable::decode(&swapped), Err(Malformed::Field("the order of the rows")));
    }
}
