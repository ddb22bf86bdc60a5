//! Why a prune stops. Whatever the reason, it stops before the first delete or leaves a state that the next prune goes on from.

use jiff::Timestamp;

use super::plan::GraceTooShort;
use crate::{error, store};

/// A prune that stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The repository's limits do not protect its writers.
    #[error(transparent)]
    Limits(#[from] GraceTooShort),
    /// The store's clock and this machine's disagree, and a wrong one of them would free packs too early.
    #[error(
        "the store's clock shows {store}, this machine's {machine}: nothing is pruned until they agree within 10 minutes"
    )]
    Clocks {
        /// The time that the store gave to an object.
        store: Timestamp,
        /// The caller's time.
        machine: Timestamp,
    },
    /// What a commit needs is not known, so any pack may be needed.
    #[error("nothing is condemned and nothing deleted, since what a snapshot needs cannot be read: {0}")]
    Unreadable(#[source] Box<error::Error>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The kernel gave no random bytes for a name.
    #[error("the kernel gives no random bytes: {0}")]
    Random(String),
}

impl From<getrandom::Error> for Error {
    fn from(error: getrandom::Error) -> Self {
        Self::Random(error.to_string())
    }
}

/// Result of a prune's step.
pub type Result<T> = std::result::Result<T, Error>;
