//! Objects that were changed by chance: no parser panics, and nothing that a hash, a seal or a signature covers is taken for good.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::runtime::{Builder, Runtime};
use trysail_repository::{
    Error, Repository, Result,
    commit::{Commit, CommitKind},
    config::RepoConfig,
    frame::{Compressor, Decompressor, sha256},
    index::Delta,
    keys::Keys,
    layout::{self, SnapshotId, VolumeName},
    pack::{FrameKind, read_toc},
    pack_set::PackSet,
    pack_table::PackTable,
    read::{Snapshot, packs},
    recipe,
    seal::{self, Identity, Recipient},
    store::{Key, ObjectStore, list_all, memory::Memory},
    table::{Content, Extent, Flags, Inode, Kind, Metadata, PackKind, Row, decode},
    write::{NewFrame, Session, SessionPlan},
};

/// Made with `age-keygen` for these tests; it opens nothing else.
const RECIPIENT: &str = "age1vlmpkzya5v05qtf4r5tvuj3dxuhysn2f0f4uqx62ntmuufr6dy6ssddgls";
const SECRET: &str = "AGE-SECRET-KEY-1CNG58P85ND4XZWXDDH4MEKY3QS5VCP6K5ULURN80JTYDGJMDLVLQXWH7JJ";

/// Rows of the snapshot: several blocks.
const ROWS: u32 = 600;

/// Changes of each object.
fn changes() -> usize {
    if std::env::var("TRYSAIL_TORTURE").is_ok_and(|size| size == "large") { 20_000 } else { 100 }
}

#[expect(clippy::print_stdout, reason = "the harness shows it with --nocapture and where a test fails")]
fn summary(test: &str, did: &str) {
    println!("TORTURE | {test:<40} | {did}");
}

/// A repository with one snapshot, and what it holds.
struct World {
    runtime: Runtime,
    store: Arc<Memory>,
    keys: Keys,
    identity: Identity,
    id: SnapshotId,
}

fn volume() -> VolumeName {
    VolumeName::new("v").expect("a name")
}

/// Rows of files that share one frame, a part each.
fn rows(frame: Extent) -> Vec<Row> {
    let file = |n: u32| Row {
        path: format!("file-{n:05}").into(),
        kind: Kind::File(Content { size: n.into(), sha256: sha256(&n.to_le_bytes()), segments: None }),
        metadata: Metadata { xattrs: vec![(b"user.n".to_vec(), n.to_le_bytes().to_vec())], ..Metadata::default() },
        inode: Inode::default(),
        flags: Flags::default(),
        member: vec![Extent { skip: n, take: 1, ..frame }],
    };
    let root = Row { path: Vec::new(), kind: Kind::Directory, member: Vec::new(), ..file(0) };
    std::iter::once(root).chain((1..ROWS).map(file)).collect()
}

impl World {
    fn new(recipients: &[Recipient]) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (store, keys) = (Arc::new(Memory::new()), Keys::from_parts([1; 32], [2; 32]));
        let now = Timestamp::from_second(1_767_225_600).expect("a time");
        let init = Repository::init(store.clone(), recipients, &keys, now);
        let repository = runtime.block_on(init).expect("an empty store");
        let plan = SessionPlan { volume: volume(), uid: String::new(), keys: keys.for_volume(&volume()), now };
        let session = runtime.block_on(Session::begin(&repository, plan)).expect("begins");
        let known = session.known();
        let mut writer = runtime.block_on(async { session.writer() }).expect("a writer");
        let content: Vec<u8> = (0..70_000_u32).map(|n| n.wrapping_mul(n).to_le_bytes()[1]).collect();
        let hash = sha256(&content);
        let frame = Compressor::new(1).and_then(|mut c| c.frame(&content)).expect("compresses");
        let id = Some(known.frame_id(&hash));
        let new = NewFrame { kind: FrameKind::Chunk, id, sha256: hash, plain: 70_000, frame };
        let extent = writer.frame(&new).expect("stores");
        for row in rows(extent) {
            row.member.iter().for_each(|e| writer.extent(*e).expect("stores"));
            writer.row(row).expect("stores");
        }
        let id = writer.finish(CommitKind::Complete, 0).expect("commits").id;
        let identity = if recipients.is_empty() { Ok(Identity::default()) } else { Identity::parse(SECRET) };
        Self { runtime, store, keys, identity: identity.expect("an identity"), id }
    }

    fn objects(&self) -> BTreeMap<Key, Bytes> {
        let listed = self.runtime.block_on(list_all(&*self.store, "v1/", 1000)).expect("memory lists");
        let body = |key: &Key| self.runtime.block_on(self.store.get(key)).expect("listed");
        listed.into_iter().map(|o| (o.key.clone(), body(&o.key))).collect()
    }

    /// Everything that a restore reads: all rows, and all frames, decoded.
    fn read(&self) -> Result<(Vec<Row>, Vec<Vec<u8>>)> {
        self.runtime.block_on(async {
            let repository = Repository::open(self.store.clone(), Some(self.keys.root().public())).await?;
            let mut snapshot = Snapshot::open(&repository, &self.id, &self.identity).await?;
            let mut rows = Vec::new();
            for block in snapshot.blocks().to_vec() {
                rows.extend(snapshot.rows(&block).await?.into_iter().map(|stored| stored.row));
            }
            let refs = packs::refs(&repository, snapshot.commit()).await?;
            let table = packs::table(&repository, snapshot.commit(), &refs).await?;
            let reader = packs::PackReader::new(repository, self.identity.clone(), Arc::new(table));
            let mut frames: Vec<Extent> = rows.iter().flat_map(|row| row.member.clone()).collect();
            frames.dedup_by_key(|extent| (extent.pack, extent.offset));
            let mut decoded = Vec::new();
            for Extent { pack, offset, stored, plain, .. } in frames {
                let frame = reader.range(pack, offset..offset + stored).await?;
                let content = Decompressor::new().and_then(|mut d| d.decode(&frame, plain).map(<[u8]>::to_vec));
                let key = layout::pack(pack.of(PackKind::Data));
                decoded.push(content.map_err(|source| Error::Frame { key, offset, source })?);
            }
            Ok((rows, decoded))
        })
    }
}

/// Numbers that look like chance, the same in every run (xorshift).
fn numbers() -> impl FnMut(usize) -> usize {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from((state >> 20) % (below.max(1) as u64)).expect("below a usize")
    }
}

/// Bits turned over, an end cut off, a piece moved, put in twice, left out or overwritten.
fn changed(object: &[u8], next: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
    let mut bytes = object.to_vec();
    let (at, length) = (next(bytes.len()), 1 + next(40));
    let end = (at + length).min(bytes.len());
    let piece = bytes.get(at..end).unwrap_or_default().to_vec();
    let to = next(bytes.len() + 1);
    match next(6) {
        0 | 1 => (0..=next(4)).for_each(|_| {
            let at = next(bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << next(8);
            }
        }),
        2 => bytes.truncate(at),
        3 => drop(bytes.splice(to..to, piece)),
        4 => drop(bytes.drain(at..end)),
        _ => (at..end).for_each(|n| bytes[n] = [0, 0x7f, 0x80, 0xff][next(4)]),
    }
    bytes
}

/// Gives every parser the bytes, whatever they were.
fn parse_as_anything(bytes: &[u8], world: &World) {
    let _ = RepoConfig::parse(bytes);
    let _ = Commit::parse(bytes, &world.id, &[world.keys.signer().public()]);
    let _ = Keys::from_json(bytes);
    let _ = PackSet::decode(bytes);
    let _ = PackTable::decode(bytes);
    let _ = read_toc(bytes);
    let _ = decode::block(bytes);
    let _ = decode::root(bytes);
    let _ = decode::list(bytes);
    let _ = std::str::from_utf8(bytes).map(recipe::parse);
    let _ = seal::decrypt(bytes, &world.identity);
    let _ = Decompressor::new().expect("a decompressor").decode(bytes, 1000).map(<[u8]>::len);
    let index = world.keys.for_volume(&volume()).index;
    let _ = Delta::open(&layout::index_delta(world.id.session, 0), bytes, &index);
}

#[test]
fn changed_objects_never_panic_and_a_snapshot_reads_as_it_was_or_not_at_all() {
    for recipients in [vec![], vec![Recipient::parse(RECIPIENT).expect("a recipient")]] {
        let world = World::new(&recipients);
        let whole = world.read().expect("nothing is changed");
        assert_eq!(whole.0.len(), ROWS as usize);
        let (mut next, mut refused, mut unread) = (numbers(), 0, 0);
        for (key, object) in world.objects() {
            for n in 0..changes() {
                let bytes = changed(&object, &mut next);
                if bytes == object {
                    continue;
                }
                parse_as_anything(&bytes, &world);
                // Whether reading notices takes longer to ask.
                if n % 10 == 0 {
                    let put = |body: &[u8]| world.store.damage(&key, |stored| *stored = body.to_vec());
                    assert!(put(&bytes));
                    match world.read() {
                        Err(error) => {
                            assert!(error.to_string().contains("v1/"), "{error} names no object");
                            refused += 1;
                        }
                        Ok(read) => {
                            assert_eq!(read, whole, "{key} was changed, and something else is read");
                            unread += 1;
                        }
                    }
                    assert!(put(&object));
                }
            }
        }
        let what = if recipients.is_empty() { "plain" } else { "encrypted" };
        summary(
            "changed objects",
            &format!("{what}: {refused} refused, {unread} in objects that a reader does not need"),
        );
    }
}

#[test]
fn what_is_signed_sealed_or_hashed_is_refused_when_anything_in_it_changed() {
    let world = World::new(&[Recipient::parse(RECIPIENT).expect("a recipient")]);
    let objects = world.objects();
    let (signer, index) = (world.keys.signer().public(), world.keys.for_volume(&volume()).index);
    let delta = layout::index_delta(world.id.session, 0);
    let commit = layout::beside(&world.id, layout::Beside::Commit);
    let mut next = numbers();
    for _ in 0..changes() * 10 {
        let mut change = |key: &Key| {
            let bytes = changed(&objects[key], &mut next);
            (bytes != objects[key]).then_some(bytes)
        };
        let config = change(&layout::repo_json(0)).map(|bytes| RepoConfig::parse(&bytes).is_err());
        let commit = change(&commit).map(|bytes| Commit::parse(&bytes, &world.id, &[signer]).is_err());
        let delta = change(&delta).map(|bytes| Delta::open(&delta, &bytes, &index).is_err());
        let keys = change(&layout::wrapped_keys(1));
        // Without its first line an object is no age file: what it holds is refused by what reads it then.
        let keys =
            keys.filter(|bytes| seal::is_age(bytes)).map(|bytes| seal::decrypt(&bytes, &world.identity).is_err());
        for (what, refused) in [("repo.json", config), ("commit", commit), ("delta", delta), ("age file", keys)] {
            assert_ne!(refused, Some(false), "a changed {what} was taken for good");
        }
    }
    summary("signed and sealed objects", &format!("{} changes of each", changes() * 10));
}

#[test]
fn changed_tables_are_parsed_without_a_panic() {
    let world = World::new(&[]);
    let objects = world.objects();
    let mut next = numbers();
    let (mut taken, mut refused) = (0, 0);
    for (_, pack) in objects.iter().filter(|(key, _)| key.as_str().starts_with("v1/m/")) {
        for (offset, row) in read_toc(pack).expect("a pack") {
            let stored = &pack[offset as usize..(offset + row.stored) as usize];
            let mut decompressor = Decompressor::new().expect("a decompressor");
            let plain = decompressor.decode(stored, row.plain).expect("a frame").to_vec();
            for _ in 0..changes() * 20 {
                let bytes = changed(&plain, &mut next);
                let parsed =
                    [decode::block(&bytes).is_ok(), decode::root(&bytes).is_ok(), decode::list(&bytes).is_ok()];
                if parsed.contains(&true) { taken += 1 } else { refused += 1 }
            }
        }
    }
    // Only their hashes say that changed names or times are wrong; these parsers see shapes.
    assert!(taken > 0 && refused > 0, "{taken} parsed, {refused} refused");
    summary("changed tables", &format!("{taken} parsed, {refused} refused"));
}
