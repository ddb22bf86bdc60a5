//! Locations as they were typed.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use trysail_api::{
    backup_storage_location::{AccessMode, BackupStorageLocation, BackupStorageLocationSpec, Base64, ObjectStorage},
    reference::SecretKey,
};

use super::{map, span};
use crate::args::location::{LocationCreate, Mode};

/// The location that was typed, with the certificates that a file holds.
pub(crate) fn location(create: &LocationCreate, certificates: Option<&[u8]>) -> BackupStorageLocation {
    let spec = BackupStorageLocationSpec {
        provider: create.provider.clone(),
        object_storage: ObjectStorage {
            bucket: create.bucket.clone(),
            prefix: create.prefix.clone(),
            ca_cert: certificates.map(encoded),
            ca_cert_ref: None,
        },
        config: map(&create.config),
        default: create.default.then_some(true),
        access_mode: Some(match create.access_mode {
            Mode::ReadWrite => AccessMode::ReadWrite,
            Mode::ReadOnly => AccessMode::ReadOnly,
        }),
        credential: create.credential.as_ref().map(credential),
        backup_sync_period: span(create.backup_sync_period.as_ref()),
        validation_frequency: span(create.validation_frequency.as_ref()),
    };
    let mut location = BackupStorageLocation::new(&create.name, spec);
    location.metadata.namespace = Some(create.connection.namespace.clone());
    location.metadata.labels = map(&create.labels);
    location
}

/// Certificates as a field holds them.
pub(crate) fn encoded(certificates: &[u8]) -> Base64 {
    Base64(BASE64_STANDARD.encode(certificates))
}

/// One key of a Secret.
pub(crate) fn credential((name, key): &(String, String)) -> SecretKey {
    SecretKey { name: name.clone(), key: key.clone(), optional: None }
}
