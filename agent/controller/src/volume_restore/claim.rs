//! A PodVolumeRestore that names a claim in the place of a pod: a pod of ours holds the claim while a Job fills it.
//!
//! The finalizer of such a PodVolumeRestore goes last, when neither the Job's pod nor the holder is there any more.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{PersistentVolumeClaim, Pod},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PostParams},
    runtime::controller::Action,
};
use serde_json::json;
use trysail_api::{
    names::{finalizer, label, label_value, own},
    pod_volume_restore::PodVolumeRestore,
    transfer::TransferPhase,
};

use super::{end, failure, has_ended, start, writers};
use crate::{
    Error, Result,
    context::{Context, now},
    error::unless,
    holder::{self, Hold, hindrance},
    patch,
    repository::CLAIM,
    restore::{configuration::own_pod, wish::Wish},
};

/// Pause between looks.
const LOOK: Duration = Duration::from_secs(1);

/// How long the holder may take to start: a volume is made and attached meanwhile, and an image fetched.
const PATIENCE: Duration = Duration::from_mins(10);

/// What there is of one transfer.
#[derive(Debug, Clone, Default)]
struct Found {
    claim: Option<PersistentVolumeClaim>,
    /// Names of pods of others that write into it.
    writers: Vec<String>,
    holder: Option<Pod>,
    job: Option<Job>,
    /// Whether a pod of the Job still runs.
    is_worked_on: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Nothing of ours is left.
    Nothing,
    /// The holder or the Job goes on.
    Look,
    /// The claim is to be held.
    Hold,
    /// The holder runs: the Job can.
    Start,
    /// It cannot be done, or is not wanted any more.
    End(TransferPhase, String),
    /// The holder goes.
    Release,
    /// The finalizer goes.
    Forget,
}

/// Whether a transfer names a claim.
pub(super) fn is_one(transfer: &PodVolumeRestore) -> bool {
    transfer.spec.pod.kind.as_deref() == Some(CLAIM)
}

pub(super) async fn reconcile(transfer: &PodVolumeRestore, context: &Context) -> Result<Action> {
    if has_ended(transfer) && !bears_finalizer(transfer) {
        return Ok(Action::await_change());
    }
    let name = transfer.name_any();
    let found = gather(transfer, context).await?;
    match decide(transfer, &found, now()) {
        Step::Nothing => return Ok(Action::await_change()),
        Step::Look => {}
        Step::Hold => hold(transfer, found.claim.as_ref(), context).await?,
        Step::Start => Box::pin(start(transfer, found.holder, holder::VOLUME, context)).await?,
        Step::End(phase, message) => end(context, &name, phase, &message).await?,
        Step::Release => release(transfer, context).await?,
        Step::Forget => {
            let others: Vec<&String> =
                transfer.finalizers().iter().filter(|name| *name != finalizer::POD_VOLUME).collect();
            let fields = json!({ "metadata": { "finalizers": others } });
            patch::merge::<PodVolumeRestore>(context, &name, &fields).await?;
        }
    }
    Ok(Action::requeue(LOOK))
}

fn bears_finalizer(transfer: &PodVolumeRestore) -> bool {
    transfer.finalizers().iter().any(|name| name == finalizer::POD_VOLUME)
}

fn namespace(transfer: &PodVolumeRestore) -> String {
    transfer.spec.pod.namespace.clone().unwrap_or_default()
}

fn claim_name(transfer: &PodVolumeRestore) -> String {
    transfer.spec.pod.name.clone().unwrap_or_default()
}

async fn gather(transfer: &PodVolumeRestore, context: &Context) -> Result<Found> {
    let (namespace, claim) = (namespace(transfer), claim_name(transfer));
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &namespace);
    let what = format!("get PersistentVolumeClaim {namespace}/{claim}");
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let pod = holder_name(transfer);
    let labels = format!("{}={}", label::POD_VOLUME_RESTORE, label_value(&transfer.name_any()));
    let workers: Vec<Pod> = context.list(&labels).await?;
    let runs = |pod: &Pod| pod.name_any() != holder_name(transfer) && !has_stopped(pod);
    Ok(Found {
        claim: claims.get_opt(&claim).await.map_err(Error::kubernetes(what))?,
        writers: writers::gather(context, &namespace, &claim).await?,
        holder: pods.get_opt(&pod).await.map_err(Error::kubernetes(format!("get Pod {namespace}/{pod}")))?,
        job: context.get::<Job>(&transfer.name_any()).await?,
        is_worked_on: workers.iter().any(runs),
    })
}

fn has_stopped(pod: &Pod) -> bool {
    matches!(phase(pod), Some("Succeeded" | "Failed"))
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref().and_then(|status| status.phase.as_deref())
}

/// Pure.
fn decide(transfer: &PodVolumeRestore, found: &Found, now: Timestamp) -> Step {
    let ours = found.holder.as_ref().filter(|pod| holds_for(pod, transfer));
    if has_ended(transfer) {
        return match ours {
            _ if !bears_finalizer(transfer) => Step::Nothing,
            _ if found.is_worked_on => Step::Look,
            Some(pod) if pod.metadata.deletion_timestamp.is_some() => Step::Look,
            Some(_) => Step::Release,
            None => Step::Forget,
        };
    }
    if transfer.spec.cancel == Some(true) {
        return Step::End(TransferPhase::Canceled, "it was cancelled".to_owned());
    }
    if transfer.metadata.deletion_timestamp.is_some() {
        return Step::End(TransferPhase::Canceled, "it is being deleted".to_owned());
    }
    let failed = |why: String| Step::End(TransferPhase::Failed, why);
    if let Err(why) = is_fit(transfer, found) {
        return failed(why);
    }
    if let Some(job) = &found.job {
        return failure(job).map_or(Step::Look, |reason| failed(format!("its Job failed: {reason}")));
    }
    match (&found.holder, ours) {
        (None, _) => Step::Hold,
        (Some(pod), None) => failed(format!("pod {} is there and is none of ours", pod.name_any())),
        (_, Some(pod)) => match phase(pod) {
            Some("Running") => Step::Start,
            Some("Succeeded" | "Failed") => failed(format!("pod {}, which holds the claim, has ended", pod.name_any())),
            _ if is_late(pod, now) => {
                let minutes = PATIENCE.as_secs() / 60;
                failed(format!(
                    "pod {}, which holds the claim, has not started within {minutes} min{}",
                    pod.name_any(),
                    hindrance(pod).map(|why| format!(": {why}")).unwrap_or_default()
                ))
            }
            _ => Step::Look,
        },
    }
}

/// Whether the claim is still the one that was meant, and nobody writes into it.
fn is_fit(transfer: &PodVolumeRestore, found: &Found) -> Result<(), String> {
    let claim = found.claim.as_ref().ok_or("the claim is gone")?;
    if claim.metadata.deletion_timestamp.is_some() {
        return Err("the claim is being deleted".to_owned());
    }
    if claim.uid().as_ref() != transfer.labels().get(label::PVC_UID) {
        return Err("the claim is gone; another one has its name".to_owned());
    }
    if found.writers.is_empty() || Wish::of_settings(transfer).overwrite {
        return Ok(());
    }
    Err(format!(
        "{} began to write into the claim meanwhile: scale down what owns it, and restore again with annotation {}: \"true\"",
        found.writers.join(", "),
        own::OVERWRITE
    ))
}

fn is_late(pod: &Pod, now: Timestamp) -> bool {
    let made = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    made.is_some_and(|made| now.duration_since(made).unsigned_abs() > PATIENCE)
}

/// The name of the pod that holds the claim of a transfer.
fn holder_name(transfer: &PodVolumeRestore) -> String {
    format!("trysail-{}", transfer.name_any())
}

/// Whether a pod is the one of a transfer, and no other of its name.
fn holds_for(pod: &Pod, transfer: &PodVolumeRestore) -> bool {
    pod.labels().get(label::POD_VOLUME_RESTORE) == Some(&label_value(&transfer.name_any()))
}

async fn hold(transfer: &PodVolumeRestore, claim: Option<&PersistentVolumeClaim>, context: &Context) -> Result<()> {
    let Some(claim) = claim else { return Ok(()) };
    let spec = own_pod(context).await?.unwrap_or_default();
    let image = spec.containers.first().and_then(|container| container.image.clone()).unwrap_or_default();
    let (name, namespace, claim_name) = (holder_name(transfer), namespace(transfer), claim.name_any());
    let is_bound = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_ref()).is_some_and(|name| !name.is_empty());
    let label = (label::POD_VOLUME_RESTORE, &*label_value(&transfer.name_any()));
    let hold = Hold { name: &name, namespace: &namespace, claim: &claim_name, is_bound, label };
    let made = holder::pod(hold, &image)?;
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    match unless(&[409], pods.create(&PostParams::default(), &made).await) {
        Ok(()) => Ok(()),
        // The namespace does not let it in: that will not change by itself.
        Err(error) if matches!(crate::error::code(&error), Some(403 | 422)) => {
            let message =
                format!("pod {namespace}/{}, which would hold the claim, is refused: {error}", made.name_any());
            end(context, &transfer.name_any(), TransferPhase::Failed, &message).await
        }
        Err(error) => Err(Error::kubernetes(format!("create Pod {namespace}/{}", made.name_any()))(error)),
    }
}

async fn release(transfer: &PodVolumeRestore, context: &Context) -> Result<()> {
    let (namespace, pod) = (namespace(transfer), holder_name(transfer));
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let deleted = pods.delete(&pod, &DeleteParams::default()).await.map(drop);
    unless(&[404], deleted).map_err(Error::kubernetes(format!("delete Pod {namespace}/{pod}")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn transfer(rest: &Value) -> PodVolumeRestore {
        let mut transfer = json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeRestore",
            "metadata": {
                "name": "r1-x", "labels": { "velero.io/pvc-uid": "cu" }, "finalizers": ["velero.io/pod-volume-finalizer"],
            },
            "spec": {
                "pod": { "kind": "PersistentVolumeClaim", "name": "data", "namespace": "app" }, "volume": "data",
                "snapshotID": "data/1", "backupStorageLocation": "default", "repoIdentifier": "", "sourceNamespace": "app",
            },
        });
        for (pointer, value) in rest.as_object().into_iter().flatten() {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            transfer.pointer_mut(parent).unwrap()[key] = value.clone();
        }
        serde_json::from_value(transfer).unwrap()
    }

    fn new() -> PodVolumeRestore {
        transfer(&json!({}))
    }

    fn ended(finalizers: &Value) -> PodVolumeRestore {
        transfer(&json!({ "/status": { "phase": "Completed" }, "/metadata/finalizers": finalizers }))
    }

    fn claim() -> Option<PersistentVolumeClaim> {
        serde_json::from_value(json!({ "metadata": { "name": "data", "uid": "cu" } })).unwrap()
    }

    fn pod(phase: &str) -> Option<Pod> {
        serde_json::from_value(json!({
            "metadata": {
                "name": "trysail-r1-x", "labels": { "velero.io/pod-volume-restore": "r1-x" },
                "creationTimestamp": "2026-11-21T06:00:00Z",
            },
            "status": { "phase": phase, "conditions": [{ "type": "PodScheduled", "status": "False", "message": "0/1 nodes fit" }] },
        }))
        .unwrap()
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn step(transfer: &PodVolumeRestore, found: &Found) -> Step {
        decide(transfer, found, at("2026-11-21T06:05:00Z"))
    }

    fn failed(why: &str) -> Step {
        Step::End(TransferPhase::Failed, why.to_owned())
    }

    #[test]
    fn a_claim_is_held_then_filled_then_released() {
        let held = |phase| Found { claim: claim(), holder: pod(phase), ..Found::default() };
        assert_eq!(step(&new(), &Found { claim: claim(), ..Found::default() }), Step::Hold);
        assert_eq!(step(&new(), &held("Pending")), Step::Look);
        assert_eq!(step(&new(), &held("Running")), Step::Start);
        let working = Found { job: Some(Job::default()), is_worked_on: true, ..held("Running") };
        assert_eq!(step(&new(), &working), Step::Look);
        let done = ended(&json!(["velero.io/pod-volume-finalizer"]));
        assert_eq!(step(&done, &working), Step::Look);
        assert_eq!(step(&done, &held("Running")), Step::Release);
        assert_eq!(step(&done, &Found::default()), Step::Forget);
        assert_eq!(step(&ended(&json!([])), &Found::default()), Step::Nothing);
    }

    #[test]
    fn what_is_not_wanted_any_more_ends_whatever_there_is() {
        let working = Found { claim: claim(), holder: pod("Running"), job: Some(Job::default()), ..Found::default() };
        let cancelled = transfer(&json!({ "/spec/cancel": true }));
        assert_eq!(step(&cancelled, &working), Step::End(TransferPhase::Canceled, "it was cancelled".to_owned()));
        let deleted = transfer(&json!({ "/metadata/deletionTimestamp": "2026-11-21T06:00:00Z" }));
        assert_eq!(step(&deleted, &working), Step::End(TransferPhase::Canceled, "it is being deleted".to_owned()));
    }

    #[test]
    fn a_pod_that_begins_to_write_ends_it_unless_it_may_be_overwritten() {
        let used = Found {
            claim: claim(),
            writers: vec!["web".to_owned()],
            holder: pod("Running"),
            job: Some(Job::default()),
            ..Found::default()
        };
        let why = "web began to write into the claim meanwhile: scale down what owns it, and restore again with annotation \
                   trysail.io/overwrite: \"true\"";
        assert_eq!(step(&new(), &used), failed(why));
        let over = transfer(&json!({ "/spec/uploaderSettings": { "trysail.io/overwrite": "true" } }));
        assert_eq!(step(&over, &used), Step::Look);
    }

    #[test]
    fn what_cannot_be_is_said() {
        let mut other = claim();
        other.as_mut().unwrap().metadata.uid = Some("other".to_owned());
        let mut foreign = pod("Running");
        foreign.as_mut().unwrap().metadata.labels = None;
        let rows = vec![
            (Found::default(), "the claim is gone"),
            (Found { claim: other, ..Found::default() }, "the claim is gone; another one has its name"),
            (
                Found { claim: claim(), holder: foreign, ..Found::default() },
                "pod trysail-r1-x is there and is none of ours",
            ),
            (
                Found { claim: claim(), holder: pod("Failed"), ..Found::default() },
                "pod trysail-r1-x, which holds the claim, has ended",
            ),
        ];
        for (found, why) in rows {
            assert_eq!(step(&new(), &found), failed(why));
        }
        let late = Found { claim: claim(), holder: pod("Pending"), ..Found::default() };
        let why = "pod trysail-r1-x, which holds the claim, has not started within 10 min: 0/1 nodes fit";
        assert_eq!(decide(&new(), &late, at("2026-11-21T06:10:01Z")), failed(why));
    }
}
