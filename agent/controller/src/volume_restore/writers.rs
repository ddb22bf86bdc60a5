//! Which pods write into a claim: what a restore must not write under.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _};
use trysail_api::names::label;

use super::directory::volume_of_claim;
use crate::{Result, context::Context};

/// Names of pods of a namespace that write into a claim, or will when they start.
pub(crate) async fn gather(context: &Context, namespace: &str, claim: &str) -> Result<Vec<String>> {
    let pods = context.list_in::<Pod>(Api::namespaced(context.client.clone(), namespace), "").await?;
    Ok(pods.iter().filter(|pod| writes(pod, claim)).map(Pod::name_any).collect())
}

/// Whether a pod writes into a claim of its namespace. One that is on its way counts, as nobody knows when it starts; one that has ended
/// does not, and neither does a pod of ours that only holds the claim.
fn writes(pod: &Pod, claim: &str) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) || pod.labels().contains_key(label::POD_VOLUME_RESTORE) {
        return false;
    }
    let Some(spec) = &pod.spec else { return false };
    let containers = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    volume_of_claim(pod, claim).any(|volume| {
        let is_read_only = volume.persistent_volume_claim.as_ref().and_then(|claim| claim.read_only) == Some(true);
        let mounts = || containers().flat_map(|container| container.volume_mounts.iter().flatten());
        let devices = || containers().flat_map(|container| container.volume_devices.iter().flatten());
        let is_mounted = mounts().any(|mount| mount.name == volume.name && mount.read_only != Some(true));
        !is_read_only && (is_mounted || devices().any(|device| device.name == volume.name))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(volume: &Value, mount: &Value, rest: &Value) -> Pod {
        let mut pod = json!({
            "metadata": { "name": "web" },
            "spec": { "containers": [{ "name": "a", "volumeMounts": [mount] }], "volumes": [volume] },
        });
        for (key, value) in rest.as_object().into_iter().flatten() {
            pod[key] = value.clone();
        }
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_pod_writes_if_a_container_mounts_the_claim_and_may() {
        let of = |claim: Value| json!({ "name": "v", "persistentVolumeClaim": claim });
        let data = || of(json!({ "claimName": "data" }));
        let mount = || json!({ "name": "v", "mountPath": "/data" });
        let held = json!({ "metadata": { "name": "h", "labels": { "velero.io/pod-volume-restore": "r1-x" } } });
        let rows = vec![
            (pod(&data(), &mount(), &json!({})), true),
            (pod(&data(), &mount(), &json!({ "status": { "phase": "Pending" } })), true),
            (
                pod(&json!({ "name": "v", "ephemeral": {} }), &mount(), &json!({ "metadata": { "name": "data" } })),
                false,
            ),
            (pod(&data(), &mount(), &json!({ "status": { "phase": "Succeeded" } })), false),
            (pod(&data(), &mount(), &json!({ "status": { "phase": "Failed" } })), false),
            (pod(&data(), &json!({ "name": "v", "mountPath": "/data", "readOnly": true }), &json!({})), false),
            (pod(&data(), &json!({ "name": "w", "mountPath": "/data" }), &json!({})), false),
            (pod(&of(json!({ "claimName": "data", "readOnly": true })), &mount(), &json!({})), false),
            (pod(&of(json!({ "claimName": "other" })), &mount(), &json!({})), false),
            (pod(&data(), &mount(), &held), false),
        ];
        for (pod, expected) in rows {
            assert_eq!(writes(&pod, "data"), expected, "{pod:?}");
        }
        let generic = pod(&json!({ "name": "v", "ephemeral": {} }), &mount(), &json!({}));
        assert!(writes(&generic, "web-v"));
    }
}
