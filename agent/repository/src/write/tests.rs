//! A year of nightly runs in small: what the index costs later sessions.

use std::sync::Arc;

use jiff::SignedDuration;
use tokio::runtime::Handle;

use super::{NewFrame, Session, SessionPlan};
use crate::{
    commit::{CommitKind, Packs},
    frame::{Compressor, sha256},
    keys::Keys,
    layout::{self, VolumeName},
    pack::FrameKind,
    prune::Prune,
    repository::Repository,
    store::{list_all, memory::Memory},
    table::{Extent, Flags, Inode, Kind, Metadata, PackKind, Row},
};

/// One session that stores one new chunk, and refers to an old one where it finds it; gives the new chunk's place, and the old one's.
fn run(
    repository: &Repository,
    plan: SessionPlan,
    new: &[u8],
    old: &[u8],
    runtime: &Handle,
) -> (Extent, Option<Extent>) {
    let session = runtime.block_on(Session::begin(repository, plan)).expect("memory");
    let known = session.known();
    let found = known.find(known.frame_id(&sha256(old)));
    let mut writer = {
        let _inside = runtime.enter();
        session.writer().expect("memory")
    };
    let (hash, plain) = (sha256(new), u32::try_from(new.len()).expect("short"));
    let frame = Compressor::new(1).and_then(|mut c| c.frame(new)).expect("zstd");
    let id = Some(known.frame_id(&hash));
    let stored = writer.frame(&NewFrame { kind: FrameKind::Chunk, id, sha256: hash, plain, frame }).expect("memory");
    for extent in [Some(stored), found].into_iter().flatten() {
        writer.extent(extent).expect("memory");
    }
    let root = Row {
        path: Vec::new(),
        kind: Kind::Directory,
        metadata: Metadata::default(),
        inode: Inode::default(),
        flags: Flags::default(),
        member: Vec::new(),
    };
    writer.row(root).expect("memory");
    let finished = writer.finish(CommitKind::Complete, u64::from(plain)).expect("memory");
    let adopted = |packs: Packs| packs.adopted;
    let foreign = found.is_some_and(|f| f.pack.session != finished.id.session);
    assert_eq!(finished.commit.packs.map(adopted), Some(u64::from(foreign)), "found packs are in the session's table");
    (stored, found)
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
