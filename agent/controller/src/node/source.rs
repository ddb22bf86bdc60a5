//! Finds the directory of a volume on this node: below the kubelet's directory of a pod, or, for a volume that the kubelet does not
//! mount, at the path that its PersistentVolume says.
//!
//! An empty directory in the place of a mount would make an empty snapshot, so what should be mounted has to be.

use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use kube::{Api, ResourceExt as _};
use trysail_api::{names::own, pod_volume_backup::PodVolumeBackupSpec};

use super::Settings;
use crate::{
    Error, Result,
    context::Context,
    repository::{CLAIM, holder_name},
};

/// The kubelet's name for what it makes itself and does not mount.
const EMPTY_DIR: &str = "kubernetes.io~empty-dir";

/// The kubelet's name for what drivers mount one level deeper.
const CSI: &str = "kubernetes.io~csi";

/// What the cluster knows of a volume.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The pod that mounts it; for a claim that no other pod mounts, the one that holds it.
    pod: Option<Pod>,
    claim: Option<PersistentVolumeClaim>,
    volume: Option<PersistentVolume>,
}

/// Where a volume is to be looked for.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Below the kubelet's directory of a pod, under this name.
    OfPod {
        /// UID of the pod.
        uid: String,
        /// Name of the directory.
        name: String,
    },
    /// At a path of the node.
    Path(PathBuf),
}

/// A directory below the kubelet's directory of a pod.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// The kubelet's name for what mounted it.
    plugin: String,
    path: PathBuf,
}

/// A directory that can be read, and what of it is not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// Patterns of files that are left out.
    pub(super) excludes: Vec<String>,
}

/// Finds the directory of a transfer.
///
/// # Errors
/// [`Error::Object`] with the reason, where it is not to be found.
pub(super) async fn find(spec: &PodVolumeBackupSpec, settings: &Settings, context: &Context) -> Result<Source> {
    let known = gather(spec, context).await?;
    let wrong = |reason: String| {
        let namespace = spec.pod.namespace.as_deref().unwrap_or_default();
        let owner = spec.pod.name.as_deref().unwrap_or_default();
        Error::Object { what: format!("volume {} of {namespace}/{owner}", spec.volume), reason }
    };
    let path = match decide(spec, &known, &settings.host_paths).map_err(wrong)? {
        Place::Path(path) => path,
        Place::OfPod { uid, name } => {
            let pod = settings.pods.join(&uid);
            let found = look(&pod, &name).map_err(|error| wrong(format!("{}: {error}", pod.display())))?;
            let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            choose(found, &pod, &name, &mounts).map_err(wrong)?
        }
    };
    if !path.is_dir() {
        return Err(wrong(format!("there is no directory {}", path.display())));
    }
    Ok(Source { path, excludes: excludes(&known) })
}

async fn gather(spec: &PodVolumeBackupSpec, context: &Context) -> Result<Known> {
    let namespace = spec.pod.namespace.as_deref().unwrap_or_default();
    let owner = spec.pod.name.as_deref().unwrap_or_default();
    let mut known = Known::default();
    let is_claim = spec.pod.kind.as_deref() == Some(CLAIM);
    let pod = if is_claim { holder_name(owner) } else { owner.to_owned() };
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    known.pod = pods.get_opt(&pod).await.map_err(Error::kubernetes(format!("get pod {namespace}/{pod}")))?;
    let claim =
        if is_claim { Some(owner.to_owned()) } else { known.pod.as_ref().and_then(|pod| claim_of(pod, &spec.volume)) };
    let Some(claim) = claim else { return Ok(known) };
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), namespace);
    let what = format!("get claim {namespace}/{claim}");
    known.claim = claims.get_opt(&claim).await.map_err(Error::kubernetes(what))?;
    let volume = known.claim.as_ref().and_then(|claim| claim.spec.as_ref()?.volume_name.clone());
    if let Some(volume) = volume {
        let volumes: Api<PersistentVolume> = Api::all(context.client.clone());
        let what = format!("get volume {volume}");
        known.volume = volumes.get_opt(&volume).await.map_err(Error::kubernetes(what))?;
    }
    Ok(known)
}

fn volume_of<'p>(pod: &'p Pod, name: &str) -> Option<&'p Volume> {
    pod.spec.as_ref()?.volumes.as_ref()?.iter().find(|volume| volume.name == name)
}

/// The claim that a volume of a pod stands for.
fn claim_of(pod: &Pod, volume: &str) -> Option<String> {
    let volume = volume_of(pod, volume)?;
    let generic = volume.ephemeral.as_ref().map(|_| format!("{}-{}", pod.name_any(), volume.name));
    volume.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.clone()).or(generic)
}

/// Where the volume of a transfer lies. Pure.
fn decide(spec: &PodVolumeBackupSpec, known: &Known, host_paths: &[PathBuf]) -> Result<Place, String> {
    if spec.pod.kind.as_deref() == Some(CLAIM) {
        return of_claim(known, host_paths);
    }
    let pod = known.pod.as_ref().ok_or("the pod is gone")?;
    let uid = pod.uid().unwrap_or_default();
    if uid.is_empty() || spec.pod.uid.as_ref().is_some_and(|wanted| !wanted.is_empty() && *wanted != uid) {
        return Err("the pod is gone; another one has its name".to_owned());
    }
    let volume = volume_of(pod, &spec.volume).ok_or("the pod has no such volume")?;
    if claim_of(pod, &spec.volume).is_none() {
        return Ok(Place::OfPod { uid, name: volume.name.clone() });
    }
    // What the kubelet does not mount is not below its directory.
    let lies_elsewhere = known.volume.as_ref().and_then(|volume| volume.spec.as_ref()?.host_path.as_ref()).is_some();
    if lies_elsewhere && let Some(place) = of_volume(known, host_paths)? {
        return Ok(place);
    }
    let claim = known.claim.as_ref().ok_or("its claim is gone")?;
    let bound = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()).filter(|name| !name.is_empty());
    let name = bound.ok_or("its claim is not bound")?;
    if claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref()) == Some("Block") {
        return Err("it is a raw block device, which has no files".to_owned());
    }
    Ok(Place::OfPod { uid, name })
}

/// Where the volume of a claim lies that no pod of an application mounts.
fn of_claim(known: &Known, host_paths: &[PathBuf]) -> Result<Place, String> {
    let by_path = of_volume(known, host_paths);
    if let Ok(Some(place)) = by_path {
        return Ok(place);
    }
    let name = known.volume.as_ref().map(PersistentVolume::name_any);
    if let (Some(uid), Some(name)) = (known.pod.as_ref().and_then(Pod::uid), name) {
        return Ok(Place::OfPod { uid, name });
    }
    by_path?;
    Err("no pod mounts it, and its files lie at no path of the node that the agent may read (agent.hostPaths)"
        .to_owned())
}

/// The path of the node that a PersistentVolume says, if the agent may read it.
fn of_volume(known: &Known, host_paths: &[PathBuf]) -> Result<Option<Place>, String> {
    known.claim.as_ref().ok_or("there is no such claim")?;
    let volume = known.volume.as_ref().ok_or("its claim is not bound")?;
    let spec = volume.spec.as_ref();
    let local = spec.and_then(|spec| spec.local.as_ref()).map(|local| &local.path);
    let Some(path) = local.or_else(|| spec.and_then(|spec| spec.host_path.as_ref()).map(|host| &host.path)) else {
        return Ok(None);
    };
    let path = Path::new(path);
    let is_plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let is_below = |base: &PathBuf| path.starts_with(base) && path != base;
    if !path.is_absolute() || !is_plain || !host_paths.iter().any(is_below) {
        return Err(format!("{} is below none of the paths that the agent may read (agent.hostPaths)", path.display()));
    }
    Ok(Some(Place::Path(path.to_owned())))
}

/// The directories of that name below a pod's directory. A plugin that mounts one level deeper is followed there.
fn look(pod: &Path, name: &str) -> std::io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for plugin in std::fs::read_dir(pod.join("volumes"))? {
        let plugin = plugin?;
        let mut path = plugin.path().join(name);
        let plugin = plugin.file_name().to_string_lossy().into_owned();
        if plugin == CSI {
            path.push("mount");
        }
        if path.is_dir() {
            found.push(Found { plugin, path });
        }
    }
    Ok(found)
}

/// The one directory that is meant. Pure.
fn choose(mut found: Vec<Found>, pod: &Path, name: &str, mounts: &str) -> Result<PathBuf, String> {
    let one = match (found.pop(), found.is_empty()) {
        (Some(one), true) => one,
        (None, _) => return Err(format!("the kubelet has no directory {name} in {}/volumes", pod.display())),
        (Some(_), false) => {
            return Err(format!("the kubelet has several directories {name} in {}/volumes", pod.display()));
        }
    };
    if one.plugin != EMPTY_DIR && !is_mounted(mounts, &one.path) {
        return Err(format!("nothing is mounted at {}", one.path.display()));
    }
    Ok(one.path)
}

/// Whether something is mounted at a path, by the kernel's list. Source: `proc_pid_mountinfo(5)`.
fn is_mounted(mounts: &str, path: &Path) -> bool {
    let escaped: String = path
        .to_string_lossy()
        .chars()
        .map(|c| if matches!(c, ' ' | '\t' | '\n' | '\\') { format!("\\{:03o}", u32::from(c)) } else { c.to_string() })
        .collect();
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(&escaped))
}

/// Patterns in annotations of the claim and of the pod, with commas or line ends between.
fn excludes(known: &Known) -> Vec<String> {
    let of_claim = known.claim.as_ref().and_then(|claim| claim.annotations().get(own::EXCLUDE));
    let of_pod = known.pod.as_ref().and_then(|pod| pod.annotations().get(own::EXCLUDE));
    let texts = [of_claim, of_pod].into_iter().flatten();
    let patterns = texts.flat_map(|text| text.split([',', '\n'])).map(str::trim).filter(|text| !text.is_empty());
    patterns.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
