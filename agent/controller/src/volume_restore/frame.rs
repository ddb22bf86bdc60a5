//! What a Job takes from the installation: the server's image, account and credentials, and where nodes have their pods.

use std::path::{Path, PathBuf};

use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::PodSpec};
use kube::ResourceExt as _;
use trysail_api::{names::own, pod_volume_restore::PodVolumeRestore, restore::Restore};

use super::job::Frame;
use crate::{Result, context::Context, node::PODS, restore::configuration::own_pod};

/// The kubelet's directory of pods, where nobody says another.
const KUBELET_PODS: &str = "/var/lib/kubelet/pods";

/// The DaemonSet of the node agent, and its name in Velero before 1.10.
const AGENTS: [&str; 2] = ["node-agent", "restic"];

/// The variable that says where the credentials are, as Velero's charts set it.
const CREDENTIALS: &str = "AWS_SHARED_CREDENTIALS_FILE";

/// Where nodes have their pods: what the node agent is given of them.
pub(super) async fn pods(context: &Context) -> Result<PathBuf> {
    for name in AGENTS {
        let agent = context.get::<DaemonSet>(name).await?;
        let found = agent.and_then(|agent| agent.spec).and_then(|spec| spec.template.spec);
        if let Some(path) = found.and_then(|spec| mounted_at(&spec, PODS)) {
            return Ok(path);
        }
    }
    Ok(KUBELET_PODS.into())
}

/// The directory of the node that a pod has at a path.
fn mounted_at(spec: &PodSpec, path: &str) -> Option<PathBuf> {
    let mounts = spec.containers.iter().flat_map(|container| container.volume_mounts.iter().flatten());
    let name = &mounts.into_iter().find(|mount| mount.mount_path == path)?.name;
    let volume = spec.volumes.iter().flatten().find(|volume| volume.name == *name)?;
    volume.host_path.as_ref().map(|host| PathBuf::from(&host.path))
}

/// What the Job of a transfer is made of.
pub(super) async fn of(transfer: &PodVolumeRestore, context: &Context) -> Result<Frame> {
    let spec = own_pod(context).await?.unwrap_or_default();
    let owner = transfer.owner_references().iter().find(|owner| owner.kind == "Restore");
    let restore = match owner {
        Some(owner) => context.get::<Restore>(&owner.name).await?,
        None => None,
    };
    Ok(Frame {
        image: spec.containers.first().and_then(|container| container.image.clone()).unwrap_or_default(),
        account: spec.service_account_name.clone(),
        pull_secrets: spec.image_pull_secrets.iter().flatten().map(|secret| secret.name.clone()).collect(),
        identity: restore.and_then(|restore| restore.annotations().get(own::IDENTITY_SECRET).cloned()),
        credentials: credentials(&spec),
    })
}

/// The Secret with the credentials of locations that name none, and the path of the file in it.
fn credentials(spec: &PodSpec) -> Option<(String, String)> {
    let container = spec.containers.first()?;
    let path = container.env.iter().flatten().find(|variable| variable.name == CREDENTIALS)?.value.clone()?;
    let directory = Path::new(&path).parent()?;
    let mount = container.volume_mounts.iter().flatten().find(|mount| Path::new(&mount.mount_path) == directory)?;
    let volume = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name)?;
    Some((volume.secret.as_ref()?.secret_name.clone()?, path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_job_needs_is_read_from_pods_that_run() {
        let spec: PodSpec = serde_json::from_value(json!({
            "containers": [{
                "name": "velero", "env": [{ "name": CREDENTIALS, "value": "/credentials/cloud" }],
                "volumeMounts": [
                    { "name": "cloud", "mountPath": "/credentials" }, { "name": "pods", "mountPath": "/host_pods" },
                ],
            }],
            "volumes": [
                { "name": "cloud", "secret": { "secretName": "cloud-credentials" } },
                { "name": "pods", "hostPath": { "path": "/var/snap/kubelet/pods" } },
            ],
        }))
        .unwrap();
        assert_eq!(credentials(&spec), Some(("cloud-credentials".to_owned(), "/credentials/cloud".to_owned())));
        assert_eq!(mounted_at(&spec, PODS), Some("/var/snap/kubelet/pods".into()));
    }
}
