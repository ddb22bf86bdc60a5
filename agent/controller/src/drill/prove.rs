//! Reads a backup as a restore would: its archive to the end, its list of volumes, and each snapshot with all of its packs.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt as _;
use tokio::{runtime::Handle, task::spawn_blocking};
use trysail_api::{
    backup::Backup,
    backup_storage_location::BackupStorageLocation,
    pod_volume_backup::PodVolumeBackup,
    schedule::Schedule,
    transfer::{TransferPhase, UploaderType},
};
use trysail_cluster::archive::Reader;
use trysail_repository::{
    check::{CheckOptions, Progress, Subset, check},
    layout::SnapshotId,
    seal::Identity,
};

use super::verdict::{Report, Verdict};
use crate::{
    Error, Result,
    bucket::Place,
    context::Context,
    inventory::Evidence,
    repository::{self, pinned, snapshot_id},
    restore::{
        archive::{Archive, Seal},
        identity::identity,
    },
};

/// What is tried in one repository.
struct Part {
    namespace: String,
    uploader: UploaderType,
    snapshots: BTreeSet<SnapshotId>,
}

/// Tries a backup.
///
/// # Errors
/// What was to be read could not be asked for. That it is damaged is said in the report.
pub(super) async fn prove(schedule: &Schedule, backup: &Backup, now: Timestamp, context: &Context) -> Result<Report> {
    let name = backup.name_any();
    let location = backup.spec.storage_location.clone().unwrap_or_default();
    let Some(location) = context.get::<BackupStorageLocation>(&location).await? else {
        return Ok(Report::failed(&name, now, &format!("there is no location {location}")));
    };
    let identity = match identity(schedule.annotations(), context).await? {
        Ok(identity) => identity.unwrap_or_default(),
        Err(problem) => return Ok(Report::failed(&name, now, &problem)),
    };
    let place = Place::open(&location, context).await?;
    let inventory = place.inventory(&name).await?;
    let evidence = Evidence::of(&name, inventory.as_deref(), &location.name_any(), pinned(&location)?);
    let volumes = match &evidence.volumes {
        Some(expected) => place.proved_pod_volume_backups(&name, expected).await?,
        None => place.pod_volume_backups(&name).await?,
    };
    let archive = archive(place, &name, &evidence, &identity).await?;
    let mut report = Report::new(&name, now, archive);
    if let Some(doubt) = evidence.doubt {
        report.fail(format!("nobody that is trusted has signed the backup: {doubt}"));
    }
    for (directory, Part { namespace, uploader, snapshots }) in parts(&volumes, &mut report) {
        let Some(opened) = repository::open(context, &location, &namespace, uploader).await? else {
            report.fail(format!("there is no repository {directory}"));
            continue;
        };
        let options = CheckOptions {
            identity: identity.clone(),
            keys: opened.keys,
            read_data: Some(Subset::ALL),
            only: Some(snapshots.clone()),
        };
        let found = check(&opened.repository, &options, &|_: Progress| {}).await;
        let found = found.map_err(|source| repository::failed(&directory, source))?;
        report.add(&directory, &snapshots, &found);
    }
    Ok(report)
}

/// Reads the archive to its end.
async fn archive(place: Place, backup: &str, evidence: &Evidence, identity: &Identity) -> Result<Verdict> {
    let missing = || Error::Object { what: format!("backup {backup}"), reason: "its archive is missing".to_owned() };
    let archive = Archive::find(place, backup, evidence.archive).await?.ok_or_else(missing)?;
    let seal = archive.seal().await?;
    let archive = archive.prepared(seal).await?;
    let archive = match seal {
        Seal::Open => archive,
        // Its stored bytes were compared with their hash.
        Seal::Encrypted if identity.is_empty() => return Ok(Verdict::Stored),
        Seal::Encrypted => archive.opened(identity).map_err(|error| Error::Object {
            what: format!("the archive of backup {backup}"),
            reason: error.to_string(),
        })?,
    };
    let runtime = Handle::current();
    let read = spawn_blocking(move || {
        archive.pass(&runtime, |bytes| {
            let mut reader = Reader::new(bytes);
            while reader.next_item()?.is_some() {}
            Ok::<_, trysail_cluster::Error>(())
        })
    });
    let read = read.await.map_err(|_| Error::Broken("the reader of an archive"))??;
    read.map_err(|source| Error::Object {
        what: format!("the archive of backup {backup}"),
        reason: source.to_string(),
    })?;
    Ok(Verdict::Proven)
}

/// The snapshots of a backup, by the directories of their repositories.
fn parts(volumes: &[PodVolumeBackup], report: &mut Report) -> BTreeMap<String, Part> {
    let mut all: BTreeMap<String, Part> = BTreeMap::new();
    for volume in volumes {
        let status = volume.status.clone().unwrap_or_default();
        let id = status.snapshot_id.filter(|id| !id.is_empty());
        let (Some(id), true) = (id, status.phase == Some(TransferPhase::Completed)) else { continue };
        let Some(snapshot) = snapshot_id(&id) else {
            report.fail(format!("snapshot {id} was written by another program"));
            continue;
        };
        let namespace = volume.spec.pod.namespace.clone().unwrap_or_default();
        let uploader = volume.spec.uploader_type.unwrap_or(UploaderType::Unset);
        let directory = format!("{}/{namespace}", uploader.directory());
        let part = all.entry(directory).or_insert_with(|| Part { namespace, uploader, snapshots: BTreeSet::new() });
        part.snapshots.insert(snapshot);
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn snapshots_are_tried_repository_by_repository_and_those_of_other_programs_are_told() {
        let volume = |namespace: &str, uploader: &str, phase: &str, snapshot: &str| -> PodVolumeBackup {
            serde_json::from_value(json!({
                "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup", "metadata": {},
                "spec": {
                    "node": "n", "pod": { "namespace": namespace }, "volume": "v", "backupStorageLocation": "default",
                    "repoIdentifier": "", "uploaderType": uploader,
                },
                "status": { "phase": phase, "snapshotID": snapshot },
            }))
            .unwrap()
        };
        let (one, two) = ("data/01ARZ3NDEKTSV4RRFFQ69G5FAV", "data/01ARZ3NDEKTSV4RRFFQ69G5FAW");
        let all = [
            volume("a", "kopia", "Completed", one),
            volume("a", "", "Completed", two),
            volume("b", "restic", "Completed", one),
            volume("c", "kopia", "Failed", one),
            volume("d", "kopia", "Completed", ""),
            volume("e", "kopia", "Completed", "a322e5386086ec03e413d76d6e9cfa6e"),
        ];
        let mut report = Report::new("b1", Timestamp::UNIX_EPOCH, Verdict::Proven);
        let found = parts(&all, &mut report);
        let told: Vec<String> = found
            .iter()
            .map(|(directory, part)| {
                let names: Vec<String> = part.snapshots.iter().map(ToString::to_string).collect();
                format!("{directory}: {}", names.join(" "))
            })
            .collect();
        assert_eq!(told, [format!("kopia/a: {one} {two}"), format!("restic/b: {one}")]);
        assert_eq!(report.problem(), "snapshot a322e5386086ec03e413d76d6e9cfa6e was written by another program");
    }
}
