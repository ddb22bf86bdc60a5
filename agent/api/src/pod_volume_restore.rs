//! `PodVolumeRestore`: the files of one snapshot, to be written into a volume of a restored pod.

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

/// Which snapshot, and into which volume.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "velero.io",
    version = "v1",
    kind = "PodVolumeRestore",
    plural = "podvolumerestores",
    namespaced,
    status = "PodVolumeRestoreStatus",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.phase","description":"How far it is"}"#,
    printcolumn = r#"{"name":"Started","type":"date","jsonPath":".status.startTimestamp","description":"When it began"}"#,
    printcolumn = r#"{"name":"Bytes Done","type":"integer","format":"int64","jsonPath":".status.progress.bytesDone","description":"Bytes that were written"}"#,
    printcolumn = r#"{"name":"Total Bytes","type":"integer","format":"int64","jsonPath":".status.progress.totalBytes","description":"Bytes to write"}"#,
    printcolumn = r#"{"name":"Storage Location","type":"string","jsonPath":".spec.backupStorageLocation","description":"Where the data comes from"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Node","type":"string","jsonPath":".status.node","description":"The node that writes it"}"#,
    printcolumn = r#"{"name":"Uploader Type","type":"string","jsonPath":".spec.uploaderType","description":"The directory of the repository"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct PodVolumeRestoreSpec {
    /// Name of the `BackupStorageLocation`.
    pub backup_storage_location: String,
    /// Whether it is to be cancelled.
    pub cancel: Option<bool>,
    /// The pod that waits for the data.
    pub pod: ObjectReference,
    /// The URL by which restic would know the repository; empty where restic is not used.
    pub repo_identifier: String,
    /// The snapshot.
    #[serde(rename = "snapshotID")]
    pub snapshot_id: String,
    /// Bytes of the snapshot's files.
    pub snapshot_size: Option<i64>,
    /// The namespace that was backed up: its repository holds the snapshot.
    pub source_namespace: String,
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
pub struct PodVolumeRestoreStatus {
    /// When a node agent took it.
    #[schemars(extend("nullable" = true))]
    pub accepted_timestamp: Option<Time>,
    /// When it ended.
    #[schemars(extend("nullable" = true))]
    pub completion_timestamp: Option<Time>,
    /// What went wrong.
    pub message: Option<String>,
    /// The node that writes it.
    pub node: Option<String>,
    /// How far it is.
    pub phase: Option<TransferPhase>,
    /// How many bytes were written.
    pub progress: Option<TransferProgress>,
    /// When it began.
    #[schemars(extend("nullable" = true))]
    pub start_timestamp: Option<Time>,
}
