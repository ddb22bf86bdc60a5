//! Asks for the deletion of Backups whose time is over. The deletion itself is another controller's.
//!
//! A Backup is looked at when it changes and at the moment at which it expires; nothing is polled.
//!
//! Source: Velero `pkg/controller/gc_controller.go`, but for one rule: the newest completed Backup of a Schedule that still
//! exists is kept beyond its time, so that a schedule that fails unseen does not delete the last copy.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    api::PostParams,
    runtime::{Controller, controller::Action, watcher},
};
use serde_json::{Value, json};
use trysail_api::{
    backup::{Backup, BackupPhase},
    backup_storage_location::{AccessMode, BackupStorageLocation, LocationPhase},
    delete_backup_request::{DeleteBackupRequest, DeleteBackupRequestPhase, DeleteBackupRequestSpec},
    names::{label, label_value, own},
    schedule::Schedule,
};

use crate::{
    Error, Result,
    context::{Context, now},
    drive::{CALM, Guarded, at, drive},
    location, patch,
};

/// Pause before an expired Backup is looked at again that cannot be deleted now. Source: Velero's garbage collection
/// every hour.
const RETRY: Duration = Duration::from_hours(1);

/// What the annotation says on a Backup that is kept.
const KEPT: &str = "KeptBeyondExpiration";

/// What there is to know of an expired Backup.
#[derive(Debug, Default)]
struct World {
    location: Option<BackupStorageLocation>,
    requests: Vec<DeleteBackupRequest>,
    /// Its Schedule, if that exists.
    schedule: Option<Schedule>,
    /// Other Backups of that Schedule.
    siblings: Vec<Backup>,
}

/// What is to be done about a Backup.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Its time is not over.
    Wait(Timestamp),
    /// It never expires, or is being deleted already.
    Nothing,
    /// Its deletion is asked for, and has not ended.
    Asked,
    /// It is the last good one of its Schedule: say so.
    Keep,
    /// It cannot be deleted; the word goes into a label.
    Hinder(&'static str),
    /// Ask for its deletion.
    Delete,
}

/// Looks after all Backups for ever.
pub(crate) async fn run(context: Arc<Context>) {
    let api: Api<Guarded<Backup>> = context.api();
    let controller = Controller::new(api, watcher::Config::default());
    drive("gc", controller, CALM, reconcile, context).await;
}

async fn reconcile(backup: Arc<Backup>, context: Arc<Context>) -> Result<Action> {
    let now = now();
    let mut step = due(&backup, now);
    if step == Step::Delete {
        let world = gather(&backup, &context).await?;
        step = decide(&backup, &world, context.settings.keep_newest);
    }
    act(&backup, &step, &context).await?;
    Ok(match step {
        Step::Wait(until) => at(until, now),
        Step::Nothing => Action::await_change(),
        Step::Asked | Step::Keep | Step::Hinder(_) | Step::Delete => Action::requeue(RETRY),
    })
}

/// Whether a Backup's time is over.
fn due(backup: &Backup, now: Timestamp) -> Step {
    let status = backup.status.as_ref();
    let Some(expiration) = status.and_then(|status| status.expiration) else { return Step::Nothing };
    if backup.metadata.deletion_timestamp.is_some() || status.and_then(|s| s.phase) == Some(BackupPhase::Deleting) {
        return Step::Nothing;
    }
    if expiration.timestamp() > now { Step::Wait(expiration.timestamp()) } else { Step::Delete }
}

async fn gather(backup: &Backup, context: &Context) -> Result<World> {
    let locations: Vec<BackupStorageLocation> = context.list("").await?;
    let named = backup.spec.storage_location.as_ref().filter(|name| !name.is_empty());
    let location = match named {
        Some(name) => locations.iter().find(|location| location.name_any() == *name),
        None => location::default_of(&locations, &context.settings.default_location),
    };
    let of_backup = format!("{}={}", label::BACKUP_NAME, label_value(&backup.name_any()));
    let requests = context.list(&of_backup).await?;
    let (mut schedule, mut siblings) = (None, Vec::new());
    if let Some(value) = backup.labels().get(label::SCHEDULE_NAME) {
        let schedules: Vec<Schedule> = context.list("").await?;
        schedule = schedules.into_iter().find(|schedule| label_value(&schedule.name_any()) == *value);
        siblings = context.list(&format!("{}={value}", label::SCHEDULE_NAME)).await?;
        siblings.retain(|sibling: &Backup| sibling.name_any() != backup.name_any());
    }
    Ok(World { location: location.cloned(), requests, schedule, siblings })
}

/// Decides about an expired Backup. Pure.
fn decide(backup: &Backup, world: &World, keeps_newest: bool) -> Step {
    if keeps_newest && is_last_good(backup, world) {
        return Step::Keep;
    }
    let Some(location) = &world.location else { return Step::Hinder("BSLNotFound") };
    let phase = location.status.as_ref().and_then(|status| status.phase);
    if phase == Some(LocationPhase::Unavailable) {
        return Step::Hinder("BSLUnavailable");
    }
    if location.spec.access_mode == Some(AccessMode::ReadOnly) {
        return Step::Hinder("BSLReadOnly");
    }
    let is_asked = |request: &DeleteBackupRequest| {
        let phase = request.status.as_ref().and_then(|status| status.phase);
        phase != Some(DeleteBackupRequestPhase::Processed)
    };
    if world.requests.iter().any(is_asked) { Step::Asked } else { Step::Delete }
}

/// Whether a Backup is the newest completed one of a Schedule that exists.
fn is_last_good(backup: &Backup, world: &World) -> bool {
    let began = |backup: &Backup| {
        let status = backup.status.as_ref().filter(|status| status.phase == Some(BackupPhase::Completed))?;
        let began = status.start_timestamp.map(trysail_api::time::Time::timestamp);
        Some((began, backup.name_any()))
    };
    let ours = began(backup);
    world.schedule.is_some()
        && ours.is_some()
        && world.siblings.iter().filter_map(began).all(|other| Some(other) < ours)
}

async fn act(backup: &Backup, step: &Step, context: &Context) -> Result<()> {
    let name = backup.name_any();
    match step {
        Step::Wait(_) | Step::Nothing | Step::Asked => Ok(()),
        Step::Keep => {
            let says = "its time is over, and it is the newest completed backup of its schedule";
            if backup.annotations().get(own::CONDITION).map(String::as_str) == Some(KEPT) {
                return Ok(());
            }
            tracing::info!(reason = says, "Kept a backup beyond its time");
            context.tell(backup, KEPT, format!("{says}; it is deleted after the next one completes")).await;
            merge(context, &name, "annotations", own::CONDITION, Some(KEPT)).await
        }
        Step::Hinder(why) => {
            if backup.labels().get(label::GC_FAILURE).map(String::as_str) == Some(why) {
                return Ok(());
            }
            merge(context, &name, "labels", label::GC_FAILURE, Some(why)).await
        }
        Step::Delete => {
            if backup.labels().contains_key(label::GC_FAILURE) {
                merge(context, &name, "labels", label::GC_FAILURE, None).await?;
            }
            let made = context.api().create(&PostParams::default(), &request(backup)).await;
            made.map_err(Error::kubernetes(format!("create delete backup request for {name}")))?;
            tracing::info!("Asked for the deletion of a backup whose time is over");
            Ok(())
        }
    }
}

async fn merge(context: &Context, name: &str, map: &str, key: &str, value: Option<&str>) -> Result<()> {
    let value = value.map_or(Value::Null, Value::from);
    patch::merge::<Backup>(context, name, &json!({ "metadata": { map: { key: value } } })).await
}

/// The request that `velero backup delete` makes. Source: Velero `pkg/backup/delete_helpers.go`.
fn request(backup: &Backup) -> DeleteBackupRequest {
    let name = backup.name_any();
    let mut request = DeleteBackupRequest::new("", DeleteBackupRequestSpec { backup_name: name.clone() });
    request.metadata.name = None;
    request.metadata.generate_name = Some(format!("{name}-"));
    let labels = [
        (label::BACKUP_NAME.to_owned(), label_value(&name)),
        (label::BACKUP_UID.to_owned(), backup.uid().unwrap_or_default()),
    ];
    request.metadata.labels = Some(labels.into());
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(name: &str, phase: &str, began: &str) -> Backup {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "Backup",
            "metadata": { "name": name, "uid": "u-1", "labels": { "velero.io/schedule-name": "daily" } },
            "spec": { "storageLocation": "default" },
            "status": { "phase": phase, "startTimestamp": began, "expiration": "2026-11-21T06:00:00Z" },
        }))
        .unwrap()
    }

    fn location(mode: &str, phase: &str) -> BackupStorageLocation {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": { "name": "default" },
            "spec": { "provider": "aws", "objectStorage": { "bucket": "b" }, "accessMode": mode },
            "status": { "phase": phase },
        }))
        .unwrap()
    }

    fn world() -> World {
        World { location: Some(location("ReadWrite", "Available")), ..World::default() }
    }

    fn daily() -> Option<Schedule> {
        let spec = json!({ "schedule": "@daily", "template": {} });
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "Schedule", "metadata": { "name": "daily" }, "spec": spec,
        }))
        .unwrap()
    }

    fn request_in(phase: &str) -> DeleteBackupRequest {
        let mut request = request(&backup("b1", "Completed", "2026-10-01T00:00:00Z"));
        request.status = serde_json::from_value(json!({ "phase": phase })).unwrap();
        request
    }

    #[test]
    fn a_backup_is_looked_at_when_it_expires() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let b1 = backup("b1", "Completed", "2026-10-01T00:00:00Z");
        assert_eq!(due(&b1, at("2026-11-21T05:59:59Z")), Step::Wait(at("2026-11-21T06:00:00Z")));
        assert_eq!(due(&b1, at("2026-11-21T06:00:00Z")), Step::Delete);
        assert_eq!(due(&backup("b1", "Deleting", "2026-10-01T00:00:00Z"), at("2027-01-01T00:00:00Z")), Step::Nothing);
    }

    #[test]
    fn the_last_good_backup_of_a_schedule_is_kept_and_no_other() {
        let b1 = backup("b1", "Completed", "2026-10-02T00:00:00Z");
        let with = |schedule: Option<Schedule>, siblings: Vec<Backup>| World { schedule, siblings, ..world() };
        let failed = || vec![backup("b2", "PartiallyFailed", "2026-10-03T00:00:00Z")];
        let newer = || vec![backup("b2", "Completed", "2026-10-03T00:00:00Z")];
        assert_eq!(decide(&b1, &with(daily(), failed()), true), Step::Keep);
        assert_eq!(decide(&b1, &with(daily(), newer()), true), Step::Delete);
        assert_eq!(decide(&b1, &with(None, failed()), true), Step::Delete);
        assert_eq!(decide(&b1, &with(daily(), failed()), false), Step::Delete);
        let b0 = backup("b0", "Failed", "2026-10-04T00:00:00Z");
        assert_eq!(decide(&b0, &with(daily(), vec![b1]), true), Step::Delete);
    }

    #[test]
    fn a_location_that_cannot_be_written_hinders_and_a_second_request_is_not_made() {
        let b1 = backup("b1", "Failed", "2026-10-01T00:00:00Z");
        let at = |location: Option<BackupStorageLocation>| decide(&b1, &World { location, ..World::default() }, true);
        assert_eq!(at(None), Step::Hinder("BSLNotFound"));
        assert_eq!(at(Some(location("ReadWrite", "Unavailable"))), Step::Hinder("BSLUnavailable"));
        assert_eq!(at(Some(location("ReadOnly", "Available"))), Step::Hinder("BSLReadOnly"));
        let asked = |phase: &str| decide(&b1, &World { requests: vec![request_in(phase)], ..world() }, true);
        assert_eq!((asked("New"), asked("InProgress"), asked("Processed")), (Step::Asked, Step::Asked, Step::Delete));
    }

    #[test]
    fn the_request_is_the_one_that_the_command_line_makes() {
        let made = serde_json::to_value(request(&backup("b1", "Completed", "2026-10-01T00:00:00Z"))).unwrap();
        let labels = json!({ "velero.io/backup-name": "b1", "velero.io/backup-uid": "u-1" });
        let expected = json!({
            "apiVersion": "velero.io/v1", "kind": "DeleteBackupRequest",
            "metadata": { "generateName": "b1-", "labels": labels }, "spec": { "backupName": "b1" },
        });
        assert_eq!(made, expected);
    }
}
