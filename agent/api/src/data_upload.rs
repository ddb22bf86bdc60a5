//! `DataUpload`: the data of one CSI snapshot, to be moved to a location. Trysail serves the kind and moves none.

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

/// Which snapshot, and where its data goes.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "velero.io",
    version = "v2alpha1",
    kind = "DataUpload",
    plural = "datauploads",
    namespaced,
    status = "DataUploadStatus",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.phase","description":"How far it is"}"#,
    printcolumn = r#"{"name":"Started","type":"date","jsonPath":".status.startTimestamp","description":"When it began"}"#,
    printcolumn = r#"{"name":"Bytes Done","type":"integer","format":"int64","jsonPath":".status.progress.bytesDone","description":"Bytes that were read"}"#,
    printcolumn = r#"{"name":"Total Bytes","type":"integer","format":"int64","jsonPath":".status.progress.totalBytes","description":"Bytes to read"}"#,
    printcolumn = r#"{"name":"Incremental Bytes","type":"integer","format":"int64","priority":10,"jsonPath":".status.incrementalBytes","description":"Bytes that are new"}"#,
    printcolumn = r#"{"name":"Storage Location","type":"string","jsonPath":".spec.backupStorageLocation","description":"Where the data goes"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Node","type":"string","jsonPath":".status.node","description":"The node that reads it"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DataUploadSpec {
    /// Name of the `BackupStorageLocation`.
    pub backup_storage_location: String,
    /// Whether it is to be cancelled.
    pub cancel: Option<bool>,
    /// The CSI snapshot.
    #[schemars(extend("nullable" = true))]
    pub csi_snapshot: Option<CsiSnapshot>,
    /// Settings of what moves the data.
    #[schemars(extend("nullable" = true))]
    pub data_mover_config: Option<BTreeMap<String, String>>,
    /// What moves the data.
    pub datamover: Option<String>,
    /// The longest time to wait for inner steps.
    pub operation_timeout: Duration,
    /// Kind of the snapshot, such as `CSI`.
    pub snapshot_type: String,
    /// The namespace of the claim.
    pub source_namespace: String,
    /// Name of the claim.
    #[serde(rename = "sourcePVC")]
    pub source_pvc: String,
}

/// A CSI snapshot.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CsiSnapshot {
    /// The driver that took it.
    pub driver: Option<String>,
    /// Its class.
    pub snapshot_class: Option<String>,
    /// Class of the volume that is made from it.
    pub storage_class: String,
    /// Name of the `VolumeSnapshot`.
    pub volume_snapshot: String,
}

/// How far it is.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataUploadStatus {
    /// The node whose agent took it.
    pub accepted_by_node: Option<String>,
    /// When a node agent took it.
    #[schemars(extend("nullable" = true))]
    pub accepted_timestamp: Option<Time>,
    /// When it ended.
    #[schemars(extend("nullable" = true))]
    pub completion_timestamp: Option<Time>,
    /// What the mover of the data has to say.
    #[schemars(extend("nullable" = true))]
    pub data_mover_result: Option<BTreeMap<String, String>>,
    /// Bytes that no earlier snapshot held.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub incremental_bytes: i64,
    /// What went wrong.
    pub message: Option<String>,
    /// The node that reads it.
    pub node: Option<String>,
    /// Its operating system.
    #[serde(rename = "nodeOS")]
    pub node_os: Option<NodeOs>,
    /// The directory that was read, on the node.
    pub path: Option<String>,
    /// How far it is.
    pub phase: Option<TransferPhase>,
    /// How many bytes were read.
    pub progress: Option<TransferProgress>,
    /// The snapshot in the repository.
    #[serde(rename = "snapshotID")]
    pub snapshot_id: Option<String>,
    /// When it began.
    #[schemars(extend("nullable" = true))]
    pub start_timestamp: Option<Time>,
}
