//! Strategic merge patches: merge patches that know by which key the elements of some lists are told apart.
//!
//! Source: Kubernetes, `sig-api-machinery/strategic-merge-patch.md`; the keys are the `patchMergeKey` of k8s.io/api.

use serde_json::{Map, Value};

use super::is_built_in;
use crate::kind::text;

/// Lists whose elements have keys. Ports are keyed by one name in containers and by another one in Services.
const KEYS: [(&str, &[&str]); 21] = [
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("ephemeralContainers", &["name"]),
    ("volumes", &["name"]),
    ("env", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
    ("ports", &["containerPort", "port"]),
    ("imagePullSecrets", &["name"]),
    ("secrets", &["name"]),
    ("hostAliases", &["ip"]),
    ("topologySpreadConstraints", &["topologyKey"]),
    ("resourceClaims", &["name"]),
    ("conditions", &["type"]),
    ("ownerReferences", &["uid"]),
    ("addresses", &["type"]),
    ("webhooks", &["name"]),
    ("podIPs", &["ip"]),
    ("hostIPs", &["ip"]),
    ("schedulingGates", &["name"]),
    ("taints", &["key"]),
];

/// Lists of texts that are merged.
const SETS: [&str; 1] = ["finalizers"];

/// What is done with a map instead of merging it.
const DIRECTIVE: &str = "$patch";

/// Before the name of a list: elements to remove from it.
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// Changes an object.
///
/// # Errors
/// An object of a kind that is not Kubernetes' own, and a directive that is not known, as a clause.
pub(super) fn apply(object: &mut Value, patch: &Value) -> Result<(), String> {
    if !is_built_in(object) {
        return Err(format!("strategic patches are not possible for {}", text(&object["apiVersion"])));
    }
    merge(object, patch)
}

fn merge(into: &mut Value, patch: &Value) -> Result<(), String> {
    let Value::Object(changes) = patch else {
        *into = patch.clone();
        return Ok(());
    };
    match changes.get(DIRECTIVE).map(text) {
        None | Some("merge") => {}
        Some("replace") => {
            *into = Value::Object(without_directives(changes));
            return Ok(());
        }
        Some("delete") => {
            *into = Value::Object(Map::new());
            return Ok(());
        }
        Some(other) => return Err(format!("unknown directive $patch: {other}")),
    }
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Value::Object(map) = into else { return Ok(()) };
    for (key, change) in changes {
        if let Some(list) = key.strip_prefix(DELETE_FROM) {
            let gone = change.as_array().cloned().unwrap_or_default();
            if let Some(list) = map.get_mut(list).and_then(Value::as_array_mut) {
                list.retain(|element| !gone.contains(element));
            }
        } else if key.starts_with('$') {
            // The directive itself, and orders of elements, which nothing here depends on.
        } else if change.is_null() {
            map.shift_remove(key);
        } else {
            merge_key(map, key, change)?;
        }
    }
    Ok(())
}

fn merge_key(map: &mut Map<String, Value>, key: &str, change: &Value) -> Result<(), String> {
    let place = map.entry(key).or_insert(Value::Null);
    let Value::Array(elements) = change else { return merge(place, change) };
    let keys = KEYS.iter().find(|(list, _)| *list == key).map(|(_, keys)| *keys);
    let is_set = SETS.contains(&key);
    if keys.is_none() && !is_set {
        *place = change.clone();
        return Ok(());
    }
    if !place.is_array() {
        *place = Value::Array(Vec::new());
    }
    let Value::Array(list) = place else { return Ok(()) };
    if elements.iter().any(|element| text(&element[DIRECTIVE]) == "replace") {
        list.clear();
    }
    for element in elements {
        match keys {
            Some(keys) => merge_element(list, keys, element)?,
            None if !list.contains(element) => list.push(element.clone()),
            None => {}
        }
    }
    Ok(())
}

fn merge_element(list: &mut Vec<Value>, keys: &[&str], element: &Value) -> Result<(), String> {
    let Some(changes) = element.as_object() else {
        list.push(element.clone());
        return Ok(());
    };
    let key = keys.iter().find(|key| changes.contains_key(**key));
    let Some(key) = key else {
        // `$patch: replace` stands alone in its element.
        return if changes.contains_key(DIRECTIVE) {
            Ok(())
        } else {
            Err(format!("an element without {}", keys.join(" or ")))
        };
    };
    let is_it = |found: &Value| found.get(*key) == changes.get(*key);
    if changes.get(DIRECTIVE).map(text) == Some("delete") {
        list.retain(|found| !is_it(found));
        return Ok(());
    }
    if let Some(found) = list.iter_mut().find(|found| is_it(found)) {
        return merge(found, element);
    }
    list.push(Value::Object(without_directives(changes)));
    Ok(())
}

fn without_directives(map: &Map<String, Value>) -> Map<String, Value> {
    map.iter().filter(|(key, _)| !key.starts_with('$')).map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(patch: &Value) -> Value {
        let mut object = json!({
            "apiVersion": "apps/v1",
            "spec": {
                "args": ["a", "b"], "finalizers": ["x"],
                "containers": [
                    {"name": "web", "image": "web:1", "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80}]},
                    {"name": "side", "image": "side:1"},
                ],
            },
        });
        apply(&mut object, &json!({"spec": patch})).unwrap();
        object["spec"].take()
    }

    #[test]
    fn elements_of_keyed_lists_are_merged_and_other_lists_are_replaced() {
        let change = json!({"name": "web", "image": "web:2", "env": [{"name": "B", "value": "2"}], "ports": [{"containerPort": 80, "name": "http"}]});
        let found = patched(&json!({"containers": [change, {"name": "new"}], "args": ["c"], "finalizers": ["x", "y"]}));
        let expected = json!({
            "args": ["c"], "finalizers": ["x", "y"],
            "containers": [
                {
                    "name": "web", "image": "web:2",
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                    "ports": [{"containerPort": 80, "name": "http"}],
                },
                {"name": "side", "image": "side:1"},
                {"name": "new"},
            ],
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn directives_remove_and_replace() {
        let rows = [
            (json!({"containers": [{"name": "side", "$patch": "delete"}]}), json!(["web"])),
            (json!({"containers": [{"$patch": "replace"}, {"name": "only"}]}), json!(["only"])),
        ];
        for (patch, expected) in rows {
            let names: Vec<Value> =
                patched(&patch)["containers"].as_array().unwrap().iter().map(|c| c["name"].clone()).collect();
            assert_eq!(Value::Array(names), expected);
        }
        let gone = patched(&json!({"$deleteFromPrimitiveList/finalizers": ["x"], "args": null}));
        assert_eq!((&gone["finalizers"], gone.get("args")), (&json!([]), None));
    }

    #[test]
    fn a_kind_of_somebody_else_and_an_unknown_directive_are_refused() {
        let refusal = |object: Value, patch: Value| apply(&mut object.clone(), &patch).unwrap_err();
        let found = [
            refusal(json!({"apiVersion": "example.org/v1"}), json!({})),
            refusal(json!({"apiVersion": "v1"}), json!({"$patch": "keep"})),
            refusal(json!({"apiVersion": "v1"}), json!({"containers": [{"image": "a"}]})),
        ];
        let expected = [
            "strategic patches are not possible for example.org/v1",
            "unknown directive $patch: keep",
            "an element without name",
        ];
        assert_eq!(found, expected);
    }
}
