//! Patches that a Restore makes to objects, as its `ConfigMap` of resource modifiers says.
//!
//! Conditions look at an object as it was saved, patches change it after all else that is done to it.
//!
//! Source: Velero 1.18 `internal/resourcemodifiers/resource_modifiers.go`.

mod strategic;

use json_patch::{PatchErrorKind, merge, patch};
use regex::Regex;
use serde_json::{Value, json};
use trysail_api::{
    modifier::{Conditions, Modifiers, Operation, Rule, value},
    selection::Selection,
    selector::LabelSelector,
};

use crate::{
    error::{Error, Result},
    kind::{ItemName, strings, text},
};

/// Rules that can be followed.
#[derive(Debug, Default)]
pub struct Modify {
    rules: Vec<Ready>,
}

#[derive(Debug)]
struct Ready {
    rule: Rule,
    kinds: Selection,
    namespaces: Selection,
    name: Option<Regex>,
}

impl Modify {
    /// Reads patterns and expressions of rules.
    ///
    /// # Errors
    /// One that cannot be read.
    pub fn new(modifiers: Modifiers) -> Result<Self> {
        let rules = modifiers.resource_modifier_rules.into_iter().enumerate().map(|(at, rule)| {
            let refuse = |why: String| Error::Selection {
                field: "spec.resourceModifier",
                why: format!("resourceModifierRules[{at}].conditions: {why}"),
            };
            let Conditions { group_resource, namespaces, resource_name_regex, label_selector, .. } = &rule.conditions;
            let kinds = Selection::new(Some(std::slice::from_ref(group_resource)), None);
            let namespaces = Selection::new(Some(namespaces), None);
            let name = (!resource_name_regex.is_empty()).then(|| Regex::new(resource_name_regex));
            let name = name.transpose().map_err(|e| refuse(format!("resourceNameRegex: {e}")))?;
            if let Some(problem) = label_selector.iter().flat_map(LabelSelector::problems).next() {
                return Err(refuse(problem.to_string()));
            }
            Ok(Ready {
                kinds: kinds.map_err(|e| refuse(e.to_string()))?,
                namespaces: namespaces.map_err(|e| refuse(e.to_string()))?,
                name,
                rule,
            })
        });
        Ok(Self { rules: rules.collect::<Result<_>>()? })
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Changes an object; `original` is the object as it was saved.
    ///
    /// # Errors
    /// Patches that cannot be made, each as a clause; those of other rules are.
    pub fn apply(&self, item: &ItemName, original: &Value, object: &mut Value) -> Result<(), Vec<String>> {
        let mut failed = Vec::new();
        for ready in self.rules.iter().filter(|ready| ready.is_for(item, original)) {
            if let Err(why) = ready.rule.change(object) {
                failed.push(format!("resource modifier of {item}: {why}"));
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    }
}

impl Ready {
    fn is_for(&self, item: &ItemName, original: &Value) -> bool {
        let conditions = &self.rule.conditions;
        let labels = strings(&original["metadata"]["labels"]);
        // `new` has refused selectors that cannot be judged.
        let is_selected = conditions.label_selector.as_ref().is_none_or(|s| s.matches(&labels).unwrap_or(false));
        let has_value = |path: &str, wanted: &str| original.pointer(path) == Some(&value(wanted));
        self.kinds.has(&item.resource)
            && (conditions.namespaces.is_empty()
                || item.namespace.as_ref().is_some_and(|name| self.namespaces.has(name)))
            && self.name.as_ref().is_none_or(|name| name.is_match(&item.name))
            && is_selected
            && conditions.matches.iter().all(|wanted| has_value(&wanted.path, &wanted.value))
    }
}

trait Change {
    fn change(&self, object: &mut Value) -> Result<(), String>;
}

impl Change for Rule {
    fn change(&self, object: &mut Value) -> Result<(), String> {
        if !self.patches.is_empty() {
            return operate(&self.patches, object);
        }
        for text in &self.merge_patches {
            merge(object, &text.value()?);
        }
        for text in &self.strategic_patches {
            strategic::apply(object, &text.value()?)?;
        }
        Ok(())
    }
}

/// Makes all operations or none. A test that fails is no error: it is a condition.
fn operate(operations: &[Operation], object: &mut Value) -> Result<(), String> {
    let written: Vec<Value> = operations
        .iter()
        .map(|operation| {
            let mut written = json!({ "op": operation.operation, "path": operation.path });
            match operation.operation.as_str() {
                "move" | "copy" => written["from"] = operation.from.as_str().into(),
                "remove" => {}
                _ => written["value"] = value(&operation.value),
            }
            written
        })
        .collect();
    let operations = serde_json::from_value(Value::Array(written)).map_err(|error| error.to_string())?;
    let operations: json_patch::Patch = operations;
    match patch(object, &operations) {
        Err(error) if matches!(error.kind, PatchErrorKind::TestFailed) => Ok(()),
        done => done.map_err(|error| error.to_string()),
    }
}

/// Whether an object is of a kind of Kubernetes itself: only of these it is known which lists have keys.
fn is_built_in(object: &Value) -> bool {
    let group = text(&object["apiVersion"]).split_once('/').map_or("", |(group, _)| group);
    !group.contains('.') || group.ends_with(".k8s.io")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modify(rules: &str) -> Modify {
        Modify::new(Modifiers::parse(&format!("version: v1\nresourceModifierRules:\n{rules}")).unwrap()).unwrap()
    }

    fn claim() -> Value {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "mysql-data", "namespace": "shop", "labels": {"app": "db"}},
            "spec": {"storageClassName": "standard", "resources": {"requests": {"storage": "1Gi"}}},
        })
    }

    fn changed(rules: &str) -> (Value, Vec<String>) {
        let item = ItemName::namespaced("persistentvolumeclaims", "shop", "mysql-data");
        let mut object = claim();
        let failed = modify(rules).apply(&item, &claim(), &mut object).err().unwrap_or_default();
        (object, failed)
    }

    const REPLACE: &str = "patches: [{operation: replace, path: /spec/storageClassName, value: fast}]";

    #[test]
    fn a_rule_changes_the_objects_that_meet_all_its_conditions() {
        let rows = [
            ("groupResource: persistentvolumeclaims", true),
            ("groupResource: 'persistent*'", true),
            ("groupResource: pods", false),
            ("groupResource: '*', namespaces: [shop, other]", true),
            ("groupResource: '*', namespaces: [other]", false),
            ("groupResource: '*', resourceNameRegex: '^mysql.*$'", true),
            ("groupResource: '*', resourceNameRegex: '^data'", false),
            ("groupResource: '*', labelSelector: {matchLabels: {app: db}}", true),
            ("groupResource: '*', labelSelector: {matchLabels: {app: web}}", false),
            ("groupResource: '*', matches: [{path: /spec/storageClassName, value: standard}]", true),
            ("groupResource: '*', matches: [{path: /spec/absent, value: standard}]", false),
        ];
        for (conditions, expected) in rows {
            let (object, failed) = changed(&format!("- {{conditions: {{{conditions}}}, {REPLACE}}}\n"));
            assert_eq!((object["spec"]["storageClassName"] == "fast", failed), (expected, vec![]), "{conditions}");
        }
    }

    #[test]
    fn rules_follow_each_other_and_look_at_the_object_as_it_was_saved() {
        let second = "- {conditions: {groupResource: '*', matches: [{path: /spec/storageClassName, value: standard}]}, \
                      patches: [{operation: add, path: /metadata/labels/seen, value: \"true\"}]}\n";
        let (object, failed) = changed(&format!("- {{conditions: {{groupResource: '*'}}, {REPLACE}}}\n{second}"));
        assert_eq!(failed, Vec::<String>::new());
        assert_eq!(
            (&object["spec"]["storageClassName"], &object["metadata"]["labels"]["seen"]),
            (&json!("fast"), &json!(true))
        );
    }

    #[test]
    fn operations_are_made_all_or_none_and_a_test_is_a_condition() {
        let all = "conditions: {groupResource: '*'}";
        let first = "{operation: remove, path: /spec/resources}";
        let (object, failed) =
            changed(&format!("- {{{all}, patches: [{first}, {{operation: remove, path: /absent}}]}}\n"));
        assert_eq!((object, failed.len()), (claim(), 1));
        assert!(failed[0].starts_with("resource modifier of persistentvolumeclaims shop/mysql-data: "), "{failed:?}");
        let test = "{operation: test, path: /spec/storageClassName, value: other}";
        assert_eq!(changed(&format!("- {{{all}, patches: [{first}, {test}]}}\n")), (claim(), vec![]));
    }

    #[test]
    fn a_merge_patch_sets_and_removes() {
        let rules = "- conditions: {groupResource: '*'}\n  mergePatches:\n  - patchData: |\n      \
                     {\"metadata\": {\"labels\": {\"app\": null, \"new\": \"1\"}}}\n";
        let (object, failed) = changed(rules);
        assert_eq!((&object["metadata"]["labels"], failed), (&json!({"new": "1"}), vec![]));
    }

    #[test]
    fn an_expression_that_cannot_be_read_is_named() {
        let rules = "version: v1\nresourceModifierRules:\n- {conditions: {groupResource: a, resourceNameRegex: '['}}\n";
        let error = Modify::new(Modifiers::parse(rules).unwrap()).unwrap_err().to_string();
        assert!(
            error.starts_with("spec.resourceModifier: resourceModifierRules[0].conditions: resourceNameRegex: "),
            "{error}"
        );
    }
}
