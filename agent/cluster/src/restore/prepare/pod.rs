//! Pods: what a scheduler and an admission gave them goes, and containers that wait for their volumes come first.
//!
//! Source: Velero `pkg/restore/actions/pod_action.go`.

use serde_json::Value;

use super::{Preparation, Prepared};
use crate::{
    kind::{list, text},
    restore::{
        edit::{each, remove, set},
        hooks, wait,
    },
};

/// What the scheduler, the admission of priorities and `kubectl debug` wrote.
const GIVEN: [&str; 3] = ["nodeName", "priority", "ephemeralContainers"];

impl Preparation<'_> {
    pub(super) fn pod(&self, prepared: &mut Prepared) {
        let (hooks, unusable) = hooks::of_pod(&prepared.item, self.hooks);
        prepared.warnings.extend(unusable);
        prepared.hooks = hooks.exec;
        let item = &mut prepared.item;
        let name = (item.namespace().unwrap_or_default().to_owned(), item.name().to_owned());
        remove(&mut item.object, "/spec", &GIVEN);
        remove_tokens(&mut item.object);
        let waits = self.volumes.get(&name).filter(|volumes| !volumes.is_empty());
        let waits = waits.map(|volumes| self.wait.container(&item.object["spec"], volumes, self.restore_uid));
        let first: Vec<Value> = waits.into_iter().chain(hooks.init).collect();
        if first.is_empty() {
            return;
        }
        let names: Vec<&str> = first.iter().map(|container| text(&container["name"])).chain(wait::NAMES).collect();
        let others = list(&item.object["spec"]["initContainers"]).iter();
        let others = others.filter(|container| !names.contains(&text(&container["name"]))).cloned();
        let all = first.iter().cloned().chain(others).collect();
        set(&mut item.object, "/spec", "initContainers", all);
    }
}

/// Volumes with tokens of Kubernetes before 1.21: the Secrets that they name are not here.
fn remove_tokens(pod: &mut Value) {
    let account = text(&pod["spec"]["serviceAccountName"]);
    let token = format!("{}-token-", if account.is_empty() { "default" } else { account });
    let retain = |object: &mut Value, pointer: &str| {
        if let Some(list) = object.pointer_mut(pointer).and_then(Value::as_array_mut) {
            list.retain(|named| !text(&named["name"]).starts_with(&token));
        }
    };
    retain(pod, "/spec/volumes");
    for containers in ["/spec/containers", "/spec/initContainers"] {
        each(pod, containers).for_each(|container| retain(container, "/volumeMounts"));
    }
}
