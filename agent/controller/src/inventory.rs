//! `<backup>-trysail.json`: the sizes and hashes of a backup's files, and its snapshots, so that what is missing or changed
//! shows. It is signed by the location's root key. What a reader may believe is decided here too. Pure.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use trysail_api::{pod_volume_backup::PodVolumeBackup, transfer::UploaderType};
use trysail_repository::signature::{PublicKey, verify_inventory};

use crate::bucket::{layout, write::StoredFile};

/// Name and version of the format.
const FORMAT: &str = "trysail-backup/1";

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Inventory {
    format: String,
    backup: String,
    uid: String,
    /// The key that signs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signer: Option<PublicKey>,
    files: Vec<File>,
    snapshots: Vec<Snapshot>,
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    key: String,
    bytes: u64,
    sha256: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    /// Directory of the repository below the location's prefix.
    repository: String,
    snapshot: String,
}

impl Inventory {
    /// Of files that are stored or will be at once.
    pub(crate) fn new(
        backup: &str,
        uid: &str,
        signer: Option<PublicKey>,
        files: &[StoredFile],
        transfers: &[PodVolumeBackup],
    ) -> Self {
        let file = |file: &StoredFile| File {
            key: file.key.clone(),
            bytes: file.bytes as u64,
            sha256: hex::encode(file.sha256),
        };
        let snapshot = |transfer: &PodVolumeBackup| {
            let snapshot = transfer.status.as_ref()?.snapshot_id.clone().filter(|id| !id.is_empty())?;
            let namespace = transfer.spec.pod.namespace.as_deref()?;
            let uploader = transfer.spec.uploader_type.unwrap_or(UploaderType::Unset).directory();
            Some(Snapshot { repository: format!("{uploader}/{namespace}"), snapshot })
        };
        Self {
            format: FORMAT.to_owned(),
            backup: backup.to_owned(),
            uid: uid.to_owned(),
            signer,
            files: files.iter().map(file).collect(),
            snapshots: transfers.iter().filter_map(snapshot).collect(),
        }
    }

    fn expected(&self, key: &str) -> Option<Expected> {
        let file = self.files.iter().find(|file| file.key == key)?;
        let sha256 = hex::decode(&file.sha256).ok()?.try_into().ok()?;
        Some(Expected { bytes: file.bytes, sha256 })
    }
}

/// What a file must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
}

impl Expected {
    /// # Errors
    /// The bytes are others: a sentence's end.
    pub(crate) fn compare(&self, body: &[u8]) -> Result<(), NotAsStored> {
        let found = Self { bytes: body.len() as u64, sha256: Sha256::digest(body).into() };
        if *self == found { Ok(()) } else { Err(NotAsStored { expected: self.bytes, found: found.bytes }) }
    }
}

/// A file is not the one that its backup stored.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("it is not what the backup stored there: {found} bytes instead of {expected}, or as many others")]
pub(crate) struct NotAsStored {
    pub(crate) expected: u64,
    pub(crate) found: u64,
}

/// What is known of the files of a backup before they are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Evidence {
    /// What the archive must be, where anything says it.
    pub(crate) archive: Option<Expected>,
    /// What the list of volumes must be.
    pub(crate) volumes: Option<Expected>,
    /// Why nobody that is trusted has signed it; none where somebody has.
    pub(crate) doubt: Option<String>,
}

impl Evidence {
    /// Looks at the inventory of a backup of a location that trusts a root key, or none yet.
    ///
    /// What an unsigned inventory says is good against damage, and not against forgery.
    pub(crate) fn of(backup: &str, object: Option<&[u8]>, location: &str, pinned: Option<PublicKey>) -> Self {
        let doubtful = |doubt: &str| Self { doubt: Some(doubt.to_owned()), ..Self::default() };
        let Some(object) = object else { return doubtful("the backup has no inventory that could be signed") };
        let Ok(inventory) = serde_json::from_slice::<Inventory>(object) else {
            return doubtful("its inventory cannot be read");
        };
        if inventory.format != FORMAT {
            return doubtful(&format!("its inventory is of the format {:?}, not of {FORMAT:?}", inventory.format));
        }
        if inventory.backup != backup {
            return doubtful(&format!("its inventory is that of backup {}", inventory.backup));
        }
        let archive = inventory.expected(&layout::backup_file(backup, ".tar.gz"));
        let volumes = inventory.expected(&layout::pod_volume_backups(backup));
        let doubt = doubt_in(&inventory, object, location, pinned);
        let doubt = doubt.or_else(|| {
            (archive.is_none() || volumes.is_none()).then(|| "its inventory does not name all of its files".to_owned())
        });
        Self { archive, volumes, doubt }
    }
}

fn doubt_in(inventory: &Inventory, object: &[u8], location: &str, pinned: Option<PublicKey>) -> Option<String> {
    let Some(signer) = inventory.signer else { return Some("nobody has signed its inventory".to_owned()) };
    let Some(pinned) = pinned else {
        return Some(format!(
            "it is signed by {signer}, and location {location} trusts no key yet: if that is the key of your installation, \
             kubectl annotate backupstoragelocation {location} {}={signer}",
            trysail_api::names::own::ROOT_KEY
        ));
    };
    if verify_inventory(object, pinned).is_ok() {
        return None;
    }
    Some(if signer == pinned {
        "the signature of its inventory is wrong".to_owned()
    } else {
        format!("it is signed by {signer}, and location {location} trusts {pinned}")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trysail_repository::{keys::Keys, signature::sign_inventory};

    use super::*;

    const ARCHIVE: &str = "backups/b1/b1.tar.gz";
    const VOLUMES: &str = "backups/b1/b1-podvolumebackups.json.gz";

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
        let files = [StoredFile::of(ARCHIVE, b"abc")];
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

    fn expected(body: &[u8]) -> Expected {
        Expected { bytes: body.len() as u64, sha256: Sha256::digest(body).into() }
    }

    fn inventory(backup: &str, signer: Option<PublicKey>) -> Inventory {
        let files = [StoredFile::of(ARCHIVE, b"archive"), StoredFile::of(VOLUMES, b"volumes")];
        Inventory::new(backup, "u", signer, &files, &[])
    }

    fn doubt(object: Option<&[u8]>, pinned: Option<PublicKey>) -> Option<String> {
        Evidence::of("b1", object, "nas", pinned).doubt
    }

    #[test]
    fn a_backup_is_believed_when_the_key_that_the_location_trusts_has_signed_it() {
        let root = Keys::from_parts([1; 32], [2; 32]).root();
        let signed = sign_inventory(&inventory("b1", Some(root.public())), &root);
        let found = Evidence::of("b1", Some(&signed), "nas", Some(root.public()));
        let believed =
            Evidence { archive: Some(expected(b"archive")), volumes: Some(expected(b"volumes")), doubt: None };
        assert_eq!(found, believed);
        for at in 0..signed.len() {
            let mut changed = signed.clone();
            changed[at] ^= 1;
            assert!(doubt(Some(&changed), Some(root.public())).is_some(), "byte {at}");
        }
    }

    /// An inventory, the pinned key, and what is to be said.
    type Row<'a> = (Option<&'a [u8]>, Option<PublicKey>, String);

    #[test]
    fn every_reason_not_to_believe_is_a_sentence_s_end() {
        let (root, other) = (Keys::from_parts([1; 32], [2; 32]).root(), Keys::from_parts([3; 32], [4; 32]).root());
        let key = root.public();
        let signed = sign_inventory(&inventory("b1", Some(key)), &root);
        let foreign = sign_inventory(&inventory("b1", Some(other.public())), &other);
        let pretended = sign_inventory(&inventory("b1", Some(key)), &other);
        let moved = sign_inventory(&inventory("b2", Some(key)), &root);
        let unsigned = serde_json::to_vec(&inventory("b1", None)).unwrap();
        let short = sign_inventory(&Inventory::new("b1", "u", Some(key), &[], &[]), &root);
        let rows: [Row<'_>; 8] = [
            (None, Some(key), "the backup has no inventory that could be signed".to_owned()),
            (Some(b"{}"), Some(key), "its inventory cannot be read".to_owned()),
            (Some(&moved), Some(key), "its inventory is that of backup b2".to_owned()),
            (Some(&unsigned), Some(key), "nobody has signed its inventory".to_owned()),
            (Some(&pretended), Some(key), "the signature of its inventory is wrong".to_owned()),
            (Some(&foreign), Some(key), format!("it is signed by {}, and location nas trusts {key}", other.public())),
            (Some(&short), Some(key), "its inventory does not name all of its files".to_owned()),
            (
                Some(&signed),
                None,
                format!(
                    "it is signed by {key}, and location nas trusts no key yet: if that is the key of your installation, \
                     kubectl annotate backupstoragelocation nas trysail.io/root-key={key}"
                ),
            ),
        ];
        for (object, pinned, expected) in rows {
            assert_eq!(doubt(object, pinned), Some(expected));
        }
    }

    #[test]
    fn an_unsigned_inventory_still_tells_damage() {
        let unsigned = serde_json::to_vec(&inventory("b1", None)).unwrap();
        let found = Evidence::of("b1", Some(&unsigned), "nas", None);
        let archive = found.archive.unwrap();
        assert_eq!(archive.compare(b"archive"), Ok(()));
        assert_eq!(archive.compare(b"archivf"), Err(NotAsStored { expected: 7, found: 7 }));
        assert_eq!(archive.compare(b""), Err(NotAsStored { expected: 7, found: 0 }));
    }
}
