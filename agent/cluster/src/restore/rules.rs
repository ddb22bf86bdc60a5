//! Which objects of an archive a Restore takes, and where they go. Pure.

use std::collections::BTreeMap;

use trysail_api::{
    names::annotation,
    restore::RestoreSpec,
    selection::{self, Selection},
    selector::{self, LabelSelector, Labels},
    validate::NON_RESTORABLE,
};

use crate::{
    discover::Catalog,
    error::{Error, Result},
    kind::{Item, ItemName, strings},
    select::resource,
};

/// What happens to an object that is there already and is another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExistingPolicy {
    /// It stays, and that is said.
    #[default]
    Keep,
    /// It becomes what was saved.
    Update,
}

/// What a Restore's spec says, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    namespaces: Selection,
    kinds: Selection,
    cluster: Option<bool>,
    mapping: BTreeMap<String, String>,
    one: Option<LabelSelector>,
    any: Vec<LabelSelector>,
    status: Option<Selection>,
    /// Whether volumes come back at all.
    pub restores_volumes: bool,
    /// What happens to objects that are there.
    pub existing: ExistingPolicy,
    /// Whether Services keep node ports that were given to them.
    pub keeps_node_ports: bool,
}

impl Rules {
    /// From a spec; words for kinds are understood by what the cluster has.
    ///
    /// # Errors
    /// A pattern or a selector that cannot be read.
    pub fn new(spec: &RestoreSpec, catalog: &Catalog) -> Result<Self> {
        let refuse = |field| move |e: selection::Error| Error::Selection { field, why: e.to_string() };
        let never = NON_RESTORABLE.iter().map(|kind| (*kind).to_owned());
        let excluded: Vec<String> = spec.excluded_resources.iter().flatten().cloned().chain(never).collect();
        let kinds = kinds(catalog, spec.included_resources.as_deref(), &excluded);
        let namespaces = Selection::new(spec.included_namespaces.as_deref(), spec.excluded_namespaces.as_deref());
        let status = spec.restore_status.as_ref().map(|status| {
            let excluded = status.excluded_resources.as_deref().unwrap_or_default();
            self::kinds(catalog, status.included_resources.as_deref(), excluded)
        });
        let rules = Self {
            namespaces: namespaces.map_err(refuse("spec.includedNamespaces"))?,
            kinds: kinds.map_err(refuse("spec.includedResources"))?,
            cluster: spec.include_cluster_resources,
            mapping: spec.namespace_mapping.clone().unwrap_or_default(),
            one: spec.label_selector.clone(),
            any: spec.or_label_selectors.clone().unwrap_or_default(),
            status: status.transpose().map_err(refuse("spec.restoreStatus"))?,
            restores_volumes: spec.restore_pvs != Some(false),
            existing: match spec.existing_resource_policy.as_deref() {
                Some("update") => ExistingPolicy::Update,
                _ => ExistingPolicy::Keep,
            },
            keeps_node_ports: spec.preserve_node_ports == Some(true),
        };
        let field = if rules.one.is_some() { "spec.labelSelector" } else { "spec.orLabelSelectors" };
        let problem = rules.one.iter().chain(&rules.any).flat_map(LabelSelector::problems).next();
        problem.map_or(Ok(rules), |problem| Err(Error::Selection { field, why: problem.to_string() }))
    }

    /// The namespace into which objects of a namespace go.
    pub fn target<'a>(&'a self, namespace: &'a str) -> &'a str {
        self.mapping.get(namespace).map_or(namespace, String::as_str)
    }

    /// Whether an object may come back at all: its kind and its namespace are taken.
    ///
    /// Source: Velero `pkg/restore/restore.go`, `restoreItem`.
    pub fn allows(&self, item: &ItemName) -> bool {
        self.kinds.has(&item.resource)
            && match &item.namespace {
                Some(namespace) => self.namespaces.has(namespace),
                None => item.resource == resource::NAMESPACES || self.cluster != Some(false),
            }
    }

    /// Whether an object comes back by itself, and not only because another one needs it.
    ///
    /// Source: Velero `pkg/restore/restore.go`, `getOrderedResourceCollection`.
    pub fn takes(&self, item: &ItemName, labels: &Labels) -> bool {
        let is_automatic = match (&item.namespace, item.resource.as_str()) {
            (Some(_), _) => true,
            (None, resource::NAMESPACES) => self.namespaces.has(&item.name),
            (None, _) => self.cluster == Some(true) || self.namespaces.is_everything(),
        };
        // `new` has refused selectors that cannot be judged.
        is_automatic && self.allows(item) && selector::selects(self.one.as_ref(), &self.any, labels).unwrap_or(false)
    }

    /// Whether the status of an object is restored: an annotation of the object says so, or else the spec.
    ///
    /// Source: Velero `pkg/restore/restore.go`, `determineRestoreStatus`.
    pub fn takes_status(&self, item: &Item) -> bool {
        match strings(&item.object["metadata"]["annotations"]).get(annotation::RESTORE_STATUS).map(String::as_str) {
            Some("true") => true,
            Some("false") => false,
            _ => self.status.as_ref().is_some_and(|kinds| kinds.has(&item.kind.resource())),
        }
    }
}

fn kinds(
    catalog: &Catalog,
    included: Option<&[String]>,
    excluded: &[String],
) -> std::result::Result<Selection, selection::Error> {
    let full = |word: &String| catalog.named(word).map_or_else(|| word.clone(), |kind| kind.resource());
    let included: Vec<String> = included.unwrap_or_default().iter().map(full).collect();
    let excluded: Vec<String> = excluded.iter().map(full).collect();
    Selection::new(Some(&included), Some(&excluded))
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kind::tests::kind;

    pub(crate) fn catalog() -> Catalog {
        let kinds = [
            "pods v1 Pod",
            "persistentvolumeclaims v1 PersistentVolumeClaim",
            "*persistentvolumes v1 PersistentVolume",
            "configmaps v1 ConfigMap",
            "events v1 Event",
            "*namespaces v1 Namespace",
            "secrets v1 Secret",
            "services v1 Service",
            "serviceaccounts v1 ServiceAccount",
            "deployments apps/v1 Deployment",
            "statefulsets apps/v1 StatefulSet",
            "jobs batch/v1 Job",
            "*customresourcedefinitions apiextensions.k8s.io/v1 CustomResourceDefinition",
            "*clusterroles rbac.authorization.k8s.io/v1 ClusterRole",
            "*clusterrolebindings rbac.authorization.k8s.io/v1 ClusterRoleBinding",
            "rolebindings rbac.authorization.k8s.io/v1 RoleBinding",
            "*apiservices apiregistration.k8s.io/v1 APIService",
            "*validatingwebhookconfigurations admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration",
            "*storageclasses storage.k8s.io/v1 StorageClass",
        ];
        Catalog::new(kinds.into_iter().map(kind).collect())
    }

    pub(crate) fn rules(spec: Value) -> Rules {
        Rules::new(&serde_json::from_value(spec).unwrap(), &catalog()).unwrap()
    }

    fn labels(text: &str) -> Labels {
        text.split_whitespace().filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    }

    #[test]
    fn objects_come_back_by_kind_namespace_and_label() {
        let pod = |namespace: &str| ItemName::namespaced("pods", namespace, "a");
        let class = || ItemName::cluster_scoped("storageclasses.storage.k8s.io", "fast");
        let rows = [
            (json!({}), pod("a"), "", true),
            (json!({}), class(), "", true),
            (json!({}), ItemName::namespaced("events", "a", "e"), "", false),
            (json!({"includedNamespaces": ["b"]}), pod("a"), "", false),
            (json!({"includedNamespaces": ["a*"]}), pod("a1"), "", true),
            (json!({"excludedNamespaces": ["a"]}), pod("a"), "", false),
            (json!({"includedNamespaces": ["a"]}), class(), "", false),
            (json!({"includedNamespaces": ["a"], "includeClusterResources": true}), class(), "", true),
            (json!({"includeClusterResources": false}), class(), "", false),
            (json!({"includeClusterResources": false}), ItemName::cluster_scoped("namespaces", "a"), "", true),
            (json!({"includedNamespaces": ["b"]}), ItemName::cluster_scoped("namespaces", "a"), "", false),
            (json!({"includedResources": ["pod"]}), pod("a"), "", true),
            (json!({"includedResources": ["deployment"]}), pod("a"), "", false),
            (json!({"excludedResources": ["pod"]}), pod("a"), "", false),
            (json!({"labelSelector": {"matchLabels": {"x": "1"}}}), pod("a"), "x=1", true),
            (json!({"labelSelector": {"matchLabels": {"x": "1"}}}), pod("a"), "x=2", false),
            (
                json!({"orLabelSelectors": [{"matchLabels": {"x": "1"}}, {"matchLabels": {"y": "1"}}]}),
                pod("a"),
                "y=1",
                true,
            ),
        ];
        for (spec, item, of, expected) in rows {
            assert_eq!(rules(spec.clone()).takes(&item, &labels(of)), expected, "{spec} {item} {of}");
        }
    }

    #[test]
    fn what_another_object_needs_is_asked_for_neither_labels_nor_scope() {
        let volume = ItemName::cluster_scoped("persistentvolumes", "pv");
        let some = rules(json!({"includedNamespaces": ["a"], "labelSelector": {"matchLabels": {"x": "1"}}}));
        assert!(some.allows(&volume) && !some.takes(&volume, &Labels::new()));
        assert!(!rules(json!({"includeClusterResources": false})).allows(&volume));
        assert!(!rules(json!({"excludedResources": ["persistentvolumes"]})).allows(&volume));
    }

    #[test]
    fn a_status_comes_back_where_the_spec_or_the_object_says_so() {
        let pod = |status: Value| {
            Item::new(
                kind("pods v1 Pod"),
                json!({"metadata": {"name": "a", "annotations": {"velero.io/restore-status": status}}}),
            )
        };
        let spec = || json!({"restoreStatus": {"includedResources": ["pods"]}});
        let found = [
            rules(json!({})).takes_status(&pod(Value::Null)),
            rules(json!({})).takes_status(&pod(json!("true"))),
            rules(spec()).takes_status(&pod(Value::Null)),
            rules(spec()).takes_status(&pod(json!("false"))),
            rules(json!({"restoreStatus": {"excludedResources": ["pods"]}})).takes_status(&pod(Value::Null)),
        ];
        assert_eq!(found, [false, true, true, false, false]);
    }
}
