//! One entry that the walk stands at: its row, and the reads that work relative to its directory.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, Statx, fstat, makedev, readlinkat};
use rustix::io::Errno;
use trysail_repository::table::{Content, Flags, Inode, Kind, Metadata, Row, Time};

use super::problem::{Action, Problem};
use crate::beneath::{Mounts, locate, proc_path, split};
use crate::xattr::{self, Last, Xattrs};

/// An entry of the volume. It keeps the directory it was found in open.
#[derive(Debug)]
pub struct Visit {
    /// What the table says of it, as far as `statx` and `readlink` tell: no attributes, of a file's content only the size.
    pub row: Row,
    /// Names of the inode.
    pub nlink: u32,
    /// Device number of the file system it is on.
    pub device: u64,
    /// Allocated space in units of 512 bytes.
    pub blocks: u64,
    parent: Arc<OwnedFd>,
    mounts: Mounts,
}

/// Kind of an entry as `statx` gives it.
pub(super) fn is_directory(stat: &Statx) -> bool {
    FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory
}

impl Visit {
    pub(super) fn new(parent: Arc<OwnedFd>, mounts: Mounts, path: Vec<u8>, stat: &Statx) -> Result<Self, Problem> {
        let kind = kind(&parent, &path, stat)?;
        let metadata = Metadata {
            mode: stat.stx_mode & 0o7777,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            mtime: Time { seconds: stat.stx_mtime.tv_sec, nanoseconds: stat.stx_mtime.tv_nsec },
            xattrs: Vec::new(),
        };
        let ctime = Time { seconds: stat.stx_ctime.tv_sec, nanoseconds: stat.stx_ctime.tv_nsec };
        let inode = Inode { number: stat.stx_ino, ctime };
        Ok(Self {
            row: Row { path, kind, metadata, inode, flags: Flags::default(), member: Vec::new() },
            nlink: stat.stx_nlink,
            device: makedev(stat.stx_dev_major, stat.stx_dev_minor),
            blocks: stat.stx_blocks,
            parent,
            mounts,
        })
    }

    /// Sockets have no member in the tar stream, so nothing there can be a link to one.
    pub(super) fn can_be_linked(&self) -> bool {
        !matches!(self.row.kind, Kind::Directory | Kind::Socket)
    }

    pub(super) fn link_to(&mut self, target: Vec<u8>) {
        self.row.kind = Kind::Hardlink { target };
    }

    /// The name in its directory; the root is found in itself.
    fn name(&self) -> &[u8] {
        if self.row.path.is_empty() { b"." } else { split(&self.row.path).1 }
    }

    /// Reads the extended attributes, in the order of [`Metadata::xattrs`]. At most 64 KiB of names and 64 KiB each.
    pub fn xattrs(&self) -> Result<Xattrs, Problem> {
        let mut path = proc_path(&*self.parent).into_bytes();
        path.push(b'/');
        path.extend_from_slice(self.name());
        xattr::read(&path, Last::Name).map_err(|error| match error {
            Errno::NOENT => Problem::Vanished { path: self.row.path.clone() },
            error => Problem::refused(&self.row.path, Action::Xattrs, error),
        })
    }

    /// Opens a regular file for reading.
    ///
    /// The entry is located first and opened only if it still is the regular file of this row: opening a pipe could wait for ever,
    /// opening a device could have effects, and a link could lead out of the volume.
    pub fn open(&self) -> Result<File, Problem> {
        let path = &self.row.path;
        let located = locate(&self.parent, self.name(), self.mounts);
        let stat = located.and_then(|fd| fstat(&fd).map(|stat| (fd, stat)));
        let (fd, stat) = stat.map_err(|error| match error {
            Errno::NOENT => Problem::Vanished { path: path.clone() },
            Errno::LOOP | Errno::XDEV => Problem::Replaced { path: path.clone() },
            error => Problem::refused(path, Action::Open, error),
        })?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !regular || (stat.st_dev, stat.st_ino) != (self.device, self.row.inode.number) {
            return Err(Problem::Replaced { path: path.clone() });
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = |flags| rustix::fs::open(proc_path(&fd), flags, Mode::empty());
        let opened = match open(flags | OFlags::NOATIME) {
            // NOATIME is for the owner and for CAP_FOWNER only.
            Err(Errno::PERM) => open(flags),
            answer => answer,
        };
        opened.map(File::from).map_err(|error| Problem::refused(path, Action::Open, error))
    }
}

fn kind(parent: &OwnedFd, path: &[u8], stat: &Statx) -> Result<Kind, Problem> {
    let (major, minor) = (stat.stx_rdev_major, stat.stx_rdev_minor);
    Ok(match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File(Content { size: stat.stx_size, ..Content::default() }),
        FileType::Symlink => {
            let target = readlinkat(parent, split(path).1, Vec::new()).map_err(|error| match error {
                Errno::NOENT => Problem::Vanished { path: path.to_vec() },
                // Not a link any more.
                Errno::INVAL => Problem::Replaced { path: path.to_vec() },
                error => Problem::refused(path, Action::LinkTarget, error),
            })?;
            Kind::Symlink { target: target.into_bytes() }
        }
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => Kind::CharDevice { major, minor },
        FileType::BlockDevice => Kind::BlockDevice { major, minor },
        FileType::Unknown => return Err(Problem::refused(path, Action::Metadata, Errno::OPNOTSUPP)),
    })
}
