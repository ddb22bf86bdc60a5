//! The restoring side: making entries below a directory so that nothing outside it can be reached, whatever the rows say and whatever
//! lies in the directory or happens in it meanwhile.
//!
//! Fetching content, and deciding which rows are restored in which order, is not done here. The order that works: directories and
//! files in path order, hard links after their targets, [`Target::finish_directory`] last, deepest first.

mod compare;
mod directories;
mod error;
mod leftovers;
mod made;
mod metadata;
mod output;

use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, linkat, makedev, mkdirat, mknodat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use trysail_repository::table::row::{NAME_BYTES_MAX, PATH_BYTES_MAX};
use trysail_repository::table::{Kind, Row};

use crate::beneath::{Mounts, descend, locate, open, proc_path, split};
use crate::walk::DEPTH_MAX;
pub use compare::Same;
use directories::Directories;
pub use error::{NOT_SET_MAX, NotSet, NotSetList, Step, TargetError, What};
use made::Made;
use metadata::Setter;
pub use output::Output;
use output::Place;

/// The one name that an empty file system has.
const LOST_AND_FOUND: &[u8] = b"lost+found";

/// Longest target of a symbolic link in bytes. Source: Linux `PATH_MAX` with its terminator.
const LINK_BYTES_MAX: usize = 4095;

/// Tries to find an unused temporary name: those in the way are of the volume, or of another run.
const TEMPORARY_TRIES_MAX: usize = 1000;

/// Volumes are restored with the file systems that are mounted in them.
const MOUNTS: Mounts = Mounts::Cross;

/// What may be in the target directory, and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetPolicy {
    /// Nothing but `lost+found`.
    Empty,
    /// Anything; entries that the snapshot has are replaced, others stay.
    Overwrite,
    /// Anything; only what differs is replaced, each file at once when it is complete. Others stay.
    Delta,
}

/// A directory that a volume is restored into. All calls may be made from several threads.
#[derive(Debug, Clone)]
pub struct Target {
    shared: Arc<Shared>,
}

/// What a target and its unfinished files have in common.
#[derive(Debug)]
struct Shared {
    root: Arc<OwnedFd>,
    /// Device number of the root.
    device: u64,
    policy: TargetPolicy,
    directories: Mutex<Directories>,
    made: Mutex<Made>,
    not_set: Mutex<NotSetList>,
    temporary: AtomicU64,
}

/// A panic in another thread leaves these tables whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn made(&self, device: u64, number: u64) {
        lock(&self.made).add(device, number);
    }

    fn not_set(&self, path: &[u8], what: What, why: Errno) {
        lock(&self.not_set).add(path, what, why);
    }
}

impl Target {
    /// Opens the directory at `path`, the only path that is followed like any other, and makes it if it is absent.
    pub fn open(path: &Path, policy: TargetPolicy) -> Result<Self, TargetError> {
        let failed = |error: std::io::Error| TargetError::failed(b"", Step::Root, error);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        if policy == TargetPolicy::Empty {
            refuse_entries(&root)?;
        }
        let device = fstat(&root).map_err(|error| failed(error.into()))?.st_dev;
        let shared = Shared {
            root: Arc::new(root),
            device,
            policy,
            directories: Mutex::default(),
            made: Mutex::default(),
            not_set: Mutex::default(),
            temporary: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Makes a directory, open to its owner only until [`Target::finish_directory`]. The root is there already. What a killed run left in a
    /// directory is removed.
    pub fn make_directory(&self, row: &Row) -> Result<(), TargetError> {
        expect_kind(row, row.kind == Kind::Directory)?;
        if row.path.is_empty() {
            self.sweep(&self.shared.root, b".");
            return Ok(());
        }
        let (parent, name) = self.place(&row.path)?;
        let make = || mkdirat(&parent, name, Mode::RWXU);
        let answer = match make() {
            Err(Errno::EXIST) if self.shared.policy != TargetPolicy::Empty => {
                let found = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW);
                let found = found.map_err(|error| TargetError::failed(&row.path, Step::Examine, error))?;
                match FileType::from_raw_mode(found.st_mode) {
                    FileType::Directory => {
                        self.open_up(&row.path, found.st_mode)?;
                        self.sweep(&parent, name);
                        return Ok(());
                    }
                    FileType::Symlink => return Err(blocked(row, "a symbolic link")),
                    _ => remove(&parent, name, &row.path)?,
                }
                make()
            }
            answer => answer,
        };
        answer.map_err(|error| TargetError::failed(&row.path, Step::Make, error))
    }

    /// Makes a regular file of the row's size without content, for its owner only until [`Output::finish`].
    pub fn create_file(&self, row: &Row) -> Result<Output, TargetError> {
        let Kind::File(content) = &row.kind else { return Err(wrong_kind(row)) };
        let (parent, name) = self.place(&row.path)?;
        let replaces = match self.shared.policy {
            TargetPolicy::Delta => occupied(&parent, name, row)?,
            TargetPolicy::Empty | TargetPolicy::Overwrite => {
                self.clear(&parent, name, row)?;
                false
            }
        };
        let (file, temporary) =
            if replaces { self.temporary(&parent) } else { new_file(&parent, name).map(|file| (file, None)) }
                .map_err(|error| TargetError::failed(&row.path, Step::Make, error))?;
        Output::new(self.shared.clone(), row, content, Place { file, parent, temporary })
    }

    /// Makes a symbolic link with its metadata.
    pub fn make_symlink(&self, row: &Row) -> Result<(), TargetError> {
        let Kind::Symlink { target } = &row.kind else { return Err(wrong_kind(row)) };
        if target.is_empty() || target.len() > LINK_BYTES_MAX || target.contains(&0) {
            return Err(TargetError::BadLink { path: row.path.clone(), length: target.len() });
        }
        let (parent, name) = self.place(&row.path)?;
        self.clear(&parent, name, row)?;
        symlinkat(target.as_slice(), &parent, name)
            .map_err(|error| TargetError::failed(&row.path, Step::Make, error))?;
        self.adjust(row)
    }

    /// Makes a pipe, socket or device with its metadata. A device without the right to make one is listed as not set.
    pub fn make_special(&self, row: &Row) -> Result<(), TargetError> {
        let (kind, device) = match row.kind {
            Kind::Fifo => (FileType::Fifo, 0),
            Kind::Socket => (FileType::Socket, 0),
            Kind::CharDevice { major, minor } => (FileType::CharacterDevice, makedev(major, minor)),
            Kind::BlockDevice { major, minor } => (FileType::BlockDevice, makedev(major, minor)),
            _ => return Err(wrong_kind(row)),
        };
        let (parent, name) = self.place(&row.path)?;
        self.clear(&parent, name, row)?;
        match mknodat(&parent, name, kind, Mode::RUSR | Mode::WUSR, device) {
            Ok(()) => self.adjust(row),
            Err(error @ Errno::PERM) => {
                self.shared.not_set(&row.path, What::Device, error);
                Ok(())
            }
            Err(error) => Err(TargetError::failed(&row.path, Step::Make, error)),
        }
    }

    /// Gives a further name to an entry that this run made, finished, or found [`Target::same`].
    pub fn make_hardlink(&self, row: &Row) -> Result<(), TargetError> {
        let Kind::Hardlink { target } = &row.kind else { return Err(wrong_kind(row)) };
        let not_ours = || TargetError::LinkTarget { path: row.path.clone(), target: target.clone() };
        let (parent, name) = self.place(&row.path)?;
        let first = self.find(target).map_err(|error| if error.is_fatal() { error } else { not_ours() })?;
        let stat = fstat(&first).map_err(|error| TargetError::failed(target, Step::Examine, error))?;
        let known = lock(&self.shared.made).contains(stat.st_dev, stat.st_ino);
        if !known || FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(not_ours());
        }
        if let Ok(found) = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
            && (found.st_dev, found.st_ino) == (stat.st_dev, stat.st_ino)
        {
            return Ok(());
        }
        self.clear(&parent, name, row)?;
        // The descriptor, not the path, is linked: nothing can take the place of the target in between.
        linkat(CWD, proc_path(&first), &parent, name, AtFlags::SYMLINK_FOLLOW)
            .map_err(|error| TargetError::failed(&row.path, Step::Make, error))
    }

    /// Sets the metadata of a directory when everything in it is done. Directories come deepest first.
    pub fn finish_directory(&self, row: &Row) -> Result<(), TargetError> {
        expect_kind(row, row.kind == Kind::Directory)?;
        self.adjust(row)
    }

    /// Sets only the metadata of an entry that is there.
    pub fn adjust(&self, row: &Row) -> Result<(), TargetError> {
        let fd = self.find(&row.path)?;
        let setter = Setter::new(&self.shared, &fd, &row.path, &row.metadata)?;
        let found = setter.found();
        expect_kind(row, compare::same_kind(found, &row.kind))?;
        if row.kind != Kind::Directory {
            self.shared.made(found.st_dev, found.st_ino);
        }
        setter.apply()
    }

    /// Takes the list of what could not be set so far.
    pub fn take_not_set(&self) -> NotSetList {
        std::mem::take(&mut *lock(&self.shared.not_set))
    }

    /// Writes everything to the disk. After an error here nothing that was restored can be relied on.
    pub fn sync(&self) -> Result<(), TargetError> {
        rustix::fs::syncfs(&self.shared.root).map_err(|error| TargetError::failed(b"", Step::Sync, error))
    }

    /// The directory and the name of an entry.
    fn place<'a>(&self, path: &'a [u8]) -> Result<(Arc<OwnedFd>, &'a [u8]), TargetError> {
        if path.is_empty() || !is_valid(path) {
            return Err(TargetError::BadPath { path: path.to_vec() });
        }
        let (directory, name) = split(path);
        if directory.is_empty() {
            return Ok((self.shared.root.clone(), name));
        }
        if let Some(open) = lock(&self.shared.directories).get(directory) {
            return Ok((open, name));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let opened =
            descend(&self.shared.root, directory, MOUNTS, |at, last| open(at, last, flags, Mode::empty(), MOUNTS));
        let opened = Arc::new(opened.map_err(|error| TargetError::failed(path, Step::Enter, error))?);
        lock(&self.shared.directories).put(directory, opened.clone());
        Ok((opened, name))
    }

    /// Locates an entry that is there; an empty path is the root.
    fn find(&self, path: &[u8]) -> Result<OwnedFd, TargetError> {
        let located = if path.is_empty() {
            locate(&self.shared.root, b".", MOUNTS)
        } else {
            let (parent, name) = self.place(path)?;
            locate(&parent, name, MOUNTS)
        };
        located.map_err(|error| TargetError::failed(path, Step::Examine, error))
    }

    /// Removes what is in the way of a new entry that is no directory. Into an empty target nothing is ever removed.
    fn clear(&self, parent: &OwnedFd, name: &[u8], row: &Row) -> Result<(), TargetError> {
        if self.shared.policy != TargetPolicy::Empty && occupied(parent, name, row)? {
            remove(parent, name, &row.path)?;
        }
        Ok(())
    }

    fn temporary(&self, parent: &OwnedFd) -> Result<(File, Option<Vec<u8>>), Errno> {
        for _ in 0..TEMPORARY_TRIES_MAX {
            let number = self.shared.temporary.fetch_add(1, Ordering::Relaxed);
            match leftovers::make(parent, number) {
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
                Ok((file, name)) => return Ok((file, Some(name))),
            }
        }
        Err(Errno::EXIST)
    }

    /// Removes what a killed run left in a directory that was there before. An empty target has nothing of the kind.
    fn sweep(&self, parent: &OwnedFd, name: &[u8]) {
        if self.shared.policy != TargetPolicy::Empty {
            leftovers::sweep(parent, name);
        }
    }

    /// Lets the owner of a directory that was there before work in it; its own mode comes back when it is finished.
    fn open_up(&self, path: &[u8], mode: u32) -> Result<(), TargetError> {
        if mode & 0o700 == 0o700 {
            return Ok(());
        }
        let fd = self.find(path)?;
        let wider = Mode::from_raw_mode(mode & 0o7777 | 0o700);
        // Where this is not allowed, making the entries says so.
        let _ = rustix::fs::chmodat(CWD, proc_path(&fd), wider, AtFlags::empty());
        Ok(())
    }
}

/// Whether there is an entry that may be replaced.
fn occupied(parent: &OwnedFd, name: &[u8], row: &Row) -> Result<bool, TargetError> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => Err(blocked(row, "a directory")),
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(TargetError::failed(&row.path, Step::Examine, error)),
    }
}

fn new_file(parent: &OwnedFd, name: &[u8]) -> Result<File, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    open(parent, name, flags, Mode::RUSR | Mode::WUSR, MOUNTS).map(File::from)
}

fn remove(parent: &OwnedFd, name: &[u8], path: &[u8]) -> Result<(), TargetError> {
    unlinkat(parent, name, AtFlags::empty()).map_err(|error| TargetError::failed(path, Step::Remove, error))
}

fn refuse_entries(root: &OwnedFd) -> Result<(), TargetError> {
    let failed = |error: Errno| TargetError::failed(b"", Step::Root, error);
    for entry in Dir::read_from(root).map_err(failed)? {
        let name: CString = entry.map_err(failed)?.file_name().to_owned();
        if ![&b"."[..], b"..", LOST_AND_FOUND].contains(&name.as_bytes()) {
            return Err(TargetError::NotEmpty { entry: name.into_bytes() });
        }
    }
    Ok(())
}

/// Whether every part of a path is a name that a directory can hold.
fn is_valid(path: &[u8]) -> bool {
    let name = |part: &[u8]| {
        !part.is_empty() && part.len() <= NAME_BYTES_MAX && part != b"." && part != b".." && !part.contains(&0)
    };
    path.len() <= PATH_BYTES_MAX
        && path.split(|byte| *byte == b'/').all(name)
        && path.split(|byte| *byte == b'/').count() <= DEPTH_MAX
}

fn expect_kind(row: &Row, right: bool) -> Result<(), TargetError> {
    if right { Ok(()) } else { Err(wrong_kind(row)) }
}

fn wrong_kind(row: &Row) -> TargetError {
    TargetError::WrongKind { path: row.path.clone() }
}

fn blocked(row: &Row, by: &'static str) -> TargetError {
    TargetError::Blocked { path: row.path.clone(), by }
}
