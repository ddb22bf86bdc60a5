//! Hooks of a Restore: containers that run first in a restored pod, and commands in its containers once they run. Pure.
//!
//! Source: Velero `internal/hook/item_hook_handler.go`.

use std::time::Duration;

use serde_json::{Value, json};
use trysail_api::{
    hook::{OnError, RestoreHookSet},
    names::annotation,
    selection::Selection,
};

use crate::{
    hooks::{FROM_ANNOTATION, PodHook, TIMEOUT, Unrunnable, Wanted, bounded, for_pod, words},
    kind::{Item, text},
    select::resource,
};

/// Name of an init container whose annotation gives none.
const INIT_NAME: &str = "velero-restore-init";

/// A command that runs in a container of a restored pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecHook {
    /// The command; or why it cannot be run, which counts as a failure.
    pub hook: Result<PodHook, Unrunnable>,
    /// The longest time to wait for the container; as long as the Restore does where it does not say.
    pub wait: Option<Duration>,
    /// Whether the container must be ready, not only running.
    pub waits_for_ready: bool,
}

/// What is to run in a pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodHooks {
    /// Init containers, in order.
    pub init: Vec<Value>,
    /// Commands, in order.
    pub exec: Vec<ExecHook>,
}

/// The hooks of a pod: those of its annotations, or else those of the spec that are for it. The second list says what of its
/// annotations cannot be understood.
pub(super) fn of_pod(pod: &Item, hooks: &[RestoreHookSet]) -> (PodHooks, Vec<String>) {
    let mut warnings = Vec::new();
    let annotations = &pod.object["metadata"]["annotations"];
    let meant: Vec<&RestoreHookSet> = hooks.iter().filter(|set| is_for(set, pod)).collect();
    let init = match annotated_init(annotations) {
        Some(container) => vec![container],
        None => meant.iter().flat_map(|set| init_of(set)).collect(),
    };
    let exec = match annotated_exec(pod, annotations, &mut warnings) {
        Some(hook) => vec![hook],
        None => meant.iter().flat_map(|set| exec_of(set, pod)).collect(),
    };
    (PodHooks { init, exec }, warnings)
}

fn annotated_init(annotations: &Value) -> Option<Value> {
    let value = |key: &str| {
        let key = format!("{}{key}", annotation::INIT_RESTORE_HOOK_PREFIX);
        annotations[key].as_str().filter(|value| !value.is_empty())
    };
    let image = value("container-image")?;
    let mut container = json!({ "name": value("container-name").unwrap_or(INIT_NAME), "image": image });
    if let Some(command) = value("command") {
        container["command"] = words(command).into();
    }
    Some(container)
}

fn init_of(set: &RestoreHookSet) -> Vec<Value> {
    let init = set.post_hooks.iter().flatten().filter_map(|hook| hook.init.as_ref());
    let containers = init.flat_map(|init| init.init_containers.iter().flatten());
    containers.map(|container| Value::Object(container.0.clone().into_iter().collect())).collect()
}

fn annotated_exec(pod: &Item, annotations: &Value, warnings: &mut Vec<String>) -> Option<ExecHook> {
    let prefix = annotation::POST_RESTORE_HOOK_PREFIX;
    let value = |key: &str| annotations[format!("{prefix}{key}")].as_str().filter(|value| !value.is_empty());
    let command = value("command")?;
    let mut span = |key: &str| {
        let written = value(key)?;
        match written.parse() {
            Ok(duration) => Some(bounded(&duration)),
            Err(error) => {
                warnings.push(format!("annotation {prefix}{key}: {error}"));
                None
            }
        }
    };
    let (timeout, wait) = (span("exec-timeout").unwrap_or(TIMEOUT), span("wait-timeout"));
    let on_error = match value("on-error") {
        Some("Fail") => Some(OnError::Fail),
        Some("Continue") | None => None,
        Some(other) => {
            warnings.push(format!("annotation {prefix}on-error: {other:?} is neither Fail nor Continue"));
            None
        }
    };
    let waits_for_ready = value("wait-for-ready") == Some("true");
    let wanted =
        Wanted { name: FROM_ANNOTATION, container: value("container"), command: words(command), on_error, timeout };
    Some(ExecHook { hook: for_pod(pod, wanted), wait, waits_for_ready })
}

fn exec_of(set: &RestoreHookSet, pod: &Item) -> Vec<ExecHook> {
    let exec = set.post_hooks.iter().flatten().filter_map(|hook| hook.exec.as_ref());
    let hooks = exec.map(|exec| {
        let wanted = Wanted {
            name: &set.name,
            container: exec.container.as_deref(),
            command: exec.command.clone(),
            on_error: exec.on_error,
            timeout: exec.exec_timeout.as_ref().map_or(TIMEOUT, bounded),
        };
        ExecHook {
            hook: for_pod(pod, wanted),
            wait: exec.wait_timeout.as_ref().filter(|wait| !wait.is_zero()).map(bounded),
            waits_for_ready: exec.wait_for_ready == Some(true),
        }
    });
    hooks.collect()
}

/// Whether hooks of a spec are for a pod, as it was saved. A set that cannot be judged is for none: the controller refuses it.
fn is_for(set: &RestoreHookSet, pod: &Item) -> bool {
    let has = |included: &Option<Vec<String>>, excluded: &Option<Vec<String>>, name: &str| {
        Selection::new(included.as_deref(), excluded.as_deref()).is_ok_and(|selection| selection.has(name))
    };
    has(&set.included_namespaces, &set.excluded_namespaces, pod.namespace().unwrap_or_default())
        && has(&set.included_resources, &set.excluded_resources, resource::PODS)
        && set.label_selector.as_ref().is_none_or(|selector| selector.matches(&pod.labels()).unwrap_or(false))
}

/// How far a container must be before a hook runs in it.
///
/// Source: Velero `internal/hook/wait_exec_hook_handler.go`, `isContainerUp`.
pub fn is_up(pod: &Value, container: &str, must_be_ready: bool) -> bool {
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let found = statuses.into_iter().find(|status| text(&status["name"]) == container);
    found.is_some_and(|status| !status["state"]["running"].is_null() && (!must_be_ready || status["ready"] == true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::kind;

    fn pod(annotations: &Value) -> Item {
        let metadata = json!({"name": "db", "namespace": "shop", "labels": {"app": "db"}, "annotations": annotations});
        Item::new(
            kind("pods v1 Pod"),
            json!({"metadata": metadata, "spec": {"containers": [{"name": "main"}, {"name": "side"}]}}),
        )
    }

    fn sets(sets: Value) -> Vec<RestoreHookSet> {
        serde_json::from_value(sets).unwrap()
    }

    fn command(hook: &ExecHook) -> Vec<String> {
        let hook = hook.hook.as_ref().unwrap();
        [vec![hook.container.clone()], hook.command.clone()].concat()
    }

    #[test]
    fn hooks_of_the_spec_are_for_the_pods_that_they_name() {
        let hooks = |namespaces: Value| {
            sets(json!([{
                "name": "h", "includedNamespaces": namespaces, "includedResources": ["pods"],
                "labelSelector": {"matchLabels": {"app": "db"}},
                "postHooks": [
                    {"init": {"initContainers": [{"name": "i", "image": "x", "command": ["a"], "tty": true}]}},
                    {"exec": {"container": "side", "command": ["a", "b"], "execTimeout": "5s", "waitTimeout": "1m", "waitForReady": true}},
                ],
            }]))
        };
        let (found, warnings) = of_pod(&pod(&json!({})), &hooks(json!(["shop"])));
        assert_eq!(found.init, [json!({"name": "i", "image": "x", "command": ["a"], "tty": true})]);
        assert_eq!(
            (command(&found.exec[0]), found.exec.len()),
            (vec!["side".to_owned(), "a".to_owned(), "b".to_owned()], 1)
        );
        assert_eq!((found.exec[0].wait, found.exec[0].waits_for_ready), (Some(Duration::from_mins(1)), true));
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(of_pod(&pod(&json!({})), &hooks(json!(["other"]))), (PodHooks::default(), Vec::new()));
    }

    #[test]
    fn annotations_of_a_pod_come_instead_of_the_spec() {
        let annotations = json!({
            "init.hook.restore.velero.io/container-image": "busybox",
            "init.hook.restore.velero.io/command": "[\"sh\", \"-c\", \"x\"]",
            "post.hook.restore.velero.io/command": "sync",
            "post.hook.restore.velero.io/wait-timeout": "soon",
            "post.hook.restore.velero.io/on-error": "Fail",
        });
        let spec = sets(json!([{"name": "h", "postHooks": [{"exec": {"command": ["other"]}}]}]));
        let (found, warnings) = of_pod(&pod(&annotations), &spec);
        let init = json!({"name": "velero-restore-init", "image": "busybox", "command": ["sh", "-c", "x"]});
        assert_eq!(found.init, [init]);
        assert_eq!(found.exec.iter().map(command).collect::<Vec<_>>(), [["main", "sync"]]);
        assert!(found.exec[0].hook.as_ref().unwrap().stops());
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn a_container_is_up_when_it_runs_or_is_ready() {
        let pod = |ready: bool| json!({"status": {"containerStatuses": [{"name": "a", "ready": ready, "state": {"running": {}}}]}});
        let found = [
            is_up(&pod(false), "a", false),
            is_up(&pod(false), "a", true),
            is_up(&pod(true), "a", true),
            is_up(&pod(true), "b", false),
        ];
        assert_eq!(found, [true, false, true, false]);
    }
}
