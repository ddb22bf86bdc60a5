//! Sessions and what happens beside them: sets that are condemned or go away, commits that come late, files that are given up.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use trysail_repository::{
    Error, Repository, Result,
    check::{CheckOptions, Subset, check},
    commit::CommitKind,
    frame::{Compressor, sha256},
    keys::Keys,
    layout::{self, VolumeName},
    pack::FrameKind,
    pack_set::PackSet,
    session::SessionId,
    store::{ErrorKind, Key, ObjectStore, list_all, memory::Memory},
    table::{Content, Extent, Flags, Inode, Kind, Metadata, PackKind, PackRef, Row},
    testing::{Fault, Faulty, Op},
    write::{Finished, NewFrame, Session, SessionPlan, SnapshotWriter},
};

/// Objects that these tests list at most.
const ALL: usize = 10_000;

/// Extents of a long member: more than one list of them (`table::block::LIST_EXTENTS_MAX`), and a rest.
const MANY: usize = 20_000;

/// A repository in a store that a test may break.
struct Scene {
    store: Arc<Faulty<Memory>>,
    repository: Repository,
}

fn keys() -> Keys {
    Keys::from_parts([1; 32], [2; 32])
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a time")
}

async fn scene() -> Scene {
    let store = Arc::new(Faulty::new(Memory::new()));
    let repository = Repository::init(store.clone(), &[], &keys(), time(0)).await.expect("a new repository");
    Scene { store, repository }
}

fn row(path: &str, kind: Kind) -> Row {
    let metadata = Metadata { mode: 0o644, ..Metadata::default() };
    Row { path: path.into(), kind, metadata, inode: Inode::default(), flags: Flags::default(), member: Vec::new() }
}

fn file(content: &[u8]) -> Kind {
    Kind::File(Content { size: content.len() as u64, sha256: sha256(content), segments: None })
}

fn frame(writer: &mut SnapshotWriter, plain: &[u8]) -> Result<Extent> {
    let frame = Compressor::new(1).and_then(|mut c| c.frame(plain)).map_err(Error::Compress)?;
    let length = u32::try_from(plain.len()).expect("short");
    writer.frame(&NewFrame { kind: FrameKind::Chunk, id: None, sha256: sha256(plain), plain: length, frame })
}

/// A root and a file of one block.
fn fill(writer: &mut SnapshotWriter) -> Result<()> {
    let header = frame(writer, &[b'h'; 512])?;
    writer.extent(header)?;
    writer.row(row("", Kind::Directory))?;
    let member = frame(writer, &[b'm'; 1024])?;
    writer.extent(member)?;
    writer.row(row("a", file(&[b'm'; 512])))
}

impl Scene {
    async fn begin(&self, second: i64) -> Result<Session> {
        let volume = VolumeName::new("data").expect("a name");
        let keys = keys().for_volume(&volume);
        Session::begin(&self.repository, SessionPlan { volume, uid: String::new(), keys, now: time(second) }).await
    }

    /// A whole session.
    async fn write<F>(&self, second: i64, work: F) -> Result<Finished>
    where
        F: FnOnce(&mut SnapshotWriter) -> Result<()> + Send + 'static,
    {
        self.write_as(second, CommitKind::Complete, work).await
    }

    async fn write_as<F>(&self, second: i64, kind: CommitKind, work: F) -> Result<Finished>
    where
        F: FnOnce(&mut SnapshotWriter) -> Result<()> + Send + 'static,
    {
        let mut writer = self.begin(second).await.expect("begins").writer().expect("writes");
        let finished = tokio::task::spawn_blocking(move || {
            work(&mut writer)?;
            writer.finish(kind, 0)
        });
        finished.await.expect("no panic")
    }

    async fn condemn(&self, n: u8, pack: PackRef) -> Key {
        let set: PackSet = [(pack, 0)].into_iter().collect();
        let key = layout::condemned(SessionId::from_bytes([n; 16]));
        self.store.create(&key, set.encode().into()).await.expect("memory takes it");
        key
    }

    async fn void(&self) -> usize {
        let listed = list_all(&*self.store, layout::SNAPSHOTS, ALL).await.expect("memory lists");
        listed
            .iter()
            .filter(|object| object.key.as_str().rsplit_once('.').is_some_and(|(_, end)| end == "void"))
            .count()
    }
}

fn pack_of(n: u8) -> PackRef {
    PackRef { session: SessionId::from_bytes([n; 16]), kind: PackKind::Data, number: 0 }
}

#[tokio::test]
async fn a_condemned_set_that_goes_between_its_listing_and_its_reading_stops_no_session() {
    let scene = scene().await;
    let gone = scene.condemn(200, pack_of(1)).await;
    scene.condemn(201, pack_of(2)).await;
    scene.store.on_key(Some(Op::Get), gone.as_str(), 1, Fault::Fail(ErrorKind::Missing));
    let session = scene.begin(1).await.expect("begins");
    let may = [pack_of(1), pack_of(2)].map(|pack| session.may_refer_to(pack));
    assert_eq!(may, [true, false], "what is still there counts");
}

#[tokio::test]
async fn a_condemned_set_that_is_there_and_cannot_be_read_stops_the_session() {
    let scene = scene().await;
    let key = scene.condemn(200, pack_of(1)).await;
    scene.store.on_key(Some(Op::Get), key.as_str(), 1, Fault::Fail(ErrorKind::Denied));
    let error = scene.begin(1).await.expect_err("it does not know what it must not refer to");
    assert!(matches!(&error, Error::Store(error) if error.kind == ErrorKind::Denied), "{error}");
}

/// What becomes of a commit that is stored so many hours after its session began; `condemns` is done before that.
async fn late(hours: i64, condemns: Option<Fault>) -> (Result<CommitKind>, usize) {
    let scene = scene().await;
    let store = scene.store.clone();
    let runtime = tokio::runtime::Handle::current();
    let finished = scene.write(1, move |writer| {
        fill(writer)?;
        writer.checkpoint()?;
        let packs = runtime.block_on(list_all(&*store, layout::packs_prefix(PackKind::Data), ALL))?;
        let own = layout::parse_pack(&packs[0].key).expect("a pack");
        if let Some(fault) = condemns {
            let set: PackSet = [(own, 0)].into_iter().collect();
            let key = layout::condemned(SessionId::from_bytes([200; 16]));
            runtime.block_on(store.create(&key, set.encode().into()))?;
            store.on_key(Some(Op::Get), key.as_str(), 1, fault);
        }
        store.inner().advance(SignedDuration::from_hours(hours));
        Ok(())
    });
    (finished.await.map(|finished| finished.commit.kind), scene.void().await)
}

#[tokio::test]
async fn a_late_commit_is_void_where_its_packs_were_condemned_or_that_is_no_longer_known() {
    let read = Fault::Delay(std::time::Duration::ZERO);
    let complete = || Ok(CommitKind::Complete);
    assert_eq!(late(1, None).await, (complete(), 0));
    assert_eq!(late(48, None).await, (complete(), 0));
    assert_eq!(late(48, Some(read)).await, (Err(Error::Deadline(24)), 1));
    assert_eq!(late(48, Some(Fault::Fail(ErrorKind::Missing))).await, (Err(Error::Deadline(24)), 1));
}

/// All findings of a check that reads everything.
async fn findings(scene: &Scene) -> Vec<String> {
    let options = CheckOptions { read_data: Some(Subset::ALL), ..CheckOptions::default() };
    let report = check(&scene.repository, &options, &|_| ()).await.expect("the store is fine");
    report.findings.into_iter().map(|finding| format!("{} {}", finding.key, finding.what)).collect()
}

#[tokio::test]
async fn of_a_member_that_is_given_up_nothing_is_in_what_a_commit_says() {
    for extents in [1, MANY] {
        let given_up = scene().await;
        let commit = given_up.write(1, move |writer| {
            let part = frame(writer, b"never read to its end")?;
            let mut apart = part;
            for n in 0..extents {
                // Neighbours that do not join: each is a line of the recipe.
                apart.skip = u32::from(n % 2 == 0);
                apart.take = 1;
                writer.extent(apart)?;
            }
            writer.abandon_member();
            fill(writer)?;
            writer.extent(part)?;
            writer.abandon_member();
            writer.row(Row { flags: Flags { unreadable: true, ..Flags::default() }, ..row("b", file(b"")) })
        });
        let commit = commit.await.expect("a memory store takes it all").commit;
        let never = scene().await;
        let expected = never.write(1, |writer| {
            fill(writer)?;
            writer.row(Row { flags: Flags { unreadable: true, ..Flags::default() }, ..row("b", file(b"")) })
        });
        let expected = expected.await.expect("a memory store takes it all").commit;
        assert_eq!(commit.tar, expected.tar, "{extents} extents");
        assert_eq!(commit.recipe.lines, expected.recipe.lines, "{extents} extents");
        assert_eq!(commit.table.rows, 3);
        assert_eq!(findings(&given_up).await, [""; 0], "{extents} extents");
    }
}

#[tokio::test]
async fn latest_is_the_newest_snapshot_that_is_complete_and_not_void() {
    let scene = scene().await;
    let find = async |name: &str| scene.repository.find(name).await.map(|found| found.id);
    let missing = |name: &str| Err(Error::NoSnapshot(name.to_owned()));
    let partial = scene.write_as(1, CommitKind::Partial, fill).await.expect("memory takes it").id;
    for name in ["latest", "data@latest", "data/latest", "other@latest"] {
        assert_eq!(find(name).await, missing(name), "there is only the first part of a volume");
    }
    let complete = scene.write(2, fill).await.expect("memory takes it").id;
    let newer = scene.write_as(3, CommitKind::Partial, fill).await.expect("memory takes it").id;
    let void = scene.write(4, fill).await.expect("memory takes it").id;
    scene.store.create(&layout::beside(&void, layout::Beside::Void), Vec::new().into()).await.expect("memory takes it");
    for name in ["latest", "data@latest", "data/latest"] {
        assert_eq!(find(name).await.as_ref(), Ok(&complete), "{name}");
    }
    // Whoever wants a first part names it.
    for id in [partial, newer] {
        assert_eq!(find(&id.session.to_string()).await, Ok(id));
    }
}
