//! `ServerStatusRequest`: the question who serves, and in which version.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::{download_request::RequestPhase, time::Time};

/// The question has no parts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "velero.io",
    version = "v1",
    kind = "ServerStatusRequest",
    plural = "serverstatusrequests",
    shortname = "ssr",
    namespaced,
    status = "ServerStatusRequestStatus",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq"
)]
pub struct ServerStatusRequestSpec {}

/// Who serves.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatusRequestStatus {
    /// Whether the question is answered.
    pub phase: Option<RequestPhase>,
    /// What the server can do besides.
    #[schemars(extend("nullable" = true))]
    pub plugins: Option<Vec<Plugin>>,
    /// When the question was answered.
    #[schemars(extend("nullable" = true))]
    pub processed_timestamp: Option<Time>,
    /// Version of the server.
    pub server_version: Option<String>,
}

/// Something that the server can do besides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plugin {
    /// What it does.
    pub kind: String,
    /// Its name.
    pub name: String,
}
