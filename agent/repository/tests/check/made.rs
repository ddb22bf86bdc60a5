//! Small repositories that are made by hand, and damaged by hand.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use trysail_repository::{
    Error, Repository, Result,
    check::{CheckOptions, CheckReport, LostPaths, Scope, Subset, check},
    commit::CommitKind,
    frame::{Compressor, sha256},
    keys::Keys,
    layout::{SnapshotId, VolumeName},
    pack::FrameKind,
    seal::{Identity, Recipient},
    store::{Key, ObjectStore, list_all, memory::Memory},
    table::{Content, Extent, Flags, Inode, Kind, Metadata, PackKind, PackRef, Row},
    write::{NewFrame, Session, SessionPlan, SnapshotWriter},
};

/// A secret that opens nothing outside of these tests.
pub(crate) const IDENTITY: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
pub(crate) const RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
const ALL: usize = 10_000;
/// Files of a volume with a long table.
const LONG_ROWS: usize = 6500;
/// Bytes of the attribute that each of them has.
const ATTRIBUTE_BYTES: usize = 4000;

/// A repository of two snapshots of one volume.
pub(crate) struct Made {
    pub(crate) store: Arc<Memory>,
    pub(crate) snapshots: Vec<SnapshotId>,
    pub(crate) identity: Identity,
}

pub(crate) fn keys() -> Keys {
    Keys::from_parts([1; 32], [2; 32])
}

pub(crate) fn volume() -> VolumeName {
    VolumeName::new("data").expect("a name")
}

pub(crate) fn time(second: i64) -> Timestamp {
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
    let plan =
        SessionPlan { volume: volume(), uid: String::new(), keys: keys().for_volume(&volume()), now: time(second) };
    let mut writer = Session::begin(repository, plan).await.expect("begins").writer().expect("writes");
    let written = tokio::task::spawn_blocking(move || {
        let stored = fill(&mut writer)?;
        Ok::<_, Error>((writer.finish(CommitKind::Complete, 0)?.id, stored))
    });
    written.await.expect("no panic").expect("a memory store takes it all")
}

pub(crate) async fn made(recipients: &[&str]) -> Made {
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

/// Snapshots of one state of a volume, whose file table fills seven meta packs that all of them share.
pub(crate) async fn made_with_a_long_table(recipients: &[&str], snapshots: i64) -> Made {
    let store = Arc::new(Memory::new());
    let identity = Identity::parse(IDENTITY).expect("an identity");
    let recipients: Vec<Recipient> = recipients.iter().map(|r| Recipient::parse(r).expect("a recipient")).collect();
    let repository = Repository::init(store.clone(), &recipients, &keys(), time(0)).await.expect("a new repository");
    let mut made = Vec::new();
    for second in 1..=snapshots {
        let written = session(&repository, second, |writer| {
            let bundle = store_frame(writer, FrameKind::Bundle, &member(b""))?;
            put(writer, row("", Kind::Directory), &[bundle])?;
            for (n, noise) in noise(9, LONG_ROWS * ATTRIBUTE_BYTES).chunks(ATTRIBUTE_BYTES).enumerate() {
                let mut row = row(&format!("{n:04}"), file(b""));
                row.metadata.xattrs = vec![(b"user.noise".to_vec(), noise.to_vec())];
                put(writer, row, &[bundle])?;
            }
            Ok(Stored { bundle, header: bundle, chunks: [bundle; 2] })
        });
        made.push(written.await.0);
    }
    Made { store, snapshots: made, identity }
}

impl Made {
    /// Opens and checks all that there is, with the identity.
    pub(crate) async fn check(&self) -> Result<CheckReport> {
        let options =
            CheckOptions { identity: self.identity.clone(), keys: None, read_data: Some(Subset::ALL), only: None };
        self.check_with(&options).await
    }

    pub(crate) async fn check_with(&self, options: &CheckOptions) -> Result<CheckReport> {
        let repository = Repository::open(self.store.clone(), None).await?;
        check(&repository, options, &|_| ()).await
    }

    pub(crate) async fn objects(&self) -> Vec<(Key, Bytes)> {
        let mut objects = Vec::new();
        for listed in list_all(&*self.store, "v1/", ALL).await.expect("memory lists") {
            let body = self.store.get(&listed.key).await.expect("listed");
            objects.push((listed.key, body));
        }
        objects
    }

    pub(crate) async fn replace(&self, key: &Key, body: Option<Bytes>) {
        self.store.delete(std::slice::from_ref(key)).await.expect("memory deletes");
        if let Some(body) = body {
            self.store.create(key, body).await.expect("memory takes it");
        }
    }

    /// The pack of that series and ordinal, of the n-th session.
    pub(crate) fn pack(&self, n: usize, kind: PackKind, number: u32) -> PackRef {
        PackRef { session: self.snapshots[n].session, kind, number }
    }

    pub(crate) fn lost(&self, n: usize, paths: &[&str], members: u64) -> LostPaths {
        LostPaths {
            paths: paths.iter().map(|p| p.as_bytes().to_vec()).collect(),
            count: paths.len() as u64,
            members,
            ..LostPaths::new(self.snapshots[n].clone(), Scope::Paths)
        }
    }
}
