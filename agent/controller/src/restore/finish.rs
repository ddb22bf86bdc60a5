//! The end of a Restore: its files in the bucket, then its status.

use std::{io::Write as _, time::Duration};

use flate2::{Compression, write::GzEncoder};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::sleep;
use trysail_api::{
    download_request::DownloadTargetKind,
    pod_volume_restore::PodVolumeRestore,
    restore::{Restore, RestorePhase, RestoreProgress, RestoreStatus},
};
use trysail_cluster::problem::Place as ProblemPlace;

use super::run::{Outcome, Run, count};
use crate::{
    Error, Result,
    bucket::{Place, layout, write::Files},
    patch,
    repository::snapshot_id,
    results::Results,
};

/// How long the files of a Restore are tried to be stored.
const PATIENCE: Duration = Duration::from_mins(1);

/// Pauses between tries of a status that must be written.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Stores the files and writes how the Restore ended.
pub(super) async fn finish(run: &Run<'_>, outcome: &Outcome) -> RestorePhase {
    if let Err(error) = put(run, outcome, "restore completed").await {
        run.log.error(ProblemPlace::Backup, &format!("the files of the restore cannot be stored: {error}"));
    }
    let (errors, _) = run.log.counts();
    let phase = if errors == 0 { RestorePhase::Completed } else { RestorePhase::PartiallyFailed };
    let done = count(outcome.objects.restored.count);
    let status = RestoreStatus {
        progress: Some(RestoreProgress { items_restored: done, total_items: done }),
        hook_status: Some(outcome.hooks),
        ..run.status(phase)
    };
    persist(run, &status).await;
    phase
}

/// Makes a Restore Failed, with what there is of a log.
pub(super) async fn fail(run: &Run<'_>, error: &Error) -> RestorePhase {
    let reason = error.to_string();
    run.log.error(ProblemPlace::Backup, &reason);
    if matches!(error, Error::RestoreGone { .. }) {
        return RestorePhase::Failed;
    }
    if let Err(error) = put(run, &Outcome::default(), "The restore failed").await {
        tracing::warn!(%error, restore = run.name(), "The log of a failed restore cannot be stored");
    }
    let status = RestoreStatus { failure_reason: Some(reason), ..run.status(RestorePhase::Failed) };
    persist(run, &status).await;
    RestorePhase::Failed
}

async fn put(run: &Run<'_>, outcome: &Outcome, summary: &str) -> Result<()> {
    let name = run.name();
    let place = Place::open(&run.source.location, run.context).await?;
    let mut files = Files::new(place).with_patience(PATIENCE);
    let file = |kind| layout::download(kind, &name);
    let volumes = volume_infos(run, &outcome.transfers).await;
    files.put(&file(DownloadTargetKind::RestoreVolumeInfo), zipped(&name, &volumes)?).await?;
    files.put(&file(DownloadTargetKind::RestoreResourceList), zipped(&name, &outcome.objects.restored.list)?).await?;
    // Operations of plugins, of which there are none: Velero writes the file all the same.
    files.put(&file(DownloadTargetKind::RestoreItemOperations), zipped::<[()]>(&name, &[])?).await?;
    let ended = run.log.end(summary, &[]).map_err(|error| failed(&name, &error))?;
    files.put(&file(DownloadTargetKind::RestoreResults), zipped(&name, &Results::of(&ended.report))?).await?;
    files.put(&file(DownloadTargetKind::RestoreLog), ended.stored).await
}

/// What became of each volume. Source: Velero `internal/volume/volumes_information.go`.
async fn volume_infos(run: &Run<'_>, transfers: &[PodVolumeRestore]) -> Vec<Value> {
    let mut infos = Vec::new();
    for one in transfers {
        let pod = &one.spec.pod;
        let namespace = pod.namespace.clone().unwrap_or_default();
        let claim = claim_of(one);
        let volume = match &claim {
            Some(claim) => volume_of(run, &namespace, claim).await,
            None => None,
        };
        let phase = one.status.as_ref().and_then(|status| status.phase);
        let mut info = json!({
            "restoreMethod": "PodVolumeRestore",
            "snapshotDataMoved": false,
            "pvrInfo": {
                "snapshotHandle": one.spec.snapshot_id,
                "size": one.spec.snapshot_size.unwrap_or_default(),
                "uploaderType": one.spec.uploader_type,
                "volumeName": one.spec.volume,
                "podName": pod.name,
                "podNamespace": namespace,
                "Phase": phase,
            },
        });
        if let Some(claim) = claim {
            info["pvcName"] = claim.into();
            info["pvcNamespace"] = namespace.into();
            info["pvName"] = volume.into();
        }
        infos.push(info);
    }
    infos
}

/// The claim whose snapshot it is: its volume in the repository bears the claim's name.
fn claim_of(one: &PodVolumeRestore) -> Option<String> {
    let name = snapshot_id(&one.spec.snapshot_id)?.volume.plain().to_owned();
    (!name.contains('/')).then_some(name)
}

async fn volume_of(run: &Run<'_>, namespace: &str, claim: &str) -> Option<String> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(run.context.client.clone(), namespace);
    let found = api.get_opt(claim).await.ok()??;
    found.spec?.volume_name
}

/// JSON in gzip, with a newline as Go's encoder writes it.
fn zipped<T: Serialize + ?Sized>(restore: &str, value: &T) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(value).map_err(|error| failed(restore, &error))?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&json).and_then(|()| gzip.write_all(b"\n")).map_err(|error| failed(restore, &error))?;
    gzip.finish().map_err(|error| failed(restore, &error))
}

fn failed(restore: &str, reason: &dyn std::fmt::Display) -> Error {
    Error::Object { what: format!("a file of restore {restore}"), reason: reason.to_string() }
}

/// Writes a status that must be written: without it nobody knows how the Restore ended.
async fn persist(run: &Run<'_>, status: &RestoreStatus) {
    let mut pause = FIRST_PAUSE;
    let fields = json!({ "status": status });
    while let Err(error) = patch::merge::<Restore>(run.context, &run.name(), &fields).await {
        tracing::warn!(%error, restore = run.name(), "The end of a restore cannot be written; it is tried again");
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
