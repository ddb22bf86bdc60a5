//! `trysail drill`: what snapshots are worth, by reading all that their restores would read.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde::Serialize;
use trysail_repository::{
    Repository,
    check::{self, CheckOptions, CheckReport, Level, Progress, Subset},
    commit::CommitKind,
    layout::{SnapshotId, VolumeName},
};

use super::check::print_findings;
use crate::{
    Outcome,
    args::{Format, Shared},
    output,
    place::{IfAbsent, Place},
};

/// How sure it is that the snapshots can be restored. The words are those of the server's drills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Failed,
    Stored,
    Proven,
}

impl Verdict {
    fn of(report: &CheckReport) -> Self {
        match report.level {
            _ if !report.is_sound() => Self::Failed,
            Level::Contents => Self::Proven,
            Level::Stored | Level::Tables => Self::Stored,
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Failed => "failed: something that a restore needs is missing or damaged",
            Self::Stored => "stored: each byte is the one that was signed; with --identity it would be opened too",
            Self::Proven => "proven: everything was opened, and each file has the hash that it had when it was saved",
        }
    }
}

#[derive(Serialize)]
struct Drilled {
    verdict: Verdict,
    snapshots: Vec<String>,
    report: CheckReport,
}

/// Tries the snapshots of these names, or the newest of each volume.
pub(super) async fn drill(place: &Place, shared: &Shared, names: &[String]) -> Result<Outcome> {
    let opened = place.open(IfAbsent::Refuse).await?;
    let chosen = if names.is_empty() {
        newest(&opened.repository).await?
    } else {
        let mut chosen = BTreeSet::new();
        for name in names {
            chosen.insert(opened.repository.find(name).await?.id);
        }
        chosen
    };
    if chosen.is_empty() {
        bail!("no snapshot to try; `trysail volume backup DIR` makes one");
    }
    let (identity, keys) = opened.secrets();
    let options = CheckOptions { identity, keys, read_data: Some(Subset::ALL), only: Some(chosen.clone()) };
    let report = check::check(&opened.repository, &options, &|_: Progress| {}).await?;
    let snapshots = chosen.iter().map(ToString::to_string).collect();
    let drilled = Drilled { verdict: Verdict::of(&report), snapshots, report };
    match shared.format() {
        Format::Json | Format::Yaml => output::value(shared.format(), &drilled)?,
        Format::Table => print(&drilled)?,
    }
    Ok(if drilled.verdict == Verdict::Failed { Outcome::Damaged } else { Outcome::Done })
}

/// The newest whole snapshot of each volume.
async fn newest(repository: &Repository) -> Result<BTreeSet<SnapshotId>> {
    let mut newest: BTreeMap<VolumeName, SnapshotId> = BTreeMap::new();
    for entry in repository.snapshots(None).await?.into_iter().rev() {
        let is_known = newest.contains_key(&entry.id.volume);
        if !is_known && repository.commit(&entry.id).await?.0.kind == CommitKind::Complete {
            newest.insert(entry.id.volume.clone(), entry.id);
        }
    }
    Ok(newest.into_values().collect())
}

fn print(drilled: &Drilled) -> Result<()> {
    print_findings(&drilled.report)?;
    for snapshot in &drilled.snapshots {
        output::line(&format!("snapshot   {snapshot}"))?;
    }
    let Drilled { verdict, report, .. } = drilled;
    output::line(&format!("read       {} packs, {}", report.packs_read, output::size(report.bytes_read)))?;
    output::line(&format!("verdict    {}", verdict.sentence()))
}
