//! The collectors of the model: they list the world into an inventory, and do what the product's plan says, with stalls between.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    Condemned, Index, Sweep,
    world::{Event, HOUR, Merged, World, time},
};
use crate::{
    layout::{self, Beside, GenerationPart, SnapshotId, VolumeName},
    pack_set::PackSet,
    prune::{CondemnedSet, Generation, Inventory, ListedPacks, Plan, Published, Session, SnapshotObjects},
    session::SessionId,
};

impl World {
    fn inventory(&self) -> Inventory {
        let mut packs = ListedPacks::default();
        for (pack, at) in &self.packs {
            packs.add(*pack, 1, time(*at));
        }
        let volume = VolumeName::new("v").expect("a name");
        let snapshot = |(session, (until, _)): (&_, &(u64, _))| SnapshotObjects {
            id: SnapshotId { volume: volume.clone(), session: *session },
            objects: vec![Beside::Commit, Beside::Recipe, Beside::Refs],
            newest: time(*until),
        };
        Inventory {
            packs,
            sessions: self
                .sessions
                .iter()
                .map(|(id, (at, adopts))| {
                    (*id, Session { opened: Some(time(*at)), adopts: Some(adopts.clone()), table: true })
                })
                .collect(),
            condemned: self.condemned.clone(),
            swept: self.swept.clone(),
            deltas: match self.protocol.index {
                Index::Listed => self.deltas(),
                Index::Overlooked => BTreeMap::new(),
            },
            generations: match self.protocol.generations {
                Index::Listed => self.generations(),
                Index::Overlooked => BTreeMap::new(),
            },
            snapshots: self.snapshots.iter().map(snapshot).collect(),
            needed: self.snapshots.values().flat_map(|(_, refs)| refs).map(|pack| (*pack, 1)).collect(),
            damaged: Vec::new(),
            newest: time(self.now),
        }
    }

    fn deltas(&self) -> BTreeMap<(SessionId, u32), Timestamp> {
        let listed = self.index.iter().filter(|(_, delta)| delta.dropped.is_none());
        listed.filter_map(|(session, delta)| Some(((*session, 0), time(delta.entries.last()?.0)))).collect()
    }

    fn generations(&self) -> BTreeMap<SessionId, Generation> {
        let stored = self.generations.iter().filter(|(_, merged)| merged.dropped.is_none());
        let generation = |(id, merged): (&SessionId, &Merged)| {
            let (at, opened) = (time(merged.published), time(merged.opened));
            let deltas = merged.deltas.iter().map(|session| (*session, 0)).collect();
            let generation = Generation {
                objects: vec![GenerationPart::Description, GenerationPart::Offers],
                newest: at,
                published: Some(Published { at, opened, deltas }),
                offers: Some(merged.entries.iter().map(|pack| (*pack, 0)).collect()),
            };
            (*id, generation)
        };
        stored.map(generation).collect()
    }

    pub(super) fn collect(&mut self) {
        let inventory = self.inventory();
        let mut plan = Plan::of(&inventory, self.protocol.limits, inventory.newest);
        if self.protocol.condemned == Condemned::UntilRescued {
            let condemned: BTreeSet<_> = self.condemned.values().flat_map(|set| set.packs.iter()).collect();
            let rescued = condemned.into_iter().map(|(pack, _)| pack).filter(|pack| inventory.needed.contains(*pack));
            self.rescued.extend(rescued);
        }
        if self.protocol.sweep == Sweep::Blind {
            let blind = Inventory { needed: PackSet::default(), ..inventory };
            plan.sweep = Plan::of(&blind, self.protocol.limits, blind.newest).sweep;
        }
        let stall = self.stall();
        self.after(stall, Event::Confirm(Box::new(plan)));
        let next = 2 * HOUR + self.below(38 * HOUR);
        self.after(next, Event::Collect);
    }

    pub(super) fn confirm(&mut self, plan: &Plan) {
        let inventory = self.inventory();
        let later = Plan::of(&inventory, plan.limits, plan.now);
        let mut confirmed = plan.confirmed_by(&later, &inventory);
        if self.protocol.sweep == Sweep::Blind {
            confirmed.sweep.clone_from(&plan.sweep);
        }
        self.held += confirmed.held;
        let (condemn, delete) = (self.stall(), self.stall());
        self.after(condemn, Event::Condemn(Box::new(confirmed.clone())));
        self.after(delete, Event::Delete(Box::new(confirmed)));
    }

    pub(super) fn condemn(&mut self, plan: &Plan) {
        if !plan.condemn.is_empty() {
            let id = self.name();
            self.condemned_packs += plan.condemn.len();
            self.condemned.insert(id, CondemnedSet { at: time(self.now), packs: plan.condemn.clone() });
        }
        for id in &plan.gone {
            self.swept.entry(*id).or_insert(time(self.now));
        }
    }

    pub(super) fn delete(&mut self, plan: &Plan) {
        for pack in &plan.sweep {
            self.deleted += usize::from(self.packs.remove(pack).is_some());
            if let Some(snapshot) = self.snapshots.iter().find(|(_, (_, refs))| refs.contains(pack)) {
                self.lost.get_or_insert(format!("{} needs {pack:?}, which is being deleted", snapshot.0));
            }
        }
        let left = &plan.leftovers;
        self.retired_sets += left.condemned.len();
        self.condemned.retain(|id, _| !left.condemned.contains(&layout::condemned(*id)));
        self.swept.retain(|id, _| !left.reports.contains(&layout::swept(*id)));
        for (session, delta) in &mut self.index {
            if left.deltas.contains(&layout::index_delta(*session, 0)) {
                delta.dropped.get_or_insert(self.now);
            }
        }
        for (id, merged) in &mut self.generations {
            if left.generations.contains(&layout::generation(*id, GenerationPart::Description)) {
                self.replaced_generations += usize::from(merged.dropped.is_none());
                merged.dropped.get_or_insert(self.now);
            }
        }
        self.sessions.retain(|id, _| !left.openings.contains(&layout::session_open(*id)));
    }
}
