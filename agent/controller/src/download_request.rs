//! Answers the wish for a file of a Backup or Restore with a URL by which it can be fetched for ten minutes.
//!
//! Whether the file exists is not looked at: who fetches it is told by the store. A request whose Backup, Restore or location
//! is not there stays as it is until it ends, as with Velero: the command line says so after its own time limit.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, ResourceExt as _,
    api::DeleteParams,
    runtime::{Controller, controller::Action, watcher},
};
use serde_json::{Value, json};
use trysail_api::{
    backup::Backup,
    backup_storage_location::BackupStorageLocation,
    download_request::{DownloadRequest, DownloadTarget, RequestPhase},
    restore::Restore,
    time::Time,
};

use crate::{
    Error, Result,
    bucket::{Place, layout},
    context::{Context, now},
    drive::{Guarded, PROMPT, drive},
    error::unless,
    location, patch,
};

/// How long a URL and its request live, in seconds. Source: Velero `pkg/controller/download_request_controller.go`.
const LIFE_SECONDS: u32 = 600;

/// Pause before a request is tried again whose Backup or location was not there: they may come.
const RETRY: Duration = Duration::from_secs(30);

/// What is to be done about a request.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Sign a URL.
    Answer,
    /// Its time is over.
    Delete,
    /// It is answered; look again after that time.
    Keep(SignedDuration),
}

/// Answers all requests for ever.
pub(crate) async fn run(context: Arc<Context>) {
    let api: Api<Guarded<DownloadRequest>> = context.api();
    let controller = Controller::new(api, watcher::Config::default());
    drive("download-request", controller, PROMPT, reconcile, context).await;
}

async fn reconcile(request: Arc<DownloadRequest>, context: Arc<Context>) -> Result<Action> {
    let name = request.name_any();
    let now = now();
    match decide(&request, now) {
        Step::Answer => {
            let url = gather(&request.spec.target, &context).await?;
            let is_answered = url.is_some();
            let fields = answer(&request, url, now);
            if !fields.is_null() {
                patch::merge::<DownloadRequest>(&context, &name, &json!({ "status": fields })).await?;
            }
            Ok(if is_answered { Action::await_change() } else { Action::requeue(RETRY) })
        }
        Step::Delete => {
            let deleted = context.api::<DownloadRequest>().delete(&name, &DeleteParams::default()).await;
            unless(&[404], deleted).map_err(Error::kubernetes(format!("delete download request {name}")))?;
            Ok(Action::await_change())
        }
        Step::Keep(left) => Ok(Action::requeue(Duration::try_from(left).unwrap_or_default())),
    }
}

fn decide(request: &DownloadRequest, now: Timestamp) -> Step {
    let status = request.status.clone().unwrap_or_default();
    let left = status.expiration.map(|end| end.timestamp().duration_since(now));
    match left {
        Some(left) if left <= SignedDuration::ZERO => Step::Delete,
        Some(left) if status.phase == Some(RequestPhase::Processed) => Step::Keep(left),
        _ => Step::Answer,
    }
}

/// The signed URL; none where something on the way to the file is not there.
async fn gather(target: &DownloadTarget, context: &Context) -> Result<Option<String>> {
    let backup = if target.kind.is_of_restore() {
        let Some(restore) = context.get::<Restore>(&target.name).await? else { return Ok(None) };
        restore.spec.backup_name.unwrap_or_default()
    } else {
        target.name.clone()
    };
    let Some(backup) = context.get::<Backup>(&backup).await? else { return Ok(None) };
    let locations: Vec<BackupStorageLocation> = context.list("").await?;
    let named = backup.spec.storage_location.filter(|name| !name.is_empty());
    let found = match named {
        Some(name) => locations.iter().find(|location| location.name_any() == name),
        None => location::default_of(&locations, &context.settings.default_location),
    };
    let Some(found) = found else { return Ok(None) };
    let place = Place::open(found, context).await?;
    let Some(key) = layout::key(&layout::download(target.kind, &target.name)) else { return Ok(None) };
    let url = place.store.presigned_get(&key, LIFE_SECONDS, place.public_url.as_deref()).await;
    url.map(Some).map_err(|error| place.error(error))
}

/// The fields of the status. A request that cannot be answered gets its end, once.
fn answer(request: &DownloadRequest, url: Option<String>, now: Timestamp) -> Value {
    let end = Time::new(now.saturating_add(SignedDuration::from_secs(LIFE_SECONDS.into())).unwrap_or(Timestamp::MAX));
    match url {
        Some(url) => json!({ "phase": RequestPhase::Processed, "downloadURL": url, "expiration": end }),
        None if request.status.as_ref().is_none_or(|status| status.expiration.is_none()) => {
            json!({ "expiration": end })
        }
        None => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(status: &Value) -> DownloadRequest {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "DownloadRequest", "metadata": { "name": "b1-x" },
            "spec": { "target": { "kind": "BackupLog", "name": "b1" } }, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_request_is_answered_and_deleted_with_its_url() {
        let now: Timestamp = "2026-11-21T06:00:00Z".parse().unwrap();
        let at = |status: Value| decide(&request(&status), now);
        let processed = |end: &str| json!({ "phase": "Processed", "downloadURL": "u", "expiration": end });
        assert_eq!(at(Value::Null), Step::Answer);
        assert_eq!(at(processed("2026-11-21T06:10:00Z")), Step::Keep(SignedDuration::from_mins(10)));
        assert_eq!(at(processed("2026-11-21T06:00:00Z")), Step::Delete);
        assert_eq!(at(json!({ "expiration": "2026-11-21T06:00:01Z" })), Step::Answer);
        assert_eq!(at(json!({ "expiration": "2026-11-21T05:59:59Z" })), Step::Delete);
    }

    #[test]
    fn a_request_that_cannot_be_answered_is_given_an_end_and_no_second_one() {
        let now: Timestamp = "2026-11-21T06:00:00Z".parse().unwrap();
        let first = answer(&request(&Value::Null), None, now);
        assert_eq!(first, json!({ "expiration": "2026-11-21T06:10:00Z" }));
        assert_eq!(answer(&request(&first), None, now), Value::Null);
    }
}
