//! Which rule of a policy a volume meets.
//!
//! Source: Velero 1.18 `internal/resourcepolicies/volume_resources.go`.

use serde_json::Value;
use trysail_api::{
    policy::{ActionType, Conditions, Csi, Nfs, Policy},
    selector::Labels,
};

use super::quantity::Quantity;
use crate::kind::{strings, text};

/// Fields of a `PersistentVolume`'s spec that are not its source. Source: Kubernetes core/v1 `PersistentVolumeSpec`.
const NO_SOURCES: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

/// What rules ask about a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Properties {
    /// The kind of its source, such as `emptyDir` or `csi`.
    pub(super) volume_type: String,
    capacity: Quantity,
    storage_class: String,
    nfs: Option<Nfs>,
    csi: Option<Csi>,
    claim_labels: Labels,
    claim_phase: String,
}

impl Properties {
    /// Of a volume as a pod describes it.
    pub(super) fn of_pod_volume(volume: &Value) -> Self {
        let keys = volume.as_object().into_iter().flat_map(|fields| fields.keys());
        let volume_type = keys.into_iter().find(|key| *key != "name").cloned().unwrap_or_default();
        Self { volume_type, ..Self::of_source(volume) }
    }

    /// Of a `PersistentVolume`'s spec.
    pub(super) fn of_volume(spec: &Value) -> Self {
        let keys = spec.as_object().into_iter().flat_map(|fields| fields.keys());
        let volume_type = keys.into_iter().find(|key| !NO_SOURCES.contains(&key.as_str())).cloned().unwrap_or_default();
        Self {
            volume_type,
            capacity: Quantity::parse(text(&spec["capacity"]["storage"])).unwrap_or_default(),
            storage_class: text(&spec["storageClassName"]).to_owned(),
            ..Self::of_source(spec)
        }
    }

    fn of_source(source: &Value) -> Self {
        let has = |field: &str| (!source[field].is_null()).then(|| &source[field]);
        Self {
            nfs: has("nfs")
                .map(|nfs| Nfs { server: text(&nfs["server"]).to_owned(), path: text(&nfs["path"]).to_owned() }),
            csi: has("csi").map(|csi| Csi {
                driver: text(&csi["driver"]).to_owned(),
                volume_attributes: strings(&csi["volumeAttributes"]),
            }),
            ..Self::default()
        }
    }

    /// The same volume with what its claim says.
    pub(super) fn with_claim(self, labels: &Labels, phase: &str) -> Self {
        Self { claim_labels: labels.clone(), claim_phase: phase.to_owned(), ..self }
    }
}

/// What the first rule that a volume meets says; none if it meets none.
pub(super) fn action(policy: &Policy, volume: &Properties) -> Option<ActionType> {
    policy.volume_policies.iter().find(|rule| meets(volume, &rule.conditions)).map(|rule| rule.action.what)
}

fn meets(volume: &Properties, conditions: &Conditions) -> bool {
    let is_one_of = |list: &[String], value: &str| list.is_empty() || list.iter().any(|entry| entry == value);
    let labels = conditions.pvc_labels.iter();
    conditions.capacity.as_deref().is_none_or(|range| is_within(volume.capacity, range))
        && is_one_of(&conditions.storage_class, &volume.storage_class)
        && is_one_of(&conditions.volume_types, &volume.volume_type)
        && is_one_of(&conditions.pvc_phase, &volume.claim_phase)
        && labels.into_iter().all(|(key, value)| volume.claim_labels.get(key) == Some(value))
        && conditions.nfs.as_ref().is_none_or(|nfs| volume.nfs.as_ref().is_some_and(|found| is_nfs(found, nfs)))
        && conditions.csi.as_ref().is_none_or(|csi| volume.csi.as_ref().is_some_and(|found| is_csi(found, csi)))
}

/// `lower,upper`, both included; an empty or zero side is no bound. A range that cannot be read holds nothing, so that a
/// rule to skip does not skip.
fn is_within(capacity: Quantity, range: &str) -> bool {
    let side = |text: &str| if text.trim().is_empty() { Some(Quantity::default()) } else { Quantity::parse(text) };
    let Some((Some(lower), Some(upper))) = range.split_once(',').map(|(lower, upper)| (side(lower), side(upper)))
    else {
        return false;
    };
    (lower.is_zero() || lower <= capacity) && (upper.is_zero() || capacity <= upper)
}

fn is_nfs(found: &Nfs, asked: &Nfs) -> bool {
    let is = |asked: &str, found: &str| asked.is_empty() || asked == found;
    is(&asked.server, &found.server) && is(&asked.path, &found.path)
}

fn is_csi(found: &Csi, asked: &Csi) -> bool {
    let mut attributes = asked.volume_attributes.iter();
    (asked.driver.is_empty() || asked.driver == found.driver)
        && attributes.all(|(key, value)| found.volume_attributes.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(conditions: &str) -> Policy {
        let text = format!("version: v1\nvolumePolicies: [{{conditions: {conditions}, action: {{type: skip}}}}]");
        Policy::parse(&text).unwrap()
    }

    #[test]
    fn a_rule_is_met_if_all_that_it_asks_holds() {
        let labels = Labels::from([("app".to_owned(), "db".to_owned())]);
        let csi = json!({"driver": "d", "volumeAttributes": {"a": "b", "c": "d"}});
        let spec = json!({"accessModes": [], "capacity": {"storage": "10Gi"}, "storageClassName": "fast", "csi": csi});
        let volume = Properties::of_volume(&spec).with_claim(&labels, "Bound");
        let nfs = Properties::of_volume(&json!({"nfs": {"server": "s", "path": "/p"}, "capacity": {"storage": "1Gi"}}));
        let scratch = Properties::of_pod_volume(&json!({"name": "scratch", "emptyDir": {}}));
        let rows = [
            ("{}", [true, true, true]),
            ("{capacity: '10Gi,'}", [true, false, false]),
            ("{capacity: ',10Gi'}", [true, true, true]),
            ("{capacity: '1Gi,5Gi'}", [false, true, false]),
            ("{capacity: ','}", [true, true, true]),
            ("{capacity: 'a lot,'}", [false, false, false]),
            ("{storageClass: [slow, fast]}", [true, false, false]),
            ("{storageClass: [slow]}", [false, false, false]),
            ("{volumeTypes: [csi]}", [true, false, false]),
            ("{volumeTypes: [emptyDir, nfs]}", [false, true, true]),
            ("{csi: {}}", [true, false, false]),
            ("{csi: {driver: d}}", [true, false, false]),
            ("{csi: {driver: e}}", [false, false, false]),
            ("{csi: {driver: d, volumeAttributes: {a: b}}}", [true, false, false]),
            ("{csi: {driver: d, volumeAttributes: {a: x}}}", [false, false, false]),
            ("{nfs: {}}", [false, true, false]),
            ("{nfs: {server: s}}", [false, true, false]),
            ("{nfs: {server: s, path: /q}}", [false, false, false]),
            ("{pvcLabels: {app: db}}", [true, false, false]),
            ("{pvcLabels: {app: web}}", [false, false, false]),
            ("{pvcPhase: [Bound, Lost]}", [true, false, false]),
            ("{storageClass: [fast], pvcLabels: {app: web}}", [false, false, false]),
        ];
        for (conditions, expected) in rows {
            let found = [&volume, &nfs, &scratch].map(|v| action(&rule(conditions), v).is_some());
            assert_eq!(found, expected, "{conditions}");
        }
    }

    #[test]
    fn the_first_rule_that_is_met_counts() {
        let rules = "
version: v1
volumePolicies:
- {conditions: {storageClass: [fast]}, action: {type: fs-backup}}
- {conditions: {}, action: {type: skip}}
";
        let policy = Policy::parse(rules).unwrap();
        let of_class = |class: &str| Properties::of_volume(&json!({"storageClassName": class}));
        let actions = ["fast", "slow"].map(|class| action(&policy, &of_class(class)));
        assert_eq!(actions, [Some(ActionType::FsBackup), Some(ActionType::Skip)]);
    }
}
