//! Which objects a backup takes: the rules of its spec, applied to one object at a time, and what a taken object brings
//! with it. Pure: nothing is read here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use trysail_api::{
    backup::BackupSpec,
    names::label,
    selection::{Kinds, Selection},
    selector::{self, LabelSelector},
};

use crate::{
    error::{Error, Result},
    kind::{Item, ItemName, Kind, list, text},
};

/// Full names of kinds that rules speak of.
pub mod resource {
    /// Namespaces.
    pub const NAMESPACES: &str = "namespaces";
    /// Pods.
    pub const PODS: &str = "pods";
    /// Claims of volumes.
    pub const CLAIMS: &str = "persistentvolumeclaims";
    /// Volumes.
    pub const VOLUMES: &str = "persistentvolumes";
    /// Accounts of programs.
    pub const SERVICE_ACCOUNTS: &str = "serviceaccounts";
    /// What gives cluster-wide rights to accounts.
    pub const CLUSTER_ROLE_BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";
    /// Cluster-wide rights.
    pub const CLUSTER_ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
    /// Priorities of pods.
    pub const PRIORITY_CLASSES: &str = "priorityclasses.scheduling.k8s.io";
    /// Definitions of kinds.
    pub const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
}

/// How an object was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// In a list of its kind.
    Listed,
    /// Because another object needs it.
    Needed,
}

/// Why an object is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its label says so.
    Label,
    /// It is being deleted.
    Deleted,
    /// Its namespace is not part of the backup.
    Namespace,
    /// Its kind is not.
    Kind,
    /// The selectors do not select it.
    Selector,
}

/// The namespaces that lists are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One list of the whole cluster.
    Cluster,
    /// One list for each of these.
    Namespaces(Vec<String>),
}

/// What a backup takes.
#[derive(Debug, Clone)]
pub struct Rules {
    namespaces: Selection,
    kinds: Kinds,
    one: Option<LabelSelector>,
    any: Vec<LabelSelector>,
    scope: Scope,
    chosen: BTreeSet<String>,
    missing: Vec<String>,
    is_part: bool,
    is_automatic: bool,
}

impl Rules {
    /// From a spec whose lists hold full names of kinds ([`crate::discover::Catalog::resolve`]), and all namespaces.
    ///
    /// # Errors
    /// A pattern or a selector that cannot be read.
    pub fn new(spec: &BackupSpec, existing: &[Item]) -> Result<Self> {
        let says_no = |item: &&Item| excludes(item);
        let excluded: Vec<String> = spec.excluded_namespaces.iter().flatten().cloned().collect();
        let labelled = existing.iter().filter(says_no).map(|item| item.name().to_owned());
        let excluded: Vec<String> = excluded.into_iter().chain(labelled).collect();
        let included = spec.included_namespaces.as_deref();
        let refuse = |field| move |e: trysail_api::selection::Error| Error::Selection { field, why: e.to_string() };
        let namespaces = Selection::new(included, Some(&excluded)).map_err(refuse("spec.includedNamespaces"))?;
        let kinds = Kinds::of(spec).map_err(refuse("spec.includedResources"))?;
        let rules = Self {
            scope: scope(included, &namespaces, existing),
            missing: missing(included, existing),
            chosen: BTreeSet::new(),
            is_part: is_whole(included) && !namespaces.is_everything(),
            is_automatic: spec.include_cluster_resources.is_none()
                && spec.included_cluster_scoped_resources.as_ref().is_none_or(Vec::is_empty),
            namespaces,
            kinds,
            one: spec.label_selector.clone(),
            any: spec.or_label_selectors.clone().unwrap_or_default(),
        };
        rules.check_selectors()?;
        let chosen = existing.iter().filter(|item| rules.chooses(item)).map(|item| item.name().to_owned());
        Ok(Self { chosen: chosen.collect(), ..rules })
    }

    fn check_selectors(&self) -> Result<()> {
        let field = if self.one.is_some() { "spec.labelSelector" } else { "spec.orLabelSelectors" };
        let problem = self.one.iter().chain(&self.any).flat_map(LabelSelector::problems).next();
        problem.map_or(Ok(()), |problem| Err(Error::Selection { field, why: problem.to_string() }))
    }

    /// Whether a namespace is part of the backup without any of its objects: it is active, and its labels or its name
    /// select it. Where only labels say what is taken, a name does not.
    ///
    /// Source: Velero `pkg/backup/item_collector.go`, `nsTracker.init`.
    fn chooses(&self, namespace: &Item) -> bool {
        if text(&namespace.object["status"]["phase"]) != "Active" {
            return false;
        }
        let has_selectors = self.one.is_some() || !self.any.is_empty();
        let is_selected = self.selects(namespace);
        if has_selectors && is_selected {
            return true;
        }
        !(has_selectors && self.namespaces.is_everything()) && self.namespaces.has(namespace.name())
    }

    /// Whether lists of a kind are to be read. Namespaces are read apart from the others.
    pub fn takes_kind(&self, kind: &Kind) -> bool {
        let resource = kind.resource();
        if kind.is_namespaced {
            self.kinds.has_namespaced(&resource)
        } else {
            self.kinds.has_cluster_scoped(&resource, &self.namespaces)
        }
    }

    /// Where lists of a kind are read.
    pub fn scope(&self, kind: &Kind) -> Scope {
        if kind.is_namespaced { self.scope.clone() } else { Scope::Cluster }
    }

    /// The selectors of lists, as the API server reads them; one list is read for each, and `None` is a list of all.
    pub fn list_selectors(&self) -> Vec<Option<String>> {
        let written: Vec<_> = self.one.iter().chain(&self.any).map(|s| Some(written(s))).collect();
        if written.is_empty() { vec![None] } else { written }
    }

    /// Namespaces that the spec names and the cluster does not have.
    pub fn missing_namespaces(&self) -> &[String] {
        &self.missing
    }

    /// Namespaces that are part of the backup even if nothing in them is.
    pub fn chosen_namespaces(&self) -> &BTreeSet<String> {
        &self.chosen
    }

    /// Whether cluster-scoped objects are left out for the only reason that some namespaces are: a person should know. Who
    /// names namespaces does not expect them.
    pub fn leaves_out_cluster_scoped(&self) -> bool {
        self.is_part && self.is_automatic
    }

    fn selects(&self, item: &Item) -> bool {
        // `check_selectors` has refused those that cannot be judged.
        selector::selects(self.one.as_ref(), &self.any, &item.labels()).unwrap_or(false)
    }

    /// Why an object stays out; none if it is taken. What another object needs is asked neither for the selectors nor,
    /// where it is cluster-scoped, for the rules that keep such objects from coming by themselves.
    ///
    /// Source: Velero `pkg/backup/item_backupper.go`, `itemInclusionChecks`.
    pub fn refusal(&self, item: &Item, found: Found) -> Option<Refusal> {
        if excludes(item) {
            return Some(Refusal::Label);
        }
        if !item.object["metadata"]["deletionTimestamp"].is_null() {
            return Some(Refusal::Deleted);
        }
        let resource = item.kind.resource();
        if let Some(namespace) = item.namespace() {
            if !self.namespaces.has(namespace) {
                return Some(Refusal::Namespace);
            }
            if !self.kinds.has_namespaced(&resource) {
                return Some(Refusal::Kind);
            }
        } else if found == Found::Needed && self.kinds.refuses_cluster_scoped(&resource) {
            return Some(Refusal::Kind);
        }
        (found == Found::Listed && !self.selects(item)).then_some(Refusal::Selector)
    }

    /// Whether the definition of a kind is taken with its objects.
    pub fn takes_definitions(&self) -> bool {
        !self.kinds.refuses_cluster_scoped(resource::DEFINITIONS)
    }
}

/// Whether the label that keeps objects out of backups says so. Source: Velero, which knows the one value `true`.
fn excludes(item: &Item) -> bool {
    text(&item.object["metadata"]["labels"][label::EXCLUDE_FROM_BACKUP]) == "true"
}

/// Whether lists of namespaces mean all of them, before some are excluded.
fn is_whole(included: Option<&[String]>) -> bool {
    let included = included.unwrap_or_default();
    included.is_empty() || included.iter().any(|name| name == "*")
}

/// Where namespaces are named or described, those that exist and are meant; else the whole cluster in one list.
fn scope(included: Option<&[String]>, namespaces: &Selection, existing: &[Item]) -> Scope {
    if is_whole(included) {
        return Scope::Cluster;
    }
    let meant = existing.iter().map(Item::name).filter(|name| namespaces.has(name));
    Scope::Namespaces(meant.map(str::to_owned).collect())
}

/// Names, not patterns, of which there is no namespace.
fn missing(included: Option<&[String]>, existing: &[Item]) -> Vec<String> {
    let is_pattern = |name: &str| name.contains(['*', '?', '[', '{']);
    let is_there = |name: &str| existing.iter().any(|namespace| namespace.name() == name);
    let names = included.unwrap_or_default().iter();
    names.filter(|name| !is_pattern(name) && !is_there(name)).cloned().collect()
}

/// A selector as the API server reads it in a URL. Source: Kubernetes, `labels.Selector` as text.
fn written(selector: &LabelSelector) -> String {
    let equal = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let others = selector.match_expressions.iter().flatten().map(|requirement| {
        let (key, values) = (&requirement.key, requirement.values.as_deref().unwrap_or_default().join(","));
        match requirement.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        }
    });
    equal.chain(others).collect::<Vec<_>>().join(",")
}

/// Which accounts have cluster-wide rights through which bindings.
#[derive(Debug, Clone, Default)]
pub struct Bindings {
    by_account: BTreeMap<(String, String), BTreeSet<ItemName>>,
}

impl Bindings {
    /// Takes note of a `ClusterRoleBinding`: its accounts need it and the role that it gives.
    pub fn add(&mut self, binding: &Value) {
        for subject in list(&binding["subjects"]) {
            if text(&subject["kind"]) != "ServiceAccount" {
                continue;
            }
            let account = (text(&subject["namespace"]).to_owned(), text(&subject["name"]).to_owned());
            let needs = self.by_account.entry(account).or_default();
            let name = text(&binding["metadata"]["name"]);
            needs.insert(ItemName::cluster_scoped(resource::CLUSTER_ROLE_BINDINGS, name));
            needs.insert(ItemName::cluster_scoped(resource::CLUSTER_ROLES, text(&binding["roleRef"]["name"])));
        }
    }
}

/// What an object brings with it: a pod its claims and its priority class, a bound claim its volume, an account the
/// bindings that name it and their roles.
///
/// Source: Velero pkg/util/actionhelpers.
pub fn needs(item: &Item, bindings: &Bindings) -> Vec<ItemName> {
    let Some(namespace) = item.namespace() else { return Vec::new() };
    let spec = &item.object["spec"];
    match item.kind.resource().as_str() {
        resource::PODS => {
            let claims = list(&spec["volumes"]).iter().map(|v| text(&v["persistentVolumeClaim"]["claimName"]));
            let claims = claims.filter(|claim| !claim.is_empty());
            let claims = claims.map(|claim| ItemName::namespaced(resource::CLAIMS, namespace, claim));
            let class = spec["priorityClassName"].as_str().filter(|class| !class.is_empty());
            claims.chain(class.map(|class| ItemName::cluster_scoped(resource::PRIORITY_CLASSES, class))).collect()
        }
        resource::CLAIMS => {
            let is_bound = text(&item.object["status"]["phase"]) == "Bound";
            let volume = spec["volumeName"].as_str().filter(|volume| is_bound && !volume.is_empty());
            volume.map(|volume| ItemName::cluster_scoped(resource::VOLUMES, volume)).into_iter().collect()
        }
        resource::SERVICE_ACCOUNTS => {
            let account = (namespace.to_owned(), item.name().to_owned());
            bindings.by_account.get(&account).into_iter().flatten().cloned().collect()
        }
        _ => Vec::new(),
    }
}

/// The definition of a kind, if it can have one: groups of definitions have a dot in their names.
pub fn definition(kind: &Kind) -> Option<ItemName> {
    kind.group.contains('.').then(|| ItemName::cluster_scoped(resource::DEFINITIONS, &kind.resource()))
}

#[cfg(test)]
mod tests;
