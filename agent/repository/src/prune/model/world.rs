//! The world of the model: a store with one clock, an index, expiry, and writers that do as `FORMAT.md` §11 says. Collectors are in
//! `collector`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Condemned, Deadline, Late, Protocol};
use crate::{
    prune::{CondemnedSet, Plan},
    session::SessionId,
    table::{PackKind, PackRef},
};

pub(super) const HOUR: u64 = 3600;

/// Length of a run in hours: long enough for condemned sets to be retired, several times over.
const LENGTH: u64 = 1000;

/// How far behind the index of a writer is, at most, in hours. Less than 2 × G, as the format demands of writers.
const STALE: u64 = 48;

/// Writers begin this often, on average, in hours.
const BETWEEN_WRITERS: u64 = 12;

/// Sessions that merge the index when they end, in percent.
const MERGES: u64 = 20;

pub(super) enum Event {
    Begin,
    Upload(SessionId),
    End(SessionId),
    Publish(SessionId, Merged),
    Expire,
    Collect,
    Confirm(Box<Plan>),
    Condemn(Box<Plan>),
    Delete(Box<Plan>),
}

pub(super) struct Running {
    began: u64,
    forbidden: BTreeSet<PackRef>,
    refs: BTreeSet<PackRef>,
    next: u32,
}

/// A generation of the index: made of what a writer saw at its end, and stored some time after that.
#[derive(Clone)]
pub(super) struct Merged {
    pub(super) opened: u64,
    pub(super) published: u64,
    pub(super) entries: BTreeSet<PackRef>,
    pub(super) deltas: BTreeSet<SessionId>,
    pub(super) dropped: Option<u64>,
}

pub(super) struct Delta {
    pub(super) entries: Vec<(u64, PackRef)>,
    pub(super) dropped: Option<u64>,
}

/// The state of the store and of all that run, in seconds since the run began.
pub(super) struct World {
    pub(super) protocol: Protocol,
    pub(super) random: u64,
    pub(super) names: u64,
    pub(super) events: BTreeMap<(u64, u64), Event>,
    pub(super) scheduled: u64,
    pub(super) now: u64,
    pub(super) packs: BTreeMap<PackRef, u64>,
    pub(super) running: BTreeMap<SessionId, Running>,
    pub(super) sessions: BTreeMap<SessionId, (u64, Vec<SessionId>)>,
    pub(super) aborted: Vec<SessionId>,
    pub(super) snapshots: BTreeMap<SessionId, (u64, BTreeSet<PackRef>)>,
    pub(super) index: BTreeMap<SessionId, Delta>,
    pub(super) generations: BTreeMap<SessionId, Merged>,
    pub(super) condemned: BTreeMap<SessionId, CondemnedSet>,
    pub(super) swept: BTreeMap<SessionId, Timestamp>,
    pub(super) rescued: BTreeSet<PackRef>,
    /// The first snapshot that misses a pack.
    pub(super) lost: Option<String>,
    pub(super) commits: usize,
    pub(super) condemned_packs: usize,
    pub(super) deleted: usize,
    pub(super) held: usize,
    pub(super) retired_sets: usize,
    pub(super) replaced_generations: usize,
}

pub(super) fn time(seconds: u64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(i64::try_from(seconds).expect("a run lasts weeks"))
}

impl World {
    /// Plays until the end or the first loss.
    pub(super) fn play(protocol: Protocol, seed: u64) -> Self {
        let mut world = Self {
            protocol,
            random: seed,
            names: 0,
            events: BTreeMap::new(),
            scheduled: 0,
            now: 0,
            packs: BTreeMap::new(),
            running: BTreeMap::new(),
            sessions: BTreeMap::new(),
            aborted: Vec::new(),
            snapshots: BTreeMap::new(),
            index: BTreeMap::new(),
            generations: BTreeMap::new(),
            condemned: BTreeMap::new(),
            swept: BTreeMap::new(),
            rescued: BTreeSet::new(),
            lost: None,
            commits: 0,
            condemned_packs: 0,
            deleted: 0,
            held: 0,
            retired_sets: 0,
            replaced_generations: 0,
        };
        for n in 0..3 {
            world.after(n * HOUR / 2, Event::Begin);
            world.after((10 + 7 * n) * HOUR, Event::Collect);
        }
        world.after(5 * HOUR, Event::Expire);
        while let Some(((at, _), event)) = world.events.pop_first() {
            if at > LENGTH * HOUR || world.lost.is_some() {
                break;
            }
            world.now = at;
            world.happen(event);
        }
        world
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Begin => self.begin(),
            Event::Upload(session) => self.upload(session),
            Event::End(session) => self.end(session),
            Event::Publish(name, merged) => self.publish(name, merged),
            Event::Expire => self.expire(),
            Event::Collect => self.collect(),
            Event::Confirm(plan) => self.confirm(&plan),
            Event::Condemn(plan) => self.condemn(&plan),
            Event::Delete(plan) => self.delete(&plan),
        }
    }

    /// Less than `bound`; splitmix64, so that a seed is a run on every machine.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let i = usize::try_from(self.below(from.len() as u64)).expect("an index");
        from.get(i).copied()
    }

    pub(super) fn name(&mut self) -> SessionId {
        self.names += 1;
        let mut random = [0; 16];
        random[8..].copy_from_slice(&self.names.to_be_bytes());
        SessionId::from_parts(time(self.now), random)
    }

    pub(super) fn after(&mut self, seconds: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((self.now + seconds, self.scheduled), event);
    }

    /// Mostly minutes, at times days.
    pub(super) fn stall(&mut self) -> u64 {
        let hours = if self.percent(30) { self.protocol.stall } else { 1 };
        self.below(hours * HOUR)
    }

    fn hours(duration: SignedDuration) -> u64 {
        u64::try_from(duration.as_hours()).expect("limits are positive")
    }

    fn begin(&mut self) {
        let session = self.name();
        let mut forbidden: BTreeSet<PackRef> =
            self.condemned.values().flat_map(|set| set.packs.iter()).map(|(pack, _)| pack).collect();
        if self.protocol.condemned == Condemned::UntilRescued {
            forbidden.retain(|pack| !self.rescued.contains(pack));
        }
        let (mut refs, adopts) = (self.refs_of_base(), self.adopted());
        refs.extend(self.packs.keys().filter(|pack| adopts.contains(&pack.session)));
        refs.extend(self.index_hits());
        refs.retain(|pack| !forbidden.contains(pack));
        self.sessions.insert(session, (self.now, adopts));
        self.running.insert(session, Running { began: self.now, forbidden, refs, next: 0 });

        let longest = Self::hours(self.protocol.limits.session_max);
        let mut length = 1 + self.below(12 * HOUR);
        if self.percent(15) {
            length = longest * HOUR * 8 / 10 + self.below(longest * HOUR * 22 / 10);
        }
        if self.protocol.deadline == Deadline::Kept {
            length = length.min(longest * HOUR);
        }
        let uploads = self.below(4);
        for n in 1..=uploads {
            self.after(length * n / (uploads + 1), Event::Upload(session));
        }
        self.after(length, Event::End(session));
        let next = self.below(2 * BETWEEN_WRITERS * HOUR);
        self.after(next, Event::Begin);
    }

    fn refs_of_base(&mut self) -> BTreeSet<PackRef> {
        let bases: Vec<SessionId> = self.snapshots.keys().copied().collect();
        let base = if self.percent(90) { self.pick(&bases) } else { None };
        let refs = base.and_then(|base| self.snapshots.get(&base)).map(|(_, refs)| refs.clone()).unwrap_or_default();
        refs.into_iter().filter(|_| self.percent(90)).collect()
    }

    fn adopted(&mut self) -> Vec<SessionId> {
        if self.percent(50) { self.aborted.pop().into_iter().collect() } else { Vec::new() }
    }

    fn index_hits(&mut self) -> Vec<PackRef> {
        let seen = self.now.saturating_sub(self.below(STALE * HOUR));
        let deltas = self.index.values().filter(|delta| delta.dropped.is_none_or(|at| at > seen));
        let mut known: Vec<PackRef> =
            deltas.flat_map(|delta| &delta.entries).filter(|(at, _)| *at <= seen).map(|(_, pack)| *pack).collect();
        // Any generation that was there: some writers hold the newest, some an old one.
        let seen = self.generations.values().filter(|g| g.published <= seen && g.dropped.is_none_or(|at| at > seen));
        known.extend(seen.filter(|g| self.counts(g)).flat_map(|g| &g.entries));
        (0..self.below(5)).filter_map(|_| self.pick(&known)).collect()
    }

    fn counts(&self, generation: &Merged) -> bool {
        let late = generation.published - generation.opened > Self::hours(self.protocol.limits.session_max) * HOUR;
        !late || self.protocol.late == Late::Counts
    }

    /// What the writer sees of the index now is what its generation offers, less what it must not refer to.
    fn merge(&mut self, began: u64, forbidden: &BTreeSet<PackRef>) {
        let base = self.generations.iter().rev().find(|(_, g)| g.dropped.is_none() && self.counts(g));
        let mut entries = base.map(|(_, g)| g.entries.clone()).unwrap_or_default();
        let whole = self.index.iter().filter(|(id, d)| d.dropped.is_none() && !self.running.contains_key(id));
        let mut deltas = BTreeSet::new();
        for (session, delta) in whole {
            deltas.insert(*session);
            entries.extend(delta.entries.iter().map(|(_, pack)| *pack));
        }
        entries.retain(|pack| !forbidden.contains(pack));
        let (name, stall) = (self.name(), self.stall());
        self.after(stall, Event::Publish(name, Merged { opened: began, published: 0, entries, deltas, dropped: None }));
    }

    fn publish(&mut self, name: SessionId, merged: Merged) {
        self.generations.insert(name, Merged { published: self.now, ..merged });
    }

    fn upload(&mut self, session: SessionId) {
        let running = self.running.get_mut(&session).expect("uploads come before the end");
        let pack = PackRef { session, kind: PackKind::Data, number: running.next };
        running.next += 1;
        running.refs.insert(pack);
        self.packs.insert(pack, self.now);
        let delta = self.index.entry(session).or_insert(Delta { entries: Vec::new(), dropped: None });
        delta.entries.push((self.now, pack));
    }

    fn end(&mut self, session: SessionId) {
        let running = self.running.remove(&session).expect("a session ends once");
        if self.percent(MERGES) {
            self.merge(running.began, &running.forbidden);
        }
        if !self.percent(80) {
            self.aborted.push(session);
            return;
        }
        self.commits += 1;
        if let Some(pack) = running.refs.iter().find(|pack| !self.packs.contains_key(pack)) {
            self.lost.get_or_insert(format!("{session} commits and needs {pack:?}, which is deleted"));
        }
        let life = [2, 6, 30, 150, 400][usize::try_from(self.below(5)).expect("an index")];
        let until = self.now + self.below(life * HOUR);
        self.snapshots.insert(session, (until, running.refs));
    }

    fn expire(&mut self) {
        let now = self.now;
        self.snapshots.retain(|_, (until, _)| *until > now);
        let next = HOUR / 2 + self.below(5 * HOUR / 2);
        self.after(next, Event::Expire);
    }
}
