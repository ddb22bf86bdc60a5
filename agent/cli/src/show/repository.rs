//! Repositories of a cluster as rows of a table.

use kube::ResourceExt as _;
use trysail_api::backup_repository::{BackupRepository, BackupRepositoryPhase};

use super::{View, moment::moment_or};

/// Columns of a table. Source: Velero `pkg/cmd/util/output/backup_repo_printer.go`.
pub(crate) const COLUMNS: [&str; 3] = ["NAME", "STATUS", "LAST MAINTENANCE"];

/// One row.
pub(crate) fn row(repository: &BackupRepository, view: &View) -> Vec<String> {
    let status = repository.status.clone().unwrap_or_default();
    vec![
        repository.name_any(),
        status.phase.unwrap_or(BackupRepositoryPhase::New).to_string(),
        moment_or(status.last_maintenance_time, "<never>", view),
    ]
}
