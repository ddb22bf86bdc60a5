//! How an entry of the target differs from a row, for restores that change only what differs.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Stat, fstat, major, minor, readlinkat};
use rustix::io::Errno;
use trysail_repository::table::{Kind, Row};

use super::Target;
use super::error::{Step, TargetError};
use crate::beneath::proc_path;
use crate::xattr::{self, Last};

/// How an entry of the target compares to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Same {
    /// As the row says.
    Unchanged,
    /// The content is as the row says, the metadata are not: [`Target::adjust`] does.
    MetadataOnly,
    /// Absent, of another kind, or with another content.
    Different,
}

impl Target {
    /// Compares what is at the row's path. The content of a file counts as equal if size and mtime are.
    ///
    /// A file that is not [`Same::Different`] may get further names by [`Target::make_hardlink`].
    pub fn same(&self, row: &Row) -> Result<Same, TargetError> {
        let fd = match self.find(&row.path) {
            Ok(fd) => fd,
            Err(TargetError::Failed { source, .. })
                if matches!(Errno::from_io_error(&source), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) =>
            {
                return Ok(Same::Different);
            }
            Err(error) => return Err(error),
        };
        let stat = fstat(&fd).map_err(|error| TargetError::failed(&row.path, Step::Examine, error))?;
        if let Kind::Hardlink { target } = &row.kind {
            return self.same_link(&stat, target);
        }
        if !same_content(&fd, &stat, row)? {
            return Ok(Same::Different);
        }
        self.shared.made(stat.st_dev, stat.st_ino);
        let metadata = &row.metadata;
        let mode = matches!(row.kind, Kind::Symlink { .. }) || stat.st_mode & 0o7777 == u32::from(metadata.mode);
        if !mode || (stat.st_uid, stat.st_gid) != (metadata.uid, metadata.gid) || !same_mtime(&stat, row) {
            return Ok(Same::MetadataOnly);
        }
        let xattrs = xattr::read(proc_path(&fd).as_bytes(), Last::Descriptor)
            .map_err(|error| TargetError::failed(&row.path, Step::Examine, error))?;
        Ok(if xattrs == metadata.xattrs { Same::Unchanged } else { Same::MetadataOnly })
    }

    fn same_link(&self, stat: &Stat, target: &[u8]) -> Result<Same, TargetError> {
        let Ok(fd) = self.find(target) else { return Ok(Same::Different) };
        let first = fstat(&fd).map_err(|error| TargetError::failed(target, Step::Examine, error))?;
        let same = (first.st_dev, first.st_ino) == (stat.st_dev, stat.st_ino);
        Ok(if same { Same::Unchanged } else { Same::Different })
    }
}

/// Whether an entry is of a row's kind.
pub(super) fn same_kind(stat: &Stat, kind: &Kind) -> bool {
    let wanted = match kind {
        Kind::Directory => FileType::Directory,
        Kind::File(_) => FileType::RegularFile,
        Kind::Symlink { .. } => FileType::Symlink,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice { .. } => FileType::CharacterDevice,
        Kind::BlockDevice { .. } => FileType::BlockDevice,
        Kind::Hardlink { .. } => return false,
    };
    FileType::from_raw_mode(stat.st_mode) == wanted
}

fn same_content(fd: &OwnedFd, stat: &Stat, row: &Row) -> Result<bool, TargetError> {
    if !same_kind(stat, &row.kind) {
        return Ok(false);
    }
    Ok(match &row.kind {
        Kind::File(content) => u64::try_from(stat.st_size) == Ok(content.size) && same_mtime(stat, row),
        Kind::Symlink { target } => {
            let found = readlinkat(fd.as_fd(), "", Vec::new());
            found.map_err(|error| TargetError::failed(&row.path, Step::Examine, error))?.as_bytes() == target
        }
        Kind::CharDevice { major: wanted_major, minor: wanted_minor }
        | Kind::BlockDevice { major: wanted_major, minor: wanted_minor } => {
            (major(stat.st_rdev), minor(stat.st_rdev)) == (*wanted_major, *wanted_minor)
        }
        _ => true,
    })
}

fn same_mtime(stat: &Stat, row: &Row) -> bool {
    let wanted = row.metadata.mtime;
    stat.st_mtime == wanted.seconds && u32::try_from(stat.st_mtime_nsec) == Ok(wanted.nanoseconds)
}
