//! The tar bytes in front of and behind the content of an entry: the dialect of the stream that stock tools restore.
//!
//! A member is an optional pax header, a ustar header, for a sparse file the map of its segments, the content, and padding. The same
//! row gives the same bytes always. Nothing is read or written here. Normative text: `FORMAT.md`; what the fields mean is POSIX pax
//! and the manual of GNU tar ("Storing sparse files", version 1.0).

mod pax;

use tar::{EntryType, Header};
use trysail_repository::table::{Content, Kind, Row};

use pax::Records;

/// Unit of a tar stream in bytes.
const BLOCK: usize = 512;

/// What ends a tar stream.
pub const END: [u8; 1024] = [0; 1024];

/// Longest name or link target that the fields of a ustar header hold, in bytes.
const NAME_FIELD: usize = 100;

/// Largest size and time of the 12-byte octal fields.
const OCTAL_12_MAX: u64 = 0o77_777_777_777;

/// Largest owner, group and device number of the 8-byte octal fields.
const OCTAL_8_MAX: u32 = 0o7_777_777;

/// The name of a pax header. Readers that know pax never show it.
const PAX_NAME: &[u8] = b"./PaxHeaders/x";

/// Directory in the name of a sparse member, which only readers that know no sparse files show.
const SPARSE_DIRECTORY: &[u8] = b"./GNUSparseFile.0/";

/// Bytes of the content in the stream: of a sparse file those of its segments, of anything but a file none.
pub fn content_length(row: &Row) -> u64 {
    match &row.kind {
        Kind::File(Content { segments: Some(segments), .. }) => {
            segments.iter().fold(0, |sum: u64, segment| sum.saturating_add(segment.length))
        }
        Kind::File(content) => content.size,
        _ => 0,
    }
}

/// Zero bytes after a content of `length` bytes: 0 to 511. It depends on nothing else, so equal contents with their padding are equal.
pub fn padding(length: u64) -> usize {
    let rest = usize::try_from(length % BLOCK as u64).expect("a rest of 512 fits");
    (BLOCK - rest) % BLOCK
}

/// The bytes before the content of an entry's member; `None` for a socket, which tar cannot express.
pub fn header(row: &Row) -> Option<Vec<u8>> {
    let kind = entry_type(&row.kind)?;
    let map = sparse_map(&row.kind);
    let name = name(row);
    let size = content_length(row).saturating_add(map.as_ref().map_or(0, |map| map.len() as u64));
    let link = link(&row.kind);

    let records = records(row, &name, &link, size, map.is_some());
    let mut bytes = Vec::new();
    if !records.is_empty() {
        let mut header = Header::new_ustar();
        put_name(&mut header.as_old_mut().name, PAX_NAME);
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o644);
        finish(&mut header, 0, 0, 0, records.len() as u64);
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&records);
        pad(&mut bytes);
    }

    let mut header = Header::new_ustar();
    let shown = if map.is_some() { sparse_name(&row.path) } else { name };
    put_name(&mut header.as_old_mut().name, &shown);
    put_name(&mut header.as_old_mut().linkname, &link);
    header.set_entry_type(kind);
    header.set_mode(u32::from(row.metadata.mode & 0o7777));
    set_devices(&mut header, &row.kind);
    let mtime = u64::try_from(row.metadata.mtime.seconds).ok().filter(|seconds| *seconds <= OCTAL_12_MAX);
    finish(&mut header, row.metadata.uid, row.metadata.gid, mtime.unwrap_or(0), size);
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(&map.unwrap_or_default());
    Some(bytes)
}

fn entry_type(kind: &Kind) -> Option<EntryType> {
    Some(match kind {
        Kind::Directory => EntryType::Directory,
        Kind::File(_) => EntryType::Regular,
        Kind::Symlink { .. } => EntryType::Symlink,
        Kind::Hardlink { .. } => EntryType::Link,
        Kind::Fifo => EntryType::Fifo,
        Kind::CharDevice { .. } => EntryType::Char,
        Kind::BlockDevice { .. } => EntryType::Block,
        Kind::Socket => return None,
    })
}

/// A path as the stream names it: `./` for the root, `./a/b`, directories with a `/` at the end.
fn name(row: &Row) -> Vec<u8> {
    let end: &[u8] = if row.kind == Kind::Directory && !row.path.is_empty() { b"/" } else { b"" };
    [b"./", &row.path[..], end].concat()
}

fn link(kind: &Kind) -> Vec<u8> {
    match kind {
        Kind::Symlink { target } => target.clone(),
        Kind::Hardlink { target } => [b"./", &target[..]].concat(),
        _ => Vec::new(),
    }
}

/// The pax records that the header's fields cannot say.
fn records(row: &Row, name: &[u8], link: &[u8], size: u64, sparse: bool) -> Vec<u8> {
    let mut records = Records::default();
    if !sparse && !fits_field(name) {
        records.add(b"path", name);
    }
    if !fits_field(link) {
        records.add(b"linkpath", link);
    }
    if size > OCTAL_12_MAX {
        records.number(b"size", size);
    }
    for (key, id) in [(&b"uid"[..], row.metadata.uid), (b"gid", row.metadata.gid)] {
        if id > OCTAL_8_MAX {
            records.number(key, u64::from(id));
        }
    }
    let mtime = row.metadata.mtime;
    if mtime.nanoseconds != 0 || !u64::try_from(mtime.seconds).is_ok_and(|seconds| seconds <= OCTAL_12_MAX) {
        records.time(b"mtime", mtime);
    }
    if let (Kind::File(content), true) = (&row.kind, sparse) {
        records.add(b"GNU.sparse.major", b"1");
        records.add(b"GNU.sparse.minor", b"0");
        records.add(b"GNU.sparse.name", name);
        records.number(b"GNU.sparse.realsize", content.size);
    }
    records.xattrs(&row.metadata.xattrs);
    records.into_bytes()
}

fn fits_field(name: &[u8]) -> bool {
    name.len() <= NAME_FIELD && name.is_ascii()
}

/// The map in front of a sparse file's content: decimal lines, the number of segments, then offset and length of each.
///
/// GNU tar makes a file that ends in a hole as long as it must be only if the map ends with an empty segment there.
fn sparse_map(kind: &Kind) -> Option<Vec<u8>> {
    let Kind::File(Content { size, segments: Some(segments), .. }) = kind else { return None };
    let data_end = segments.last().map_or(0, |last| last.offset.saturating_add(last.length));
    let end = (data_end < *size || segments.is_empty()).then_some((*size, 0));
    let lines = segments.iter().map(|segment| (segment.offset, segment.length)).chain(end);
    let mut map = format!("{}\n", segments.len() + usize::from(end.is_some())).into_bytes();
    for (offset, length) in lines {
        map.extend_from_slice(format!("{offset}\n{length}\n").as_bytes());
    }
    pad(&mut map);
    Some(map)
}

fn sparse_name(path: &[u8]) -> Vec<u8> {
    let base = crate::beneath::split(path).1;
    let room = NAME_FIELD - SPARSE_DIRECTORY.len();
    [SPARSE_DIRECTORY, &base[..base.len().min(room)]].concat()
}

/// Writes a name into a field that is zero so far, cut if it is too long: a pax record then holds all of it.
fn put_name(field: &mut [u8; NAME_FIELD], name: &[u8]) {
    let length = name.len().min(NAME_FIELD);
    field[..length].copy_from_slice(&name[..length]);
}

/// Numbers beyond the octal fields are written in binary as GNU tar does, besides their pax record: a reader that knows only one of
/// the two comes to the same member length and owner.
fn finish(header: &mut Header, uid: u32, gid: u32, mtime: u64, size: u64) {
    header.set_uid(u64::from(uid));
    header.set_gid(u64::from(gid));
    header.set_mtime(mtime);
    header.set_size(size);
    header.set_cksum();
}

/// Device numbers; zero for all other kinds, as GNU tar writes them.
fn set_devices(header: &mut Header, kind: &Kind) {
    let (major, minor) = match kind {
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => (*major, *minor),
        _ => (0, 0),
    };
    if let Some(ustar) = header.as_ustar_mut() {
        put_device(&mut ustar.dev_major, major);
        put_device(&mut ustar.dev_minor, minor);
    }
}

/// Linux itself has no device numbers beyond the octal field (12 and 20 bits); GNU tar writes such a one in binary.
fn put_device(field: &mut [u8; 8], number: u32) {
    if number > OCTAL_8_MAX {
        *field = u64::from(number).to_be_bytes();
        field[0] |= 0x80;
    } else {
        field[..7].copy_from_slice(format!("{number:07o}").as_bytes());
        field[7] = 0;
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
}
