//! Commands that run in pods: before and after their volumes are read, and after they are restored.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_with_macros::skip_serializing_none;

use crate::{duration::Duration, selector::LabelSelector, words::words};

words! {
    /// What a hook that fails means.
    pub enum OnError {
        /// The error is counted, and the pod is handled all the same.
        Continue = "Continue",
        /// The pod is not handled any further.
        Fail = "Fail",
    }
}

/// Hooks of a Backup.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupHooks {
    /// Hooks, each with the pods that it is for.
    #[schemars(extend("nullable" = true))]
    pub resources: Option<Vec<BackupHook>>,
}

/// Hooks of a Backup for some pods.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupHook {
    /// Namespaces to leave out.
    #[schemars(extend("nullable" = true))]
    pub excluded_namespaces: Option<Vec<String>>,
    /// Kinds of objects to leave out.
    #[schemars(extend("nullable" = true))]
    pub excluded_resources: Option<Vec<String>>,
    /// Namespaces; all where there are none.
    #[schemars(extend("nullable" = true))]
    pub included_namespaces: Option<Vec<String>>,
    /// Kinds of objects; all where there are none.
    #[schemars(extend("nullable" = true))]
    pub included_resources: Option<Vec<String>>,
    /// Labels that the objects have.
    #[schemars(extend("nullable" = true))]
    pub label_selector: Option<LabelSelector>,
    /// Name of the hook, for logs.
    pub name: String,
    /// Run when the volumes of the pod have been read.
    pub post: Option<Vec<Hook>>,
    /// Run before the volumes of the pod are read.
    pub pre: Option<Vec<Hook>>,
}

/// One hook of a Backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hook {
    /// The command.
    pub exec: Exec,
}

/// A command that a Backup runs in a container.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exec {
    /// Program and arguments; no shell is between.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// The container; the pod's first where there is none.
    pub container: Option<String>,
    /// What a failure means.
    pub on_error: Option<OnError>,
    /// The longest time it may run.
    pub timeout: Option<Duration>,
}

/// Hooks of a Restore.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RestoreHooks {
    /// Hooks, each with the pods that it is for.
    pub resources: Option<Vec<RestoreHookSet>>,
}

/// Hooks of a Restore for some pods.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreHookSet {
    /// Namespaces to leave out.
    #[schemars(extend("nullable" = true))]
    pub excluded_namespaces: Option<Vec<String>>,
    /// Kinds of objects to leave out.
    #[schemars(extend("nullable" = true))]
    pub excluded_resources: Option<Vec<String>>,
    /// Namespaces; all where there are none.
    #[schemars(extend("nullable" = true))]
    pub included_namespaces: Option<Vec<String>>,
    /// Kinds of objects; all where there are none.
    #[schemars(extend("nullable" = true))]
    pub included_resources: Option<Vec<String>>,
    /// Labels that the objects have.
    #[schemars(extend("nullable" = true))]
    pub label_selector: Option<LabelSelector>,
    /// Name of the hook, for logs.
    pub name: String,
    /// Run in or before the restored pods.
    pub post_hooks: Option<Vec<RestoreHook>>,
}

/// One hook of a Restore: a command in a running container, or containers that run first.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RestoreHook {
    /// A command in a container of the restored pod.
    pub exec: Option<RestoreExec>,
    /// Containers that run before those of the restored pod.
    pub init: Option<InitContainers>,
}

/// A command that a Restore runs in a container.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreExec {
    /// Program and arguments; no shell is between.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// The container; the pod's first where there is none.
    pub container: Option<String>,
    /// The longest time it may run.
    pub exec_timeout: Option<Duration>,
    /// What a failure means.
    pub on_error: Option<OnError>,
    /// Whether the container must be ready, not only running.
    #[schemars(extend("nullable" = true))]
    pub wait_for_ready: Option<bool>,
    /// The longest time to wait for the container.
    pub wait_timeout: Option<Duration>,
}

/// Containers that a Restore puts before those of a pod.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InitContainers {
    /// The containers, as Kubernetes describes them; kept as they are.
    #[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub init_containers: Option<Vec<Container>>,
    /// The longest time they may run.
    pub timeout: Option<Duration>,
}

/// A container, of which nothing is known here. Source: Kubernetes core/v1 `Container`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = any_object)]
pub struct Container(pub BTreeMap<String, Value>);

fn any_object(schema: &mut schemars::Schema) {
    *schema = schemars::json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
}

/// How many hooks ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookStatus {
    /// Hooks that were started.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub hooks_attempted: i32,
    /// Hooks that ended in an error.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub hooks_failed: i32,
}
