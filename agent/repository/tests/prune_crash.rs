//! Prunes that die at every request, before or after its effect, that meet a full store, a wrong clock, damage, and each other.

use std::{
    future::Future,
    ops::Range,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures::future::{self, BoxFuture};
use jiff::{SignedDuration, Timestamp};
use trysail_repository::{
    commit::{self, Commit, CommitKind, Entries, NO_COMMIT, Recipe, Sha256Hex, Sidecar, Table, Tar},
    frame::sha256,
    keys::{Keys, Signer},
    layout::{self, Beside, SnapshotId, VolumeName},
    pack_set::PackSet,
    prune::{self, Error, Limits, Plan, Prune, Report},
    session::SessionId,
    signature::PublicKey,
    store::{self, Created, ErrorKind, Key, ObjectStore, Page, list_all, memory::Memory},
    table::{PackKind, PackRef},
    testing::{Fault, Faulty, Op, Stop},
};

const LIMITS: Limits = Limits { session_max: SignedDuration::from_hours(24), grace: SignedDuration::from_hours(72) };
const ALL: usize = 10_000;

fn signer() -> Signer {
    Keys::from_parts([1; 32], [2; 32]).signer()
}

fn signers() -> [PublicKey; 1] {
    [signer().public()]
}

fn session(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

fn pack(session_n: u8, number: u32) -> PackRef {
    PackRef { session: session(session_n), kind: PackKind::Data, number }
}

fn snapshot(n: u8) -> SnapshotId {
    SnapshotId { volume: VolumeName::new("data").expect("a name"), session: session(n) }
}

fn hours(n: i64) -> SignedDuration {
    SignedDuration::from_hours(n)
}

/// Ends without a runtime: memory stores answer at once.
fn wait<T>(task: impl Future<Output = T>) -> T {
    let mut task = pin!(task);
    for _ in 0..1_000_000 {
        if let Poll::Ready(value) = task.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
    unreachable!("a memory store answers every request")
}

fn put(store: &Memory, key: &Key, body: impl Into<Bytes>) {
    let created = wait(store.create(key, body.into())).expect("memory takes it");
    assert!(matches!(created, Created::New { .. }), "{key} exists");
}

fn put_packs(store: &Memory, packs: &[PackRef]) {
    packs.iter().for_each(|pack| put(store, &layout::pack(*pack), "pack"));
}

fn put_open(store: &Memory, n: u8) {
    put(store, &layout::session_open(session(n)), format!(r#"{{"session":"{}","adopts":[]}}"#, session(n)));
}

fn put_condemned(store: &Memory, n: u8, packs: &[PackRef]) {
    let set: PackSet = packs.iter().map(|pack| (*pack, 0)).collect();
    put(store, &layout::condemned(session(n)), set.encode());
}

fn put_commit(store: &Memory, n: u8, packs: &[PackRef]) {
    let id = snapshot(n);
    let refs: PackSet = packs.iter().map(|pack| (*pack, 1)).collect();
    let refs = refs.encode();
    let side = Sidecar { bytes: refs.len() as u64, sha256: Sha256Hex(sha256(&refs)) };
    let commit = Commit {
        format: "tarext/1".to_owned(),
        session: id.session,
        volume: id.volume.clone(),
        uid: String::new(),
        kind: CommitKind::Complete,
        started: store.now(),
        seq: 1,
        prev: NO_COMMIT,
        base: None,
        entries: Entries::default(),
        bytes: commit::Bytes::default(),
        table: Table { root: Vec::new(), rows: 0, blocks: 0, merkle: NO_COMMIT },
        tar: Tar { bytes: 1024 },
        packs: None,
        refs: side,
        recipe: Recipe { bytes: 0, sha256: NO_COMMIT, lines: 0 },
        signer: signer().public(),
    };
    put(store, &layout::beside(&id, Beside::Refs), refs);
    put(store, &layout::beside(&id, Beside::Recipe), "recipe");
    put(store, &layout::beside(&id, Beside::Commit), commit.sign(&signer()));
}

/// Of session 1 packs 0 and 1 are needed, 1 in spite of being condemned; 2 and 3 are due; 4 and all of 2 are garbage; session 3
/// runs; session 4's `.open` is lost; session 5's commit is void; session 6 died with sidecars; 7 is a set to be retired.
fn repository() -> Memory {
    let store = Memory::new();
    for n in [1, 2, 5, 6] {
        put_open(&store, n);
        put(&store, &layout::session_packs(session(n)), "table");
    }
    put_packs(&store, &[pack(1, 0), pack(1, 1), pack(1, 2), pack(1, 3), pack(1, 4), pack(2, 0), pack(5, 0)]);
    put_commit(&store, 1, &[pack(1, 0), pack(1, 1)]);
    put_commit(&store, 5, &[pack(5, 0)]);
    put(&store, &layout::beside(&snapshot(5), Beside::Void), "");
    put(&store, &layout::beside(&snapshot(6), Beside::Part(0)), "part");
    put(&store, &layout::beside(&snapshot(6), Beside::Refs), "refs");
    put(&store, &layout::ballast(), vec![0; 100]);
    put_condemned(&store, 7, &[pack(6, 0)]);
    put(&store, &layout::swept(session(7)), "");
    store.advance(hours(100));
    put_condemned(&store, 8, &[pack(1, 1), pack(1, 2), pack(1, 3)]);
    store.advance(hours(100));
    put_open(&store, 3);
    put_packs(&store, &[pack(3, 0), pack(4, 0)]);
    store
}

/// What may never be deleted in the first hours of [`repository`].
const LIVE: [(u8, u32); 4] = [(1, 0), (1, 1), (3, 0), (4, 0)];

async fn run(store: &dyn ObjectStore, now: Timestamp) -> prune::Result<Report> {
    let signers = signers();
    let prune = Prune::new(store, &signers, LIMITS)?;
    let plan = prune.plan(now).await?;
    prune.execute(&plan).await
}

fn keys(store: &Memory, prefix: &str) -> Vec<String> {
    wait(list_all(store, prefix, ALL)).expect("memory lists").into_iter().map(|o| o.key.to_string()).collect()
}

fn assert_whole(store: &Memory, when: &str) {
    let stored = keys(store, "v1/p/");
    for (n, number) in LIVE {
        let key = layout::pack(pack(n, number)).to_string();
        assert!(stored.contains(&key), "{key} is gone {when}");
    }
    for what in [Beside::Commit, Beside::Refs, Beside::Recipe] {
        assert!(keys(store, layout::SNAPSHOTS).contains(&layout::beside(&snapshot(1), what).to_string()), "{when}");
    }
    let void = layout::beside(&snapshot(5), Beside::Void).to_string();
    let commit = layout::beside(&snapshot(5), Beside::Commit).to_string();
    let listed = keys(store, layout::SNAPSHOTS);
    assert!(!listed.contains(&commit) || listed.contains(&void), "a void commit counts again {when}");
}

/// What is there, but for the names of new condemned sets, which are random; these are shown by what they condemn.
fn state(store: &Memory) -> Vec<String> {
    let named: Vec<String> = [7, 8].iter().map(|n| layout::condemned(session(*n)).to_string()).collect();
    let mut state: Vec<String> = keys(store, "v1/");
    state.retain(|key| !key.starts_with(layout::CONDEMNED) || named.contains(key));
    let sets = wait(list_all(store, layout::CONDEMNED, ALL)).expect("memory lists");
    let mut condemned = PackSet::default();
    for set in sets.iter().filter(|set| !named.contains(&set.key.to_string())) {
        condemned.merge(&PackSet::decode(&wait(store.get(&set.key)).expect("listed")).expect("a set"));
    }
    state.extend(condemned.iter().map(|(pack, _)| format!("condemned {}", layout::pack(pack))));
    state
}

#[test]
fn a_prune_deletes_what_is_due_condemns_what_is_garbage_and_clears_what_is_left_over() {
    let store = repository();
    let report = wait(run(&store, store.now())).expect("a whole repository");
    assert_whole(&store, "after a prune");
    let expected = Report {
        condemned_packs: 3,
        condemned_bytes: 12,
        condemned_due: Some(store.now() + hours(72)),
        swept_packs: 2,
        swept_bytes: 8,
        cleared_objects: 10,
        ballast_spent: false,
    };
    assert_eq!(report, expected);
    expect_test::expect![[r#"
        v1/gc/ballast
        v1/gc/c/081040G2081040G2081040G208
        v1/p/01040G2081040G2081040G2081/000000.pk
        v1/p/01040G2081040G2081040G2081/000001.pk
        v1/p/01040G2081040G2081040G2081/000004.pk
        v1/p/02081040G2081040G2081040G2/000000.pk
        v1/p/030C1G60R30C1G60R30C1G60R3/000000.pk
        v1/p/040G2081040G2081040G208104/000000.pk
        v1/p/050M2GA1850M2GA1850M2GA185/000000.pk
        v1/s/01040G2081040G2081040G2081.open
        v1/s/01040G2081040G2081040G2081.packs
        v1/s/02081040G2081040G2081040G2.open
        v1/s/02081040G2081040G2081040G2.packs
        v1/s/030C1G60R30C1G60R30C1G60R3.open
        v1/s/050M2GA1850M2GA1850M2GA185.open
        v1/s/050M2GA1850M2GA1850M2GA185.packs
        v1/snap/data/01040G2081040G2081040G2081.json
        v1/snap/data/01040G2081040G2081040G2081.recipe
        v1/snap/data/01040G2081040G2081040G2081.refs
        condemned v1/p/01040G2081040G2081040G2081/000004.pk
        condemned v1/p/02081040G2081040G2081040G2/000000.pk
        condemned v1/p/050M2GA1850M2GA1850M2GA185/000000.pk"#]]
    .assert_eq(&state(&store).join("\n"));
    assert_eq!(wait(run(&store, store.now())), Ok(Report::default()));
}

#[test]
fn a_prune_that_dies_at_any_request_loses_nothing_and_the_next_one_finishes() {
    let whole = repository();
    wait(run(&whole, whole.now())).expect("a whole repository");
    for stop in [Stop::BeforeEffect, Stop::AfterEffect] {
        let mut died = 0;
        for calls in 0.. {
            let store = Faulty::new(repository());
            store.stop_after(calls, stop);
            let result = wait(run(&store, store.inner().now()));
            assert_whole(store.inner(), &format!("when it dies at request {calls}, {stop:?}"));
            store.heal();
            wait(run(&store, store.inner().now())).expect("the store works again");
            let mut left = state(store.inner());
            // The mark by which the dead prune asked for the time.
            left.retain(|key| !key.starts_with(layout::SWEPT));
            assert_eq!(left, state(&whole), "after a prune died at request {calls}, {stop:?}");
            if result.is_ok() {
                break;
            }
            died += 1;
        }
        assert!(died > 30, "it died {died} times");
    }
}

#[test]
fn a_full_store_is_emptied_without_a_single_write() {
    let store = Faulty::new(repository());
    store.on_key(Some(Op::Create), "v1/", u32::MAX, Fault::Fail(ErrorKind::Full));
    let error = wait(run(&store, store.inner().now())).expect_err("there is no room to condemn");
    assert!(matches!(&error, Error::Store(store::Error { kind: ErrorKind::Full, .. })), "{error}");
    assert_whole(store.inner(), "on a full store");
    let left = keys(store.inner(), "v1/p/01040");
    assert_eq!(left.len(), 3, "the packs that were due are gone: {left:?}");
    assert_eq!(keys(store.inner(), "v1/gc/ballast"), Vec::<String>::new());
}

#[test]
fn the_ballast_makes_room_to_condemn() {
    let store = Faulty::new(repository());
    store.on_key(Some(Op::Create), "v1/gc/", 2, Fault::Fail(ErrorKind::Full));
    let report = wait(run(&store, store.inner().now())).expect("the ballast was in the way");
    assert_eq!((report.ballast_spent, report.condemned_packs), (true, 3));
    let made = wait(prune::create_ballast(&store)).expect("room again");
    assert_eq!(made, Created::New { at: store.inner().now() });
    assert_eq!(wait(prune::create_ballast(&store)), Ok(Created::AlreadyThere));
}

#[test]
fn clocks_that_disagree_stop_a_prune_before_anything_happens() {
    let store = repository();
    let before = state(&store);
    for machine in [store.now() + SignedDuration::from_secs(601), store.now() - SignedDuration::from_secs(601)] {
        assert_eq!(wait(run(&store, machine)), Err(Error::Clocks { store: store.now(), machine }));
    }
    assert_eq!(state(&store), before);
    wait(run(&store, store.now() + SignedDuration::from_mins(10))).expect("ten minutes are no disagreement");
}

#[test]
fn a_prune_stops_where_it_cannot_know_what_a_snapshot_needs() {
    let missing = |store: &Memory| wait(store.delete(&[layout::beside(&snapshot(1), Beside::Refs)])).expect("memory");
    let flip = |store: &Memory, what| {
        assert!(store.damage(&layout::beside(&snapshot(1), what), |bytes| bytes[20] ^= 1));
    };
    let cases: [&dyn Fn(&Memory); 3] = [&missing, &|s| flip(s, Beside::Refs), &|s| flip(s, Beside::Commit)];
    for damage in cases {
        let store = repository();
        damage(&store);
        let before = state(&store);
        let error = wait(run(&store, store.now())).expect_err("it cannot know");
        assert!(matches!(&error, Error::Unreadable(_)) && error.to_string().contains("v1/snap/data/"), "{error}");
        assert_eq!(state(&store), before);
    }
}

#[test]
fn a_snapshot_that_is_forgotten_is_gone_at_the_first_request_and_its_packs_after_two_prunes() {
    let store = repository();
    for stop in 0..3 {
        let store = Faulty::new(repository());
        store.stop_after(stop, Stop::AfterEffect);
        wait(prune::forget(&store, &snapshot(1))).expect_err("it dies");
        store.heal();
        let commit = layout::beside(&snapshot(1), Beside::Commit).to_string();
        assert!(!keys(store.inner(), layout::SNAPSHOTS).contains(&commit));
        wait(prune::forget(&store, &snapshot(1))).expect("it ends what it began");
        assert!(keys(store.inner(), &format!("{}{}", layout::SNAPSHOTS, snapshot(1))).is_empty());
    }
    wait(prune::forget(&store, &snapshot(1))).expect("a snapshot");
    wait(run(&store, store.now())).expect("condemns");
    store.advance(hours(97));
    wait(run(&store, store.now())).expect("sweeps");
    assert!(keys(&store, "v1/p/01040").is_empty());
}

/// Waits once before every request, so that a test decides what happens between two requests.
#[derive(Debug)]
struct Stepped<'a>(&'a Memory);

async fn step() {
    let mut waited = false;
    let once = |context: &mut Context<'_>| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        // Requests in flight together are polled again only when they are woken.
        context.waker().wake_by_ref();
        Poll::Pending
    };
    future::poll_fn(once).await;
}

impl ObjectStore for Stepped<'_> {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, store::Result<Bytes>> {
        Box::pin(async move {
            step().await;
            self.0.get(key).await
        })
    }

    fn get_range<'a>(&'a self, key: &'a Key, range: Range<u64>) -> BoxFuture<'a, store::Result<Bytes>> {
        Box::pin(async move {
            step().await;
            self.0.get_range(key, range).await
        })
    }

    fn create<'a>(&'a self, key: &'a Key, body: Bytes) -> BoxFuture<'a, store::Result<Created>> {
        Box::pin(async move {
            step().await;
            self.0.create(key, body).await
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, store::Result<Page>> {
        Box::pin(async move {
            step().await;
            self.0.list(prefix, after).await
        })
    }

    fn delete<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, store::Result<()>> {
        Box::pin(async move {
            step().await;
            self.0.delete(keys).await
        })
    }
}

/// Runs a prune up to a request, lets `meanwhile` happen, and runs it to its end. `None` where it ended before that request.
fn interrupted(store: &Memory, requests: usize, meanwhile: impl FnOnce()) -> Option<prune::Result<Report>> {
    let stepped = Stepped(store);
    let mut slow = pin!(run(&stepped, store.now()));
    for _ in 0..requests {
        if slow.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return None;
        }
    }
    meanwhile();
    Some(wait(slow))
}

#[test]
fn two_prunes_interleaved_at_any_request_lose_nothing() {
    for requests in 0.. {
        let store = repository();
        let second = || drop(wait(run(&store, store.now())).expect("the second prune"));
        let Some(first) = interrupted(&store, requests, second) else { break };
        first.expect("the first prune");
        assert_whole(&store, &format!("after a second prune at request {requests}"));
        let whole = repository();
        wait(run(&whole, whole.now())).expect("one prune");
        assert_eq!(state(&store), state(&whole), "after a second prune at request {requests}");
    }
}

#[test]
fn a_prune_that_stalls_for_weeks_at_any_request_while_others_prune_and_write_loses_nothing() {
    for requests in 0.. {
        let store = repository();
        let others = || {
            // A new session refers to what is not condemned, and commits in time.
            put_open(&store, 9);
            put_packs(&store, &[pack(9, 0)]);
            put_commit(&store, 9, &[pack(9, 0), pack(3, 0), pack(4, 0), pack(1, 0)]);
            for _ in 0..5 {
                store.advance(hours(100));
                wait(run(&store, store.now())).expect("another prune");
            }
        };
        let Some(slow) = interrupted(&store, requests, others) else { break };
        // One that stalls while it asks for the time finds that its own time is an old one.
        assert!(matches!(slow, Ok(_) | Err(Error::Clocks { .. })), "{slow:?}");
        wait(run(&store, store.now())).expect("a last prune");
        assert_whole(&store, &format!("after weeks at request {requests}"));
        assert!(keys(&store, "v1/p/").contains(&layout::pack(pack(9, 0)).to_string()), "at request {requests}");
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    let store = repository();
    let (before, signers) = (keys(&store, "v1/"), signers());
    let prune = Prune::new(&store, &signers, LIMITS).expect("limits");
    let plan: Plan = wait(prune.plan(store.now())).expect("a plan");
    assert_eq!((plan.condemn.len(), plan.sweep.len(), keys(&store, "v1/")), (3, 2, before));
}
