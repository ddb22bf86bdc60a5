//! What a walk could not give, with the path it concerns. What a session makes of it (warning, failure) is not decided here.

use std::io;

/// An entry, or all below it, that the walk does not give.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Deleted between the listing of its directory and its turn. Nothing is wrong with the volume: counted, not shown.
    #[error("{} vanished during the walk", path.escape_ascii())]
    Vanished {
        /// Path below the root.
        path: Vec<u8>,
    },
    /// A mount point: it has a row if it is a directory, what is mounted there is not entered.
    #[error("{}: another file system, not saved", path.escape_ascii())]
    OtherFileSystem {
        /// Path below the root.
        path: Vec<u8>,
    },
    /// Another inode took the place of the one that was seen.
    #[error("{} was replaced during the walk", path.escape_ascii())]
    Replaced {
        /// Path below the root.
        path: Vec<u8>,
    },
    /// Deeper than [`super::DEPTH_MAX`]: the directory has a row, what is in it is not given.
    #[error("{}: deeper than {} levels, not saved", path.escape_ascii(), super::DEPTH_MAX)]
    TooDeep {
        /// Path below the root.
        path: Vec<u8>,
    },
    /// More names than fit into memory: the directory has a row, what is in it is not given.
    #[error("{}: the names of this directory need more than {} bytes of memory, not saved", path.escape_ascii(), super::NAMES_BYTES_MAX)]
    TooManyNames {
        /// Path below the root.
        path: Vec<u8>,
    },
    /// The kernel refused. For a directory its row has been given, what is in it is not.
    #[error("{}: {action}", path.escape_ascii())]
    Refused {
        /// Path below the root.
        path: Vec<u8>,
        /// What was refused.
        action: Action,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// What a walk asks of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Action {
    /// `statx`.
    #[error("metadata cannot be read")]
    Metadata,
    /// Listing a directory.
    #[error("directory cannot be listed")]
    List,
    /// `readlink`.
    #[error("link target cannot be read")]
    LinkTarget,
    /// Listing or reading extended attributes.
    #[error("extended attributes cannot be read")]
    Xattrs,
    /// Opening a file for reading.
    #[error("file cannot be opened")]
    Open,
    /// Reading a file, or asking for its holes.
    #[error("file cannot be read")]
    Read,
}

impl Problem {
    pub(crate) fn refused(path: &[u8], action: Action, source: impl Into<io::Error>) -> Self {
        Self::Refused { path: path.to_vec(), action, source: source.into() }
    }

    /// The entry it concerns, as a path below the root.
    pub fn path(&self) -> &[u8] {
        match self {
            Self::Vanished { path }
            | Self::OtherFileSystem { path }
            | Self::Replaced { path }
            | Self::TooDeep { path }
            | Self::TooManyNames { path }
            | Self::Refused { path, .. } => path,
        }
    }

    /// Whether it only informs: nothing that belongs to the volume is missing from the backup.
    pub fn is_notice(&self) -> bool {
        matches!(self, Self::Vanished { .. } | Self::OtherFileSystem { .. })
    }
}
