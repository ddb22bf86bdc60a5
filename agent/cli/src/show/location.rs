//! Locations of backups as rows of a table.

use kube::ResourceExt as _;
use trysail_api::backup_storage_location::{AccessMode, BackupStorageLocation};

use super::{View, moment::moment_or};

/// Columns of a table. Source: Velero `pkg/cmd/util/output/backup_storage_location_printer.go`.
pub(crate) const COLUMNS: [&str; 7] =
    ["NAME", "PROVIDER", "BUCKET/PREFIX", "PHASE", "LAST VALIDATED", "ACCESS MODE", "DEFAULT"];

/// One row.
pub(crate) fn row(location: &BackupStorageLocation, view: &View) -> Vec<String> {
    let (spec, status) = (&location.spec, location.status.clone().unwrap_or_default());
    let store = &spec.object_storage;
    let prefix = store.prefix.as_deref().filter(|prefix| !prefix.is_empty());
    vec![
        location.name_any(),
        spec.provider.clone(),
        prefix.map_or_else(|| store.bucket.clone(), |prefix| format!("{}/{prefix}", store.bucket)),
        status.phase.map_or_else(|| "Unknown".to_owned(), |phase| phase.to_string()),
        moment_or(status.last_validation_time, "Unknown", view),
        spec.access_mode.unwrap_or(AccessMode::ReadWrite).to_string(),
        spec.default.filter(|is_default| *is_default).map(|_| "true".to_owned()).unwrap_or_default(),
    ]
}
