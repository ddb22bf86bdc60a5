//! What a prune knows of a repository: plain data, made by `gather` from listings, or by a test by hand. Nothing here decides.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    layout::{Beside, GenerationPart, SnapshotId},
    pack_set::PackSet,
    session::SessionId,
    table::{PackKind, PackRef},
};

/// A repository as one round of listings showed it. All times are the store's.
///
/// The order of the listings carries the proof: packs, then `gc/`, `s/` and `ix/`, and `snap/` last. So the session of every pack
/// here was looked for after the pack was seen, and every commit that existed at [`Self::newest`] is here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// All packs that are stored.
    pub packs: ListedPacks,
    /// All sessions of which a `.open` or a `.packs` exists.
    pub sessions: BTreeMap<SessionId, Session>,
    /// All condemned sets, by their names.
    pub condemned: BTreeMap<SessionId, CondemnedSet>,
    /// Times of the objects of `gc/x/`: since then at the latest, no pack of the set of that name is stored or offered by an index.
    pub swept: BTreeMap<SessionId, Timestamp>,
    /// Index deltas by session and number, and when they were created. A delta names packs of its own session only.
    pub deltas: BTreeMap<(SessionId, u32), Timestamp>,
    /// Merged generations of the index, published or not, by their names.
    pub generations: BTreeMap<SessionId, Generation>,
    /// What lies under `snap/`, in order.
    pub snapshots: Vec<SnapshotObjects>,
    /// The packs of all `.refs` of commits that are not void, in one set: one set for each snapshot would not fit in memory.
    pub needed: PackSet,
    /// Keys of condemned sets that do not decode. Their packs count as never condemned, and so wait anew.
    pub damaged: Vec<SessionId>,
    /// Time of the newest object seen before `snap/` was listed: the store's clock showed at least this when that listing began.
    pub newest: Timestamp,
}

/// The objects of `s/` of one session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Session {
    /// When its `.open` was created; `None` where there is none.
    pub opened: Option<Timestamp>,
    /// The sessions whose packs it adopts; `None` where its `.open` is missing or does not say so in a readable way.
    pub adopts: Option<Vec<SessionId>>,
    /// Whether it has a table of packs.
    pub table: bool,
}

/// One object of `gc/c/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CondemnedSet {
    /// When it was created.
    pub at: Timestamp,
    /// What it names.
    pub packs: PackSet,
}

/// The objects of one merged generation of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Which objects there are.
    pub objects: Vec<GenerationPart>,
    /// When the newest of them was created.
    pub newest: Timestamp,
    /// Its description, where that is stored and reads as one.
    pub published: Option<Published>,
    /// The packs that it offers; `None` where that is not known: then it may offer any.
    pub offers: Option<PackSet>,
}

/// What a prune needs of a generation's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// When the description was created.
    pub at: Timestamp,
    /// When the session that wrote it began.
    pub opened: Timestamp,
    /// The deltas that are in it.
    pub deltas: BTreeSet<(SessionId, u32)>,
}

/// The objects of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotObjects {
    /// The snapshot, committed or not.
    pub id: SnapshotId,
    /// Which objects there are.
    pub objects: Vec<Beside>,
    /// When the newest of them was created.
    pub newest: Timestamp,
}

impl SnapshotObjects {
    /// Whether there is a commit, and it is not void.
    pub fn counts(&self) -> bool {
        self.objects.contains(&Beside::Commit) && !self.objects.contains(&Beside::Void)
    }
}

/// Stored packs with their sizes: about ten bytes for each, so that a 10 TiB repository's listing takes less than 10 MiB.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListedPacks(BTreeMap<SessionId, SessionPacks>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct SessionPacks {
    newest: Timestamp,
    /// Stored lengths by number, for each series.
    sizes: [BTreeMap<u32, u32>; 2],
}

const SERIES: [PackKind; 2] = [PackKind::Data, PackKind::Meta];

fn series(kind: PackKind) -> usize {
    usize::from(kind == PackKind::Meta)
}

impl ListedPacks {
    /// Adds a pack of that many stored bytes (sizes are for reports: longer ones than a store takes are cut to `u32::MAX`).
    pub fn add(&mut self, pack: PackRef, stored: u64, modified: Timestamp) {
        let session = self
            .0
            .entry(pack.session)
            .or_insert_with(|| SessionPacks { newest: modified, sizes: [BTreeMap::new(), BTreeMap::new()] });
        session.newest = session.newest.max(modified);
        session.sizes[series(pack.kind)].insert(pack.number, u32::try_from(stored).unwrap_or(u32::MAX));
    }

    /// The stored bytes of a pack; `None` where it is not stored.
    pub fn stored(&self, pack: PackRef) -> Option<u64> {
        self.0.get(&pack.session)?.sizes[series(pack.kind)].get(&pack.number).map(|bytes| u64::from(*bytes))
    }

    /// Whether any pack of that set is stored.
    pub fn has_any(&self, set: &PackSet) -> bool {
        set.iter().any(|(pack, _)| self.stored(pack).is_some())
    }

    /// Whether any pack of that session is stored.
    pub fn has_session(&self, session: SessionId) -> bool {
        self.0.contains_key(&session)
    }

    /// All sessions of which packs are stored, each with the time of its newest pack.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, Timestamp)> + '_ {
        self.0.iter().map(|(session, packs)| (*session, packs.newest))
    }

    /// All packs in order, with their stored bytes.
    pub fn iter(&self) -> impl Iterator<Item = (PackRef, u64)> + '_ {
        self.0.iter().flat_map(|(session, packs)| {
            SERIES.into_iter().flat_map(move |kind| {
                packs.sizes[series(kind)].iter().map(move |(number, stored)| {
                    (PackRef { session: *session, kind, number: *number }, u64::from(*stored))
                })
            })
        })
    }
}
