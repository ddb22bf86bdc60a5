//! What a check can open.

use std::collections::BTreeSet;

use super::{CheckOptions, listing::Listing, report::Level};
use crate::{
    error::{Error, Result},
    layout,
    repository::Repository,
    seal::{self, Identity},
    store::Key,
    table::{PackKind, PackRef},
};

/// The identities of a check, and how far they go.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) level: Level,
    /// The recipients' identity and the state keys of all volumes.
    pub(super) identity: Identity,
}

impl Access {
    /// What these options open in a repository.
    pub(super) fn new(repository: &Repository, options: &CheckOptions, listing: &Listing) -> Result<Self> {
        let level = match (repository.config().recipients.is_empty(), options.identity.is_empty(), &options.keys) {
            (true, ..) | (_, false, _) => Level::Contents,
            (_, _, Some(_)) => Level::Tables,
            (_, _, None) => Level::Stored,
        };
        let mut identity = options.identity.clone();
        if let Some(keys) = options.keys.as_ref().filter(|_| !repository.config().recipients.is_empty()) {
            let volumes: BTreeSet<_> = listing.snapshots.iter().map(|s| &s.id.volume).collect();
            for volume in volumes {
                let state = Identity::of_state(&keys.for_volume(volume).state);
                let state = state
                    .map_err(|source| Error::Seal { key: layout::wrapped_keys(repository.config().keys), source })?;
                identity = identity.and(&state.0);
            }
        }
        Ok(Self { level, identity })
    }

    /// Whether it has to open a pack that is whole.
    pub(super) fn reaches(&self, pack: PackRef) -> bool {
        match pack.kind {
            PackKind::Meta => self.level >= Level::Tables,
            PackKind::Data => self.level >= Level::Contents,
        }
    }
}

/// That nothing given opens an object that is whole.
pub(super) fn not_opened(repository: &Repository, options: &CheckOptions, key: &Key) -> Error {
    repository.explain(key, seal::Error::NoMatch, &options.identity)
}
