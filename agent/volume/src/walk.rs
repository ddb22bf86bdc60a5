//! A depth-first walk of a volume in path order that gives a row for each entry.
//!
//! It lists and stats; attributes and contents are read by the caller through [`Visit`], because an unchanged entry must cost no more
//! than its share of a listing and one `statx`. Comparing with the previous table and storing are not done here.

mod exclude;
mod names;
mod problem;
mod visit;

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, Statx, StatxFlags, fstat};
use rustix::io::Errno;

pub use crate::beneath::Mounts;
use crate::beneath::{descend, open_directory, split};
use crate::links::Links;
pub use exclude::{Exclude, ExcludeError, PATTERNS_MAX};
use names::{LISTING_BYTES, Names, NamesError};
pub use problem::{Action, Problem};
pub use visit::Visit;

/// Levels below the root that are entered. Programs cannot work with deeper trees; only an attack or a loop makes them.
pub const DEPTH_MAX: usize = 4096;

/// Memory for the names of all directories that the walk is inside of, in bytes: about four million names of usual length.
pub const NAMES_BYTES_MAX: usize = 128 << 20;

/// Directories of the current path that are held open. Deeper ones close the outermost, which are opened again from the root; far
/// below the usual limit of 1,024 descriptors.
const OPEN_MAX: usize = 64;

/// What a walk gives and enters.
#[derive(Debug, Clone, Default)]
pub struct WalkOptions {
    /// Whether other file systems are entered.
    pub mounts: Mounts,
    /// What is left out.
    pub exclude: Exclude,
}

/// A walk under way: an iterator of entries and problems, the root (with an empty path) first, directories before what is in them.
#[derive(Debug)]
pub struct Walk {
    root: Arc<OwnedFd>,
    /// Mount of the root, for telling other file systems apart; 0 where the kernel does not say.
    mount: u64,
    options: WalkOptions,
    links: Links,
    stack: Vec<Frame>,
    /// Path of the innermost directory.
    path: Vec<u8>,
    pending: Pending,
    names_bytes: usize,
    listing: Box<[MaybeUninit<u8>]>,
}

/// A directory that the walk is inside of.
#[derive(Debug)]
struct Frame {
    /// Absent while too many are open.
    fd: Option<Arc<OwnedFd>>,
    device: u64,
    number: u64,
    names: Names,
    path_length: usize,
}

/// What comes before the next name.
#[derive(Debug)]
enum Pending {
    Root,
    Enter { path: Vec<u8>, device: u64, number: u64 },
    Tell(Problem),
    Nothing,
}

impl Walk {
    /// Starts at `root`, the only path that is followed like any other.
    pub fn open(root: &Path, options: WalkOptions) -> Result<Self, Problem> {
        let refused = |error: Errno| Problem::refused(b"", Action::List, error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, flags, Mode::empty()).map_err(refused)?;
        let mount = stat(&root, c"").map_err(refused)?.stx_mnt_id;
        Ok(Self {
            root: Arc::new(root),
            mount,
            options,
            links: Links::default(),
            stack: Vec::new(),
            path: Vec::new(),
            pending: Pending::Root,
            names_bytes: 0,
            listing: vec![MaybeUninit::uninit(); LISTING_BYTES].into_boxed_slice(),
        })
    }

    /// Treats the next name of the inode of `visit` as its first, because this one could not be read.
    pub fn forget_link(&mut self, visit: &Visit) {
        self.links.forget(visit.device, visit.row.inode.number);
    }

    /// Names of hard links that are given as separate files, because too many inodes have several names.
    pub fn untracked_links(&self) -> u64 {
        self.links.untracked()
    }

    fn visit_root(&mut self) -> Result<Visit, Problem> {
        let stat = stat(&self.root, c"").map_err(|error| Problem::refused(b"", Action::Metadata, error))?;
        let visit = Visit::new(self.root.clone(), self.options.mounts, Vec::new(), &stat)?;
        self.pending = Pending::Enter { path: Vec::new(), device: visit.device, number: stat.stx_ino };
        Ok(visit)
    }

    /// Opens and lists a directory whose row has been given.
    fn enter(&mut self, path: Vec<u8>, device: u64, number: u64) -> Result<(), Problem> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(Problem::TooDeep { path });
        }
        let name = if path.is_empty() { b"." } else { split(&path).1 };
        let parent = self.stack.last().and_then(|frame| frame.fd.clone()).unwrap_or_else(|| self.root.clone());
        let opened = open_directory(&parent, name, self.options.mounts);
        let fd = opened.and_then(|fd| same_inode(fd, device, number)).map_err(|error| match error {
            Errno::NOENT => Problem::Vanished { path: path.clone() },
            Errno::LOOP | Errno::NOTDIR | Errno::STALE => Problem::Replaced { path: path.clone() },
            Errno::XDEV => Problem::OtherFileSystem { path: path.clone() },
            error => Problem::refused(&path, Action::List, error),
        })?;
        let names = Names::read(&fd, &mut self.listing, NAMES_BYTES_MAX - self.names_bytes);
        let names = names.map_err(|error| match error {
            NamesError::Budget => Problem::TooManyNames { path: path.clone() },
            NamesError::Kernel(error) => Problem::refused(&path, Action::List, error),
        })?;
        self.names_bytes += names.memory();
        if let Some(outermost) = self.stack.len().checked_sub(OPEN_MAX).and_then(|at| self.stack.get_mut(at)) {
            outermost.fd = None;
        }
        self.stack.push(Frame { fd: Some(Arc::new(fd)), device, number, names, path_length: path.len() });
        self.path = path;
        Ok(())
    }

    /// Opens the innermost directory again after a visit to deeper ones.
    fn reopen(&mut self) -> Result<(), Problem> {
        let Some(frame) = self.stack.last_mut() else { return Ok(()) };
        let path = &self.path[..frame.path_length];
        let mounts = self.options.mounts;
        let opened = descend(&self.root, path, mounts, |parent, last| open_directory(parent, last, mounts));
        match opened.and_then(|fd| same_inode(fd, frame.device, frame.number)) {
            Ok(fd) => {
                frame.fd = Some(Arc::new(fd));
                Ok(())
            }
            Err(error) => {
                frame.names.skip_rest();
                // Any descriptor does: no name is left to be looked up with it.
                frame.fd = Some(self.root.clone());
                Err(match error {
                    Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::STALE => {
                        Problem::Replaced { path: path.to_vec() }
                    }
                    error => Problem::refused(path, Action::List, error),
                })
            }
        }
    }

    fn leave(&mut self) {
        if let Some(frame) = self.stack.pop() {
            self.names_bytes -= frame.names.memory();
        }
        self.path.truncate(self.stack.last().map_or(0, |frame| frame.path_length));
    }

    /// The entry `path` of the innermost directory, or nothing if it is excluded.
    fn visit(&mut self, parent: Arc<OwnedFd>, path: Vec<u8>, stat: &Statx) -> Option<Result<Visit, Problem>> {
        let foreign = self.options.mounts == Mounts::Refuse && stat.stx_mnt_id != self.mount;
        let directory = visit::is_directory(stat);
        if directory && !self.options.exclude.is_empty() && self.options.exclude.directory(&path) {
            return None;
        }
        if foreign && !directory {
            return Some(Err(Problem::OtherFileSystem { path }));
        }
        let mut visit = match Visit::new(parent, self.options.mounts, path, stat) {
            Ok(visit) => visit,
            Err(problem) => return Some(Err(problem)),
        };
        let path = &visit.row.path;
        if directory {
            self.pending = if foreign {
                Pending::Tell(Problem::OtherFileSystem { path: path.clone() })
            } else {
                Pending::Enter { path: path.clone(), device: visit.device, number: stat.stx_ino }
            };
        } else if stat.stx_nlink > 1
            && visit.can_be_linked()
            && let Some(first) = self.links.see(visit.device, stat.stx_ino, stat.stx_nlink, path)
        {
            visit.link_to(first);
        }
        Some(Ok(visit))
    }

    /// Looks up the next name of the innermost directory.
    fn step(&mut self) -> Step {
        let Some(frame) = self.stack.last_mut() else { return Step::Done };
        let Some(parent) = frame.fd.clone() else {
            return self.reopen().err().map_or(Step::Again, |problem| Step::Give(Err(problem)));
        };
        let Some(name) = frame.names.next() else {
            self.leave();
            return Step::Again;
        };
        let path = join(&self.path, name.to_bytes());
        if !self.options.exclude.is_empty() && self.options.exclude.entry(&path) {
            return Step::Again;
        }
        match stat(&parent, name) {
            Ok(stat) => self.visit(parent, path, &stat).map_or(Step::Again, Step::Give),
            Err(Errno::NOENT) => Step::Give(Err(Problem::Vanished { path })),
            Err(error) => Step::Give(Err(Problem::refused(&path, Action::Metadata, error))),
        }
    }
}

/// What comes of one name.
#[expect(clippy::large_enum_variant, reason = "a box would cost an allocation for each entry")]
enum Step {
    Give(Result<Visit, Problem>),
    Again,
    Done,
}

impl Iterator for Walk {
    type Item = Result<Visit, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match std::mem::replace(&mut self.pending, Pending::Nothing) {
                Pending::Root => return Some(self.visit_root()),
                Pending::Tell(problem) => return Some(Err(problem)),
                Pending::Enter { path, device, number } => {
                    if let Err(problem) = self.enter(path, device, number) {
                        return Some(Err(problem));
                    }
                }
                Pending::Nothing => match self.step() {
                    Step::Give(answer) => return Some(answer),
                    Step::Again => {}
                    Step::Done => return None,
                },
            }
        }
    }
}

/// Metadata of a name, or of the directory itself if the name is empty.
fn stat(directory: impl AsFd, name: &CStr) -> Result<Statx, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let flags = if name.is_empty() { flags | AtFlags::EMPTY_PATH } else { flags };
    let mut stat = rustix::fs::statx(directory, name, flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)?;
    if stat.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
        stat.stx_mnt_id = 0;
    }
    Ok(stat)
}

/// Passes an open directory on if it is the inode that was seen; `ESTALE` if another took its place.
fn same_inode(fd: OwnedFd, device: u64, number: u64) -> Result<OwnedFd, Errno> {
    let stat = fstat(&fd)?;
    if (stat.st_dev, stat.st_ino) == (device, number) { Ok(fd) } else { Err(Errno::STALE) }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(directory.len() + 1 + name.len());
    path.extend_from_slice(directory);
    if !directory.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}
