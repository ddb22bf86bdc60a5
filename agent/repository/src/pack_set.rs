//! A set of packs: what a snapshot needs (`.refs`), or what a prune condemned (`gc/c/…`). Source: `FORMAT.md` §6.

use std::collections::BTreeMap;

use crate::{
    session::SessionId,
    table::{PackKind, PackRef},
    wire::{Decoder, Encoder, Malformed},
};

const MAGIC: &[u8; 16] = b"TSPACKSET1\0\0\0\0\0\0";

/// Packs, each with the number of its decoded bytes that are in use (0 in a condemned set).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackSet(BTreeMap<SessionId, [BTreeMap<u32, u64>; 2]>);

fn series(kind: PackKind) -> usize {
    match kind {
        PackKind::Data => 0,
        PackKind::Meta => 1,
    }
}

impl PackSet {
    /// Adds `live` decoded bytes in use to a pack, and the pack to the set.
    pub fn add(&mut self, pack: PackRef, live: u64) {
        let live_bytes = self.0.entry(pack.session).or_default()[series(pack.kind)].entry(pack.number).or_default();
        *live_bytes = live_bytes.saturating_add(live);
    }

    /// Whether the pack is in the set.
    pub fn contains(&self, pack: PackRef) -> bool {
        self.0.get(&pack.session).is_some_and(|s| s[series(pack.kind)].contains_key(&pack.number))
    }

    /// Adds all packs of the other set; live bytes become the larger of both.
    pub fn merge(&mut self, other: &Self) {
        for (pack, live) in other.iter() {
            let mine = self.0.entry(pack.session).or_default()[series(pack.kind)].entry(pack.number).or_default();
            *mine = (*mine).max(live);
        }
    }

    /// The packs in order, with their live bytes.
    pub fn iter(&self) -> impl Iterator<Item = (PackRef, u64)> + '_ {
        self.0.iter().flat_map(|(session, both)| {
            [PackKind::Data, PackKind::Meta].into_iter().flat_map(move |kind| {
                both[series(kind)]
                    .iter()
                    .map(move |(number, live)| (PackRef { session: *session, kind, number: *number }, *live))
            })
        })
    }

    /// The number of packs.
    pub fn len(&self) -> usize {
        self.0.values().flatten().map(BTreeMap::len).sum()
    }

    /// Whether there is no pack.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The object's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::default();
        e.raw(MAGIC);
        e.varint(self.0.len() as u64);
        for (session, both) in &self.0 {
            e.raw(&session.to_bytes());
            for packs in both {
                e.varint(packs.len() as u64);
                let mut next = 0;
                for (number, live) in packs {
                    e.varint(u64::from(*number) - next);
                    e.varint(*live);
                    next = u64::from(*number) + 1;
                }
            }
        }
        e.0
    }

    /// The set in these bytes; an error where they are not exactly one set in its one spelling.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut d = Decoder::new(bytes);
        if &d.array::<16>("the magic")? != MAGIC {
            return Err(Malformed::Magic);
        }
        let mut set = BTreeMap::new();
        for _ in 0..d.count(18, "the number of groups")? {
            let session = SessionId::from_bytes(d.array("a session")?);
            if set.last_key_value().is_some_and(|(last, _)| *last >= session) {
                return Err(Malformed::Field("the order of the sessions"));
            }
            let both = [decode_series(&mut d)?, decode_series(&mut d)?];
            if both.iter().all(BTreeMap::is_empty) {
                return Err(Malformed::Field("an empty group"));
            }
            set.insert(session, both);
        }
        d.finish()?;
        Ok(Self(set))
    }
}

fn decode_series(d: &mut Decoder<'_>) -> Result<BTreeMap<u32, u64>, Malformed> {
    let mut packs = BTreeMap::new();
    let mut next = 0u64;
    for _ in 0..d.count(2, "a number of packs")? {
        let number = next.checked_add(d.varint("a pack's number")?).ok_or(Malformed::Field("a pack's number"))?;
        packs.insert(u32::try_from(number).map_err(|_| Malformed::Field("a pack's number"))?, d.varint("live bytes")?);
        next = number + 1;
    }
    Ok(packs)
}

impl FromIterator<(PackRef, u64)> for PackSet {
    fn from_iter<I: IntoIterator<Item = (PackRef, u64)>>(packs: I) -> Self {
        let mut set = Self::default();
        for (pack, live) in packs {
            set.add(pack, live);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack(session: u8, kind: PackKind, number: u32) -> PackRef {
        PackRef { session: SessionId::from_bytes([session; 16]), kind, number }
    }

    #[test]
    fn its_bytes_are_those_of_the_format_text() {
        let set: PackSet =
            [(pack(1, PackKind::Data, 0), 300), (pack(1, PackKind::Data, 5), 1), (pack(1, PackKind::Meta, 2), 0)]
                .into_iter()
                .collect();
        assert_eq!(
            hex::encode(set.encode()),
            "54535041434b53455431000000000000".to_owned()
                + "01"
                + &"01".repeat(16)
                + "02"
                + "00ac02"
                + "0401"
                + "01"
                + "0200"
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(
            packs in prop::collection::vec((0u8..4, any::<bool>(), any::<u32>(), any::<u64>()), 0..40)
        ) {
            let set: PackSet = packs.into_iter().map(|(s, meta, n, live)| {
                (pack(s, if meta { PackKind::Meta } else { PackKind::Data }, n), live)
            }).collect();
            prop_assert_eq!(PackSet::decode(&set.encode()), Ok(set));
        }

        #[test]
        fn any_bytes_decode_to_a_set_or_an_error(tail: Vec<u8>) {
            let bytes = [MAGIC.as_slice(), &tail].concat();
            if let Ok(set) = PackSet::decode(&bytes) {
                prop_assert_eq!(set.encode(), bytes, "one set has one spelling");
            }
        }
    }
}
