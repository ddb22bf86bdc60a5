//! Rows, extents and roots from bytes that may be damaged or hostile. Source: `FORMAT.md` §7.

use super::{
    Content, Extent, Flags, Inode, Kind, MetaRef, Metadata, Row, Segment, Time, Xattrs,
    encode::{
        ANOTHER_PACK, INDIRECT, NEXT_PART, OFFSET_GIVEN, PART, RACY, SAME_FRAME, SPARSE, UNREADABLE, UNSTABLE, VERSION,
        pack,
    },
    order,
    row::{NAME_BYTES_MAX, PATH_BYTES_MAX},
};
use crate::{
    frame::FRAME_PLAIN_MAX,
    session::SessionId,
    wire::{Decoder, Malformed},
};

/// Most bytes of one extended attribute's value. Source: Linux `XATTR_SIZE_MAX`.
const XATTR_VALUE_MAX: usize = 64 << 10;

/// A row as a block holds it: its extents are there, or in list frames that have to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow {
    /// The row; `member` is empty where `lists` is not.
    pub row: Row,
    /// Frames whose lists of extents, concatenated, are the member.
    pub lists: Vec<MetaRef>,
}

fn sessions(d: &mut Decoder<'_>) -> Result<Vec<SessionId>, Malformed> {
    let n = d.count(16, "the number of sessions")?;
    (0..n).map(|_| Ok(SessionId::from_bytes(d.array("a session")?))).collect()
}

fn header(d: &mut Decoder<'_>, each: usize) -> Result<(Vec<SessionId>, usize), Malformed> {
    if d.u8("the version")? != VERSION {
        return Err(Malformed::Magic);
    }
    let sessions = sessions(d)?;
    Ok((sessions, d.count(each, "the number of entries")?))
}

fn session(d: &mut Decoder<'_>, sessions: &[SessionId]) -> Result<SessionId, Malformed> {
    let index = usize::try_from(d.varint("a session's index")?).map_err(|_| Malformed::Field("a session's index"))?;
    sessions.get(index).copied().ok_or(Malformed::Field("a session's index"))
}

fn metaref(d: &mut Decoder<'_>, sessions: &[SessionId]) -> Result<MetaRef, Malformed> {
    Ok(MetaRef {
        pack: pack(session(d, sessions)?, d.varint_u32("a pack's number")?),
        offset: d.varint_u32("a frame's offset")?,
        stored: d.varint_u32("a frame's stored length")?,
        plain: d.varint_u32("a frame's length").and_then(frame_length)?,
        sha256: d.array("a frame's hash")?,
    })
}

fn frame_length(n: u32) -> Result<u32, Malformed> {
    if n <= FRAME_PLAIN_MAX { Ok(n) } else { Err(Malformed::Field("a frame's length")) }
}

#[derive(Default)]
struct Extents {
    before: Option<Extent>,
}

impl Extents {
    fn decode(&mut self, d: &mut Decoder<'_>, sessions: &[SessionId]) -> Result<Extent, Malformed> {
        let bad = Malformed::Field("an extent");
        let op = d.u8("an extent")?;
        let excluded = (op & SAME_FRAME != 0 && op & (ANOTHER_PACK | OFFSET_GIVEN) != 0)
            || (op & NEXT_PART != 0 && (op & SAME_FRAME == 0 || op & PART != 0))
            || op >= 32;
        if excluded {
            return Err(bad);
        }
        let mut extent = match self.before {
            Some(before) => before,
            None if op & ANOTHER_PACK != 0 => {
                let none = SessionId::from_bytes([0; 16]);
                Extent { pack: pack(none, 0), offset: 0, stored: 0, plain: 0, skip: 0, take: 0 }
            }
            None => return Err(bad),
        };
        let part_end = extent.skip + extent.take;
        let frame_end = extent.offset.checked_add(extent.stored).ok_or(bad)?;
        if op & ANOTHER_PACK != 0 {
            extent.pack = pack(session(d, sessions)?, d.varint_u32("a pack's number")?);
        }
        if op & SAME_FRAME == 0 {
            extent.offset = match op & (OFFSET_GIVEN | ANOTHER_PACK) {
                0 => frame_end,
                ANOTHER_PACK => 0,
                _ => d.varint_u32("a frame's offset")?,
            };
            extent.stored = d.varint_u32("a frame's stored length")?;
            extent.plain = d.varint_u32("a frame's length").and_then(frame_length)?;
        }
        (extent.skip, extent.take) = match op & (PART | NEXT_PART) {
            0 => (0, extent.plain),
            NEXT_PART => (part_end, d.varint_u32("a part's length")?),
            _ => (d.varint_u32("a part's start")?, d.varint_u32("a part's length")?),
        };
        if extent.skip.checked_add(extent.take).is_none_or(|end| end > extent.plain) {
            return Err(bad);
        }
        self.before = Some(extent);
        Ok(extent)
    }
}

fn time(d: &mut Decoder<'_>) -> Result<Time, Malformed> {
    let seconds = d.zigzag("a time")?;
    let nanoseconds = d.varint_u32("a time")?;
    if nanoseconds < 1_000_000_000 { Ok(Time { seconds, nanoseconds }) } else { Err(Malformed::Field("a time")) }
}

fn path(d: &mut Decoder<'_>, before: &[u8], first: bool) -> Result<Vec<u8>, Malformed> {
    let bad = Malformed::Field("a path");
    let shared = usize::try_from(d.varint("a path")?).map_err(|_| bad)?;
    let suffix = d.bytes(PATH_BYTES_MAX, "a path")?;
    let path = [before.get(..shared).ok_or(bad)?, suffix].concat();
    let in_order = first || order::compare(before, &path).is_lt();
    if in_order && path.len() <= PATH_BYTES_MAX && is_path(&path) { Ok(path) } else { Err(bad) }
}

/// Whether every part of a path may name an entry of a directory; the empty path is the root.
pub fn is_path(path: &[u8]) -> bool {
    let part = |p: &[u8]| !matches!(p, b"" | b"." | b"..") && p.len() <= NAME_BYTES_MAX && !p.contains(&0);
    path.is_empty() || path.split(|b| *b == b'/').all(part)
}

fn xattrs(d: &mut Decoder<'_>) -> Result<Xattrs, Malformed> {
    let n = d.count(2, "the number of attributes")?;
    let mut list: Xattrs = Vec::with_capacity(n);
    for _ in 0..n {
        let name = d.bytes(NAME_BYTES_MAX, "an attribute's name")?;
        let value = d.bytes(XATTR_VALUE_MAX, "an attribute's value")?;
        if name.contains(&0) || list.last().is_some_and(|(last, _)| last.as_slice() >= name) {
            return Err(Malformed::Field("an attribute's name"));
        }
        list.push((name.to_vec(), value.to_vec()));
    }
    Ok(list)
}

fn content(d: &mut Decoder<'_>, flags: u8) -> Result<Content, Malformed> {
    let size = d.varint("a size")?;
    let sha256 = d.array("a hash")?;
    if flags & SPARSE == 0 {
        return Ok(Content { size, sha256, segments: None });
    }
    let bad = Malformed::Field("a sparse map");
    let mut segments = Vec::new();
    let mut end = 0u64;
    for i in 0..d.count(2, "a sparse map")? {
        let (gap, length) = (d.varint("a sparse map")?, d.varint("a sparse map")?);
        if length == 0 || (i > 0 && gap == 0) {
            return Err(bad);
        }
        let offset = end.checked_add(gap).ok_or(bad)?;
        end = offset.checked_add(length).filter(|end| *end <= size).ok_or(bad)?;
        segments.push(Segment { offset, length });
    }
    Ok(Content { size, sha256, segments: Some(segments) })
}

fn kind(d: &mut Decoder<'_>, code: u8, flags: u8, path: &[u8]) -> Result<Kind, Malformed> {
    if flags & (SPARSE | UNREADABLE | UNSTABLE) != 0 && code != 1 {
        return Err(Malformed::Field("a row's flags"));
    }
    Ok(match code {
        0 => Kind::Directory,
        1 => Kind::File(content(d, flags)?),
        2 => Kind::Symlink { target: d.bytes(PATH_BYTES_MAX, "a link's target")?.to_vec() },
        3 => {
            let target = d.bytes(PATH_BYTES_MAX, "a link's target")?.to_vec();
            if !is_path(&target) || order::compare(&target, path).is_ge() {
                return Err(Malformed::Field("a link's target"));
            }
            Kind::Hardlink { target }
        }
        4 => Kind::Fifo,
        5 => Kind::CharDevice { major: d.varint_u32("a device")?, minor: d.varint_u32("a device")? },
        6 => Kind::BlockDevice { major: d.varint_u32("a device")?, minor: d.varint_u32("a device")? },
        7 => Kind::Socket,
        _ => return Err(Malformed::Field("a row's kind")),
    })
}

fn stored_row(
    d: &mut Decoder<'_>,
    sessions: &[SessionId],
    extents: &mut Extents,
    before: Option<&[u8]>,
) -> Result<StoredRow, Malformed> {
    let path = path(d, before.unwrap_or_default(), before.is_none())?;
    let code = d.u8("a row's kind")?;
    let flags = d.u8("a row's flags")?;
    if flags >= 32 {
        return Err(Malformed::Field("a row's flags"));
    }
    let mode = d.varint("a mode")?;
    let mode = u16::try_from(mode).ok().filter(|m| *m <= 0o7777).ok_or(Malformed::Field("a mode"))?;
    let (uid, gid, mtime) = (d.varint_u32("an owner")?, d.varint_u32("an owner")?, time(d)?);
    let inode = Inode { number: d.varint("an inode")?, ctime: time(d)? };
    let metadata = Metadata { mode, uid, gid, mtime, xattrs: xattrs(d)? };
    let kind = kind(d, code, flags, &path)?;
    let (mut member, mut lists) = (Vec::new(), Vec::new());
    if flags & INDIRECT == 0 {
        for _ in 0..d.count(EXTENT_BYTES_MIN, "the number of extents")? {
            member.push(extents.decode(d, sessions)?);
        }
    } else {
        for _ in 0..d.count(36, "the number of lists")? {
            lists.push(metaref(d, sessions)?);
        }
    }
    let flags = Flags { racy: flags & RACY != 0, unstable: flags & UNSTABLE != 0, unreadable: flags & UNREADABLE != 0 };
    Ok(StoredRow { row: Row { path, kind, metadata, inode, flags, member }, lists })
}

/// The rows of a block, in order.
pub fn block(bytes: &[u8]) -> Result<Vec<StoredRow>, Malformed> {
    let mut d = Decoder::new(bytes);
    let (sessions, n) = header(&mut d, 13)?;
    let mut extents = Extents::default();
    let mut rows: Vec<StoredRow> = Vec::with_capacity(n);
    for _ in 0..n {
        let before = rows.last().map(|r| r.row.path.as_slice());
        let row = stored_row(&mut d, &sessions, &mut extents, before)?;
        rows.push(row);
    }
    d.finish()?;
    Ok(rows)
}

/// Shortest extent in bytes: all of the frame before once more is its op alone, as in a file that repeats itself.
const EXTENT_BYTES_MIN: usize = 1;

/// The extents of a list frame.
pub fn list(bytes: &[u8]) -> Result<Vec<Extent>, Malformed> {
    let mut d = Decoder::new(bytes);
    let (sessions, n) = header(&mut d, EXTENT_BYTES_MIN)?;
    let mut extents = Extents::default();
    let list = (0..n).map(|_| extents.decode(&mut d, &sessions)).collect::<Result<_, _>>()?;
    d.finish()?;
    Ok(list)
}

/// One block as a root names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRef {
    /// Path of its first row.
    pub first: Vec<u8>,
    /// Number of its rows.
    pub rows: u32,
    /// The frame that holds it.
    pub frame: MetaRef,
}

/// The blocks of a root frame, in order.
pub fn root(bytes: &[u8]) -> Result<Vec<BlockRef>, Malformed> {
    let mut d = Decoder::new(bytes);
    let (sessions, n) = header(&mut d, 38)?;
    let mut blocks: Vec<BlockRef> = Vec::with_capacity(n);
    for _ in 0..n {
        let first = d.bytes(PATH_BYTES_MAX, "a path")?.to_vec();
        if !is_path(&first) || blocks.last().is_some_and(|b| order::compare(&b.first, &first).is_ge()) {
            return Err(Malformed::Field("a path"));
        }
        let rows = d.varint_u32("a number of rows")?;
        blocks.push(BlockRef { first, rows, frame: metaref(&mut d, &sessions)? });
    }
    d.finish()?;
    Ok(blocks)
}
