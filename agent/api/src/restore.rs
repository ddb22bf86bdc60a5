//! `Restore`: what is to come back from a Backup, and how far that is.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::{
    duration::Duration,
    hook::{HookStatus, RestoreHooks},
    reference::LocalReference,
    selector::LabelSelector,
    time::Time,
    words::words,
};

/// What to restore, and from where.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "velero.io",
    version = "v1",
    kind = "Restore",
    plural = "restores",
    namespaced,
    status = "RestoreStatus",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct RestoreSpec {
    /// Name of the Backup. Not together with `scheduleName`, until the server fills it in.
    pub backup_name: Option<String>,
    /// Namespaces to leave out.
    #[schemars(extend("nullable" = true))]
    pub excluded_namespaces: Option<Vec<String>>,
    /// Kinds of objects to leave out.
    #[schemars(extend("nullable" = true))]
    pub excluded_resources: Option<Vec<String>>,
    /// What happens to an object that exists already: `none` or `update`.
    #[schemars(extend("nullable" = true))]
    pub existing_resource_policy: Option<String>,
    /// Commands and containers that run in restored pods.
    pub hooks: Option<RestoreHooks>,
    /// Whether cluster-scoped objects are restored; where absent, those that restored objects need.
    #[schemars(extend("nullable" = true))]
    pub include_cluster_resources: Option<bool>,
    /// Namespaces to restore; all where there are none.
    #[schemars(extend("nullable" = true))]
    pub included_namespaces: Option<Vec<String>>,
    /// Kinds of objects to restore; all where there are none.
    #[schemars(extend("nullable" = true))]
    pub included_resources: Option<Vec<String>>,
    /// The longest time to wait for operations of plugins; 4 hours where absent.
    pub item_operation_timeout: Option<Duration>,
    /// Labels that the objects have. Not together with `orLabelSelectors`.
    #[schemars(extend("nullable" = true))]
    pub label_selector: Option<LabelSelector>,
    /// The namespaces into which those of the Backup are restored; the same ones where nothing is said.
    pub namespace_mapping: Option<BTreeMap<String, String>>,
    /// Labels of which the objects have at least one set. Not together with `labelSelector`.
    #[schemars(extend("nullable" = true))]
    pub or_label_selectors: Option<Vec<LabelSelector>>,
    /// Whether Services keep the node ports that were given to them.
    #[schemars(extend("nullable" = true))]
    pub preserve_node_ports: Option<bool>,
    /// A `ConfigMap` with changes to make to restored objects.
    #[schemars(extend("nullable" = true))]
    pub resource_modifier: Option<LocalReference>,
    /// A `ConfigMap` with rules for volumes.
    #[schemars(extend("nullable" = true))]
    pub resource_policy: Option<LocalReference>,
    /// Whether volumes are restored.
    #[serde(rename = "restorePVs")]
    #[schemars(extend("nullable" = true))]
    pub restore_pvs: Option<bool>,
    /// Kinds of objects whose status is restored; none where absent.
    #[schemars(extend("nullable" = true))]
    pub restore_status: Option<RestoreStatusSpec>,
    /// Name of the Schedule whose newest Completed Backup is restored. Not together with `backupName`.
    pub schedule_name: Option<String>,
    /// Settings of the uploader.
    #[schemars(extend("nullable" = true))]
    pub uploader_config: Option<RestoreUploaderConfig>,
}

/// Kinds of objects whose status is restored.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreStatusSpec {
    /// Kinds to leave out.
    #[schemars(extend("nullable" = true))]
    pub excluded_resources: Option<Vec<String>>,
    /// Kinds to take.
    #[schemars(extend("nullable" = true))]
    pub included_resources: Option<Vec<String>>,
}

/// Settings of the uploader of a Restore.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreUploaderConfig {
    /// How many files are written at once.
    pub parallel_files_download: Option<i32>,
    /// Whether holes stay holes.
    #[schemars(extend("nullable" = true))]
    pub write_sparse_files: Option<bool>,
}

words! {
    /// How far a Restore is.
    pub enum RestorePhase {
        /// Nobody has taken it yet; an absent phase means the same.
        New = "New",
        /// It asks for what cannot be; it did not run.
        FailedValidation = "FailedValidation",
        /// It runs.
        InProgress = "InProgress",
        /// Objects are restored; operations of plugins go on.
        WaitingForPluginOperations = "WaitingForPluginOperations",
        /// The same, and there were errors.
        WaitingForPluginOperationsPartiallyFailed = "WaitingForPluginOperationsPartiallyFailed",
        /// All that was asked for is back.
        Completed = "Completed",
        /// Some of what was asked for is not back; the log and the results name it.
        PartiallyFailed = "PartiallyFailed",
        /// It ended before it could be finished.
        Failed = "Failed",
        /// Data is back; volumes get what could not be said when they were made.
        Finalizing = "Finalizing",
        /// The same, and there were errors.
        FinalizingPartiallyFailed = "FinalizingPartiallyFailed",
    }
}

impl RestorePhase {
    /// Whether nothing will change any more.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::FailedValidation | Self::Completed | Self::PartiallyFailed | Self::Failed => true,
            Self::New
            | Self::InProgress
            | Self::WaitingForPluginOperations
            | Self::WaitingForPluginOperationsPartiallyFailed
            | Self::Finalizing
            | Self::FinalizingPartiallyFailed => false,
        }
    }
}

/// How far a Restore is.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreStatus {
    /// When it ended.
    #[schemars(extend("nullable" = true))]
    pub completion_timestamp: Option<Time>,
    /// Errors, each of which the results name.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub errors: i32,
    /// Why it is Failed.
    pub failure_reason: Option<String>,
    /// How many hooks ran.
    #[schemars(extend("nullable" = true))]
    pub hook_status: Option<HookStatus>,
    /// How far it is.
    pub phase: Option<RestorePhase>,
    /// How many objects are restored.
    #[schemars(extend("nullable" = true))]
    pub progress: Option<RestoreProgress>,
    /// Operations of plugins that were started.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub restore_item_operations_attempted: i32,
    /// Operations of plugins that succeeded.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub restore_item_operations_completed: i32,
    /// Operations of plugins that failed.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub restore_item_operations_failed: i32,
    /// When it began.
    #[schemars(extend("nullable" = true))]
    pub start_timestamp: Option<Time>,
    /// What is wrong with the spec.
    #[schemars(extend("nullable" = true))]
    pub validation_errors: Option<Vec<String>>,
    /// Warnings, each of which the results name.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub warnings: i32,
}

/// How many objects of a Restore are done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreProgress {
    /// Objects that are done.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub items_restored: i32,
    /// Objects that are known so far; the number may grow.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub total_items: i32,
}
