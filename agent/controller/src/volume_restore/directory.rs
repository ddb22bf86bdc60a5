//! Where on its node the directory of a pod's volume lies, by what the cluster says of the volume. Pure.
//!
//! A Job is given that one directory and no other, so it has to be known before anything looks at the node.
//!
//! Source: Kubernetes pkg/volume, the kubelet's `pods/<uid>/volumes/<plugin>/<name>`, with the plugins' escaped names.

use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, Pod, Volume};
use kube::ResourceExt as _;

/// What drivers of CSI mount lies one level deeper.
const CSI: &str = "kubernetes.io~csi";

/// What of a volume is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) pod: Option<Pod>,
    pub(super) claim: Option<PersistentVolumeClaim>,
    pub(super) volume: Option<PersistentVolume>,
}

/// The claim that a volume of a pod stands for.
pub(crate) fn claim_of(pod: &Pod, volume: &str) -> Option<String> {
    claim_behind(pod, volume_of(pod, volume)?)
}

fn claim_behind(pod: &Pod, volume: &Volume) -> Option<String> {
    let generic = volume.ephemeral.as_ref().map(|_| format!("{}-{}", pod.name_any(), volume.name));
    volume.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.clone()).or(generic)
}

/// Whether any volume of a pod stands for a claim.
pub(crate) fn mounts(pod: &Pod, claim: &str) -> bool {
    volume_of_claim(pod, claim).next().is_some()
}

/// The volumes of a pod that stand for a claim.
pub(super) fn volume_of_claim<'p>(pod: &'p Pod, claim: &str) -> impl Iterator<Item = &'p Volume> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter(move |volume| claim_behind(pod, volume).as_deref() == Some(claim))
}

fn volume_of<'p>(pod: &'p Pod, name: &str) -> Option<&'p Volume> {
    pod.spec.as_ref()?.volumes.as_ref()?.iter().find(|volume| volume.name == name)
}

/// The directory. `pods` is the kubelet's directory of pods on the node.
///
/// # Errors
/// Why there is none that can be named, as a clause.
pub(super) fn find(known: &Known, volume: &str, pods: &Path) -> Result<PathBuf, String> {
    let pod = known.pod.as_ref().ok_or("the pod is gone")?;
    let uid = pod.uid().unwrap_or_default();
    let below = |plugin: &str, name: &str| {
        let directory = pods.join(&uid).join("volumes").join(plugin).join(name);
        if plugin == CSI { directory.join("mount") } else { directory }
    };
    let mounted = volume_of(pod, volume).ok_or("the pod has no such volume")?;
    if claim_of(pod, volume).is_none() {
        return Ok(below(inline(mounted)?, volume));
    }
    let claim = known.claim.as_ref().and_then(|claim| claim.spec.as_ref()).ok_or("its claim is gone")?;
    if claim.volume_mode.as_deref() == Some("Block") {
        return Err("it is a raw block device, which has no files".to_owned());
    }
    let name = claim.volume_name.as_deref().filter(|name| !name.is_empty()).ok_or("its claim is not bound")?;
    let bound = known.volume.as_ref().filter(|volume| volume.name_any() == name).ok_or("its volume is gone")?;
    let spec = bound.spec.as_ref().ok_or("its volume is empty")?;
    if let Some(host) = &spec.host_path {
        return plain(Path::new(&host.path));
    }
    Ok(below(plugin(bound, spec)?, name))
}

/// The kubelet mounts a directory of the node nowhere else, so it is taken as it is.
fn plain(path: &Path) -> Result<PathBuf, String> {
    let is_plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && is_plain && path != Path::new("/") {
        return Ok(path.to_owned());
    }
    Err(format!("its volume is the directory {}, which is no place for files of a pod", path.display()))
}

/// The plugin of a volume that a pod describes itself.
fn inline(volume: &Volume) -> Result<&'static str, String> {
    if volume.empty_dir.is_some() {
        Ok("kubernetes.io~empty-dir")
    } else if volume.csi.is_some() {
        Ok(CSI)
    } else if volume.nfs.is_some() {
        Ok("kubernetes.io~nfs")
    } else {
        Err("it is of a kind whose files are not restored".to_owned())
    }
}

/// The plugin that mounts a bound volume. Those that were built in have drivers of CSI today.
fn plugin(volume: &PersistentVolume, spec: &PersistentVolumeSpec) -> Result<&'static str, String> {
    let is_migrated = volume.annotations().contains_key("pv.kubernetes.io/migrated-to");
    if spec.csi.is_some() || is_migrated {
        Ok(CSI)
    } else if spec.local.is_some() {
        Ok("kubernetes.io~local-volume")
    } else if spec.nfs.is_some() {
        Ok("kubernetes.io~nfs")
    } else if spec.iscsi.is_some() {
        Ok("kubernetes.io~iscsi")
    } else if spec.fc.is_some() {
        Ok("kubernetes.io~fc")
    } else if spec.rbd.is_some() {
        Ok("kubernetes.io~rbd")
    } else if spec.cephfs.is_some() {
        Ok("kubernetes.io~cephfs")
    } else {
        Err(format!("nothing is known of where volume {} is mounted", volume.name_any()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn known(volume: &Value, spec: &Value) -> Known {
        let pod =
            json!({ "metadata": { "name": "web", "uid": "u1" }, "spec": { "containers": [], "volumes": [volume] } });
        let claim = json!({ "metadata": { "name": "data" }, "spec": { "volumeName": "pv1" } });
        Known {
            pod: serde_json::from_value(pod).unwrap(),
            claim: serde_json::from_value(claim).unwrap(),
            volume: serde_json::from_value(json!({ "metadata": { "name": "pv1" }, "spec": spec })).unwrap(),
        }
    }

    fn found(volume: &Value, spec: &Value) -> Result<String, String> {
        find(&known(volume, spec), "data", Path::new("/pods")).map(|path| path.display().to_string())
    }

    #[test]
    fn a_volume_lies_where_its_plugin_mounts_it() {
        let claim = json!({ "name": "data", "persistentVolumeClaim": { "claimName": "data" } });
        let rows = [
            (
                &claim,
                json!({ "csi": { "driver": "d", "volumeHandle": "h" } }),
                "/pods/u1/volumes/kubernetes.io~csi/pv1/mount",
            ),
            (&claim, json!({ "local": { "path": "/mnt/x" } }), "/pods/u1/volumes/kubernetes.io~local-volume/pv1"),
            (&claim, json!({ "nfs": { "server": "s", "path": "/x" } }), "/pods/u1/volumes/kubernetes.io~nfs/pv1"),
            (&claim, json!({ "hostPath": { "path": "/opt/local/pv1" } }), "/opt/local/pv1"),
            (&json!({ "name": "data", "emptyDir": {} }), json!({}), "/pods/u1/volumes/kubernetes.io~empty-dir/data"),
        ];
        for (volume, spec, expected) in rows {
            assert_eq!(found(volume, &spec).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_directory_that_is_no_place_for_a_pod_is_refused() {
        let claim = json!({ "name": "data", "persistentVolumeClaim": { "claimName": "data" } });
        for path in ["/", "relative", "/opt/../etc"] {
            let refusal = found(&claim, &json!({ "hostPath": { "path": path } })).unwrap_err();
            assert_eq!(refusal, format!("its volume is the directory {path}, which is no place for files of a pod"));
        }
        let secret = json!({ "name": "data", "secret": { "secretName": "s" } });
        assert_eq!(found(&secret, &json!({})), Err("it is of a kind whose files are not restored".to_owned()));
        let mut block = known(&claim, &json!({ "local": { "path": "/x" } }));
        block.claim.as_mut().unwrap().spec.as_mut().unwrap().volume_mode = Some("Block".to_owned());
        let refusal = find(&block, "data", Path::new("/pods")).unwrap_err();
        assert_eq!(refusal, "it is a raw block device, which has no files");
    }
}
