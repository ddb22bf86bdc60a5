//! What a prune does, decided from an inventory: pure, so that the model plays against this very code. Source: `FORMAT.md` §11.
//!
//! What is left over of sessions and snapshots is decided in `leftovers`; the words for people are in `summary`.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{
    inventory::Inventory,
    leftovers::{self, Leftovers},
};
use crate::{config::GcConfig, pack_set::PackSet, session::SessionId, table::PackRef};

/// Most that G must be longer than S: a condemned set is dated when its upload begins and seen when it ends, times of objects are
/// whole seconds on some stores, and writers look again at sets only 15 minutes before their end.
const MARGIN_MAX: SignedDuration = SignedDuration::from_mins(30);

/// The same as a share of S, which is what counts for repositories with sessions of minutes.
const MARGIN_SHARE: i32 = 8;

/// The two times of the repository's `gc` parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// S: a session commits within this time of its `.open`, or never.
    pub session_max: SignedDuration,
    /// G: a condemned pack is deleted no sooner than this.
    pub grace: SignedDuration,
}

/// G is not longer than S and the margin: a sweep could overtake a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("grace of {grace:#} is too short for sessions of {session_max:#}: nothing is pruned")]
pub struct GraceTooShort {
    /// S.
    pub session_max: SignedDuration,
    /// G.
    pub grace: SignedDuration,
}

impl From<&GcConfig> for Limits {
    fn from(config: &GcConfig) -> Self {
        Self {
            session_max: SignedDuration::from_secs(config.session_max_s),
            grace: SignedDuration::from_secs(config.grace_s),
        }
    }
}

impl Limits {
    /// An error where these limits do not keep a sweep behind every commit.
    pub fn check(self) -> Result<(), GraceTooShort> {
        let Self { session_max, grace } = self;
        let margin = MARGIN_MAX.min(session_max / MARGIN_SHARE);
        let least = session_max.checked_add(margin).unwrap_or(SignedDuration::MAX);
        if session_max.is_positive() && grace >= least { Ok(()) } else { Err(GraceTooShort { session_max, grace }) }
    }

    /// S + G: what a session of this age has not committed, it never commits.
    pub fn dead(self) -> SignedDuration {
        self.session_max.checked_add(self.grace).unwrap_or(SignedDuration::MAX)
    }

    /// 2 × G: how long condemned sets are kept after their packs are gone, for the sake of writers with old indexes.
    pub fn kept(self) -> SignedDuration {
        self.grace.checked_mul(2).unwrap_or(SignedDuration::MAX)
    }
}

/// Whether `at` lies further back than `age`; a time to come never does.
pub(super) fn older(at: Timestamp, age: SignedDuration, now: Timestamp) -> bool {
    now.duration_since(at) > age
}

/// What a prune is about to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The time that the decisions are based on, not later than the store's clock before `snap/` was listed.
    pub now: Timestamp,
    /// The limits that they are based on.
    pub limits: Limits,
    /// Packs to be condemned.
    pub condemn: PackSet,
    /// Their stored bytes.
    pub condemn_bytes: u64,
    /// Condemned packs to be deleted, in order.
    pub sweep: Vec<PackRef>,
    /// Their stored bytes.
    pub sweep_bytes: u64,
    /// Condemned sets whose time has not come.
    pub waiting: Vec<Waiting>,
    /// Packs that were condemned, and are needed after all by a session that ran at that time: kept, never referred to anew.
    pub held: usize,
    /// Condemned sets that can be marked by a `gc/x/`: none of their packs is stored, and none can be named by an index.
    pub gone: Vec<SessionId>,
    /// Objects of sessions and snapshots that nobody needs.
    pub leftovers: Leftovers,
    /// Condemned sets that do not decode.
    pub damaged: Vec<SessionId>,
}

/// A condemned set whose packs are still stored.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Waiting {
    /// The set, as its key says.
    pub id: String,
    /// From when on its packs may be deleted.
    pub due: Timestamp,
    /// The number of its packs that are stored and not needed.
    pub packs: usize,
    /// Their stored bytes.
    pub bytes: u64,
}

impl Plan {
    /// What a prune of that repository does at `now`.
    ///
    /// `now` must not be later than the store's clock was before `snap/` was listed; an earlier time only postpones work.
    pub fn of(inventory: &Inventory, limits: Limits, now: Timestamp) -> Self {
        let protected = protected(inventory, limits, now);
        let live = |pack: PackRef| protected.contains(&pack.session) || inventory.needed.contains(pack);
        let mut condemned = PackSet::default();
        let mut due = PackSet::default();
        for set in inventory.condemned.values() {
            condemned.merge(&set.packs);
            if older(set.at, limits.grace, now) {
                due.merge(&set.packs);
            }
        }
        let mut plan = Self {
            now,
            limits,
            condemn: PackSet::default(),
            condemn_bytes: 0,
            sweep: Vec::new(),
            sweep_bytes: 0,
            waiting: waiting(inventory, limits, now, live),
            held: 0,
            gone: leftovers::gone(inventory, limits),
            leftovers: leftovers::of(inventory, limits, now, &protected),
            damaged: inventory.damaged.clone(),
        };
        for (pack, bytes) in inventory.packs.iter() {
            match (live(pack), condemned.contains(pack), due.contains(pack)) {
                (true, is_condemned, _) => plan.held += usize::from(is_condemned),
                (false, false, _) => plan.condemn(pack, bytes),
                (false, true, true) => plan.sweep(pack, bytes),
                (false, true, false) => {}
            }
        }
        plan
    }

    /// The part of this plan that a later look at the repository confirms: what both plans condemn, delete and clear away.
    #[must_use]
    pub fn confirmed_by(&self, later: &Self, inventory: &Inventory) -> Self {
        let mut plan = Self {
            condemn: PackSet::default(),
            condemn_bytes: 0,
            sweep: Vec::new(),
            sweep_bytes: 0,
            gone: self.gone.iter().filter(|id| later.gone.contains(id)).copied().collect(),
            leftovers: self.leftovers.confirmed_by(&later.leftovers),
            ..later.clone()
        };
        for (pack, _) in self.condemn.iter().filter(|(pack, _)| later.condemn.contains(*pack)) {
            plan.condemn(pack, inventory.packs.stored(pack).unwrap_or(0));
        }
        for pack in self.sweep.iter().filter(|pack| later.sweep.binary_search(pack).is_ok()) {
            plan.sweep(*pack, inventory.packs.stored(*pack).unwrap_or(0));
        }
        plan
    }

    /// Whether there is nothing to do now.
    pub fn is_empty(&self) -> bool {
        self.condemn.is_empty() && self.sweep.is_empty() && self.gone.is_empty() && self.leftovers.is_empty()
    }

    fn condemn(&mut self, pack: PackRef, bytes: u64) {
        self.condemn.add(pack, 0);
        self.condemn_bytes = self.condemn_bytes.saturating_add(bytes);
    }

    fn sweep(&mut self, pack: PackRef, bytes: u64) {
        self.sweep.push(pack);
        self.sweep_bytes = self.sweep_bytes.saturating_add(bytes);
    }
}

/// The sessions all of whose packs are live: those younger than S + G, and what these adopt, and so on.
///
/// A session whose `.open` is lost is as old as its newest pack: that errs on the side of keeping.
fn protected(inventory: &Inventory, limits: Limits, now: Timestamp) -> BTreeSet<SessionId> {
    let opened = |session| inventory.sessions.get(&session).and_then(|s| s.opened);
    let by_open = inventory.sessions.iter().filter_map(|(session, s)| Some((*session, s.opened?)));
    let by_pack = inventory.packs.sessions().filter(|(session, _)| opened(*session).is_none());
    let mut found: Vec<SessionId> =
        by_open.chain(by_pack).filter(|(_, at)| !older(*at, limits.dead(), now)).map(|(session, _)| session).collect();
    let mut protected = BTreeSet::new();
    while let Some(session) = found.pop() {
        if protected.insert(session) {
            found.extend(inventory.sessions.get(&session).and_then(|s| s.adopts.as_deref()).unwrap_or_default());
        }
    }
    protected
}

fn waiting(inventory: &Inventory, limits: Limits, now: Timestamp, live: impl Fn(PackRef) -> bool) -> Vec<Waiting> {
    let mut sets = Vec::new();
    for (id, set) in inventory.condemned.iter().filter(|(_, set)| !older(set.at, limits.grace, now)) {
        let sizes = set.packs.iter().filter(|(pack, _)| !live(*pack)).filter_map(|(p, _)| inventory.packs.stored(p));
        let (packs, bytes) = sizes.fold((0, 0u64), |(packs, sum), bytes| (packs + 1, sum.saturating_add(bytes)));
        let due = set.at.checked_add(limits.grace).unwrap_or(Timestamp::MAX);
        if packs > 0 {
            sets.push(Waiting { id: id.to_string(), due, packs, bytes });
        }
    }
    sets
}
