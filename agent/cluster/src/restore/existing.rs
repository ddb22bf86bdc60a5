//! What is done about an object that is in the cluster already. Pure.
//!
//! Fields that a cluster gives (addresses, nodes, volumes) make no difference: they are taken away from every restored
//! object, so an object that has them is no other one. Velero compares some of them, and warns of differences that are none.
//!
//! Source: Velero `pkg/restore/restore.go`, `restoreItem`.

use serde_json::{Map, Value, json};
use trysail_api::names::label;

use super::{
    edit::{self, remove, set},
    prepare::metadata,
    rules::ExistingPolicy,
    wait,
};
use crate::{
    kind::{list, text},
    select::resource,
};

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is what it should be.
    Same,
    /// It becomes what it should be by this merge patch.
    Change(Value),
    /// It is what it should be, but for the labels of the Restore, which this merge patch sets.
    Label(Value),
    /// It is another one, and stays.
    Differs,
}

/// Labels that say which Restore made an object.
const OURS: [&str; 2] = [label::BACKUP_NAME, label::RESTORE_NAME];

/// Judges an object of the cluster beside the one that should be there.
pub fn judge(kind: &str, wanted: &Value, found: &Value, policy: ExistingPolicy) -> Verdict {
    let mut plain = found.clone();
    metadata::reset(&mut plain);
    let wanted = carried(kind, wanted, &plain);
    let labelled = with_labels_of(&plain, &wanted);
    if kind == resource::SERVICE_ACCOUNTS {
        return match difference(&labelled, &merged(&labelled, &wanted)) {
            Some(patch) => Verdict::Change(patch),
            None => Verdict::Same,
        };
    }
    match (labelled == wanted, policy) {
        (true, ExistingPolicy::Keep) => Verdict::Same,
        (true, ExistingPolicy::Update) => label_patch(&plain, &wanted).map_or(Verdict::Same, Verdict::Label),
        (false, ExistingPolicy::Keep) => Verdict::Differs,
        (false, ExistingPolicy::Update) => difference(&plain, &wanted).map_or(Verdict::Same, Verdict::Change),
    }
}

/// The merge patch that sets the labels of a Restore; none where they are set.
pub fn label_patch(found: &Value, wanted: &Value) -> Option<Value> {
    let labels = |object: &Value| OURS.map(|key| object["metadata"]["labels"][key].clone());
    let pairs = OURS.into_iter().zip(labels(wanted)).map(|(key, value)| (key.to_owned(), value));
    let pairs: Map<String, Value> = pairs.collect();
    (labels(found) != labels(wanted)).then(|| json!({ "metadata": { "labels": pairs } }))
}

/// The merge patch of RFC 7386 that makes one object of another; none where they are equal.
pub fn difference(from: &Value, to: &Value) -> Option<Value> {
    if from == to {
        return None;
    }
    let (Value::Object(before), Value::Object(after)) = (from, to) else { return Some(to.clone()) };
    let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = after.iter().filter_map(|(key, value)| {
        let patch = match before.get(key) {
            Some(old) => difference(old, value)?,
            None => value.clone(),
        };
        Some((key.clone(), patch))
    });
    Some(Value::Object(gone.chain(changed).collect()))
}

fn with_labels_of(found: &Value, wanted: &Value) -> Value {
    let mut labelled = found.clone();
    if let Some(labels) = edit::map(&mut labelled, "/metadata", "labels") {
        for key in OURS {
            match wanted["metadata"]["labels"].get(key) {
                Some(value) => drop(labels.insert(key.to_owned(), value.clone())),
                None => drop(labels.shift_remove(key)),
            }
        }
    }
    edit::remove_empty(&mut labelled, "/metadata", "labels");
    labelled
}

/// The wanted object with what the cluster gave to the one that is there.
fn carried(kind: &str, wanted: &Value, found: &Value) -> Value {
    let mut wanted = wanted.clone();
    let mut carry = |pointer: &str, keys: &[&str]| {
        for key in keys {
            let given = found.pointer(pointer).and_then(|map| map.get(*key));
            let is_unsaid = wanted.pointer(pointer).is_some_and(|map| map.get(*key).is_none());
            if let (Some(given), true) = (given, is_unsaid) {
                set(&mut wanted, pointer, key, given.clone());
            }
        }
    };
    match kind {
        resource::CLAIMS => {
            carry("/spec", &["volumeName"]);
            let bound = [
                "pv.kubernetes.io/bind-completed",
                "pv.kubernetes.io/bound-by-controller",
                "volume.kubernetes.io/storage-provisioner",
                "volume.beta.kubernetes.io/storage-provisioner",
                "volume.kubernetes.io/selected-node",
            ];
            if found["metadata"]["annotations"].is_object() {
                // A claim that had no other annotations has none left.
                edit::map(&mut wanted, "/metadata", "annotations");
                for key in bound {
                    if let (Some(value), Some(map)) =
                        (found["metadata"]["annotations"].get(key), edit::map(&mut wanted, "/metadata", "annotations"))
                    {
                        map.entry(key).or_insert_with(|| value.clone());
                    }
                }
                edit::remove_empty(&mut wanted, "/metadata", "annotations");
            }
        }
        resource::VOLUMES => carry("/spec/claimRef", &["uid", "resourceVersion"]),
        resource::PODS => {
            carry("/spec", &["nodeName", "priority"]);
            let waits = |object: &Value| list(&object["spec"]["initContainers"]).iter().any(is_wait);
            if !waits(found) {
                remove_waits(&mut wanted);
            }
        }
        "services" => {
            carry("/spec", &["clusterIP", "clusterIPs", "healthCheckNodePort"]);
            let ports = list(&found["spec"]["ports"]);
            for port in edit::each(&mut wanted, "/spec/ports") {
                let is_it = |found: &&Value| found["port"] == port["port"] && found["protocol"] == port["protocol"];
                let given = ports.iter().find(is_it).and_then(|found| found.get("nodePort"));
                if let (Some(given), None) = (given, port.get("nodePort")) {
                    set(port, "", "nodePort", given.clone());
                }
            }
        }
        "jobs.batch" => {
            carry("/spec", &["selector"]);
            carry("/spec/template/metadata/labels", &["controller-uid", "batch.kubernetes.io/controller-uid"]);
        }
        _ => {}
    }
    wanted
}

fn is_wait(container: &Value) -> bool {
    wait::NAMES.contains(&text(&container["name"]))
}

fn remove_waits(pod: &mut Value) {
    if let Some(containers) = pod.pointer_mut("/spec/initContainers").and_then(Value::as_array_mut) {
        containers.retain(|container| !is_wait(container));
    }
    edit::remove_empty(pod, "/spec", "initContainers");
}

/// An account keeps what it has and gets what it had besides. Source: Velero `pkg/restore/merge_service_account.go`.
fn merged(found: &Value, wanted: &Value) -> Value {
    let mut merged = found.clone();
    for key in ["secrets", "imagePullSecrets"] {
        let missing = list(&wanted[key]).iter().filter(|one| !list(&found[key]).contains(one));
        let all: Vec<Value> = list(&found[key]).iter().chain(missing).cloned().collect();
        if !all.is_empty() {
            set(&mut merged, "", key, Value::Array(all));
        }
    }
    for key in ["labels", "annotations"] {
        let Some(pairs) = wanted["metadata"][key].as_object() else { continue };
        if let Some(map) = edit::map(&mut merged, "/metadata", key) {
            for (key, value) in pairs {
                map.entry(key).or_insert_with(|| value.clone());
            }
        }
    }
    remove(&mut merged, "", &["status"]);
    merged
}

#[cfg(test)]
mod tests {
    use super::{
        Verdict::{Change, Differs, Label, Same},
        *,
    };

    const KEEP: ExistingPolicy = ExistingPolicy::Keep;
    const UPDATE: ExistingPolicy = ExistingPolicy::Update;

    /// An object with labels of a Restore.
    fn object(restore: &str, rest: &Value) -> Value {
        let mut object = json!({"metadata": {"name": "a"}});
        if !restore.is_empty() {
            object["metadata"]["labels"] = json!({"velero.io/backup-name": "b", "velero.io/restore-name": restore});
        }
        json_patch::merge(&mut object, rest);
        object
    }

    fn found(restore: &str, rest: &Value) -> Value {
        let given =
            json!({"metadata": {"uid": "u", "resourceVersion": "7", "managedFields": [{}]}, "status": {"a": 1}});
        let mut found = object(restore, rest);
        json_patch::merge(&mut found, &given);
        found
    }

    #[test]
    fn equal_objects_are_left_alone_and_different_ones_by_policy() {
        let (one, two) = (json!({"data": {"a": "1"}}), json!({"data": {"a": "2", "b": "3"}}));
        let judged = |found: &Value, policy| judge("configmaps", &object("r", &one), found, policy);
        assert_eq!(judged(&found("r", &one), KEEP), Same);
        assert_eq!(judged(&found("old", &one), KEEP), Same);
        assert_eq!(judged(&found("", &one), KEEP), Same);
        assert_eq!(judged(&found("r", &two), KEEP), Differs);
        assert_eq!(judged(&found("r", &one), UPDATE), Same);
        let labels = json!({"velero.io/backup-name": "b", "velero.io/restore-name": "r"});
        assert_eq!(judged(&found("", &one), UPDATE), Label(json!({"metadata": {"labels": labels}})));
        let patch = json!({"data": {"a": "1", "b": null}});
        assert_eq!(judged(&found("r", &two), UPDATE), Change(patch));
    }

    #[test]
    fn what_a_cluster_gave_makes_no_difference() {
        let port = |rest: Value| {
            let mut port = json!({"port": 80, "protocol": "TCP"});
            json_patch::merge(&mut port, &rest);
            json!({"spec": {"ports": [port]}})
        };
        let mut service = port(json!({"nodePort": 31000}));
        service["spec"]["clusterIP"] = json!("10.0.0.1");
        let rows = [
            ("services", port(json!({})), service),
            ("persistentvolumeclaims", json!({"spec": {"a": 1}}), json!({"spec": {"a": 1, "volumeName": "pv"}})),
            (
                "persistentvolumeclaims",
                json!({"spec": {}}),
                json!({"spec": {}, "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}}),
            ),
            ("pods", json!({"spec": {"a": 1}}), json!({"spec": {"a": 1, "nodeName": "n", "priority": 0}})),
            (
                "pods",
                json!({"spec": {"initContainers": [{"name": "restore-wait"}, {"name": "i"}]}}),
                json!({"spec": {"initContainers": [{"name": "i"}]}}),
            ),
            (
                "jobs.batch",
                json!({"spec": {}}),
                json!({"spec": {"selector": {"matchLabels": {"controller-uid": "u"}}}}),
            ),
        ];
        for (kind, wanted, there) in rows {
            assert_eq!(judge(kind, &object("r", &wanted), &found("", &there), KEEP), Same, "{kind} {there}");
        }
        let other = json!({"spec": {"a": 2, "nodeName": "n"}});
        assert_eq!(judge("pods", &object("r", &json!({"spec": {"a": 1}})), &found("", &other), KEEP), Differs);
    }

    #[test]
    fn an_account_gets_what_it_lacks_and_keeps_what_it_has() {
        let wanted = object(
            "r",
            &json!({"imagePullSecrets": [{"name": "a"}], "metadata": {"annotations": {"x": "1", "y": "2"}}}),
        );
        let there = found("", &json!({"imagePullSecrets": [{"name": "b"}], "metadata": {"annotations": {"x": "0"}}}));
        let expected =
            json!({"imagePullSecrets": [{"name": "b"}, {"name": "a"}], "metadata": {"annotations": {"y": "2"}}});
        assert_eq!(judge("serviceaccounts", &wanted, &there, KEEP), Change(expected));
        assert_eq!(judge("serviceaccounts", &object("r", &json!({})), &found("", &json!({})), KEEP), Same);
    }

    #[test]
    fn a_difference_is_a_merge_patch() {
        let rows = [
            (json!({"a": 1}), json!({"a": 1}), None),
            (
                json!({"a": 1, "b": {"c": 1, "d": 2}}),
                json!({"b": {"c": 2}}),
                Some(json!({"a": null, "b": {"d": null, "c": 2}})),
            ),
            (json!({"a": [1, 2]}), json!({"a": [1]}), Some(json!({"a": [1]}))),
            (json!({"a": 1}), json!({"a": {"b": 1}}), Some(json!({"a": {"b": 1}}))),
        ];
        for (from, to, expected) in rows {
            assert_eq!(difference(&from, &to), expected);
        }
    }
}
