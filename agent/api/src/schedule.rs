//! `Schedule`: Backups that are made again and again. When is in `cron`.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::{backup::BackupSpec, time::Time, words::words};

/// What to back up, and when.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "velero.io",
    version = "v1",
    kind = "Schedule",
    plural = "schedules",
    namespaced,
    status = "ScheduleStatus",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.phase","description":"How far it is"}"#,
    printcolumn = r#"{"name":"Schedule","type":"string","jsonPath":".spec.schedule","description":"When Backups are made"}"#,
    printcolumn = r#"{"name":"LastBackup","type":"date","jsonPath":".status.lastBackup","description":"When the last Backup was made"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Paused","type":"boolean","jsonPath":".spec.paused"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleSpec {
    /// Whether no Backups are made for now.
    pub paused: Option<bool>,
    /// When Backups are made: five fields, `@daily` or `@every 6h`, also with `CRON_TZ=Zone` before.
    pub schedule: String,
    /// Whether the time that is due when the Schedule is made or unpaused is passed over.
    pub skip_immediately: Option<bool>,
    /// The spec of each Backup.
    pub template: BackupSpec,
    /// Whether the Backups are deleted together with the Schedule.
    #[schemars(extend("nullable" = true))]
    pub use_owner_references_in_backup: Option<bool>,
}

words! {
    /// Whether a Schedule makes Backups.
    pub enum SchedulePhase {
        /// Nobody has looked at it yet; an absent phase means the same.
        New = "New",
        /// It makes Backups.
        Enabled = "Enabled",
        /// It asks for what cannot be.
        FailedValidation = "FailedValidation",
    }
}

/// What a Schedule did.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleStatus {
    /// When it made a Backup last.
    #[schemars(extend("nullable" = true))]
    pub last_backup: Option<Time>,
    /// When it passed over a Backup last.
    #[schemars(extend("nullable" = true))]
    pub last_skipped: Option<Time>,
    /// Whether it makes Backups.
    pub phase: Option<SchedulePhase>,
    /// What is wrong with the spec.
    pub validation_errors: Option<Vec<String>>,
}
