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
use crate::{Error, Result, patch, repository::CLAIM};

/// Pause between looks.
const LOOK: Duration = Duration::from_millis(500);

/// The transfers of one Restore.
pub(super) struct Transfers<'a> {
    run: &'a Run<'a>,
    /// By UID of the pod and volume, those that an interrupted run has made.
    before: Mutex<BTreeMap<(String, String), PodVolumeRestore>>,
}

impl<'a> Transfers<'a> {
    /// Those of a Restore, some of which may be there.
    pub(super) async fn of(run: &'a Run<'a>) -> Result<Self> {
        let mut before = BTreeMap::new();
        if run.is_resumed {
            for one in list(run).await? {
                let pod = one.spec.pod.uid.clone().unwrap_or_default();
                before.insert((pod, one.spec.volume.clone()), one);
            }
        }
        Ok(Self { run, before: Mutex::new(before) })
    }

    /// Asks for the files of a pod's volumes. What cannot be asked for is an error of the Restore.
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
            if let Err(error) = self.ask(&pod, one).await {
                let place = Place::of(pod.namespace.as_deref());
                self.run.log.error(place, &format!("error creating PodVolumeRestore: {error}"));
            }
        }
    }

    async fn ask(&self, pod: &ObjectReference, wanted: &Wanted) -> Result<()> {
        let key = (pod.uid.clone().unwrap_or_default(), wanted.volume.clone());
        if self.before.lock().await.contains_key(&key) {
            return Ok(());
        }
        let namespace = pod.namespace.clone().unwrap_or_default();
        let claim = match &wanted.claim {
            Some(claim) => self.claim(&namespace, claim).await?,
            None => None,
        };
        let uid = claim.and_then(|claim| claim.uid());
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

/// Whether it has ended, and nothing of ours is left of it.
fn has_ended(one: &PodVolumeRestore) -> bool {
    let is_held = one.finalizers().iter().any(|name| name == finalizer::POD_VOLUME);
    !is_held && one.status.as_ref().and_then(|status| status.phase).is_some_and(TransferPhase::is_terminal)
}

/// What of a volume is not as it was, although it is whole: the process that filled it has noted that.
fn remarks(one: &PodVolumeRestore) -> Vec<String> {
    let Some(text) = one.annotations().get(own::PROBLEMS) else { return Vec::new() };
    let noted: Value = match serde_json::from_str(text) {
        Ok(noted) => noted,
        Err(error) => return vec![format!("what is noted of its files cannot be read: {error}")],
    };
    let named = noted["errors"].as_array().into_iter().flatten();
    let mut remarks: Vec<String> = named.filter_map(|one| one.as_str().map(str::to_owned)).collect();
    let count = noted["errorCount"].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
    let more = count.saturating_sub(remarks.len());
    if more > 0 {
        remarks.push(format!("{more} more remarks of this kind"));
    }
    remarks
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
}
