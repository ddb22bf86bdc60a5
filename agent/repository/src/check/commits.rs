//! Commits and what lies beside them: signatures, hashes, and the chain of each volume.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{
    Run,
    chain::{self, Link},
    listing::{Absent, ListedSnapshot, body},
    report::{LostPaths, Scope, Severity, Stage},
};
use crate::{
    commit::{COMMIT_BYTES_MAX, Commit, Sidecar},
    error::Result,
    frame::sha256,
    layout::{self, Beside, SnapshotId, VolumeName},
    pack_set::PackSet,
    session::SessionId,
    signature::PublicKey,
    store::{Key, ObjectStore},
};

/// Snapshots that are looked at at once: hides a round trip; two recipes of 10 TiB snapshots are some 30 MB.
const SNAPSHOTS_IN_FLIGHT: usize = 2;

/// A commit that counts.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) link: Link,
    /// The session's pack table, where it has one.
    pub(super) packs: Option<Sidecar>,
}

/// What one snapshot's objects say.
#[derive(Debug, Default)]
struct Examined {
    committed: Option<Committed>,
    refs: Option<PackSet>,
    faults: Vec<Fault>,
}

/// One object of a snapshot that is not as it has to be.
#[derive(Debug)]
struct Fault {
    severity: Severity,
    key: Key,
    what: String,
    scope: Scope,
}

/// Checks all commits and what lies beside them; learns which packs are needed.
pub(super) async fn check(run: &mut Run<'_>) -> Result<()> {
    let listed = chosen(run);
    let (repository, of) = (run.repository, listed.len());
    let (store, signers) = (repository.store().clone(), &repository.config().signers);
    let examined = listed.into_iter().filter(|s| !s.void).map(|listed| {
        let store = &*store;
        async move { Ok::<_, crate::Error>((examine(store, signers, &listed).await?, listed.id)) }
    });
    let mut examined = stream::iter(examined).buffered(SNAPSHOTS_IN_FLIGHT);
    let mut done = 0;
    while let Some((examined, id)) = examined.try_next().await? {
        take(run, examined, &id);
        done += 1;
        run.tell(Stage::Commits, done, of);
    }
    drop(examined);
    if run.options.only.is_none() {
        chains(run);
    }
    Ok(())
}

/// The snapshots that are to be checked; one that is asked for and not there is damage.
fn chosen(run: &mut Run<'_>) -> Vec<ListedSnapshot> {
    let listed = std::mem::take(&mut run.listing.snapshots);
    let Some(only) = &run.options.only else { return listed };
    let (chosen, left_out): (Vec<_>, Vec<_>) = listed.into_iter().partition(|listed| only.contains(&listed.id));
    let is_there = |id: &&SnapshotId| chosen.iter().any(|listed| listed.id == **id && listed.commit.is_some());
    for id in only.iter().filter(|id| !is_there(id)) {
        let lost = LostPaths::new(id.clone(), Scope::All);
        run.findings.damage(layout::beside(id, Beside::Commit), "it is missing", vec![lost]);
    }
    run.left_out = left_out.into_iter().map(|listed| (listed.id.session, listed)).collect();
    chosen
}

/// The pack table that the commit of a session names which is not to be checked; none where no signature says it.
pub(super) async fn table_of(run: &Run<'_>, session: SessionId) -> Result<Option<Sidecar>> {
    let Some(listed) = run.left_out.get(&session).filter(|listed| !listed.void) else { return Ok(None) };
    if listed.commit.is_none_or(|size| size > COMMIT_BYTES_MAX as u64) {
        return Ok(None);
    }
    let Ok(object) = body(run.store(), &layout::beside(&listed.id, Beside::Commit)).await? else { return Ok(None) };
    let commit = Commit::parse(&object, &listed.id, &run.repository.config().signers).ok();
    Ok(commit.and_then(|commit| commit.packs.as_ref().map(crate::commit::Packs::sidecar)))
}

fn take(run: &mut Run<'_>, examined: Examined, id: &SnapshotId) {
    let Examined { committed, refs, faults } = examined;
    for Fault { severity, key, what, scope } in faults {
        match severity {
            Severity::Damage => run.findings.damage(key, what, vec![LostPaths::new(id.clone(), scope)]),
            Severity::Notice => run.findings.notice(key, what),
        }
    }
    match refs {
        Some(refs) => run.needed.merge(&refs),
        None if committed.is_some() => drop(run.doubtful.insert(id.clone())),
        None => {}
    }
    run.snapshots.extend(committed);
}

fn chains(run: &mut Run<'_>) {
    let mut volumes: BTreeMap<&VolumeName, Vec<&Link>> = BTreeMap::new();
    for snapshot in &run.snapshots {
        volumes.entry(&snapshot.link.id.volume).or_default().push(&snapshot.link);
    }
    for links in volumes.values() {
        if let Some((id, what)) = chain::gap(links) {
            run.findings.notice(layout::beside(&id, Beside::Commit), what);
        }
    }
}

async fn examine(store: &dyn ObjectStore, signers: &[PublicKey], listed: &ListedSnapshot) -> Result<Examined> {
    let mut found = Examined::default();
    let key = layout::beside(&listed.id, Beside::Commit);
    let mut fault = |severity, key, what: String, scope| found.faults.push(Fault { severity, key, what, scope });
    let Some(size) = listed.commit else {
        if listed.refs.is_some() || listed.recipe.is_some() {
            let what = "it is missing beside its sidecars: its session runs or died, it expired, or it was removed";
            fault(Severity::Notice, key, what.to_owned(), Scope::Unknown);
        }
        return Ok(found);
    };
    if size > COMMIT_BYTES_MAX as u64 {
        fault(Severity::Damage, key, format!("it is {size} bytes long, which no commit is"), Scope::All);
        return Ok(found);
    }
    let object = match body(store, &key).await? {
        Ok(object) => object,
        // What was forgotten since it was listed is no longer there to be checked.
        Err(Absent::Missing) => return Ok(found),
        Err(error) => {
            fault(Severity::Damage, key, error.to_string(), Scope::All);
            return Ok(found);
        }
    };
    let commit = match Commit::parse(&object, &listed.id, signers) {
        Ok(commit) => commit,
        Err(error) => {
            fault(Severity::Damage, key, error.to_string(), Scope::All);
            return Ok(found);
        }
    };
    let recipe = Sidecar { bytes: commit.recipe.bytes, sha256: commit.recipe.sha256 };
    let mut refs = None;
    for (what, size, named) in [(Beside::Refs, listed.refs, commit.refs), (Beside::Recipe, listed.recipe, recipe)] {
        let at = layout::beside(&listed.id, what);
        match sidecar(store, &at, size, &named).await? {
            Ok(object) if what == Beside::Refs => match PackSet::decode(&object) {
                Ok(set) => refs = Some(set),
                Err(error) => fault(Severity::Damage, at, error.to_string(), Scope::Paths),
            },
            Ok(_) => {}
            // A commit is deleted before what lies beside it.
            Err(_) if body(store, &key).await? == Err(Absent::Missing) => return Ok(Examined::default()),
            Err(error) => fault(Severity::Damage, at, error, Scope::Paths),
        }
    }
    let link = Link { id: listed.id.clone(), seq: commit.seq, prev: commit.prev.0, hash: sha256(&object) };
    found.committed = Some(Committed { link, packs: commit.packs.as_ref().map(crate::commit::Packs::sidecar) });
    found.refs = refs;
    Ok(found)
}

/// An object that a commit names, listed with that size; or what is wrong with it.
pub(super) async fn sidecar(
    store: &dyn ObjectStore,
    key: &Key,
    listed: Option<u64>,
    named: &Sidecar,
) -> Result<Result<Bytes, String>> {
    match listed {
        None => return Ok(Err(Absent::Missing.to_string())),
        // Nothing is fetched: what is far too long might not fit in memory.
        Some(size) if size != named.bytes => return Ok(Err(format!("it is {size} bytes long, not {}", named.bytes))),
        Some(_) => {}
    }
    Ok(match body(store, key).await? {
        Err(absent) => Err(absent.to_string()),
        Ok(object) if sha256(&object) == named.sha256.0 => Ok(object),
        Ok(_) => Err("its hash is not the one in the commit".to_owned()),
    })
}
