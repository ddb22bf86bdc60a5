//! Deletes a Backup and everything that is its own, because a DeleteBackupRequest asks for it: what is refused and what goes on is
//! decided here, `remove` deletes.
//!
//! Every step can be done again, so a request whose server died is gone on with by the next one.
//!
//! Source: Velero `pkg/controller/backup_deletion_controller.go`, whose words are kept.

mod remove;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, ResourceExt as _,
    api::DeleteParams,
    runtime::{Controller, controller::Action, watcher},
};
use serde_json::json;
use trysail_api::{
    backup::{Backup, BackupPhase},
    backup_storage_location::{AccessMode, BackupStorageLocation, LocationPhase},
    delete_backup_request::{DeleteBackupRequest, DeleteBackupRequestPhase},
    names::{label, label_value},
};

use crate::{
    Error, Result,
    context::{Context, now},
    drive::{Guarded, PROMPT, at, drive},
    error::unless,
    location, patch,
};

/// How long a request is kept whose Backup could not be deleted. Source: Velero, `deleteBackupRequestMaxAge`.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Pause before a Backup is looked at again that is to be deleted and is still there.
const RETRY: Duration = Duration::from_secs(10);

/// What there is to know.
#[derive(Debug, Default)]
struct World {
    backup: Option<Backup>,
    /// Where it lies.
    location: Option<BackupStorageLocation>,
}

/// What is to be done about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// It has ended; it is kept until then.
    Keep(Timestamp),
    /// Its time is over.
    Forget,
    /// The Backup cannot be deleted, for this reason.
    Refuse(String),
    /// Delete the Backup.
    Delete,
}

/// Looks after all requests for ever.
pub(crate) async fn run(context: Arc<Context>) {
    let api: Api<Guarded<DeleteBackupRequest>> = context.api();
    let controller = Controller::new(api, watcher::Config::default());
    drive("backup-deletion", controller, PROMPT, reconcile, context).await;
}

async fn reconcile(request: Arc<DeleteBackupRequest>, context: Arc<Context>) -> Result<Action> {
    let now = now();
    let world = gather(&request, &context).await?;
    match decide(&request, &world, now) {
        Step::Keep(until) => return Ok(at(until, now)),
        Step::Forget => delete(&request.name_any(), &context).await?,
        Step::Refuse(reason) => {
            let errors = [format!("backup deletion failed: {reason}")];
            process(&request, &errors, &context).await?;
        }
        Step::Delete => {
            if let World { backup: Some(backup), location: Some(location) } = world {
                return carry_out(&request, &backup, &location, &context).await;
            }
        }
    }
    Ok(Action::await_change())
}

async fn gather(request: &DeleteBackupRequest, context: &Context) -> Result<World> {
    let name = &request.spec.backup_name;
    if name.is_empty() {
        return Ok(World::default());
    }
    let Some(backup) = context.get::<Backup>(name).await? else { return Ok(World::default()) };
    let locations: Vec<BackupStorageLocation> = context.list("").await?;
    let location = match backup.spec.storage_location.as_ref().filter(|name| !name.is_empty()) {
        Some(name) => locations.iter().find(|location| location.name_any() == *name),
        None => location::default_of(&locations, &context.settings.default_location),
    };
    Ok(World { location: location.cloned(), backup: Some(backup) })
}

/// Pure.
fn decide(request: &DeleteBackupRequest, world: &World, now: Timestamp) -> Step {
    let phase = request.status.as_ref().and_then(|status| status.phase);
    if phase == Some(DeleteBackupRequestPhase::Processed) {
        let made = request.metadata.creation_timestamp.as_ref().map_or(now, |at| at.0);
        let until = made.checked_add(KEPT).unwrap_or(Timestamp::MAX);
        return if until > now { Step::Keep(until) } else { Step::Forget };
    }
    if request.spec.backup_name.is_empty() {
        return Step::Refuse("spec.backupName is required".to_owned());
    }
    let Some(backup) = &world.backup else {
        // Whoever began has deleted it.
        let began = phase == Some(DeleteBackupRequestPhase::InProgress);
        return if began { Step::Forget } else { Step::Refuse("backup not found".to_owned()) };
    };
    if is_running(backup) {
        return Step::Refuse("backup is still in progress".to_owned());
    }
    let Some(location) = &world.location else {
        let name = backup.spec.storage_location.as_deref().unwrap_or_default();
        return Step::Refuse(format!("backup storage location {name} not found"));
    };
    let cannot = |state: &str| {
        let name = location.name_any();
        Step::Refuse(format!("cannot delete backup because backup storage location {name} is currently in {state}"))
    };
    if location.spec.access_mode == Some(AccessMode::ReadOnly) {
        return cannot("read-only mode");
    }
    if location.status.as_ref().and_then(|status| status.phase) == Some(LocationPhase::Unavailable) {
        return cannot("Unavailable state");
    }
    Step::Delete
}

/// Whether somebody writes it.
fn is_running(backup: &Backup) -> bool {
    use BackupPhase as Phase;
    let phase = backup.status.as_ref().and_then(|status| status.phase).unwrap_or(Phase::New);
    match phase {
        Phase::InProgress
        | Phase::WaitingForPluginOperations
        | Phase::WaitingForPluginOperationsPartiallyFailed
        | Phase::Finalizing
        | Phase::FinalizingPartiallyFailed => true,
        Phase::New
        | Phase::Queued
        | Phase::ReadyToStart
        | Phase::FailedValidation
        | Phase::Completed
        | Phase::PartiallyFailed
        | Phase::Failed
        | Phase::Deleting => false,
    }
}

async fn carry_out(
    request: &DeleteBackupRequest,
    backup: &Backup,
    location: &BackupStorageLocation,
    context: &Context,
) -> Result<Action> {
    let (name, schedule) = (backup.name_any(), schedule_of(backup));
    if request.status.as_ref().and_then(|status| status.phase) != Some(DeleteBackupRequestPhase::InProgress) {
        begin(request, backup, context).await?;
        context.metrics.of_schedule("backup_deletion_attempt", schedule);
    }
    let removed = remove::all(backup, location, context).await?;
    if removed.errors.is_empty() && removed.is_waiting {
        return Ok(Action::requeue(RETRY));
    }
    if removed.errors.is_empty() {
        let deleted = context.api::<Backup>().delete(&name, &DeleteParams::default()).await;
        unless(&[404], deleted).map_err(Error::kubernetes(format!("delete Backup {name}")))?;
        context.metrics.of_schedule("backup_deletion_success", schedule);
        tracing::info!(backup = name, "Deleted a backup");
        process(request, &[], context).await?;
        forget_others(request, &name, None, context).await?;
        delete(&request.name_any(), context).await?;
    } else {
        context.metrics.of_schedule("backup_deletion_failure", schedule);
        tracing::warn!(backup = name, errors = removed.errors.join("; "), "A backup could not be deleted whole");
        process(request, &removed.errors, context).await?;
    }
    Ok(Action::await_change())
}

/// Says on the request and on the Backup that it is being deleted, and drops earlier requests for it.
async fn begin(request: &DeleteBackupRequest, backup: &Backup, context: &Context) -> Result<()> {
    let name = backup.name_any();
    forget_others(request, &name, Some(DeleteBackupRequestPhase::Processed), context).await?;
    let labels = json!({ label::BACKUP_NAME: label_value(&name), label::BACKUP_UID: backup.uid() });
    let status = json!({ "phase": DeleteBackupRequestPhase::InProgress });
    let fields = json!({ "metadata": { "labels": labels }, "status": status });
    patch::merge::<DeleteBackupRequest>(context, &request.name_any(), &fields).await?;
    patch::merge::<Backup>(context, &name, &json!({ "status": { "phase": BackupPhase::Deleting } })).await
}

/// Deletes other requests for a Backup: all of them, or those of a phase.
async fn forget_others(
    request: &DeleteBackupRequest,
    backup: &str,
    of: Option<DeleteBackupRequestPhase>,
    context: &Context,
) -> Result<()> {
    let all: Vec<DeleteBackupRequest> = context.list("").await?;
    for other in all {
        let phase = other.status.as_ref().and_then(|status| status.phase);
        let is_meant = other.spec.backup_name == backup && (of.is_none() || phase == of);
        if is_meant && other.name_any() != request.name_any() {
            delete(&other.name_any(), context).await?;
        }
    }
    Ok(())
}

async fn process(request: &DeleteBackupRequest, errors: &[String], context: &Context) -> Result<()> {
    let errors = if errors.is_empty() { serde_json::Value::Null } else { json!(errors) };
    let fields = json!({ "status": { "phase": DeleteBackupRequestPhase::Processed, "errors": errors } });
    patch::merge::<DeleteBackupRequest>(context, &request.name_any(), &fields).await
}

async fn delete(request: &str, context: &Context) -> Result<()> {
    let deleted = context.api::<DeleteBackupRequest>().delete(request, &DeleteParams::default()).await;
    unless(&[404], deleted).map_err(Error::kubernetes(format!("delete DeleteBackupRequest {request}")))
}

/// The schedule that a Backup's series name.
fn schedule_of(backup: &Backup) -> &str {
    backup.labels().get(label::SCHEDULE_NAME).map_or("", String::as_str)
}
