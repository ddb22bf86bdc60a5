//! `VolumeRestore`: what a claim names as its `dataSourceRef` to be filled from a snapshot. A kind of Trysail, not of Velero.
//!
//! A claim that names it is filled once, before it is bound; the kind has no phases of its own beyond the claim's.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::words::words;

/// Which snapshot fills the claim.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "trysail.io",
    version = "v1alpha1",
    kind = "VolumeRestore",
    plural = "volumerestores",
    namespaced,
    status = "VolumeRestoreStatus",
    schema = "disabled",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct VolumeRestoreSpec {
    /// Name of the `BackupStorageLocation`; the default one where absent.
    pub backup_storage_location: Option<String>,
    /// Name of the Secret with the age identity that opens the repository.
    pub identity_secret: Option<String>,
    /// What happens when there is no such snapshot; `fail` where absent.
    pub if_missing: Option<IfMissing>,
    /// The snapshot, as `volume/session`; the newest one of the volume where absent.
    #[serde(rename = "snapshotID")]
    pub snapshot_id: Option<String>,
    /// The namespace that was backed up; the claim's own where absent.
    pub source_namespace: Option<String>,
    /// Name of the volume in the repository, which is that of its claim.
    pub volume: String,
}

words! {
    /// What happens to a claim whose snapshot does not exist.
    pub enum IfMissing {
        /// The claim stays unbound, and says why.
        Fail = "fail",
        /// The claim stays unbound until there is one.
        Wait = "wait",
        /// The claim is bound to an empty volume.
        Empty = "empty",
    }
}

/// What was done.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeRestoreStatus {
    /// What went wrong.
    pub message: Option<String>,
    /// The snapshot that was taken, also where the spec asks for the newest.
    #[serde(rename = "snapshotID")]
    pub snapshot_id: Option<String>,
}
