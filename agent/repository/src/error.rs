//! What can go wrong in a repository: always which object, and what the caller can do about it.

use crate::{
    commit, config, frame,
    keys::NotKeys,
    seal,
    signature::PublicKey,
    store::{self, ErrorKind, Key},
    wire::Malformed,
};

/// Result of a repository operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A repository operation that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// There is no repository at that place.
    #[error("there is no repository: v1/repo.json is missing; make one with `trysail repo init`")]
    NoRepository,
    /// Another program's repository is at that place.
    #[error(
        "{key} is there, which a repository of {programs} has: Trysail does not write into it; choose another place"
    )]
    Foreign {
        /// The object by which it is known.
        key: &'static str,
        /// Whose it may be.
        programs: &'static str,
    },
    /// There is a repository already.
    #[error("there is a repository already: {0} exists")]
    AlreadyThere(Key),
    /// `repo.json` cannot be used.
    #[error("{key}: {source}")]
    Config {
        /// Which state of it.
        key: Key,
        /// Why.
        source: config::Error,
    },
    /// The root key is another one than the one trusted so far.
    #[error(
        "{key} is signed by root key {found}, but this repository was trusted with {pinned}: it was replaced by another \
         installation's, or by an attacker; adopt it with `trysail repo adopt --root {found}` if that is meant"
    )]
    RootChanged {
        /// Which state of `repo.json`.
        key: Key,
        /// The trusted key.
        pinned: PublicKey,
        /// The key found.
        found: PublicKey,
    },
    /// The keys object does not hold keys.
    #[error("{key}: {source}")]
    Keys {
        /// The object.
        key: Key,
        /// Why.
        source: NotKeys,
    },
    /// A commit does not count.
    #[error("{key}: {source}")]
    Commit {
        /// The commit.
        key: Key,
        /// Why.
        source: commit::Error,
    },
    /// An object's bytes are not those of the format.
    #[error("{key} is damaged: {source}")]
    Malformed {
        /// The object.
        key: Key,
        /// What is wrong.
        source: Malformed,
    },
    /// An object's bytes have another hash than a signed object says.
    #[error("{key} is damaged: {what}")]
    Damaged {
        /// The object.
        key: Key,
        /// What is wrong.
        what: String,
    },
    /// A frame does not open.
    #[error("{key} is damaged at byte {offset}: {source}")]
    Frame {
        /// The pack.
        key: Key,
        /// Offset of the frame in the plain pack.
        offset: u32,
        /// What is wrong.
        source: frame::Error,
    },
    /// A frame could not be made.
    #[error("compression failed: {0}")]
    Compress(#[source] frame::Error),
    /// An object does not open with the keys at hand.
    #[error("{key}: {source}")]
    Seal {
        /// The object.
        key: Key,
        /// Why.
        source: seal::Error,
    },
    /// None of the identities given opens the repository's objects.
    #[error("{key} is encrypted and {given}; one of these recipients can open it: {}", recipients.join(", "))]
    NoIdentity {
        /// The object.
        key: Key,
        /// `no identity was given (--identity FILE)`, or that none fits.
        given: &'static str,
        /// The recipients of `repo.json`.
        recipients: Vec<String>,
    },
    /// No snapshot of that name.
    #[error("no snapshot `{0}`; `trysail volume list` shows what there is")]
    NoSnapshot(String),
    /// Several snapshots begin so.
    #[error("`{name}` is the beginning of {} snapshots: {}; give more characters", matches.len(), matches.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// What begins so (at most ten).
        matches: Vec<String>,
    },
    /// `latest` of which volume?
    #[error("`latest` can be of several volumes: say one of {}", .0.join(", "))]
    SeveralVolumes(Vec<String>),
    /// The session cannot end before its deadline.
    #[error(
        "the session has run for too long ({0} h): its commit would not be safe from a prune; run it again, it goes on where it was"
    )]
    Deadline(i64),
    /// The kernel gave no random bytes.
    #[error("the kernel gives no random bytes: {0}")]
    Random(String),
    /// There is no room for temporary data on this machine.
    #[error("no scratch file in {directory}: {detail}; set TMPDIR to a directory with room")]
    Scratch {
        /// Where it was to be.
        directory: String,
        /// Why not.
        detail: String,
    },
    /// A promise of this code was broken; nothing was committed.
    #[error("internal error: {0}; nothing was committed, please report this")]
    Bug(&'static str),
}

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Try again later.
    Transient,
    /// Credentials, rights or identity are not sufficient.
    Denied,
    /// What was asked for is not there.
    Missing,
    /// The request, or the place it names, is not right.
    Invalid,
    /// Stored bytes are not what they were.
    Corrupt,
    /// This program is at fault.
    Bug,
}

impl Error {
    /// What the caller can do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Store(error) => match error.kind {
                ErrorKind::Transient | ErrorKind::Full => Class::Transient,
                ErrorKind::Denied | ErrorKind::ClockSkew | ErrorKind::WrongRegion | ErrorKind::Untrusted => {
                    Class::Denied
                }
                ErrorKind::Missing | ErrorKind::NoBucket => Class::Missing,
                ErrorKind::Corrupt => Class::Corrupt,
                ErrorKind::Invalid | ErrorKind::TooMany => Class::Invalid,
            },
            Self::NoRepository | Self::NoSnapshot(_) => Class::Missing,
            Self::AlreadyThere(_)
            | Self::Foreign { .. }
            | Self::SeveralVolumes(_)
            | Self::Ambiguous { .. }
            | Self::RootChanged { .. } => Class::Invalid,
            Self::Config { source, .. } => match source {
                config::Error::NotOurs | config::Error::Newer(_) => Class::Invalid,
                config::Error::Unsigned(_) | config::Error::Parameter(_) => Class::Corrupt,
            },
            Self::Keys { .. }
            | Self::Commit { .. }
            | Self::Malformed { .. }
            | Self::Damaged { .. }
            | Self::Frame { .. }
            | Self::Compress(_) => Class::Corrupt,
            Self::Seal { source, .. } => match source {
                seal::Error::NoMatch | seal::Error::Recipient(_) | seal::Error::Identity(_) => Class::Denied,
                seal::Error::Damaged(_) | seal::Error::Sealed => Class::Corrupt,
                seal::Error::Encrypt(_) => Class::Bug,
            },
            Self::NoIdentity { .. } => Class::Denied,
            Self::Deadline(_) | Self::Random(_) | Self::Scratch { .. } => Class::Transient,
            Self::Bug(_) => Class::Bug,
        }
    }
}
