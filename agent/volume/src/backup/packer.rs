//! The thread that writes: it takes frames and rows in the order of the walk and hands them to the snapshot's writer.

use std::{
    collections::{HashMap, VecDeque},
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use trysail_repository::{
    Error, Result,
    frame::FrameId,
    table::{Extent, MetaRef, Row},
    write::SnapshotWriter,
};

use super::{
    Counters,
    budget::Budget,
    frames::{Answer, Framed},
};

/// Full packs after which a checkpoint is due: a gibibyte.
const CHECKPOINT_BYTES: u64 = 1 << 30;

/// Names a frame before it is stored.
pub(super) type Ticket = u64;

/// A piece of a member.
#[derive(Debug, Clone, Copy)]
pub(super) enum Piece {
    /// Stored before this session, or found equal.
    Known(Extent),
    /// All of a frame of this session.
    Whole(Ticket),
    /// A part of a bundle.
    Part {
        /// The bundle.
        ticket: Ticket,
        /// First byte.
        skip: u32,
        /// Number of bytes.
        take: u32,
    },
}

/// The content of a small file within a bundle, which later files may share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named {
    pub(super) id: FrameId,
    pub(super) skip: u32,
    pub(super) take: u32,
}

/// What the reader sends, in the order of the walk.
pub(super) enum Item {
    /// A frame that is being made of `bytes` plain bytes.
    Frame { ticket: Ticket, bytes: usize, names: Vec<Named>, answer: Answer },
    /// The next piece of the member of the row that comes next.
    Piece(Piece),
    /// Extents of that member.
    Extents(Vec<Extent>),
    /// Lists that hold extents of that member already.
    Lists(Vec<MetaRef>),
    /// A row; its member are the pieces since the row before.
    Row(Box<Row>),
}

/// How the walk ended.
pub(super) struct Packer<'a> {
    pub(super) writer: SnapshotWriter,
    pub(super) budget: &'a Budget,
    pub(super) counters: &'a Counters,
    pub(super) checkpoint_every: Duration,
}

/// What waits for a bundle to be complete.
#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    stored: HashMap<Ticket, Extent>,
}

impl Packer<'_> {
    /// Takes items until the reader ends; gives the writer back for the commit.
    pub(super) fn run(mut self, items: &Receiver<Item>) -> Result<SnapshotWriter> {
        let mut waiting = Waiting::default();
        let (mut last, mut stored) = (Instant::now(), 0);
        for item in items {
            match item {
                Item::Frame { ticket, bytes, names, answer } => {
                    let extent = self.frame(&answer, &names)?;
                    self.budget.give(bytes);
                    waiting.stored.insert(ticket, extent);
                }
                item => waiting.items.push_back(item),
            }
            self.settle(&mut waiting)?;
            if last.elapsed() >= self.checkpoint_every || self.writer.stored() - stored >= CHECKPOINT_BYTES {
                self.writer.checkpoint()?;
                (last, stored) = (Instant::now(), self.writer.stored());
            }
            self.counters.stored.set(self.writer.stored());
        }
        if waiting.items.is_empty() {
            Ok(self.writer)
        } else {
            Err(Error::Bug("a row waits for a frame that never came"))
        }
    }

    fn frame(&mut self, answer: &Answer, names: &[Named]) -> Result<Extent> {
        let framed = answer.recv().map_err(|_| Error::Bug("a compressing thread ended early"))??;
        let extent = match framed {
            Framed::Known(extent) => extent,
            Framed::New(frame) => self.writer.frame(&frame)?,
        };
        for Named { id, skip, take } in names {
            self.writer.name(*id, Extent { skip: *skip, take: *take, ..extent })?;
        }
        Ok(extent)
    }

    /// Hands over what no longer waits.
    fn settle(&mut self, waiting: &mut Waiting) -> Result<()> {
        let mut ended = false;
        while let Some(item) = waiting.items.front() {
            if let Item::Piece(Piece::Whole(ticket) | Piece::Part { ticket, .. }) = item
                && !waiting.stored.contains_key(ticket)
            {
                return Ok(());
            }
            if let Some(item) = waiting.items.pop_front() {
                ended = matches!(item, Item::Row(_));
                self.hand_over(item, &mut waiting.stored)?;
            }
        }
        // Bundles are sent after the last piece that is in them, and chunks between two rows: after a row nothing asks for either.
        if ended {
            waiting.stored.clear();
        }
        Ok(())
    }

    fn hand_over(&mut self, item: Item, stored: &mut HashMap<Ticket, Extent>) -> Result<()> {
        let missing = Error::Bug("a piece of a frame that is not stored");
        match item {
            Item::Piece(Piece::Known(extent)) => self.writer.extent(extent),
            Item::Piece(Piece::Whole(ticket)) => self.writer.extent(stored.remove(&ticket).ok_or(missing)?),
            Item::Piece(Piece::Part { ticket, skip, take }) => {
                let extent = stored.get(&ticket).ok_or(missing)?;
                self.writer.extent(Extent { skip, take, ..*extent })
            }
            Item::Extents(extents) => extents.into_iter().try_for_each(|e| self.writer.extent(e)),
            Item::Lists(lists) => {
                self.writer.know_lists(&lists);
                Ok(())
            }
            Item::Row(row) => self.writer.row(*row),
            Item::Frame { .. } => Err(Error::Bug("a frame waits for a frame")),
        }
    }
}
