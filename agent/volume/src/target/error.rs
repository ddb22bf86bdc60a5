//! What a restore refuses or cannot do to one entry, and what of its metadata it could not set.

use std::io;

use rustix::io::Errno;

/// An entry that is not restored.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The target is to be empty and is not.
    #[error("target directory is not empty: it holds {}", entry.escape_ascii())]
    NotEmpty {
        /// One name that is in it.
        entry: Vec<u8>,
    },
    /// A path that no volume can have: an empty part, `.`, `..`, a NUL, or something too long.
    #[error("path {} is not a path below a volume's root", path.escape_ascii())]
    BadPath {
        /// As the row has it.
        path: Vec<u8>,
    },
    /// A link target that no volume can have: empty, too long, or with a NUL.
    #[error("{}: link target of {length} bytes is not valid", path.escape_ascii())]
    BadLink {
        /// Path below the root.
        path: Vec<u8>,
        /// Length of the target in bytes.
        length: usize,
    },
    /// Segments that are out of order, touch, are empty, or exceed the size.
    #[error("{}: sparse map does not fit the size", path.escape_ascii())]
    BadSegments {
        /// Path below the root.
        path: Vec<u8>,
    },
    /// The row is of another kind than the call.
    #[error("{}: row is of another kind", path.escape_ascii())]
    WrongKind {
        /// Path below the root.
        path: Vec<u8>,
    },
    /// Something is there that a restore does not delete.
    #[error("{}: {by} is in the way", path.escape_ascii())]
    Blocked {
        /// Path below the root.
        path: Vec<u8>,
        /// What is there.
        by: &'static str,
    },
    /// The first path of a hard link is not a file that this run restored or kept.
    #[error("{}: hard link to {}, which was not restored in this run", path.escape_ascii(), target.escape_ascii())]
    LinkTarget {
        /// Path below the root.
        path: Vec<u8>,
        /// Path of the first link.
        target: Vec<u8>,
    },
    /// Content beyond the length that the row says.
    #[error("{}: content exceeds {length} bytes", path.escape_ascii())]
    Beyond {
        /// Path below the root.
        path: Vec<u8>,
        /// Length of the content stream in bytes.
        length: u64,
    },
    /// The kernel refused.
    #[error("{}{action}", beginning(path))]
    Failed {
        /// Path below the root; empty where it is the target itself.
        path: Vec<u8>,
        /// What was refused.
        action: Step,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// What a restore asks of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Step {
    /// Opening or making the target directory.
    #[error("target directory cannot be opened")]
    Root,
    /// Reaching the directory of an entry without following a link.
    #[error("directory cannot be entered")]
    Enter,
    /// Making an entry.
    #[error("entry cannot be made")]
    Make,
    /// Deleting what was there before.
    #[error("old entry cannot be removed")]
    Remove,
    /// Looking at what is there.
    #[error("entry cannot be examined")]
    Examine,
    /// Writing content, or setting the length.
    #[error("content cannot be written")]
    Write,
    /// Setting metadata, on a file system that fails.
    #[error("metadata cannot be written")]
    Metadata,
    /// Putting a finished file in its place.
    #[error("file cannot be put in place")]
    Rename,
    /// Writing everything to the disk.
    #[error("data cannot be synced")]
    Sync,
}

/// The path before what happened to it.
fn beginning(path: &[u8]) -> String {
    if path.is_empty() { String::new() } else { format!("{}: ", path.escape_ascii()) }
}

impl TargetError {
    pub(super) fn failed(path: &[u8], action: Step, source: impl Into<io::Error>) -> Self {
        Self::Failed { path: path.to_vec(), action, source: source.into() }
    }

    /// Whether the restore cannot go on: the target cannot be used at all, or its file system is full, read-only or failing.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::NotEmpty { .. } | Self::Failed { action: Step::Root | Step::Sync, .. } => true,
            Self::Failed { source, .. } => Errno::from_io_error(source).is_some_and(ends_everything),
            _ => false,
        }
    }
}

/// Errors after which every further entry would fail too.
pub(super) fn ends_everything(error: Errno) -> bool {
    matches!(error, Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::IO)
}

/// A piece of metadata that a restored entry does not have.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what} not set", path.escape_ascii())]
pub struct NotSet {
    /// Path below the root.
    pub path: Vec<u8>,
    /// What is missing.
    pub what: What,
    /// The kernel's answer.
    #[source]
    pub why: io::Error,
}

/// A piece of metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum What {
    /// The entry itself: a device, without the right to make one.
    #[error("device")]
    Device,
    /// Owner.
    #[error("owner")]
    Owner,
    /// Group.
    #[error("group")]
    Group,
    /// Mode, or its setuid and setgid bits.
    #[error("mode")]
    Mode,
    /// Time of last change.
    #[error("modification time")]
    Mtime,
    /// All extended attributes.
    #[error("extended attributes")]
    Xattrs,
    /// One extended attribute, by name.
    #[error("extended attribute {}", .0.escape_ascii())]
    Xattr(Vec<u8>),
}

/// Entries of [`NotSetList`] that are named; further ones are only counted.
pub const NOT_SET_MAX: usize = 1000;

/// Bytes of paths and names in the list, so that a thousand paths of the greatest length do not fill the memory.
const NOT_SET_BYTES_MAX: usize = 1 << 20;

/// What could not be set during a restore.
#[derive(Debug, Default)]
pub struct NotSetList {
    /// The first of them.
    pub listed: Vec<NotSet>,
    /// All of them.
    pub count: u64,
    bytes: usize,
}

impl NotSetList {
    pub(super) fn add(&mut self, path: &[u8], what: What, why: Errno) {
        self.count += 1;
        let bytes = path.len() + if let What::Xattr(name) = &what { name.len() } else { 0 };
        if self.listed.len() < NOT_SET_MAX && self.bytes + bytes <= NOT_SET_BYTES_MAX {
            self.bytes += bytes;
            self.listed.push(NotSet { path: path.to_vec(), what, why: why.into() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failing_file_system_or_an_unusable_target_ends_a_restore() {
        let fatal = |action, errno: Errno| TargetError::failed(b"f", action, errno).is_fatal();
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::IO] {
            assert!(fatal(Step::Write, errno) && fatal(Step::Make, errno) && fatal(Step::Metadata, errno), "{errno}");
        }
        for errno in [Errno::PERM, Errno::ACCESS, Errno::LOOP, Errno::NOENT, Errno::EXIST, Errno::FBIG] {
            assert!(!fatal(Step::Write, errno) && !fatal(Step::Make, errno) && fatal(Step::Sync, errno), "{errno}");
        }
    }

    #[test]
    fn the_list_of_what_was_not_set_is_bounded_and_the_count_is_not() {
        let mut list = NotSetList::default();
        for _ in 0..=NOT_SET_MAX {
            list.add(b"f", What::Owner, Errno::PERM);
        }
        assert_eq!((list.listed.len(), list.count), (NOT_SET_MAX, 1001));
        let mut long = NotSetList::default();
        for _ in 0..3 {
            long.add(&vec![b'p'; NOT_SET_BYTES_MAX / 2], What::Xattr(Vec::new()), Errno::PERM);
        }
        assert_eq!((long.listed.len(), long.count), (2, 3));
    }
}
