//! Merging: the newest generation and the deltas that are not in it become the next generation. Source: `FORMAT.md` §10.
//!
//! Memory: one delta at a time (12 MB), then the new filter, one old and one new shard (5 MB each) and 16 kB for each delta; 40 MB at ten
//! million entries. The entries of the deltas are in an unlinked file meanwhile. Any number of writers may merge at once: each makes a
//! whole generation, and the one with the greatest name counts.

mod draft;
mod previous;

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use self::{draft::Draft, previous::Entries};
use super::{
    DELTAS_MAX,
    blocks::{ENTRIES, ShardEntry},
    delta::{Delta, INDEX_ENTRIES_MAX},
    description::{self, Contained, Description},
    runs::Runs,
};
use crate::{
    error::{Error, Result},
    keys::SealKey,
    layout,
    pack_set::PackSet,
    session::SessionId,
    store::{ErrorKind, Listed, ObjectStore, list_all},
    table::{PackKind, PackRef},
};

/// Deltas beyond the newest generation from which on a merge is considered.
pub const DELTAS_MERGE_AT: usize = 32;

/// Deltas from which on a merge is due even where they are few bytes: each session that asks the index reads them all.
const DELTAS_MERGE_ALWAYS: usize = 256;

/// Bytes of deltas from which on a merge is due however few they are: three quarters of what a session holds of them.
const BYTES_MERGE_ALWAYS: u64 = (INDEX_ENTRIES_MAX * ENTRIES.record) as u64 / 4 * 3;

/// Otherwise a merge is due when the deltas are at least one part in so many of the generation: it is written anew as a whole.
const MERGE_SHARE: u64 = 16;

/// Deltas in one merge: 8 MB of buffers. The next merge takes the others.
const MERGE_DELTAS_MAX: usize = 512;

/// Entries of deltas in one merge: 320 MB in the scratch file.
const MERGE_ENTRIES_MAX: usize = 8_000_000;

/// Most entries of a shard, on average over a generation: 5 MB.
const SHARD_ENTRIES: usize = 131_072;

/// Most shards: 67 million entries, 16 TiB of large files. A larger index is not merged.
const SHARDS_MAX: usize = 512;

/// Row of an entry whose pack is not offered any more.
const NO_ROW: u32 = u32::MAX;

/// A merge, by a session that knows what must not be referred to.
#[derive(Debug, Clone, Copy)]
pub struct Merge<'a> {
    /// Where the index is.
    pub store: &'a dyn ObjectStore,
    /// The key that seals it.
    pub key: &'a SealKey,
    /// Packs that the session must not refer to: they are left out.
    pub excluded: &'a PackSet,
    /// The store's time of the session's `.open`.
    pub opened: Timestamp,
    /// S.
    pub session_max: SignedDuration,
    /// The writer's clock, for the generation's name.
    pub now: Timestamp,
}

impl Merge<'_> {
    /// Makes a generation where that is due; gives its name.
    ///
    /// # Errors
    /// Those of the store, and where there is no room for a scratch file. What was stored by then is of no use and does no harm.
    pub async fn run(&self) -> Result<Option<SessionId>> {
        let mut listed: Vec<Listed> = list_all(self.store, layout::INDEX_DELTAS, DELTAS_MAX).await?;
        listed.sort_by(|a, b| a.key.cmp(&b.key));
        let (described, taken) = description::newest(self.store, self.key, self.session_max).await?;
        let base = described.first();
        let is_in = |delta: &(SessionId, u32)| base.is_some_and(|base| base.deltas.0.contains(delta));
        let named = listed.iter().filter_map(|object| Some((layout::parse_index_delta(&object.key)?, object)));
        let (contained, new): (Vec<_>, Vec<_>) = named.partition(|(delta, _)| is_in(delta));
        if !due(base, &new) {
            return Ok(None);
        }
        let bytes: u64 = new.iter().map(|(_, object)| object.size).sum();
        let most = base.map_or(0, Description::entries) as u64 + bytes / ENTRIES.record as u64;
        if most > (SHARDS_MAX * SHARD_ENTRIES) as u64 {
            tracing::info!(entries = most, "The index is too large to be merged");
            return Ok(None);
        }
        let id = SessionId::new(name_time(taken, self.now)).map_err(|e| Error::Random(e.to_string()))?;
        let mut draft = Draft::new(self, id);
        let rows = match base {
            Some(base) => previous::rows(self, base, &mut draft).await?,
            None => Vec::new(),
        };
        let mut runs = Runs::new()?;
        let mut deltas: BTreeSet<(SessionId, u32)> = contained.iter().map(|(delta, _)| *delta).collect();
        deltas.extend(self.absorb(&new, &mut draft, &mut runs).await?);
        let entries = runs.entries() + base.map_or(0, Description::entries);
        let shards = entries.div_ceil(SHARD_ENTRIES).max(1).next_power_of_two();
        draft.begin_entries(entries, shards).await?;
        merge(runs, Entries::new(self, base, rows), &mut draft).await?;
        draft.publish(Contained(deltas)).await?;
        tracing::info!(generation = %id, entries, "Merged the index");
        Ok(Some(id))
    }

    /// Takes over the oldest deltas, as many as one merge takes; gives those that need not be read any more.
    async fn absorb(
        &self,
        deltas: &[((SessionId, u32), &Listed)],
        draft: &mut Draft<'_>,
        runs: &mut Runs,
    ) -> Result<Vec<(SessionId, u32)>> {
        let mut done = Vec::new();
        let mut numbers: HashMap<PackRef, u32> = HashMap::new();
        for (name, object) in deltas.iter().take(MERGE_DELTAS_MAX) {
            if runs.entries() >= MERGE_ENTRIES_MAX {
                break;
            }
            let body = match self.store.get(&object.key).await {
                Ok(body) => body,
                // A prune was faster.
                Err(error) if error.kind == ErrorKind::Missing => continue,
                Err(error) => return Err(error.into()),
            };
            match Delta::open(&object.key, &body, self.key) {
                Ok(delta) => runs.add(self.entries(delta, &mut numbers, draft).await?)?,
                Err(reason) => tracing::warn!(key = %object.key, reason, "Dropped an index delta"),
            }
            done.push(*name);
        }
        Ok(done)
    }

    /// The entries of a delta whose packs may be offered.
    async fn entries(
        &self,
        delta: Delta,
        numbers: &mut HashMap<PackRef, u32>,
        draft: &mut Draft<'_>,
    ) -> Result<Vec<ShardEntry>> {
        for (pack, row) in &delta.packs.0 {
            if !self.excluded.contains(*pack) && !numbers.contains_key(pack) {
                numbers.insert(*pack, draft.row(*pack, row).await?);
            }
        }
        let entry = |e: super::IndexEntry| {
            let row = *numbers.get(&e.extent.pack.of(PackKind::Data))?;
            Some(ShardEntry::new(e.id, row, &e.extent))
        };
        Ok(delta.entries.into_iter().filter_map(entry).collect())
    }
}

/// Whether these deltas are worth a new generation.
fn due(base: Option<&Description>, deltas: &[((SessionId, u32), &Listed)]) -> bool {
    let bytes: u64 = deltas.iter().map(|(_, object)| object.size).sum();
    let generation = base.map_or(0, |base| (base.entries() * ENTRIES.record) as u64);
    let worth_it = deltas.len() > DELTAS_MERGE_AT && bytes.saturating_mul(MERGE_SHARE) >= generation;
    worth_it || deltas.len() > DELTAS_MERGE_ALWAYS || bytes > BYTES_MERGE_ALWAYS
}

/// The time in a generation's name: now, but after every other one, so that the newest sorts last even where a clock was set back.
fn name_time(taken: Option<SessionId>, now: Timestamp) -> Timestamp {
    let after = taken.and_then(|id| id.started().checked_add(SignedDuration::from_millis(1)).ok());
    after.map_or(now, |after| after.max(now))
}

/// All entries in order; of equal ids the newest one.
async fn merge(mut runs: Runs, mut previous: Entries<'_>, draft: &mut Draft<'_>) -> Result<()> {
    runs.start()?;
    let mut old = previous.next().await?;
    let mut last = None;
    loop {
        let entry = match (runs.peek(), old) {
            (None, None) => return Ok(()),
            (Some(new), Some(entry)) if entry.id < new => {
                old = previous.next().await?;
                Some(entry)
            }
            (None, Some(entry)) => {
                old = previous.next().await?;
                Some(entry)
            }
            (Some(_), _) => runs.next()?,
        };
        if let Some(entry) = entry.filter(|entry| last != Some(entry.id)) {
            last = Some(entry.id);
            draft.entry(&entry).await?;
        }
    }
}
