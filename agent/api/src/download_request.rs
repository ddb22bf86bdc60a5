//! `DownloadRequest`: the wish for a URL from which a stored file can be fetched.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::{time::Time, words::words};

/// Which file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "velero.io",
    version = "v1",
    kind = "DownloadRequest",
    plural = "downloadrequests",
    namespaced,
    status = "DownloadRequestStatus",
    schema = "disabled",
    derive = "PartialEq"
)]
pub struct DownloadRequestSpec {
    /// The file.
    pub target: DownloadTarget,
}

/// A file of a Backup or Restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DownloadTarget {
    /// Which of its files.
    pub kind: DownloadTargetKind,
    /// Name of the Backup, or of the Restore for files of Restores.
    pub name: String,
}

words! {
    /// The files that can be fetched.
    pub enum DownloadTargetKind {
        /// Log of a Backup.
        BackupLog = "BackupLog",
        /// The objects of a Backup, as a tarball.
        BackupContents = "BackupContents",
        /// Snapshots that a provider took.
        BackupVolumeSnapshots = "BackupVolumeSnapshots",
        /// Operations of plugins of a Backup.
        BackupItemOperations = "BackupItemOperations",
        /// List of the objects of a Backup.
        BackupResourceList = "BackupResourceList",
        /// Errors and warnings of a Backup.
        BackupResults = "BackupResults",
        /// Log of a Restore.
        RestoreLog = "RestoreLog",
        /// Errors and warnings of a Restore.
        RestoreResults = "RestoreResults",
        /// List of the objects of a Restore.
        RestoreResourceList = "RestoreResourceList",
        /// Operations of plugins of a Restore.
        RestoreItemOperations = "RestoreItemOperations",
        /// CSI snapshots of a Backup.
        CsiBackupVolumeSnapshots = "CSIBackupVolumeSnapshots",
        /// Contents of CSI snapshots of a Backup.
        CsiBackupVolumeSnapshotContents = "CSIBackupVolumeSnapshotContents",
        /// What was done with each volume of a Backup.
        BackupVolumeInfos = "BackupVolumeInfos",
        /// What was done with each volume of a Restore.
        RestoreVolumeInfo = "RestoreVolumeInfo",
    }
}

impl DownloadTargetKind {
    /// Whether the target's name is that of a Restore.
    pub const fn is_of_restore(self) -> bool {
        match self {
            Self::RestoreLog
            | Self::RestoreResults
            | Self::RestoreResourceList
            | Self::RestoreItemOperations
            | Self::RestoreVolumeInfo => true,
            Self::BackupLog
            | Self::BackupContents
            | Self::BackupVolumeSnapshots
            | Self::BackupItemOperations
            | Self::BackupResourceList
            | Self::BackupResults
            | Self::CsiBackupVolumeSnapshots
            | Self::CsiBackupVolumeSnapshotContents
            | Self::BackupVolumeInfos => false,
        }
    }
}

words! {
    /// Whether there is a URL yet. `ServerStatusRequest` has the same words.
    pub enum RequestPhase {
        /// Nobody has answered yet; an absent phase means the same.
        New = "New",
        /// The answer is in the status.
        Processed = "Processed",
    }
}

impl RequestPhase {
    /// Whether nothing will change any more.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Processed)
    }
}

/// Where the file can be fetched.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DownloadRequestStatus {
    /// The URL; who has it may read the file until it expires.
    #[serde(rename = "downloadURL")]
    pub download_url: Option<String>,
    /// When the URL and the request end.
    #[schemars(extend("nullable" = true))]
    pub expiration: Option<Time>,
    /// Whether there is a URL yet.
    pub phase: Option<RequestPhase>,
}
