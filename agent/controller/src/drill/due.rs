//! When the newest backup of a Schedule is tried. Pure.

use jiff::Timestamp;
use kube::ResourceExt as _;
use trysail_api::{
    backup::{Backup, BackupPhase},
    cron::Cadence,
    names::own,
    schedule::Schedule,
};

use super::verdict::{Drilled, Verdict};

/// How often a drill is begun that never ends: one that takes the server down with it must not do so for ever.
pub(super) const TRIES_MAX: u32 = 3;

/// What is to be done about a Schedule.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// There is no backup that could be tried.
    Nothing,
    /// It is due then.
    Wait(Timestamp),
    /// The annotation says nothing that can be.
    Refuse(String),
    /// Try this backup, for the so manieth time.
    Try { backup: Box<Backup>, tries: u32 },
    /// It was tried too often; the backup's name.
    GiveUp(String),
}

/// Decides about a Schedule that has the annotation.
pub(super) fn decide(schedule: &Schedule, before: Option<&Drilled>, backups: &[Backup], now: Timestamp) -> Step {
    let text = schedule.annotations().get(own::DRILL).map_or("", String::as_str);
    let cadence = match cadence(text, schedule.annotations().get(own::TIME_ZONE).map(String::as_str)) {
        Ok(cadence) => cadence,
        Err(problem) => return Step::Refuse(format!("annotation {}: {problem}: {text:?}", own::DRILL)),
    };
    let made = schedule.metadata.creation_timestamp.as_ref().map_or(now, |at| at.0);
    let is_begun = |drilled: &&Drilled| drilled.verdict == Verdict::Running;
    let tries = before.filter(is_begun).map_or(0, |drilled| drilled.tries);
    if tries == 0 {
        let last = before.map_or(made, |drilled| drilled.at.timestamp());
        match cadence.next(last) {
            Some(due) if due <= now => {}
            Some(due) => return Step::Wait(due),
            None => return Step::Nothing,
        }
    }
    if let Some(begun) = before.filter(|_| tries >= TRIES_MAX) {
        return Step::GiveUp(begun.backup.clone());
    }
    match newest(backups) {
        Some(backup) => Step::Try { backup: Box::new(backup.clone()), tries: tries + 1 },
        None => Step::Nothing,
    }
}

fn cadence(text: &str, zone: Option<&str>) -> Result<Cadence, String> {
    let has_zone = text.starts_with("TZ=") || text.starts_with("CRON_TZ=");
    let text = match zone {
        Some(zone) if !has_zone => format!("CRON_TZ={zone} {text}"),
        _ => text.to_owned(),
    };
    text.parse().map_err(|error: trysail_api::cron::Error| error.to_string())
}

/// The newest backup that says that it is whole.
fn newest(backups: &[Backup]) -> Option<&Backup> {
    let status = |backup: &&Backup| backup.status.clone().unwrap_or_default();
    let whole = backups.iter().filter(|backup| status(backup).phase == Some(BackupPhase::Completed));
    whole.max_by_key(|backup| status(backup).start_timestamp)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn schedule(drill: &str) -> Schedule {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "Schedule",
            "metadata": {
                "name": "daily", "creationTimestamp": "2026-11-01T00:00:00Z",
                "annotations": { "trysail.io/drill": drill, "trysail.io/time-zone": "America/Sao_Paulo" },
            },
            "spec": { "schedule": "0 3 * * *", "template": {} },
        }))
        .unwrap()
    }

    fn backup(name: &str, phase: &str, day: u32) -> Backup {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": { "name": name }, "spec": {},
            "status": { "phase": phase, "startTimestamp": format!("2026-11-{day:02}T06:00:00Z") },
        }))
        .unwrap()
    }

    fn drilled(verdict: &str, time: &str, tries: u32) -> Drilled {
        serde_json::from_value(json!({ "at": time, "backup": "b1", "verdict": verdict, "tries": tries })).unwrap()
    }

    #[test]
    fn the_newest_whole_backup_is_tried_each_week_in_the_schedule_s_time_zone() {
        let backups = [backup("b1", "Completed", 6), backup("b2", "Completed", 7), backup("b3", "PartiallyFailed", 8)];
        let weekly = schedule("0 12 * * 0");
        let step = |before: Option<&Drilled>, now: &str| decide(&weekly, before, &backups, at(now));
        let tried = Step::Try { backup: Box::new(backups[1].clone()), tries: 1 };
        // The first Sunday is the day on which the Schedule was made; noon in São Paulo is 15 o'clock.
        assert_eq!(step(None, "2026-11-01T14:59:59Z"), Step::Wait(at("2026-11-01T15:00:00Z")));
        assert_eq!(step(None, "2026-11-08T09:00:00Z"), tried);
        let done = drilled("proven", "2026-11-08T15:00:01Z", 0);
        assert_eq!(step(Some(&done), "2026-11-09T00:00:00Z"), Step::Wait(at("2026-11-15T15:00:00Z")));
        assert_eq!(step(Some(&done), "2026-11-15T15:00:00Z"), tried);
        assert_eq!(decide(&weekly, None, &backups[2..], at("2026-11-08T15:00:00Z")), Step::Nothing);
    }

    #[test]
    fn one_that_never_ends_is_tried_three_times() {
        let backups = [backup("b1", "Completed", 6)];
        let now = at("2026-11-08T15:00:10Z");
        let step = |tries| {
            decide(&schedule("0 12 * * 0"), Some(&drilled("running", "2026-11-08T15:00:00Z", tries)), &backups, now)
        };
        let tried = |tries| Step::Try { backup: Box::new(backups[0].clone()), tries };
        assert_eq!([step(1), step(2), step(3)], [tried(2), tried(3), Step::GiveUp("b1".to_owned())]);
    }

    #[test]
    fn an_annotation_that_is_no_time_is_refused_by_its_name() {
        let Step::Refuse(problem) = decide(&schedule("weekly"), None, &[], at("2026-11-08T15:00:00Z")) else {
            panic!("it was taken")
        };
        assert!(problem.starts_with("annotation trysail.io/drill: ") && problem.ends_with(": \"weekly\""), "{problem}");
    }
}
