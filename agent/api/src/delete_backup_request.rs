//! `DeleteBackupRequest`: the wish that a Backup and its data be deleted.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::words::words;

/// Which Backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "velero.io",
    version = "v1",
    kind = "DeleteBackupRequest",
    plural = "deletebackuprequests",
    namespaced,
    status = "DeleteBackupRequestStatus",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name":"BackupName","type":"string","jsonPath":".spec.backupName","description":"The Backup"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.phase","description":"How far it is"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DeleteBackupRequestSpec {
    /// Name of the Backup.
    pub backup_name: String,
}

words! {
    /// How far a deletion is.
    pub enum DeleteBackupRequestPhase {
        /// Nobody has taken it yet; an absent phase means the same.
        New = "New",
        /// Data is being deleted.
        InProgress = "InProgress",
        /// It ended; the errors say what is left.
        Processed = "Processed",
    }
}

impl DeleteBackupRequestPhase {
    /// Whether nothing will change any more.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Processed)
    }
}

/// How far a deletion is.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeleteBackupRequestStatus {
    /// What could not be deleted.
    #[schemars(extend("nullable" = true))]
    pub errors: Option<Vec<String>>,
    /// How far it is.
    pub phase: Option<DeleteBackupRequestPhase>,
}
