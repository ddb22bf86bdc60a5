//! What can go wrong in a controller: always which object, and what can be done about it.

use trysail_repository::{Class, store};

/// Result of a step of a controller.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API server refused, or did not answer.
    #[error("{what}: {source}")]
    Kubernetes {
        /// What was asked of it: a verb and an object.
        what: String,
        /// Its answer.
        source: Box<kube::Error>,
    },
    /// The API server cannot be reached at all, since nobody says where it is.
    #[error("the API server: {0}")]
    NoKubernetes(String),
    /// The bucket of a location failed.
    #[error("location {location}: {source}")]
    Bucket {
        /// Name of the BackupStorageLocation.
        location: String,
        /// Why.
        source: store::Error,
    },
    /// A location says things that cannot be.
    #[error("location {location}: {reason}")]
    Location {
        /// Name of the BackupStorageLocation.
        location: String,
        /// What is wrong.
        reason: String,
    },
    /// A file of a backup in the bucket is not what it should be.
    #[error("location {location}: {key} is damaged: {reason}")]
    Record {
        /// Name of the BackupStorageLocation.
        location: String,
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The API server does not serve a kind that was defined.
    #[error("{kind} is not served: {reason}")]
    Unserved {
        /// Name of the CustomResourceDefinition.
        kind: String,
        /// Why.
        reason: String,
    },
    /// An address cannot be listened on.
    #[error("listen on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// An error of the API server, with what was asked.
    pub(crate) fn kubernetes(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Kubernetes { what, source: Box::new(source) }
    }

    /// What can be done about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Kubernetes { source, .. } => match code(source) {
                Some(401 | 403) => Class::Denied,
                Some(404) => Class::Missing,
                Some(400 | 422) => Class::Invalid,
                _ => Class::Transient,
            },
            Self::NoKubernetes(_) | Self::Location { .. } | Self::Listen { .. } => Class::Invalid,
            Self::Bucket { source, .. } => trysail_repository::Error::Store(source.clone()).class(),
            Self::Record { .. } => Class::Corrupt,
            Self::Unserved { .. } => Class::Transient,
        }
    }
}

/// The HTTP status with which the API server refused.
pub(crate) fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Takes a thing that is already so for success: what is deleted may be gone, what is made may be there.
pub(crate) fn unless<T>(
    codes: &[u16],
    done: std::result::Result<T, kube::Error>,
) -> std::result::Result<(), kube::Error> {
    match done {
        Err(error) if code(&error).is_some_and(|code| codes.contains(&code)) => Ok(()),
        other => other.map(|_| ()),
    }
}
