//! Objects that outlive their purpose: sidecars without a commit, void commits, tables of dead sessions, old condemned sets.
//! Pure; packs are `plan`'s. Wherever something is not known, the object stays.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    generations::{self, Settled},
    inventory::{CondemnedSet, Inventory, Session, SnapshotObjects},
    plan::{Limits, older},
};
use crate::{
    layout::{self, Beside},
    session::SessionId,
    store::Key,
};

/// Keys to be deleted, in stages: a stage ends before the next begins, so that a crash never turns what is dead into something that counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leftovers {
    /// Commits that are void. Before their `.void`, without which they would count again.
    pub void_commits: Vec<Key>,
    /// `.refs`, `.recipe`, `.part`, `.void` that stand beside no commit, and `.part` beside an old one.
    pub sidecars: Vec<Key>,
    /// Index deltas that are in the newest generation, and those of sessions without a live pack: nobody reads them, or they offer
    /// nothing that may be referred to.
    pub deltas: Vec<Key>,
    /// Objects of merged generations that a newer one replaces, or whose merge died.
    pub generations: Vec<Key>,
    /// `.packs`. Before the `.open` that says which packs of other sessions the table covers.
    pub tables: Vec<Key>,
    /// `.open`.
    pub openings: Vec<Key>,
    /// Condemned sets whose packs are long gone. Before the `gc/x/` that says so.
    pub condemned: Vec<Key>,
    /// `gc/x/` without a condemned set.
    pub reports: Vec<Key>,
}

impl Leftovers {
    /// The stages in order.
    pub fn stages(&self) -> [&[Key]; 8] {
        let Self { void_commits, sidecars, deltas, generations, tables, openings, condemned, reports } = self;
        [void_commits, sidecars, deltas, generations, tables, openings, condemned, reports]
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.stages().iter().map(|stage| stage.len()).sum()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys that a later look still finds useless.
    pub(super) fn confirmed_by(&self, later: &Self) -> Self {
        let both = |mine: &[Key], theirs: &[Key]| {
            let theirs: BTreeSet<&Key> = theirs.iter().collect();
            mine.iter().filter(|key| theirs.contains(key)).cloned().collect()
        };
        Self {
            void_commits: both(&self.void_commits, &later.void_commits),
            sidecars: both(&self.sidecars, &later.sidecars),
            deltas: both(&self.deltas, &later.deltas),
            generations: both(&self.generations, &later.generations),
            tables: both(&self.tables, &later.tables),
            openings: both(&self.openings, &later.openings),
            condemned: both(&self.condemned, &later.condemned),
            reports: both(&self.reports, &later.reports),
        }
    }
}

pub(super) fn of(inventory: &Inventory, limits: Limits, now: Timestamp, protected: &BTreeSet<SessionId>) -> Leftovers {
    let mut found = Leftovers::default();
    let mut with_snapshot = BTreeSet::new();
    for snapshot in &inventory.snapshots {
        let dead = !protected.contains(&snapshot.id.session) && older(snapshot.newest, limits.dead(), now);
        if dead {
            of_snapshot(&mut found, snapshot);
        }
        if !dead || snapshot.counts() {
            with_snapshot.insert(snapshot.id.session);
        }
    }
    let mut in_use = SessionsInUse::of(inventory, with_snapshot);
    let settled = Settled::of(inventory, limits, now);
    found.generations = generations::replaced(inventory, limits, now, settled.as_ref());
    for ((session, k), at) in &inventory.deltas {
        if settled.as_ref().is_some_and(|generation| generation.contains((*session, *k))) {
            found.deltas.push(layout::index_delta(*session, *k));
        } else if protected.contains(session) || in_use.needed.contains(session) || !older(*at, limits.dead(), now) {
            in_use.with_delta.insert(*session);
        } else {
            found.deltas.push(layout::index_delta(*session, *k));
        }
    }
    let old = limits.dead().checked_add(limits.grace).unwrap_or(jiff::SignedDuration::MAX);
    for (id, session) in &inventory.sessions {
        if !protected.contains(id)
            && session.opened.is_some_and(|at| older(at, old, now))
            && !in_use.needs(*id, session)
        {
            found.tables.extend(session.table.then(|| layout::session_packs(*id)));
            found.openings.push(layout::session_open(*id));
        }
    }
    of_condemned(&mut found, inventory, limits, now);
    found
}

fn of_snapshot(found: &mut Leftovers, snapshot: &SnapshotObjects) {
    let counts = snapshot.counts();
    for object in &snapshot.objects {
        let key = layout::beside(&snapshot.id, *object);
        match object {
            Beside::Commit | Beside::Refs | Beside::Recipe | Beside::Void if counts => {}
            Beside::Commit => found.void_commits.push(key),
            // Parts also beside a commit that counts: it needs none, and writers may have no right to delete theirs.
            Beside::Part(_) | Beside::Refs | Beside::Recipe | Beside::Void => found.sidecars.push(key),
        }
    }
}

/// Sessions whose `.packs` or `.open` says something about objects that exist.
struct SessionsInUse<'a> {
    inventory: &'a Inventory,
    /// Sessions of packs that commits need, stored or not: a missing pack is damage, and its table tells what is missing.
    needed: BTreeSet<SessionId>,
    /// Sessions that keep an object under `snap/`.
    with_snapshot: BTreeSet<SessionId>,
    /// Sessions that keep an index delta.
    with_delta: BTreeSet<SessionId>,
}

impl<'a> SessionsInUse<'a> {
    fn of(inventory: &'a Inventory, with_snapshot: BTreeSet<SessionId>) -> Self {
        let needed = inventory.needed.iter().map(|(pack, _)| pack.session).collect();
        Self { inventory, needed, with_snapshot, with_delta: BTreeSet::new() }
    }

    fn needs(&self, id: SessionId, session: &Session) -> bool {
        let Some(adopts) = &session.adopts else { return true };
        let mut open: Vec<SessionId> = [&[id], adopts.as_slice()].concat();
        let mut covered = BTreeSet::new();
        while let Some(next) = open.pop() {
            if covered.insert(next) {
                open.extend(self.inventory.sessions.get(&next).and_then(|s| s.adopts.as_deref()).unwrap_or_default());
            }
        }
        let has_packs = |s: &SessionId| self.inventory.packs.has_session(*s) || self.needed.contains(s);
        self.with_snapshot.contains(&id) || self.with_delta.contains(&id) || covered.iter().any(has_packs)
    }
}

/// Condemned sets that have no stored pack, that no index can name a pack of, and whose `gc/x/` does not say so yet.
///
/// The time of that mark begins the wait of 2 × G, and not the end of the packs: a writer may have read an index shortly before the
/// pack's entries left it, and then only the condemned set keeps it from referring to a pack that is gone.
pub(super) fn gone(inventory: &Inventory, limits: Limits) -> Vec<SessionId> {
    let unmarked = inventory.condemned.iter().filter(|(id, _)| !inventory.swept.contains_key(id));
    unmarked.filter(|(_, set)| forgotten(inventory, limits, set)).map(|(id, _)| *id).collect()
}

/// Whether no pack of the set is stored, and neither the index nor a partial table can name one.
fn forgotten(inventory: &Inventory, limits: Limits, set: &CondemnedSet) -> bool {
    let sessions: BTreeSet<SessionId> = set.packs.iter().map(|(pack, _)| pack.session).collect();
    // Who began after the set was there leaves its packs out, and who began before was done within G.
    let may_name = |written: Timestamp| !older(set.at, limits.grace, written);
    let part = |object: &Beside| matches!(object, Beside::Part(_));
    let mut with_parts = inventory.snapshots.iter().filter(|s| s.objects.iter().any(part));
    !inventory.packs.has_any(&set.packs)
        && !inventory.generations.values().any(|generation| generations::may_offer(generation, &set.packs))
        && !inventory.deltas.keys().any(|(session, _)| sessions.contains(session))
        && !with_parts.any(|s| sessions.contains(&s.id.session) || may_name(s.newest))
}

fn of_condemned(found: &mut Leftovers, inventory: &Inventory, limits: Limits, now: Timestamp) {
    for (id, _) in inventory.swept.iter().filter(|(_, swept)| older(**swept, limits.kept(), now)) {
        match inventory.condemned.get(id) {
            Some(set) if forgotten(inventory, limits, set) => {
                found.condemned.push(layout::condemned(*id));
                found.reports.push(layout::swept(*id));
            }
            // A damaged set keeps its report: what it named is not known.
            None if !inventory.damaged.contains(id) => found.reports.push(layout::swept(*id)),
            Some(_) | None => {}
        }
    }
}
