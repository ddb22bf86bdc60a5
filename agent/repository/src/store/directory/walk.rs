//! Listing a directory tree in the byte order of full keys, which is S3's order and not the order of the tree.

use jiff::{SignedDuration, Timestamp};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags},
    io::Errno,
};

use super::{Base, modified, size, write::TEMPORARY_PREFIX};
use crate::store::{Error, ErrorKind, Key, Listed, PAGE_KEYS_MAX, Page, Result};

/// Most entries of one directory that a listing holds and sorts: about 100 MB of names, far above what the layout puts
/// into one directory.
const ENTRIES_MAX: usize = 1_000_000;

/// After this time a temporary file has no writer any more: an object of 64 MiB does not take a day.
const TEMPORARY_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// One page of the keys that start with `prefix` and come after `after`.
///
/// The entries of each directory are sorted with a `/` at the end of directories. Then their order is that of all keys
/// below them: `a-b` < `a/c` < `a0`, because `/` is 0x2f.
pub(super) fn page(base: &Base, prefix: &str, after: Option<&Key>) -> Result<Page> {
    // A removed directory reads as an empty one, and an empty repository is another thing than a lost one.
    if base.is_gone() {
        return Err(base.failure(prefix, Errno::NOENT));
    }
    let after = after.map_or("", Key::as_str);
    let mut objects = Vec::new();
    let mut levels = vec![entries(base, "")?.into_iter()];
    while let Some(level) = levels.last_mut() {
        let Some(path) = level.next() else {
            levels.pop();
            continue;
        };
        if path.ends_with('/') {
            if may_hold(&path, prefix, after) {
                levels.push(entries(base, &path)?.into_iter());
            }
        } else if path.starts_with(prefix) && path.as_str() > after {
            if objects.len() == PAGE_KEYS_MAX {
                return Ok(Page { objects, more: true });
            }
            objects.extend(listed(base, &path)?);
        }
    }
    Ok(Page { objects, more: false })
}

/// Whether a directory (its path ends with `/`) may hold keys that start with `prefix` and come after `after`.
fn may_hold(directory: &str, prefix: &str, after: &str) -> bool {
    let in_prefix = directory.starts_with(prefix) || prefix.starts_with(directory);
    in_prefix && (directory > after || after.starts_with(directory))
}

/// The sorted paths in a directory that can be keys or hold some; directories end with `/`. One that vanished is empty.
fn entries(base: &Base, directory: &str) -> Result<Vec<String>> {
    let path = if directory.is_empty() { "." } else { directory };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(&base.fd, path, flags, Mode::empty()).and_then(Dir::new);
    let opened = match opened {
        Ok(opened) => opened,
        Err(Errno::NOENT | Errno::NOTDIR) if !base.is_gone() => return Ok(Vec::new()),
        Err(errno) => return Err(base.failure(directory, errno)),
    };
    let mut paths = Vec::new();
    for entry in opened {
        let entry = match entry {
            Ok(entry) => entry,
            Err(Errno::NOENT) if !base.is_gone() => break,
            Err(errno) => return Err(base.failure(directory, errno)),
        };
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name.starts_with(TEMPORARY_PREFIX) {
            remove_if_stale(base, &format!("{directory}{name}"));
        } else if Key::parse(name).is_some() {
            paths.extend(path_of(base, directory, name, entry.file_type()));
        }
        if paths.len() > ENTRIES_MAX {
            let detail = format!("more than {ENTRIES_MAX} entries in one directory");
            return Err(Error::new(ErrorKind::TooMany, directory, detail));
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// The path of an entry, with a `/` at the end of a directory; `None` for what is neither file nor directory.
fn path_of(base: &Base, directory: &str, name: &str, kind: FileType) -> Option<String> {
    let path = format!("{directory}{name}");
    let kind = match kind {
        FileType::Unknown => {
            let stat = rustix::fs::statat(&base.fd, &path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
            FileType::from_raw_mode(stat.st_mode)
        }
        known => known,
    };
    match kind {
        FileType::RegularFile => Some(path),
        FileType::Directory => Some(path + "/"),
        _ => None,
    }
}

/// The object at a path; `None` where it was deleted meanwhile or the path is too long for a key.
fn listed(base: &Base, path: &str) -> Result<Option<Listed>> {
    let Some(key) = Key::parse(path) else { return Ok(None) };
    match rustix::fs::statat(&base.fd, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Listed { key, size: size(&stat), modified: modified(&stat) })),
        Err(Errno::NOENT | Errno::NOTDIR) if !base.is_gone() => Ok(None),
        Err(errno) => Err(base.failure(path, errno)),
    }
}

/// Removes what a killed writer left behind. Failure is no harm: the file stays invisible.
fn remove_if_stale(base: &Base, path: &str) {
    let Ok(stat) = rustix::fs::statat(&base.fd, path, AtFlags::SYMLINK_NOFOLLOW) else { return };
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if is_file && Timestamp::now().duration_since(modified(&stat)) > TEMPORARY_LIFE {
        let _ = rustix::fs::unlinkat(&base.fd, path, AtFlags::empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_entered_only_where_wanted_keys_may_lie() {
        assert!(may_hold("a/", "", ""));
        assert!(may_hold("a/", "a/b", ""));
        assert!(may_hold("a/b/", "a", ""));
        assert!(!may_hold("b/", "a", ""));
        assert!(may_hold("a/", "", "a/x"));
        assert!(may_hold("b/", "", "a/x"));
        assert!(!may_hold("a/", "", "a0"));
        assert!(may_hold("a/", "", "a-b"));
    }
}
