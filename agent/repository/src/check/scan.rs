//! Goes through one snapshot's file table and collects the paths that damaged packs cost.

use std::collections::BTreeMap;

use super::{
    findings::{Broken, Harm, blamed},
    report::{LostPaths, PathRange, Scope},
    tables::lists,
};
use crate::{
    commit::Commit,
    error::Result,
    layout::SnapshotId,
    read::{meta::MetaReader, rows},
    table::{BlockRef, Extent, Kind, MetaRef, PackKind, PackRef, Row, StoredRow, order},
};

/// Paths that are told for one pack and snapshot; all are counted.
const PATHS_MAX: usize = 10_000;
/// Stretches of a table that are told for one pack and snapshot.
const RANGES_MAX: usize = 1000;
/// Bytes of all paths of a report: the rest is counted only.
pub(super) const PATH_BYTES_MAX: usize = 16 << 20;
/// Length of a tar block: content is padded to a multiple of it.
const TAR_BLOCK: u64 = 512;

/// A scan of one snapshot.
pub(super) struct Scan<'a> {
    pub(super) snapshot: SnapshotId,
    pub(super) broken: &'a BTreeMap<PackRef, Broken>,
    /// What each pack costs.
    pub(super) lost: BTreeMap<PackRef, LostPaths>,
    /// Bytes of paths that may still be told.
    pub(super) room: &'a mut usize,
}

impl Scan<'_> {
    /// Scans the table of this commit.
    pub(super) async fn run(&mut self, reader: &mut MetaReader, commit: &Commit) -> Result<()> {
        let roots = commit.table.root.iter().filter_map(|root| self.breaks(&MetaRef::from(*root)));
        for pack in roots.collect::<Vec<_>>() {
            self.entry(pack).scope = Scope::All;
        }
        if !self.lost.is_empty() {
            return Ok(());
        }
        let blocks = match rows::blocks(reader, commit).await {
            Ok(blocks) => blocks,
            Err(error) => return self.unknown(error),
        };
        for (at, block) in blocks.iter().enumerate() {
            if let Some(pack) = self.breaks(&block.frame) {
                self.range(pack, block, blocks.get(at + 1));
                continue;
            }
            match rows::block(reader, block).await {
                Ok(rows) => {
                    for row in rows {
                        self.row(reader, row).await?;
                    }
                }
                Err(error) => self.unknown(error)?,
            }
        }
        Ok(())
    }

    /// The damaged pack that loses this frame.
    fn breaks(&self, frame: &MetaRef) -> Option<PackRef> {
        let pack = frame.pack.of(PackKind::Meta);
        self.broken.get(&pack).filter(|broken| broken.harm.meets(frame.offset, frame.stored)).map(|_| pack)
    }

    fn entry(&mut self, pack: PackRef) -> &mut LostPaths {
        let snapshot = &self.snapshot;
        self.lost.entry(pack).or_insert_with(|| LostPaths::new(snapshot.clone(), Scope::Paths))
    }

    /// The table does not read, for another reason than a damaged pack.
    fn unknown(&mut self, error: crate::Error) -> Result<()> {
        blamed(error)?;
        let packs: Vec<PackRef> = self.broken.keys().copied().filter(|p| p.kind == PackKind::Data).collect();
        for pack in packs {
            if let Some(lost) = self.lost.get_mut(&pack) {
                lost.scope = Scope::Unknown;
            }
        }
        Ok(())
    }

    fn range(&mut self, pack: PackRef, block: &BlockRef, next: Option<&BlockRef>) {
        let end = next.map(|next| next.first.clone());
        let entry = self.entry(pack);
        let room = entry.ranges.len() < RANGES_MAX;
        match entry.ranges.last_mut().filter(|before| before.end.as_ref() == Some(&block.first)) {
            Some(before) => {
                before.end = end;
                before.rows += u64::from(block.rows);
            }
            None if room => {
                entry.ranges.push(PathRange { first: block.first.clone(), end, rows: block.rows.into() });
            }
            None => entry.scope = Scope::Unknown,
        }
    }

    async fn row(&mut self, reader: &mut MetaReader, stored: StoredRow) -> Result<()> {
        let StoredRow { row, lists: frames } = stored;
        let broken: Vec<PackRef> = frames.iter().filter_map(|frame| self.breaks(frame)).collect();
        if !broken.is_empty() {
            for pack in broken {
                self.path(pack, &row.path);
            }
            return Ok(());
        }
        let extents = match lists(reader, &frames, &row.member).await {
            Ok(extents) => extents,
            Err(error) => return self.unknown(error),
        };
        self.member(&row, &extents);
        self.link(&row);
        Ok(())
    }

    /// Looks for the extents of a row in damaged packs. Only those with its content cost its content.
    fn member(&mut self, row: &Row, extents: &[Extent]) {
        let content = content(row, extents);
        let mut at = 0u64;
        let mut costs: BTreeMap<PackRef, Cost> = BTreeMap::new();
        for extent in extents {
            let (start, end) = (at, at.saturating_add(extent.take.into()));
            at = end;
            let pack = extent.pack.of(PackKind::Data);
            let harm: Option<&Harm> = self.broken.get(&pack).map(|broken| &broken.harm);
            if harm.is_some_and(|harm| harm.meets(extent.offset, extent.stored)) {
                let cost = if start < content.end && content.start < end { Cost::Content } else { Cost::Member };
                costs.entry(pack).and_modify(|worst| *worst = cost.max(*worst)).or_insert(cost);
            }
        }
        for (pack, cost) in costs {
            match cost {
                Cost::Content => self.path(pack, &row.path),
                Cost::Member => self.entry(pack).members += 1,
            }
        }
    }

    /// A link to what is lost is lost with it, as far as that path was kept.
    fn link(&mut self, row: &Row) {
        let Kind::Hardlink { target } = &row.kind else { return };
        let holds = |lost: &LostPaths| lost.paths.binary_search_by(|path| order::compare(path, target)).is_ok();
        let packs: Vec<PackRef> = self.lost.iter().filter(|(_, lost)| holds(lost)).map(|(pack, _)| *pack).collect();
        for pack in packs {
            self.path(pack, &row.path);
        }
    }

    fn path(&mut self, pack: PackRef, path: &[u8]) {
        let room = *self.room;
        let lost = self.entry(pack);
        if lost.paths.last().is_some_and(|last| last == path) {
            return;
        }
        lost.count += 1;
        if lost.paths.len() < PATHS_MAX && path.len() <= room {
            lost.paths.push(path.to_vec());
            *self.room = room - path.len();
        }
    }
}

/// What a damaged pack costs a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    /// Its header or padding in the tar stream.
    Member,
    /// Its content.
    Content,
}

/// Where the content lies in a member: before its padding, at the end.
fn content(row: &Row, extents: &[Extent]) -> std::ops::Range<u64> {
    let Kind::File(file) = &row.kind else { return 0..0 };
    let length = match &file.segments {
        Some(segments) => segments.iter().map(|s| s.length).fold(0, u64::saturating_add),
        None => file.size,
    };
    let total: u64 = extents.iter().map(|e| u64::from(e.take)).sum();
    let start = total.saturating_sub(length.div_ceil(TAR_BLOCK).saturating_mul(TAR_BLOCK));
    start..start.saturating_add(length)
}
