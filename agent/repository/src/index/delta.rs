//! Deltas: what one session adds to the index at once, and the newest of them as a session holds them. Source: `FORMAT.md` §10.

use crate::{
    frame::FrameId,
    keys::SealKey,
    pack_set::PackSet,
    pack_table::{self, PackTable},
    seal,
    session::SessionId,
    store::Key,
    table::{Extent, PackId, PackKind},
    wire::{Decoder, Encoder, Malformed},
};

const MAGIC: [u8; 8] = *b"TSIXDEL1";
const ENTRY_BYTES: usize = 40;

/// Entries of one delta: a session writes one at each checkpoint and one at its end. 5 MB stored; a merge holds one at a time.
pub const DELTA_ENTRIES_MAX: usize = 131_072;

/// Entries of deltas that a session holds in memory, newest first: 44 MB. Frames beyond are stored again where they recur.
pub const INDEX_ENTRIES_MAX: usize = 1_000_000;

/// A frame, or the content of a small file within one, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry {
    /// Its id.
    pub id: FrameId,
    /// Where it is.
    pub extent: Extent,
}

/// What one session adds to the index at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta {
    /// The packs that its entries are in.
    pub packs: PackTable,
    /// The entries.
    pub entries: Vec<IndexEntry>,
}

impl Delta {
    /// The sealed object that lies at `key`.
    pub fn seal(mut self, key: &Key, index: &SealKey) -> Result<Vec<u8>, seal::Error> {
        self.entries.sort_unstable_by_key(|e| e.id);
        let mut sessions: Vec<SessionId> = self.entries.iter().map(|e| e.extent.pack.session).collect();
        sessions.sort_unstable();
        sessions.dedup();
        let mut e = Encoder(Vec::with_capacity(self.entries.len() * ENTRY_BYTES + self.packs.0.len() * 76 + 64));
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        e.u32(count(sessions.len()));
        for session in &sessions {
            e.raw(&session.to_bytes());
        }
        e.u32(count(self.packs.0.len()));
        for (pack, row) in &self.packs.0 {
            pack_table::encode_row(&mut e, *pack, row);
        }
        e.u32(count(self.entries.len()));
        for IndexEntry { id, extent } in &self.entries {
            e.raw(&id.0);
            e.u32(count(sessions.binary_search(&extent.pack.session).unwrap_or_default()));
            for field in [extent.pack.number, extent.offset, extent.stored, extent.plain, extent.skip, extent.take] {
                e.u24(field);
            }
            e.raw(&[0; 2]);
        }
        seal::seal(MAGIC, key.as_str(), &e.0, index)
    }

    /// The delta in the sealed object that lies at `key`.
    pub fn open(key: &Key, object: &[u8], index: &SealKey) -> Result<Self, String> {
        let plain = seal::unseal(MAGIC, key.as_str(), object, index).map_err(|e| e.to_string())?;
        Self::decode(&plain).map_err(|e| e.to_string())
    }

    fn decode(plain: &[u8]) -> Result<Self, Malformed> {
        let mut d = Decoder::new(plain);
        let n = d.u32("the number of sessions")? as usize;
        let sessions = (0..n.min(d.remaining() / 16))
            .map(|_| Ok(SessionId::from_bytes(d.array("a session")?)))
            .collect::<Result<Vec<_>, Malformed>>()?;
        let mut delta = Self::default();
        for _ in 0..d.u32("the number of packs")? {
            let (pack, row) = pack_table::decode_row(&mut d)?;
            delta.packs.0.insert(pack, row);
        }
        for _ in 0..d.u32("the number of entries")? {
            delta.entries.push(entry(&mut d, &sessions)?);
        }
        d.finish()?;
        Ok(delta)
    }
}

fn entry(d: &mut Decoder<'_>, sessions: &[SessionId]) -> Result<IndexEntry, Malformed> {
    let id = FrameId(d.array("an id")?);
    let session = *sessions.get(d.u32("a session's index")? as usize).ok_or(Malformed::Field("a session's index"))?;
    let extent = Extent {
        pack: PackId { session, number: d.u24("a pack's number")? },
        offset: d.u24("an offset")?,
        stored: d.u24("a stored length")?,
        plain: d.u24("a length")?,
        skip: d.u24("a part")?,
        take: d.u24("a part")?,
    };
    let fits = extent.skip.checked_add(extent.take).is_some_and(|end| end <= extent.plain);
    if d.array::<2>("the reserved field")? == [0; 2] && fits {
        Ok(IndexEntry { id, extent })
    } else {
        Err(Malformed::Field("an entry"))
    }
}

/// Entries of the newest deltas in memory, bounded, without packs that must not be referred to.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Sorted by id; a compact form of [`IndexEntry`].
    entries: Vec<Compact>,
    sessions: Vec<SessionId>,
    packs: PackTable,
}

#[derive(Debug, Clone, Copy)]
struct Compact {
    id: FrameId,
    session: u32,
    fields: [u32; 6],
}

impl Recent {
    /// Adds a delta that is older than those before, as far as there is room.
    pub(super) fn add(&mut self, delta: Delta, excluded: &PackSet) {
        for (pack, row) in delta.packs.0 {
            if !excluded.contains(pack) {
                self.packs.0.insert(pack, row);
            }
        }
        for IndexEntry { id, extent } in delta.entries {
            // An entry whose pack has no row could not be listed in a signed table, so it is not used.
            if self.packs.0.contains_key(&extent.pack.of(PackKind::Data)) && self.entries.len() < INDEX_ENTRIES_MAX {
                let session = self.session(extent.pack.session);
                let Extent { offset, stored, plain, skip, take, .. } = extent;
                self.entries.push(Compact {
                    id,
                    session,
                    fields: [extent.pack.number, offset, stored, plain, skip, take],
                });
            }
        }
    }

    /// Whether no further entry fits.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= INDEX_ENTRIES_MAX
    }

    /// Makes what was added findable; of equal ids the one that was added first counts.
    pub(super) fn sort(&mut self) {
        self.entries.sort_by_key(|e| e.id);
        self.entries.dedup_by_key(|e| e.id);
    }

    fn session(&mut self, session: SessionId) -> u32 {
        let index = self.sessions.iter().rposition(|s| *s == session).unwrap_or_else(|| {
            self.sessions.push(session);
            self.sessions.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    /// Where a frame of that id is.
    pub(super) fn get(&self, id: FrameId) -> Option<Extent> {
        let at = self.entries.binary_search_by_key(&id, |e| e.id).ok()?;
        let Compact { session, fields: [number, offset, stored, plain, skip, take], .. } = self.entries[at];
        let pack = PackId { session: *self.sessions.get(session as usize)?, number };
        Some(Extent { pack, offset, stored, plain, skip, take })
    }

    /// What is known of the packs that its entries are in.
    pub(super) fn packs(&self) -> &PackTable {
        &self.packs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{layout, pack_table::PackRow, table::PackRef};

    fn delta() -> Delta {
        let session = SessionId::from_bytes([4; 16]);
        let row = PackRow { stored: 1, plain: 2, frames: 3, decoded: 4, sha256: [5; 32] };
        let extent = Extent { pack: PackId { session, number: 1 }, offset: 2, stored: 3, plain: 9, skip: 4, take: 5 };
        Delta {
            packs: PackTable([(PackRef { session, kind: PackKind::Data, number: 1 }, row)].into()),
            entries: vec![
                IndexEntry { id: FrameId([1; 16]), extent },
                IndexEntry { id: FrameId([2; 16]), extent: Extent { skip: 0, take: 9, ..extent } },
            ],
        }
    }

    #[test]
    fn a_delta_opens_to_what_was_sealed_and_nowhere_else() {
        let key = layout::index_delta(SessionId::from_bytes([4; 16]), 0);
        let seal = SealKey(zeroize::Zeroizing::new([6; 32]));
        let object = delta().seal(&key, &seal).expect("seals");
        assert_eq!(Delta::open(&key, &object, &seal), Ok(delta()));
        assert!(Delta::open(&layout::index_delta(SessionId::from_bytes([4; 16]), 1), &object, &seal).is_err());
        let mut recent = Recent::default();
        recent.add(delta(), &PackSet::default());
        assert_eq!(recent.get(FrameId([1; 16])), Some(delta().entries[0].extent));
        assert_eq!(recent.get(FrameId([3; 16])), None);
    }

    #[test]
    fn entries_of_condemned_packs_are_not_found() {
        let condemned = delta().packs.0.keys().map(|p| (*p, 0)).collect();
        let mut recent = Recent::default();
        recent.add(delta(), &condemned);
        assert_eq!((recent.get(FrameId([1; 16])), recent.packs().0.len()), (None, 0));
    }
}
