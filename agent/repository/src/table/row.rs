//! What a row of the file table says of one entry of a volume. Its bytes are in `encode`.

use crate::session::SessionId;

/// Longest name of one path component in bytes. Source: Linux `NAME_MAX`.
pub const NAME_BYTES_MAX: usize = 255;

/// Longest path of a row in bytes: 4,096 levels of 255 bytes would be a megabyte; deeper or longer trees are reported, not stored.
pub const PATH_BYTES_MAX: usize = 1 << 20;

/// One entry of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Path below the volume's root, parts joined by `/`, any bytes but NUL; empty for the root itself.
    pub path: Vec<u8>,
    /// What it is, with what only that kind has.
    pub kind: Kind,
    /// Owner, mode, times and extended attributes.
    pub metadata: Metadata,
    /// What tells an unchanged entry from a changed one; not part of the Merkle leaf.
    pub inode: Inode,
    /// Remarks of the run that read it.
    pub flags: Flags,
    /// The tar member of this entry: byte ranges of frames whose concatenation is its header, content and padding. Empty for a socket,
    /// and for a file that could not be read.
    pub member: Vec<Extent>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file: the first path, in path order, of its inode.
    File(Content),
    /// A symbolic link and its target, byte for byte.
    Symlink {
        /// What `readlink` gives.
        target: Vec<u8>,
    },
    /// A further path of an inode; `target` is the path of the [`Kind::File`] (or special) row that comes before it.
    Hardlink {
        /// Path below the volume's root.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A socket: counted and restored by us, absent from the tar stream.
    Socket,
}

/// Content of a regular file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// Length in bytes, holes included.
    pub size: u64,
    /// SHA-256 of the content; of a sparse file, of its data segments one after another.
    pub sha256: [u8; 32],
    /// The data segments of a sparse file in ascending order, not touching; `None` where the file has no holes.
    pub segments: Option<Vec<Segment>>,
}

/// A run of data in a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// First byte.
    pub offset: u64,
    /// Number of bytes, at least one.
    pub length: u64,
}

/// Extended attributes: names and values.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// What a restore sets on an entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Permission, setuid, setgid and sticky bits (`07777`).
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last change of the content.
    pub mtime: Time,
    /// Extended attributes in byte order of their names, POSIX ACLs and capabilities among them, raw as the kernel gives them.
    pub xattrs: Xattrs,
}

/// What changes when an entry changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inode {
    /// Inode number.
    pub number: u64,
    /// Time of last change of the inode.
    pub ctime: Time,
}

/// Seconds and nanoseconds since 1970, as `statx` gives them: the nanoseconds count forwards also before 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// Remarks on a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// Changed so shortly before the walk that a later change might keep all times: the next run reads it again.
    pub racy: bool,
    /// Changed while it was read, at every try: the content is a mixture.
    pub unstable: bool,
    /// Could not be read: there is no content and no member.
    pub unreadable: bool,
}

/// Which of a session's two series of packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackKind {
    /// `p/`: members of the tar stream.
    Data,
    /// `m/`: blocks of file tables.
    Meta,
}

/// A pack: session, series and ordinal. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackRef {
    /// The session that wrote it.
    pub session: SessionId,
    /// Its series.
    pub kind: PackKind,
    /// Its ordinal in the series, from 0.
    pub number: u32,
}

/// A data pack: what rows and index entries point at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId {
    /// The session that wrote it.
    pub session: SessionId,
    /// Its ordinal, from 0.
    pub number: u32,
}

/// A byte range of one frame's decoded bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent {
    /// The pack that holds the frame.
    pub pack: PackId,
    /// Offset of the frame in the plain pack.
    pub offset: u32,
    /// Stored (compressed) length of the frame.
    pub stored: u32,
    /// Decoded length of the frame.
    pub plain: u32,
    /// First decoded byte that belongs to the member.
    pub skip: u32,
    /// Number of decoded bytes that belong to it.
    pub take: u32,
}

impl Extent {
    /// Whether the range is the whole frame.
    pub fn is_whole(&self) -> bool {
        self.skip == 0 && self.take == self.plain
    }
}

/// A frame in a meta pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MetaRef {
    /// The pack, of the series `m`.
    pub pack: PackId,
    /// Offset of the frame in the plain pack.
    pub offset: u32,
    /// Stored length of the frame.
    pub stored: u32,
    /// Decoded length of the frame.
    pub plain: u32,
    /// SHA-256 of the decoded bytes.
    pub sha256: [u8; 32],
}

impl PackId {
    /// The pack as one of a series.
    pub fn of(self, kind: PackKind) -> PackRef {
        PackRef { session: self.session, kind, number: self.number }
    }
}
