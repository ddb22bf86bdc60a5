//! Whom the damage hurts: for each pack and table that is missing or damaged, what each snapshot loses.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Run,
    findings::{Broken, blamed},
    report::{Level, LostPaths, Scope, Stage},
    scan::{PATH_BYTES_MAX, Scan},
};
use crate::{
    commit::Commit,
    error::{Error, Result},
    pack_set::PackSet,
    read::{meta::MetaReader, packs},
    session::SessionId,
    table::PackRef,
};

/// Adds to all damaged packs and tables what they cost.
pub(super) async fn find(run: &mut Run<'_>) -> Result<()> {
    if run.findings.broken.is_empty() && run.tables.is_empty() {
        return Ok(());
    }
    let mut broken = std::mem::take(&mut run.findings.broken);
    let mut reader = MetaReader::new(run.repository.clone(), run.access.identity.clone())?;
    let mut room = PATH_BYTES_MAX;
    let of = run.snapshots.len();
    for at in 0..of {
        let Some(id) = run.snapshots.get(at).map(|s| s.link.id.clone()) else { break };
        let commit = match run.repository.commit(&id).await {
            Ok((commit, _)) => commit,
            // It was forgotten meanwhile.
            Err(Error::NoSnapshot(_)) => continue,
            Err(error) => {
                blamed(error)?;
                continue;
            }
        };
        let refs = match packs::refs(run.repository, &commit).await {
            Ok(refs) => Some(refs),
            Err(error) => blamed(error).map(|_| None)?,
        };
        if let Some(refs) = &refs {
            of_tables(run, &commit, refs);
        }
        of_packs(run, &mut reader, &commit, refs.as_ref(), &mut broken, &mut room).await?;
        run.tell(Stage::Losses, at + 1, of);
    }
    run.findings.broken = broken;
    Ok(())
}

/// A pack table that is gone keeps a restore of what needs its packs from beginning; no content is lost by it.
fn of_tables(run: &mut Run<'_>, commit: &Commit, refs: &PackSet) {
    let unlisted = refs.iter().filter(|(pack, _)| run.catalog.unlisted.contains(*pack));
    let sessions: BTreeSet<SessionId> = unlisted.map(|(pack, _)| pack.session).collect();
    // The table's own snapshot is among the affected already.
    for session in sessions.into_iter().filter(|session| *session != commit.session) {
        if let Some(table) = run.tables.get_mut(&session) {
            table.costs(LostPaths::new(commit.id(), Scope::Paths));
        }
    }
}

async fn of_packs(
    run: &Run<'_>,
    reader: &mut MetaReader,
    commit: &Commit,
    refs: Option<&PackSet>,
    broken: &mut BTreeMap<PackRef, Broken>,
    room: &mut usize,
) -> Result<()> {
    let id = commit.id();
    let relied = refs.filter(|_| !run.doubtful.contains(&id));
    let hurt: Vec<PackRef> = broken.keys().copied().filter(|p| relied.is_none_or(|refs| refs.contains(*p))).collect();
    if hurt.is_empty() {
        return Ok(());
    }
    if run.access.level < Level::Tables {
        for pack in hurt.into_iter().filter(|_| relied.is_some()) {
            if let Some(broken) = broken.get_mut(&pack) {
                broken.costs(LostPaths::new(id.clone(), Scope::Unknown));
            }
        }
        return Ok(());
    }
    let mut scan = Scan { snapshot: id, broken, lost: BTreeMap::new(), room };
    scan.run(reader, commit).await?;
    let lost = scan.lost;
    for (pack, lost) in lost {
        if let Some(broken) = broken.get_mut(&pack) {
            broken.costs(lost);
        }
    }
    Ok(())
}
