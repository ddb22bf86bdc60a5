//! Objects of an archive become objects of a cluster again.
//!
//! An archive is read twice or more and never held whole. The first pass notes what is in it ([`contents`]); from that,
//! from the spec ([`rules`]) and from the kinds that the cluster has, the order of work is made ([`plan`]). Further passes
//! bring the objects in that order, as many at once as memory allows ([`batch`]), and each is made ready for its new life
//! ([`prepare`]: what another cluster gave it is taken away, names of namespaces, classes, nodes and images are mapped,
//! [`modify`] patches it, [`hooks`] and [`wait`] put containers into pods). All of this is pure. [`apply`](mod@apply) alone
//! talks to the API server; what it does about an object that is there already is decided in [`existing`].

pub mod apply;
pub mod batch;
pub mod contents;
mod edit;
pub mod existing;
pub mod hooks;
pub mod mapping;
pub mod modify;
pub mod order;
pub mod plan;
pub mod prepare;
pub mod rules;
pub mod wait;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    kind::{ItemName, Kind},
    problem::Report,
};

/// What became of an object. The words are those of lists of restored objects.
///
/// Source: Velero `pkg/restore/request.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// It was made.
    Created,
    /// It was there, and was changed.
    Updated,
    /// It is not as it was saved.
    Failed,
    /// There was nothing to do.
    Skipped,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        })
    }
}

/// What has become of the objects so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// By kind (`apps/v1/Deployment`), `namespace/name(created)`: the JSON of `-resource-list.json`.
    pub list: BTreeMap<String, BTreeSet<String>>,
    /// How many there are.
    pub count: usize,
    /// What was not as it should be.
    pub report: Report,
}

impl Restored {
    /// Notes an object by the name that it has in the cluster.
    pub fn note(&mut self, kind: &Kind, item: &ItemName, action: Action) {
        self.count += 1;
        let entry = format!("{}({action})", item.within_kind());
        self.list.entry(kind.versioned_name()).or_default().insert(entry);
    }
}
