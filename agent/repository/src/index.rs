//! The dedup index: which frames are stored already. An accelerator: without it a backup only stores more. Source: `FORMAT.md` §10.
//!
//! `delta` is what sessions add, `merge` makes one generation of many deltas. A generation is a `description`, a `bloom` filter and objects in
//! sealed `blocks`; `generation` asks it, `pages` fetches its blocks. Whatever is missing or damaged is answered as not known.

mod blocks;
mod bloom;
mod delta;
mod description;
mod generation;
mod merge;
mod pages;
mod runs;
mod scratch;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;

pub use delta::{DELTA_ENTRIES_MAX, Delta, INDEX_ENTRIES_MAX, IndexEntry};
pub use description::{Contained, Description, Part};
pub use merge::{DELTAS_MERGE_AT, Merge};

use self::{delta::Recent, generation::Generation};
use crate::{
    error::Result,
    frame::FrameId,
    keys::SealKey,
    layout,
    pack_set::PackSet,
    pack_table::PackTable,
    store::{Listed, ObjectStore, list_all},
    table::Extent,
};

/// Deltas that are listed; far more than merges leave.
const DELTAS_MAX: usize = 100_000;

/// The index as one session sees it: fixed from its start, bounded, without packs that must not be referred to.
#[derive(Debug, Default)]
pub struct Index {
    recent: Recent,
    generation: Option<Generation>,
    excluded: Arc<PackSet>,
    /// Packs of the generation that were found: what a session refers to, it lists with these rows. Some 90 bytes each.
    found: Mutex<PackTable>,
}

impl Index {
    /// Opens the newest generation that can be read, and loads the deltas that are not in it, newest first and up to
    /// [`INDEX_ENTRIES_MAX`] entries. A part that cannot be read is left out: that costs space, no safety.
    ///
    /// `session_max` is S: a generation created later after its session's start does not count.
    pub async fn load(
        store: &Arc<dyn ObjectStore>,
        key: &SealKey,
        excluded: &Arc<PackSet>,
        session_max: SignedDuration,
    ) -> Result<Self> {
        // Deltas come first: one that a prune deletes meanwhile is in a generation that is listed after it.
        let mut listed: Vec<Listed> = list_all(&**store, layout::INDEX_DELTAS, DELTAS_MAX).await?;
        listed.sort_by(|a, b| b.key.cmp(&a.key));
        let mut index = Self { excluded: excluded.clone(), ..Self::default() };
        for description in description::newest(&**store, key, session_max).await?.0 {
            match Generation::open(store, key, description).await {
                Ok(generation) => {
                    index.generation = Some(generation);
                    break;
                }
                Err(error) => tracing::warn!(%error, "Left out a generation of the index"),
            }
        }
        for object in &listed {
            let Some(delta) = layout::parse_index_delta(&object.key) else { continue };
            if index.generation.as_ref().is_some_and(|g| g.description().deltas.0.contains(&delta)) {
                continue;
            }
            if index.recent.is_full() {
                tracing::info!("Index is full, older frames may be stored again");
                break;
            }
            index.add(&**store, object, key).await;
        }
        index.recent.sort();
        Ok(index)
    }

    async fn add(&mut self, store: &dyn ObjectStore, object: &Listed, key: &SealKey) {
        let opened = match store.get(&object.key).await {
            Ok(body) => Delta::open(&object.key, &body, key),
            Err(error) => Err(error.to_string()),
        };
        match opened {
            Ok(delta) => self.recent.add(delta, &self.excluded),
            Err(reason) => tracing::warn!(key = %object.key, reason, "Left out an index delta"),
        }
    }

    /// Where a frame of that id is, as far as the newest deltas know: asks nobody.
    pub fn recent(&self, id: FrameId) -> Option<Extent> {
        self.recent.get(id)
    }

    /// Where a frame of that id is. Asks the store where the generation may know it.
    pub async fn find(&self, id: FrameId) -> Option<Extent> {
        if let Some(extent) = self.recent(id) {
            return Some(extent);
        }
        let (extent, pack, row) = self.generation.as_ref()?.find(id).await?;
        if self.excluded.contains(pack) {
            return None;
        }
        self.found.lock().unwrap_or_else(PoisonError::into_inner).0.insert(pack, row);
        Some(extent)
    }

    /// What is known of those packs of a set in which frames were found.
    pub fn packs(&self, set: &PackSet) -> PackTable {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let all = found.0.iter().chain(&self.recent.packs().0);
        PackTable(all.filter(|(pack, _)| set.contains(**pack)).map(|(pack, row)| (*pack, *row)).collect())
    }
}

/// The packs that a generation offers, as its object `offers` says; `None` where that is not the object that was described.
pub fn offers(description: &Description, object: &[u8]) -> Option<PackSet> {
    let same = crate::frame::sha256(object) == description.offers.0;
    PackSet::decode(object).ok().filter(|_| same)
}
