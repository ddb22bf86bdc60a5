//! Tries what the newest backup of a Schedule is worth, when the Schedule's annotation says so, and says what came of it.
//!
//! Everything that a restore would read is read, to the last byte, and compared with what was signed: it takes no space and
//! writes nothing but its verdict. `due` says when, `verdict` what the verdict is, `prove` reads.

mod due;
mod prove;
pub(crate) mod verdict;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    runtime::{Controller, controller::Action, watcher},
};
use serde_json::json;
use trysail_api::{
    backup::Backup,
    backup_storage_location::BackupStorageLocation,
    names::{label, label_value, own},
    schedule::Schedule,
    time::Time,
};

use crate::{
    Error, Result,
    bucket::{Place, layout, write::Files},
    context::{Context, now},
    drive::{Guarded, Pace, at, drive},
    patch,
};
use due::{Step, decide};
use verdict::{Drilled, Report, Verdict};

/// One after the other: each reads a whole backup.
const PACE: Pace = Pace { concurrency: 1, debounce: Duration::from_secs(1) };

/// Pause before a Schedule is looked at again of which nothing can be tried now.
const RETRY: Duration = Duration::from_hours(1);

/// How long a verdict is tried to be stored.
const PATIENCE: Duration = Duration::from_mins(1);

/// Looks after the drills of all Schedules for ever.
pub(crate) async fn run(context: Arc<Context>) {
    let api: Api<Guarded<Schedule>> = context.api();
    drive("drill", Controller::new(api, watcher::Config::default()), PACE, reconcile, context).await;
}

async fn reconcile(schedule: Arc<Schedule>, context: Arc<Context>) -> Result<Action> {
    let name = schedule.name_any();
    let before = Drilled::of(&schedule);
    context.metrics.drills.told(&name, before.as_ref());
    if !schedule.annotations().contains_key(own::DRILL) {
        return Ok(Action::await_change());
    }
    let of_schedule = format!("{}={}", label::SCHEDULE_NAME, label_value(&name));
    let backups: Vec<Backup> = context.list(&of_schedule).await?;
    let now = now();
    match decide(&schedule, before.as_ref(), &backups, now) {
        Step::Nothing => Ok(Action::requeue(RETRY)),
        Step::Wait(until) => Ok(at(until, now)),
        Step::Refuse(problem) => {
            tracing::warn!(schedule = name, problem, "A drill cannot be planned");
            context.tell(&*schedule, "DrillInvalid", problem).await;
            Ok(Action::await_change())
        }
        Step::GiveUp(backup) => {
            let message = format!("the server ended {} times while it tried the backup", due::TRIES_MAX);
            let end = Report::failed(&backup, now, &message);
            conclude(&schedule, before.as_ref(), &end, &context).await?;
            Ok(Action::await_change())
        }
        Step::Try { backup, tries } => {
            let began = Drilled::begun(before.as_ref(), &backup.name_any(), Time::new(now), tries);
            note(&schedule, &began, &context).await?;
            let report = Box::pin(attempt(&schedule, &backup, now, &context)).await?;
            conclude(&schedule, Some(&began), &report, &context).await?;
            Ok(Action::await_change())
        }
    }
}

/// Reads the backup. What cannot be read now, and may be later, is an error; everything else is a verdict.
async fn attempt(schedule: &Schedule, backup: &Backup, now: Timestamp, context: &Context) -> Result<Report> {
    let name = backup.name_any();
    tracing::info!(schedule = schedule.name_any(), backup = name, "Trying a backup");
    match prove::prove(schedule, backup, now, context).await {
        Ok(report) => Ok(report),
        Err(error @ (Error::Kubernetes { .. } | Error::Bucket { .. })) => Err(error),
        Err(error) => Ok(Report::failed(&name, now, &error.to_string())),
    }
}

/// Says what came of it: in the bucket beside the backup, on the Schedule, in an Event if it is bad, and in the metrics.
async fn conclude(schedule: &Schedule, before: Option<&Drilled>, report: &Report, context: &Context) -> Result<()> {
    let (name, drilled) = (schedule.name_any(), Drilled::ended(before, report));
    if report.verdict == Verdict::Failed {
        let problem = report.problem();
        tracing::error!(schedule = name, backup = report.backup, problem, "A backup cannot be restored whole");
        context.tell(schedule, "DrillFailed", format!("backup {}: {problem}", report.backup)).await;
    } else {
        tracing::info!(schedule = name, backup = report.backup, verdict = %report.verdict, "Tried a backup");
    }
    store(report, context).await?;
    note(schedule, &drilled, context).await?;
    context.metrics.drills.told(&name, Some(&drilled));
    Ok(())
}

/// Stores the verdict beside the backup. A store that takes nothing must not keep the verdict from the Schedule.
async fn store(report: &Report, context: &Context) -> Result<()> {
    let Some(backup) = context.get::<Backup>(&report.backup).await? else { return Ok(()) };
    let location = backup.spec.storage_location.unwrap_or_default();
    let Some(location) = context.get::<BackupStorageLocation>(&location).await? else { return Ok(()) };
    let body = serde_json::to_vec(report).map_err(|_| Error::Broken("the writing of a verdict"))?;
    let mut files = Files::new(Place::open(&location, context).await?).with_patience(PATIENCE);
    if let Err(error) = files.put(&layout::drill_verdict(&report.backup), body).await {
        tracing::warn!(backup = report.backup, %error, "The verdict of a drill cannot be stored");
    }
    Ok(())
}

async fn note(schedule: &Schedule, drilled: &Drilled, context: &Context) -> Result<()> {
    let text = serde_json::to_string(drilled).map_err(|_| Error::Broken("the writing of a verdict"))?;
    let fields = json!({ "metadata": { "annotations": { own::DRILLED: text } } });
    patch::merge::<Schedule>(context, &schedule.name_any(), &fields).await
}
