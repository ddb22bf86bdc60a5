//! What a backup or restore would do, told before it is made. Pure: what is in the cluster and in the archive is given.

pub(crate) mod backup;
pub(crate) mod restore;

use kube::ResourceExt as _;
use trysail_api::{names::annotation, pod_volume_backup::PodVolumeBackup};

/// The kind of `spec.pod` of a `PodVolumeBackup` of a claim that no pod mounts.
const CLAIM: &str = "PersistentVolumeClaim";

/// Namespace and name of the claim of which files were saved.
pub(crate) fn claim_of(saved: &PodVolumeBackup) -> Option<(String, String)> {
    let pod = &saved.spec.pod;
    let claim = match pod.kind.as_deref() {
        Some(CLAIM) => pod.name.clone(),
        _ => saved.annotations().get(annotation::PVC_NAME).cloned(),
    };
    Some((pod.namespace.clone()?, claim?))
}
