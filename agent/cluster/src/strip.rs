//! What is changed in the stored copy of an object: things of a bound claim that would hinder its restore.
//!
//! Everything else is stored as the API server sent it, status and managed fields included.

use serde_json::{Map, Value};
use trysail_api::names::label;

use crate::kind::{Item, text};

/// The kind whose copies are changed.
const CLAIMS: &str = "persistentvolumeclaims";

/// What labels of Velero begin with.
const VELERO: &str = "velero.io/";

/// Labels that an earlier backup or restore left on a claim, whatever their values.
///
/// Source: Velero `pkg/backup/actions/backup_pv_action.go`.
const LEFT_OVER: [&str; 3] =
    [label::RESTORE_NAME, "backup.velero.io/must-include-additional-items", "velero.io/volume-snapshot-name"];

/// The copy of an object that a backup of this name stores.
///
/// Of a claim that is bound: `dataSource` and `dataSourceRef` go, since its data comes from the backup; so does the
/// `selector`, unless the class is empty and only it can choose a volume; and labels of earlier backups and restores.
///
/// Source: Velero `pkg/backup/actions/backup_pv_action.go`.
pub fn stored_copy(mut item: Item, backup: &str) -> Item {
    if item.kind.resource() != CLAIMS || text(&item.object["status"]["phase"]) != "Bound" {
        return item;
    }
    let Some(spec) = item.object.get_mut("spec").and_then(Value::as_object_mut) else { return item };
    if spec.get("volumeName").is_none_or(|name| text(name).is_empty()) {
        return item;
    }
    spec.shift_remove("dataSource");
    spec.shift_remove("dataSourceRef");
    if spec.get("storageClassName").is_none_or(|class| class != "") {
        spec.shift_remove("selector");
    }
    if let Some(selector) = spec.get_mut("selector").and_then(Value::as_object_mut) {
        retain(selector, "matchLabels", |key, _| !key.starts_with(VELERO));
    }
    let is_left_over = |key: &str, value: &Value| {
        LEFT_OVER.contains(&key) || key == label::BACKUP_NAME && text(value) != label_of(backup)
    };
    if let Some(metadata) = item.object.get_mut("metadata").and_then(Value::as_object_mut) {
        retain(metadata, "labels", |key, value| !is_left_over(key, value));
    }
    item
}

fn label_of(backup: &str) -> String {
    trysail_api::names::label_value(backup)
}

/// Keeps some pairs of the map at a key. A map that becomes empty goes; one that was empty stays, as it does nothing.
fn retain(parent: &mut Map<String, Value>, key: &str, keep: impl Fn(&str, &Value) -> bool) {
    let Some(map) = parent.get_mut(key).and_then(Value::as_object_mut) else { return };
    let before = map.len();
    map.retain(|key, value| keep(key, value));
    if map.is_empty() && before > 0 {
        parent.shift_remove(key);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::tests::kind;

    #[allow(clippy::needless_pass_by_value, reason = "values are handed over as they are written in tables")]
    /// A bound claim with fields of its own merged in.
    fn claim(labels: Value, spec: Value) -> Item {
        let mut object = json!({
            "metadata": {"name": "data", "namespace": "n"},
            "spec": {"volumeName": "pv"},
            "status": {"phase": "Bound"},
        });
        if !labels.is_null() {
            object["metadata"]["labels"] = labels;
        }
        for (key, value) in spec.as_object().unwrap() {
            object["spec"][key] = value.clone();
        }
        Item::new(kind("persistentvolumeclaims v1 PersistentVolumeClaim"), object)
    }

    #[test]
    fn a_bound_claim_loses_its_source_and_selector() {
        let source = json!({"dataSource": {"name": "s"}, "dataSourceRef": {"name": "s"}, "selector": {}, "x": 1});
        let stored = stored_copy(claim(Value::Null, source), "b");
        assert_eq!(stored, claim(Value::Null, json!({"x": 1})));
    }

    #[test]
    fn a_selector_that_alone_can_choose_a_volume_stays_without_velero_s_labels() {
        let with = json!({"storageClassName": "", "selector": {"matchLabels": {"velero.io/a": "1", "b": "2"}}});
        let without = json!({"storageClassName": "", "selector": {"matchLabels": {"b": "2"}}});
        assert_eq!(stored_copy(claim(Value::Null, with), "b"), claim(Value::Null, without));
        let only = json!({"storageClassName": "", "selector": {"matchLabels": {"velero.io/a": "1"}}});
        let none = json!({"storageClassName": "", "selector": {}});
        assert_eq!(stored_copy(claim(Value::Null, only), "b"), claim(Value::Null, none));
        let fast = json!({"storageClassName": "fast", "selector": {"matchLabels": {"b": "2"}}});
        assert_eq!(stored_copy(claim(Value::Null, fast), "b"), claim(Value::Null, json!({"storageClassName": "fast"})));
    }

    #[test]
    fn labels_of_earlier_backups_and_restores_go() {
        let labels = json!({
            "app": "web",
            "velero.io/restore-name": "r",
            "velero.io/backup-name": "other",
            "velero.io/volume-snapshot-name": "v",
            "backup.velero.io/must-include-additional-items": "true",
            "velero.io/exclude-from-backup": "false",
        });
        let kept = json!({"app": "web", "velero.io/exclude-from-backup": "false"});
        assert_eq!(stored_copy(claim(labels, json!({})), "b"), claim(kept, json!({})));
        let own = json!({"velero.io/backup-name": "b"});
        assert_eq!(stored_copy(claim(own.clone(), json!({})), "b"), claim(own, json!({})));
        let stale = json!({"velero.io/restore-name": "r"});
        assert_eq!(stored_copy(claim(stale, json!({})), "b"), claim(Value::Null, json!({})));
    }

    #[test]
    fn all_else_is_stored_as_it_is() {
        let mut pending = claim(Value::Null, json!({"dataSource": {"name": "s"}}));
        pending.object["status"]["phase"] = "Pending".into();
        let without_volume = claim(Value::Null, json!({"dataSource": {"name": "s"}, "volumeName": ""}));
        let object = json!({"metadata": {"name": "p"}, "spec": {"selector": {}, "volumeName": "x"}});
        let pod = Item::new(kind("pods v1 Pod"), object);
        for item in [pending, without_volume, pod] {
            assert_eq!(stored_copy(item.clone(), "b"), item);
        }
    }
}
