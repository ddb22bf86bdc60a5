//! `BackupStorageLocation`: the bucket in which Backups lie, and whether it can be used.

use std::{borrow::Cow, collections::BTreeMap};

use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::{duration::Duration, reference::SecretKey, time::Time, words::words};

/// Where a location is and how it is used.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "velero.io",
    version = "v1",
    kind = "BackupStorageLocation",
    plural = "backupstoragelocations",
    shortname = "bsl",
    namespaced,
    status = "BackupStorageLocationStatus",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase","description":"Whether it can be used"}"#,
    printcolumn = r#"{"name":"Last Validated","type":"date","jsonPath":".status.lastValidationTime","description":"When that was found out"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Default","type":"boolean","jsonPath":".spec.default","description":"Whether it is the default"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct BackupStorageLocationSpec {
    /// What may be done there.
    pub access_mode: Option<AccessMode>,
    /// How often Backups that others stored there are taken over; zero for never.
    #[schemars(extend("nullable" = true))]
    pub backup_sync_period: Option<Duration>,
    /// Settings of the provider, such as `region` and `s3Url`.
    pub config: Option<BTreeMap<String, String>>,
    /// The Secret with the credentials; those of the server where absent.
    pub credential: Option<SecretKey>,
    /// Whether it is taken where no location is named.
    pub default: Option<bool>,
    /// The bucket.
    pub object_storage: ObjectStorage,
    /// Who serves the bucket: `aws` for everything that speaks S3.
    pub provider: String,
    /// How often it is looked at; zero for only once.
    #[schemars(extend("nullable" = true))]
    pub validation_frequency: Option<Duration>,
}

/// A part of a bucket.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStorage {
    /// Name of the bucket.
    pub bucket: String,
    /// PEM certificates of who is trusted, in base64. `caCertRef` is the better place.
    pub ca_cert: Option<Base64>,
    /// The Secret with PEM certificates of who is trusted.
    pub ca_cert_ref: Option<SecretKey>,
    /// What all keys begin with; slashes around it do not count.
    pub prefix: Option<String>,
}

/// Bytes as base64 text; kept as they were written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base64(pub String);

impl JsonSchema for Base64 {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Base64".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "byte" })
    }
}

words! {
    /// What may be done in a location.
    pub enum AccessMode {
        /// Restores only.
        ReadOnly = "ReadOnly",
        /// Backups and Restores; the default.
        ReadWrite = "ReadWrite",
    }
}

words! {
    /// Whether a location can be used.
    pub enum LocationPhase {
        /// It was reached, and nothing there is in the way.
        Available = "Available",
        /// It cannot be used; the message says why.
        Unavailable = "Unavailable",
    }
}

/// What is known of a location.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupStorageLocationStatus {
    /// No longer used.
    pub access_mode: Option<AccessMode>,
    /// No longer used.
    pub last_synced_revision: Option<String>,
    /// When Backups of others were last taken over.
    #[schemars(extend("nullable" = true))]
    pub last_synced_time: Option<Time>,
    /// When it was last looked at.
    #[schemars(extend("nullable" = true))]
    pub last_validation_time: Option<Time>,
    /// Why it cannot be used.
    pub message: Option<String>,
    /// Whether it can be used.
    pub phase: Option<LocationPhase>,
}
