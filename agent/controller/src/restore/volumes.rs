//! Which volumes of restored pods get their files back, and from which snapshots. Pure.
//!
//! A volume is found by its claim first, whatever pod mounted that when it was saved, and else by pod and name.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource as _, ResourceExt as _};
use trysail_api::{
    names::{annotation, label, label_value},
    pod_volume_backup::PodVolumeBackup,
    pod_volume_restore::{PodVolumeRestore, PodVolumeRestoreSpec},
    reference::ObjectReference,
    restore::Restore,
    transfer::TransferPhase,
};
use trysail_cluster::{
    problem::{Place, Report},
    restore::{
        contents::Contents,
        plan::{Plan, Step},
    },
};

use crate::repository::{CLAIM, snapshot_id};

/// A pod of an archive: its namespace there, and its name.
pub(super) type PodName = (String, String);

/// A volume that gets its files back.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    /// Its name within the pod.
    pub(super) volume: String,
    /// Its claim.
    pub(super) claim: Option<String>,
    /// Whether other pods that come back mount the same claim.
    pub(super) is_shared: bool,
    /// What was saved of it.
    pub(super) saved: PodVolumeBackup,
}

/// Volumes of pods, and what cannot be restored.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Assignment {
    pub(super) pods: BTreeMap<PodName, Vec<Wanted>>,
    /// Namespace and name of claims that come with their pods, filled or with an error.
    pub(super) claims: BTreeSet<(String, String)>,
    pub(super) report: Report,
}

/// Namespace and name of claims of which there are files.
pub(super) fn saved_claims(saved: &[PodVolumeBackup]) -> BTreeSet<(String, String)> {
    saved.iter().filter(|one| has_snapshot(one)).filter_map(claim_of).collect()
}

/// Finds what was saved of the volumes of pods that come back. A claim gets its files once; all of its pods wait for them.
pub(super) fn assign(contents: &Contents, plan: &Plan, saved: &[PodVolumeBackup]) -> Assignment {
    let mut assignment = Assignment::default();
    for step in plan.steps.iter().filter(|step| step.item.resource == "pods" && step.skip.is_none()) {
        let name = (step.item.namespace.clone().unwrap_or_default(), step.item.name.clone());
        let mut wanted = Vec::new();
        for volume in contents.pods.get(&name).into_iter().flatten() {
            let claim = volume.claim.clone().map(|claim| (name.0.clone(), claim));
            let Some(found) = find(saved, &name, &volume.name, claim.as_ref()) else { continue };
            let is_first = claim.is_none_or(|claim| assignment.claims.insert(claim));
            if !has_snapshot(found) {
                continue;
            }
            match usable(found) {
                Ok(()) => wanted.push(Wanted {
                    volume: volume.name.clone(),
                    claim: volume.claim.clone(),
                    is_shared: false,
                    saved: found.clone(),
                }),
                Err(why) if is_first => assignment.refuse(step, &volume.name, &why),
                Err(_) => {}
            }
        }
        if !wanted.is_empty() {
            assignment.pods.insert(name, wanted);
        }
    }
    assignment.find_shared();
    assignment
}

impl Assignment {
    fn find_shared(&mut self) {
        let mut pods: BTreeMap<(String, String), usize> = BTreeMap::new();
        for ((namespace, _), wanted) in &self.pods {
            let claims: BTreeSet<&String> = wanted.iter().filter_map(|one| one.claim.as_ref()).collect();
            for claim in claims {
                *pods.entry((namespace.clone(), claim.clone())).or_default() += 1;
            }
        }
        for ((namespace, _), wanted) in &mut self.pods {
            for one in wanted {
                let claim = one.claim.clone().map(|claim| (namespace.clone(), claim));
                one.is_shared = claim.and_then(|claim| pods.get(&claim)).is_some_and(|count| *count > 1);
            }
        }
    }

    fn refuse(&mut self, step: &Step, volume: &str, why: &str) {
        let pod = step.restored_name().within_kind();
        let message = format!("volume {volume} of pod {pod} is restored empty: {why}");
        self.report.errors.add(Place::of(step.target.as_deref()), message);
    }
}

fn find<'a>(
    saved: &'a [PodVolumeBackup],
    pod: &PodName,
    volume: &str,
    claim: Option<&(String, String)>,
) -> Option<&'a PodVolumeBackup> {
    let by_claim = claim.and_then(|claim| {
        let is_of = |one: &&PodVolumeBackup| claim_of(one).as_ref() == Some(claim);
        // Of several, one that has files.
        saved.iter().filter(|one| has_snapshot(one)).find(is_of).or_else(|| saved.iter().find(is_of))
    });
    by_claim.or_else(|| {
        saved.iter().find(|one| {
            let of = &one.spec.pod;
            of.kind.as_deref() != Some(CLAIM)
                && of.namespace.as_deref() == Some(&pod.0)
                && of.name.as_deref() == Some(&pod.1)
                && one.spec.volume == volume
        })
    })
}

pub(super) fn claim_of(saved: &PodVolumeBackup) -> Option<(String, String)> {
    let of = &saved.spec.pod;
    let claim = match of.kind.as_deref() {
        Some(CLAIM) => of.name.clone(),
        _ => saved.annotations().get(annotation::PVC_NAME).cloned(),
    };
    Some((of.namespace.clone()?, claim?))
}

/// Whether there is anything to restore: a volume that was empty has no snapshot, nor has one that could not be saved.
pub(super) fn has_snapshot(saved: &PodVolumeBackup) -> bool {
    let status = saved.status.as_ref();
    status.is_some_and(|status| {
        status.phase == Some(TransferPhase::Completed) && status.snapshot_id.as_ref().is_some_and(|id| !id.is_empty())
    })
}

/// Whether a snapshot is one of ours.
pub(super) fn usable(saved: &PodVolumeBackup) -> Result<(), String> {
    let id = snapshot_of(saved);
    if snapshot_id(id).is_some() {
        return Ok(());
    }
    let uploader = saved.spec.uploader_type.map_or("kopia", trysail_api::transfer::UploaderType::directory);
    Err(format!("snapshot {id} was written by {uploader} of another program; restore it with the Velero that made it"))
}

pub(super) fn snapshot_of(saved: &PodVolumeBackup) -> &str {
    saved.status.as_ref().and_then(|status| status.snapshot_id.as_deref()).unwrap_or_default()
}

/// The PodVolumeRestore of a volume; its name is made by the API server.
///
/// Source: Velero `pkg/podvolume/restorer.go`, `newPodVolumeRestore`.
pub(super) fn transfer(
    restore: &Restore,
    pod: &ObjectReference,
    wanted: &Wanted,
    claim_uid: Option<&str>,
) -> PodVolumeRestore {
    let saved = &wanted.saved;
    let uid = restore.uid().unwrap_or_default();
    let spec = PodVolumeRestoreSpec {
        backup_storage_location: saved.spec.backup_storage_location.clone(),
        pod: pod.clone(),
        repo_identifier: saved.spec.repo_identifier.clone(),
        snapshot_id: snapshot_of(saved).to_owned(),
        snapshot_size: saved.status.as_ref().and_then(|status| status.progress).map(|progress| progress.total_bytes),
        source_namespace: saved.spec.pod.namespace.clone().unwrap_or_default(),
        uploader_type: saved.spec.uploader_type,
        volume: wanted.volume.clone(),
        ..PodVolumeRestoreSpec::default()
    };
    let mut made = PodVolumeRestore::new("", spec);
    made.metadata.name = None;
    made.metadata.generate_name = Some(format!("{}-", restore.name_any()));
    let labels = [
        (label::RESTORE_NAME, label_value(&restore.name_any())),
        (label::RESTORE_UID, uid.clone()),
        (label::POD_UID, pod.uid.clone().unwrap_or_default()),
    ];
    let claim = claim_uid.map(|uid| (label::PVC_UID, uid.to_owned()));
    made.metadata.labels = Some(labels.into_iter().chain(claim).map(|(key, value)| (key.to_owned(), value)).collect());
    made.metadata.owner_references = Some(vec![OwnerReference {
        api_version: Restore::api_version(&()).into_owned(),
        kind: Restore::kind(&()).into_owned(),
        name: restore.name_any(),
        uid,
        controller: Some(true),
        block_owner_deletion: None,
    }]);
    made
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use trysail_cluster::restore::contents::PodVolume;

    use super::*;

    const OURS: &str = "data/01ARZ3NDEKTSV4RRFFQ69G5FAV";

    fn saved(pod: &str, volume: &str, claim: Option<&str>, snapshot: &str) -> PodVolumeBackup {
        let annotations = claim.map_or(json!({}), |claim| json!({ "velero.io/pvc-name": claim }));
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup",
            "metadata": { "name": "b1-x", "annotations": annotations },
            "spec": {
                "node": "n1", "pod": { "kind": "Pod", "namespace": "app", "name": pod }, "volume": volume,
                "backupStorageLocation": "default", "repoIdentifier": "", "uploaderType": "kopia",
            },
            "status": { "phase": "Completed", "snapshotID": snapshot, "progress": { "totalBytes": 7, "bytesDone": 7 } },
        }))
        .unwrap()
    }

    /// A pod's name, and the names and claims of its volumes.
    type Pod<'a> = (&'a str, &'a [(&'a str, Option<&'a str>)]);

    /// Pods of namespace `app`.
    fn world(pods: &[Pod<'_>]) -> (Contents, Plan) {
        let mut contents = Contents::default();
        let mut plan = Plan::default();
        let catalog = trysail_cluster::kind::Kind {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            plural: "pods".to_owned(),
            is_namespaced: true,
            aliases: Vec::new(),
        };
        for (name, volumes) in pods {
            let volume = |(name, claim): &(&str, Option<&str>)| PodVolume {
                name: (*name).to_owned(),
                claim: claim.map(str::to_owned),
            };
            contents.pods.insert(("app".to_owned(), (*name).to_owned()), volumes.iter().map(volume).collect());
            plan.steps.push(Step {
                item: trysail_cluster::kind::ItemName::namespaced("pods", "app", name),
                kind: catalog.clone().into(),
                target: Some("app2".to_owned()),
                bytes: 0,
                skip: None,
            });
        }
        (contents, plan)
    }

    fn names(assignment: &Assignment) -> Vec<String> {
        let name = |((_, pod), wanted): (&PodName, &Vec<Wanted>)| {
            let shared = |one: &Wanted| if one.is_shared { " (shared)" } else { "" };
            let volumes: Vec<String> = wanted.iter().map(|one| format!("{}{}", one.volume, shared(one))).collect();
            format!("{pod}: {}", volumes.join(" "))
        };
        assignment.pods.iter().map(name).collect()
    }

    #[test]
    fn a_volume_is_found_by_its_claim_and_else_by_its_pod() {
        let (contents, plan) = world(&[
            ("web-new", &[("data", Some("shared")), ("scratch", None)]),
            ("web-old", &[("data", Some("shared")), ("scratch", None), ("other", Some("unsaved"))]),
        ]);
        let all = [saved("web-old", "data", Some("shared"), OURS), saved("web-old", "scratch", None, OURS)];
        let found = assign(&contents, &plan, &all);
        assert_eq!(names(&found), ["web-new: data (shared)", "web-old: data (shared) scratch"]);
        assert_eq!(found.claims, BTreeSet::from([("app".to_owned(), "shared".to_owned())]));
        assert_eq!(found.report, Report::default());
        assert_eq!(saved_claims(&all), BTreeSet::from([("app".to_owned(), "shared".to_owned())]));
    }

    #[test]
    fn a_claim_that_no_pod_mounted_is_found_by_its_name() {
        let (contents, plan) = world(&[("web", &[("data", Some("data"))])]);
        let mut alone = saved("data", "data", None, OURS);
        alone.spec.pod.kind = Some(CLAIM.to_owned());
        assert_eq!(names(&assign(&contents, &plan, &[alone])), ["web: data"]);
    }

    #[test]
    fn a_snapshot_of_another_program_is_an_error_and_an_empty_volume_is_none() {
        let (contents, plan) = world(&[("web", &[("data", Some("data")), ("scratch", None)])]);
        let kopia = "a322e5386086ec03e413d76d6e9cfa6e";
        let all = [saved("web", "data", Some("data"), kopia), saved("web", "scratch", None, "")];
        let found = assign(&contents, &plan, &all);
        assert_eq!(names(&found), Vec::<String>::new());
        let messages: Vec<&str> = found.report.errors.kept().iter().map(|p| p.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "volume data of pod app2/web is restored empty: snapshot a322e5386086ec03e413d76d6e9cfa6e was written by kopia of \
              another program; restore it with the Velero that made it"
            ]
        );
    }

    #[test]
    fn the_object_is_the_one_that_velero_makes() {
        let restore: Restore = serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "Restore", "metadata": { "name": "r1", "uid": "ru" }, "spec": {},
        }))
        .unwrap();
        let pod: ObjectReference =
            serde_json::from_value(json!({ "kind": "Pod", "namespace": "app2", "name": "web", "uid": "pu" })).unwrap();
        let wanted = Wanted {
            volume: "data".to_owned(),
            claim: Some("data".to_owned()),
            is_shared: false,
            saved: saved("web", "data", Some("data"), OURS),
        };
        let made: Value = serde_json::to_value(transfer(&restore, &pod, &wanted, Some("cu"))).unwrap();
        let labels = json!({
            "velero.io/restore-name": "r1", "velero.io/restore-uid": "ru", "velero.io/pod-uid": "pu", "velero.io/pvc-uid": "cu",
        });
        let owner =
            json!({ "apiVersion": "velero.io/v1", "kind": "Restore", "name": "r1", "uid": "ru", "controller": true });
        let expected = json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeRestore",
            "metadata": { "generateName": "r1-", "labels": labels, "ownerReferences": [owner] },
            "spec": {
                "backupStorageLocation": "default", "repoIdentifier": "", "snapshotID": OURS, "snapshotSize": 7,
                "pod": { "kind": "Pod", "namespace": "app2", "name": "web", "uid": "pu" },
                "sourceNamespace": "app", "uploaderType": "kopia", "volume": "data",
            },
        });
        assert_eq!(made, expected);
    }
}
