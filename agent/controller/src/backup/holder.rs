//! Pods that have a kubelet mount claims which no other pod mounts, for as long as a backup reads them.
//!
//! The node agent finds such a pod by its name, which the claim's tells; it is removed by the label that names its Backup.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};
use tokio::time::{Instant, sleep};
use trysail_api::{backup::Backup, names::own};
use trysail_cluster::volumes::VolumeTask;

use crate::{
    Error, Result,
    context::Context,
    error::{code, unless},
    holder::{self, Hold, hindrance},
    repository::holder_name,
    restore::configuration::own_pod,
};

/// Claims that are held at once: their pods take place on nodes, and of a quota.
pub(super) const AT_ONCE: usize = 8;

/// How long a pod may take to be scheduled and to have its claim mounted.
const PATIENCE: Duration = Duration::from_mins(3);

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
    let (name, uid) = (holder_name(&task.volume), backup.uid().unwrap_or_default());
    let (namespace, label) = (&*task.namespace, (own::HOLDS_FOR, &*uid));
    let hold = Hold { name: &name, namespace, claim: &task.volume, is_bound: true, label };
    let wanted = holder::pod(hold, &image).map_err(reason)?;
    let api = pods(&context.client, namespace);
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
        let Some(found) = found else { return Err(format!("no pod mounts it, and {what}, which should, is gone")) };
        if let Some(node) = node_of(&found) {
            return Ok(node);
        }
        if Instant::now() >= until {
            let why = hindrance(&found).map(|why| format!(": {why}")).unwrap_or_default();
            return Err(format!("no pod mounts it, and {what}, which should, does not run{why}"));
        }
        sleep(LOOK).await;
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

/// The node on which a pod runs.
fn node_of(pod: &Pod) -> Option<String> {
    let phase = pod.status.as_ref()?.phase.as_deref()?;
    pod.spec.as_ref()?.node_name.clone().filter(|_| phase == "Running")
}
