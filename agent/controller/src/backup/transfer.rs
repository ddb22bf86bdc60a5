//! The PodVolumeBackup of one volume, and what one that has ended says. Pure.
//!
//! Source: Velero `pkg/podvolume/backupper.go`, `newPodVolumeBackup`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource as _, ResourceExt as _, api::ObjectMeta};
use serde::Deserialize;
use trysail_api::{
    backup::Backup,
    names::{annotation, label, label_value, own},
    pod_volume_backup::{PodVolumeBackup, PodVolumeBackupSpec},
    reference::ObjectReference,
    transfer::{TransferPhase, UploaderType},
};
use trysail_cluster::volumes::{Source, VolumeTask};

use crate::repository;

/// What the setting of parallel reads is called. Source: Velero `pkg/uploader/util/uploader_config.go`.
const PARALLEL_FILES: &str = "ParallelFilesUpload";

/// What a task needs beside the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Means<'a> {
    /// The node whose agent reads the volume.
    pub(super) node: &'a str,
    /// What stands in `repoIdentifier`.
    pub(super) repository: &'a str,
    pub(super) uploader: UploaderType,
    /// The sealed keys.
    pub(super) task_keys: String,
}

/// Who owns the volume in the cluster, in a sentence.
pub(super) fn name_of(task: &VolumeTask) -> String {
    match &task.source {
        Source::Pod { name, .. } => format!("volume {} of pod {}/{name}", task.volume, task.namespace),
        Source::Claim { .. } | Source::Held => format!("claim {}/{}", task.namespace, task.volume),
    }
}

/// The same of a PodVolumeBackup.
pub(super) fn name_of_transfer(transfer: &PodVolumeBackup) -> String {
    let (pod, volume) = (&transfer.spec.pod, &transfer.spec.volume);
    let (namespace, name) = (pod.namespace.as_deref().unwrap_or_default(), pod.name.as_deref().unwrap_or_default());
    if pod.kind.as_deref() == Some(repository::CLAIM) {
        format!("claim {namespace}/{name}")
    } else {
        format!("volume {volume} of pod {namespace}/{name}")
    }
}

/// The object that asks a node agent to read a volume.
pub(super) fn transfer(backup: &Backup, task: &VolumeTask, means: Means<'_>) -> PodVolumeBackup {
    let (name, uid) = (backup.name_any(), backup.uid().unwrap_or_default());
    let mut labels = BTreeMap::from([
        (label::BACKUP_NAME.to_owned(), label_value(&name)),
        (label::BACKUP_UID.to_owned(), uid.clone()),
    ]);
    let mut annotations = BTreeMap::from([(own::TASK_KEYS.to_owned(), means.task_keys)]);
    let text = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let volume = task.volume.as_str();
    let mut tags: BTreeMap<String, String> =
        text(&[("backup", &name), ("backup-uid", &uid), ("ns", &task.namespace), ("volume", volume)])
            .into_iter()
            .collect();
    let pod = match &task.source {
        Source::Pod { name, uid, .. } => {
            tags.extend(text(&[("pod", name), ("pod-uid", uid)]));
            reference("Pod", &task.namespace, name, Some(uid))
        }
        Source::Claim { .. } | Source::Held => reference(repository::CLAIM, &task.namespace, volume, None),
    };
    if let Some((claim, uid)) = &task.claim {
        labels.insert(label::PVC_UID.to_owned(), uid.clone());
        annotations.insert(annotation::PVC_NAME.to_owned(), claim.clone());
        tags.insert("pvc-uid".to_owned(), uid.clone());
    }
    let parallel = backup.spec.uploader_config.as_ref().and_then(|config| config.parallel_files_upload);
    let settings = parallel.filter(|files| *files > 0).map(|files| (PARALLEL_FILES.to_owned(), files.to_string()));
    PodVolumeBackup {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![OwnerReference {
                api_version: Backup::api_version(&()).into_owned(),
                kind: Backup::kind(&()).into_owned(),
                name,
                uid,
                controller: Some(true),
                block_owner_deletion: None,
            }]),
            ..ObjectMeta::default()
        },
        spec: PodVolumeBackupSpec {
            backup_storage_location: backup.spec.storage_location.clone().unwrap_or_default(),
            cancel: None,
            node: means.node.to_owned(),
            pod,
            repo_identifier: means.repository.to_owned(),
            tags: Some(tags),
            uploader_settings: settings.map(|setting| [setting].into()),
            uploader_type: Some(means.uploader),
            volume: volume.to_owned(),
        },
        status: None,
    }
}

fn reference(kind: &str, namespace: &str, name: &str, uid: Option<&String>) -> ObjectReference {
    ObjectReference {
        kind: Some(kind.to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid: uid.cloned(),
        ..ObjectReference::default()
    }
}

/// Whether nothing of it will change.
pub(super) fn has_ended(transfer: &PodVolumeBackup) -> bool {
    transfer.status.as_ref().and_then(|status| status.phase).is_some_and(TransferPhase::is_terminal)
}

/// What a PodVolumeBackup says that has ended, or never will.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) errors: Vec<String>,
    pub(super) warnings: Vec<String>,
    /// Where the volume is saved: what there is to tell.
    pub(super) saved: Option<String>,
}

/// What the annotation of the node agent says of files.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Problems {
    errors: Vec<String>,
    error_count: usize,
    unstable: Vec<String>,
}

/// Judges one that has ended.
pub(super) fn judge(transfer: &PodVolumeBackup) -> Verdict {
    let name = name_of_transfer(transfer);
    let status = transfer.status.clone().unwrap_or_default();
    let message = status.message.filter(|message| !message.is_empty());
    let mut verdict = Verdict::default();
    match status.phase {
        Some(TransferPhase::Completed) => {
            let bytes = status.progress.unwrap_or_default().total_bytes;
            let snapshot = status.snapshot_id.unwrap_or_default();
            let note = message.map(|message| format!(": {message}")).unwrap_or_default();
            verdict.saved = Some(format!("Saved {bytes} bytes of {name}, snapshot {snapshot:?}{note}"));
        }
        Some(TransferPhase::Canceled) => {
            let why = message.unwrap_or_else(|| "it was cancelled".to_owned());
            verdict.errors.push(format!("{name} is not saved: {why}"));
        }
        Some(TransferPhase::Failed) => {
            let why = message.unwrap_or_else(|| "the node agent does not say why".to_owned());
            verdict.errors.push(format!("{name} is not saved: {why}"));
        }
        _ => verdict.errors.push(format!("{name} is not saved: its node agent did not come to an end in time")),
    }
    let annotation = transfer.annotations().get(own::PROBLEMS);
    let problems = annotation.map(|text| serde_json::from_str::<Problems>(text));
    match problems {
        Some(Ok(problems)) => {
            verdict.errors.extend(problems.errors.iter().map(|problem| format!("{name}: {problem}")));
            let more = problems.error_count.saturating_sub(problems.errors.len());
            if more > 0 {
                verdict.errors.push(format!("{name}: {more} more files are not saved"));
            }
            verdict.warnings.extend(problems.unstable.iter().map(|problem| format!("{name}: {problem}")));
        }
        Some(Err(error)) => {
            verdict.errors.push(format!("{name}: what its node agent says of files cannot be read: {error}"));
        }
        None => {}
    }
    verdict
}

/// How it is stored beside the backup: without keys, and without the names of who wrote which field.
pub(super) fn stored(mut transfer: PodVolumeBackup) -> PodVolumeBackup {
    transfer.annotations_mut().remove(own::TASK_KEYS);
    transfer.metadata.managed_fields = None;
    transfer
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn backup() -> Backup {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": { "name": "b1", "uid": "u-1" },
            "spec": { "storageLocation": "default", "uploaderConfig": { "parallelFilesUpload": 4 } },
        }))
        .unwrap()
    }

    fn task(source: Source) -> VolumeTask {
        VolumeTask {
            namespace: "app1".to_owned(),
            source,
            volume: "data".to_owned(),
            claim: Some(("claim".to_owned(), "c-1".to_owned())),
            exclude: vec!["*.tmp".to_owned(), "cache/**".to_owned()],
        }
    }

    fn made(source: Source) -> Value {
        let means =
            Means { node: "node1", repository: "", uploader: UploaderType::Kopia, task_keys: "sealed".to_owned() };
        json!(transfer(&backup(), &task(source), means))
    }

    #[test]
    fn a_volume_of_a_pod_is_asked_for_as_stock_velero_does() {
        let source = Source::Pod { name: "web".to_owned(), uid: "p-1".to_owned(), node: "node1".to_owned() };
        let owner = json!([{
            "apiVersion": "velero.io/v1", "kind": "Backup", "name": "b1", "uid": "u-1", "controller": true,
        }]);
        let expected = json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup",
            "metadata": {
                "generateName": "b1-", "ownerReferences": owner,
                "labels": {
                    "velero.io/backup-name": "b1", "velero.io/backup-uid": "u-1", "velero.io/pvc-uid": "c-1",
                },
                "annotations": {
                    "velero.io/pvc-name": "claim", "trysail.io/task-keys": "sealed",
                },
            },
            "spec": {
                "node": "node1", "pod": { "kind": "Pod", "namespace": "app1", "name": "web", "uid": "p-1" },
                "volume": "data", "backupStorageLocation": "default", "repoIdentifier": "", "uploaderType": "kopia",
                "uploaderSettings": { "ParallelFilesUpload": "4" },
                "tags": {
                    "backup": "b1", "backup-uid": "u-1", "ns": "app1", "pod": "web", "pod-uid": "p-1", "pvc-uid": "c-1",
                    "volume": "data",
                },
            },
        });
        assert_eq!(made(source), expected);
    }

    #[test]
    fn a_claim_that_no_pod_mounts_is_asked_for_by_its_name() {
        let made = made(Source::Claim { node: None });
        let pod = json!({ "kind": "PersistentVolumeClaim", "namespace": "app1", "name": "data" });
        assert_eq!((&made["spec"]["pod"], &made["spec"]["tags"]["pod"]), (&pod, &Value::Null));
    }

    fn ended(status: Value, problems: &str) -> Verdict {
        let mut transfer: PodVolumeBackup =
            serde_json::from_value(made(Source::Pod { name: "web".into(), uid: "u".into(), node: "n".into() }))
                .unwrap();
        transfer.status = serde_json::from_value(status).unwrap();
        if !problems.is_empty() {
            transfer.annotations_mut().insert(own::PROBLEMS.to_owned(), problems.to_owned());
        }
        judge(&transfer)
    }

    #[test]
    fn what_became_of_a_volume_is_an_error_unless_it_is_saved() {
        let saved = json!({ "phase": "Completed", "snapshotID": "claim/1", "progress": { "totalBytes": 9 } });
        let problems = r#"{"errors":["etc/shadow: permission denied"],"errorCount":3,"unstable":["log: changed"]}"#;
        let expected = Verdict {
            errors: vec![
                "volume data of pod app1/web: etc/shadow: permission denied".to_owned(),
                "volume data of pod app1/web: 2 more files are not saved".to_owned(),
            ],
            warnings: vec!["volume data of pod app1/web: log: changed".to_owned()],
            saved: Some("Saved 9 bytes of volume data of pod app1/web, snapshot \"claim/1\"".to_owned()),
        };
        assert_eq!(ended(saved, problems), expected);
        let said = |status: Value| ended(status, "").errors.join("; ");
        assert_eq!(
            said(json!({ "phase": "Failed", "message": "disk full" })),
            "volume data of pod app1/web is not saved: disk full"
        );
        assert_eq!(said(json!({ "phase": "Canceled" })), "volume data of pod app1/web is not saved: it was cancelled");
        assert_eq!(
            said(json!({ "phase": "InProgress" })),
            "volume data of pod app1/web is not saved: its node agent did not come to an end in time"
        );
    }

    #[test]
    fn keys_are_not_stored() {
        let transfer: PodVolumeBackup = serde_json::from_value(made(Source::Claim { node: None })).unwrap();
        assert!(!json!(stored(transfer)).to_string().contains("sealed"));
    }
}
