//! When a Schedule makes a Backup. Pure.
//!
//! A Backup is due once a time named by the schedule has passed since the last one, or since the Schedule was made. So there
//! is none at once, and one after a time in which nobody served, however many times were missed.
//!
//! Source: Velero `pkg/controller/schedule_controller.go`.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use sha2::{Digest as _, Sha256};
use trysail_api::{
    backup::Backup,
    cron::Cadence,
    duration::Duration,
    names::own,
    schedule::{Schedule, SchedulePhase},
    time::Time,
    validate,
};

use super::time;

/// What is to be done about a Schedule, and what its status says then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Make a Backup that bears this time.
    pub(super) make: Option<Timestamp>,
    /// When to look again without being told.
    pub(super) next: Option<Timestamp>,
    /// Seconds between the next two times.
    pub(super) interval: Option<i64>,
    pub(super) phase: Option<SchedulePhase>,
    pub(super) problems: Vec<String>,
    pub(super) last_backup: Option<Time>,
    pub(super) last_skipped: Option<Time>,
}

/// Decides. `skips` is whether a Schedule that does not say passes over its first time.
pub(super) fn decide(schedule: &Schedule, backups: &[Backup], skips: bool, now: Timestamp) -> Step {
    let old = schedule.status.clone().unwrap_or_default();
    let mut step = Step {
        phase: old.phase,
        problems: old.validation_errors.unwrap_or_default(),
        last_backup: old.last_backup,
        last_skipped: old.last_skipped,
        ..Step::default()
    };
    if schedule.spec.paused == Some(true) {
        // The next time without a pause may be passed over again.
        step.last_skipped = None;
        return step;
    }
    let cadence = match cadence(schedule) {
        Ok(cadence) => cadence,
        Err(problems) => {
            step.phase = Some(SchedulePhase::FailedValidation);
            step.problems = problems;
            return step;
        }
    };
    step.phase = Some(SchedulePhase::Enabled);
    step.problems = Vec::new();
    if step.last_skipped.is_none() && schedule.spec.skip_immediately.unwrap_or(skips) {
        step.last_skipped = Some(time(now));
    }
    let made = schedule.metadata.creation_timestamp.as_ref().map_or(now, |at| at.0);
    let last = step.last_backup.map_or(made, Time::timestamp);
    let last = step.last_skipped.map_or(last, |skipped| last.max(skipped.timestamp()));
    let Some(due) = cadence.next(last) else { return step };
    let late = delay(schedule);
    if now <= due.saturating_add(late).unwrap_or(Timestamp::MAX) {
        step.wait(&cadence, due, late);
        return step;
    }
    if let Some(made) = made_since(backups, due) {
        // It was made, and the answer or the note of it was lost.
        step.last_backup = Some(time(made));
    } else if backups.iter().any(is_running) {
        // Its end is a change, after which the Schedule is looked at again.
        return step;
    } else {
        step.make = Some(now);
        step.last_backup = Some(time(now));
    }
    if let Some(next) = step.last_backup.and_then(|last| cadence.next(last.timestamp())) {
        step.wait(&cadence, next, late);
    }
    step
}

impl Step {
    fn wait(&mut self, cadence: &Cadence, due: Timestamp, late: SignedDuration) {
        self.next = due.saturating_add(late).ok();
        self.interval = cadence.next(due).map(|after| after.duration_since(due).as_secs());
    }
}

/// The times of a Schedule, or what is wrong with them.
fn cadence(schedule: &Schedule) -> Result<Cadence, Vec<String>> {
    let mut spec = schedule.spec.clone();
    let text = &spec.schedule;
    let has_zone = text.starts_with("TZ=") || text.starts_with("CRON_TZ=");
    if let Some(zone) = schedule.annotations().get(own::TIME_ZONE).filter(|_| !has_zone && !text.is_empty()) {
        spec.schedule = format!("CRON_TZ={zone} {text}");
    }
    let problems = validate::schedule(&spec);
    if !problems.is_empty() {
        return Err(problems);
    }
    spec.schedule.parse().map_err(|error| vec![format!("invalid schedule: {error}")])
}

/// By how much a Schedule is late on purpose, so that not all clusters write at once: a part of its jitter that is always
/// the same. A jitter that is no duration is none.
fn delay(schedule: &Schedule) -> SignedDuration {
    let text = schedule.annotations().get(own::JITTER);
    let jitter = text.and_then(|text| text.parse::<Duration>().ok());
    let seconds = jitter.map_or(0, |jitter| jitter.nanoseconds() / 1_000_000_000);
    let Ok(seconds @ 1..) = u64::try_from(seconds) else { return SignedDuration::ZERO };
    let name = format!("{}/{}", schedule.uid().unwrap_or_default(), schedule.name_any());
    let hash = Sha256::digest(name);
    let number = hash.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    SignedDuration::from_secs(i64::try_from(number % (seconds + 1)).unwrap_or(0))
}

/// When the newest Backup was made, if that is not before the time that is due.
fn made_since(backups: &[Backup], due: Timestamp) -> Option<Timestamp> {
    let made = backups.iter().filter_map(|backup| backup.metadata.creation_timestamp.as_ref()).map(|at| at.0);
    made.filter(|made| *made >= due).max()
}

/// Whether a Backup has not ended. One that is being deleted has.
fn is_running(backup: &Backup) -> bool {
    use trysail_api::backup::BackupPhase;
    let phase = backup.status.as_ref().and_then(|status| status.phase).unwrap_or(BackupPhase::New);
    !phase.is_terminal() && phase != BackupPhase::Deleting
}
