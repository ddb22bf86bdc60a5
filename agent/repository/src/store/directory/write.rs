//! Making and removing files so that a power cut after the answer changes nothing, and one before it leaves at most a
//! temporary file which no listing shows.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::File,
    io::Write as _,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use jiff::Timestamp;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{Base, DIRECTORY_MODE, modified};
use crate::store::{Created, Error, ErrorKind, Key, Result, limits};

/// Start of the names of temporary files. `+` is in no key, so a temporary file is never an object.
pub(super) const TEMPORARY_PREFIX: &str = ".tmp+";

/// Bytes of randomness in a temporary name: two writers in one directory never meet.
const TEMPORARY_RANDOM_BYTES: usize = 12;

/// How often a create makes its parent directories again after a concurrent delete removed them. Each round needs
/// another delete of the last object beside us in just that moment, so eight in a row do not happen.
const PARENT_TRIES: usize = 8;

/// Mode of files.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

const OPEN_DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Stores an object unless there is one of that key, and waits until it is on the disk.
pub(super) fn create(base: &Base, key: &Key, body: &bytes::Bytes) -> Result<Created> {
    limits::check_body(key, body)?;
    for _ in 0..PARENT_TRIES {
        match try_create(base, key, body) {
            Ok(Some(at)) => return Ok(Created::New { at }),
            Ok(None) => return Ok(Created::AlreadyThere),
            Err(Errno::NOENT) if !base.is_gone() => {}
            Err(errno) => return Err(base.failure(key.as_str(), errno)),
        }
    }
    let detail = format!("its directory was removed {PARENT_TRIES} times while it was written");
    Err(Error::new(ErrorKind::Transient, key, detail))
}

/// One round: `None` where the object was there before; `NOENT` where a directory vanished on the way.
fn try_create(base: &Base, key: &Key, body: &[u8]) -> rustix::io::Result<Option<Timestamp>> {
    let (parent, name) = split(key);
    let made = make_directories(base, parent)?;
    let directory = made.last().map_or(base.fd.as_fd(), AsFd::as_fd);
    let placed = place(directory, name, body)?;
    // Also where the object was there: its writer may not have got this far, and our caller relies on it now. The whole
    // chain, because another writer may have made a parent a moment ago; an unchanged directory costs nothing.
    for directory in made.iter().rev() {
        rustix::fs::fsync(directory)?;
    }
    rustix::fs::fsync(&base.fd)?;
    Ok(placed)
}

/// The directory of a key (empty at the top) and its last part.
fn split(key: &Key) -> (&str, &str) {
    key.as_str().rsplit_once('/').unwrap_or(("", key.as_str()))
}

/// Opens each directory from the base down to `parent`, making those that are absent.
fn make_directories(base: &Base, parent: &str) -> rustix::io::Result<Vec<OwnedFd>> {
    let mut made: Vec<OwnedFd> = Vec::new();
    for part in parent.split('/').filter(|part| !part.is_empty()) {
        let above = made.last().map_or(base.fd.as_fd(), AsFd::as_fd);
        let next = match rustix::fs::openat(above, part, OPEN_DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(above, part, DIRECTORY_MODE) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                rustix::fs::openat(above, part, OPEN_DIRECTORY, Mode::empty())?
            }
            other => other?,
        };
        made.push(next);
    }
    Ok(made)
}

/// Writes a temporary file and gives it the final name, or `None` where that name is taken.
fn place(directory: BorrowedFd<'_>, name: &str, body: &[u8]) -> rustix::io::Result<Option<Timestamp>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => return Err(Errno::ISDIR),
        Ok(_) => return Ok(None),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let temporary = temporary_name()?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, &temporary, flags, FILE_MODE)?;
    let placed = fill(file, body).and_then(|at| Ok(publish(directory, &temporary, name)?.then_some(at)));
    if !matches!(placed, Ok(Some(_))) {
        // A leftover is invisible, and `walk` removes it after a day.
        let _ = rustix::fs::unlinkat(directory, &temporary, AtFlags::empty());
    }
    placed
}

/// Writes the bytes to the disk; the mtime that they got.
fn fill(file: OwnedFd, body: &[u8]) -> rustix::io::Result<Timestamp> {
    let mut file = File::from(file);
    file.write_all(body).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    rustix::fs::fsync(&file)?;
    Ok(modified(&rustix::fs::fstat(&file)?))
}

/// Moves the temporary file to its final name; `false` where that name is taken.
fn publish(directory: BorrowedFd<'_>, temporary: &str, name: &str) -> rustix::io::Result<bool> {
    match rustix::fs::renameat_with(directory, temporary, directory, name, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(true),
        Err(Errno::EXIST) => return Ok(false),
        // NFS and some FUSE file systems cannot rename without overwriting; a hard link never overwrites.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        Err(errno) => return Err(errno),
    }
    match rustix::fs::linkat(directory, temporary, directory, name, AtFlags::empty()) {
        Ok(()) => {
            let _ = rustix::fs::unlinkat(directory, temporary, AtFlags::empty());
            Ok(true)
        }
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn temporary_name() -> rustix::io::Result<String> {
    let mut random = [0; TEMPORARY_RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(|_| Errno::AGAIN)?;
    let mut name = TEMPORARY_PREFIX.to_owned();
    for byte in random {
        // Writing to a `String` cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    Ok(name)
}

/// Removes objects, then the directories that they leave empty; an absent object is a success.
pub(super) fn delete(base: &Base, keys: &[Key]) -> Result<()> {
    limits::check_batch(keys)?;
    let mut by_parent: BTreeMap<&str, Vec<&Key>> = BTreeMap::new();
    for key in keys {
        by_parent.entry(split(key).0).or_default().push(key);
    }
    for (parent, keys) in by_parent {
        let path = if parent.is_empty() { "." } else { parent };
        let directory = match rustix::fs::openat(&base.fd, path, OPEN_DIRECTORY, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR) if !base.is_gone() => continue,
            Err(errno) => return Err(base.failure(parent, errno)),
        };
        for key in keys {
            match rustix::fs::unlinkat(&directory, split(key).1, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => {}
                Err(errno) => return Err(base.failure(key.as_str(), errno)),
            }
        }
        rustix::fs::fsync(&directory).map_err(|errno| base.failure(parent, errno))?;
        remove_empty(base, parent);
    }
    Ok(())
}

/// Removes a directory and those above it as long as they are empty. An empty directory does no harm, so errors end it.
fn remove_empty(base: &Base, directory: &str) {
    let mut path = directory;
    while !path.is_empty() && rustix::fs::unlinkat(&base.fd, path, AtFlags::REMOVEDIR).is_ok() {
        path = path.rsplit_once('/').map_or("", |(above, _)| above);
    }
}

/// Waits until the entry of a new base directory is on the disk.
pub(super) fn sync_parent(path: &Path) -> rustix::io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::fsync(rustix::fs::open(parent, flags, Mode::empty())?)
}
