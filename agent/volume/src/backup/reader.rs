//! The thread that walks: it compares each entry with the base, reads what changed, and sends frames and rows in order.

use std::{
    cmp::Ordering,
    sync::mpsc::{Receiver, SyncSender},
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use trysail_repository::{
    Error, Result,
    commit::CommitKind,
    cut::Cutter,
    pack::FrameKind,
    table::{Extent, Kind, PackKind, Row, StoredRow, Time, order},
    write::{BaseRows, Known},
};

use super::{
    Counters, Problems,
    budget::Budget,
    bundle::{Bundle, HEADER_PIECE_MAX, length},
    content::{Opened, RETRIES_MAX},
    frames::Jobs,
    packer::{Item, Named, Piece, Ticket},
};
use crate::{
    member,
    unchanged::{is_racy, is_unchanged},
    walk::{Action, Problem, Visit, Walk},
};

/// Contents below this many bytes are not looked up: an index entry would cost more than it saves.
const SHARED_CONTENT_MIN: u64 = 4096;

/// Rows that may wait for a bundle to be complete.
const WAITING_ROWS_MAX: usize = 8192;

/// Bytes read at once while a file is cut: few enough to be hashed and cut while they are in the processor's cache.
const READ_BYTES: usize = 256 << 10;

/// The other threads have ended; their error is the one to tell.
#[derive(Debug)]
pub(super) struct Gone;

/// What stops a walk early.
#[derive(Debug)]
pub(super) enum Stop {
    Gone,
    Failed(Error),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Sizes that the repository prescribes, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) small_max: u64,
    pub(super) bundle: usize,
    pub(super) chunk_max: usize,
}

/// The walking thread.
pub(super) struct Reader<'a> {
    pub(super) base: BaseRows,
    pub(super) runtime: Handle,
    pub(super) known: Known,
    pub(super) may_refer_to: &'a (dyn Fn(&Extent) -> bool + Sync),
    pub(super) may_refer_to_list: &'a (dyn Fn(&trysail_repository::table::MetaRef) -> bool + Sync),
    pub(super) cutter: Cutter,
    pub(super) sizes: Sizes,
    pub(super) jobs: Jobs,
    pub(super) buffers: Receiver<Vec<u8>>,
    pub(super) items: SyncSender<Item>,
    pub(super) budget: &'a Budget,
    pub(super) counters: &'a Counters,
    pub(super) problems: &'a mut Problems,
    pub(super) began: Time,
    pub(super) time_limit: Duration,
    pub(super) held_pieces_max: usize,
    pub(super) state: State,
}

/// What changes as the walk goes on.
#[derive(Default)]
pub(super) struct State {
    next: Option<StoredRow>,
    ended: bool,
    ticket: Ticket,
    members: Bundle,
    links: Bundle,
    waiting: usize,
    /// Content of the small file that is being read.
    content: Vec<u8>,
}

impl Reader<'_> {
    /// Walks the volume to its end, or until the session has no more time. The sender of items is dropped at the end.
    pub(super) fn run(mut self, mut walk: Walk) -> Result<CommitKind, Stop> {
        let began = Instant::now();
        self.state.members = Bundle::new(self.ticket(), Vec::new());
        self.state.links = Bundle::new(self.ticket(), Vec::new());
        while let Some(visit) = walk.next() {
            match visit {
                Ok(visit) => self.entry(visit, &mut walk)?,
                Err(problem) => self.problems.add(problem),
            }
            if began.elapsed() > self.time_limit {
                self.flush()?;
                return Ok(CommitKind::Partial);
            }
        }
        self.flush()?;
        Ok(CommitKind::Complete)
    }

    fn ticket(&mut self) -> Ticket {
        self.state.ticket += 1;
        self.state.ticket
    }

    fn send(&self, item: Item) -> Result<(), Gone> {
        self.items.send(item).map_err(|_| Gone)
    }

    fn entry(&mut self, visit: Visit, walk: &mut Walk) -> Result<(), Stop> {
        self.counters.entries.add(1);
        let before = self.before(&visit.row.path)?;
        if let Some(before) = before.filter(|b| is_unchanged(&b.row, &visit.row))
            && self.reuse(before)?
        {
            return Ok(());
        }
        match &visit.row.kind {
            Kind::File(_) => self.file(&visit, walk),
            _ => self.other(visit),
        }
    }

    /// The base's row of that path, if there is one. Base and walk are in the same order, so each is read once.
    fn before(&mut self, path: &[u8]) -> Result<Option<StoredRow>, Stop> {
        loop {
            if self.state.next.is_none() && !self.state.ended {
                self.state.next = self.runtime.block_on(self.base.next())?;
                self.state.ended = self.state.next.is_none();
            }
            let Some(next) = &self.state.next else { return Ok(None) };
            match order::compare(&next.row.path, path) {
                Ordering::Less => self.state.next = None,
                Ordering::Equal => return Ok(self.state.next.take()),
                Ordering::Greater => return Ok(None),
            }
        }
    }

    /// Sends a row of the base as it is; false where something that it refers to must not be referred to.
    fn reuse(&mut self, before: StoredRow) -> Result<bool, Stop> {
        let StoredRow { mut row, lists } = before;
        let member = std::mem::take(&mut row.member);
        if !member.iter().all(self.may_refer_to) {
            return Ok(false);
        }
        if !lists.is_empty() {
            let Some(extents) = self.lists(&lists)? else { return Ok(false) };
            // A long member is not held back behind a bundle.
            self.flush()?;
            self.send(Item::Lists(lists))?;
            for part in extents {
                self.send(Item::Extents(part))?;
            }
        } else if !member.is_empty() {
            self.send(Item::Extents(member))?;
        }
        self.counters.unchanged.add(1);
        self.row(row)?;
        Ok(true)
    }

    fn lists(&mut self, lists: &[trysail_repository::table::MetaRef]) -> Result<Option<Vec<Vec<Extent>>>, Stop> {
        let mut all = Vec::new();
        for list in lists {
            if !(self.may_refer_to_list)(list) {
                return Ok(None);
            }
            match self.runtime.block_on(self.base.list(list))? {
                Some(part) if part.iter().all(self.may_refer_to) => all.push(part),
                _ => return Ok(None),
            }
        }
        Ok(Some(all))
    }

    fn row(&mut self, mut row: Row) -> Result<(), Gone> {
        row.flags.racy = is_racy(&row, self.began);
        self.send(Item::Row(Box::new(row)))?;
        self.state.waiting += 1;
        let waits = !self.state.members.is_empty() || !self.state.links.is_empty();
        if !waits {
            self.state.waiting = 0;
        } else if self.state.waiting >= WAITING_ROWS_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Everything but a regular file: a header, and nothing after it.
    fn other(&mut self, visit: Visit) -> Result<(), Stop> {
        let xattrs = self.xattrs(&visit);
        let mut row = visit.row;
        row.metadata.xattrs = xattrs;
        if let Some(header) = member::header(&row) {
            if matches!(row.kind, Kind::Hardlink { .. }) {
                let piece = self.state.links.add(&header);
                self.send(Item::Piece(piece))?;
            } else {
                self.header(&header)?;
            }
        }
        self.row(row)?;
        if self.state.links.plain.len() >= self.sizes.bundle || self.state.members.plain.len() >= self.sizes.bundle {
            self.flush()?;
        }
        Ok(())
    }

    /// The attributes of an entry; where they cannot be read, none, and a problem is told.
    fn xattrs(&mut self, visit: &Visit) -> Vec<(Vec<u8>, Vec<u8>)> {
        visit.xattrs().unwrap_or_else(|problem| {
            self.problems.add(problem);
            Vec::new()
        })
    }

    /// Appends a header to the open bundle, or stores it in frames of its own where it is very long.
    fn header(&mut self, header: &[u8]) -> Result<(), Gone> {
        if header.len() <= HEADER_PIECE_MAX {
            let piece = self.state.members.add(header);
            return self.send(Item::Piece(piece));
        }
        self.flush()?;
        for part in header.chunks(HEADER_PIECE_MAX) {
            let ticket = self.frame(part.to_vec(), FrameKind::Header, Vec::new())?;
            self.send(Item::Piece(Piece::Whole(ticket)))?;
        }
        Ok(())
    }

    /// Hands plain bytes to the compressing threads and their place in the order to the packer.
    fn frame(&mut self, plain: Vec<u8>, kind: FrameKind, names: Vec<Named>) -> Result<Ticket, Gone> {
        let ticket = self.ticket();
        self.frame_as(ticket, plain, kind, names)?;
        Ok(ticket)
    }

    fn frame_as(&mut self, ticket: Ticket, plain: Vec<u8>, kind: FrameKind, names: Vec<Named>) -> Result<(), Gone> {
        let bytes = plain.len();
        self.budget.take(bytes);
        let answer = self.jobs.submit(plain, kind).ok_or(Gone)?;
        self.send(Item::Frame { ticket, bytes, names, answer })
    }

    /// Ends the open bundles: members first, because links name them.
    fn flush(&mut self) -> Result<(), Gone> {
        let next = Bundle::new(self.ticket(), self.buffer());
        let members = std::mem::replace(&mut self.state.members, next);
        self.store_bundle(members)?;
        if !self.state.links.is_empty() {
            let next = Bundle::new(self.ticket(), Vec::new());
            let links = std::mem::replace(&mut self.state.links, next);
            self.store_bundle(links)?;
        }
        self.state.waiting = 0;
        Ok(())
    }

    fn store_bundle(&mut self, bundle: Bundle) -> Result<(), Gone> {
        let Bundle { plain, names, ticket } = bundle;
        if plain.is_empty() { Ok(()) } else { self.frame_as(ticket, plain, FrameKind::Bundle, names) }
    }

    /// A buffer that a compressing thread is done with, or a new one.
    fn buffer(&self) -> Vec<u8> {
        self.buffers.try_recv().unwrap_or_default()
    }

    fn file(&mut self, visit: &Visit, walk: &mut Walk) -> Result<(), Stop> {
        let xattrs = self.xattrs(visit);
        let mut tries = 0;
        loop {
            let opened = match Opened::new(visit, &xattrs) {
                Ok(opened) => opened,
                Err(problem) => return self.unreadable(visit, problem, walk),
            };
            let last_try = tries >= RETRIES_MAX;
            let done = if opened.length() < self.sizes.small_max {
                self.small(opened, last_try)
            } else {
                self.large(opened, last_try)
            };
            match done {
                Ok(true) => return Ok(()),
                Ok(false) => tries += 1,
                Err(Unread::Stop(stop)) => return Err(stop),
                Err(Unread::Source(error)) => {
                    self.send(Item::Abandon)?;
                    let problem = Problem::refused(&visit.row.path, Action::Read, error);
                    return self.unreadable(visit, problem, walk);
                }
            }
        }
    }

    /// A file without content: its row says so, and the problem says why. One that vanished has no row.
    fn unreadable(&mut self, visit: &Visit, problem: Problem, walk: &mut Walk) -> Result<(), Stop> {
        walk.forget_link(visit);
        let vanished = matches!(problem, Problem::Vanished { .. });
        self.problems.add(problem);
        if vanished {
            return Ok(());
        }
        let mut row = visit.row.clone();
        row.flags.unreadable = true;
        Ok(self.row(row)?)
    }

    /// A file that goes into the bundle with its content. False where it changed while it was read, and may be read again.
    fn small(&mut self, opened: Opened, last_try: bool) -> Result<bool, Unread> {
        let wanted = usize::try_from(opened.length()).unwrap_or(usize::MAX);
        let mut content = std::mem::take(&mut self.state.content);
        content.clear();
        let mut reader = opened.reader();
        self.counters.read.add(reader.fill(&mut content, wanted)? as u64);
        let stable = opened.is_stable() && !reader.short;
        if !stable && !last_try {
            return Ok(false);
        }
        let hash: [u8; 32] = Sha256::digest(&content).into();
        let row = self.settle(opened.row, hash, stable);
        let padding = member::padding(content.len() as u64);
        let id = (content.len() as u64 >= SHARED_CONTENT_MIN).then(|| self.known.content_id(&hash));
        let found = id.and_then(|id| self.known.find(id)).filter(|e| e.take as usize == content.len() + padding);
        self.header(&member::header(&row).unwrap_or_default()).map_err(Stop::from)?;
        match found {
            Some(extent) => self.send(Item::Piece(Piece::Known(extent))).map_err(Stop::from)?,
            None if content.is_empty() => {}
            None => {
                let bundle = &mut self.state.members;
                let skip = length(bundle.plain.len());
                content.resize(content.len() + padding, 0);
                let piece = bundle.add(&content);
                bundle.names.extend(id.map(|id| Named { id, skip, take: length(content.len()) }));
                self.send(Item::Piece(piece)).map_err(Stop::from)?;
            }
        }
        self.state.content = content;
        self.row(row).map_err(Stop::from)?;
        if self.state.members.plain.len() >= self.sizes.bundle {
            self.flush().map_err(Stop::from)?;
        }
        Ok(true)
    }

    /// The row of a file that was read.
    fn settle(&mut self, mut row: Row, hash: [u8; 32], stable: bool) -> Row {
        if let Kind::File(content) = &mut row.kind {
            content.sha256 = hash;
        }
        row.flags.unstable = !stable;
        if !stable {
            self.problems.unstable(&row.path);
        }
        row
    }

    /// A file that is cut into chunks. False where it changed while it was read, and may be read again.
    fn large(&mut self, opened: Opened, last_try: bool) -> Result<bool, Unread> {
        let header = member::header(&opened.row).unwrap_or_default();
        // Its header ends the open bundle, so that header and chunks follow one another in the pack.
        self.flush().map_err(Stop::from)?;
        let mut held: Vec<Piece> = Vec::new();
        let mut streaming = false;
        for part in header.chunks(HEADER_PIECE_MAX) {
            held.push(Piece::Whole(self.frame(part.to_vec(), FrameKind::Header, Vec::new()).map_err(Stop::from)?));
        }
        let padding = member::padding(opened.length());
        let mut reader = opened.reader();
        let mut hash = Sha256::new();
        let mut buffer: Vec<u8> = Vec::with_capacity(self.sizes.chunk_max + READ_BYTES);
        let mut left = opened.length();
        // Bytes at the start of the buffer that are in chunks already; they go once for each read, not for each chunk.
        let mut cut = 0;
        while left > 0 {
            while buffer.len() - cut < self.sizes.chunk_max && ((buffer.len() - cut) as u64) < left {
                buffer.drain(..cut);
                cut = 0;
                let wanted = READ_BYTES.min(usize::try_from(left - buffer.len() as u64).unwrap_or(READ_BYTES));
                let from = buffer.len();
                self.counters.read.add(reader.fill(&mut buffer, wanted)? as u64);
                hash.update(&buffer[from..]);
            }
            let length = self.cutter.first(&buffer[cut..]);
            let mut chunk = self.buffer();
            chunk.extend_from_slice(&buffer[cut..cut + length]);
            cut += length;
            left -= length as u64;
            if left == 0 {
                chunk.resize(chunk.len() + padding, 0);
            }
            held.push(Piece::Whole(self.frame(chunk, FrameKind::Chunk, Vec::new()).map_err(Stop::from)?));
            if streaming || held.len() >= self.held_pieces_max {
                streaming = true;
                self.release(&mut held)?;
            }
        }
        let stable = opened.is_stable() && !reader.short;
        if !stable && !last_try && !streaming {
            return Ok(false);
        }
        self.release(&mut held)?;
        let row = self.settle(opened.row, hash.finalize().into(), stable);
        self.row(row).map_err(Stop::from)?;
        Ok(true)
    }

    fn release(&self, held: &mut Vec<Piece>) -> Result<(), Unread> {
        held.drain(..).try_for_each(|piece| self.send(Item::Piece(piece))).map_err(|gone| Unread::Stop(gone.into()))
    }
}

/// Why a file was not read to its end.
enum Unread {
    Source(std::io::Error),
    Stop(Stop),
}

impl From<std::io::Error> for Unread {
    fn from(error: std::io::Error) -> Self {
        Self::Source(error)
    }
}

impl From<Stop> for Unread {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Whether the extent's pack may be referred to.
pub(super) fn pack_of(extent: &Extent) -> trysail_repository::table::PackRef {
    extent.pack.of(PackKind::Data)
}
