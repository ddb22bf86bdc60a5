//! The pod that makes a kubelet mount a claim which no other pod need mount: our image, no Secret, no account, nothing to do. Pure.
//!
//! It also is the consumer that an unbound claim of a class with `WaitForFirstConsumer` waits for, so the scheduler chooses its node.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt as _;
use serde_json::json;
use trysail_api::{
    names::{label, label_value},
    pod_volume_restore::PodVolumeRestore,
};

use crate::{Error, Result};

/// The name of the claim within the pod.
pub(super) const VOLUME: &str = "volume";

/// A user that is nobody. The process looks at nothing.
const USER: i64 = 65_534;

/// The name of the pod that holds the claim of a transfer.
pub(super) fn name(transfer: &PodVolumeRestore) -> String {
    format!("trysail-{}", transfer.name_any())
}

/// Whether a pod is the one of a transfer, and no other of its name.
pub(super) fn is_of(pod: &Pod, transfer: &PodVolumeRestore) -> bool {
    pod.labels().get(label::POD_VOLUME_RESTORE) == Some(&label_value(&transfer.name_any()))
}

/// Makes the pod. A bound volume is followed to whatever node it is on; an unbound one is not brought onto nodes that other pods avoid.
///
/// # Errors
/// None that is known: what is written here is a Pod.
pub(super) fn pod(transfer: &PodVolumeRestore, claim: &PersistentVolumeClaim, image: &str) -> Result<Pod> {
    let is_bound = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_ref()).is_some_and(|name| !name.is_empty());
    let tolerations = if is_bound { json!([{ "operator": "Exists" }]) } else { json!([]) };
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
    let written = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name(transfer), "namespace": claim.namespace(),
            "labels": {
                label::POD_VOLUME_RESTORE: label_value(&transfer.name_any()), label::EXCLUDE_FROM_BACKUP: "true",
            },
        },
        "spec": {
            "containers": [container], "tolerations": tolerations, "restartPolicy": "Always",
            // The process has nothing to end.
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false, "enableServiceLinks": false,
            "volumes": [{ "name": VOLUME, "persistentVolumeClaim": { "claimName": claim.name_any() } }],
        },
    });
    serde_json::from_value(written).map_err(|_| Error::Broken("the making of a Pod"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn made(spec: &Value) -> Pod {
        let transfer = serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeRestore", "metadata": { "name": "r1-x" },
            "spec": {
                "pod": {}, "volume": "data", "snapshotID": "data/1", "backupStorageLocation": "default", "repoIdentifier": "",
                "sourceNamespace": "app",
            },
        }))
        .unwrap();
        let claim = json!({ "metadata": { "name": "data", "namespace": "app" }, "spec": spec });
        pod(&transfer, &serde_json::from_value(claim).unwrap(), "i:1").unwrap()
    }

    #[test]
    fn a_namespace_that_restricts_its_pods_lets_it_in() {
        let pod = serde_json::to_value(made(&json!({ "volumeName": "pv1" }))).unwrap();
        let security = json!({
            "runAsUser": 65534, "runAsGroup": 65534, "runAsNonRoot": true, "privileged": false, "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" },
        });
        assert_eq!(pod["spec"]["containers"][0]["securityContext"], security);
        assert_eq!(
            pod["spec"]["volumes"],
            json!([{ "name": "volume", "persistentVolumeClaim": { "claimName": "data" } }])
        );
        let metadata = json!({
            "name": "trysail-r1-x", "namespace": "app",
            "labels": { "velero.io/pod-volume-restore": "r1-x", "velero.io/exclude-from-backup": "true" },
        });
        assert_eq!(pod["metadata"], metadata);
    }

    #[test]
    fn only_a_bound_volume_is_followed_onto_nodes_that_others_avoid() {
        let tolerates = |spec: Value| made(&spec).spec.unwrap().tolerations.unwrap_or_default().len();
        assert_eq!([tolerates(json!({ "volumeName": "pv1" })), tolerates(json!({}))], [1, 0]);
    }
}
