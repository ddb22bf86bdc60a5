//! Rules for volumes, as a `ConfigMap` holds them: which are left out, which are read file by file, which are snapshotted.
//!
//! The types and what is wrong with them are here. Which rule a volume meets is decided where volumes are known.
//!
//! Source: Velero 1.18 internal/resourcepolicies.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The only version of the format.
const VERSION: &str = "v1";

/// Why a policy cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not YAML, a value of another type, or a key that is not known; the text names it.
    #[error("failed to decode yaml data into resource policies: {why}")]
    Yaml {
        /// Where and what.
        why: String,
    },
    /// A version that is not known.
    #[error("incompatible version number {found} with supported version {VERSION}")]
    Version {
        /// What the policy says.
        found: String,
    },
    /// A `ConfigMap` has exactly one key with a policy.
    #[error("illegal resource policies {name}/{namespace} configmap: {count} keys instead of one")]
    Keys {
        /// Name of the `ConfigMap`.
        name: String,
        /// Its namespace.
        namespace: String,
        /// Its keys.
        count: usize,
    },
    /// A rule that no volume can meet, or that says nothing.
    #[error("volumePolicies[{at}].{field}: {why}")]
    Rule {
        /// Its place in the list, from 0.
        at: usize,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Lists of kinds that cannot be.
    #[error("includeExcludePolicy: {why}")]
    Kinds {
        /// What is wrong with them.
        why: String,
    },
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Version of the format.
    #[serde(default)]
    pub version: String,
    /// Rules; the first that a volume meets counts.
    #[serde(default)]
    pub volume_policies: Vec<Rule>,
    /// Kinds that are taken or left out, where the Backup does not say otherwise.
    pub include_exclude_policy: Option<KindLists>,
}

/// What happens to volumes that meet conditions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// All of them must hold.
    #[serde(default)]
    pub conditions: Conditions,
    /// What happens.
    pub action: Action,
}

/// What a volume must be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Conditions {
    /// Its size, as `10Gi,100Gi`; either side may be empty.
    pub capacity: Option<String>,
    /// One of these storage classes.
    #[serde(default)]
    pub storage_class: Vec<String>,
    /// On NFS.
    pub nfs: Option<Nfs>,
    /// Of a CSI driver.
    pub csi: Option<Csi>,
    /// One of these types of volumes, such as `emptyDir`.
    #[serde(default)]
    pub volume_types: Vec<String>,
    /// Labels of its claim.
    #[serde(default)]
    pub pvc_labels: BTreeMap<String, String>,
    /// One of these phases of its claim.
    #[serde(default)]
    pub pvc_phase: Vec<String>,
}

/// A volume on NFS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nfs {
    /// The server; any where it is empty.
    #[serde(default)]
    pub server: String,
    /// The export; any where it is empty.
    #[serde(default)]
    pub path: String,
}

/// A volume of a CSI driver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Csi {
    /// The driver; any where it is empty.
    #[serde(default)]
    pub driver: String,
    /// Attributes that the volume has.
    #[serde(default)]
    pub volume_attributes: BTreeMap<String, String>,
}

/// What happens to a volume.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// What.
    #[serde(rename = "type")]
    pub what: ActionType,
    /// Settings of what happens.
    #[serde(default)]
    pub parameters: BTreeMap<String, serde_json::Value>,
}

/// What can happen to a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionType {
    /// It is left out.
    Skip,
    /// Its files are read.
    FsBackup,
    /// A snapshot of it is taken.
    Snapshot,
    /// Somebody else takes care of it.
    Custom,
}

/// Kinds that are taken or left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct KindLists {
    /// Cluster-scoped kinds that are taken.
    pub included_cluster_scoped_resources: Vec<String>,
    /// Cluster-scoped kinds that are left out.
    pub excluded_cluster_scoped_resources: Vec<String>,
    /// Kinds in namespaces that are taken.
    pub included_namespace_scoped_resources: Vec<String>,
    /// Kinds in namespaces that are left out.
    pub excluded_namespace_scoped_resources: Vec<String>,
}

impl Policy {
    /// Reads the policy of a `ConfigMap`.
    ///
    /// # Errors
    /// More or fewer than one key, and all that [`Policy::parse`] refuses.
    pub fn of_config_map(namespace: &str, name: &str, data: &BTreeMap<String, String>) -> Result<Self, Error> {
        let mut texts = data.values();
        match (texts.next(), texts.next()) {
            (Some(text), None) => Self::parse(text),
            _ => Err(Error::Keys { name: name.to_owned(), namespace: namespace.to_owned(), count: data.len() }),
        }
    }

    /// Reads a policy.
    ///
    /// # Errors
    /// What is not YAML, keys that are not known, another version, rules and lists that cannot be.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let policy: Self = serde_saphyr::from_str(text).map_err(|e| Error::Yaml { why: e.to_string() })?;
        if policy.version != VERSION {
            return Err(Error::Version { found: policy.version });
        }
        for (at, rule) in policy.volume_policies.iter().enumerate() {
            rule.conditions.check(at)?;
        }
        policy.include_exclude_policy.iter().try_for_each(KindLists::check)?;
        Ok(policy)
    }
}

impl Conditions {
    fn check(&self, at: usize) -> Result<(), Error> {
        let of_no_driver = |csi: &Csi| csi.driver.is_empty() && !csi.volume_attributes.is_empty();
        if self.csi.as_ref().is_some_and(of_no_driver) {
            let why = "csi driver should not be empty when filtering by volume attributes".to_owned();
            return Err(Error::Rule { at, field: "conditions.csi", why });
        }
        let sides = self.capacity.as_ref().map_or(2, |capacity| capacity.split(',').count());
        if sides != 2 {
            let why = format!("wrong format of Capacity {}", self.capacity.as_deref().unwrap_or_default());
            return Err(Error::Rule { at, field: "conditions.capacity", why });
        }
        Ok(())
    }
}

impl KindLists {
    fn check(&self) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::Kinds { why });
        for (included, excluded) in [
            (&self.included_cluster_scoped_resources, &self.excluded_cluster_scoped_resources),
            (&self.included_namespace_scoped_resources, &self.excluded_namespace_scoped_resources),
        ] {
            if included.iter().chain(excluded).any(|kind| kind == "*") {
                return refuse("cannot use '*' in includes or excludes filters in the policy".to_owned());
            }
            if let Some(kind) = excluded.iter().find(|kind| included.contains(kind)) {
                return refuse(format!("excludes list cannot contain an item in the includes list: {kind}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read() {
        let text = "
version: v1
volumePolicies:
- conditions:
    capacity: '10Gi,'
    storageClass: [fast]
    nfs: {}
    volumeTypes: [emptyDir]
    pvcLabels: {app: cache}
  action: {type: skip}
- conditions: {csi: {driver: d, volumeAttributes: {a: b}}}
  action: {type: fs-backup}
";
        let skip = Rule {
            conditions: Conditions {
                capacity: Some("10Gi,".to_owned()),
                storage_class: vec!["fast".to_owned()],
                nfs: Some(Nfs::default()),
                volume_types: vec!["emptyDir".to_owned()],
                pvc_labels: BTreeMap::from([("app".to_owned(), "cache".to_owned())]),
                ..Conditions::default()
            },
            action: Action { what: ActionType::Skip, parameters: BTreeMap::new() },
        };
        let csi = Csi { driver: "d".to_owned(), volume_attributes: BTreeMap::from([("a".to_owned(), "b".to_owned())]) };
        let read = Rule {
            conditions: Conditions { csi: Some(csi), ..Conditions::default() },
            action: Action { what: ActionType::FsBackup, parameters: BTreeMap::new() },
        };
        let expected =
            Policy { version: "v1".to_owned(), volume_policies: vec![skip, read], include_exclude_policy: None };
        assert_eq!(Policy::parse(text).unwrap(), expected);
    }

    #[test]
    fn a_key_that_is_not_known_is_named() {
        for (text, key) in [
            ("version: v1\nvolumePolicy: []", "volumePolicy"),
            ("version: v1\nvolumePolicies: [{conditions: {storageclass: [a]}, action: {type: skip}}]", "storageclass"),
            ("version: v1\nvolumePolicies: [{action: {type: skip, kind: a}}]", "kind"),
        ] {
            let error = Policy::parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("`{key}`")), "{key}: {error}");
        }
    }

    #[test]
    fn a_policy_that_cannot_be_followed_says_why() {
        let errors = [
            "version: v2",
            "volumePolicies: []",
            "version: v1\nvolumePolicies: [{conditions: {capacity: 10Gi}, action: {type: skip}}]",
            "version: v1\nvolumePolicies: [{conditions: {csi: {volumeAttributes: {a: b}}}, action: {type: skip}}]",
            "version: v1\nincludeExcludePolicy: {includedClusterScopedResources: ['*']}",
        ]
        .map(|text| Policy::parse(text).unwrap_err().to_string());
        assert_eq!(
            errors,
            [
                "incompatible version number v2 with supported version v1",
                "incompatible version number  with supported version v1",
                "volumePolicies[0].conditions.capacity: wrong format of Capacity 10Gi",
                "volumePolicies[0].conditions.csi: csi driver should not be empty when filtering by volume attributes",
                "includeExcludePolicy: cannot use '*' in includes or excludes filters in the policy",
            ],
        );
    }

    #[test]
    fn a_config_map_holds_one_policy() {
        let two = BTreeMap::from([("a".to_owned(), String::new()), ("b".to_owned(), String::new())]);
        let error = Policy::of_config_map("velero", "p", &two).unwrap_err().to_string();
        assert_eq!(error, "illegal resource policies p/velero configmap: 2 keys instead of one");
    }
}
