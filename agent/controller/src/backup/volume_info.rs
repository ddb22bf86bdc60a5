//! `<backup>-volumeinfo.json.gz`: what became of each volume. Pure.
//!
//! Source: Velero `internal/volume/volumes_information.go`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use trysail_api::{
    names::annotation,
    pod_volume_backup::PodVolumeBackup,
    time::Time,
    transfer::{TransferPhase, UploaderType},
};
use trysail_cluster::{kind::Item, select::resource, volumes::Skipped};

use super::gather::labels;

/// The volumes of the claims that were seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Bound {
    /// By namespace and name of the claim.
    claims: BTreeMap<(String, String), String>,
    volumes: BTreeMap<String, VolumeFacts>,
}

/// What is said of a PersistentVolume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct VolumeFacts {
    reclaim_policy: String,
    /// `null` where there are none.
    labels: Option<BTreeMap<String, String>>,
}

/// One volume in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VolumeInfo {
    #[serde(skip_serializing_if = "String::is_empty")]
    pvc_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pvc_namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pv_name: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    backup_method: &'static str,
    snapshot_data_moved: bool,
    preserve_local_snapshot: bool,
    skipped: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    skipped_reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_timestamp: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_timestamp: Option<Time>,
    #[serde(skip_serializing_if = "str::is_empty")]
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pvb_info: Option<TransferInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pv_info: Option<VolumeFacts>,
}

/// What a PodVolumeBackup says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct TransferInfo {
    #[serde(skip_serializing_if = "String::is_empty")]
    snapshot_handle: String,
    size: i64,
    incremental_size: i64,
    uploader_type: &'static str,
    volume_name: String,
    pod_name: String,
    pod_namespace: String,
    node_name: String,
    /// So spelt, with a capital letter.
    #[serde(rename = "Phase")]
    phase: &'static str,
}

impl Bound {
    /// Takes note of claims and volumes.
    pub(super) fn observe(&mut self, item: &Item) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let spec = &item.object["spec"];
        match item.kind.resource().as_str() {
            resource::CLAIMS => {
                let key = (item.namespace().unwrap_or_default().to_owned(), item.name().to_owned());
                self.claims.insert(key, text(&spec["volumeName"]));
            }
            resource::VOLUMES => {
                let reclaim_policy = text(&spec["persistentVolumeReclaimPolicy"]);
                let facts = VolumeFacts { reclaim_policy, labels: labels(&item.object) };
                self.volumes.insert(item.name().to_owned(), facts);
            }
            _ => {}
        }
    }

    fn of(&self, namespace: &str, claim: &str) -> VolumeInfo {
        if claim.is_empty() {
            return VolumeInfo::default();
        }
        let volume = self.claims.get(&(namespace.to_owned(), claim.to_owned())).cloned().unwrap_or_default();
        VolumeInfo {
            pvc_name: claim.to_owned(),
            pvc_namespace: namespace.to_owned(),
            pv_info: self.volumes.get(&volume).cloned(),
            pv_name: volume,
            ..VolumeInfo::default()
        }
    }
}

/// All volumes: those that were read or tried, then those that were left out.
pub(super) fn volume_infos(read: &[PodVolumeBackup], skipped: &[Skipped], bound: &Bound) -> Vec<VolumeInfo> {
    let read = read.iter().map(|volume| of_transfer(volume, bound));
    read.chain(skipped.iter().map(|skipped| of_skipped(skipped, bound))).collect()
}

fn of_transfer(volume: &PodVolumeBackup, bound: &Bound) -> VolumeInfo {
    let status = volume.status.clone().unwrap_or_default();
    let phase = status.phase.unwrap_or(TransferPhase::New);
    let pod = &volume.spec.pod;
    let namespace = pod.namespace.clone().unwrap_or_default();
    let annotations = volume.metadata.annotations.as_ref();
    let claim = annotations.and_then(|annotations| annotations.get(annotation::PVC_NAME)).cloned();
    VolumeInfo {
        backup_method: "PodVolumeBackup",
        start_timestamp: status.start_timestamp,
        completion_timestamp: status.completion_timestamp,
        result: if phase == TransferPhase::Completed { "succeeded" } else { "failed" },
        pvb_info: Some(TransferInfo {
            snapshot_handle: status.snapshot_id.unwrap_or_default(),
            size: status.progress.unwrap_or_default().total_bytes,
            incremental_size: status.incremental_bytes,
            uploader_type: volume.spec.uploader_type.unwrap_or(UploaderType::Unset).directory(),
            volume_name: volume.spec.volume.clone(),
            pod_name: pod.name.clone().unwrap_or_default(),
            pod_namespace: namespace.clone(),
            node_name: volume.spec.node.clone(),
            phase: phase.as_str(),
        }),
        ..bound.of(&namespace, &claim.unwrap_or_default())
    }
}

fn of_skipped(skipped: &Skipped, bound: &Bound) -> VolumeInfo {
    let claim = skipped.claim.clone().unwrap_or_default();
    VolumeInfo { skipped: true, skipped_reason: skipped.to_string(), ..bound.of(&skipped.namespace, &claim) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use trysail_cluster::{kind::Kind, volumes::Reason};

    use super::*;

    fn item(plural: &str, object: Value) -> Item {
        let kind = Kind {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "X".to_owned(),
            plural: plural.to_owned(),
            is_namespaced: plural != "persistentvolumes",
            aliases: Vec::new(),
        };
        Item::new(Arc::new(kind), object)
    }

    #[test]
    fn a_volume_is_described_as_stock_velero_does() {
        let mut bound = Bound::default();
        let claim = json!({ "metadata": { "name": "data", "namespace": "app1" }, "spec": { "volumeName": "pv1" } });
        bound.observe(&item("persistentvolumeclaims", claim));
        let volume = json!({ "metadata": { "name": "pv1" }, "spec": { "persistentVolumeReclaimPolicy": "Delete" } });
        bound.observe(&item("persistentvolumes", volume));
        let transfer: PodVolumeBackup = serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup",
            "metadata": { "name": "b1-x", "annotations": { "velero.io/pvc-name": "data" } },
            "spec": {
                "node": "node1", "pod": { "kind": "Pod", "namespace": "app1", "name": "web" }, "volume": "data",
                "backupStorageLocation": "default", "repoIdentifier": "", "uploaderType": "kopia",
            },
            "status": {
                "phase": "Completed", "snapshotID": "data/1", "startTimestamp": "2026-11-21T06:37:35Z",
                "completionTimestamp": "2026-11-21T06:37:37Z", "progress": { "totalBytes": 9, "bytesDone": 9 },
                "incrementalBytes": 3,
            },
        }))
        .unwrap();
        let skipped = Skipped {
            namespace: "app1".to_owned(),
            pod: Some("web".to_owned()),
            volume: "cache".to_owned(),
            claim: Some("data".to_owned()),
            reason: Reason::OptedOut,
        };
        let expected = json!([
            {
                "pvcName": "data", "pvcNamespace": "app1", "pvName": "pv1", "backupMethod": "PodVolumeBackup",
                "snapshotDataMoved": false, "preserveLocalSnapshot": false, "skipped": false,
                "startTimestamp": "2026-11-21T06:37:35Z", "completionTimestamp": "2026-11-21T06:37:37Z",
                "result": "succeeded",
                "pvbInfo": {
                    "snapshotHandle": "data/1", "size": 9, "incrementalSize": 3, "uploaderType": "kopia",
                    "volumeName": "data", "podName": "web", "podNamespace": "app1", "nodeName": "node1",
                    "Phase": "Completed",
                },
                "pvInfo": { "reclaimPolicy": "Delete", "labels": null },
            },
            {
                "pvcName": "data", "pvcNamespace": "app1", "pvName": "pv1", "snapshotDataMoved": false,
                "preserveLocalSnapshot": false, "skipped": true, "skippedReason": skipped.to_string(),
                "pvInfo": { "reclaimPolicy": "Delete", "labels": null },
            },
        ]);
        assert_eq!(json!(volume_infos(&[transfer], &[skipped], &bound)), expected);
    }
}
