//! The PodVolumeRestores of a Restore: made when their pod is, and waited for.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, ResourceExt as _, api::PostParams};
use serde_json::{Value, json};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};
use trysail_api::{
    names::{finalizer, label, own},
    pod_volume_restore::PodVolumeRestore,
    reference::ObjectReference,
    restore::Restore,
    transfer::TransferPhase,
};
use trysail_cluster::problem::Place;

use super::{
    decide::{Step, step},
    run::Run,
    volumes::{Wanted, transfer},
};
use crate::{Error, Result, node::problems::Told, patch, repository::CLAIM};

/// Pause between looks.
const LOOK: Duration = Duration::from_millis(500);

/// The transfers of one Restore.
pub(super) struct Transfers<'a> {
    run: &'a Run<'a>,
    /// Those that an interrupted run has made.
    before: Vec<PodVolumeRestore>,
    /// By namespace and claim, a pod of those that mount it. Its files come when all of these pods wait for them: a pod that
    /// comes later would find the mark gone.
    shared: Mutex<BTreeMap<(String, String), (ObjectReference, Wanted)>>,
}

impl<'a> Transfers<'a> {
    /// Those of a Restore, some of which may be there.
    pub(super) async fn of(run: &'a Run<'a>) -> Result<Self> {
        let before = if run.is_resumed { list(run).await? } else { Vec::new() };
        Ok(Self { run, before, shared: Mutex::default() })
    }

    /// Asks for the files of a pod's volumes, but for those that other pods share.
    pub(super) async fn start(&self, pod: &Value, wanted: &[Wanted]) {
        let metadata = |key: &str| pod["metadata"][key].as_str().map(str::to_owned);
        let pod = ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: metadata("namespace"),
            name: metadata("name"),
            uid: metadata("uid"),
            ..ObjectReference::default()
        };
        for one in wanted {
            match &one.claim {
                Some(claim) if one.is_shared => {
                    let claim = (pod.namespace.clone().unwrap_or_default(), claim.clone());
                    self.shared.lock().await.entry(claim).or_insert_with(|| (pod.clone(), one.clone()));
                }
                _ => self.ask(&pod, one).await,
            }
        }
    }

    /// Asks for the files of shared claims: all pods are made.
    pub(super) async fn start_shared(&self) {
        let shared = std::mem::take(&mut *self.shared.lock().await);
        for (pod, wanted) in shared.into_values() {
            self.ask(&pod, &wanted).await;
        }
    }

    /// What cannot be asked for is an error of the Restore.
    async fn ask(&self, pod: &ObjectReference, wanted: &Wanted) {
        if let Err(error) = self.create(pod, wanted).await {
            let place = Place::of(pod.namespace.as_deref());
            self.run.log.error(place, &format!("error creating PodVolumeRestore: {error}"));
        }
    }

    async fn create(&self, pod: &ObjectReference, wanted: &Wanted) -> Result<()> {
        let namespace = pod.namespace.clone().unwrap_or_default();
        let claim = match &wanted.claim {
            Some(claim) => self.claim(&namespace, claim).await?,
            None => None,
        };
        let uid = claim.and_then(|claim| claim.uid());
        if self.before.iter().any(|one| is_for(one, pod, wanted, uid.as_deref())) {
            return Ok(());
        }
        let made = transfer(&self.run.restore, pod, wanted, uid.as_deref());
        let made = self.run.context.api().create(&PostParams::default(), &made).await;
        made.map(drop).map_err(Error::kubernetes("create PodVolumeRestore"))
    }

    async fn claim(&self, namespace: &str, name: &str) -> Result<Option<PersistentVolumeClaim>> {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.run.context.client.clone(), namespace);
        api.get_opt(name).await.map_err(Error::kubernetes(format!("get PersistentVolumeClaim {namespace}/{name}")))
    }

    /// Waits until all have ended, or the time is over; then the others are cancelled.
    ///
    /// # Errors
    /// The Restore has gone meanwhile.
    pub(super) async fn finish(&self, until: Instant) -> Result<Vec<PodVolumeRestore>> {
        let name = self.run.name();
        loop {
            let all = match list(self.run).await {
                Ok(all) => all,
                Err(error) => {
                    tracing::warn!(restore = name, %error, "PodVolumeRestores cannot be looked at");
                    sleep(LOOK).await;
                    continue;
                }
            };
            let open: Vec<&PodVolumeRestore> = all.iter().filter(|one| !has_ended(one)).collect();
            if open.is_empty() || Instant::now() >= until {
                self.tell(&all).await;
                return Ok(all);
            }
            let restore = self.run.context.get::<Restore>(&name).await;
            if let Ok(restore) = restore
                && restore.is_none_or(|restore| step(&restore) != Step::GoOn)
            {
                return Err(Error::RestoreGone { restore: name });
            }
            sleep(LOOK).await;
        }
    }

    /// Source of the words: Velero `pkg/podvolume/restorer.go`.
    async fn tell(&self, all: &[PodVolumeRestore]) {
        for one in all {
            let status = one.status.clone().unwrap_or_default();
            let pod = &one.spec.pod;
            let place = || Place::of(pod.namespace.as_deref());
            let (volume, name) = (&one.spec.volume, pod.name.as_deref().unwrap_or_default());
            let what = match pod.kind.as_deref() {
                Some(CLAIM) => format!("PersistentVolumeClaim {}/{name}", pod.namespace.as_deref().unwrap_or_default()),
                _ => format!("volume {volume} of pod {name}"),
            };
            match status.phase {
                Some(TransferPhase::Completed) => {
                    for remark in remarks(one) {
                        self.run.log.warning(place(), &format!("{what}: {remark}"));
                    }
                }
                Some(TransferPhase::Failed | TransferPhase::Canceled) => {
                    let why = status.message.unwrap_or_default();
                    self.run.log.error(place(), &format!("pod volume restore failed: {what}: {why}"));
                }
                _ => {
                    let message = format!("timed out waiting for all PodVolumeRestores to complete: {what}");
                    self.run.log.error(place(), &message);
                    let fields = json!({ "spec": { "cancel": true } });
                    if let Err(error) =
                        patch::merge::<PodVolumeRestore>(self.run.context, &one.name_any(), &fields).await
                    {
                        tracing::warn!(%error, "A PodVolumeRestore cannot be cancelled");
                    }
                }
            }
        }
    }
}

/// Whether an earlier one fills that volume: of that pod, or of another one that shares its claim.
fn is_for(one: &PodVolumeRestore, pod: &ObjectReference, wanted: &Wanted, claim_uid: Option<&str>) -> bool {
    let fills_claim = claim_uid.is_some() && one.labels().get(label::PVC_UID).map(String::as_str) == claim_uid;
    fills_claim || (one.spec.pod.uid == pod.uid && one.spec.volume == wanted.volume)
}

/// Whether it has ended, and nothing of ours is left of it.
fn has_ended(one: &PodVolumeRestore) -> bool {
    let is_held = one.finalizers().iter().any(|name| name == finalizer::POD_VOLUME);
    !is_held && one.status.as_ref().and_then(|status| status.phase).is_some_and(TransferPhase::is_terminal)
}

/// What of a volume is not as it was, although it is whole: the process that filled it has noted that.
fn remarks(one: &PodVolumeRestore) -> Vec<String> {
    let Some(text) = one.annotations().get(own::PROBLEMS) else { return Vec::new() };
    let told: Told = match serde_json::from_str(text) {
        Ok(told) => told,
        Err(error) => return vec![format!("what is noted of its files cannot be read: {error}")],
    };
    let more = told.error_count.saturating_sub(told.errors.len() as u64);
    let more = (more > 0).then(|| format!("{more} more remarks of this kind"));
    told.errors.into_iter().chain(more).collect()
}

async fn list(run: &Run<'_>) -> Result<Vec<PodVolumeRestore>> {
    run.context.list(&format!("{}={}", label::RESTORE_UID, run.uid())).await
}

#[cfg(test)]
mod tests {
    use trysail_api::pod_volume_restore::PodVolumeRestoreSpec;

    use super::*;

    #[test]
    fn what_the_filling_process_has_noted_is_told() {
        let noted = |problems: &str| {
            let mut one = PodVolumeRestore::new("r1-x", PodVolumeRestoreSpec::default());
            one.annotations_mut().insert(own::PROBLEMS.to_owned(), problems.to_owned());
            remarks(&one)
        };
        let two = noted(r#"{"errors":["a: owner: not permitted"],"errorCount":3,"unstable":[]}"#);
        assert_eq!(two, ["a: owner: not permitted", "2 more remarks of this kind"]);
        let torn = noted("{");
        assert!(torn.len() == 1 && torn[0].starts_with("what is noted of its files cannot be read: "), "{torn:?}");
        assert_eq!(remarks(&PodVolumeRestore::new("r1-x", PodVolumeRestoreSpec::default())), Vec::<String>::new());
    }

    #[test]
    fn a_claim_is_filled_once_whichever_of_its_pods_asked_before() {
        let before: PodVolumeRestore = serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeRestore",
            "metadata": { "name": "r1-x", "labels": { "velero.io/pvc-uid": "c1" } },
            "spec": {
                "pod": { "uid": "p1" }, "volume": "data", "snapshotID": "data/1", "backupStorageLocation": "default",
                "repoIdentifier": "", "sourceNamespace": "app",
            },
        }))
        .unwrap();
        let saved = serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup", "metadata": {},
            "spec": { "node": "n", "pod": {}, "volume": "data", "backupStorageLocation": "default", "repoIdentifier": "" },
        }))
        .unwrap();
        let wanted = Wanted { volume: "data".to_owned(), claim: None, is_shared: true, saved };
        let pod = |uid: &str| ObjectReference { uid: Some(uid.to_owned()), ..ObjectReference::default() };
        let found = [("p1", None), ("p2", None), ("p2", Some("c1")), ("p2", Some("c2"))]
            .map(|(uid, claim)| is_for(&before, &pod(uid), &wanted, claim));
        assert_eq!(found, [true, false, true, false]);
    }
}
