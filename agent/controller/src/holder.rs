//! The pod that makes a kubelet mount a claim which no other pod need mount: our image, no Secret, no account, nothing to do. Pure.
//!
//! It also is the consumer that an unbound claim of a class with `WaitForFirstConsumer` waits for, so the scheduler chooses its node.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use trysail_api::names::label;

use crate::{Error, Result};

/// The name of the claim within the pod.
pub(crate) const VOLUME: &str = "volume";

/// A user that is nobody. The process looks at nothing.
const USER: i64 = 65_534;

/// When the cluster ends a pod that nobody has removed.
const LIFE_SECONDS: u64 = 24 * 60 * 60;

/// What is held, and by which name and label the pod is found again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hold<'a> {
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) claim: &'a str,
    /// A bound volume is followed to whatever node it is on; an unbound one is not brought onto nodes that other pods avoid.
    pub(crate) is_bound: bool,
    /// A label and its value.
    pub(crate) label: (&'a str, &'a str),
}

/// Makes the pod.
///
/// # Errors
/// None that is known: what is written here is a Pod.
pub(crate) fn pod(hold: Hold<'_>, image: &str) -> Result<Pod> {
    let tolerations = if hold.is_bound { json!([{ "operator": "Exists" }]) } else { json!([]) };
    let amounts = json!({ "cpu": "10m", "memory": "32Mi" });
    let container = json!({
        "name": "holder", "image": image, "imagePullPolicy": "IfNotPresent",
        "command": ["/velero"], "args": ["node-agent", "hold"],
        "volumeMounts": [{ "name": VOLUME, "mountPath": "/volume", "readOnly": true }],
        // Namespaces with quotas admit no pod that says less.
        "resources": { "requests": amounts, "limits": amounts },
        "securityContext": {
            "runAsUser": USER, "runAsGroup": USER, "runAsNonRoot": true, "privileged": false, "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" },
        },
    });
    let labels = BTreeMap::from([hold.label, (label::EXCLUDE_FROM_BACKUP, "true")]);
    let written = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": hold.name, "namespace": hold.namespace, "labels": labels },
        "spec": {
            "containers": [container], "tolerations": tolerations, "restartPolicy": "Always",
            // The process has nothing to end.
            "terminationGracePeriodSeconds": 1, "activeDeadlineSeconds": LIFE_SECONDS,
            "automountServiceAccountToken": false, "enableServiceLinks": false,
            "volumes": [{ "name": VOLUME, "persistentVolumeClaim": { "claimName": hold.claim } }],
        },
    });
    serde_json::from_value(written).map_err(|_| Error::Broken("the making of a Pod"))
}

/// What keeps a pod from starting, as far as it says so.
pub(crate) fn hindrance(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let waiting = status.container_statuses.iter().flatten().find_map(|one| one.state.as_ref()?.waiting.as_ref());
    let of_container = waiting.and_then(|waiting| waiting.message.clone().or_else(|| waiting.reason.clone()));
    let mut unmet = status.conditions.iter().flatten().filter(|condition| condition.status == "False");
    of_container.or_else(|| unmet.find_map(|condition| condition.message.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn made(is_bound: bool) -> Pod {
        let label = (label::POD_VOLUME_RESTORE, "r1-x");
        pod(Hold { name: "trysail-r1-x", namespace: "app", claim: "data", is_bound, label }, "i:1").unwrap()
    }

    #[test]
    fn a_namespace_that_restricts_its_pods_lets_it_in() {
        let pod = serde_json::to_value(made(true)).unwrap();
        let security = json!({
            "runAsUser": 65534, "runAsGroup": 65534, "runAsNonRoot": true, "privileged": false, "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" },
        });
        assert_eq!(pod["spec"]["containers"][0]["securityContext"], security);
        let volumes = json!([{ "name": "volume", "persistentVolumeClaim": { "claimName": "data" } }]);
        assert_eq!(pod["spec"]["volumes"], volumes);
        let metadata = json!({
            "name": "trysail-r1-x", "namespace": "app",
            "labels": { "velero.io/pod-volume-restore": "r1-x", "velero.io/exclude-from-backup": "true" },
        });
        assert_eq!(pod["metadata"], metadata);
    }

    #[test]
    fn only_a_bound_volume_is_followed_onto_nodes_that_others_avoid() {
        let tolerates = |is_bound| made(is_bound).spec.unwrap().tolerations.unwrap_or_default().len();
        assert_eq!([tolerates(true), tolerates(false)], [1, 0]);
    }

    #[test]
    fn a_pod_that_does_not_run_says_why() {
        let why = |status: Value| {
            hindrance(&serde_json::from_value(json!({ "metadata": {}, "status": status })).unwrap()).unwrap_or_default()
        };
        assert_eq!(why(json!({ "phase": "Pending" })), "");
        let unmet =
            json!([{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes" }]);
        assert_eq!(why(json!({ "conditions": unmet })), "0/1 nodes");
        let waiting = json!({ "waiting": { "reason": "ErrImagePull", "message": "no such image" } });
        let container = json!({
            "name": "holder", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": waiting,
        });
        assert_eq!(why(json!({ "conditions": unmet, "containerStatuses": [container] })), "no such image");
    }
}
