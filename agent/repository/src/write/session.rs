//! The beginning of a session: its name, what it must not refer to, and what it starts from.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Instant,
};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::runtime::Handle;

use super::{
    base::{BaseRows, leave_out},
    part::Part,
    snapshot::SnapshotWriter,
    uploads::create,
};
use crate::{
    commit::{Commit, CommitKind, NO_COMMIT, Sha256Hex},
    config::FORMAT,
    error::{Error, Result},
    frame::FrameId,
    index::Index,
    keys::TaskKeys,
    layout::{self, Beside, SnapshotId, VolumeName},
    pack_set::PackSet,
    pack_table::PackTable,
    read::{meta::MetaReader, packs, rows},
    repository::{Repository, snapshots_in},
    seal::Identity,
    session::SessionId,
    store::{self, ErrorKind, Listed, ObjectStore, list_all},
    table::{BlockRef, Extent, MetaRef, PackKind, PackRef},
};

/// Condemned sets and marks of damaged packs that a session reads; a prune removes them after some weeks.
const EXCLUSIONS_MAX: usize = 10_000;
/// Objects beside a volume's snapshots that are listed.
const BESIDE_MAX: usize = 100_000;
/// Snapshots that are tried as a base, newest first, when the newest are damaged.
const BASES_TRIED_MAX: usize = 3;
/// Frames of this session that are found again by their id: 40 MB. The oldest stay, later ones are stored again where they recur.
const FRESH_MAX: usize = 500_000;
/// Share of the longest session after which it must end, in percent: the rest is for its last uploads.
const DEADLINE_PERCENT: i64 = 90;
/// A commit later than this before the end of the longest session is checked again, in seconds.
pub(super) const LATE_SECONDS: i64 = 15 * 60;

/// What a session is to write.
#[derive(Debug, Clone)]
pub struct SessionPlan {
    /// The volume.
    pub volume: VolumeName,
    /// What the volume is outside of its name; may be empty.
    pub uid: String,
    /// Keys of the session.
    pub keys: TaskKeys,
    /// The writer's clock, for the session's name.
    pub now: Timestamp,
}

/// A session that has begun.
#[derive(Debug)]
pub struct Session {
    pub(super) repository: Repository,
    pub(super) plan: SessionPlan,
    pub(super) id: SessionId,
    pub(super) opened: Timestamp,
    /// When it began by a clock that nobody sets.
    pub(super) began: Instant,
    pub(super) excluded: Arc<PackSet>,
    pub(super) base: Option<SessionId>,
    pub(super) seq: u64,
    pub(super) prev: Sha256Hex,
    pub(super) tables: Vec<Vec<BlockRef>>,
    pub(super) roots: Vec<MetaRef>,
    pub(super) adopted: PackTable,
    /// What read the base; it still holds packs that the rows are in.
    reader: Option<MetaReader>,
    known: Known,
}

/// Frames that need not be stored: those of the index, loaded when first asked for, and those of this session. Shared by threads.
#[derive(Debug, Clone)]
pub struct Known {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn ObjectStore>,
    keys: TaskKeys,
    excluded: Arc<PackSet>,
    session_max: SignedDuration,
    runtime: Handle,
    index: OnceLock<Index>,
    fresh: RwLock<HashMap<FrameId, Extent>>,
}

impl Known {
    /// The id of a frame with that hash.
    pub fn frame_id(&self, sha256: &[u8; 32]) -> FrameId {
        self.shared.keys.frame_id(sha256)
    }

    /// The id of a small file's content with that hash.
    pub fn content_id(&self, sha256: &[u8; 32]) -> FrameId {
        self.shared.keys.content_id(sha256)
    }

    /// Where a frame of that id is stored already. Must not be called on a runtime's thread: the first call loads the index.
    /// Later calls ask the store at most once or twice, and only for an id that the merged index most likely has.
    pub fn find(&self, id: FrameId) -> Option<Extent> {
        let known = self.fresh(id).or_else(|| self.index().recent(id));
        known.or_else(|| self.shared.runtime.block_on(self.index().find(id)))
    }

    fn index(&self) -> &Index {
        let Shared { store, keys, excluded, session_max, runtime, index, .. } = &*self.shared;
        index.get_or_init(|| {
            runtime.block_on(Index::load(store, &keys.index, excluded, *session_max)).unwrap_or_else(|error| {
                tracing::warn!(%error, "The index cannot be read; frames may be stored again");
                Index::default()
            })
        })
    }

    /// Those packs of a set that the index knows, where it was needed.
    pub(super) fn packs(&self, set: &PackSet) -> PackTable {
        self.shared.index.get().map(|index| index.packs(set)).unwrap_or_default()
    }

    pub(super) fn fresh(&self, id: FrameId) -> Option<Extent> {
        self.shared.fresh.read().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
    }

    pub(super) fn add(&self, id: FrameId, extent: Extent) {
        let mut fresh = self.shared.fresh.write().unwrap_or_else(PoisonError::into_inner);
        if fresh.len() < FRESH_MAX {
            fresh.insert(id, extent);
        }
    }
}

#[derive(Serialize)]
struct OpenMark<'a> {
    format: &'a str,
    session: String,
    volume: String,
    agent: &'a str,
    base: Option<String>,
    adopts: Vec<String>,
}

impl Session {
    /// Begins a session: names it in the store, then reads what it must not refer to, then finds what it starts from.
    ///
    /// # Errors
    /// Those of the store. Damage of earlier snapshots is no error: it costs reading again.
    pub async fn begin(repository: &Repository, plan: SessionPlan) -> Result<Self> {
        let store = repository.store();
        let listed = list_all(&**store, &layout::snapshots_of(&plan.volume), BESIDE_MAX).await?;
        let id = SessionId::new(name_time(&listed, plan.now)).map_err(|e| Error::Random(e.to_string()))?;
        let dead = dead_session(&listed, &plan.volume);
        let mark = OpenMark {
            format: FORMAT,
            session: id.to_string(),
            volume: plan.volume.escaped(),
            agent: env!("CARGO_PKG_VERSION"),
            base: snapshots_in(&listed).last().map(|s| s.id.session.to_string()),
            adopts: dead.iter().map(|(session, _)| session.to_string()).collect(),
        };
        let mark = serde_json::to_vec(&mark).map_err(|_| Error::Bug("a session's mark is no JSON"))?;
        // The mark comes before the lists of what is condemned: a pack that is not in them was not condemned when the session began.
        let began = Instant::now();
        let opened = create(&**store, &layout::session_open(id), Bytes::from(mark)).await?;
        let excluded = Arc::new(excluded(&**store).await?);
        let known = Known {
            shared: Arc::new(Shared {
                store: store.clone(),
                keys: plan.keys.clone(),
                excluded: excluded.clone(),
                session_max: SignedDuration::from_secs(repository.config().gc.session_max_s),
                runtime: Handle::current(),
                index: OnceLock::new(),
                fresh: RwLock::default(),
            }),
        };
        let (seq, prev) = (0, NO_COMMIT);
        let (base, tables, roots, adopted) = (None, Vec::new(), Vec::new(), PackTable::default());
        let repository = repository.clone();
        let reader = None;
        let mut session = Self {
            repository,
            plan,
            id,
            opened,
            began,
            excluded,
            base,
            seq,
            prev,
            tables,
            roots,
            adopted,
            reader,
            known,
        };
        session.find_base(&listed).await?;
        if let Some((dead, parts)) = dead.filter(|(dead, _)| session.base.is_none_or(|base| *dead > base)) {
            session.adopt_parts(dead, parts).await?;
        }
        Ok(session)
    }

    fn new_reader(&self) -> Result<MetaReader> {
        let state = Identity::of_state(&self.plan.keys.state)
            .map_err(|source| Error::Seal { key: layout::session_open(self.id), source })?;
        MetaReader::new(self.repository.clone(), state.0)
    }

    /// Takes the newest complete snapshot that can be read, and a newer partial one before it.
    async fn find_base(&mut self, listed: &[Listed]) -> Result<()> {
        let mut reader = self.new_reader()?;
        for entry in snapshots_in(listed).iter().rev().take(BASES_TRIED_MAX) {
            let found = async {
                let (commit, hash) = self.repository.commit(&entry.id).await?;
                let blocks = rows::blocks(&mut reader, &commit).await?;
                let adopted = match &commit.packs {
                    Some(packs) if packs.adopted > 0 => packs::own_table(&self.repository, &commit).await?,
                    _ => PackTable::default(),
                };
                Ok::<_, Error>((commit, hash, blocks, adopted))
            };
            match found.await {
                Ok((commit, hash, blocks, adopted)) => {
                    if self.take_base(&commit, hash, blocks, adopted) == CommitKind::Complete {
                        break;
                    }
                }
                Err(error) => leave_out(error)?,
            }
        }
        self.reader = Some(reader);
        Ok(())
    }

    fn take_base(&mut self, commit: &Commit, hash: [u8; 32], blocks: Vec<BlockRef>, own: PackTable) -> CommitKind {
        if self.base.is_none() {
            (self.base, self.seq, self.prev) = (Some(commit.session), commit.seq, Sha256Hex(hash));
            self.roots = commit.table.root.iter().map(|root| MetaRef::from(*root)).collect();
        }
        self.tables.push(blocks);
        self.adopted.0.extend(own.0.into_iter().filter(|(pack, _)| pack.session != commit.session));
        commit.kind
    }

    /// Takes over what a dead session had finished; all of its parts, or those before the first damaged one.
    async fn adopt_parts(&mut self, dead: SessionId, parts: u32) -> Result<()> {
        let id = SnapshotId { volume: self.plan.volume.clone(), session: dead };
        let mut blocks = Vec::new();
        for k in 0..parts {
            let key = layout::beside(&id, Beside::Part(k));
            let object = match self.repository.store().get(&key).await {
                Ok(object) => object,
                // A prune may have removed it since it was listed.
                Err(error) => {
                    leave_out(error.into())?;
                    break;
                }
            };
            match Part::open(&key, &object, &self.plan.keys.part) {
                Ok(part) => {
                    blocks.extend(part.blocks);
                    self.adopted.0.extend(part.packs.0);
                }
                Err(reason) => {
                    tracing::warn!(%key, reason, "Left out the rest of a partial table");
                    break;
                }
            }
        }
        tracing::info!(session = %dead, blocks = blocks.len(), "Going on where a session that died had been");
        self.tables.insert(0, blocks);
        Ok(())
    }

    /// Its name.
    pub fn id(&self) -> SnapshotId {
        SnapshotId { volume: self.plan.volume.clone(), session: self.id }
    }

    /// The session whose snapshot it starts from.
    pub fn base(&self) -> Option<SessionId> {
        self.base
    }

    /// Frames that need not be stored.
    pub fn known(&self) -> Known {
        self.known.clone()
    }

    /// Rows to compare a walk with.
    pub fn base_rows(&mut self) -> Result<BaseRows> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.new_reader()?,
        };
        Ok(BaseRows::new(reader, self.tables.clone()))
    }

    /// Whether a row may refer to that pack.
    pub fn may_refer_to(&self, pack: PackRef) -> bool {
        !self.excluded.contains(pack)
    }

    /// Packs that it must not refer to.
    pub fn excluded(&self) -> Arc<PackSet> {
        self.excluded.clone()
    }

    /// How long it may run before it must end.
    pub fn time_limit(&self) -> SignedDuration {
        SignedDuration::from_secs(self.repository.config().gc.session_max_s * DEADLINE_PERCENT / 100)
    }

    /// The seed of the cut.
    pub fn gear_seed(&self) -> u64 {
        self.plan.keys.gear
    }

    /// Begins to write. The writer's calls block and belong on a plain thread; its uploads are tasks of the current runtime.
    pub fn writer(self) -> Result<SnapshotWriter> {
        SnapshotWriter::new(self, Handle::current())
    }
}

/// The time in a session's name: now, but after every earlier session of the volume, so that the newest sorts last even where a clock
/// was set back.
fn name_time(listed: &[Listed], now: Timestamp) -> Timestamp {
    let newest = listed.iter().filter_map(|o| layout::parse_beside(&o.key)).map(|(id, _)| id.session.started()).max();
    let after = newest.and_then(|t| t.checked_add(SignedDuration::from_millis(1)).ok());
    after.map_or(now, |after| after.max(now))
}

/// The newest session with parts and without a commit, and how many parts there are without a gap.
fn dead_session(listed: &[Listed], volume: &VolumeName) -> Option<(SessionId, u32)> {
    let beside: Vec<_> = listed.iter().filter_map(|o| layout::parse_beside(&o.key)).collect();
    let newest = beside.iter().filter(|(id, what)| id.volume == *volume && matches!(what, Beside::Part(_)));
    let newest = newest.map(|(id, _)| id.session).max()?;
    let has = |what: Beside| beside.iter().any(|(id, w)| id.session == newest && *w == what);
    let parts = (0..u32::MAX).find(|k| !has(Beside::Part(*k)))?;
    (parts > 0 && !has(Beside::Commit)).then_some((newest, parts))
}

/// All packs that were ever condemned or found damaged, as far as the store still says so.
pub(super) async fn excluded(store: &dyn ObjectStore) -> Result<PackSet> {
    let mut excluded = PackSet::default();
    for object in list_all(store, layout::BAD, EXCLUSIONS_MAX).await? {
        if let Some(pack) = layout::parse_bad(&object.key) {
            excluded.add(pack, 0);
        }
    }
    // A set that went away since it was listed would not be listed now: none of its packs is stored, or named by the index.
    excluded.merge(&condemned(store).await?.packs);
    Ok(excluded)
}

/// Packs that were condemned, as far as the store still says so.
#[derive(Debug, Default)]
pub(super) struct Condemned {
    pub(super) packs: PackSet,
    /// Whether a prune removed a set between the listing and its turn: what it named is not known.
    pub(super) vanished: bool,
}

/// All packs that were condemned. A set that is there and cannot be read is an error: without it nothing can safely be referred to.
pub(super) async fn condemned(store: &dyn ObjectStore) -> Result<Condemned> {
    let mut all = Condemned::default();
    for object in list_all(store, layout::CONDEMNED, EXCLUSIONS_MAX).await? {
        match store.get(&object.key).await {
            Ok(body) => {
                let set = PackSet::decode(&body).map_err(|source| Error::Malformed { key: object.key, source })?;
                all.packs.merge(&set);
            }
            Err(store::Error { kind: ErrorKind::Missing, .. }) => all.vanished = true,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(all)
}

impl Session {
    /// Recipients of the two series: data packs, and meta packs, which the volume's state key opens too.
    pub(super) fn recipients(&self, kind: PackKind) -> Result<Vec<crate::seal::Recipient>> {
        let mut recipients = self.repository.recipients()?;
        if kind == PackKind::Meta && !recipients.is_empty() {
            let state = crate::seal::Recipient::of_state(&self.plan.keys.state)
                .map_err(|source| Error::Seal { key: layout::session_open(self.id), source })?;
            recipients.push(state);
        }
        Ok(recipients)
    }
}
