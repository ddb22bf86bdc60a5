//! What can go wrong between a cluster and an archive: always which object or path, and what the caller can do about it.

use std::io;

use crate::kind::ItemName;

/// Result of an operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API server did not say which kinds there are.
    #[error("kinds of objects cannot be discovered at {path}")]
    Discover {
        /// The path that was asked.
        path: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// Objects of a kind cannot be listed.
    #[error("{resource}{} cannot be listed", of(.namespace.as_deref()))]
    List {
        /// The kind.
        resource: String,
        /// The namespace, where only one was asked for.
        namespace: Option<String>,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object cannot be read.
    #[error("{item} cannot be read")]
    Get {
        /// The object.
        item: ItemName,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object cannot be made.
    #[error("{item} cannot be made")]
    Make {
        /// The object.
        item: ItemName,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object that is on its way out does not go.
    #[error("{item} is still being deleted after {seconds} s")]
    Terminating {
        /// The object.
        item: ItemName,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A list is not one.
    #[error("the API server's list of {resource} cannot be understood")]
    NotAList {
        /// The kind.
        resource: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A list came to its end too late too often.
    #[error("the list of {resource} expired {restarts} times before its end")]
    Expired {
        /// The kind.
        resource: String,
        /// How often it was begun again.
        restarts: u32,
    },
    /// A selection cannot be read.
    #[error("{field}: {why}")]
    Selection {
        /// The field of the spec.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// More objects than one backup holds.
    #[error("the backup has more than {max} objects: divide it")]
    TooMany {
        /// The bound.
        max: usize,
    },
    /// Whoever takes the objects has gone.
    #[error("nobody takes the objects any more")]
    Closed,
    /// A hook's command did not end well.
    #[error("hook {hook} in container {container} of pod {pod}: {why}")]
    Hook {
        /// The hook.
        hook: String,
        /// The container.
        container: String,
        /// The pod, as `namespace/name`.
        pod: String,
        /// How it ended.
        why: String,
    },
    /// A hook's command cannot be started.
    #[error("hook {hook} in container {container} of pod {pod} cannot be started")]
    Exec {
        /// The hook.
        hook: String,
        /// The container.
        container: String,
        /// The pod, as `namespace/name`.
        pod: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// An archive cannot be written.
    #[error("archive: {path} cannot be written")]
    Write {
        /// What was written.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An object has no place in an archive.
    #[error("archive: {item} cannot be stored: {why}")]
    Unstorable {
        /// The object.
        item: ItemName,
        /// Why.
        why: &'static str,
    },
    /// An archive cannot be read.
    #[error("archive: {after} cannot be read further")]
    Read {
        /// The last entry that was read, or the beginning.
        after: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An archive is not one of ours or of Velero's, or is damaged.
    #[error("archive: {entry}: {why}")]
    Archive {
        /// The entry.
        entry: String,
        /// What is wrong.
        why: String,
    },
}

fn of(namespace: Option<&str>) -> String {
    namespace.map_or_else(String::new, |namespace| format!(" of namespace {namespace}"))
}

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Try again later.
    Transient,
    /// Rights are missing.
    Denied,
    /// What is asked for is not there.
    Missing,
    /// What is asked for cannot be.
    Invalid,
    /// Stored bytes are damaged.
    Corrupt,
    /// This program is wrong.
    Bug,
}

impl Error {
    /// What a caller can do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Discover { source, .. }
            | Self::List { source, .. }
            | Self::Get { source, .. }
            | Self::Make { source, .. }
            | Self::Exec { source, .. } => class_of(source),
            Self::NotAList { .. }
            | Self::Expired { .. }
            | Self::Closed
            | Self::Write { .. }
            | Self::Terminating { .. } => Class::Transient,
            Self::Selection { .. } | Self::TooMany { .. } | Self::Unstorable { .. } | Self::Hook { .. } => {
                Class::Invalid
            }
            Self::Read { source, .. } => match source.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                    Class::Corrupt
                }
                _ => Class::Transient,
            },
            Self::Archive { .. } => Class::Corrupt,
        }
    }

    /// The error and its causes in one line, as logs and results hold it.
    pub fn sentence(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let refusal = refusal(error);
            // An answer of the API server is its message; the rest of its display repeats fields.
            let words = match refusal {
                Some(kube::Error::Api(status)) => status.message.clone(),
                Some(_) | None => error.to_string(),
            };
            if !line.ends_with(&words) {
                line = format!("{line}: {words}");
            }
            // The client's errors hold the words of their causes.
            cause = if refusal.is_some() { None } else { error.source() };
        }
        line
    }
}

/// The client's error; it stands in a box, which is an error of its own.
fn refusal<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a kube::Error> {
    error.downcast_ref::<Box<kube::Error>>().map(AsRef::as_ref).or_else(|| error.downcast_ref())
}

/// What a refusal of the API server means. Source: Kubernetes API conventions, HTTP status codes.
pub(crate) fn class_of(error: &kube::Error) -> Class {
    let kube::Error::Api(status) = error else {
        return match error {
            kube::Error::SerdeError(_) => Class::Invalid,
            kube::Error::BuildRequest(_) | kube::Error::HttpError(_) => Class::Bug,
            kube::Error::Auth(_) => Class::Denied,
            _ => Class::Transient,
        };
    };
    match status.code {
        401 | 403 => Class::Denied,
        404 => Class::Missing,
        408 | 409 | 410 | 429 | 500.. => Class::Transient,
        _ => Class::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::{
        Class::{Denied, Invalid, Missing, Transient},
        *,
    };

    fn refused(code: u16) -> Error {
        let status = Status { message: "no".to_owned(), code, ..Status::default() };
        let source = Box::new(kube::Error::Api(Box::new(status)));
        Error::List { resource: "pods".to_owned(), namespace: Some("a".to_owned()), source }
    }

    #[test]
    fn a_refusal_is_told_in_one_line_with_the_servers_words() {
        assert_eq!(refused(403).sentence(), "pods of namespace a cannot be listed: no");
    }

    #[test]
    fn a_refusal_says_what_can_be_done() {
        let classes = [401, 403, 404, 405, 429, 500, 503].map(|code| refused(code).class());
        assert_eq!(classes, [Denied, Denied, Missing, Invalid, Transient, Transient, Transient]);
    }
}
