//! What a merged index promises, on a store in memory: the answers of its deltas, in a bounded number of requests.

use std::{ops::Range, pin::pin, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture, poll};
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::{
    frame::sha256,
    layout::GenerationPart,
    pack_table::PackRow,
    session::SessionId,
    store::{self, Created, Key, Page, counted::Counted, memory::Memory},
    table::{PackId, PackKind, PackRef},
};

const S: SignedDuration = SignedDuration::from_hours(24);

fn seal() -> SealKey {
    SealKey(zeroize::Zeroizing::new([6; 32]))
}

fn session(n: u32) -> SessionId {
    let mut bytes = [0; 16];
    bytes[6..10].copy_from_slice(&n.to_be_bytes());
    SessionId::from_bytes(bytes)
}

fn id(n: u32) -> FrameId {
    FrameId(*sha256(&n.to_le_bytes()).first_chunk().expect("32 bytes"))
}

/// Frame n, of so many in each delta; sixty-four of them share a pack.
fn extent(n: u32, each: u32) -> Extent {
    let pack = PackId { session: session(n / each), number: n % each / 64 };
    Extent { pack, offset: n % 64 * 1000, stored: 1000, plain: 2000, skip: n % 7, take: 100 }
}

/// That many deltas of `each` frames.
async fn put_deltas(store: &dyn ObjectStore, deltas: Range<u32>, each: u32) {
    for n in deltas {
        let entries: Vec<_> =
            (n * each..(n + 1) * each).map(|n| IndexEntry { id: id(n), extent: extent(n, each) }).collect();
        let row = PackRow { stored: n, plain: 2, frames: 3, decoded: 4, sha256: [5; 32] };
        let packs = entries.iter().map(|e| (e.extent.pack.of(PackKind::Data), row)).collect();
        let key = layout::index_delta(session(n), 0);
        let object = Delta { packs: PackTable(packs), entries }.seal(&key, &seal()).expect("seals");
        store.create(&key, Bytes::from(object)).await.expect("memory");
    }
}

async fn merge(store: &Memory, excluded: &PackSet) -> Option<SessionId> {
    let now = store.now();
    let merge = Merge { store, key: &seal(), excluded, opened: now, session_max: S, now };
    merge.run().await.expect("memory")
}

async fn load(store: Arc<dyn ObjectStore>, excluded: PackSet) -> Index {
    Index::load(&store, &seal(), &Arc::new(excluded), S).await.expect("memory")
}

async fn delete_deltas(store: &Memory) {
    let listed = list_all(store, layout::INDEX_DELTAS, DELTAS_MAX).await.expect("memory");
    let keys: Vec<Key> = listed.into_iter().map(|o| o.key).collect();
    store.delete(&keys).await.expect("memory");
}

async fn answers(index: &Index, ids: impl Iterator<Item = u32>) -> Vec<Option<Extent>> {
    let mut found = Vec::new();
    for n in ids {
        found.push(index.find(id(n)).await);
    }
    found
}

#[tokio::test]
async fn a_merged_index_answers_exactly_as_its_deltas_do() {
    let store = Arc::new(Memory::new());
    put_deltas(&*store, 0..33, 200).await;
    let before = answers(&load(store.clone(), PackSet::default()).await, 0..7000).await;
    assert_eq!(before, (0..7000).map(|n| (n < 6600).then(|| extent(n, 200))).collect::<Vec<_>>());
    assert!(merge(&store, &PackSet::default()).await.is_some());
    delete_deltas(&store).await;
    let index = load(store.clone(), PackSet::default()).await;
    assert_eq!(answers(&index, 0..7000).await, before);
    let pack = |n| PackRef { session: session(n), kind: PackKind::Data, number: 0 };
    let packs = index.packs(&[(pack(7), 0), (pack(90), 0)].into_iter().collect());
    assert_eq!(packs.0.iter().map(|(p, row)| (*p, row.stored)).collect::<Vec<_>>(), [(pack(7), 7)]);
    // A second generation is made of the first one and what came since.
    put_deltas(&*store, 33..66, 200).await;
    assert!(merge(&store, &PackSet::default()).await.is_some());
    delete_deltas(&store).await;
    let after = answers(&load(store.clone(), PackSet::default()).await, 0..13_400).await;
    assert_eq!(after, (0..13_400).map(|n| (n < 13_200).then(|| extent(n, 200))).collect::<Vec<_>>());
}

#[tokio::test]
async fn few_deltas_are_not_merged_and_neither_are_small_ones_beside_a_large_generation() {
    let store = Memory::new();
    put_deltas(&store, 0..32, 2000).await;
    assert_eq!(merge(&store, &PackSet::default()).await, None);
    put_deltas(&store, 32..33, 2000).await;
    assert!(merge(&store, &PackSet::default()).await.is_some());
    put_deltas(&store, 40_000..40_033, 1).await;
    assert_eq!(merge(&store, &PackSet::default()).await, None);
}

#[tokio::test]
async fn packs_that_must_not_be_referred_to_are_filtered_and_dropped_by_the_next_merge() {
    let store = Arc::new(Memory::new());
    put_deltas(&*store, 0..33, 64).await;
    let first = merge(&store, &PackSet::default()).await.expect("it is due");
    let condemned = PackRef { session: session(3), kind: PackKind::Data, number: 0 };
    let excluded: PackSet = [(condemned, 0)].into_iter().collect();
    let index = load(store.clone(), excluded.clone()).await;
    assert_eq!(answers(&index, 190..194).await, [Some(extent(190, 64)), Some(extent(191, 64)), None, None]);
    put_deltas(&*store, 33..66, 64).await;
    let second = merge(&store, &excluded).await.expect("it is due");
    let mut offered = Vec::new();
    for generation in [first, second] {
        let object = |part| layout::generation(generation, part);
        let json = store.get(&object(GenerationPart::Description)).await.expect("stored");
        let description = Description::parse(generation, &json).expect("it is one");
        let set = store.get(&object(GenerationPart::Offers)).await.expect("stored");
        let set = offers(&description, &set).expect("it is the one described");
        offered.push((set.len(), set.contains(condemned), description.entries()));
    }
    assert_eq!(offered, [(33, true, 33 * 64), (65, false, 65 * 64)]);
}

#[tokio::test]
async fn a_thousand_questions_take_a_bounded_number_of_requests_and_bounded_memory() {
    let large = std::env::var("TRYSAIL_TORTURE").is_ok_and(|value| value == "large");
    let entries: u32 = if large { 10_000_000 } else { 200_000 };
    let each = entries / 40;
    let store = Arc::new(Memory::new());
    // So few deltas of so many entries are more than one delta holds: only their number matters here.
    put_deltas(&*store, 0..40, each).await;
    while merge(&store, &PackSet::default()).await.is_some() {}
    delete_deltas(&store).await;
    let merged = description::newest(&*store, &seal(), S).await.expect("memory").0.remove(0).entries();
    let merged = u32::try_from(merged).expect("a number of entries");
    let counted = Counted::new(store);
    let counts = counted.counts();
    let index = load(Arc::new(counted), PackSet::default()).await;
    let opening = counts.read().total();
    assert!(opening <= 16, "{opening} requests to open it");
    let positive: Vec<u32> = (0..1000u32).map(|n| n.wrapping_mul(2_654_435_761) % merged).collect();
    let expected: Vec<_> = positive.iter().map(|n| Some(extent(*n, each))).collect();
    assert_eq!(answers(&index, positive.into_iter()).await, expected);
    let asked = counts.read().total() - opening;
    assert!(asked <= if large { 2200 } else { 60 }, "{asked} requests for 1,000 known frames");
    assert_eq!(answers(&index, entries..entries + 1000).await, vec![None; 1000]);
    let wrong = counts.read().total() - opening - asked;
    assert!(wrong <= 40, "{wrong} requests for 1,000 unknown frames");
    let (fixed, cached) = index.generation.as_ref().expect("it was merged").memory();
    assert!(fixed <= entries as usize * 15 / 10 + 4096, "{fixed} bytes for {entries} entries");
    assert!(cached <= pages::CACHED_BLOCKS_MAX, "{cached} blocks");
}

#[tokio::test]
async fn whatever_part_is_missing_or_damaged_costs_hits_and_nothing_else() {
    let store = Arc::new(Memory::new());
    put_deltas(&*store, 0..33, 100).await;
    let generation = merge(&store, &PackSet::default()).await.expect("it is due");
    delete_deltas(&store).await;
    let parts = [
        GenerationPart::Description,
        GenerationPart::Bloom,
        GenerationPart::Firsts,
        GenerationPart::Packs(0),
        GenerationPart::Shard(0),
    ];
    for key in parts.map(|part| layout::generation(generation, part)) {
        let whole = store.get(&key).await.expect("stored");
        for at in (0..whole.len()).step_by(whole.len() / 7 + 1) {
            assert!(store.damage(&key, |bytes| bytes[at] ^= 4));
            let found = answers(&load(store.clone(), PackSet::default()).await, 0..3300).await;
            let right = (0..).zip(&found).all(|(n, found)| found.is_none_or(|found| found == extent(n, 100)));
            assert!(right, "a wrong answer with byte {at} of {key} changed");
            assert!(found.contains(&None), "byte {at} of {key} is looked at");
            store.damage(&key, |bytes| bytes[at] ^= 4);
        }
        store.delete(std::slice::from_ref(&key)).await.expect("memory");
        let found = answers(&load(store.clone(), PackSet::default()).await, 0..3300).await;
        assert_eq!(found, vec![None; 3300], "without {key}");
        store.create(&key, whole).await.expect("memory");
    }
}

#[tokio::test]
async fn what_cannot_be_opened_is_answered_by_the_generation_before_and_the_deltas() {
    let store = Arc::new(Memory::new());
    put_deltas(&*store, 0..33, 100).await;
    let first = merge(&store, &PackSet::default()).await.expect("it is due");
    put_deltas(&*store, 33..66, 100).await;
    let second = merge(&store, &PackSet::default()).await.expect("it is due");
    put_deltas(&*store, 66..67, 100).await;
    let expected: Vec<_> = (0..6700).map(|n| Some(extent(n, 100))).collect();
    let parts = [GenerationPart::Description, GenerationPart::Bloom, GenerationPart::Firsts];
    // The newest first: then neither counts, and all answers are the deltas'.
    for (damaged, counts) in [(second, Some(first)), (first, None)] {
        for (n, part) in parts.into_iter().enumerate() {
            assert!(store.damage(&layout::generation(damaged, part), |bytes| bytes[40] ^= 1));
            let index = load(store.clone(), PackSet::default()).await;
            assert_eq!(index.generation.as_ref().map(|g| g.description().generation), counts, "{part:?}");
            assert_eq!(answers(&index, 0..6700).await, expected, "{part:?}");
            if n + 1 < parts.len() {
                store.damage(&layout::generation(damaged, part), |bytes| bytes[40] ^= 1);
            }
        }
    }
}

#[tokio::test]
async fn an_object_of_another_generation_in_the_place_of_its_own_answers_nothing() {
    let store = Arc::new(Memory::new());
    put_deltas(&*store, 0..33, 100).await;
    let earlier = merge(&store, &PackSet::default()).await.expect("it is due");
    put_deltas(&*store, 33..66, 100).await;
    let newest = merge(&store, &PackSet::default()).await.expect("it is due");
    delete_deltas(&store).await;
    for part in [GenerationPart::Packs(0), GenerationPart::Shard(0)] {
        let other = store.get(&layout::generation(earlier, part)).await.expect("stored");
        let mut own = Vec::new();
        let key = layout::generation(newest, part);
        assert!(store.damage(&key, |bytes| own = std::mem::replace(bytes, other.to_vec())));
        let found = answers(&load(store.clone(), PackSet::default()).await, 0..6600).await;
        assert_eq!(found, vec![None; 6600], "{part:?}");
        store.damage(&key, |bytes| *bytes = own);
    }
}

/// The first of `writer`'s two runs is at some request when the second begins and ends; gives the names of both, or `None` where the
/// first has ended before.
async fn interrupted(writer: &Merge<'_>, other: &Merge<'_>, requests: usize) -> Option<[SessionId; 2]> {
    let mut slow = pin!(writer.run());
    for _ in 0..requests {
        if poll!(slow.as_mut()).is_ready() {
            return None;
        }
    }
    // Where the first one has published already, nothing is due any more.
    let quick = other.run().await.expect("memory")?;
    Some([slow.await.expect("memory").expect("it is due"), quick])
}

#[tokio::test]
async fn two_writers_that_merge_at_once_make_two_whole_generations() {
    let mut points = 0;
    // Until it has listed deltas and generations, the first one would find that there is nothing to do any more.
    for requests in 3.. {
        let store = Arc::new(Memory::new());
        put_deltas(&*store, 0..33, 8).await;
        let (excluded, key, now) = (PackSet::default(), seal(), store.now());
        let step = Stepped(store.clone());
        let writer = Merge { store: &step, key: &key, excluded: &excluded, opened: now, session_max: S, now };
        let Some(names) = interrupted(&writer, &Merge { store: &*store, ..writer }, requests).await else { break };
        delete_deltas(&store).await;
        for (one, other) in [(names[0], names[1]), (names[1], names[0])] {
            let hidden = layout::generation(other, GenerationPart::Description);
            let body = store.get(&hidden).await.expect("stored");
            store.delete(std::slice::from_ref(&hidden)).await.expect("memory");
            let found = answers(&load(store.clone(), PackSet::default()).await, 0..264).await;
            let expected: Vec<_> = (0..264).map(|n| Some(extent(n, 8))).collect();
            assert_eq!(found, expected, "{one} is whole, at request {requests}");
            store.create(&hidden, body).await.expect("memory");
        }
        points += 1;
    }
    assert!(points > 35, "{points} points: a request for each delta at least");
}

#[tokio::test]
async fn an_index_that_is_too_large_is_not_merged_and_nothing_is_written() {
    let store = Memory::new();
    put_deltas(&store, 0..33, 10).await;
    merge(&store, &PackSet::default()).await.expect("it is due");
    let small = description::newest(&store, &seal(), S).await.expect("memory").0.remove(0);
    let generation = SessionId::from_bytes([0x7f; 16]);
    let shards = vec![Part { records: 131_072, ..small.shards[0] }; 512];
    let large = Description { generation, shards, deltas: Contained::default(), ..small };
    let key = layout::generation(generation, GenerationPart::Description);
    store.create(&key, large.seal(&seal()).expect("seals").into()).await.expect("memory");
    put_deltas(&store, 33..300, 10).await;
    let before = list_all(&store, "v1/", DELTAS_MAX).await.expect("memory");
    assert_eq!(merge(&store, &PackSet::default()).await, None);
    assert_eq!(list_all(&store, "v1/", DELTAS_MAX).await.expect("memory"), before);
}

#[tokio::test]
async fn a_generation_that_came_after_its_sessions_time_is_left_out() {
    let store = Arc::new(Memory::new());
    put_deltas(&*store, 0..33, 100).await;
    let (excluded, opened) = (PackSet::default(), store.now());
    store.advance(S + SignedDuration::from_secs(1));
    let key = seal();
    let late =
        Merge { store: &*store, key: &key, excluded: &excluded, opened, session_max: S, now: Timestamp::UNIX_EPOCH };
    late.run().await.expect("memory").expect("it is due");
    let index = load(store.clone(), PackSet::default()).await;
    assert!(index.generation.is_none());
    assert_eq!(index.find(id(1)).await, Some(extent(1, 100)), "the deltas still count");
}

/// Lets another task run before every request.
#[derive(Debug)]
struct Stepped(Arc<Memory>);

impl ObjectStore for Stepped {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, store::Result<Bytes>> {
        Box::pin(tokio::task::yield_now().then(move |()| self.0.get(key)))
    }

    fn get_range<'a>(&'a self, key: &'a Key, range: Range<u64>) -> BoxFuture<'a, store::Result<Bytes>> {
        Box::pin(tokio::task::yield_now().then(move |()| self.0.get_range(key, range)))
    }

    fn create<'a>(&'a self, key: &'a Key, body: Bytes) -> BoxFuture<'a, store::Result<Created>> {
        Box::pin(tokio::task::yield_now().then(move |()| self.0.create(key, body)))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, store::Result<Page>> {
        Box::pin(tokio::task::yield_now().then(move |()| self.0.list(prefix, after)))
    }

    fn delete<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, store::Result<()>> {
        Box::pin(tokio::task::yield_now().then(move |()| self.0.delete(keys)))
    }
}
