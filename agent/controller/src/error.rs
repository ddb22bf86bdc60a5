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
    /// The repository of a namespace failed.
    #[error("repository {name}: {source}")]
    Repository {
        /// Name of the BackupRepository.
        name: String,
        /// Why.
        source: Box<trysail_repository::Error>,
    },
    /// The repository of a namespace is another installation's.
    #[error(
        "RepositoryForeign: {name} is signed by root key {found}, and its location trusts {pinned}: it is another \
         installation's, or was replaced; give it another prefix, or annotate the location with trysail.io/root-key={found} \
         if that is meant"
    )]
    RepositoryForeign {
        /// Name of the BackupRepository.
        name: String,
        /// The root key that is trusted.
        pinned: String,
        /// The root key that signs it.
        found: String,
    },
    /// This cluster has not the keys of a repository.
    #[error(
        "RepositoryKeyMissing: the keys of {name} (root key {root}) are not in Secret trysail-keys: it can be read with the \
         identity, but nothing can be written; they are taken over when annotation trysail.io/identity-secret of the location names a Secret \
         with the identity"
    )]
    RepositoryKeyMissing {
        /// Name of the BackupRepository, or of the location.
        name: String,
        /// The root key.
        root: String,
    },
    /// An object of the cluster holds what it cannot.
    #[error("{what}: {reason}")]
    Object {
        /// Which object, and what part of it.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// The objects of a backup cannot be collected, or not be put into its archive.
    #[error("{}", .source.sentence())]
    Collect {
        /// Name of the Backup.
        backup: String,
        /// Why.
        source: trysail_cluster::Error,
    },
    /// A file of a backup cannot be made.
    #[error("{what} of backup {backup}: {reason}")]
    Make {
        /// Name of the Backup.
        backup: String,
        /// Which file.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The objects of a restore cannot be read, or nothing can be made.
    #[error("{}", .source.sentence())]
    Restore {
        /// Name of the Restore.
        restore: String,
        /// Why.
        source: trysail_cluster::Error,
    },
    /// A Restore was deleted while it ran.
    #[error("restore {restore} is gone")]
    RestoreGone {
        /// Its name.
        restore: String,
    },
    /// A thread of ours has ended before its work.
    #[error("{0} broke")]
    Broken(&'static str),
    /// A backup of that name lies in the location already.
    #[error("backup already exists in object storage")]
    BackupExists {
        /// Name of the Backup.
        backup: String,
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
            Self::NoKubernetes(_)
            | Self::Location { .. }
            | Self::Listen { .. }
            | Self::RepositoryForeign { .. }
            | Self::Object { .. }
            | Self::BackupExists { .. }
            | Self::RestoreGone { .. } => Class::Invalid,
            Self::Bucket { source, .. } => trysail_repository::Error::Store(source.clone()).class(),
            Self::Record { .. } => Class::Corrupt,
            Self::Unserved { .. } => Class::Transient,
            Self::Repository { source, .. } => source.class(),
            Self::RepositoryKeyMissing { .. } => Class::Denied,
            Self::Collect { source, .. } | Self::Restore { source, .. } => class_of(source.class()),
            Self::Make { .. } | Self::Broken(_) => Class::Bug,
        }
    }
}

/// The word of another crate for what can be done.
fn class_of(class: trysail_cluster::Class) -> Class {
    use trysail_cluster::Class as Other;
    match class {
        Other::Transient => Class::Transient,
        Other::Denied => Class::Denied,
        Other::Missing => Class::Missing,
        Other::Invalid => Class::Invalid,
        Other::Corrupt => Class::Corrupt,
        Other::Bug => Class::Bug,
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
