//! A year of nightly runs in small: what the index costs later sessions.

use std::{collections::BTreeSet, sync::Arc};

use jiff::SignedDuration;
use tokio::runtime::Handle;

use super::{NewFrame, Session, SessionPlan};
use crate::{
    commit::{CommitKind, Packs},
    error::Result,
    frame::{Compressor, sha256},
    keys::Keys,
    layout::{self, GenerationPart, VolumeName},
    pack::FrameKind,
    prune::Prune,
    repository::Repository,
    session::SessionId,
    store::{ObjectStore, list_all, memory::Memory},
    table::{Extent, Flags, Inode, Kind, Metadata, PackKind, Row},
    testing::{Faulty, Recorded, Stop},
};

/// Objects that these tests list at most.
const ALL: usize = 10_000;

/// The row of an empty volume's root.
fn root() -> Row {
    Row {
        path: Vec::new(),
        kind: Kind::Directory,
        metadata: Metadata::default(),
        inode: Inode::default(),
        flags: Flags::default(),
        member: Vec::new(),
    }
}

/// One session that stores one new chunk, and refers to an old one where it finds it; gives the new chunk's place, and the old one's.
fn run(
    repository: &Repository,
    plan: SessionPlan,
    new: &[u8],
    old: &[u8],
    runtime: &Handle,
) -> (Extent, Option<Extent>) {
    attempt(repository, plan, new, old, runtime).expect("memory")
}

/// The same on a store that may fail.
fn attempt(
    repository: &Repository,
    plan: SessionPlan,
    new: &[u8],
    old: &[u8],
    runtime: &Handle,
) -> Result<(Extent, Option<Extent>)> {
    let session = runtime.block_on(Session::begin(repository, plan))?;
    let known = session.known();
    let found = known.find(known.frame_id(&sha256(old)));
    let mut writer = {
        let _inside = runtime.enter();
        session.writer()?
    };
    let (hash, length) = (sha256(new), u32::try_from(new.len()).expect("short"));
    let frame = Compressor::new(1).and_then(|mut c| c.frame(new)).expect("zstd");
    let id = Some(known.frame_id(&hash));
    let stored = writer.frame(&NewFrame { kind: FrameKind::Chunk, id, sha256: hash, plain: length, frame })?;
    for extent in [Some(stored), found].into_iter().flatten() {
        writer.extent(extent)?;
    }
    writer.row(root())?;
    let finished = writer.finish(CommitKind::Complete, u64::from(length))?;
    let adopted = |packs: Packs| packs.adopted;
    let foreign = found.is_some_and(|f| f.pack.session != finished.id.session);
    assert_eq!(finished.commit.packs.map(adopted), Some(u64::from(foreign)), "found packs are in the session's table");
    Ok((stored, found))
}

/// A copy with all times: what others find after a process died.
fn copy(runtime: &Handle, from: &Memory) -> Memory {
    let copy = Memory::new();
    for object in runtime.block_on(list_all(from, "v1/", ALL)).expect("memory") {
        let body = runtime.block_on(from.get(&object.key)).expect("listed");
        copy.set_now(object.modified);
        runtime.block_on(copy.create(&object.key, body)).expect("memory");
    }
    copy.set_now(from.now());
    copy
}

/// Names of the generations of which some object is stored, and of those that are published.
fn generations(runtime: &Handle, store: &dyn ObjectStore) -> [BTreeSet<SessionId>; 2] {
    let listed = runtime.block_on(list_all(store, layout::INDEX_GENERATIONS, ALL)).expect("memory");
    let parts: Vec<_> = listed.iter().filter_map(|o| layout::parse_generation(&o.key)).collect();
    let published = parts.iter().filter(|(_, part)| *part == GenerationPart::Description);
    [parts.iter().map(|(id, _)| *id).collect(), published.map(|(id, _)| *id).collect()]
}

/// A repository in which the next session that adds to the index merges it: its volumes, and where their chunks are.
struct Year {
    store: Arc<Memory>,
    keys: Keys,
    places: Vec<Extent>,
}

impl Year {
    fn new(runtime: &Handle) -> Self {
        let store = Arc::new(Memory::new());
        let keys = Keys::from_parts([1; 32], [2; 32]);
        let repository = runtime.block_on(Repository::init(store.clone(), &[], &keys, store.now())).expect("memory");
        let mut year = Self { store, keys, places: Vec::new() };
        for n in 0..32 {
            let (stored, _) = run(&repository, year.plan(n), &[n; 5000], &[0; 5000], runtime);
            year.places.push(stored);
            year.store.advance(SignedDuration::from_hours(1));
        }
        year
    }

    fn plan(&self, n: u8) -> SessionPlan {
        let volume = VolumeName::new(&format!("v{n}")).expect("a name");
        SessionPlan { uid: String::new(), keys: self.keys.for_volume(&volume), volume, now: self.store.now() }
    }

    fn open(&self, runtime: &Handle, store: Arc<dyn ObjectStore>) -> Repository {
        runtime.block_on(Repository::open(store, Some(self.keys.root().public()))).expect("memory")
    }

    /// Asserts that after such a death all goes on, loses nothing, and leaves one generation and no trace of the dead merge.
    fn assert_whole(&self, runtime: &Handle, store: &Arc<Faulty<Memory>>, when: &str) {
        let repository = self.open(runtime, store.clone());
        let (stored, found) = run(&repository, self.plan(41), &[41; 5000], &[0; 5000], runtime);
        assert_eq!(found, Some(self.places[0]), "{when}");
        assert!(!generations(runtime, &**store)[1].is_empty(), "the next session merges, {when}");
        let prune = Prune::of(&repository).expect("limits are whole");
        for _ in 0..3 {
            store.inner().advance(SignedDuration::from_hours(100));
            let now = store.inner().now();
            runtime.block_on(async { prune.execute(&prune.plan(now).await?).await }).expect("memory");
        }
        let [stray, published] = generations(runtime, &**store);
        assert_eq!((stray.len(), stray), (1, published), "{when}");
        for extent in self.places.iter().chain([&stored]) {
            let key = layout::pack(extent.pack.of(PackKind::Data));
            runtime.block_on(store.get(&key)).unwrap_or_else(|error| unreachable!("{when}: {error}"));
        }
        let (_, found) = run(&repository, self.plan(42), &[42; 5000], &[0; 5000], runtime);
        assert_eq!(found, Some(self.places[0]), "{when}");
    }
}

#[test]
fn a_session_that_dies_at_any_call_of_its_merge_has_committed_and_a_prune_sweeps_what_the_merge_left() {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("threads");
    let runtime = threads.handle();
    let year = Year::new(runtime);
    let (mut committed, mut strays) = (0, 0);
    for stop in [Stop::BeforeEffect, Stop::AfterEffect] {
        for calls in 0.. {
            let store = Arc::new(Faulty::new(copy(runtime, &year.store)));
            let repository = year.open(runtime, store.clone());
            let before = store.calls();
            store.stop_after(calls, stop);
            let lived = attempt(&repository, year.plan(40), &[40; 5000], &[0; 5000], runtime);
            let ended = store.calls() - before <= calls;
            store.heal();
            committed += usize::from(lived.is_ok() && !ended);
            let [all, published] = generations(runtime, &*store);
            strays += usize::from(all != published);
            year.assert_whole(runtime, &store, &format!("{stop:?} at call {calls}"));
            if ended {
                break;
            }
        }
    }
    // The merge lists twice, reads 33 deltas and writes six objects.
    assert!(committed > 80 && strays > 8, "{committed} deaths after the commit, {strays} unfinished generations");
}

#[test]
fn a_session_that_adds_nothing_to_the_index_sends_no_request_to_it() {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("threads");
    let runtime = threads.handle();
    let year = Year::new(runtime);
    let store = Arc::new(Recorded::new(copy(runtime, &year.store)));
    let repository = year.open(runtime, store.clone());
    let session = runtime.block_on(Session::begin(&repository, year.plan(40))).expect("memory");
    let mut writer = {
        let _inside = runtime.enter();
        session.writer().expect("memory")
    };
    writer.row(root()).expect("memory");
    writer.finish(CommitKind::Complete, 0).expect("memory");
    let asked: Vec<String> = store.take().into_iter().map(|call| call.key).filter(|k| k.contains("/ix/")).collect();
    assert_eq!(asked, Vec::<String>::new());
}

#[test]
fn forty_sessions_leave_few_deltas_and_the_first_ones_chunk_is_still_found() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("threads");
    let store = Arc::new(Memory::new());
    let keys = Keys::from_parts([1; 32], [2; 32]);
    let repository = runtime.block_on(Repository::init(store.clone(), &[], &keys, store.now())).expect("memory");
    let volume = |n: u8| VolumeName::new(&format!("v{n}")).expect("a name");
    let plan = |n: u8| SessionPlan {
        volume: volume(n),
        uid: String::new(),
        keys: keys.for_volume(&volume(n)),
        now: store.now(),
    };
    let mut places = Vec::new();
    for n in 0..40 {
        // Each session is of another volume, so that only the index can tell it of the first one's chunk.
        let (stored, found) = run(&repository, plan(n), &[n; 5000], &[0; 5000], runtime.handle());
        places.push(stored);
        assert_eq!(found, (n > 0).then_some(places[0]), "session {n}");
        store.advance(SignedDuration::from_hours(24));
    }
    let prune = Prune::of(&repository).expect("limits are whole");
    let report = runtime.block_on(async { prune.execute(&prune.plan(store.now()).await?).await }).expect("memory");
    let deltas = runtime.block_on(list_all(&*store, layout::INDEX_DELTAS, 1000)).expect("memory");
    assert_eq!((report.cleared_objects, deltas.len(), places[0].pack.of(PackKind::Data).number), (33, 7, 0));
    let (_, found) = run(&repository, plan(40), &[40; 5000], &[0; 5000], runtime.handle());
    assert_eq!(found, Some(places[0]));
}
