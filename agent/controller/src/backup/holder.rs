//! Pods that have a kubelet mount claims which no other pod mounts, for as long as a backup reads them.
//!
//! Such a pod runs our program, which does nothing, without rights, Secrets and a network that it would use, in the claim's namespace. It is
//! found again by its name, which the claim's tells, and by the label of its Backup.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use trysail_api::{
    backup::Backup,
    names::{label, own},
};
use trysail_cluster::volumes::VolumeTask;

use crate::{
    Error, Result,
    context::Context,
    error::{code, unless},
    repository::holder_name,
    restore::configuration::own_pod,
};

/// Claims that are held at once: their pods take place on nodes, and of a quota.
pub(super) const AT_ONCE: usize = 8;

/// How long a pod may take to be scheduled and to have its claim mounted.
const PATIENCE: Duration = Duration::from_mins(3);

/// When the cluster ends a pod that nobody has removed.
const LIFE_SECONDS: u64 = 6 * 60 * 60;

/// Pause between looks at the pod.
const LOOK: Duration = Duration::from_millis(500);

/// Pods of one backup that are removed in one go: as many as there can be.
const PODS_MAX: u32 = 500;

/// Makes a claim's pod and waits until it runs; its node.
///
/// # Errors
/// Why no node mounts the claim, as the end of a sentence.
pub(super) async fn hold(context: &Context, backup: &Backup, task: &VolumeTask) -> std::result::Result<String, String> {
    let reason = |error: Error| format!("no pod mounts it, and none can be made that does: {error}");
    let spec = own_pod(context).await.map_err(reason)?.unwrap_or_default();
    let image = spec.containers.first().and_then(|container| container.image.clone()).unwrap_or_default();
    let wanted = pod(backup, task, &image).map_err(reason)?;
    let (name, api) = (wanted.name_any(), pods(&context.client, &task.namespace));
    let what = format!("Pod {}/{name}", task.namespace);
    // One that another backup left would be ended under our hands.
    let removed = api.delete(&name, &DeleteParams::default().grace_period(0)).await.map(drop);
    unless(&[404], removed).map_err(Error::kubernetes(format!("delete {what}"))).map_err(reason)?;
    let until = Instant::now() + PATIENCE;
    loop {
        match api.create(&PostParams::default(), &wanted).await {
            Ok(_) => break,
            Err(error) if code(&error) == Some(409) && Instant::now() < until => sleep(LOOK).await,
            Err(error) => return Err(reason(Error::kubernetes(format!("create {what}"))(error))),
        }
    }
    loop {
        let found = api.get_opt(&name).await.map_err(Error::kubernetes(format!("get {what}"))).map_err(reason)?;
        match found.as_ref().map(state) {
            Some(State::Runs(node)) => return Ok(node),
            Some(State::Waits(why)) if Instant::now() >= until => {
                return Err(format!("no pod mounts it, and {what}, which should, does not run: {why}"));
            }
            Some(State::Waits(_)) => sleep(LOOK).await,
            None => return Err(format!("no pod mounts it, and {what}, which should, is gone")),
        }
    }
}

/// Removes the pods of a backup. What cannot be removed now ends by itself.
pub(super) async fn release(context: &Context, backup: &Backup) {
    let uid = backup.uid().unwrap_or_default();
    if let Err(error) = remove(&context.client, &uid).await {
        tracing::warn!(backup = backup.name_any(), %error, "Pods that hold claims cannot be removed");
    }
}

async fn remove(client: &Client, uid: &str) -> Result<()> {
    let all: Api<Pod> = Api::all(client.clone());
    let ours = ListParams::default().labels(&format!("{}={uid}", own::HOLDS_FOR)).limit(PODS_MAX);
    for pod in all.list(&ours).await.map_err(Error::kubernetes("list Pods"))? {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let removed = pods(client, &namespace).delete(&name, &DeleteParams::default().grace_period(0)).await;
        unless(&[404], removed.map(drop)).map_err(Error::kubernetes(format!("delete Pod {namespace}/{name}")))?;
    }
    Ok(())
}

fn pods(client: &Client, namespace: &str) -> Api<Pod> {
    Api::namespaced(client.clone(), namespace)
}

/// How far a pod is.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// It runs on this node.
    Runs(String),
    /// It does not, for this reason.
    Waits(String),
}

fn state(pod: &Pod) -> State {
    let status = pod.status.clone().unwrap_or_default();
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    if let (Some("Running"), Some(node)) = (status.phase.as_deref(), node) {
        return State::Runs(node);
    }
    let waiting = status.container_statuses.iter().flatten().find_map(|one| one.state.as_ref()?.waiting.as_ref());
    let of_container = waiting.map(|waiting| (waiting.reason.clone(), waiting.message.clone()));
    let unmet = status.conditions.iter().flatten().find(|condition| condition.status == "False");
    let of_pod = unmet.map(|condition| (condition.reason.clone(), condition.message.clone()));
    let (reason, message) = of_container.or(of_pod).unwrap_or_default();
    let words: Vec<String> = [reason, message].into_iter().flatten().collect();
    State::Waits(if words.is_empty() { status.phase.unwrap_or_default() } else { words.join(": ") })
}

fn pod(backup: &Backup, task: &VolumeTask, image: &str) -> Result<Pod> {
    let labels: Value = json!({
        own::HOLDS_FOR: backup.uid(), label::EXCLUDE_FROM_BACKUP: "true", "app.kubernetes.io/name": "trysail-holder",
    });
    let written = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": holder_name(&task.volume), "namespace": task.namespace, "labels": labels },
        "spec": {
            "restartPolicy": "Never", "activeDeadlineSeconds": LIFE_SECONDS, "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false, "enableServiceLinks": false, "tolerations": [{ "operator": "Exists" }],
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "hold", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["/velero"],
                "args": ["node-agent", "hold"],
                "volumeMounts": [{ "name": "volume", "mountPath": "/volume", "readOnly": true }],
                "resources": {
                    "requests": { "cpu": "1m", "memory": "8Mi" }, "limits": { "cpu": "50m", "memory": "32Mi" },
                },
                "securityContext": {
                    "privileged": false, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] },
                },
            }],
            "volumes": [{ "name": "volume", "persistentVolumeClaim": { "claimName": task.volume } }],
        },
    });
    serde_json::from_value(written).map_err(|_| Error::Broken("the making of a Pod"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: Value) -> State {
        let pod = json!({ "spec": { "containers": [], "nodeName": "node1" }, "status": status });
        state(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_pod_that_does_not_run_says_why() {
        assert_eq!(told(json!({ "phase": "Running" })), State::Runs("node1".to_owned()));
        let rows = [
            (json!({ "phase": "Pending" }), "Pending"),
            (
                json!({ "phase": "Pending", "conditions": [
                    { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes" },
                ] }),
                "Unschedulable: 0/1 nodes",
            ),
            (
                json!({
                    "phase": "Pending",
                    "conditions": [{ "type": "Ready", "status": "False", "reason": "ContainersNotReady" }],
                    "containerStatuses": [{
                        "name": "hold", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                        "state": { "waiting": { "reason": "ErrImagePull", "message": "no such image" } },
                    }],
                }),
                "ErrImagePull: no such image",
            ),
        ];
        for (status, expected) in rows {
            assert_eq!(told(status), State::Waits(expected.to_owned()));
        }
    }
}
