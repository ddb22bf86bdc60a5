//! A merge of the index beside prunes: what an index offers afterwards is stored, or the session that asks knows that it must not be
//! referred to.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use jiff::{SignedDuration, Timestamp};
use trysail_repository::{
    frame::FrameId,
    index::{Delta, Index, IndexEntry, Merge},
    keys::{Keys, SealKey},
    layout::{self, VolumeName},
    pack_set::PackSet,
    pack_table::{PackRow, PackTable},
    store::{ObjectStore, list_all, memory::Memory},
    table::{Extent, PackId, PackKind},
};

use crate::{
    race::Stepped,
    repository::{ALL, LIMITS, hours, keys, pack, put, put_commit, put_open, put_packs, run, session, wait},
};

/// Sessions of the repository: more deltas than a merge waits for.
const SESSIONS: std::ops::Range<u8> = 100..134;

fn seal_key() -> SealKey {
    Keys::from_parts([1; 32], [2; 32]).for_volume(&VolumeName::new("data").expect("a name")).index
}

/// Each session has one pack with one frame, and a delta that offers it. Only even ones committed, and all are over since long.
fn repository() -> Memory {
    let store = Memory::new();
    for n in SESSIONS {
        put_open(&store, n);
        put_packs(&store, &[pack(n, 0)]);
        let row = PackRow { stored: 4, plain: 4, frames: 1, decoded: 9, sha256: [5; 32] };
        let extent = Extent {
            pack: PackId { session: session(n), number: 0 },
            offset: 0,
            stored: 4,
            plain: 9,
            skip: 0,
            take: 9,
        };
        let entries = vec![IndexEntry { id: FrameId([n; 16]), extent }];
        let key = layout::index_delta(session(n), 0);
        let delta = Delta { packs: PackTable([(pack(n, 0), row)].into()), entries };
        put(&store, &key, delta.seal(&key, &seal_key()).expect("seals"));
        if n % 2 == 0 {
            put_commit(&store, n, &[pack(n, 0)]);
        }
    }
    store.advance(hours(97));
    store
}

/// All that is condemned, as a session reads it at its beginning.
fn condemned(store: &Memory) -> PackSet {
    let mut all = PackSet::default();
    for set in wait(list_all(store, layout::CONDEMNED, ALL)).expect("memory lists") {
        all.merge(&PackSet::decode(&wait(store.get(&set.key)).expect("listed")).expect("a set"));
    }
    all
}

/// What a session that begins now finds: sessions whose packs are offered, and those of them whose packs are gone.
fn offered(store: Arc<Memory>, session_max: SignedDuration) -> (usize, Vec<u8>) {
    let excluded = Arc::new(condemned(&store));
    let stored = keys(&store, layout::packs_prefix(PackKind::Data));
    let store: Arc<dyn ObjectStore> = store;
    let index = wait(Index::load(&store, &seal_key(), &excluded, session_max)).expect("memory");
    let found: Vec<u8> = SESSIONS.filter(|n| wait(index.find(FrameId([*n; 16]))).is_some()).collect();
    let gone = |n: &u8| !stored.contains(&layout::pack(pack(*n, 0)).to_string());
    (found.len(), found.iter().copied().filter(gone).collect())
}

/// A merge that prunes overtake at some request, so many hours apart. `None` where it ended before that request.
fn overtaken(store: &Memory, requests: usize, prunes: u8, apart: i64) -> Option<()> {
    put_open(store, 9);
    let opened: Timestamp = store.now();
    let (stepped, key, excluded) = (Stepped(store), seal_key(), condemned(store));
    let merge =
        Merge { store: &stepped, key: &key, excluded: &excluded, opened, session_max: LIMITS.session_max, now: opened };
    let mut merging = pin!(merge.run());
    for _ in 0..requests {
        if let Poll::Ready(done) = merging.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            done.expect("memory");
            return None;
        }
    }
    for _ in 0..prunes {
        wait(run(store, store.now())).expect("a prune");
        store.advance(hours(apart));
    }
    wait(merging).expect("memory");
    Some(())
}

/// Plays that at every request; gives the most that a session was offered, and whether anything was offered that is gone.
fn play(prunes: u8, apart: i64, session_max: SignedDuration) -> (usize, bool) {
    let (mut most, mut lost) = (0, false);
    for requests in 1.. {
        let store = Arc::new(repository());
        if overtaken(&store, requests, prunes, apart).is_none() {
            assert!(requests > 35, "it ended after {requests} requests");
            return (most, lost);
        }
        // Weeks later, with a prune every fourth day, too.
        for _ in 0..6 {
            let (found, gone) = offered(store.clone(), session_max);
            (most, lost) = (most.max(found), lost || !gone.is_empty());
            wait(run(&store, store.now())).expect("a prune");
            store.advance(hours(100));
        }
    }
    (most, lost)
}

#[test]
fn an_index_that_was_merged_beside_prunes_offers_nothing_that_is_gone() {
    // Prunes of the same hour; of three days, in which packs go; of weeks, after which the condemned sets are gone too.
    for (prunes, apart) in [(2, 0), (2, 73), (5, 100)] {
        let (most, lost) = play(prunes, apart, LIMITS.session_max);
        assert_eq!((most > 0, lost), (true, false), "{prunes} prunes, {apart} hours apart");
    }
}

#[test]
fn it_would_if_a_generation_counted_that_came_after_its_sessions_time() {
    assert!(play(5, 100, SignedDuration::MAX).1);
}
