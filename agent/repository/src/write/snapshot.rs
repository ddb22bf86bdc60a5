//! One snapshot under construction: frames become packs, rows become blocks, and at the end a commit names it all.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use jiff::SignedDuration;
use tokio::runtime::Handle;

use super::{
    base::known_frames,
    part::{Part, Told},
    series::{Series, new_rows},
    session::{self, Known, LATE_SECONDS, Session},
    uploads::Uploads,
};
use crate::{
    commit::{Bytes as ByteCounts, Commit, CommitKind, Entries, Packs, Recipe, Sha256Hex, Sidecar, Table, Tar},
    config::FORMAT,
    error::{Error, Result},
    frame::{Compressor, FrameId, sha256},
    index::{DELTA_ENTRIES_MAX, Delta, IndexEntry, Merge},
    layout::{self, Beside, SnapshotId},
    pack::{FrameKind, TocRow},
    pack_set::PackSet,
    pack_table::PackTable,
    recipe::RecipeWriter,
    seal,
    store::Key,
    table::{
        BlockRef, Extent, Kind, MetaRef, PackKind, Row,
        block::{self, Block, BlockBuilder, INLINE_EXTENTS_MAX, LIST_EXTENTS_MAX},
        merkle::Merkle,
    },
};

/// Target length of a meta pack in bytes: a reader holds several of them.
const META_PACK_BYTES: u32 = 4 << 20;
/// zstd level of meta frames: few bytes, read often.
const META_LEVEL: i32 = 3;
/// Length of the two zero blocks that end a tar stream.
const TAR_END: u64 = 1024;

/// A frame to be stored.
#[derive(Debug)]
pub struct NewFrame {
    /// What it holds.
    pub kind: FrameKind,
    /// Its id, where other frames may be equal to it.
    pub id: Option<FrameId>,
    /// SHA-256 of its decoded bytes.
    pub sha256: [u8; 32],
    /// Its decoded length.
    pub plain: u32,
    /// The frame.
    pub frame: Vec<u8>,
}

/// What a finished session wrote.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The snapshot.
    pub id: SnapshotId,
    /// What its commit says.
    pub commit: Commit,
    /// Packs that the session wrote, of both series.
    pub packs: u32,
}

/// The member of the row that comes next, as far as it is known. It counts when the row comes.
#[derive(Debug, Default)]
struct Member {
    extents: Vec<Extent>,
    lists: Vec<MetaRef>,
    /// What the lists and the extents in them refer to.
    listed: PackSet,
    /// Bytes of the tar stream that are in the lists.
    listed_bytes: u64,
}

/// Writes one snapshot. All calls may block; none may be made on a runtime's thread.
#[derive(Debug)]
pub struct SnapshotWriter {
    session: Session,
    known: Known,
    uploads: Uploads,
    data: Series,
    meta: Series,
    compressor: Compressor,
    known_meta: HashMap<[u8; 32], MetaRef>,
    member: Member,
    builder: BlockBuilder,
    blocks: Vec<BlockRef>,
    merkle: Merkle,
    refs: PackSet,
    recipe: RecipeWriter,
    entries: Entries,
    counts: ByteCounts,
    tar_bytes: u64,
    rows: u64,
    index: Vec<IndexEntry>,
    deltas: u32,
    told: Told,
}

impl SnapshotWriter {
    pub(super) fn new(session: Session, runtime: Handle) -> Result<Self> {
        let uploads = Uploads::new(session.repository.store().clone(), runtime);
        let config = session.repository.config();
        let series = |kind, target| {
            Ok::<_, Error>(Series::new(session.id, kind, session.recipients(kind)?, target, uploads.clone()))
        };
        Ok(Self {
            data: series(PackKind::Data, config.pack)?,
            meta: series(PackKind::Meta, META_PACK_BYTES)?,
            known: session.known(),
            known_meta: known_frames(&session.tables, &session.roots, &session.excluded),
            compressor: Compressor::new(META_LEVEL).map_err(Error::Compress)?,
            uploads,
            member: Member::default(),
            builder: BlockBuilder::default(),
            blocks: Vec::new(),
            merkle: Merkle::default(),
            refs: PackSet::default(),
            recipe: RecipeWriter::new().map_err(|_| Error::Bug("no memory for a recipe"))?,
            entries: Entries::default(),
            counts: ByteCounts::default(),
            tar_bytes: TAR_END,
            rows: 0,
            index: Vec::new(),
            deltas: 0,
            told: Told::default(),
            session,
        })
    }

    /// Stores a frame, or finds the equal one that this session stored before; gives all of it as an extent.
    pub fn frame(&mut self, new: &NewFrame) -> Result<Extent> {
        if let Some(extent) = new.id.and_then(|id| self.known.fresh(id)) {
            return Ok(extent);
        }
        let stored = u32::try_from(new.frame.len()).map_err(|_| Error::Bug("a frame is longer than 4 GiB"))?;
        let row = TocRow { kind: new.kind, stored, plain: new.plain, sha256: new.sha256 };
        let (pack, offset) = self.data.add(&new.frame, row)?;
        let extent = Extent { pack, offset, stored, plain: new.plain, skip: 0, take: new.plain };
        self.counts.new += u64::from(new.plain);
        if let Some(id) = new.id {
            self.name(id, extent)?;
        }
        Ok(extent)
    }

    /// Lets later frames and sessions find these bytes by their id.
    pub fn name(&mut self, id: FrameId, extent: Extent) -> Result<()> {
        self.known.add(id, extent);
        self.index.push(IndexEntry { id, extent });
        if self.index.len() >= DELTA_ENTRIES_MAX { self.checkpoint() } else { Ok(()) }
    }

    /// Adds an extent to the member of the row that comes next.
    pub fn extent(&mut self, extent: Extent) -> Result<()> {
        self.recipe.extent(&extent);
        self.member.extents.push(extent);
        if self.member.extents.len() >= LIST_EXTENTS_MAX { self.end_list() } else { Ok(()) }
    }

    fn end_list(&mut self) -> Result<()> {
        let extents = std::mem::take(&mut self.member.extents);
        for extent in &extents {
            self.member.listed.add(extent.pack.of(PackKind::Data), extent.take.into());
            self.member.listed_bytes += u64::from(extent.take);
        }
        for plain in block::lists(&extents) {
            let frame = self.meta_frame(&plain)?;
            self.member.listed.add(frame.pack.of(PackKind::Meta), frame.plain.into());
            self.member.lists.push(frame);
        }
        Ok(())
    }

    /// Forgets the extents since the row before: the file that they are of could not be read to its end. Frames that are stored for it
    /// already stay in their packs, and only the index knows them.
    pub fn abandon_member(&mut self) {
        self.recipe.abandon_member();
        self.member = Member::default();
    }

    /// Frames that hold lists of the volume's rows already: an equal list is not stored again.
    pub fn know_lists(&mut self, lists: &[MetaRef]) {
        let usable = lists.iter().filter(|l| self.session.may_refer_to(l.pack.of(PackKind::Meta)));
        for list in usable {
            self.known_meta.insert(list.sha256, *list);
        }
    }

    /// Adds a row, whose member are the extents since the row before. Rows come in path order; `row.member` is not looked at.
    pub fn row(&mut self, mut row: Row) -> Result<()> {
        self.count(&row);
        if matches!(row.kind, Kind::Hardlink { .. }) {
            self.recipe.end_link();
        } else {
            self.recipe.end_member().map_err(|_| Error::Bug("no memory for a recipe"))?;
        }
        if !self.member.lists.is_empty() || self.member.extents.len() > INLINE_EXTENTS_MAX {
            self.end_list()?;
        }
        let Member { extents, lists, listed, listed_bytes } = std::mem::take(&mut self.member);
        for (pack, live) in listed.iter() {
            self.refs.add(pack, live);
        }
        for extent in &extents {
            self.refs.add(extent.pack.of(PackKind::Data), extent.take.into());
        }
        self.tar_bytes += listed_bytes + extents.iter().map(|extent| u64::from(extent.take)).sum::<u64>();
        row.member = extents;
        self.merkle.add(&row);
        match self.builder.add(&row, &lists) {
            Some(block) => self.block(block),
            None => Ok(()),
        }
    }

    fn count(&mut self, row: &Row) {
        self.rows += 1;
        self.entries.count(row);
        if let Kind::File(content) = &row.kind {
            self.counts.logical = self.counts.logical.saturating_add(content.size);
        }
    }

    fn block(&mut self, block: Block) -> Result<()> {
        let frame = self.needed_meta_frame(&block.plain)?;
        self.blocks.push(BlockRef { first: block.first, rows: block.rows, frame });
        Ok(())
    }

    /// Stores bytes in a meta pack, or finds the equal frame.
    fn meta_frame(&mut self, plain: &[u8]) -> Result<MetaRef> {
        let hash = sha256(plain);
        if let Some(frame) = self.known_meta.get(&hash) {
            return Ok(*frame);
        }
        let bytes = self.compressor.frame(plain).map_err(Error::Compress)?;
        let length = |n: usize| u32::try_from(n).map_err(|_| Error::Bug("a frame is longer than 4 GiB"));
        let (stored, plain) = (length(bytes.len())?, length(plain.len())?);
        let row = TocRow { kind: FrameKind::Meta, stored, plain, sha256: hash };
        let (pack, offset) = self.meta.add(&bytes, row)?;
        let frame = MetaRef { pack, offset, stored, plain, sha256: hash };
        self.known_meta.insert(hash, frame);
        Ok(frame)
    }

    /// The same for a frame that the table itself consists of.
    fn needed_meta_frame(&mut self, plain: &[u8]) -> Result<MetaRef> {
        let frame = self.meta_frame(plain)?;
        self.refs.add(frame.pack.of(PackKind::Meta), frame.plain.into());
        Ok(frame)
    }

    /// Stores all that is finished so far in such a way that a later session can go on from here.
    pub fn checkpoint(&mut self) -> Result<()> {
        self.data.flush()?;
        self.meta.flush()?;
        self.uploads.drain()?;
        self.write_delta()?;
        if self.told.blocks == self.blocks.len() {
            return Ok(());
        }
        let mut packs = new_rows([(&self.data, self.told.data), (&self.meta, self.told.meta)]);
        packs.0.extend(self.others().0.into_iter().filter(|(pack, _)| !self.told.others.contains(*pack)));
        let key = layout::beside(&self.session.id(), Beside::Part(self.told.parts));
        self.told.parts += 1;
        packs.0.keys().for_each(|pack| self.told.others.add(*pack, 0));
        let part = Part { packs, blocks: self.blocks[self.told.blocks..].to_vec() };
        // Packs that are full before any block refers to them are told with the block that does.
        (self.told.blocks, self.told.data, self.told.meta) = (self.blocks.len(), self.data.packs(), self.meta.packs());
        let sealed = part.seal(&key, &self.session.plan.keys.part);
        self.put(&key, sealed.map_err(|source| Error::Seal { key: key.clone(), source })?)
    }

    /// Packs of other sessions that this one refers to and that no table but its own may name.
    fn others(&self) -> PackTable {
        let PackTable(mut others) = self.known.packs(&self.refs);
        others.extend(
            self.session.adopted.0.iter().filter(|(pack, _)| self.refs.contains(**pack)).map(|(p, row)| (*p, *row)),
        );
        others.retain(|pack, _| pack.session != self.session.id);
        PackTable(others)
    }

    /// Names the new frames in the index.
    fn write_delta(&mut self) -> Result<()> {
        if self.index.is_empty() {
            return Ok(());
        }
        let entries = std::mem::take(&mut self.index);
        let mut packs = new_rows([(&self.data, 0)]);
        let named: BTreeSet<u32> = entries.iter().map(|e| e.extent.pack.number).collect();
        packs.0.retain(|pack, _| named.contains(&pack.number));
        let key = layout::index_delta(self.session.id, self.deltas);
        let sealed = Delta { packs, entries }.seal(&key, &self.session.plan.keys.index);
        self.deltas += 1;
        self.put(&key, sealed.map_err(|source| Error::Seal { key: key.clone(), source })?)
    }

    fn put(&self, key: &Key, body: Vec<u8>) -> Result<()> {
        self.uploads.store(key, Bytes::from(body)).map(drop)
    }

    /// Bytes of the packs that are full so far.
    pub fn stored(&self) -> u64 {
        self.data.stored() + self.meta.stored()
    }

    /// Ends the session with a commit. `read` bytes were read from the volume.
    ///
    /// # Errors
    /// Those of the store; then nothing is committed, and the next session goes on from the last checkpoint.
    pub fn finish(mut self, kind: CommitKind, read: u64) -> Result<Finished> {
        if let Some(block) = self.builder.finish() {
            self.block(block)?;
        }
        let mut root = Vec::new();
        for plain in block::roots(&self.blocks) {
            root.push(self.needed_meta_frame(&plain)?.into());
        }
        self.data.flush()?;
        self.meta.flush()?;
        self.uploads.drain()?;
        self.write_delta()?;
        let packs = self.write_pack_table()?;
        let refs = self.sidecar(Beside::Refs, self.refs.encode())?;
        let recipe = self.write_recipe()?;
        self.counts.read = read;
        self.counts.stored = self.stored();
        let merkle = Sha256Hex(std::mem::take(&mut self.merkle).finish());
        let commit = Commit {
            format: FORMAT.to_owned(),
            session: self.session.id,
            volume: self.session.plan.volume.clone(),
            uid: self.session.plan.uid.clone(),
            kind,
            started: self.session.plan.now,
            seq: self.session.seq + 1,
            prev: self.session.prev,
            base: self.session.base,
            entries: self.entries,
            bytes: self.counts,
            table: Table { root, rows: self.rows, blocks: self.blocks.len() as u64, merkle },
            tar: Tar { bytes: self.tar_bytes },
            packs,
            refs,
            recipe,
            signer: self.session.plan.keys.signer.public(),
        };
        self.commit(&commit)?;
        self.merge_index();
        Ok(Finished { id: self.session.id(), packs: self.data.packs() + self.meta.packs(), commit })
    }

    /// Makes the index shorter for later sessions, where this one made it longer: a run without changes asks for nothing. The snapshot
    /// exists already: a failure costs later sessions some requests.
    fn merge_index(&self) {
        if self.deltas == 0 {
            return;
        }
        let merge = Merge {
            store: &**self.session.repository.store(),
            key: &self.session.plan.keys.index,
            excluded: &self.session.excluded,
            opened: self.session.opened,
            session_max: SignedDuration::from_secs(self.session.repository.config().gc.session_max_s),
            now: self.session.plan.now,
        };
        if let Err(error) = self.uploads.run(merge.run()) {
            tracing::warn!(%error, "The index was not merged; a later session tries again");
        }
    }

    /// Stores the table of the session's packs, and of those that only this session can vouch for.
    fn write_pack_table(&self) -> Result<Option<Packs>> {
        let mut table = new_rows([(&self.data, 0), (&self.meta, 0)]);
        let own = table.0.len();
        table.0.extend(self.others().0);
        if table.0.is_empty() {
            return Ok(None);
        }
        let object = table.encode();
        let (bytes, sha256) = (object.len() as u64, Sha256Hex(sha256(&object)));
        self.put(&layout::session_packs(self.session.id), object)?;
        Ok(Some(Packs { bytes, sha256, adopted: (table.0.len() - own) as u64 }))
    }

    fn sidecar(&self, what: Beside, object: Vec<u8>) -> Result<Sidecar> {
        let side = Sidecar { bytes: object.len() as u64, sha256: Sha256Hex(sha256(&object)) };
        self.put(&layout::beside(&self.session.id(), what), object)?;
        Ok(side)
    }

    fn write_recipe(&mut self) -> Result<Recipe> {
        let fresh = RecipeWriter::new().map_err(|_| Error::Bug("no memory for a recipe"))?;
        let recipe = std::mem::replace(&mut self.recipe, fresh);
        let (text, lines) = recipe.finish().map_err(|_| Error::Bug("no memory for a recipe"))?;
        let key = layout::beside(&self.session.id(), Beside::Recipe);
        let recipients = self.session.recipients(PackKind::Data)?;
        let object = seal::encrypt(&text, &recipients).map_err(|source| Error::Seal { key, source })?;
        let Sidecar { bytes, sha256 } = self.sidecar(Beside::Recipe, object)?;
        Ok(Recipe { bytes, sha256, lines })
    }

    /// The one write that makes the snapshot exist. A commit that came late is checked against what was condemned meanwhile.
    fn commit(&self, commit: &Commit) -> Result<()> {
        let id = self.session.id();
        let max = self.session.repository.config().gc.session_max_s;
        let in_time = SignedDuration::from_secs(max - LATE_SECONDS.min(max / 2));
        if SignedDuration::try_from(self.session.began.elapsed()).is_ok_and(|elapsed| elapsed > in_time) {
            return Err(Error::Deadline(max / 3600));
        }
        let object = commit.sign(&self.session.plan.keys.signer);
        let at = self.uploads.store(&layout::beside(&id, Beside::Commit), Bytes::from(object))?;
        if at.duration_since(self.session.opened) <= in_time {
            return Ok(());
        }
        let condemned = self.uploads.run(session::condemned(&**self.session.repository.store()))?;
        // A set that went meanwhile may have been made and swept while this session stood still.
        if condemned.vanished || self.refs.iter().any(|(pack, _)| condemned.packs.contains(pack)) {
            self.put(&layout::beside(&id, Beside::Void), Vec::new())?;
            return Err(Error::Deadline(max / 3600));
        }
        Ok(())
    }
}
