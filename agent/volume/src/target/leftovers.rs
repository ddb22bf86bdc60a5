//! Unfinished files under temporary names: how they are named and claimed, and how a later run removes those of one that was killed.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, flock, fstat, statat, unlinkat};
use rustix::io::Errno;

use super::{MOUNTS, new_file};
use crate::beneath::{open, open_directory};

/// Beginning of the name of a file that replaces another when it is finished; a number without leading zeros follows.
const TEMPORARY: &[u8] = b".trysail-restore-";

/// The name of the temporary file of that number.
fn name(number: u64) -> Vec<u8> {
    [TEMPORARY, number.to_string().as_bytes()].concat()
}

/// Whether a name is one that [`name`] gives.
fn is_ours(found: &[u8]) -> bool {
    let number = found.strip_prefix(TEMPORARY).and_then(|digits| std::str::from_utf8(digits).ok());
    number.and_then(|digits| digits.parse().ok()).is_some_and(|number| name(number) == found)
}

/// Makes the temporary file of that number. It is locked as long as it is open, so that no other run takes it for a leftover.
pub(super) fn make(parent: &OwnedFd, number: u64) -> Result<(File, Vec<u8>), Errno> {
    let name = name(number);
    let file = new_file(parent, &name)?;
    // Where the file system knows no locks, a sweep cannot lock it either and leaves it.
    let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
    Ok((file, name))
}

/// Removes temporary files of runs that were killed from the directory at `name` below `parent`. What cannot be examined, is no regular
/// file with this one name, or is still being written, stays: nothing that is asked for depends on it.
pub(super) fn sweep(parent: impl AsFd, name: &[u8]) {
    let Ok(directory) = open_directory(parent, name, MOUNTS) else { return };
    let Ok(entries) = Dir::read_from(&directory) else { return };
    for entry in entries.flatten() {
        let found = entry.file_name().to_bytes();
        if is_ours(found) && is_left(&directory, found) == Ok(true) {
            let _ = unlinkat(&directory, found, AtFlags::empty());
        }
    }
}

/// Whether the file of that name is one that nobody writes any more, and is still under that name.
fn is_left(directory: &OwnedFd, name: &[u8]) -> Result<bool, Errno> {
    // NONBLOCK: what has such a name may be a pipe.
    let file = open(directory, name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty(), MOUNTS)?;
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
        return Ok(false);
    }
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    let now = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_run_gives_are_ours() {
        let ours: [&[u8]; 3] =
            [b".trysail-restore-0", b".trysail-restore-10", b".trysail-restore-18446744073709551615"];
        let others: [&[u8]; 8] = [
            b".trysail-restore-",
            b".trysail-restore-01",
            b".trysail-restore-+1",
            b".trysail-restore-1.bak",
            b".trysail-restore-\xff",
            b".trysail-restore-18446744073709551616",
            b"trysail-restore-1",
            b"a.trysail-restore-1",
        ];
        assert_eq!(ours.map(is_ours), [true; 3]);
        assert_eq!(others.map(is_ours), [false; 8]);
    }
}
