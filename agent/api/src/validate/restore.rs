//! What is wrong with the spec of a Restore.

use super::{
    backup::{config_map, selectors},
    lists,
};
use crate::{hook::Container, restore::RestoreSpec};

/// Kinds that no Restore brings back; the server adds them to `excludedResources`.
///
/// Source: Velero `pkg/controller/restore_controller.go`.
pub const NON_RESTORABLE: [&str; 9] = [
    "nodes",
    "events",
    "events.events.k8s.io",
    "backups.velero.io",
    "restores.velero.io",
    "resticrepositories.velero.io",
    "csinodes.storage.k8s.io",
    "volumeattachments.storage.k8s.io",
    "backuprepositories.velero.io",
];

/// All problems of a Restore's spec as a user wrote it, before the server fills in what is empty.
///
/// Source: Velero `pkg/controller/restore_controller.go`, `validateAndComplete`.
pub fn restore(spec: &RestoreSpec) -> Vec<String> {
    let included = spec.included_resources.as_deref().unwrap_or_default();
    let never = NON_RESTORABLE.iter().filter(|kind| included.iter().any(|i| i == *kind));
    let mut problems: Vec<String> = never.map(|kind| format!("{kind} are non-restorable resources")).collect();
    let found = lists::unscoped(spec.included_resources.as_ref(), spec.excluded_resources.as_ref());
    problems.extend(found.iter().map(|p| format!("Invalid included/excluded resource lists: {p}")));
    let found = lists::unscoped(spec.included_namespaces.as_ref(), spec.excluded_namespaces.as_ref());
    problems.extend(found.iter().map(|p| format!("Invalid included/excluded namespace lists: {p}")));
    problems.extend(selectors("restore", spec.label_selector.as_ref(), spec.or_label_selectors.as_deref()));
    let is_named = |name: Option<&String>| name.is_some_and(|name| !name.is_empty());
    if is_named(spec.backup_name.as_ref()) == is_named(spec.schedule_name.as_ref()) {
        let problem = "Either a backup or schedule must be specified as a source for the restore, but not both";
        problems.push(problem.to_owned());
    }
    let hooks = spec.hooks.iter().flat_map(|hooks| hooks.resources.iter().flatten());
    let init = hooks.flat_map(|set| set.post_hooks.iter().flatten()).filter_map(|hook| hook.init.as_ref());
    let containers = init.flat_map(|init| init.init_containers.iter().flatten());
    problems.extend(
        containers
            .filter(|container| !is_complete(container))
            .map(|_| "invalid InitContainer in restore hook, it doesn't have Command, Name or Image field".to_owned()),
    );
    let policy = spec.existing_resource_policy.as_deref().unwrap_or_default();
    if !matches!(policy, "" | "none" | "update") {
        problems.push(format!("Invalid ExistingResourcePolicy: {policy}"));
    }
    problems.extend(spec.resource_modifier.as_ref().and_then(|r| config_map("resourceModifier", r)));
    problems.extend(spec.resource_policy.as_ref().and_then(|r| config_map("resourcePolicy", r)));
    problems
}

fn is_complete(Container(fields): &Container) -> bool {
    let says = |name: &str| fields.get(name).and_then(|v| v.as_str()).is_some_and(|text| !text.is_empty());
    let has_command = fields.get("command").and_then(|v| v.as_array()).is_some_and(|command| !command.is_empty());
    has_command && says("name") && says("image")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::{Value, json};

    use super::*;

    fn problems(spec: Value) -> Vec<String> {
        restore(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn a_restore_has_exactly_one_source() {
        let both = json!({ "backupName": "b1", "scheduleName": "daily" });
        let neither = json!({ "backupName": "" });
        let expected = ["Either a backup or schedule must be specified as a source for the restore, but not both"];
        assert_eq!([problems(both), problems(neither)], [expected, expected]);
        assert_eq!(problems(json!({ "backupName": "b1" })), Vec::<String>::new());
        assert_eq!(problems(json!({ "scheduleName": "daily" })), Vec::<String>::new());
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let found = problems(json!({
            "backupName": "b1",
            "includedResources": ["nodes", "pods"],
            "excludedResources": ["pods"],
            "excludedNamespaces": ["*"],
            "existingResourcePolicy": "replace",
            "hooks": { "resources": [{ "name": "h", "postHooks": [
                { "init": { "initContainers": [{ "name": "a", "image": "b", "command": ["c"] }, { "name": "a" }] } },
            ] }] },
            "resourceModifier": { "kind": "Secret", "name": "m" },
        }));
        expect![[r#"
            nodes are non-restorable resources
            Invalid included/excluded resource lists: excludes list cannot contain an item in the includes list: pods
            Invalid included/excluded namespace lists: excludes list cannot contain '*'
            invalid InitContainer in restore hook, it doesn't have Command, Name or Image field
            Invalid ExistingResourcePolicy: replace
            resourceModifier: kind "Secret" is not supported, only "configmap" is
        "#]]
        .assert_eq(&(found.join("\n") + "\n"));
    }
}
