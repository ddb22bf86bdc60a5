//! Merged generations of the index: what they may offer, and which of them, and which deltas, the newest one replaces. Pure.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{
    inventory::{Generation, Inventory},
    plan::{Limits, older},
};
use crate::{layout, pack_set::PackSet, session::SessionId, store::Key};

/// How much longer than S a generation must be there until what it replaces goes: sessions that began before it are over by then.
const SETTLED_AFTER: SignedDuration = SignedDuration::from_mins(15);

/// The newest generation that counts, where no session can ask an older one any more.
pub(super) struct Settled<'a> {
    id: SessionId,
    deltas: &'a BTreeSet<(SessionId, u32)>,
}

impl<'a> Settled<'a> {
    pub(super) fn of(inventory: &'a Inventory, limits: Limits, now: Timestamp) -> Option<Self> {
        let in_time = |at: Timestamp, opened: Timestamp| at.duration_since(opened) <= limits.session_max;
        let mut published = inventory.generations.iter().filter_map(|(id, g)| Some((*id, g.published.as_ref()?)));
        let (id, newest) = published.rfind(|(_, p)| in_time(p.at, p.opened))?;
        let age = limits.session_max.checked_add(SETTLED_AFTER).unwrap_or(SignedDuration::MAX);
        older(newest.at, age, now).then_some(Self { id, deltas: &newest.deltas })
    }

    /// Whether a delta is in it.
    pub(super) fn contains(&self, delta: (SessionId, u32)) -> bool {
        self.deltas.contains(&delta)
    }
}

/// Objects of generations that nobody asks: those before the settled one, and what merges that died long ago left.
pub(super) fn replaced(inventory: &Inventory, limits: Limits, now: Timestamp, by: Option<&Settled<'_>>) -> Vec<Key> {
    let mut keys = Vec::new();
    for (id, generation) in &inventory.generations {
        let before = by.is_some_and(|settled| *id < settled.id);
        let counts = generation.published.as_ref().is_some_and(|p| p.at.duration_since(p.opened) <= limits.session_max);
        if before || !counts && older(generation.newest, limits.dead(), now) {
            // In order: the description first, so that a crash leaves no generation that seems whole.
            let mut parts = generation.objects.clone();
            parts.sort_unstable();
            keys.extend(parts.into_iter().map(|part| layout::generation(*id, part)));
        }
    }
    keys
}

/// Whether a generation may offer a pack of that set.
pub(super) fn may_offer(generation: &Generation, set: &PackSet) -> bool {
    generation.offers.as_ref().is_none_or(|offers| set.iter().any(|(pack, _)| offers.contains(pack)))
}
