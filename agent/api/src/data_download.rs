//! `DataDownload`: the data of one moved CSI snapshot, to be written into a volume. Trysail serves the kind and moves none.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::{
    duration::Duration,
    time::Time,
    transfer::{NodeOs, TransferPhase, TransferProgress},
};

/// Which snapshot, and into which volume.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "velero.io",
    version = "v2alpha1",
    kind = "DataDownload",
    plural = "datadownloads",
    namespaced,
    status = "DataDownloadStatus",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.phase","description":"How far it is"}"#,
    printcolumn = r#"{"name":"Started","type":"date","jsonPath":".status.startTimestamp","description":"When it began"}"#,
    printcolumn = r#"{"name":"Bytes Done","type":"integer","format":"int64","jsonPath":".status.progress.bytesDone","description":"Bytes that were written"}"#,
    printcolumn = r#"{"name":"Total Bytes","type":"integer","format":"int64","jsonPath":".status.progress.totalBytes","description":"Bytes to write"}"#,
    printcolumn = r#"{"name":"Storage Location","type":"string","jsonPath":".spec.backupStorageLocation","description":"Where the data comes from"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Node","type":"string","jsonPath":".status.node","description":"The node that writes it"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DataDownloadSpec {
    /// Name of the `BackupStorageLocation`.
    pub backup_storage_location: String,
    /// Whether it is to be cancelled.
    pub cancel: Option<bool>,
    /// Settings of what moves the data.
    pub data_mover_config: Option<BTreeMap<String, String>>,
    /// What moves the data.
    pub datamover: Option<String>,
    /// Operating system of the node that writes it.
    #[serde(rename = "nodeOS")]
    pub node_os: Option<NodeOs>,
    /// The longest time to wait for inner steps.
    pub operation_timeout: Duration,
    /// The snapshot in the repository.
    #[serde(rename = "snapshotID")]
    pub snapshot_id: String,
    /// Bytes of the snapshot's files.
    pub snapshot_size: Option<i64>,
    /// The namespace that was backed up: its repository holds the snapshot.
    pub source_namespace: String,
    /// The volume.
    pub target_volume: TargetVolume,
}

/// The volume that gets the data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetVolume {
    /// Namespace of the claim.
    pub namespace: String,
    /// Name of the volume.
    pub pv: String,
    /// Name of the claim.
    pub pvc: String,
}

/// How far it is.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataDownloadStatus {
    /// The node whose agent took it.
    pub accepted_by_node: Option<String>,
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
