//! `PodVolumeBackup`: the files of one volume, to be read on the node where it is mounted.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::{
    reference::ObjectReference,
    time::Time,
    transfer::{TransferPhase, TransferProgress, UploaderType},
};

/// Which volume, and where its data goes.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "velero.io",
    version = "v1",
    kind = "PodVolumeBackup",
    plural = "podvolumebackups",
    namespaced,
    status = "PodVolumeBackupStatus",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.phase","description":"How far it is"}"#,
    printcolumn = r#"{"name":"Started","type":"date","jsonPath":".status.startTimestamp","description":"When it began"}"#,
    printcolumn = r#"{"name":"Bytes Done","type":"integer","format":"int64","jsonPath":".status.progress.bytesDone","description":"Bytes that were read"}"#,
    printcolumn = r#"{"name":"Total Bytes","type":"integer","format":"int64","jsonPath":".status.progress.totalBytes","description":"Bytes to read"}"#,
    printcolumn = r#"{"name":"Incremental Bytes","type":"integer","format":"int64","priority":10,"jsonPath":".status.incrementalBytes","description":"Bytes that are new"}"#,
    printcolumn = r#"{"name":"Storage Location","type":"string","jsonPath":".spec.backupStorageLocation","description":"Where the data goes"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Node","type":"string","jsonPath":".status.node","description":"The node that reads it"}"#,
    printcolumn = r#"{"name":"Uploader","type":"string","jsonPath":".spec.uploaderType","description":"The directory of the repository"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct PodVolumeBackupSpec {
    /// Name of the `BackupStorageLocation`.
    pub backup_storage_location: String,
    /// Whether it is to be cancelled.
    pub cancel: Option<bool>,
    /// Name of the node.
    pub node: String,
    /// The pod that mounts the volume, or the claim that no pod mounts.
    pub pod: ObjectReference,
    /// The URL by which restic would know the repository; empty where restic is not used.
    pub repo_identifier: String,
    /// What the snapshot is marked with.
    pub tags: Option<BTreeMap<String, String>>,
    /// Settings of the uploader.
    #[schemars(extend("nullable" = true))]
    pub uploader_settings: Option<BTreeMap<String, String>>,
    /// The directory of the repository.
    pub uploader_type: Option<UploaderType>,
    /// Name of the volume within the pod.
    pub volume: String,
}

/// How far it is.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodVolumeBackupStatus {
    /// When a node agent took it.
    #[schemars(extend("nullable" = true))]
    pub accepted_timestamp: Option<Time>,
    /// When it ended.
    #[schemars(extend("nullable" = true))]
    pub completion_timestamp: Option<Time>,
    /// Bytes that no earlier snapshot held.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub incremental_bytes: i64,
    /// What went wrong, or why there is no snapshot.
    pub message: Option<String>,
    /// The directory that was read, on the node.
    pub path: Option<String>,
    /// How far it is.
    pub phase: Option<TransferPhase>,
    /// How many bytes were read.
    pub progress: Option<TransferProgress>,
    /// The snapshot.
    #[serde(rename = "snapshotID")]
    pub snapshot_id: Option<String>,
    /// When it began.
    #[schemars(extend("nullable" = true))]
    pub start_timestamp: Option<Time>,
}
