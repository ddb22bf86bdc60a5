//! `Backup`: what is to be kept, and how far that is.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::{
    duration::Duration,
    hook::{BackupHooks, HookStatus},
    reference::LocalReference,
    selector::LabelSelector,
    time::Time,
    words::words,
};

/// What to back up. Every field may be absent: that is a Backup of everything.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "velero.io",
    version = "v1",
    kind = "Backup",
    plural = "backups",
    namespaced,
    status = "BackupStatus",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct BackupSpec {
    /// The longest time to wait for a CSI snapshot to be taken; 10 minutes where absent.
    pub csi_snapshot_timeout: Option<Duration>,
    /// What moves the data of CSI snapshots.
    pub datamover: Option<String>,
    /// Whether the files of all volumes are read, but for those that their pod excludes.
    #[schemars(extend("nullable" = true))]
    pub default_volumes_to_fs_backup: Option<bool>,
    /// The former name of `defaultVolumesToFsBackup`.
    #[schemars(extend("nullable" = true))]
    pub default_volumes_to_restic: Option<bool>,
    /// Kinds of cluster-scoped objects to leave out; `*` for all.
    #[schemars(extend("nullable" = true))]
    pub excluded_cluster_scoped_resources: Option<Vec<String>>,
    /// Kinds of objects in namespaces to leave out; `*` for all.
    #[schemars(extend("nullable" = true))]
    pub excluded_namespace_scoped_resources: Option<Vec<String>>,
    /// Namespaces to leave out; patterns may stand here.
    #[schemars(extend("nullable" = true))]
    pub excluded_namespaces: Option<Vec<String>>,
    /// Kinds of objects to leave out. Not together with the scoped lists.
    #[schemars(extend("nullable" = true))]
    pub excluded_resources: Option<Vec<String>>,
    /// Commands that run in pods.
    pub hooks: Option<BackupHooks>,
    /// Whether cluster-scoped objects are taken; where absent, they are if all namespaces are. Not together with the scoped lists.
    #[schemars(extend("nullable" = true))]
    pub include_cluster_resources: Option<bool>,
    /// Kinds of cluster-scoped objects to take.
    #[schemars(extend("nullable" = true))]
    pub included_cluster_scoped_resources: Option<Vec<String>>,
    /// Kinds of objects in namespaces to take; all where there are none.
    #[schemars(extend("nullable" = true))]
    pub included_namespace_scoped_resources: Option<Vec<String>>,
    /// Namespaces to take; all where there are none. Patterns may stand here.
    #[schemars(extend("nullable" = true))]
    pub included_namespaces: Option<Vec<String>>,
    /// Kinds of objects to take; all where there are none. Not together with the scoped lists.
    #[schemars(extend("nullable" = true))]
    pub included_resources: Option<Vec<String>>,
    /// The longest time to wait for operations of plugins; 4 hours where absent.
    pub item_operation_timeout: Option<Duration>,
    /// Labels that the objects have. Not together with `orLabelSelectors`.
    #[schemars(extend("nullable" = true))]
    pub label_selector: Option<LabelSelector>,
    /// What the Backups of a Schedule are given.
    pub metadata: Option<BackupMetadata>,
    /// Labels of which the objects have at least one set. Not together with `labelSelector`.
    #[schemars(extend("nullable" = true))]
    pub or_label_selectors: Option<Vec<LabelSelector>>,
    /// The order in which objects of a kind are taken: by kind a list of `namespace/name`, with commas between.
    #[schemars(extend("nullable" = true))]
    pub ordered_resources: Option<BTreeMap<String, String>>,
    /// A `ConfigMap` with the rules for volumes.
    pub resource_policy: Option<LocalReference>,
    /// Whether the data of CSI snapshots is moved to the location.
    #[schemars(extend("nullable" = true))]
    pub snapshot_move_data: Option<bool>,
    /// Whether snapshots of volumes are taken.
    #[schemars(extend("nullable" = true))]
    pub snapshot_volumes: Option<bool>,
    /// Name of the `BackupStorageLocation`; the default one where absent.
    pub storage_location: Option<String>,
    /// How long the Backup is kept; 30 days where absent or zero.
    pub ttl: Option<Duration>,
    /// Settings of the uploader.
    #[schemars(extend("nullable" = true))]
    pub uploader_config: Option<BackupUploaderConfig>,
    /// Label whose equal values on claims put these into one group snapshot.
    pub volume_group_snapshot_label_key: Option<String>,
    /// Names of `VolumeSnapshotLocations`.
    pub volume_snapshot_locations: Option<Vec<String>>,
}

/// What the Backups of a Schedule are given.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupMetadata {
    /// Labels of these Backups; those of the Schedule where there are none.
    pub labels: Option<BTreeMap<String, String>>,
}

/// Settings of the uploader of a Backup.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupUploaderConfig {
    /// How many files are read at once.
    pub parallel_files_upload: Option<i32>,
}

words! {
    /// How far a Backup is.
    pub enum BackupPhase {
        /// Nobody has taken it yet; an absent phase means the same.
        New = "New",
        /// It waits for its turn.
        Queued = "Queued",
        /// It is the next.
        ReadyToStart = "ReadyToStart",
        /// It asks for what cannot be; it did not run.
        FailedValidation = "FailedValidation",
        /// It runs.
        InProgress = "InProgress",
        /// Objects are stored; operations of plugins go on.
        WaitingForPluginOperations = "WaitingForPluginOperations",
        /// The same, and there were errors.
        WaitingForPluginOperationsPartiallyFailed = "WaitingForPluginOperationsPartiallyFailed",
        /// All data is stored; the last record is written.
        Finalizing = "Finalizing",
        /// The same, and there were errors.
        FinalizingPartiallyFailed = "FinalizingPartiallyFailed",
        /// All that was asked for is stored.
        Completed = "Completed",
        /// Some of what was asked for is not stored; the log and the results name it.
        PartiallyFailed = "PartiallyFailed",
        /// It ended before it could be finished.
        Failed = "Failed",
        /// It and its data are being deleted.
        Deleting = "Deleting",
    }
}

impl BackupPhase {
    /// Whether the Backup will not go on by itself: those on which `velero backup create --wait` ends. `Deleting` is none
    /// of them, because an object that is to vanish is not at rest.
    ///
    /// Source: Velero pkg/cmd/cli/backup/create.go.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::FailedValidation | Self::Completed | Self::PartiallyFailed | Self::Failed => true,
            Self::New
            | Self::Queued
            | Self::ReadyToStart
            | Self::InProgress
            | Self::WaitingForPluginOperations
            | Self::WaitingForPluginOperationsPartiallyFailed
            | Self::Finalizing
            | Self::FinalizingPartiallyFailed
            | Self::Deleting => false,
        }
    }
}

/// How far a Backup is.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// Operations of plugins that were started.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub backup_item_operations_attempted: i32,
    /// Operations of plugins that succeeded.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub backup_item_operations_completed: i32,
    /// Operations of plugins that failed.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub backup_item_operations_failed: i32,
    /// When it ended.
    #[schemars(extend("nullable" = true))]
    pub completion_timestamp: Option<Time>,
    /// CSI snapshots that were started.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub csi_volume_snapshots_attempted: i32,
    /// CSI snapshots that succeeded.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub csi_volume_snapshots_completed: i32,
    /// Lines of the log that are errors.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub errors: i32,
    /// When it may be deleted: its start and `ttl`.
    #[schemars(extend("nullable" = true))]
    pub expiration: Option<Time>,
    /// Why it is Failed.
    pub failure_reason: Option<String>,
    /// Version of what is stored, such as `1.1.0`.
    pub format_version: Option<String>,
    /// How many hooks ran.
    #[schemars(extend("nullable" = true))]
    pub hook_status: Option<HookStatus>,
    /// How far it is.
    pub phase: Option<BackupPhase>,
    /// How many objects are stored.
    #[schemars(extend("nullable" = true))]
    pub progress: Option<BackupProgress>,
    /// Its place among those that wait, from 1.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub queue_position: i32,
    /// When it began.
    #[schemars(extend("nullable" = true))]
    pub start_timestamp: Option<Time>,
    /// What is wrong with the spec.
    #[schemars(extend("nullable" = true))]
    pub validation_errors: Option<Vec<String>>,
    /// Major version of what is stored; always 1.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub version: i32,
    /// Snapshots of volumes that were started.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub volume_snapshots_attempted: i32,
    /// Snapshots of volumes that succeeded.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub volume_snapshots_completed: i32,
    /// Lines of the log that are warnings.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub warnings: i32,
}

/// How many objects of a Backup are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupProgress {
    /// Objects that are stored.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub items_backed_up: i32,
    /// Objects that are known so far; the number may grow.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub total_items: i32,
}
