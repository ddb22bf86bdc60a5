//! `Schedule`: Backups that are made again and again. When is in `cron`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{CustomResource, Resource as _, ResourceExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::{
    backup::{Backup, BackupSpec},
    names::{label, label_value, scheduled_backup},
    time::Time,
    words::words,
};

/// Annotations that describe a Schedule's own manifest and would be wrong on a Backup.
const NOT_COPIED: [&str; 1] = ["kubectl.kubernetes.io/last-applied-configuration"];

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

impl Schedule {
    /// The Backup that it makes at a time: the same that `velero backup create --from-schedule` makes.
    ///
    /// Source: Velero `pkg/builder/backup_builder.go`, `FromSchedule`.
    pub fn backup(&self, at: Timestamp) -> Backup {
        let template = &self.spec.template;
        let name = self.name_any();
        let mut backup = Backup::new(&scheduled_backup(&name, at), template.clone());
        backup.metadata.namespace = self.namespace();
        let own = template.metadata.as_ref().and_then(|metadata| metadata.labels.clone());
        let mut labels = own.unwrap_or_else(|| self.labels().clone());
        labels.insert(label::SCHEDULE_NAME.to_owned(), label_value(&name));
        backup.metadata.labels = Some(labels);
        let is_copied =
            |(key, _): &(&String, &String)| !NOT_COPIED.contains(&key.as_str()) && !key.starts_with("trysail.io/");
        let copied = self.annotations().iter().filter(is_copied).map(|(key, value)| (key.clone(), value.clone()));
        let annotations: BTreeMap<String, String> = copied.collect();
        backup.metadata.annotations = (!annotations.is_empty()).then_some(annotations);
        if self.spec.use_owner_references_in_backup == Some(true) {
            backup.metadata.owner_references = Some(vec![OwnerReference {
                api_version: Self::api_version(&()).into_owned(),
                kind: Self::kind(&()).into_owned(),
                name,
                uid: self.uid().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: None,
            }]);
        }
        backup
    }
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
