//! Commands that run in pods before and after their volumes are read: which they are, which is pure, and ([`exec`])
//! their run.
//!
//! When they run, and what becomes of a pod whose hook failed, is the controller's matter.

pub mod exec;

use std::{num::TryFromIntError, time::Duration};

use serde_json::Value;
use trysail_api::{
    duration,
    hook::{BackupHook, OnError},
    names::annotation,
    selection::Selection,
};

use crate::{
    error::{Error, Result},
    kind::{Item, list, strings, text},
    select::resource,
};

/// The longest time of a hook that says none. Source: Velero `pkg/podexec/pod_command_executor.go`.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The longest time of any hook; a day is no hook any more.
pub const TIMEOUT_MAX: Duration = Duration::from_hours(24);

/// What an annotation's hook is called in logs. Source: Velero `internal/hook/item_hook_handler.go`.
pub(crate) const FROM_ANNOTATION: &str = "<from-annotation>";

/// When hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before volumes are read.
    Pre,
    /// After that.
    Post,
}

/// A command for one container of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodHook {
    /// Name of the hook, for logs.
    pub name: String,
    /// The container.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// What its failure means.
    pub on_error: Option<OnError>,
    /// The longest time it may run.
    pub timeout: Duration,
}

impl PodHook {
    /// Whether a failure stops the hooks that follow, and the pod. Only the word `Fail` does. Velero's documents call it
    /// the default, and its code acts as if the default were `Continue`: manifests are tried against the code.
    ///
    /// Source: Velero `internal/hook/item_hook_handler.go`, `HandleHooks`.
    pub fn stops(&self) -> bool {
        self.on_error == Some(OnError::Fail)
    }
}

/// What is to run for a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order. One that cannot be run is an error in its place, with whether that stops the pod: it counts as one
    /// that was tried and failed.
    pub hooks: Vec<Result<PodHook, Unrunnable>>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// A hook that cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrunnable {
    /// Name of the hook.
    pub name: String,
    /// Why.
    pub why: String,
    /// Whether this stops the pod.
    pub stops: bool,
}

/// A hook before it meets a pod.
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    pub(crate) container: Option<&'a str>,
    pub(crate) command: Vec<String>,
    pub(crate) on_error: Option<OnError>,
    pub(crate) timeout: Duration,
}

/// The hooks of a pod: those of its annotations, or else those of the spec that are for it. A pod that has ended has none.
///
/// # Errors
/// A pattern or a selector of the spec that cannot be read.
pub fn of_pod(pod: &Item, hooks: &[BackupHook], stage: Stage) -> Result<Plan> {
    if matches!(text(&pod.object["status"]["phase"]), "Succeeded" | "Failed") {
        return Ok(Plan::default());
    }
    let mut plan = Plan::default();
    let annotations = pod.object["metadata"]["annotations"].clone();
    let prefixes: &[&str] = match stage {
        Stage::Pre => &[annotation::PRE_BACKUP_HOOK_PREFIX, annotation::BACKUP_HOOK_PREFIX],
        Stage::Post => &[annotation::POST_BACKUP_HOOK_PREFIX],
    };
    let annotated = prefixes.iter().find_map(|prefix| annotated(&annotations, prefix, &mut plan.warnings));
    if let Some(wanted) = annotated {
        plan.hooks.push(for_pod(pod, wanted));
        return Ok(plan);
    }
    for set in hooks {
        if !is_for(set, pod)? {
            continue;
        }
        let list = match stage {
            Stage::Pre => &set.pre,
            Stage::Post => &set.post,
        };
        for hook in list.iter().flatten() {
            let wanted = Wanted {
                name: &set.name,
                container: hook.exec.container.as_deref(),
                command: hook.exec.command.clone(),
                on_error: hook.exec.on_error,
                timeout: hook.exec.timeout.as_ref().map_or(TIMEOUT, bounded),
            };
            plan.hooks.push(for_pod(pod, wanted));
        }
    }
    Ok(plan)
}

/// The hook of a pod's annotations, if they have a command.
fn annotated<'a>(annotations: &'a Value, prefix: &str, warnings: &mut Vec<String>) -> Option<Wanted<'a>> {
    let value = |key: &str| annotations[format!("{prefix}{key}")].as_str().filter(|value| !value.is_empty());
    let command = value("command")?;
    let timeout = value("timeout").map_or(TIMEOUT, |written| match written.parse() {
        Ok(duration) => bounded(&duration),
        Err(error) => {
            let seconds = TIMEOUT.as_secs();
            warnings.push(format!("annotation {prefix}timeout: {error}; the hook has {seconds} seconds"));
            TIMEOUT
        }
    });
    let on_error = match value("on-error") {
        Some("Fail") => Some(OnError::Fail),
        Some("Continue") => Some(OnError::Continue),
        Some(other) => {
            warnings.push(format!("annotation {prefix}on-error: {other:?} is neither Fail nor Continue"));
            None
        }
        None => None,
    };
    Some(Wanted { name: FROM_ANNOTATION, container: value("container"), command: words(command), on_error, timeout })
}

/// A JSON list of words, or one word as it is.
pub(crate) fn words(command: &str) -> Vec<String> {
    serde_json::from_str(command).unwrap_or_else(|_| vec![command.to_owned()])
}

/// A span of zero, and of less, is one that was not given.
pub(crate) fn bounded(duration: &duration::Duration) -> Duration {
    let nanoseconds: Result<u64, TryFromIntError> = u64::try_from(duration.nanoseconds());
    match nanoseconds {
        Ok(0) | Err(_) => TIMEOUT,
        Ok(nanoseconds) => Duration::from_nanos(nanoseconds).min(TIMEOUT_MAX),
    }
}

/// Whether hooks of a spec are for a pod. Lists of kinds hold full names ([`crate::discover::Catalog::resolve`]).
fn is_for(set: &BackupHook, pod: &Item) -> Result<bool> {
    let refuse = |why: String| Error::Selection { field: "spec.hooks", why: format!("{}: {why}", set.name) };
    let selection = |included: &Option<Vec<String>>, excluded: &Option<Vec<String>>| {
        Selection::new(included.as_deref(), excluded.as_deref()).map_err(|e| refuse(e.to_string()))
    };
    let namespaces = selection(&set.included_namespaces, &set.excluded_namespaces)?;
    let kinds = selection(&set.included_resources, &set.excluded_resources)?;
    let is_selected = set.label_selector.as_ref().map_or(Ok(true), |selector| selector.matches(&pod.labels()));
    Ok(namespaces.has(pod.namespace().unwrap_or_default())
        && kinds.has(resource::PODS)
        && is_selected.map_err(|e| refuse(e.to_string()))?)
}

/// Finds the container of a hook: the one it names, or the pod's first.
pub(crate) fn for_pod(pod: &Item, wanted: Wanted<'_>) -> Result<PodHook, Unrunnable> {
    let stops = wanted.on_error == Some(OnError::Fail);
    let refuse = |why: String| Unrunnable { name: wanted.name.to_owned(), why, stops };
    let containers = containers(pod);
    let container = match wanted.container {
        Some(name) if containers.contains(&name) => name,
        Some(name) => return Err(refuse(format!("the pod has no container {name:?}"))),
        None => containers.first().ok_or_else(|| refuse("the pod has no container".to_owned()))?,
    };
    if wanted.command.is_empty() {
        return Err(refuse("it has no command".to_owned()));
    }
    Ok(PodHook {
        name: wanted.name.to_owned(),
        container: container.to_owned(),
        command: wanted.command,
        on_error: wanted.on_error,
        timeout: wanted.timeout,
    })
}

/// Containers that run as long as the pod: the ordinary ones, then sidecars, which are written as init containers.
fn containers(pod: &Item) -> Vec<&str> {
    let spec = &pod.object["spec"];
    let is_sidecar = |container: &&Value| text(&container["restartPolicy"]) == "Always";
    let sidecars = list(&spec["initContainers"]).iter().filter(is_sidecar);
    list(&spec["containers"]).iter().chain(sidecars).map(|container| text(&container["name"])).collect()
}

/// `namespace/name` of a pod.
fn name_of(pod: &Item) -> String {
    pod.full_name().within_kind()
}

/// Whether annotations of a pod speak of hooks at all, for a policy that asks for consent.
pub fn has_annotations(pod: &Item) -> bool {
    let prefixes =
        [annotation::PRE_BACKUP_HOOK_PREFIX, annotation::BACKUP_HOOK_PREFIX, annotation::POST_BACKUP_HOOK_PREFIX];
    let annotations = strings(&pod.object["metadata"]["annotations"]);
    prefixes.iter().any(|prefix| annotations.contains_key(&format!("{prefix}command")))
}

#[cfg(test)]
mod tests;
