//! What a check finds: nothing in a healthy repository; every object that is gone or changed; and exactly the paths that it costs.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use trysail_repository::{
    Error, Repository, Result,
    check::{CheckOptions, CheckReport, Finding, Level, LostPaths, Scope, Severity, Subset, check, mark_bad},
    commit::CommitKind,
    frame::{Compressor, sha256},
    keys::Keys,
    layout::{self, Beside, SnapshotId, VolumeName},
    pack::FrameKind,
    seal::{Identity, Recipient},
    store::{ErrorKind, Key, ObjectStore, list_all, memory::Memory},
    table::{Content, Extent, Flags, Inode, Kind, Metadata, PackKind, Row},
    testing::{Fault, Faulty, Op},
    write::{NewFrame, Session, SessionPlan, SnapshotWriter},
};

/// A secret that opens nothing outside of these tests.
const IDENTITY: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
const RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
const ALL: usize = 10_000;

/// A repository of two snapshots of one volume.
struct Made {
    store: Arc<Memory>,
    snapshots: Vec<SnapshotId>,
    identity: Identity,
}

fn keys() -> Keys {
    Keys::from_parts([1; 32], [2; 32])
}

fn volume() -> VolumeName {
    VolumeName::new("data").expect("a name")
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a time")
}

/// Bytes that do not compress.
fn noise(seed: u8, length: usize) -> Vec<u8> {
    (0u32..).flat_map(|n| sha256(&[&[seed][..], &n.to_le_bytes()].concat())).take(length).collect()
}

fn row(path: &str, kind: Kind) -> Row {
    let metadata = Metadata { mode: 0o644, ..Metadata::default() };
    Row { path: path.into(), kind, metadata, inode: Inode::default(), flags: Flags::default(), member: Vec::new() }
}

fn file(content: &[u8]) -> Kind {
    Kind::File(Content { size: content.len() as u64, sha256: sha256(content), segments: None })
}

/// Header, content and padding; what the header says is nobody's concern here.
fn member(content: &[u8]) -> Vec<u8> {
    let mut bytes = [vec![b'h'; 512], content.to_vec()].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn store_frame(writer: &mut SnapshotWriter, kind: FrameKind, plain: &[u8]) -> Result<Extent> {
    let frame = Compressor::new(1).and_then(|mut c| c.frame(plain)).map_err(Error::Compress)?;
    let length = u32::try_from(plain.len()).expect("short");
    writer.frame(&NewFrame { kind, id: None, sha256: sha256(plain), plain: length, frame })
}

fn put(writer: &mut SnapshotWriter, row: Row, extents: &[Extent]) -> Result<()> {
    extents.iter().try_for_each(|extent| writer.extent(*extent))?;
    writer.row(row)
}

fn part(of: Extent, skip: usize, take: usize) -> Extent {
    Extent { skip: u32::try_from(skip).expect("short"), take: u32::try_from(take).expect("short"), ..of }
}

/// The members of the volume: pack 0 holds a bundle (the root, `a`, `b`, `b/empty`) and the header of `b/large`; pack 1 its two chunks;
/// pack 2, of the second session, the file that is new there.
#[derive(Clone, Copy)]
struct Stored {
    bundle: Extent,
    header: Extent,
    chunks: [Extent; 2],
}

fn first(writer: &mut SnapshotWriter) -> Result<Stored> {
    let bundle = [member(b""), member(&noise(1, 100)), member(b""), member(b"")].concat();
    let bundle = store_frame(writer, FrameKind::Bundle, &bundle)?;
    let header = store_frame(writer, FrameKind::Header, &[b'h'; 512])?;
    writer.checkpoint()?;
    let chunks = [
        store_frame(writer, FrameKind::Chunk, &noise(2, 600))?,
        store_frame(writer, FrameKind::Chunk, &member(&noise(3, 424))[512..])?,
    ];
    Ok(Stored { bundle, header, chunks })
}

fn rows(writer: &mut SnapshotWriter, stored: Stored) -> Result<()> {
    let Stored { bundle, header, chunks } = stored;
    put(writer, row("", Kind::Directory), &[part(bundle, 0, 512)])?;
    put(writer, row("a", file(&noise(1, 100))), &[part(bundle, 512, 1024)])?;
    put(writer, row("b", Kind::Directory), &[part(bundle, 1536, 512)])?;
    put(writer, row("b/empty", file(b"")), &[part(bundle, 2048, 512)])?;
    let content = [noise(2, 600), noise(3, 424)].concat();
    // 1,024 bytes of content need no padding, so the second chunk is used without its own.
    put(writer, row("b/large", file(&content)), &[header, chunks[0], part(chunks[1], 0, 424)])?;
    put(writer, row("b/link", Kind::Hardlink { target: b"b/large".to_vec() }), &[part(bundle, 0, 512)])
}

async fn session<F>(repository: &Repository, second: i64, fill: F) -> (SnapshotId, Stored)
where
    F: FnOnce(&mut SnapshotWriter) -> Result<Stored> + Send + 'static,
{
    let plan = SessionPlan { volume: volume(), uid: String::new(), keys: keys().for_volume(&volume()), now: time(second) };
    let mut writer = Session::begin(repository, plan).await.expect("begins").writer().expect("writes");
    let written = tokio::task::spawn_blocking(move || {
        let stored = fill(&mut writer)?;
        Ok::<_, Error>((writer.finish(CommitKind::Complete, 0)?.id, stored))
    });
    written.await.expect("no panic").expect("a memory store takes it all")
}

async fn made(recipients: &[&str]) -> Made {
    let store = Arc::new(Memory::new());
    let identity = Identity::parse(IDENTITY).expect("an identity");
    let recipients: Vec<Recipient> = recipients.iter().map(|r| Recipient::parse(r).expect("a recipient")).collect();
    let repository = Repository::init(store.clone(), &recipients, &keys(), time(0)).await.expect("a new repository");
    let (one, stored) = session(&repository, 1, |writer| {
        let stored = first(writer)?;
        rows(writer, stored)?;
        Ok(stored)
    })
    .await;
    let (two, _) = session(&repository, 2, move |writer| {
        rows(writer, stored)?;
        let new = store_frame(writer, FrameKind::Bundle, &member(&noise(4, 50)))?;
        put(writer, row("new", file(&noise(4, 50))), &[new])?;
        Ok(stored)
    })
    .await;
    Made { store, snapshots: vec![one, two], identity }
}

impl Made {
    /// Opens and checks all that there is, with the identity.
    async fn check(&self) -> Result<CheckReport> {
        let options = CheckOptions { identity: self.identity.clone(), keys: None, read_data: Some(Subset::ALL) };
        self.check_with(&options).await
    }

    async fn check_with(&self, options: &CheckOptions) -> Result<CheckReport> {
        let repository = Repository::open(self.store.clone(), None).await?;
        check(&repository, options, &|_| ()).await
    }

    async fn objects(&self) -> Vec<(Key, Bytes)> {
        let mut objects = Vec::new();
        for listed in list_all(&*self.store, "v1/", ALL).await.expect("memory lists") {
            let body = self.store.get(&listed.key).await.expect("listed");
            objects.push((listed.key, body));
        }
        objects
    }

    async fn replace(&self, key: &Key, body: Option<Bytes>) {
        self.store.delete(std::slice::from_ref(key)).await.expect("memory deletes");
        if let Some(body) = body {
            self.store.create(key, body).await.expect("memory takes it");
        }
    }

    /// The pack of that series and ordinal, of the n-th session.
    fn pack(&self, n: usize, kind: PackKind, number: u32) -> trysail_repository::table::PackRef {
        trysail_repository::table::PackRef { session: self.snapshots[n].session, kind, number }
    }

    fn lost(&self, n: usize, paths: &[&str], members: u64) -> LostPaths {
        LostPaths {
            paths: paths.iter().map(|p| p.as_bytes().to_vec()).collect(),
            count: paths.len() as u64,
            members,
            ..LostPaths::new(self.snapshots[n].clone(), Scope::Paths)
        }
    }
}

/// Objects that help writers: no reader needs them.
fn helps_writers(key: &Key) -> bool {
    key.as_str().ends_with(".open") || key.as_str().ends_with(".part") || key.as_str().starts_with("v1/ix/")
}

fn is_text(key: &Key) -> bool {
    [layout::format_text(), layout::rescue_script()].contains(key)
}

/// That a changed object is found: named by a finding, or the repository does not open.
fn assert_found(key: &Key, change: &str, outcome: Result<CheckReport>) {
    let report = match outcome {
        Ok(report) => report,
        Err(error) => {
            let opens = !matches!(error, Error::NoRepository | Error::Config { .. });
            assert!(!opens && key.as_str() == layout::REPO_JSON, "{key} {change}: {error}");
            return;
        }
    };
    let named: Vec<&Finding> = report.findings.iter().filter(|finding| finding.key == *key).collect();
    let others = report.findings.iter().filter(|f| f.key != *key && f.severity == Severity::Damage);
    let others: Vec<&Finding> = others.collect();
    assert!(others.is_empty() || key.as_str().starts_with("v1/s/"), "{key} {change}: {others:#?}");
    if helps_writers(key) {
        assert_eq!(report.damage, 0, "{key} {change}");
    } else {
        assert!(!named.is_empty(), "{key} {change}: {:#?}", report.findings);
        assert!(!is_text(key) || named[0].severity == Severity::Notice, "{key} {change}");
    }
}

#[tokio::test]
async fn a_healthy_repository_has_no_findings_at_any_depth() {
    for (recipients, identity, keys, level) in [
        (&[][..], "", None, Level::Contents),
        (&[RECIPIENT][..], "", None, Level::Stored),
        (&[RECIPIENT][..], "", Some(keys()), Level::Tables),
        (&[RECIPIENT][..], IDENTITY, None, Level::Contents),
    ] {
        let made = made(recipients).await;
        let identity = if identity.is_empty() { Identity::default() } else { made.identity.clone() };
        let options = CheckOptions { identity, keys, read_data: Some(Subset::ALL) };
        let report = made.check_with(&options).await.expect("a whole repository");
        let expected = CheckReport {
            level,
            snapshots: 2,
            packs: 5,
            read_data: Some(Subset::ALL),
            packs_read: 5,
            bytes_read: report.bytes_read,
            damage: 0,
            notices: 0,
            findings: Vec::new(),
            bad_packs: Vec::new(),
        };
        assert_eq!(report, expected);
    }
}

#[tokio::test]
async fn each_object_that_is_deleted_is_named() {
    for recipients in [&[][..], &[RECIPIENT]] {
        let made = made(recipients).await;
        for (key, body) in made.objects().await {
            made.replace(&key, None).await;
            assert_found(&key, "deleted", made.check().await);
            made.replace(&key, Some(body)).await;
        }
        assert_eq!(made.check().await.expect("whole again").findings, []);
    }
}

#[tokio::test]
async fn each_object_that_is_cut_short_or_made_longer_or_changed_is_named() {
    for recipients in [&[][..], &[RECIPIENT]] {
        let made = made(recipients).await;
        for (key, body) in made.objects().await.into_iter().filter(|(_, body)| !body.is_empty()) {
            let mut flipped = body.to_vec();
            flipped[body.len() / 2] ^= 1;
            for (change, bytes) in [
                ("emptied", Bytes::new()),
                ("cut short", body.slice(..body.len() - 1)),
                ("cut in half", body.slice(..body.len() / 2)),
                ("made longer", Bytes::from([&body[..], b"x"].concat())),
                ("changed", Bytes::from(flipped)),
            ] {
                made.replace(&key, Some(bytes)).await;
                assert_found(&key, change, made.check().await);
            }
            made.replace(&key, Some(body)).await;
        }
    }
}

#[tokio::test]
async fn every_flipped_bit_is_detected() {
    let step = if std::env::var("TRYSAIL_TORTURE").is_ok_and(|size| size == "large") { 1 } else { 97 };
    for recipients in [&[][..], &[RECIPIENT]] {
        let made = made(recipients).await;
        let mut bit = 0;
        let needed = |key: &Key| !helps_writers(key) && !is_text(key);
        for (key, body) in made.objects().await.into_iter().filter(|(key, _)| needed(key)) {
            let bits = body.len() * 8;
            while bit < bits {
                let flip = |bytes: &mut Vec<u8>| bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(made.store.damage(&key, flip));
                assert_found(&key, &format!("with bit {bit} flipped"), made.check().await);
                assert!(made.store.damage(&key, flip));
                bit += step;
            }
            bit -= bits;
        }
    }
}

#[tokio::test]
async fn a_missing_pack_costs_exactly_the_paths_whose_content_it_holds() {
    for recipients in [&[][..], &[RECIPIENT]] {
        let made = made(recipients).await;
        // Header of `b/large`, root, `b`, `b/empty` and `b/link` lose their tar member only.
        for (pack, paths, members, snapshots) in [
            (made.pack(0, PackKind::Data, 0), &["a"][..], 5, &[0, 1][..]),
            (made.pack(0, PackKind::Data, 1), &["b/large", "b/link"], 0, &[0, 1]),
            (made.pack(1, PackKind::Data, 0), &["new"], 0, &[1]),
        ] {
            let key = layout::pack(pack);
            let body = made.store.get(&key).await.expect("a pack");
            made.replace(&key, None).await;
            let report = made.check().await.expect("the store is fine");
            made.replace(&key, Some(body)).await;
            let affected: Vec<_> = snapshots.iter().map(|n| made.lost(*n, paths, members)).collect();
            let snapshots = affected.len() as u64;
            let what = "it is missing".to_owned();
            assert_eq!(report.findings, [Finding { severity: Severity::Damage, key, what, affected, snapshots }]);
            assert_eq!(report.bad_packs, [pack]);
        }
    }
}

#[tokio::test]
async fn a_damaged_frame_of_a_pack_costs_no_more_than_its_own_paths() {
    let made = made(&[]).await;
    let pack = made.pack(0, PackKind::Data, 1);
    // The second chunk begins after the first, whose 600 bytes do not compress.
    assert!(made.store.damage(&layout::pack(pack), |bytes| bytes[700] ^= 1));
    let report = made.check().await.expect("the store is fine");
    let [finding] = report.findings.as_slice() else { panic!("{:#?}", report.findings) };
    assert!(finding.what.contains("1 of 2 frames are damaged"), "{}", finding.what);
    assert_eq!(finding.affected, [made.lost(0, &["b/large", "b/link"], 0), made.lost(1, &["b/large", "b/link"], 0)]);

    let pack = made.pack(0, PackKind::Data, 0);
    let end = made.store.get(&layout::pack(pack)).await.expect("a pack").len() - 5;
    assert!(made.store.damage(&layout::pack(pack), |bytes| bytes[end] ^= 1));
    let report = made.check().await.expect("the store is fine");
    let finding = report.findings.iter().find(|f| f.key == layout::pack(pack)).expect("it is named");
    assert_eq!((finding.snapshots, report.bad_packs.len()), (0, 2), "its seek table is damaged, which holds no content");
}

#[tokio::test]
async fn a_damaged_meta_pack_costs_its_snapshot_and_without_a_key_snapshots_are_named_alone() {
    let made = made(&[RECIPIENT]).await;
    let (meta, data) = (made.pack(1, PackKind::Meta, 0), made.pack(0, PackKind::Data, 1));
    for pack in [meta, data] {
        made.replace(&layout::pack(pack), None).await;
    }
    let affected = |report: &CheckReport, pack| {
        let finding = report.findings.iter().find(|f| f.key == layout::pack(pack)).expect("it is named");
        finding.affected.clone()
    };
    let lost = |n: usize, scope| LostPaths::new(made.snapshots[n].clone(), scope);
    let report = made.check().await.expect("the store is fine");
    assert_eq!(affected(&report, meta), [lost(1, Scope::All)]);
    assert_eq!(affected(&report, data), [made.lost(0, &["b/large", "b/link"], 0)]);
    let report = made.check_with(&CheckOptions::default()).await.expect("the store is fine");
    assert_eq!(affected(&report, meta), [lost(1, Scope::Unknown)]);
    assert_eq!(affected(&report, data), [lost(0, Scope::Unknown), lost(1, Scope::Unknown)]);
    assert_eq!(report.bad_packs, [data, meta]);
}

#[tokio::test]
async fn the_parts_of_the_data_read_each_pack_once() {
    let made = made(&[]).await;
    let mut read = 0;
    for n in 1..=3 {
        let read_data = Some(format!("{n}/3").parse().expect("a part"));
        read += made.check_with(&CheckOptions { read_data, ..CheckOptions::default() }).await.expect("whole").packs_read;
    }
    assert_eq!(read, 5);
}

#[tokio::test]
async fn a_pack_marked_as_bad_is_not_offered_again_and_no_session_refers_to_it() {
    let made = made(&[]).await;
    let pack = made.pack(0, PackKind::Data, 1);
    made.replace(&layout::pack(pack), None).await;
    for _ in 0..2 {
        mark_bad(&*made.store, pack).await.expect("marks");
    }
    let report = made.check().await.expect("the store is fine");
    assert_eq!((report.damage, report.bad_packs), (1, vec![]));
    let repository = Repository::open(made.store.clone(), None).await.expect("opens");
    let plan = SessionPlan { volume: volume(), uid: String::new(), keys: keys().for_volume(&volume()), now: time(9) };
    let session = Session::begin(&repository, plan).await.expect("begins");
    assert!(!session.may_refer_to(pack));
}

#[tokio::test]
async fn a_commit_that_was_removed_with_all_beside_it_leaves_a_gap() {
    let made = made(&[]).await;
    for what in [Beside::Commit, Beside::Refs, Beside::Recipe] {
        made.replace(&layout::beside(&made.snapshots[0], what), None).await;
    }
    let report = made.check().await.expect("the store is fine");
    let expected = Finding {
        severity: Severity::Notice,
        key: layout::beside(&made.snapshots[1], Beside::Commit),
        what: "RollbackSuspected: of its volume, commit 1 is missing: it expired, or was removed or hidden".to_owned(),
        affected: Vec::new(),
        snapshots: 0,
    };
    assert_eq!(report.findings, [expected]);
}

#[tokio::test]
async fn a_store_that_fails_and_an_identity_that_does_not_fit_are_errors_and_no_findings() {
    let made = made(&[RECIPIENT]).await;
    let options = CheckOptions { identity: made.identity.clone(), keys: None, read_data: Some(Subset::ALL) };
    let faulty = Arc::new(Faulty::new(made.store.clone()));
    let repository = Repository::open(faulty.clone(), None).await.expect("opens");
    let before = faulty.calls();
    check(&repository, &options, &|_| ()).await.expect("whole");
    for call in 0..faulty.calls() - before {
        let faulty = Arc::new(Faulty::new(made.store.clone()));
        let repository = Repository::open(faulty.clone(), None).await.expect("opens");
        faulty.at_call(faulty.calls() + call, Fault::Fail(ErrorKind::Transient));
        let outcome = check(&repository, &options, &|_| ()).await;
        assert!(matches!(outcome, Err(Error::Store(_))), "call {call}: {outcome:?}");
    }
    faulty.on_key(Some(Op::Get), "/000001.pk", u32::MAX, Fault::Fail(ErrorKind::Corrupt));
    let report = check(&repository, &options, &|_| ()).await.expect("the rest is read");
    assert_eq!(report.bad_packs, [made.pack(0, PackKind::Data, 1)]);
    let wrong = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
    let identity = Identity::parse(wrong).expect("an identity");
    let outcome = made.check_with(&CheckOptions { identity, ..CheckOptions::default() }).await;
    assert!(matches!(outcome, Err(Error::NoIdentity { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_report_reads_as_json() {
    let made = made(&[]).await;
    made.replace(&layout::pack(made.pack(1, PackKind::Data, 0)), None).await;
    let report = made.check().await.expect("the store is fine");
    let json = serde_json::to_string(&report).expect("a report is JSON");
    let json = json.replace(&made.snapshots[1].session.to_string(), "S").replace(&report.bytes_read.to_string(), "n");
    expect_test::expect![[r#"{"level":"contents","snapshots":2,"packs":5,"read_data":"1/1","packs_read":4,"bytes_read":n,"damage":1,"notices":0,"findings":[{"severity":"damage","key":"v1/p/S/000000.pk","what":"it is missing","affected":[{"snapshot":"data/S","scope":"paths","paths":["new"],"count":1,"members":0,"ranges":[]}],"snapshots":1}],"bad_packs":["v1/p/S/000000.pk"]}"#]].assert_eq(&json);
}
