//! A repository made by hand, object by object, with something of everything that a prune has to tell apart.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use trysail_repository::{
    commit::{self, Commit, CommitKind, Entries, NO_COMMIT, Recipe, Sha256Hex, Sidecar, Table, Tar},
    frame::sha256,
    keys::{Keys, Signer},
    layout::{self, Beside, SnapshotId, VolumeName},
    pack_set::PackSet,
    prune::{self, Limits, Prune, Report},
    session::SessionId,
    signature::PublicKey,
    store::{Created, Key, ObjectStore, list_all, memory::Memory},
    table::{PackKind, PackRef},
};

pub(crate) const LIMITS: Limits =
    Limits { session_max: SignedDuration::from_hours(24), grace: SignedDuration::from_hours(72) };
pub(crate) const ALL: usize = 10_000;

pub(crate) fn signer() -> Signer {
    Keys::from_parts([1; 32], [2; 32]).signer()
}

pub(crate) fn signers() -> [PublicKey; 1] {
    [signer().public()]
}

pub(crate) fn session(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

pub(crate) fn pack(session_n: u8, number: u32) -> PackRef {
    PackRef { session: session(session_n), kind: PackKind::Data, number }
}

pub(crate) fn snapshot(n: u8) -> SnapshotId {
    SnapshotId { volume: VolumeName::new("data").expect("a name"), session: session(n) }
}

pub(crate) fn hours(n: i64) -> SignedDuration {
    SignedDuration::from_hours(n)
}

/// Ends without a runtime: memory stores answer at once.
pub(crate) fn wait<T>(task: impl Future<Output = T>) -> T {
    let mut task = pin!(task);
    for _ in 0..1_000_000 {
        if let Poll::Ready(value) = task.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
    unreachable!("a memory store answers every request")
}

pub(crate) fn put(store: &Memory, key: &Key, body: impl Into<Bytes>) {
    let created = wait(store.create(key, body.into())).expect("memory takes it");
    assert!(matches!(created, Created::New { .. }), "{key} exists");
}

pub(crate) fn put_packs(store: &Memory, packs: &[PackRef]) {
    for pack in packs {
        put(store, &layout::pack(*pack), "pack");
    }
}

pub(crate) fn put_open(store: &Memory, n: u8) {
    put(store, &layout::session_open(session(n)), format!(r#"{{"session":"{}","adopts":[]}}"#, session(n)));
}

pub(crate) fn put_condemned(store: &Memory, n: u8, packs: &[PackRef]) {
    let set: PackSet = packs.iter().map(|pack| (*pack, 0)).collect();
    put(store, &layout::condemned(session(n)), set.encode());
}

pub(crate) fn put_commit(store: &Memory, n: u8, packs: &[PackRef]) {
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
pub(crate) fn repository() -> Memory {
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
pub(crate) const LIVE: [(u8, u32); 4] = [(1, 0), (1, 1), (3, 0), (4, 0)];

pub(crate) async fn run(store: &dyn ObjectStore, now: Timestamp) -> prune::Result<Report> {
    let signers = signers();
    let prune = Prune::new(store, &signers, LIMITS)?;
    let plan = prune.plan(now).await?;
    prune.execute(&plan).await
}

pub(crate) fn keys(store: &Memory, prefix: &str) -> Vec<String> {
    wait(list_all(store, prefix, ALL)).expect("memory lists").into_iter().map(|o| o.key.to_string()).collect()
}

pub(crate) fn assert_whole(store: &Memory, when: &str) {
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
pub(crate) fn state(store: &Memory) -> Vec<String> {
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

/// The repository after prunes have nothing more to do.
pub(crate) fn settled() -> Memory {
    let store = repository();
    for _ in 0..2 {
        wait(run(&store, store.now())).expect("a whole repository");
    }
    store
}
