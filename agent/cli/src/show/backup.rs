//! Backups as rows of a table and as a description.

pub(crate) mod describe;
pub(crate) mod spec;
pub(crate) mod structured;
pub(crate) mod volumes;

use std::cmp::Ordering;

use kube::ResourceExt as _;
use trysail_api::{backup::Backup, time::Time};

use super::{View, moment, selector};

/// Columns of a table. Source: Velero `pkg/cmd/util/output/backup_printer.go`.
pub(crate) const COLUMNS: [&str; 9] =
    ["NAME", "STATUS", "ERRORS", "WARNINGS", "CREATED", "EXPIRES", "STORAGE LOCATION", "QUEUE POSITION", "SELECTOR"];

/// One row.
pub(crate) fn row(backup: &Backup, view: &View) -> Vec<String> {
    let status = backup.status.clone().unwrap_or_default();
    vec![
        backup.name_any(),
        phase(backup),
        status.errors.to_string(),
        status.warnings.to_string(),
        moment::moment_or(status.start_timestamp, "<nil>", view),
        moment::from_now(expiration(backup), view),
        backup.spec.storage_location.clone().unwrap_or_default(),
        Some(status.queue_position).filter(|place| *place > 0).map(|place| place.to_string()).unwrap_or_default(),
        selector(backup.spec.label_selector.as_ref()),
    ]
}

fn phase(backup: &Backup) -> String {
    if backup.metadata.deletion_timestamp.is_some() {
        return "Deleting".to_owned();
    }
    let phase = backup.status.as_ref().and_then(|status| status.phase);
    phase.map_or_else(|| "New".to_owned(), |phase| phase.to_string())
}

/// When a backup may be deleted, as far as that is known.
fn expiration(backup: &Backup) -> Option<jiff::Timestamp> {
    let said = backup.status.as_ref().and_then(|status| status.expiration).map(Time::timestamp);
    let ttl = backup.spec.ttl.as_ref().filter(|ttl| ttl.nanoseconds() > 0);
    let made = backup.metadata.creation_timestamp.as_ref().map(|at| at.0);
    said.or_else(|| made?.checked_add(jiff::SignedDuration::from(ttl?)).ok())
}

/// The order of a table: by name, and of those of one schedule the newest first.
pub(crate) fn order(a: &str, b: &str) -> Ordering {
    match (without_time(a), without_time(b)) {
        (Some(x), Some(y)) if x == y => b.cmp(a),
        _ => a.cmp(b),
    }
}

/// The name before `-yyyymmddhhmmss`.
fn without_time(name: &str) -> Option<&str> {
    let (before, time) = name.rsplit_once('-')?;
    (time.len() == 14 && time.bytes().all(|byte| byte.is_ascii_digit())).then_some(before)
}
