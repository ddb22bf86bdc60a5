//! Claims and volumes: what bound them to each other and to a node goes, so that they can be bound again.
//!
//! Source: Velero `pkg/restore/restore.go`, `resetVolumeBindingInfo`, and `pkg/restore/actions/pvc_action.go`.

use serde_json::Value;

use super::Preparation;
use crate::{
    kind::text,
    restore::edit::{each, remove, set},
};

/// Annotations by which a claim and a volume say that they belong together, and who made the volume.
const BINDING: [&str; 4] = [
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
];

/// The node for which a claim's volume was made.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// The class of a claim before there was a field for it.
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// The class of a claim or volume.
const CLASS: &str = "storageClassName";

/// Where annotations stand.
const ANNOTATIONS: &str = "/metadata/annotations";

/// A label that Velero's CSI plugin leaves.
const SNAPSHOT_LABEL: &str = "velero.io/volume-snapshot-name";

impl Preparation<'_> {
    /// A claim keeps its volume only where that comes back too.
    pub(super) fn claim(&self, claim: &mut Value) {
        let volume = text(&claim["spec"]["volumeName"]);
        if !self.plan.kept.contains(volume) {
            remove(claim, "/spec", &["volumeName"]);
        }
        remove(claim, "/metadata/labels", &[SNAPSHOT_LABEL]);
        let node = self.mappings.nodes.get(text(&claim["metadata"]["annotations"][SELECTED_NODE])).cloned();
        remove(claim, ANNOTATIONS, &BINDING);
        match node {
            Some(node) => set(claim, ANNOTATIONS, SELECTED_NODE, Value::String(node)),
            None => remove(claim, ANNOTATIONS, &[SELECTED_NODE]),
        }
        self.map_class(claim, ANNOTATIONS, OLD_CLASS);
        self.map_class(claim, "/spec", CLASS);
    }

    /// A volume waits for the claim that had it, under its new namespace, and for any object of that name.
    pub(super) fn volume(&self, volume: &mut Value) {
        remove(volume, ANNOTATIONS, &BINDING[..2]);
        remove(volume, "/spec/claimRef", &["uid", "resourceVersion"]);
        if let Some(namespace) = volume["spec"]["claimRef"]["namespace"].as_str() {
            let target = self.rules.target(namespace).to_owned();
            set(volume, "/spec/claimRef", "namespace", Value::String(target));
        }
        self.map_class(volume, "/spec", CLASS);
    }

    /// The claims that a stateful set makes.
    pub(super) fn claim_templates(&self, set: &mut Value) {
        each(set, "/spec/volumeClaimTemplates").for_each(|template| self.map_class(template, "/spec", CLASS));
    }

    fn map_class(&self, object: &mut Value, pointer: &str, key: &str) {
        let found = object.pointer(pointer).and_then(|map| map.get(key)).and_then(Value::as_str);
        if let Some(class) = found.and_then(|class| self.mappings.class(class)) {
            set(object, pointer, key, Value::String(class.to_owned()));
        }
    }
}
