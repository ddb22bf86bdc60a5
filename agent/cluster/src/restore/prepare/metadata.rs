//! What a cluster writes into the metadata of every object, and its status.

use serde_json::Value;

use crate::restore::edit::{remove, remove_empty};

/// Fields that belong to the cluster in which an object was. Finalizers stay: they are the object's own.
///
/// Source: Velero `pkg/restore/restore.go`, `resetMetadata`.
const OF_CLUSTER: [&str; 10] = [
    "generateName",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "managedFields",
];

/// Takes away what the cluster wrote.
pub(in crate::restore) fn reset(object: &mut Value) {
    remove(object, "/metadata", &OF_CLUSTER);
    remove(object, "", &["status"]);
    remove_empty(object, "/metadata", "annotations");
    remove_empty(object, "/metadata", "labels");
}

/// Who set which field, as it was saved.
pub(super) fn managed_fields(object: &Value) -> Option<Value> {
    let fields = &object["metadata"]["managedFields"];
    fields.as_array().is_some_and(|list| !list.is_empty()).then(|| fields.clone())
}
