//! Opening entries below a directory descriptor so that no symbolic link, `..` or `/proc` link is ever followed.
//!
//! Every path walk of this crate goes through here. What is done with an open entry is not decided here.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

/// Longest piece of a path that one call takes, terminator not counted. Source: Linux `PATH_MAX` is 4,096 with the terminator.
const PIECE_MAX: usize = 4095;

/// Whether a path walk may step onto another file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mounts {
    /// Refuse with `EXDEV`, also for a bind mount of the same file system.
    #[default]
    Refuse,
    /// Step across.
    Cross,
}

impl Mounts {
    fn flags(self) -> ResolveFlags {
        let fixed = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match self {
            Self::Refuse => fixed | ResolveFlags::NO_XDEV,
            Self::Cross => fixed,
        }
    }
}

/// `openat2` below `directory`, tried again when a signal comes or a rename outside our control makes the kernel ask for it.
pub(crate) fn open(directory: impl AsFd, path: &[u8], flags: OFlags, mode: Mode, mounts: Mounts) -> Result<OwnedFd> {
    /// An attacker who renames all the time must not hold us for ever.
    const TRIES_MAX: usize = 64;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    for _ in 0..TRIES_MAX {
        match rustix::fs::openat2(directory.as_fd(), path, flags, mode, mounts.flags()) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            answer => return answer,
        }
    }
    Err(Errno::AGAIN)
}

/// A descriptor that names the entry without opening it: works for every kind and every mode, has no effect on devices or pipes.
pub(crate) fn locate(directory: impl AsFd, name: &[u8], mounts: Mounts) -> Result<OwnedFd> {
    open(directory, name, OFlags::PATH, Mode::empty(), mounts)
}

/// Opens one directory for reading its names, without touching its access time where the kernel allows that.
pub(crate) fn open_directory(parent: impl AsFd, name: &[u8], mounts: Mounts) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    match open(parent.as_fd(), name, flags | OFlags::NOATIME, Mode::empty(), mounts) {
        // NOATIME is for the owner and for CAP_FOWNER only.
        Err(Errno::PERM) => open(parent, name, flags, Mode::empty(), mounts),
        answer => answer,
    }
}

/// Opens the directory at `path` below `root`, however long the path is, piece by piece. An empty path is the root itself.
///
/// `last` opens the last piece; all before it are only located, so directories that may be searched but not read can be crossed.
pub(crate) fn descend<F>(root: impl AsFd, path: &[u8], mounts: Mounts, last: F) -> Result<OwnedFd>
where
    F: Fn(rustix::fd::BorrowedFd<'_>, &[u8]) -> Result<OwnedFd>,
{
    let mut at: Option<OwnedFd> = None;
    let mut rest = path;
    while rest.len() > PIECE_MAX {
        let cut = rest[..=PIECE_MAX].iter().rposition(|byte| *byte == b'/').ok_or(Errno::NAMETOOLONG)?;
        let from = at.as_ref().map_or(root.as_fd(), AsFd::as_fd);
        at = Some(open(from, &rest[..cut], OFlags::PATH | OFlags::DIRECTORY, Mode::empty(), mounts)?);
        rest = &rest[cut + 1..];
    }
    let from = at.as_ref().map_or(root.as_fd(), AsFd::as_fd);
    last(from, if rest.is_empty() { b"." } else { rest })
}

/// The name under which `/proc` gives an open descriptor: following it reaches exactly that inode, also for a located one, which
/// the calls that take a descriptor refuse.
pub(crate) fn proc_path(fd: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Splits a path below the root into its directory and its last name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(cut) => (&path[..cut], &path[cut + 1..]),
        None => (b"", path),
    }
}
