//! `BackupRepository`: the repository of one namespace in one location, and when it was last cared for.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::{duration::Duration, time::Time, transfer::UploaderType, words::words};

/// Which repository it is.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "velero.io",
    version = "v1",
    kind = "BackupRepository",
    plural = "backuprepositories",
    singular = "backuprepository",
    namespaced,
    status = "BackupRepositoryStatus",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Repository Type","type":"string","jsonPath":".spec.repositoryType"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct BackupRepositorySpec {
    /// Name of the `BackupStorageLocation`.
    pub backup_storage_location: String,
    /// How often it is pruned.
    pub maintenance_frequency: Duration,
    /// Settings of the repository.
    #[schemars(extend("nullable" = true))]
    pub repository_config: Option<BTreeMap<String, String>>,
    /// The directory in which it lies.
    pub repository_type: Option<UploaderType>,
    /// The URL by which restic would know it; empty where restic is not used.
    pub restic_identifier: Option<String>,
    /// The namespace whose volumes it holds.
    pub volume_namespace: String,
}

words! {
    /// Whether a repository can be used.
    pub enum BackupRepositoryPhase {
        /// Nobody has looked at it yet; an absent phase means the same.
        New = "New",
        /// It can be used.
        Ready = "Ready",
        /// It cannot be used; the message says why.
        NotReady = "NotReady",
    }
}

words! {
    /// How a run of maintenance ended.
    pub enum MaintenanceResult {
        /// All was done.
        Succeeded = "Succeeded",
        /// The message says what was not.
        Failed = "Failed",
    }
}

/// What is known of a repository.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupRepositoryStatus {
    /// When maintenance last succeeded.
    #[schemars(extend("nullable" = true))]
    pub last_maintenance_time: Option<Time>,
    /// Why it cannot be used.
    pub message: Option<String>,
    /// Whether it can be used.
    pub phase: Option<BackupRepositoryPhase>,
    /// The last runs of maintenance, the newest last.
    pub recent_maintenance: Option<Vec<MaintenanceRun>>,
}

/// One run of maintenance.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceRun {
    /// When it ended.
    #[schemars(extend("nullable" = true))]
    pub complete_timestamp: Option<Time>,
    /// What went wrong.
    pub message: Option<String>,
    /// How it ended.
    pub result: Option<MaintenanceResult>,
    /// When it began.
    #[schemars(extend("nullable" = true))]
    pub start_timestamp: Option<Time>,
}
