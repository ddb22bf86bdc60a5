//! Takes over Backups that others stored in a location, and drops those that are no longer there.
//!
//! Source: Velero `pkg/controller/backup_sync_controller.go`. PodVolumeBackups are made before their Backup, so that one that
//! stops in between leaves nothing out: they get their Backup's UID afterwards, and those without one are looked for.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DeleteParams, ObjectMeta, PostParams},
    runtime::{Controller, controller::Action, watcher},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use trysail_api::{
    backup::{Backup, BackupPhase},
    backup_storage_location::{BackupStorageLocation, LocationPhase},
    names::{label, label_value},
    pod_volume_backup::PodVolumeBackup,
    schedule::Schedule,
};

use crate::{
    Error, Result,
    bucket::Place,
    context::{Context, now},
    drive::{CALM, Guarded, drive},
    error::unless,
    patch,
};

/// What differs between a location and the cluster.
#[derive(Debug, Default, PartialEq, Eq)]
struct Difference {
    /// Names of Backups in the bucket that no Backup of the cluster has.
    new: Vec<String>,
    /// Names of Backups of the cluster that are no longer in the bucket.
    gone: Vec<String>,
}

/// Syncs all locations for ever.
pub(crate) async fn run(context: Arc<Context>) {
    let api: Api<Guarded<BackupStorageLocation>> = context.api();
    let controller = Controller::new(api, watcher::Config::default());
    drive("backup-sync", controller, CALM, reconcile, context).await;
}

async fn reconcile(location: Arc<BackupStorageLocation>, context: Arc<Context>) -> Result<Action> {
    let Some(period) = period(&location, context.settings.sync_period) else { return Ok(Action::await_change()) };
    // A location that becomes available changes, and is looked at then.
    if location.status.as_ref().and_then(|status| status.phase) != Some(LocationPhase::Available) {
        return Ok(Action::await_change());
    }
    let now = now();
    let last = context.known().get(&location.name_any()).and_then(|known| known.synced_at);
    if let Some(left) = last.and_then(|last| left(last, period, now)) {
        return Ok(Action::requeue(left));
    }
    sync(&location, &context).await?;
    if let Some(known) = context.known().get_mut(&location.name_any()) {
        known.synced_at = Some(now);
    }
    Ok(Action::requeue(period))
}

/// How often a location is synced; none for never.
fn period(location: &BackupStorageLocation, default: Duration) -> Option<Duration> {
    let own = location.spec.backup_sync_period.as_ref();
    let period = own.map_or(default, |own| Duration::from_nanos(u64::try_from(own.nanoseconds()).unwrap_or(0)));
    (!period.is_zero()).then_some(period)
}

fn left(last: Timestamp, period: Duration, now: Timestamp) -> Option<Duration> {
    let passed = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    period.checked_sub(passed).filter(|left| !left.is_zero())
}

async fn sync(location: &BackupStorageLocation, context: &Context) -> Result<()> {
    // The cluster first: what is stored in between is new in neither view, and not gone either.
    let there: Vec<Backup> = context.list("").await?;
    let place = Place::open(location, context).await?;
    let stored = place.backups().await?;
    let difference = compare(&location.name_any(), &there, &stored);
    for name in &difference.new {
        if let Err(error) = take_over(name, location, &place, context).await {
            tracing::warn!(backup = name, %error, "A backup of the location cannot be taken over");
        }
    }
    adopt(&location.name_any(), context).await?;
    for name in &difference.gone {
        let deleted = context.api::<Backup>().delete(name, &DeleteParams::default()).await;
        unless(&[404], deleted).map_err(Error::kubernetes(format!("delete backup {name}")))?;
        tracing::info!(backup = name, "Deleted the object of a backup that is no longer in its location");
    }
    Ok(())
}

/// Pure. A Backup of another location hides one of the same name here.
fn compare(location: &str, there: &[Backup], stored: &[String]) -> Difference {
    let names: BTreeSet<&str> = there.iter().filter_map(|backup| backup.metadata.name.as_deref()).collect();
    let stored: BTreeSet<&str> = stored.iter().map(String::as_str).collect();
    let is_gone = |backup: &&Backup| {
        let phase = backup.status.as_ref().and_then(|status| status.phase);
        backup.labels().get(label::STORAGE_LOCATION).map(String::as_str) == Some(&label_value(location))
            && matches!(phase, Some(BackupPhase::Completed | BackupPhase::PartiallyFailed))
            && backup.metadata.deletion_timestamp.is_none()
            && !stored.contains(backup.name_any().as_str())
    };
    Difference {
        new: stored.difference(&names).map(|name| (*name).to_owned()).collect(),
        gone: there.iter().filter(is_gone).map(kube::ResourceExt::name_any).collect(),
    }
}

async fn take_over(name: &str, location: &BackupStorageLocation, place: &Place, context: &Context) -> Result<()> {
    let Some(record) = place.record(name).await? else { return Ok(()) };
    let schedules: Vec<Schedule> = context.list("").await?;
    let namespace = &context.settings.namespace;
    let Some(backup) = adapted(record, &location.name_any(), namespace, &schedules, now()) else {
        return Ok(());
    };
    if backup.name_any() != name {
        tracing::warn!(backup = name, record = backup.name_any(), "A backup's record bears another name");
        return Ok(());
    }
    for volume in place.pod_volume_backups(name).await? {
        create(context, &adapted_volume(volume, &location.name_any(), namespace)).await?;
    }
    create(context, &backup).await?;
    tracing::info!(backup = name, location = location.name_any(), "Took over a backup from its location");
    Ok(())
}

/// A stored Backup as an object of this cluster; none as long as it is not finished.
///
/// One that will not be finished any more becomes PartiallyFailed, so that it can expire.
fn adapted(
    mut backup: Backup,
    location: &str,
    namespace: &str,
    schedules: &[Schedule],
    now: Timestamp,
) -> Option<Backup> {
    let status = backup.status.get_or_insert_default();
    let is_over = status.expiration.is_some_and(|at| at.timestamp() <= now);
    match status.phase {
        Some(phase) if phase.is_terminal() => {}
        _ if is_over => status.phase = Some(BackupPhase::PartiallyFailed),
        _ => return None,
    }
    let owners = backup.metadata.owner_references.take().unwrap_or_default().into_iter();
    let exists = |owner: &OwnerReference| {
        let is_it = |s: &Schedule| s.name_any() == owner.name && s.uid().as_deref() == Some(&*owner.uid);
        owner.kind == "Schedule" && schedules.iter().any(is_it)
    };
    let owners: Vec<OwnerReference> = owners.filter(exists).collect();
    backup.metadata = ObjectMeta {
        namespace: Some(namespace.to_owned()),
        owner_references: (!owners.is_empty()).then_some(owners),
        ..own_part(backup.metadata)
    };
    backup.labels_mut().insert(label::STORAGE_LOCATION.to_owned(), label_value(location));
    backup.spec.storage_location = Some(location.to_owned());
    Some(backup)
}

/// A stored PodVolumeBackup as an object of this cluster, without the UID of its Backup, which does not exist yet.
fn adapted_volume(mut volume: PodVolumeBackup, location: &str, namespace: &str) -> PodVolumeBackup {
    volume.metadata = ObjectMeta { namespace: Some(namespace.to_owned()), ..own_part(volume.metadata) };
    volume.labels_mut().remove(label::BACKUP_UID);
    location.clone_into(&mut volume.spec.backup_storage_location);
    volume
}

/// What of an object's metadata does not belong to the cluster that it was in.
fn own_part(metadata: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name,
        labels: metadata.labels,
        annotations: metadata.annotations,
        ..ObjectMeta::default()
    }
}

/// Gives PodVolumeBackups of a location that were taken over the UID of their Backup.
async fn adopt(location: &str, context: &Context) -> Result<()> {
    let orphans: Vec<PodVolumeBackup> = context.list(&format!("{},!{}", label::BACKUP_NAME, label::BACKUP_UID)).await?;
    let orphans = orphans.into_iter().filter(|volume| volume.spec.backup_storage_location == location);
    let orphans: Vec<PodVolumeBackup> = orphans.collect();
    if orphans.is_empty() {
        return Ok(());
    }
    let backups: Vec<Backup> = context.list("").await?;
    for orphan in orphans {
        let of = orphan.labels().get(label::BACKUP_NAME);
        let owner = backups.iter().find(|backup| of == Some(&label_value(&backup.name_any())));
        let Some((owner, uid)) = owner.and_then(|owner| Some((owner, owner.uid()?))) else { continue };
        let reference = OwnerReference {
            api_version: Backup::api_version(&()).into_owned(),
            kind: Backup::kind(&()).into_owned(),
            name: owner.name_any(),
            uid: uid.clone(),
            controller: Some(true),
            block_owner_deletion: None,
        };
        let metadata = json!({ "labels": { label::BACKUP_UID: uid }, "ownerReferences": [reference] });
        patch::merge::<PodVolumeBackup>(context, &orphan.name_any(), &json!({ "metadata": metadata })).await?;
    }
    Ok(())
}

/// Makes an object with its status, which is a field like others. One that is there stays.
async fn create<K>(context: &Context, object: &K) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Serialize
        + DeserializeOwned
        + std::fmt::Debug,
{
    let made = context.api::<K>().create(&PostParams::default(), object).await;
    unless(&[409], made).map_err(Error::kubernetes(format!("create {} {}", K::kind(&()), object.name_any())))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn backup(name: &str, location: &str, phase: &str) -> Backup {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "Backup",
            "metadata": { "name": name, "labels": { "velero.io/storage-location": location } },
            "spec": {}, "status": { "phase": phase },
        }))
        .unwrap()
    }

    #[test]
    fn only_finished_backups_of_the_location_that_are_no_longer_stored_are_gone() {
        let there = [
            backup("a", "nas", "Completed"),
            backup("b", "nas", "PartiallyFailed"),
            backup("c", "nas", "Failed"),
            backup("d", "nas", "InProgress"),
            backup("e", "other", "Completed"),
        ];
        let stored = ["a", "e", "z"].map(str::to_owned);
        let expected = Difference { new: vec!["z".to_owned()], gone: vec!["b".to_owned()] };
        assert_eq!(compare("nas", &there, &stored), expected);
    }

    fn stored(phase: &str) -> Backup {
        let owner =
            |uid: &str| json!({ "apiVersion": "velero.io/v1", "kind": "Schedule", "name": "daily", "uid": uid });
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "Backup",
            "metadata": {
                "name": "b1", "namespace": "elsewhere", "uid": "old", "resourceVersion": "7", "generation": 3,
                "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": { "a": "1" },
                "labels": { "velero.io/storage-location": "there" }, "ownerReferences": [owner("u-1"), owner("u-2")],
            },
            "spec": { "storageLocation": "there" },
            "status": { "phase": phase, "expiration": "2026-02-01T00:00:00Z" },
        }))
        .unwrap()
    }

    fn taken(phase: &str, now: &str) -> Option<Value> {
        let schedule = json!({
            "apiVersion": "velero.io/v1", "kind": "Schedule", "metadata": { "name": "daily", "uid": "u-2" },
            "spec": { "schedule": "@daily", "template": {} },
        });
        let schedules = [serde_json::from_value(schedule).unwrap()];
        let backup = adapted(stored(phase), "nas", "velero", &schedules, now.parse().unwrap())?;
        Some(serde_json::to_value(backup).unwrap())
    }

    #[test]
    fn a_stored_backup_becomes_an_object_of_this_cluster() {
        let owner = json!({ "apiVersion": "velero.io/v1", "kind": "Schedule", "name": "daily", "uid": "u-2" });
        let expected = json!({
            "apiVersion": "velero.io/v1", "kind": "Backup",
            "metadata": {
                "name": "b1", "namespace": "velero", "annotations": { "a": "1" },
                "labels": { "velero.io/storage-location": "nas" }, "ownerReferences": [owner],
            },
            "spec": { "storageLocation": "nas" },
            "status": { "phase": "Completed", "expiration": "2026-02-01T00:00:00Z" },
        });
        assert_eq!(taken("Completed", "2026-01-02T00:00:00Z"), Some(expected));
    }

    #[test]
    fn an_unfinished_backup_is_taken_over_only_to_expire() {
        assert_eq!(taken("Finalizing", "2026-01-31T23:59:59Z"), None);
        let over = taken("Finalizing", "2026-02-01T00:00:00Z").unwrap();
        assert_eq!(over["status"]["phase"], "PartiallyFailed");
    }
}
