//! Names of the objects of a location, below its prefix. Names and nothing else.
//!
//! Source: Velero `pkg/persistence/object_store_layout.go`.

use trysail_api::download_request::DownloadTargetKind;
use trysail_repository::store::Key;

/// The directories that may lie in a location; a server of Velero refuses one with any other.
pub(crate) const DIRECTORIES: [&str; 6] = ["backups", "restores", "restic", "metadata", "plugins", "kopia"];

/// Where backups lie.
pub(crate) const BACKUPS: &str = "backups/";

/// Where restores lie.
pub(crate) const RESTORES: &str = "restores/";

/// The record of a backup: where it exists, the backup does.
pub(crate) fn backup_record(backup: &str) -> String {
    format!("{BACKUPS}{backup}/velero-backup.json")
}

/// All that lies of a backup.
pub(crate) fn backup_directory(backup: &str) -> String {
    format!("{BACKUPS}{backup}/")
}

/// A file of a backup, by what follows the backup's name in its own.
pub(crate) fn backup_file(backup: &str, rest: &str) -> String {
    format!("{BACKUPS}{backup}/{backup}{rest}")
}

/// The PodVolumeBackups of a backup, as JSON in gzip.
pub(crate) fn pod_volume_backups(backup: &str) -> String {
    format!("{BACKUPS}{backup}/{backup}-podvolumebackups.json.gz")
}

/// What the record of a backup is called in documents that are older than Velero's layout; there it is JSON in gzip.
pub(crate) fn backup_record_by_its_former_name(backup: &str) -> String {
    format!("{BACKUPS}{backup}/{backup}-backup.json.gz")
}

/// Sizes and hashes of a backup's objects, and its snapshots.
pub(crate) fn backup_inventory(backup: &str) -> String {
    format!("{BACKUPS}{backup}/{backup}-trysail.json")
}

/// What the last drill of a backup came to.
pub(crate) fn drill_verdict(backup: &str) -> String {
    format!("{BACKUPS}{backup}/{backup}-trysail-drill.json")
}

/// The file that a DownloadRequest asks for; `name` is that of the backup or restore.
pub(crate) fn download(kind: DownloadTargetKind, name: &str) -> String {
    use DownloadTargetKind as Kind;
    let backup = |rest: &str| format!("{BACKUPS}{name}/{name}{rest}");
    let restore = |rest: &str| format!("{RESTORES}{name}/restore-{name}{rest}");
    match kind {
        Kind::BackupLog => backup("-logs.gz"),
        Kind::BackupContents => backup(".tar.gz"),
        Kind::BackupVolumeSnapshots => backup("-volumesnapshots.json.gz"),
        Kind::BackupItemOperations => backup("-itemoperations.json.gz"),
        Kind::BackupResourceList => backup("-resource-list.json.gz"),
        Kind::BackupResults => backup("-results.gz"),
        Kind::CsiBackupVolumeSnapshots => backup("-csi-volumesnapshots.json.gz"),
        Kind::CsiBackupVolumeSnapshotContents => backup("-csi-volumesnapshotcontents.json.gz"),
        Kind::BackupVolumeInfos => backup("-volumeinfo.json.gz"),
        Kind::RestoreLog => restore("-logs.gz"),
        Kind::RestoreResults => restore("-results.gz"),
        Kind::RestoreResourceList => restore("-resource-list.json.gz"),
        Kind::RestoreItemOperations => restore("-itemoperations.json.gz"),
        // Without `restore-`, unlike the others.
        Kind::RestoreVolumeInfo => format!("{RESTORES}{name}/{name}-volumeinfo.json.gz"),
    }
}

/// A name as a key. Names of Kubernetes objects always are; others name nothing of ours.
pub(crate) fn key(name: &str) -> Option<Key> {
    Key::parse(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_lies_where_velero_looks_for_it() {
        let found: Vec<String> = DownloadTargetKind::ALL.iter().map(|kind| download(*kind, "b1")).collect();
        expect_test::expect![[r"
            backups/b1/b1-logs.gz
            backups/b1/b1.tar.gz
            backups/b1/b1-volumesnapshots.json.gz
            backups/b1/b1-itemoperations.json.gz
            backups/b1/b1-resource-list.json.gz
            backups/b1/b1-results.gz
            restores/b1/restore-b1-logs.gz
            restores/b1/restore-b1-results.gz
            restores/b1/restore-b1-resource-list.json.gz
            restores/b1/restore-b1-itemoperations.json.gz
            backups/b1/b1-csi-volumesnapshots.json.gz
            backups/b1/b1-csi-volumesnapshotcontents.json.gz
            backups/b1/b1-volumeinfo.json.gz
            restores/b1/b1-volumeinfo.json.gz"]]
        .assert_eq(&found.join("\n"));
    }
}
