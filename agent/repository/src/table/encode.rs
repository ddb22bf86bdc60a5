//! Bytes of rows, extents, blocks, lists and roots, and of a row's Merkle leaf. Source: `FORMAT.md` §7.

use super::{Extent, Kind, MetaRef, PackId, Row, Time};
use crate::{session::SessionId, wire::Encoder};

pub(super) const VERSION: u8 = 1;

pub(super) const RACY: u8 = 1;
pub(super) const UNSTABLE: u8 = 2;
pub(super) const UNREADABLE: u8 = 4;
pub(super) const SPARSE: u8 = 8;
pub(super) const INDIRECT: u8 = 16;

pub(super) const ANOTHER_PACK: u8 = 1;
pub(super) const OFFSET_GIVEN: u8 = 2;
pub(super) const SAME_FRAME: u8 = 4;
pub(super) const PART: u8 = 8;
pub(super) const NEXT_PART: u8 = 16;

/// Sessions in order of first use; what follows refers to them by their index.
#[derive(Debug, Default)]
pub(super) struct Sessions(Vec<SessionId>);

impl Sessions {
    pub(super) fn index(&mut self, session: SessionId) -> u64 {
        // The newest session is the one most used; blocks name few.
        let found = self.0.iter().rposition(|s| *s == session).unwrap_or_else(|| {
            self.0.push(session);
            self.0.len() - 1
        });
        found as u64
    }

    pub(super) fn encode(&self, e: &mut Encoder) {
        e.varint(self.0.len() as u64);
        for session in &self.0 {
            e.raw(&session.to_bytes());
        }
    }
}

/// Encodes extents, each against the one before.
#[derive(Debug, Default)]
pub(super) struct Extents {
    before: Option<Extent>,
}

impl Extents {
    pub(super) fn encode(&mut self, e: &mut Encoder, sessions: &mut Sessions, extent: &Extent) {
        let before = self.before.replace(*extent);
        let same_pack = before.is_some_and(|b| b.pack == extent.pack);
        let frame = |x: &Extent| (x.pack, x.offset, x.stored, x.plain);
        let same_frame = before.is_some_and(|b| frame(&b) == frame(extent));
        let expected = if same_pack { before.map_or(0, |b| b.offset + b.stored) } else { 0 };
        let mut op = if same_frame { SAME_FRAME } else { 0 };
        op |= if same_pack { 0 } else { ANOTHER_PACK };
        op |= if same_frame || extent.offset == expected { 0 } else { OFFSET_GIVEN };
        op |= match before {
            _ if extent.is_whole() => 0,
            Some(b) if same_frame && extent.skip == b.skip + b.take => NEXT_PART,
            _ => PART,
        };
        e.u8(op);
        if op & ANOTHER_PACK != 0 {
            e.varint(sessions.index(extent.pack.session));
            e.varint(extent.pack.number.into());
        }
        if op & OFFSET_GIVEN != 0 {
            e.varint(extent.offset.into());
        }
        if op & SAME_FRAME == 0 {
            e.varint(extent.stored.into());
            e.varint(extent.plain.into());
        }
        if op & PART != 0 {
            e.varint(extent.skip.into());
        }
        if op & (PART | NEXT_PART) != 0 {
            e.varint(extent.take.into());
        }
    }
}

pub(super) fn metaref(e: &mut Encoder, sessions: &mut Sessions, frame: &MetaRef) {
    e.varint(sessions.index(frame.pack.session));
    e.varint(frame.pack.number.into());
    e.varint(frame.offset.into());
    e.varint(frame.stored.into());
    e.varint(frame.plain.into());
    e.raw(&frame.sha256);
}

fn time(e: &mut Encoder, time: Time) {
    e.zigzag(time.seconds);
    e.varint(time.nanoseconds.into());
}

fn kind_code(kind: &Kind) -> u8 {
    match kind {
        Kind::Directory => 0,
        Kind::File(_) => 1,
        Kind::Symlink { .. } => 2,
        Kind::Hardlink { .. } => 3,
        Kind::Fifo => 4,
        Kind::CharDevice { .. } => 5,
        Kind::BlockDevice { .. } => 6,
        Kind::Socket => 7,
    }
}

fn flags(row: &Row) -> u8 {
    let mut flags = 0;
    flags |= if row.flags.racy { RACY } else { 0 };
    flags |= if row.flags.unstable { UNSTABLE } else { 0 };
    flags |= if row.flags.unreadable { UNREADABLE } else { 0 };
    match &row.kind {
        Kind::File(content) if content.segments.is_some() => flags | SPARSE,
        _ => flags,
    }
}

fn metadata(e: &mut Encoder, row: &Row) {
    e.varint(row.metadata.mode.into());
    e.varint(row.metadata.uid.into());
    e.varint(row.metadata.gid.into());
    time(e, row.metadata.mtime);
}

fn xattrs(e: &mut Encoder, row: &Row) {
    e.varint(row.metadata.xattrs.len() as u64);
    for (name, value) in &row.metadata.xattrs {
        e.bytes(name);
        e.bytes(value);
    }
}

fn kind_fields(e: &mut Encoder, kind: &Kind) {
    match kind {
        Kind::Directory | Kind::Fifo | Kind::Socket => {}
        Kind::File(content) => {
            e.varint(content.size);
            e.raw(&content.sha256);
            if let Some(segments) = &content.segments {
                e.varint(segments.len() as u64);
                let mut end = 0;
                for segment in segments {
                    e.varint(segment.offset - end);
                    e.varint(segment.length);
                    end = segment.offset + segment.length;
                }
            }
        }
        Kind::Symlink { target } | Kind::Hardlink { target } => e.bytes(target),
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            e.varint((*major).into());
            e.varint((*minor).into());
        }
    }
}

/// Where a row's extents are: in the row, or in list frames of their own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Member<'a> {
    Inline(&'a [Extent]),
    Lists(&'a [MetaRef]),
}

/// Appends a row to a block's rows; the first `shared` bytes of its path are those of the row before.
pub(super) fn row(
    e: &mut Encoder,
    sessions: &mut Sessions,
    extents: &mut Extents,
    row: &Row,
    shared: usize,
    member: Member<'_>,
) {
    e.varint(shared as u64);
    e.bytes(&row.path[shared..]);
    e.u8(kind_code(&row.kind));
    e.u8(flags(row) | if matches!(member, Member::Lists(_)) { INDIRECT } else { 0 });
    metadata(e, row);
    e.varint(row.inode.number);
    time(e, row.inode.ctime);
    xattrs(e, row);
    kind_fields(e, &row.kind);
    match member {
        Member::Inline(list) => {
            e.varint(list.len() as u64);
            for extent in list {
                extents.encode(e, sessions, extent);
            }
        }
        Member::Lists(frames) => {
            e.varint(frames.len() as u64);
            for frame in frames {
                metaref(e, sessions, frame);
            }
        }
    }
}

/// A list frame: extents of one row.
pub(super) fn list(part: &[Extent]) -> Vec<u8> {
    let (mut body, mut sessions, mut extents) = (Encoder::default(), Sessions::default(), Extents::default());
    for extent in part {
        extents.encode(&mut body, &mut sessions, extent);
    }
    framed(&sessions, part.len(), &body)
}

/// Version, sessions, count and body: the shape of blocks, lists and roots.
pub(super) fn framed(sessions: &Sessions, count: usize, body: &Encoder) -> Vec<u8> {
    let mut e = Encoder(Vec::with_capacity(body.0.len() + 64));
    e.u8(VERSION);
    sessions.encode(&mut e);
    e.varint(count as u64);
    e.raw(&body.0);
    e.0
}

/// What the Merkle leaf of a row hashes, after byte 0.
pub(super) fn leaf(e: &mut Encoder, row: &Row) {
    e.bytes(&row.path);
    e.u8(kind_code(&row.kind));
    e.u8(flags(row) & (UNREADABLE | SPARSE));
    metadata(e, row);
    xattrs(e, row);
    kind_fields(e, &row.kind);
}

/// The pack of an extent given by its parts.
pub(super) fn pack(session: SessionId, number: u32) -> PackId {
    PackId { session, number }
}
