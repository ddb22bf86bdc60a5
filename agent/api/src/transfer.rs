//! What the kinds that move the data of one volume have in common: phases, progress, uploaders, operating systems.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::words::words;

words! {
    /// How far the data of one volume is.
    pub enum TransferPhase {
        /// Nobody has taken it yet; an absent phase means the same.
        New = "New",
        /// A node agent has taken it.
        Accepted = "Accepted",
        /// What reads or writes the volume is ready.
        Prepared = "Prepared",
        /// Data moves.
        InProgress = "InProgress",
        /// Somebody asked to cancel it.
        Canceling = "Canceling",
        /// It was cancelled.
        Canceled = "Canceled",
        /// All data has moved.
        Completed = "Completed",
        /// It ended with an error.
        Failed = "Failed",
    }
}

impl TransferPhase {
    /// Whether nothing will change any more.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Canceled | Self::Completed | Self::Failed => true,
            Self::New | Self::Accepted | Self::Prepared | Self::InProgress | Self::Canceling => false,
        }
    }
}

words! {
    /// The words of stock Velero for what writes volume data. Every one of them means Trysail's engine.
    pub enum UploaderType {
        /// The default.
        Kopia = "kopia",
        /// The older one; a repository below `restic/`.
        Restic = "restic",
        /// None was chosen.
        Unset = "",
    }
}

impl UploaderType {
    /// The directory of a location's prefix in which its repositories lie. No choice means `kopia`, as in Velero.
    pub const fn directory(self) -> &'static str {
        match self {
            Self::Kopia | Self::Unset => "kopia",
            Self::Restic => "restic",
        }
    }
}

words! {
    /// The operating system of the node that moves data.
    pub enum NodeOs {
        /// Found out from the volume.
        Auto = "auto",
        /// Linux.
        Linux = "linux",
        /// Windows.
        Windows = "windows",
    }
}

/// How many bytes of a volume have moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransferProgress {
    /// Bytes that have moved.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub bytes_done: i64,
    /// Bytes that are to move.
    #[serde(default, skip_serializing_if = "crate::zero::is_zero")]
    pub total_bytes: i64,
}
