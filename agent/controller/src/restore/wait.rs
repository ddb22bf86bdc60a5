//! The container of a restored pod that waits for its volumes, as the cluster shows it. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use trysail_cluster::restore::wait::NAMES;

/// The directory of a volume in which the mark lies. Source: Velero `pkg/controller/pod_volume_restore_controller.go`.
pub(crate) const MARKS: &str = ".velero";

fn status(pod: &Pod) -> Option<&ContainerStatus> {
    let statuses = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    statuses.iter().find(|status| NAMES.contains(&status.name.as_str()))
}

/// Whether a pod has such a container at all, at whatever place among its init containers.
pub(crate) fn waits(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    containers.into_iter().any(|container| NAMES.contains(&container.name.as_str()))
}

/// Whether it runs: then the volumes of the pod are mounted.
pub(crate) fn is_running(pod: &Pod) -> bool {
    status(pod).and_then(|status| status.state.as_ref()).is_some_and(|state| state.running.is_some())
}

/// Whether it has ended for good, or the pod has.
pub(crate) fn has_ended(pod: &Pod) -> bool {
    let is_over = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let ended = status(pod).and_then(|status| status.state.as_ref()).and_then(|state| state.terminated.as_ref());
    matches!(is_over, Some("Succeeded" | "Failed")) || ended.is_some_and(|ended| ended.exit_code == 0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(names: &[&str], state: &Value) -> Pod {
        let containers: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
        let statuses: Vec<Value> = names
            .iter()
            .map(|name| {
                let state = if NAMES.contains(name) { state.clone() } else { json!({ "waiting": {} }) };
                json!({ "name": name, "image": "i", "imageID": "i", "ready": false, "restartCount": 0, "state": state })
            })
            .collect();
        serde_json::from_value(json!({
            "spec": { "containers": [], "initContainers": containers }, "status": { "initContainerStatuses": statuses },
        }))
        .unwrap()
    }

    #[test]
    fn the_container_is_found_behind_others_that_were_put_before_it() {
        let running = pod(&["mesh", "restore-wait"], &json!({ "running": {} }));
        assert_eq!((waits(&running), is_running(&running), has_ended(&running)), (true, true, false));
        let waiting = pod(&["restore-wait"], &json!({ "waiting": {} }));
        assert_eq!((waits(&waiting), is_running(&waiting), has_ended(&waiting)), (true, false, false));
        let none = pod(&["mesh"], &json!({}));
        assert_eq!((waits(&none), is_running(&none), has_ended(&none)), (false, false, false));
    }

    #[test]
    fn only_an_end_without_error_is_one() {
        let ended = |code: i32| pod(&["restore-wait"], &json!({ "terminated": { "exitCode": code } }));
        assert_eq!([has_ended(&ended(0)), has_ended(&ended(1))], [true, false]);
    }
}
