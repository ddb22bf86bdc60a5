//! Makes Backups when a Schedule says so. The rules are in `due`; this file connects them with the cluster.
//!
//! A Schedule is looked at when it changes, when one of its Backups does, and at the moment when it is next due. Its spec
//! stays as the user wrote it: that a time was passed over for `skipImmediately` stands in `status.lastSkipped`.

mod due;

use std::sync::Arc;

use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    api::PostParams,
    runtime::{Controller, controller::Action, reflector::ObjectRef, watcher},
};
use serde_json::{Value, json};
use trysail_api::{
    backup::Backup,
    names::{label, label_value},
    schedule::Schedule,
    time::Time,
};

use crate::{
    Error, Result,
    context::{Context, now},
    drive::{CALM, Guarded, at, drive},
    error::unless,
    patch,
};
use due::{Step, decide};

/// Looks after all Schedules for ever.
pub(crate) async fn run(context: Arc<Context>) {
    let api: Api<Guarded<Schedule>> = context.api();
    let backups: Api<Guarded<Backup>> = context.api();
    let namespace = context.settings.namespace.clone();
    let controller = Controller::new(api, watcher::Config::default()).watches(
        backups,
        watcher::Config::default().labels(label::SCHEDULE_NAME),
        move |backup| {
            let name = backup.labels().get(label::SCHEDULE_NAME);
            name.map(|name| ObjectRef::<Guarded<Schedule>>::new(name).within(&namespace))
        },
    );
    drive("schedule", controller, CALM, reconcile, context).await;
}

async fn reconcile(schedule: Arc<Schedule>, context: Arc<Context>) -> Result<Action> {
    let backups = gather(&schedule, &context).await?;
    let now = now();
    let step = decide(&schedule, &backups, context.settings.skip_immediately, now);
    act(&schedule, &step, &context).await?;
    report(&schedule, &step, &context).await?;
    Ok(step.next.map_or_else(Action::await_change, |next| at(next, now)))
}

/// The Backups of a Schedule.
async fn gather(schedule: &Schedule, context: &Context) -> Result<Vec<Backup>> {
    context.list(&format!("{}={}", label::SCHEDULE_NAME, label_value(&schedule.name_any()))).await
}

/// Makes the Backup that is due. One of that name is the one: then an earlier answer was lost.
async fn act(schedule: &Schedule, step: &Step, context: &Context) -> Result<()> {
    let Some(time) = step.make else { return Ok(()) };
    let backup = schedule.backup(time);
    let name = backup.name_any();
    let made = context.api::<Backup>().create(&PostParams::default(), &backup).await;
    unless(&[409], made).map_err(Error::kubernetes(format!("create backup {name}")))?;
    tracing::info!(backup = name, "Created a backup, which was due");
    Ok(())
}

async fn report(schedule: &Schedule, step: &Step, context: &Context) -> Result<()> {
    if let Some(seconds) = step.interval {
        context.metrics.interval(&schedule.name_any(), seconds);
    }
    let fields = fields(schedule, step);
    if fields.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok(());
    }
    patch::merge::<Schedule>(context, &schedule.name_any(), &json!({ "status": fields })).await
}

/// The fields of the status that change.
fn fields(schedule: &Schedule, step: &Step) -> Value {
    let old = schedule.status.clone().unwrap_or_default();
    let mut fields = json!({});
    if old.phase != step.phase {
        fields["phase"] = json!(step.phase);
    }
    if old.validation_errors.clone().unwrap_or_default() != step.problems {
        fields["validationErrors"] = if step.problems.is_empty() { Value::Null } else { json!(step.problems) };
    }
    if old.last_backup != step.last_backup {
        fields["lastBackup"] = json!(step.last_backup);
    }
    if old.last_skipped != step.last_skipped {
        fields["lastSkipped"] = json!(step.last_skipped);
    }
    fields
}

/// A moment as the status holds it.
fn time(at: Timestamp) -> Time {
    Time::new(at)
}

#[cfg(test)]
mod tests;
