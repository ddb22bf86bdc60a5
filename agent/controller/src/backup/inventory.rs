//! `<backup>-trysail.json`: the sizes and hashes of a backup's files, and its snapshots, so that what is missing or changed
//! shows. It is signed by the location's root key. Pure.

use std::fmt::Write as _;

use serde::Serialize;
use trysail_api::{pod_volume_backup::PodVolumeBackup, transfer::UploaderType};
use trysail_repository::signature::PublicKey;

use crate::bucket::write::StoredFile;

/// Name and version of the format.
const FORMAT: &str = "trysail-backup/1";

/// The file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Inventory {
    format: &'static str,
    backup: String,
    uid: String,
    /// The key that signs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<PublicKey>,
    files: Vec<File>,
    snapshots: Vec<Snapshot>,
}

#[derive(Debug, Serialize)]
struct File {
    key: String,
    bytes: usize,
    sha256: String,
}

#[derive(Debug, Serialize)]
struct Snapshot {
    /// Directory of the repository below the location's prefix.
    repository: String,
    snapshot: String,
}

impl Inventory {
    /// Of files that are stored or will be at once.
    pub(super) fn new(
        backup: &str,
        uid: &str,
        signer: Option<PublicKey>,
        files: &[StoredFile],
        transfers: &[PodVolumeBackup],
    ) -> Self {
        let file = |file: &StoredFile| File { key: file.key.clone(), bytes: file.bytes, sha256: hex(&file.sha256) };
        let snapshot = |transfer: &PodVolumeBackup| {
            let snapshot = transfer.status.as_ref()?.snapshot_id.clone().filter(|id| !id.is_empty())?;
            let namespace = transfer.spec.pod.namespace.as_deref()?;
            let uploader = transfer.spec.uploader_type.unwrap_or(UploaderType::Unset).directory();
            Some(Snapshot { repository: format!("{uploader}/{namespace}"), snapshot })
        };
        Self {
            format: FORMAT,
            backup: backup.to_owned(),
            uid: uid.to_owned(),
            signer,
            files: files.iter().map(file).collect(),
            snapshots: transfers.iter().filter_map(snapshot).collect(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        // A `String` takes what is written.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_and_snapshots_are_named_with_what_proves_them() {
        let transfer: PodVolumeBackup = serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup", "metadata": { "name": "b1-x" },
            "spec": {
                "node": "n", "pod": { "namespace": "app" }, "volume": "v", "backupStorageLocation": "default",
                "repoIdentifier": "",
            },
            "status": { "snapshotID": "data/1" },
        }))
        .unwrap();
        let mut failed = transfer.clone();
        failed.status = None;
        let files = [StoredFile::of("backups/b1/b1.tar.gz", b"abc")];
        let expected = json!({
            "format": "trysail-backup/1", "backup": "b1", "uid": "u",
            "files": [{
                "key": "backups/b1/b1.tar.gz", "bytes": 3,
                "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            }],
            "snapshots": [{ "repository": "kopia/app", "snapshot": "data/1" }],
        });
        assert_eq!(json!(Inventory::new("b1", "u", None, &files, &[transfer, failed])), expected);
    }
}
