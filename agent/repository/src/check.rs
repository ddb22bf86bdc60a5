//! Care: is all that the snapshots need stored, whole and signed? And where it is not, which paths does that cost?
//!
//! Three depths: without a key, stored bytes against signed hashes; with a key, file tables; and a part of the packs, or all, is read.
//! Damage is data, in the report. A failure of the store is an error: it says nothing about what is stored.

mod access;
mod catalog;
mod chain;
mod commits;
mod contents;
mod data;
mod findings;
mod listing;
mod losses;
mod place;
mod report;
mod scan;
mod subset;
mod tables;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

pub use report::{CheckReport, Finding, Level, LostPaths, PathRange, Progress, Scope, Severity, Stage, path_text};
pub use subset::{NotASubset, Subset};

use crate::{
    error::Result,
    keys::Keys,
    layout::{self, SnapshotId},
    pack_set::PackSet,
    repository::Repository,
    seal::Identity,
    session::SessionId,
    store::ObjectStore,
    table::PackRef,
};
use access::Access;
use catalog::Catalog;
use commits::Committed;
use findings::{Broken, Findings};
use listing::{ListedSnapshot, Listing};

/// How deep a check looks.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// Of a recipient: opens everything. Not needed where nothing is encrypted.
    pub identity: Identity,
    /// The repository's keys: they open file tables.
    pub keys: Option<Keys>,
    /// The part of the packs that is read; packs that are damaged by their length are read in any case.
    pub read_data: Option<Subset>,
    /// Only these snapshots and what they need; none means all, and what no snapshot needs too.
    pub only: Option<BTreeSet<SnapshotId>>,
}

/// A check that runs: what it knows so far.
struct Run<'a> {
    repository: &'a Repository,
    options: &'a CheckOptions,
    progress: &'a (dyn Fn(Progress) + Sync),
    access: Access,
    listing: Listing,
    findings: Findings,
    /// Commits that count.
    snapshots: Vec<Committed>,
    /// Those that are not to be checked, by their session: their commits name tables of packs that others took over.
    left_out: BTreeMap<SessionId, ListedSnapshot>,
    /// The packs of all `.refs`.
    needed: PackSet,
    /// Snapshots whose `.refs` cannot be relied upon.
    doubtful: BTreeSet<SnapshotId>,
    catalog: Catalog,
    /// Pack tables that are missing or damaged.
    tables: BTreeMap<SessionId, Broken>,
    packs_read: u64,
    bytes_read: u64,
}

impl Run<'_> {
    fn tell(&self, stage: Stage, done: usize, of: usize) {
        (self.progress)(Progress { stage, done: done as u64, of: of as u64, bytes: self.bytes_read });
    }

    fn store(&self) -> &dyn ObjectStore {
        &**self.repository.store()
    }

    fn report(mut self) -> CheckReport {
        for (session, Broken { what, affected, .. }) in std::mem::take(&mut self.tables) {
            self.findings.damage(layout::session_packs(session), what, affected);
        }
        let mut report = CheckReport {
            level: self.access.level,
            snapshots: self.snapshots.len() as u64,
            packs: self.needed.len() as u64,
            read_data: self.options.read_data,
            packs_read: self.packs_read,
            bytes_read: self.bytes_read,
            damage: 0,
            notices: 0,
            findings: Vec::new(),
            bad_packs: Vec::new(),
        };
        self.findings.tell(&self.listing.bad, &mut report);
        report
    }
}

/// Checks a repository. Changes nothing.
///
/// # Errors
/// Those of the store, and [`Error::NoIdentity`](crate::Error::NoIdentity) where the identity or keys given do not open what is whole.
pub async fn check(
    repository: &Repository,
    options: &CheckOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<CheckReport> {
    let listing = listing::list(&**repository.store()).await?;
    let access = Access::new(repository, options, &listing)?;
    let mut run = Run {
        repository,
        options,
        progress,
        access,
        listing,
        findings: Findings::default(),
        snapshots: Vec::new(),
        left_out: BTreeMap::new(),
        needed: PackSet::default(),
        doubtful: BTreeSet::new(),
        catalog: Catalog::default(),
        tables: BTreeMap::new(),
        packs_read: 0,
        bytes_read: 0,
    };
    commits::check(&mut run).await?;
    catalog::check(&mut run).await?;
    place::check(&mut run).await?;
    tables::check(&mut run).await?;
    data::check(&mut run).await?;
    losses::find(&mut run).await?;
    Ok(run.report())
}

/// Marks a pack as damaged or missing: no later session refers to it, and what it held is read from the source again. Marking twice is no error.
pub async fn mark_bad(store: &dyn ObjectStore, pack: PackRef) -> Result<()> {
    store.create(&layout::bad(pack), Bytes::new()).await?;
    Ok(())
}
