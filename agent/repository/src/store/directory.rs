//! A store in a directory (`file://`): one file per object, the parts of its key as path components.
//!
//! `write` makes and removes files durably, `walk` lists them in S3's order; here are opening, reading and the meaning
//! of errno. A key that is also a part of another key (`a` and `a/b`) is refused as invalid: a name on disk is either a
//! file or a directory.

mod walk;
mod write;

use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use jiff::Timestamp;
use rustix::{
    fs::{FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::{Created, Error, ErrorKind, Key, OBJECT_BYTES_MAX, ObjectStore, Page, Result, limits};
use crate::buffer::capacity;

/// Mode of directories: what is backed up is nobody else's to read.
const DIRECTORY_MODE: Mode = Mode::RWXU;

/// A store under a base directory. Clones share the open base.
#[derive(Debug, Clone)]
pub struct Directory {
    base: Arc<Base>,
}

/// The open base directory. All paths are relative to it, so a rename of the base does not lose a running backup.
#[derive(Debug)]
struct Base {
    fd: OwnedFd,
    /// The path as the caller wrote it, for errors.
    name: String,
}

impl Directory {
    /// Opens an existing base directory; [`ErrorKind::NoBucket`] where there is none.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => Error::new(ErrorKind::NoBucket, &name, errno),
            other => failure(&name, other),
        })?;
        Ok(Self { base: Arc::new(Base { fd, name }) })
    }

    /// Opens a base directory; makes it, mode 0700, where its parent exists and it does not.
    pub fn create(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        match rustix::fs::mkdir(path, DIRECTORY_MODE) {
            Ok(()) => write::sync_parent(path).map_err(|errno| failure(&name, errno))?,
            Err(Errno::EXIST) => {}
            Err(Errno::NOENT) => return Err(Error::new(ErrorKind::NoBucket, &name, "its parent does not exist")),
            Err(errno) => return Err(failure(&name, errno)),
        }
        Self::open(path)
    }

    /// Runs file work where it may block.
    async fn blocking<T, F>(&self, what: String, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Base) -> Result<T> + Send + 'static,
    {
        let base = Arc::clone(&self.base);
        match tokio::task::spawn_blocking(move || work(&base)).await {
            Ok(result) => result,
            Err(broken) => Err(Error::new(ErrorKind::Transient, what, format!("file work ended early: {broken}"))),
        }
    }
}

impl Base {
    /// What an errno on this key means; a base that was removed under us is no bucket any more.
    fn failure(&self, key: &str, errno: Errno) -> Error {
        if errno == Errno::NOENT && self.is_gone() {
            return Error::new(ErrorKind::NoBucket, &self.name, "the directory was removed");
        }
        failure(key, errno)
    }

    fn is_gone(&self) -> bool {
        rustix::fs::fstat(&self.fd).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// The open file of an object and its size in bytes.
    fn object(&self, key: &Key) -> Result<(File, u64)> {
        // Without NONBLOCK the open of a foreign FIFO would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&self.fd, key.as_str(), flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(Error::new(ErrorKind::Missing, key, "not a file")),
            Err(errno) => return Err(self.failure(key.as_str(), errno)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|errno| self.failure(key.as_str(), errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::new(ErrorKind::Missing, key, "not a file"));
        }
        Ok((File::from(fd), size(&stat)))
    }

    fn get(&self, key: &Key) -> Result<Bytes> {
        let (file, size) = self.object(key)?;
        if size > OBJECT_BYTES_MAX {
            let detail = format!("a file of {size} bytes; the most is {OBJECT_BYTES_MAX}");
            return Err(Error::new(ErrorKind::Corrupt, key, detail));
        }
        let mut body = Vec::with_capacity(capacity(usize::try_from(size).unwrap_or_default()));
        // One byte more than the limit shows a file that grows while it is read.
        file.take(size + 1).read_to_end(&mut body).map_err(|error| read_failure(key, &error))?;
        if body.len() as u64 != size {
            return Err(Error::new(ErrorKind::Corrupt, key, "the file changed while it was read"));
        }
        Ok(body.into())
    }

    fn get_range(&self, key: &Key, range: &Range<u64>) -> Result<Bytes> {
        let length = limits::check_range(key, range)?;
        let (file, size) = self.object(key)?;
        if range.end > size {
            return Err(limits::beyond_end(key, range, size));
        }
        let mut body = vec![0; usize::try_from(length).unwrap_or_default()];
        file.read_exact_at(&mut body, range.start).map_err(|error| read_failure(key, &error))?;
        Ok(body.into())
    }
}

impl ObjectStore for Directory {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Bytes>> {
        let owned = key.clone();
        Box::pin(self.blocking(key.to_string(), move |base| base.get(&owned)))
    }

    fn get_range<'a>(&'a self, key: &'a Key, range: Range<u64>) -> BoxFuture<'a, Result<Bytes>> {
        let owned = key.clone();
        Box::pin(self.blocking(key.to_string(), move |base| base.get_range(&owned, &range)))
    }

    fn create<'a>(&'a self, key: &'a Key, body: Bytes) -> BoxFuture<'a, Result<Created>> {
        let owned = key.clone();
        Box::pin(self.blocking(key.to_string(), move |base| write::create(base, &owned, &body)))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Result<Page>> {
        let (owned, after) = (prefix.to_owned(), after.cloned());
        Box::pin(self.blocking(prefix.to_owned(), move |base| walk::page(base, &owned, after.as_ref())))
    }

    fn delete<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<()>> {
        let owned = keys.to_vec();
        Box::pin(self.blocking(self.base.name.clone(), move |base| write::delete(base, &owned)))
    }
}

/// What an errno means to a caller of the store.
fn failure(key: &str, errno: Errno) -> Error {
    let kind = match errno {
        Errno::NOSPC | Errno::DQUOT => ErrorKind::Full,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => ErrorKind::Denied,
        Errno::NOENT => ErrorKind::Missing,
        Errno::NAMETOOLONG | Errno::NOTDIR | Errno::ISDIR | Errno::INVAL | Errno::LOOP | Errno::FBIG => {
            ErrorKind::Invalid
        }
        Errno::IO => ErrorKind::Corrupt,
        // Network file systems time out and go stale; descriptors and memory run out for a moment.
        _ => ErrorKind::Transient,
    };
    Error::new(kind, key, format!("{errno}{}", next_step(errno)))
}

/// What a person does about a disk that takes nothing.
fn next_step(errno: Errno) -> &'static str {
    match errno {
        Errno::NOSPC => "; make room on its disk and run the same command again: what is there stays whole",
        Errno::DQUOT => "; raise the quota or make room, and run the same command again: what is there stays whole",
        Errno::ROFS => "; mount its disk for writing and run the same command again: what is there stays whole",
        _ => "",
    }
}

fn read_failure(key: &Key, error: &io::Error) -> Error {
    match Errno::from_io_error(error) {
        Some(errno) => failure(key.as_str(), errno),
        None => Error::new(ErrorKind::Corrupt, key, error),
    }
}

/// A file's length in bytes; a negative one, which no file has, counts as empty.
fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

/// A file's mtime; the epoch where it lies outside of what a [`Timestamp`] holds.
fn modified(stat: &Stat) -> Timestamp {
    let nanoseconds = i32::try_from(stat.st_mtime_nsec).unwrap_or_default();
    Timestamp::new(stat.st_mtime, nanoseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}
