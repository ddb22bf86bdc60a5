//! The kind PodVolumeRestore: when the pod that waits for its volume is on a node, a Job there fills the volume.
//!
//! The server makes the Job and watches over it; what the Job does is `node::volume_restore`. `directory` says where the volume
//! lies on its node, `job` what the Job is, `frame` what both take from the installation. Where a claim is named in the place of a pod,
//! `claim` says what is done, and `writers` are the pods that must not write meanwhile.

mod claim;
pub(crate) mod directory;
mod frame;
mod job;
pub(crate) mod writers;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{PersistentVolume, PersistentVolumeClaim, Pod},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PostParams},
    runtime::{Controller, controller::Action, watcher},
};
use serde_json::json;
use trysail_api::{pod_volume_restore::PodVolumeRestore, time::Time, transfer::TransferPhase};

use crate::{
    Error, Result,
    context::{Context, now},
    drive::{Guarded, PROMPT, drive},
    error::unless,
    patch,
    restore::wait::is_running,
};
use directory::{Known, claim_of};

/// Pause between looks at a pod or a Job that goes on.
const LOOK: Duration = Duration::from_millis(500);

/// What is to be done with a PodVolumeRestore.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// It has ended.
    Nothing,
    /// Its pod or its Job goes on.
    Look,
    /// Its pod waits on a node.
    Start,
    /// It cannot be done, or is not wanted any more.
    End(TransferPhase, String),
}

/// Looks after all PodVolumeRestores for ever.
pub(crate) async fn run(context: Arc<Context>) {
    let api: Api<Guarded<PodVolumeRestore>> = context.api();
    drive("pod-volume-restore", Controller::new(api, watcher::Config::default()), PROMPT, reconcile, context).await;
}

async fn reconcile(transfer: Arc<PodVolumeRestore>, context: Arc<Context>) -> Result<Action> {
    if claim::is_one(&transfer) {
        return Box::pin(claim::reconcile(&transfer, &context)).await;
    }
    if has_ended(&transfer) {
        return Ok(Action::await_change());
    }
    let name = transfer.name_any();
    let pod = pod(&transfer, &context).await?;
    let job = context.get::<Job>(&name).await?;
    match decide(&transfer, pod.as_ref(), job.as_ref()) {
        Step::Nothing => return Ok(Action::await_change()),
        Step::Look => {}
        Step::Start => Box::pin(start(&transfer, pod, &transfer.spec.volume, &context)).await?,
        Step::End(phase, message) => end(&context, &name, phase, &message).await?,
    }
    Ok(Action::requeue(LOOK))
}

fn has_ended(transfer: &PodVolumeRestore) -> bool {
    transfer.status.as_ref().and_then(|status| status.phase).is_some_and(TransferPhase::is_terminal)
}

/// Pure.
fn decide(transfer: &PodVolumeRestore, pod: Option<&Pod>, job: Option<&Job>) -> Step {
    if has_ended(transfer) {
        return Step::Nothing;
    }
    if transfer.spec.cancel == Some(true) {
        return Step::End(TransferPhase::Canceled, "it was cancelled".to_owned());
    }
    if let Some(job) = job {
        return match failure(job) {
            Some(reason) => Step::End(TransferPhase::Failed, format!("its Job failed: {reason}")),
            None => Step::Look,
        };
    }
    match pod {
        None => Step::End(TransferPhase::Failed, "the pod that waits for the volume is gone".to_owned()),
        Some(pod) if is_running(pod) => Step::Start,
        Some(_) => Step::Look,
    }
}

/// Why a Job will not be tried again.
fn failure(job: &Job) -> Option<String> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let failed = conditions.iter().find(|condition| condition.type_ == "Failed" && condition.status == "True")?;
    let words = [failed.reason.as_deref(), failed.message.as_deref()];
    Some(words.into_iter().flatten().collect::<Vec<_>>().join(": "))
}

/// The pod that waits; one with another UID is another pod.
async fn pod(transfer: &PodVolumeRestore, context: &Context) -> Result<Option<Pod>> {
    let reference = &transfer.spec.pod;
    let name = reference.name.clone().unwrap_or_default();
    let namespace = reference.namespace.clone().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let found = api.get_opt(&name).await.map_err(Error::kubernetes(format!("get Pod {namespace}/{name}")))?;
    Ok(found.filter(|pod| reference.uid.is_none() || pod.uid() == reference.uid))
}

/// Makes the Job for a volume of a pod, or says why there is none.
async fn start(transfer: &PodVolumeRestore, pod: Option<Pod>, volume: &str, context: &Context) -> Result<()> {
    let name = transfer.name_any();
    let node = pod.as_ref().and_then(|pod| pod.spec.as_ref()?.node_name.clone()).unwrap_or_default();
    let known = known(transfer, pod, volume, context).await?;
    let found = directory::find(&known, volume, &frame::pods(context).await?);
    let directory = match found {
        Ok(directory) => directory,
        Err(reason) => return end(context, &name, TransferPhase::Failed, &reason).await,
    };
    let frame = frame::of(transfer, context).await?;
    let made =
        context.api::<Job>().create(&PostParams::default(), &job::job(transfer, &node, &directory, &frame)?).await;
    unless(&[409], made).map_err(Error::kubernetes(format!("create Job {name}")))?;
    let fields = json!({ "status": { "node": node } });
    patch::merge::<PodVolumeRestore>(context, &name, &fields).await
}

/// What the cluster says of the volume.
async fn known(transfer: &PodVolumeRestore, pod: Option<Pod>, volume: &str, context: &Context) -> Result<Known> {
    let claim = pod.as_ref().and_then(|pod| claim_of(pod, volume));
    let namespace = transfer.spec.pod.namespace.clone().unwrap_or_default();
    let claim = match claim {
        Some(name) => {
            let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &namespace);
            let what = format!("get PersistentVolumeClaim {namespace}/{name}");
            api.get_opt(&name).await.map_err(Error::kubernetes(what))?
        }
        None => None,
    };
    let bound = claim.as_ref().and_then(|claim| claim.spec.as_ref()?.volume_name.clone());
    let volume = match bound {
        Some(name) => {
            let api: Api<PersistentVolume> = Api::all(context.client.clone());
            api.get_opt(&name).await.map_err(Error::kubernetes(format!("get PersistentVolume {name}")))?
        }
        None => None,
    };
    Ok(Known { pod, claim, volume })
}

/// Ends a PodVolumeRestore, and its Job.
async fn end(context: &Context, name: &str, phase: TransferPhase, message: &str) -> Result<()> {
    let deleted = context.api::<Job>().delete(name, &DeleteParams::background()).await.map(drop);
    unless(&[404], deleted).map_err(Error::kubernetes(format!("delete Job {name}")))?;
    let status = json!({ "phase": phase, "message": message, "completionTimestamp": Time::new(now()) });
    patch::merge::<PodVolumeRestore>(context, name, &json!({ "status": status })).await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn transfer(cancel: bool, phase: &str) -> PodVolumeRestore {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeRestore", "metadata": { "name": "r1-x" },
            "spec": {
                "pod": { "name": "web", "namespace": "app", "uid": "u1" }, "volume": "data", "snapshotID": "data/1",
                "backupStorageLocation": "default", "repoIdentifier": "", "sourceNamespace": "app", "cancel": cancel,
            },
            "status": { "phase": phase },
        }))
        .unwrap()
    }

    fn pod(state: &Value) -> Pod {
        serde_json::from_value(json!({ "status": { "initContainerStatuses": [{
            "name": "restore-wait", "image": "i", "imageID": "i", "ready": false, "restartCount": 0, "state": state,
        }] } }))
        .unwrap()
    }

    fn job(condition: &str) -> Job {
        let condition = json!({ "type": condition, "status": "True", "reason": "BackoffLimitExceeded" });
        serde_json::from_value(json!({ "status": { "conditions": [condition] } })).unwrap()
    }

    #[test]
    fn a_volume_is_filled_when_its_pod_waits_on_a_node() {
        let (running, waiting) = (pod(&json!({ "running": {} })), pod(&json!({ "waiting": {} })));
        let new = transfer(false, "New");
        assert_eq!(decide(&new, Some(&waiting), None), Step::Look);
        assert_eq!(decide(&new, Some(&running), None), Step::Start);
        assert_eq!(decide(&new, Some(&running), Some(&job("Complete"))), Step::Look);
        assert_eq!(decide(&transfer(true, "Completed"), None, None), Step::Nothing);
    }

    #[test]
    fn what_will_not_be_filled_is_said_with_its_reason() {
        let gone = "the pod that waits for the volume is gone".to_owned();
        assert_eq!(decide(&transfer(false, "New"), None, None), Step::End(TransferPhase::Failed, gone));
        let failed = "its Job failed: BackoffLimitExceeded".to_owned();
        let found = decide(&transfer(false, "InProgress"), None, Some(&job("Failed")));
        assert_eq!(found, Step::End(TransferPhase::Failed, failed));
        let cancelled = "it was cancelled".to_owned();
        let found = decide(&transfer(true, "InProgress"), None, Some(&job("Complete")));
        assert_eq!(found, Step::End(TransferPhase::Canceled, cancelled));
    }
}
