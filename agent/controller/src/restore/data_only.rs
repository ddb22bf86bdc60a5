//! Restores without objects: the volumes of a backup go into claims that are there already, for clusters whose objects come from Git.
//!
//! `select` says which volumes go into which claims, `claim` whether a claim can be filled now. Filling it is the work of a
//! PodVolumeRestore that names the claim instead of a pod.

mod claim;
mod select;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{
    runtime::Handle,
    task::spawn_blocking,
    time::{Instant, sleep},
};
use trysail_api::{
    names::{finalizer, label, own},
    pod_volume_backup::PodVolumeBackup,
    pod_volume_restore::PodVolumeRestore,
    reference::ObjectReference,
    restore::Restore,
    selector::Labels,
    transfer::TransferPhase,
};
use trysail_cluster::{archive::Reader, discover::discover, problem::Place, restore::rules::Rules};

use super::{
    archive::Archive,
    decide,
    run::{Outcome, Run},
    transfers::Transfers,
    volumes::{Wanted, transfer},
    wish::Wish,
};
use crate::{Error, Result, repository::CLAIM, volume_restore::writers};
use claim::{Found, Step, decide as decide_claim};
use select::{CLAIMS, ClaimName, Volume, select, spoken};

/// Pause between looks at claims that cannot be filled yet.
const LOOK: Duration = Duration::from_secs(1);

/// Claims of one archive whose labels are held.
const CLAIMS_MAX: usize = 100_000;

/// Fills the claims that the Restore selects.
///
/// # Errors
/// The archive cannot be read, or the Restore has gone meanwhile. What concerns one claim is in the log.
pub(super) async fn restore(
    run: &Run<'_>,
    archive: Archive,
    saved: &[PodVolumeBackup],
    wish: &Wish,
) -> Result<Outcome> {
    let failed = |source| Error::Restore { restore: run.name(), source };
    let (catalog, doubts) = discover(&run.context.client).await.map_err(failed)?;
    for doubt in doubts.kept() {
        run.log.warning(doubt.place.clone(), &doubt.message);
    }
    let rules = Rules::new(&run.spec, &catalog).map_err(failed)?;
    let labels = labels(Arc::new(archive)).await?.map_err(failed)?;
    let selected = select(saved, &labels, &rules);
    run.relay(&selected.report);
    run.log.info("Restoring data alone: no object is made or changed", &[]);
    fill(run, wish, selected.volumes).await?;
    let moved = Transfers::of(run).await?.finish(run.volumes_until()).await?;
    if let Some(id) = &wish.once {
        remember(run, id, &moved).await;
    }
    Ok(Outcome { transfers: moved, ..Outcome::default() })
}

/// The labels of the claims of an archive.
async fn labels(archive: Arc<Archive>) -> Result<trysail_cluster::Result<BTreeMap<ClaimName, Labels>>> {
    let runtime = Handle::current();
    let read = spawn_blocking(move || archive.pass(&runtime, |bytes| labels_in(Reader::new(bytes))));
    read.await.map_err(|_| Error::Broken("the reader of an archive"))?
}

fn labels_in(mut reader: Reader<impl Read>) -> trysail_cluster::Result<BTreeMap<ClaimName, Labels>> {
    let mut labels = BTreeMap::new();
    while let Some(stored) = reader.next_item()? {
        // The directories of versions hold the same objects again.
        if stored.path.version.is_some() || stored.path.item.resource != CLAIMS {
            continue;
        }
        let Some(namespace) = stored.path.item.namespace else { continue };
        // What is no object has no labels; its data comes back all the same.
        let object: Value = serde_json::from_slice(&stored.json).unwrap_or_default();
        let of = object["metadata"]["labels"].as_object().into_iter().flatten();
        let of = of.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
        labels.insert((namespace, stored.path.item.name), of);
        if labels.len() > CLAIMS_MAX {
            return Err(trysail_cluster::Error::TooMany { max: CLAIMS_MAX });
        }
    }
    Ok(labels)
}

/// Asks for the filling of each claim as soon as that can be. What cannot be within the time is an error of its own.
async fn fill(run: &Run<'_>, wish: &Wish, mut volumes: Vec<Volume>) -> Result<()> {
    let until = run.since + patience(run);
    let before = if run.is_resumed { made(run).await? } else { BTreeSet::new() };
    volumes.retain(|volume| !before.contains(&volume.claim));
    let mut told = BTreeSet::new();
    loop {
        let mut open = Vec::new();
        for volume in volumes {
            match look(run, wish, &volume).await {
                Ok(Step::Await(why)) => open.push((volume, why)),
                Ok(Step::Leave(why)) => run.log.warning(place(&volume), &why),
                Ok(Step::Refuse(why)) => run.log.error(place(&volume), &why),
                Ok(Step::Fill { uid }) => ask(run, wish, &volume, &uid).await,
                Err(error) => open.push((volume, format!("it cannot be looked at: {error}"))),
            }
        }
        if open.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            for (volume, why) in &open {
                run.log.error(place(volume), why);
            }
            return Ok(());
        }
        for (volume, why) in &open {
            if told.insert(volume.claim.clone()) {
                run.log.info(&format!("Waiting: {why}"), &[]);
                run.context.tell(&run.restore, "Waiting", why.clone()).await;
            }
        }
        is_wanted(run).await?;
        volumes = open.into_iter().map(|(volume, _)| volume).collect();
        sleep(LOOK).await;
    }
}

/// How long claims are waited for: as long as any change of an object, or less where the Restore says less.
fn patience(run: &Run<'_>) -> Duration {
    let own = run.spec.item_operation_timeout.as_ref().map(super::run::span);
    own.map_or(run.resource_timeout(), |own| own.min(run.resource_timeout()))
}

fn place(volume: &Volume) -> Place {
    Place::Namespace(volume.claim.0.clone())
}

async fn is_wanted(run: &Run<'_>) -> Result<()> {
    let restore = run.context.get::<Restore>(&run.name()).await;
    if let Ok(restore) = restore
        && restore.is_none_or(|restore| decide::step(&restore) != decide::Step::GoOn)
    {
        return Err(Error::RestoreGone { restore: run.name() });
    }
    Ok(())
}

/// The claims for which an earlier server has asked.
async fn made(run: &Run<'_>) -> Result<BTreeSet<ClaimName>> {
    let all: Vec<PodVolumeRestore> = run.context.list(&format!("{}={}", label::RESTORE_UID, run.uid())).await?;
    Ok(all.iter().map(claim_of).collect())
}

fn claim_of(transfer: &PodVolumeRestore) -> ClaimName {
    let of = &transfer.spec.pod;
    (of.namespace.clone().unwrap_or_default(), of.name.clone().unwrap_or_default())
}

/// Looks at a claim and decides about it.
async fn look(run: &Run<'_>, wish: &Wish, volume: &Volume) -> Result<Step> {
    let (namespace, name) = &volume.claim;
    let api: Api<PersistentVolumeClaim> = Api::namespaced(run.context.client.clone(), namespace);
    let claim = api.get_opt(name).await.map_err(Error::kubernetes(format!("get {}", spoken(&volume.claim))))?;
    let uid = claim.as_ref().and_then(PersistentVolumeClaim::uid).unwrap_or_default();
    let transfers: Vec<PodVolumeRestore> = run.context.list(&format!("{}={uid}", label::PVC_UID)).await?;
    let found = Found { claim, writers: writers::gather(run.context, namespace, name).await?, transfers };
    Ok(decide_claim(&volume.claim, &found, wish))
}

async fn ask(run: &Run<'_>, wish: &Wish, volume: &Volume, uid: &str) {
    let made = into_claim(&run.restore, volume, wish, uid);
    if let Err(error) = run.context.api().create(&PostParams::default(), &made).await {
        let error = Error::kubernetes("create PodVolumeRestore")(error);
        run.log.error(place(volume), &format!("{} is not restored: {error}", spoken(&volume.claim)));
    }
}

/// The PodVolumeRestore that fills a claim: what it names in the place of a pod is the claim, as a PodVolumeBackup does of a claim that
/// no pod mounts. The finalizer stays until nothing of ours holds the claim.
fn into_claim(restore: &Restore, volume: &Volume, wish: &Wish, uid: &str) -> PodVolumeRestore {
    let (namespace, name) = volume.claim.clone();
    let reference = ObjectReference {
        kind: Some(CLAIM.to_owned()),
        namespace: Some(namespace),
        name: Some(name.clone()),
        ..ObjectReference::default()
    };
    let wanted = Wanted { volume: name.clone(), claim: Some(name), is_shared: false, saved: volume.saved.clone() };
    let mut made = transfer(restore, &reference, &wanted, Some(uid));
    made.labels_mut().remove(label::POD_UID);
    made.metadata.finalizers = Some(vec![finalizer::POD_VOLUME.to_owned()]);
    made.spec.uploader_settings = wish.settings();
    made
}

/// Writes onto each claim that is filled that it is, and by which id.
async fn remember(run: &Run<'_>, id: &str, moved: &[PodVolumeRestore]) {
    let is_whole =
        |one: &&PodVolumeRestore| one.status.as_ref().and_then(|s| s.phase) == Some(TransferPhase::Completed);
    for one in moved.iter().filter(is_whole) {
        let (namespace, name) = claim_of(one);
        // The API server refuses to write this onto another claim of that name.
        let uid = one.labels().get(label::PVC_UID);
        let fields = json!({ "metadata": { "uid": uid, "annotations": { own::RESTORED_ONCE: id } } });
        let api: Api<PersistentVolumeClaim> = Api::namespaced(run.context.client.clone(), &namespace);
        if let Err(error) = api.patch(&name, &PatchParams::default(), &Patch::Merge(&fields)).await {
            let error = Error::kubernetes(format!("patch {}", spoken(&(namespace.clone(), name.clone()))))(error);
            let message = format!(
                "annotation {} cannot be written, so the next restore with this id fills it again: {error}",
                own::RESTORED_ONCE
            );
            run.log.error(Place::Namespace(namespace), &message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fills_a_claim_names_the_claim_and_is_kept_until_nothing_holds_it() {
        let restore: Restore = serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "Restore", "metadata": { "name": "r1", "uid": "ru" }, "spec": {},
        }))
        .unwrap();
        let saved = serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup", "metadata": { "name": "b1-x" },
            "spec": {
                "node": "n1", "pod": { "kind": "Pod", "namespace": "app", "name": "web" }, "volume": "v",
                "backupStorageLocation": "default", "repoIdentifier": "", "uploaderType": "kopia",
            },
            "status": { "phase": "Completed", "snapshotID": "data/1", "progress": { "totalBytes": 7, "bytesDone": 7 } },
        }))
        .unwrap();
        let volume = Volume { claim: ("app2".to_owned(), "data".to_owned()), saved };
        let wish = Wish { overwrite: true, once: Some("x".to_owned()), paths: Vec::new() };
        let made = serde_json::to_value(into_claim(&restore, &volume, &wish, "cu")).unwrap();
        let labels =
            json!({ "velero.io/restore-name": "r1", "velero.io/restore-uid": "ru", "velero.io/pvc-uid": "cu" });
        let owner =
            json!({ "apiVersion": "velero.io/v1", "kind": "Restore", "name": "r1", "uid": "ru", "controller": true });
        let expected = json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeRestore",
            "metadata": {
                "generateName": "r1-", "labels": labels, "ownerReferences": [owner],
                "finalizers": ["velero.io/pod-volume-finalizer"],
            },
            "spec": {
                "backupStorageLocation": "default", "repoIdentifier": "", "snapshotID": "data/1", "snapshotSize": 7,
                "pod": { "kind": "PersistentVolumeClaim", "namespace": "app2", "name": "data" },
                "sourceNamespace": "app", "uploaderType": "kopia", "volume": "data",
                "uploaderSettings": { "trysail.io/overwrite": "true" },
            },
        });
        assert_eq!(made, expected);
    }
}
