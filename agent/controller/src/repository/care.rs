//! The daily prune of each repository, by the server that acts: when it is due, what it did, and what it says in the BackupRepository.
//!
//! A prune of the engine takes no lock and may stop anywhere, so nothing has to be undone after a server that died.

pub(crate) mod metrics;

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, ResourceExt as _,
    runtime::{Controller, controller::Action, watcher},
};
use serde_json::{Value, json};
use trysail_api::{
    backup_repository::{
        BackupRepository, BackupRepositoryPhase, BackupRepositoryStatus, MaintenanceResult, MaintenanceRun,
    },
    backup_storage_location::{AccessMode, BackupStorageLocation, LocationPhase},
    time::Time,
    transfer::UploaderType,
};
use trysail_repository::{
    prune::{self, Plan, Prune, Report},
    store::{Error as StoreError, each},
};

use super::{Opened, open};
use crate::{
    Error, Result,
    context::{Context, now},
    drive::{Guarded, Pace, at, drive},
    patch,
};

/// One repository after the other: what a prune holds in memory grows with the repository.
const PACE: Pace = Pace { concurrency: 1, debounce: Duration::from_millis(500) };

/// How often a repository is pruned whose object does not say.
const FREQUENCY: SignedDuration = SignedDuration::from_hours(24);

/// Pause after a prune that failed.
const AFTER_FAILURE: SignedDuration = SignedDuration::from_hours(1);

/// Pause before a repository is looked at again that cannot be pruned now.
const RETRY: Duration = Duration::from_hours(1);

/// Where all objects of a repository lie. Source: `FORMAT.md` §2.
const REPOSITORY: &str = "v1/";

/// Runs that the status keeps. Source: Velero `pkg/controller/backup_repository_controller.go`.
const RUNS_MAX: usize = 3;

/// What is to be done about a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing can be done: there is no location, or it cannot be written.
    Nothing,
    /// It is due then.
    Wait(Timestamp),
    /// Prune it.
    Prune,
}

/// Looks after all repositories for ever.
pub(crate) async fn run(context: Arc<Context>) {
    let api: Api<Guarded<BackupRepository>> = context.api();
    let controller = Controller::new(api, watcher::Config::default());
    drive("backup-repo", controller, PACE, reconcile, context).await;
}

async fn reconcile(object: Arc<BackupRepository>, context: Arc<Context>) -> Result<Action> {
    let now = now();
    let location: Option<BackupStorageLocation> = context.get(&object.spec.backup_storage_location).await?;
    match decide(&object, location.as_ref(), now) {
        Step::Nothing => Ok(Action::requeue(RETRY)),
        Step::Wait(until) => Ok(at(until, now)),
        Step::Prune => {
            if let Some(location) = location {
                care(&object, &location, &context).await?;
            }
            Ok(Action::await_change())
        }
    }
}

/// Pure.
fn decide(object: &BackupRepository, location: Option<&BackupStorageLocation>, now: Timestamp) -> Step {
    let is_writable = |location: &BackupStorageLocation| {
        let phase = location.status.as_ref().and_then(|status| status.phase);
        phase == Some(LocationPhase::Available) && location.spec.access_mode != Some(AccessMode::ReadOnly)
    };
    let status = object.status.clone().unwrap_or_default();
    if !location.is_some_and(is_writable) || status.phase != Some(BackupRepositoryPhase::Ready) {
        return Step::Nothing;
    }
    let due = due(&status, frequency(object));
    if due <= now { Step::Prune } else { Step::Wait(due) }
}

fn frequency(object: &BackupRepository) -> SignedDuration {
    let own = SignedDuration::from(&object.spec.maintenance_frequency);
    if own.is_positive() { own } else { FREQUENCY }
}

/// When a repository is due: some time after the last prune that succeeded, but not soon after one that failed.
fn due(status: &BackupRepositoryStatus, frequency: SignedDuration) -> Timestamp {
    let after = |at: Time, pause: SignedDuration| at.timestamp().checked_add(pause).unwrap_or(Timestamp::MAX);
    let last = status.recent_maintenance.as_ref().and_then(|runs| runs.last());
    let failed = last.filter(|run| run.result == Some(MaintenanceResult::Failed));
    let retry = failed.and_then(|run| run.complete_timestamp).map(|at| after(at, AFTER_FAILURE));
    let regular = status.last_maintenance_time.map(|at| after(at, frequency));
    regular.max(retry).unwrap_or(Timestamp::MIN)
}

/// Prunes a repository and says what came of it.
async fn care(object: &BackupRepository, location: &BackupStorageLocation, context: &Context) -> Result<()> {
    let name = object.name_any();
    let began = now();
    let uploader = object.spec.repository_type.unwrap_or(UploaderType::Kopia);
    let opened = open(context, location, &object.spec.volume_namespace, uploader).await;
    let done = match opened {
        Ok(Some(opened)) => {
            let done = prune(&opened).await;
            if let Ok(bytes) = stored_bytes(&opened).await {
                context.metrics.care.stored(&location.name_any(), &name, bytes);
            }
            done
        }
        Ok(None) => Ok(None),
        Err(error @ Error::Kubernetes { .. }) => return Err(error),
        Err(error) => Err(error),
    };
    let ended = now();
    let seconds = ended.duration_since(began).as_secs_f64();
    match &done {
        Ok(Some((plan, report))) => {
            context.metrics.care.pruned(&name, plan, report, ended);
            tracing::info!(
                repository = name,
                condemned_bytes = report.condemned_bytes,
                deleted_bytes = report.swept_bytes,
                "Pruned a repository"
            );
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(repository = name, %error, "A repository could not be pruned"),
    }
    context.metrics.care.ended(&name, done.is_ok(), seconds);
    let failure = done.err().map(|error| error.to_string());
    let fields = fields(object, failure, began, ended);
    patch::merge::<BackupRepository>(context, &name, &json!({ "status": fields })).await
}

async fn prune(opened: &Opened) -> Result<Option<(Plan, Report)>> {
    let failed =
        |error: prune::Error| Error::Object { what: format!("prune of {}", opened.name), reason: error.to_string() };
    let prune = Prune::of(&opened.repository).map_err(failed)?;
    let plan = prune.plan(now()).await.map_err(failed)?;
    let report = prune.execute(&plan).await.map_err(failed)?;
    if report.ballast_spent {
        prune::create_ballast(&**opened.repository.store()).await.map_err(failed)?;
    }
    Ok(Some((plan, report)))
}

/// What all objects of a repository take.
async fn stored_bytes(opened: &Opened) -> Result<u64, StoreError> {
    let mut bytes = 0;
    each(&**opened.repository.store(), REPOSITORY, |object| bytes += object.size).await?;
    Ok(bytes)
}

/// The fields of the status after a run. Pure.
fn fields(object: &BackupRepository, failure: Option<String>, began: Timestamp, ended: Timestamp) -> Value {
    let mut runs = object.status.clone().unwrap_or_default().recent_maintenance.unwrap_or_default();
    let result = if failure.is_some() { MaintenanceResult::Failed } else { MaintenanceResult::Succeeded };
    runs.push(MaintenanceRun {
        complete_timestamp: Some(ended.into()),
        message: failure,
        result: Some(result),
        start_timestamp: Some(began.into()),
    });
    runs.drain(..runs.len().saturating_sub(RUNS_MAX));
    let mut fields = json!({ "recentMaintenance": runs });
    if result == MaintenanceResult::Succeeded {
        fields["lastMaintenanceTime"] = json!(Time::new(ended));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(frequency: &str, status: &Value) -> BackupRepository {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "BackupRepository", "metadata": { "name": "app1-default-kopia" },
            "spec": {
                "backupStorageLocation": "default", "maintenanceFrequency": frequency, "repositoryType": "kopia",
                "volumeNamespace": "app1",
            },
            "status": status,
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

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn step(object: &BackupRepository) -> Step {
        decide(object, Some(&location("ReadWrite", "Available")), at("2026-11-21T06:00:00Z"))
    }

    #[test]
    fn a_repository_is_pruned_each_day_or_as_its_object_says() {
        let last = |time: &str| json!({ "phase": "Ready", "lastMaintenanceTime": time });
        let soon = Step::Wait(at("2026-11-21T06:00:01Z"));
        assert_eq!(step(&object("24h", &last("2026-11-20T06:00:01Z"))), soon);
        assert_eq!(step(&object("24h", &last("2026-11-20T06:00:00Z"))), Step::Prune);
        assert_eq!(step(&object("1h", &last("2026-11-21T05:00:00Z"))), Step::Prune);
        assert_eq!(step(&object("0s", &last("2026-11-20T06:00:01Z"))), soon);
        assert_eq!(step(&object("24h", &json!({ "phase": "Ready" }))), Step::Prune);
    }

    #[test]
    fn a_prune_that_failed_is_tried_again_after_an_hour() {
        let run = json!({ "result": "Failed", "completeTimestamp": "2026-11-21T05:30:00Z" });
        let status = |run: &Value| json!({ "phase": "Ready", "lastMaintenanceTime": "2026-11-01T00:00:00Z", "recentMaintenance": [run] });
        assert_eq!(step(&object("24h", &status(&run))), Step::Wait(at("2026-11-21T06:30:00Z")));
        let run = json!({ "result": "Failed", "completeTimestamp": "2026-11-21T05:00:00Z" });
        assert_eq!(step(&object("24h", &status(&run))), Step::Prune);
    }

    #[test]
    fn what_cannot_be_written_or_used_is_not_pruned() {
        let ready = object("24h", &json!({ "phase": "Ready" }));
        let now = at("2026-11-21T06:00:00Z");
        let found = [
            decide(&ready, None, now),
            decide(&ready, Some(&location("ReadOnly", "Available")), now),
            decide(&ready, Some(&location("ReadWrite", "Unavailable")), now),
            step(&object("24h", &json!({ "phase": "NotReady" }))),
        ];
        assert_eq!(found, [Step::Nothing; 4]);
    }

    #[test]
    fn the_last_three_runs_are_kept_and_only_a_success_moves_the_time() {
        let run =
            |second: u32| json!({ "result": "Succeeded", "completeTimestamp": format!("2026-11-21T05:00:0{second}Z") });
        let object = object("24h", &json!({ "phase": "Ready", "recentMaintenance": [run(1), run(2), run(3)] }));
        let (began, ended) = (at("2026-11-21T06:00:00Z"), at("2026-11-21T06:00:09Z"));
        let failed = json!({
            "result": "Failed", "message": "why", "startTimestamp": "2026-11-21T06:00:00Z",
            "completeTimestamp": "2026-11-21T06:00:09Z",
        });
        let told = fields(&object, Some("why".to_owned()), began, ended);
        assert_eq!(told, json!({ "recentMaintenance": [run(2), run(3), failed] }));
        let told = fields(&object, None, began, ended);
        assert_eq!(told["lastMaintenanceTime"], "2026-11-21T06:00:09Z");
    }
}
