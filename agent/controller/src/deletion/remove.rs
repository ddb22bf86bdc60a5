//! Removes what belongs to a Backup, in an order that a crash may cut anywhere: snapshots of volumes, restores, then the files in the
//! bucket, of which the record comes last. While the record is there, the Backup is.

use std::collections::{BTreeMap, BTreeSet};

use kube::{ResourceExt as _, api::DeleteParams};
use trysail_api::{
    backup::Backup,
    backup_storage_location::BackupStorageLocation,
    names::{label, label_value},
    pod_volume_backup::PodVolumeBackup,
    restore::Restore,
    transfer::UploaderType,
};
use trysail_repository::{
    layout::SnapshotId,
    prune::forget,
    store::{Key, ObjectStore as _, PAGE_KEYS_MAX},
};

use crate::{
    Error, Result,
    bucket::{Place, layout},
    context::Context,
    error::unless,
    repository::{self, snapshot_id},
};

/// What was removed.
#[derive(Debug, Default)]
pub(super) struct Removed {
    /// What could not be removed, for people.
    pub(super) errors: Vec<String>,
    /// Restores are still there, since their own files are being removed.
    pub(super) is_waiting: bool,
}

/// Where snapshots lie: namespace and directory of the repository.
type Home = (String, UploaderType);

/// Removes everything but the Backup itself.
///
/// # Errors
/// Those of the API server. What is wrong with the bucket or a repository is told in the answer.
pub(super) async fn all(backup: &Backup, location: &BackupStorageLocation, context: &Context) -> Result<Removed> {
    let mut removed = Removed::default();
    let place = match Place::open(location, context).await {
        Ok(place) => place,
        Err(error @ Error::Kubernetes { .. }) => return Err(error),
        Err(error) => {
            removed.errors.push(format!("error getting the backup store: {error}"));
            return Ok(removed);
        }
    };
    for (home, snapshots) in snapshots(backup, &place, context).await? {
        if let Err(error) = forget_all(&home, &snapshots, location, context).await {
            removed.errors.push(format!("error deleting pod volume snapshots: {error}"));
        }
    }
    remove_restores(backup, &place, context, &mut removed).await?;
    if removed.errors.is_empty() && !removed.is_waiting {
        let record = layout::backup_record(&backup.name_any());
        let directory = format!("{}{}/", layout::BACKUPS, backup.name_any());
        if let Err(error) = remove_directory(&place, &directory, Some(&record)).await {
            removed.errors.push(format!("error removing backup from backup storage: {error}"));
        }
    }
    Ok(removed)
}

/// The snapshots of a Backup, by the repository that they lie in: those that the cluster knows and those that the bucket lists.
async fn snapshots(backup: &Backup, place: &Place, context: &Context) -> Result<BTreeMap<Home, BTreeSet<SnapshotId>>> {
    let name = backup.name_any();
    let mut volumes: Vec<PodVolumeBackup> =
        context.list(&format!("{}={}", label::BACKUP_NAME, label_value(&name))).await?;
    match place.pod_volume_backups(&name).await {
        Ok(listed) => volumes.extend(listed),
        Err(error) => {
            tracing::warn!(%error, "The list of a backup's volumes cannot be read; those in the cluster count");
        }
    }
    Ok(by_home(&volumes))
}

/// Pure. What is no snapshot of ours (stock Velero's names are hashes) is left alone.
fn by_home(volumes: &[PodVolumeBackup]) -> BTreeMap<Home, BTreeSet<SnapshotId>> {
    let mut found: BTreeMap<Home, BTreeSet<SnapshotId>> = BTreeMap::new();
    for volume in volumes {
        let Some(text) = volume.status.as_ref().and_then(|status| status.snapshot_id.as_deref()) else { continue };
        let Some(namespace) = volume.spec.pod.namespace.clone() else { continue };
        let Some(snapshot) = snapshot_id(text) else {
            tracing::warn!(snapshot = text, "A snapshot of another program is left where it is");
            continue;
        };
        let uploader = match volume.spec.uploader_type {
            Some(UploaderType::Restic) => UploaderType::Restic,
            _ => UploaderType::Kopia,
        };
        found.entry((namespace, uploader)).or_default().insert(snapshot);
    }
    found
}

async fn forget_all(
    (namespace, uploader): &Home,
    snapshots: &BTreeSet<SnapshotId>,
    location: &BackupStorageLocation,
    context: &Context,
) -> Result<()> {
    let Some(opened) = repository::open(context, location, namespace, *uploader).await? else { return Ok(()) };
    for snapshot in snapshots {
        let failed = |error: trysail_repository::prune::Error| Error::Object {
            what: format!("snapshot {snapshot} of {}", opened.name),
            reason: error.to_string(),
        };
        forget(&**opened.repository.store(), snapshot).await.map_err(failed)?;
        tracing::info!(snapshot = %snapshot, repository = opened.name, "Forgot a snapshot");
    }
    Ok(())
}

/// Deletes the Restores of a Backup with their files. An object that waits for its own controller is waited for.
async fn remove_restores(backup: &Backup, place: &Place, context: &Context, removed: &mut Removed) -> Result<()> {
    let restores: Vec<Restore> = context.list("").await?;
    let name = backup.name_any();
    for restore in restores.iter().filter(|restore| restore.spec.backup_name.as_deref() == Some(&name)) {
        let restore = restore.name_any();
        if let Err(error) = remove_directory(place, &format!("{}{restore}/", layout::RESTORES), None).await {
            removed.errors.push(format!("error deleting restore {restore}: {error}"));
            continue;
        }
        let deleted = context.api::<Restore>().delete(&restore, &DeleteParams::default()).await;
        unless(&[404], deleted).map_err(Error::kubernetes(format!("delete Restore {restore}")))?;
        removed.is_waiting |= context.get::<Restore>(&restore).await?.is_some();
    }
    Ok(())
}

/// Deletes all objects below a prefix; one of them after all others.
async fn remove_directory(place: &Place, prefix: &str, last: Option<&str>) -> Result<()> {
    let failed = |error| place.error(error);
    let mut after: Option<Key> = None;
    loop {
        let page = place.store.list(prefix, after.as_ref()).await.map_err(failed)?;
        after = page.objects.last().map(|object| object.key.clone());
        let keys = page.objects.into_iter().map(|object| object.key).filter(|key| Some(key.as_str()) != last);
        let keys: Vec<Key> = keys.collect();
        for batch in keys.chunks(PAGE_KEYS_MAX) {
            place.store.delete(batch).await.map_err(failed)?;
        }
        if !page.more {
            break;
        }
    }
    let Some(last) = last.and_then(layout::key) else { return Ok(()) };
    place.store.delete(&[last]).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn volume(namespace: &str, uploader: &str, snapshot: &str) -> PodVolumeBackup {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup", "metadata": {},
            "spec": {
                "backupStorageLocation": "default", "node": "n1", "repoIdentifier": "", "volume": "data",
                "pod": { "namespace": namespace }, "uploaderType": uploader,
            },
            "status": { "snapshotID": snapshot },
        }))
        .unwrap()
    }

    #[test]
    fn each_snapshot_is_forgotten_once_in_its_repository_and_those_of_others_stay() {
        let volumes = [
            volume("app1", "kopia", "db/01JD7Z0000000000000000000A"),
            volume("app1", "", "db/01JD7Z0000000000000000000A"),
            volume("app1", "restic", "web-0~2Fdata/01JD7Z0000000000000000000B"),
            volume("app2", "kopia", "a322e5386086ec03e413d76d6e9cfa6e"),
            volume("app2", "kopia", ""),
        ];
        let found: Vec<String> = by_home(&volumes)
            .iter()
            .map(|((namespace, uploader), snapshots)| {
                let snapshots: Vec<String> = snapshots.iter().map(ToString::to_string).collect();
                format!("{}/{namespace}: {}", uploader.directory(), snapshots.join(" "))
            })
            .collect();
        let mut expected = vec![
            "kopia/app1: db/01JD7Z0000000000000000000A".to_owned(),
            "restic/app1: web-0~2Fdata/01JD7Z0000000000000000000B".to_owned(),
        ];
        expected.sort();
        assert_eq!(found, expected);
    }
}
