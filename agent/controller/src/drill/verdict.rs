//! What a drill says: the file beside the backup, the annotation of the Schedule, and the series. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt as _;
use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use serde::{Deserialize, Serialize};
use trysail_api::{names::own, schedule::Schedule, time::Time};
use trysail_repository::{
    check::{CheckReport, Level},
    layout::SnapshotId,
};

/// Name and version of the file's format.
const FORMAT: &str = "trysail-drill/1";

/// Findings of one repository that the file names; all are counted.
const FINDINGS_MAX: usize = 20;

/// Bytes of the message in the annotation.
const MESSAGE_MAX: usize = 500;

/// How sure it is that a backup can be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// Nobody knows yet.
    Running,
    /// Something that a restore needs is missing or damaged.
    Failed,
    /// Every stored byte is the one that was signed; what it holds could not be opened without an identity.
    Stored,
    /// Everything was opened, and each file has the hash that it had when it was saved.
    Proven,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Stored => "stored",
            Self::Proven => "proven",
        })
    }
}

/// The file beside the backup.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    format: &'static str,
    pub(super) backup: String,
    pub(super) at: Time,
    pub(super) verdict: Verdict,
    /// Why it failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
    /// What was read of each repository.
    repositories: Vec<Tried>,
}

/// What was read of one repository.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tried {
    repository: String,
    snapshots: Vec<String>,
    verdict: Verdict,
    packs_read: u64,
    bytes_read: u64,
    damage: u64,
}

impl Report {
    /// Of a backup whose archive was read that well.
    pub(super) fn new(backup: &str, at: Timestamp, archive: Verdict) -> Self {
        Self {
            format: FORMAT,
            backup: backup.to_owned(),
            at: Time::new(at),
            verdict: archive,
            problems: Vec::new(),
            repositories: Vec::new(),
        }
    }

    /// Of one that cannot be restored.
    pub(super) fn failed(backup: &str, at: Timestamp, problem: &str) -> Self {
        let mut report = Self::new(backup, at, Verdict::Failed);
        report.problems.push(problem.to_owned());
        report
    }

    /// Something is wrong with it.
    pub(super) fn fail(&mut self, problem: String) {
        self.verdict = Verdict::Failed;
        self.problems.push(problem);
    }

    /// Adds what was found in a repository. A backup is worth what its worst part is.
    pub(super) fn add(&mut self, repository: &str, snapshots: &BTreeSet<SnapshotId>, found: &CheckReport) {
        let verdict = match found.level {
            _ if !found.is_sound() => Verdict::Failed,
            Level::Contents => Verdict::Proven,
            Level::Stored | Level::Tables => Verdict::Stored,
        };
        self.verdict = self.verdict.min(verdict);
        let damage = found.findings.iter().take(usize::try_from(found.damage).unwrap_or(usize::MAX));
        let told = damage.take(FINDINGS_MAX).map(|finding| format!("{repository}/{} {}", finding.key, finding.what));
        self.problems.extend(told);
        self.repositories.push(Tried {
            repository: repository.to_owned(),
            snapshots: snapshots.iter().map(ToString::to_string).collect(),
            verdict,
            packs_read: found.packs_read,
            bytes_read: found.bytes_read,
            damage: found.damage,
        });
    }

    /// What is wrong, in one line.
    pub(super) fn problem(&self) -> String {
        let first = self.problems.first().cloned().unwrap_or_default();
        match self.problems.len().saturating_sub(1) {
            0 => first,
            more => format!("{first}, and {more} more"),
        }
    }
}

/// The annotation of the Schedule: the last drill, and when one last proved a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Drilled {
    pub(super) at: Time,
    pub(super) backup: String,
    pub(super) verdict: Verdict,
    /// How often it was begun without an end.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) tries: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proven_at: Option<Time>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(tries: &u32) -> bool {
    *tries == 0
}

impl Drilled {
    /// What a Schedule says; none where it says nothing that can be read.
    pub(super) fn of(schedule: &Schedule) -> Option<Self> {
        serde_json::from_str(schedule.annotations().get(own::DRILLED)?).ok()
    }

    /// One begins.
    pub(super) fn begun(before: Option<&Self>, backup: &str, at: Time, tries: u32) -> Self {
        let proven_at = before.and_then(|before| before.proven_at);
        Self { at, backup: backup.to_owned(), verdict: Verdict::Running, tries, message: None, proven_at }
    }

    /// One has ended.
    pub(super) fn ended(before: Option<&Self>, report: &Report) -> Self {
        let mut message = report.problem();
        message.truncate(message.floor_char_boundary(MESSAGE_MAX));
        let is_proven = report.verdict == Verdict::Proven;
        Self {
            at: report.at,
            backup: report.backup.clone(),
            verdict: report.verdict,
            tries: 0,
            message: Some(message).filter(|message| !message.is_empty()),
            proven_at: if is_proven { Some(report.at) } else { before.and_then(|before| before.proven_at) },
        }
    }
}

/// What is told of drills.
#[derive(Default)]
pub(crate) struct DrillMetrics {
    proven: Family<[(&'static str, String); 1], Gauge>,
    failed: Family<[(&'static str, String); 1], Gauge>,
}

impl DrillMetrics {
    /// Tells the series in a registry.
    pub(crate) fn register(&self, trysail: &mut Registry) {
        let help = "When a drill last proved that a backup restores, in seconds since 1970";
        trysail.register("last_proven_timestamp_seconds", help, self.proven.clone());
        trysail.register("drill_failed", "1 if the last drill found damage, 0 if not", self.failed.clone());
    }

    /// What the last drill of a Schedule came to; none where there was none.
    pub(crate) fn told(&self, schedule: &str, drilled: Option<&Drilled>) {
        let labels = [("schedule", schedule.to_owned())];
        let Some(drilled) = drilled else {
            self.forget(schedule);
            return;
        };
        if drilled.verdict != Verdict::Running {
            self.failed.get_or_create(&labels).set(i64::from(drilled.verdict == Verdict::Failed));
        }
        if let Some(at) = drilled.proven_at {
            self.proven.get_or_create(&labels).set(at.timestamp().as_second());
        }
    }

    /// A Schedule is gone.
    pub(crate) fn forget(&self, schedule: &str) {
        let labels = [("schedule", schedule.to_owned())];
        self.proven.remove(&labels);
        self.failed.remove(&labels);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(level: Level, damage: u64) -> CheckReport {
        CheckReport {
            level,
            snapshots: 1,
            packs: 3,
            read_data: None,
            packs_read: 3,
            bytes_read: 70,
            damage,
            notices: 0,
            findings: Vec::new(),
            bad_packs: Vec::new(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn verdict(archive: Verdict, found: &[CheckReport]) -> Verdict {
        let mut report = Report::new("b1", at(0), archive);
        for one in found {
            report.add("kopia/app", &BTreeSet::new(), one);
        }
        report.verdict
    }

    #[test]
    fn a_backup_is_worth_what_its_worst_part_is() {
        let (whole, stored, damaged) = (found(Level::Contents, 0), found(Level::Tables, 0), found(Level::Contents, 1));
        assert_eq!(verdict(Verdict::Proven, &[]), Verdict::Proven);
        assert_eq!(verdict(Verdict::Proven, std::slice::from_ref(&whole)), Verdict::Proven);
        assert_eq!(verdict(Verdict::Stored, std::slice::from_ref(&whole)), Verdict::Stored);
        assert_eq!(verdict(Verdict::Proven, &[whole.clone(), stored.clone()]), Verdict::Stored);
        assert_eq!(verdict(Verdict::Proven, &[damaged, stored, whole]), Verdict::Failed);
    }

    #[test]
    fn the_file_says_what_was_read() {
        let mut report = Report::new("b1", at(0), Verdict::Proven);
        let snapshot = "data/01ARZ3NDEKTSV4RRFFQ69G5FAV";
        report.add(
            "kopia/app",
            &[crate::repository::snapshot_id(snapshot).unwrap()].into(),
            &found(Level::Contents, 0),
        );
        let expected = json!({
            "format": "trysail-drill/1", "backup": "b1", "at": "1970-01-01T00:00:00Z", "verdict": "proven",
            "repositories": [{
                "repository": "kopia/app", "snapshots": [snapshot], "verdict": "proven", "packsRead": 3, "bytesRead": 70,
                "damage": 0,
            }],
        });
        assert_eq!(json!(report), expected);
    }

    #[test]
    fn only_a_proof_moves_the_time_of_the_last_proof() {
        let ended =
            |before: Option<&Drilled>, verdict, second| Drilled::ended(before, &Report::new("b1", at(second), verdict));
        let proven = ended(None, Verdict::Proven, 5);
        let after = |verdict| json!(ended(Some(&proven), verdict, 9))["provenAt"].clone();
        let first = json!("1970-01-01T00:00:05Z");
        assert_eq!(
            [Verdict::Stored, Verdict::Failed, Verdict::Proven].map(after),
            [first.clone(), first.clone(), json!("1970-01-01T00:00:09Z")]
        );
        let begun = Drilled::begun(Some(&proven), "b2", Time::new(at(7)), 1);
        let expected: Value = json!({ "at": "1970-01-01T00:00:07Z", "backup": "b2", "verdict": "running", "tries": 1, "provenAt": first });
        assert_eq!(json!(begun), expected);
        let failed = Drilled::ended(Some(&begun), &Report::failed("b2", at(8), "gone"));
        assert_eq!((json!(failed)["message"].clone(), failed.tries), (json!("gone"), 0));
    }
}
