//! `trysail volume list`, `ls`, `cat`, `diff` and `export`: looking into snapshots without restoring them.

use std::cmp::Ordering;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde::Serialize;
use trysail_repository::{
    SnapshotEntry,
    commit::CommitKind,
    layout::{SnapshotId, VolumeName},
    read::Snapshot,
    table::{Kind, Metadata, Row, StoredRow, order},
};
use trysail_volume::{
    export,
    restore::{self, ExtentReader},
};

use super::volume::trim;
use crate::{
    Outcome,
    args::{Format, Shared},
    output::{self, PathText},
    place::{IfAbsent, Opened, Place},
};

#[derive(Serialize)]
struct Listed {
    snapshot: String,
    volume: String,
    committed: Timestamp,
    kind: CommitKind,
    files: u64,
    bytes: u64,
    stored: u64,
    unstable: u64,
    unreadable: u64,
}

/// Lists snapshots, oldest first.
pub(super) async fn list(place: &Place, shared: &Shared, volume: Option<&str>) -> Result<Outcome> {
    let opened = place.open(IfAbsent::Refuse).await?;
    let wanted = volume.map(VolumeName::new).transpose()?;
    let mut listed = Vec::new();
    for SnapshotEntry { id, committed } in opened.repository.snapshots(wanted.as_ref()).await? {
        let (commit, _) = opened.repository.commit(&id).await?;
        listed.push(Listed {
            snapshot: id.to_string(),
            volume: id.volume.plain().to_owned(),
            committed,
            kind: commit.kind,
            files: commit.entries.files,
            bytes: commit.bytes.logical,
            stored: commit.bytes.stored,
            unstable: commit.entries.unstable,
            unreadable: commit.entries.unreadable,
        });
    }
    if let (Some(volume), true) = (volume, listed.is_empty()) {
        bail!("no volume `{volume}`; `trysail volume list` shows what there is");
    }
    if shared.format() != Format::Table {
        output::value(shared.format(), &listed)?;
        return Ok(Outcome::Done);
    }
    let row = |l: Listed| {
        let status = match (l.kind, l.unreadable) {
            (CommitKind::Partial, _) => "Partial".to_owned(),
            (CommitKind::Complete, 0) => "Complete".to_owned(),
            (CommitKind::Complete, n) => format!("{n} unreadable"),
        };
        let at = l.committed.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        vec![l.snapshot, at, status, l.files.to_string(), output::size(l.bytes), output::size(l.stored)]
    };
    let rows = listed.into_iter().map(row).collect();
    output::table(&["SNAPSHOT", "COMMITTED", "STATUS", "FILES", "SIZE", "STORED"], rows)?;
    Ok(Outcome::Done)
}

#[derive(Serialize)]
struct Entry {
    #[serde(flatten)]
    path: PathText,
    kind: &'static str,
    mode: String,
    uid: u32,
    gid: u32,
    size: Option<u64>,
    mtime: String,
    sha256: Option<String>,
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_bytes: Option<String>,
    unstable: bool,
    unreadable: bool,
}

impl Entry {
    fn new(row: &Row) -> Self {
        let (size, hash) = match &row.kind {
            Kind::File(c) => (Some(c.size), (!row.flags.unreadable).then(|| hex::encode(c.sha256))),
            _ => (None, None),
        };
        let (target, target_bytes) = target(row).map(output::lossless).unzip();
        Self {
            path: PathText::new(&row.path),
            kind: kind(row),
            mode: format!("{:04o}", row.metadata.mode),
            uid: row.metadata.uid,
            gid: row.metadata.gid,
            size,
            mtime: mtime(row.metadata.mtime.seconds, row.metadata.mtime.nanoseconds),
            sha256: hash,
            target,
            target_bytes: target_bytes.flatten(),
            unstable: row.flags.unstable,
            unreadable: row.flags.unreadable,
        }
    }
}

fn kind(row: &Row) -> &'static str {
    match &row.kind {
        Kind::Directory => "directory",
        Kind::File(_) => "file",
        Kind::Symlink { .. } => "symlink",
        Kind::Hardlink { .. } => "hardlink",
        Kind::Fifo => "fifo",
        Kind::CharDevice { .. } => "char device",
        Kind::BlockDevice { .. } => "block device",
        Kind::Socket => "socket",
    }
}

/// Where a link leads.
fn target(row: &Row) -> Option<&[u8]> {
    match &row.kind {
        Kind::Symlink { target } | Kind::Hardlink { target } => Some(target),
        _ => None,
    }
}

/// A time as RFC 3339 in UTC with as many digits as it takes; where that has no such year, seconds since 1970.
fn mtime(seconds: i64, nanoseconds: u32) -> String {
    let nanoseconds = i32::try_from(nanoseconds).unwrap_or_default();
    Timestamp::new(seconds, nanoseconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

async fn snapshot(opened: &Opened, name: &str) -> Result<Snapshot> {
    let id = opened.repository.find(name).await?.id;
    Ok(Snapshot::open(&opened.repository, &id, &opened.identity(&id.volume)?).await?)
}

/// Lists the entries of a snapshot.
pub(super) async fn ls(place: &Place, shared: &Shared, name: &str, path: Option<&str>) -> Result<Outcome> {
    let opened = place.open(IfAbsent::Refuse).await?;
    let mut snapshot = snapshot(&opened, name).await?;
    let top = path.map(trim).unwrap_or_default();
    let mut entries = Vec::new();
    let mut found = false;
    for block in snapshot.blocks().to_vec() {
        for StoredRow { row, .. } in snapshot.rows(&block).await? {
            if !order::is_within(&row.path, top) {
                continue;
            }
            found = true;
            match shared.format() {
                Format::Json | Format::Yaml => entries.push(Entry::new(&row)),
                Format::Table => print_entry(&row)?,
            }
        }
    }
    if !found {
        bail!("the snapshot has no entry {}; `trysail volume ls` shows what there is", output::path(top));
    }
    if shared.format() != Format::Table {
        output::value(shared.format(), &entries)?;
    }
    Ok(Outcome::Done)
}

fn print_entry(row: &Row) -> Result<()> {
    let target = target(row).map(|target| format!(" -> {}", output::path(target))).unwrap_or_default();
    let size = if let Kind::File(content) = &row.kind { content.size.to_string() } else { "-".to_owned() };
    let Metadata { mode, uid, gid, mtime: at, .. } = &row.metadata;
    output::line(&format!(
        "{:<12} {mode:04o} {uid:>6} {gid:>6} {size:>12} {} {}{target}",
        kind(row),
        mtime(at.seconds, 0),
        output::path(&row.path)
    ))
}

/// Finds a row and all its extents.
async fn find(snapshot: &mut Snapshot, path: &[u8]) -> Result<Option<Row>> {
    let Some(StoredRow { mut row, lists }) = snapshot.find(path).await? else { return Ok(None) };
    for list in &lists {
        row.member.extend(snapshot.list(list).await?);
    }
    Ok(Some(row))
}

/// Refuses paths that a snapshot does not have: a restore of them would be a success with nothing in it.
pub(super) async fn all_there(opened: &Opened, id: &SnapshotId, paths: &[String]) -> Result<()> {
    let mut snapshot = Snapshot::open(&opened.repository, id, &opened.identity(&id.volume)?).await?;
    for path in paths {
        if find(&mut snapshot, trim(path)).await?.is_none() {
            bail!("the snapshot has no entry {path}; `trysail volume ls` shows what there is");
        }
    }
    Ok(())
}

/// Prints the content of a file.
pub(super) async fn cat(place: &Place, name: &str, path: &str) -> Result<Outcome> {
    let opened = place.open(IfAbsent::Refuse).await?;
    let id = opened.repository.find(name).await?.id;
    let (mut snapshot, reader) = restore::open(&opened.repository, &id, &opened.identity(&id.volume)?).await?;
    let missing = || format!("the snapshot has no file {path}; `trysail volume ls` shows what there is");
    let mut row = find(&mut snapshot, trim(path)).await?.with_context(missing)?;
    if let Kind::Hardlink { target } = &row.kind {
        row = find(&mut snapshot, &target.clone()).await?.with_context(missing)?;
    }
    let Kind::File(content) = &row.kind else { bail!("{path} is a {}, not a file", kind(&row)) };
    if row.flags.unreadable {
        bail!("{path} could not be read when the snapshot was made");
    }
    let extents = restore::content(&row).with_context(|| format!("{path}: its content is not whole"))?;
    let mut reader = ExtentReader::new(reader)?;
    let mut writer = SparseWriter::new(content.segments.as_deref(), content.size);
    for extent in extents {
        writer.write(reader.read(&extent).await?)?;
    }
    writer.finish()?;
    Ok(Outcome::Done)
}

/// Prints a content stream with its holes as zeros.
struct SparseWriter {
    /// Segments that are not begun yet, last first, and what is left of the one that is.
    segments: Vec<(u64, u64)>,
    left: u64,
    at: u64,
    size: u64,
}

impl SparseWriter {
    fn new(segments: Option<&[trysail_repository::table::Segment]>, size: u64) -> Self {
        let whole = vec![(0, size)];
        let segments = segments.map_or(whole, |s| s.iter().rev().map(|s| (s.offset, s.length)).collect());
        Self { segments, left: 0, at: 0, size }
    }

    fn zeros(&mut self, to: u64) -> Result<()> {
        while self.at < to {
            let n = (to - self.at).min(1 << 16);
            output::bytes(&vec![0; usize::try_from(n)?])?;
            self.at += n;
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let (offset, length) = self.segments.pop().context("there is more content than segments")?;
                self.zeros(offset)?;
                self.left = length;
                continue;
            }
            let (now, rest) = bytes.split_at(usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len()));
            output::bytes(now)?;
            self.at += now.len() as u64;
            self.left -= now.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.zeros(self.size)
    }
}

#[derive(Serialize)]
struct Change {
    #[serde(rename = "change")]
    sign: &'static str,
    #[serde(flatten)]
    path: PathText,
}

/// Rows of a snapshot one after another.
struct Rows {
    snapshot: Snapshot,
    block: usize,
    left: std::vec::IntoIter<StoredRow>,
}

impl Rows {
    async fn next(&mut self) -> Result<Option<Row>> {
        loop {
            if let Some(row) = self.left.next() {
                return Ok(Some(row.row));
            }
            let Some(block) = self.snapshot.blocks().get(self.block).cloned() else { return Ok(None) };
            self.block += 1;
            self.left = self.snapshot.rows(&block).await?.into_iter();
        }
    }
}

/// Prints what was added (+), removed (-), changed in content or kind (M) or only in metadata (U).
pub(super) async fn diff(place: &Place, shared: &Shared, before: &str, after: &str) -> Result<Outcome> {
    let opened = place.open(IfAbsent::Refuse).await?;
    let rows = |snapshot| Rows { snapshot, block: 0, left: Vec::new().into_iter() };
    let (mut old, mut new) = (rows(snapshot(&opened, before).await?), rows(snapshot(&opened, after).await?));
    let (mut a, mut b) = (old.next().await?, new.next().await?);
    let mut changes = Vec::new();
    loop {
        let side = match (&a, &b) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => order::compare(&a.path, &b.path),
        };
        let change = match (side, &a, &b) {
            (Ordering::Less, Some(a), _) => Some(("-", a)),
            (Ordering::Greater, _, Some(b)) => Some(("+", b)),
            (_, Some(a), Some(b)) if a.kind != b.kind => Some(("M", b)),
            (_, Some(a), Some(b)) if a.metadata != b.metadata => Some(("U", b)),
            _ => None,
        };
        if let Some((sign, row)) = change {
            match shared.format() {
                Format::Table => output::line(&format!("{sign} {}", output::path(&row.path)))?,
                Format::Json | Format::Yaml => changes.push(Change { sign, path: PathText::new(&row.path) }),
            }
        }
        if side != Ordering::Greater {
            a = old.next().await?;
        }
        if side != Ordering::Less {
            b = new.next().await?;
        }
    }
    if shared.format() != Format::Table {
        output::value(shared.format(), &changes)?;
    }
    Ok(Outcome::Done)
}

/// Writes a snapshot as one `.tar.zst`.
pub(super) async fn export(place: &Place, name: &str) -> Result<Outcome> {
    let opened = place.open(IfAbsent::Refuse).await?;
    let id = opened.repository.find(name).await?.id;
    export::export(&opened.repository, &id, &opened.identity(&id.volume)?, &mut std::io::stdout()).await?;
    Ok(Outcome::Done)
}
