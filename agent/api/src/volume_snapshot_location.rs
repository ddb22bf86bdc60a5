//! `VolumeSnapshotLocation`: where a provider keeps its own snapshots of disks. Trysail serves the kind and takes none.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::{backup_storage_location::LocationPhase, reference::SecretKey};

/// Who takes the snapshots, and how.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "velero.io",
    version = "v1",
    kind = "VolumeSnapshotLocation",
    plural = "volumesnapshotlocations",
    shortname = "vsl",
    namespaced,
    status = "VolumeSnapshotLocationStatus",
    schema = "disabled",
    derive = "PartialEq"
)]
pub struct VolumeSnapshotLocationSpec {
    /// Settings of the provider.
    pub config: Option<BTreeMap<String, String>>,
    /// The Secret with the credentials.
    pub credential: Option<SecretKey>,
    /// Who takes the snapshots.
    pub provider: String,
}

/// What is known of a location.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VolumeSnapshotLocationStatus {
    /// Whether it can be used.
    pub phase: Option<LocationPhase>,
}
