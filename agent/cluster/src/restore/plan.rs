//! The order of work: what is in an archive, the spec, and what the cluster has become a list of steps. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use super::{
    contents::{Contents, End},
    order::Order,
    rules::Rules,
};
use crate::{
    discover::Catalog,
    kind::{ItemName, Kind},
    problem::{Place, Report},
    select::resource,
};

/// Kinds by which an object gives its maker rights, or hears what others do. A backup that nobody trustworthy has signed does
/// not bring them back.
const POWERFUL: [&str; 7] = [
    "clusterroles.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
    "roles.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "apiservices.apiregistration.k8s.io",
];

/// Whether what an archive says is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// A key that is trusted has signed it, or a user takes the blame.
    Whole,
    /// Nobody has.
    Unsigned,
}

/// Why an object does not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// It has done its work.
    Done,
    /// A kubelet makes it.
    Mirror,
    /// The cluster makes it.
    MadeByCluster,
    /// It gives rights, and nobody has signed the backup.
    Withheld,
    /// The cluster does not know its kind.
    UnknownKind,
    /// The volume is made anew for its claim.
    Provisioned(Provision),
}

/// Why a volume is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provision {
    /// The backup has its files.
    Files,
    /// It went with its claim.
    Deleted,
    /// The spec says that volumes do not come back.
    Refused,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "is complete - skipping",
            Self::Mirror => "not restored because it's a mirror pod",
            Self::MadeByCluster => "not restored because the cluster makes it itself",
            Self::Withheld => {
                "not restored because it gives rights and nobody trusted has signed the backup; \
                 annotation trysail.io/allow-unsigned: \"true\" on the Restore allows it"
            }
            Self::UnknownKind => "not restored because the cluster does not have its kind",
            Self::Provisioned(Provision::Files) => {
                "dynamically re-provisioned because it has a pod volume backup to be restored"
            }
            Self::Provisioned(Provision::Deleted) => {
                "dynamically re-provisioned because it doesn't have a snapshot and its reclaim policy is Delete"
            }
            Self::Provisioned(Provision::Refused) => "not restored because the restore says that volumes are not",
        })
    }
}

/// What is done about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name in the archive.
    pub item: ItemName,
    /// Its kind, in the version in which it was saved.
    pub kind: Arc<Kind>,
    /// The namespace into which it goes.
    pub target: Option<String>,
    /// Length of its JSON.
    pub bytes: usize,
    /// Why it does not come back.
    pub skip: Option<Skip>,
}

impl Step {
    /// The name that the object has in the cluster.
    pub fn restored_name(&self) -> ItemName {
        ItemName { namespace: self.target.clone(), ..self.item.clone() }
    }
}

/// What a Restore does, in order.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Definitions of kinds, before all others.
    pub definitions: Vec<Step>,
    /// Namespaces: the name in the archive, and the one in the cluster.
    pub namespaces: Vec<(String, String)>,
    /// All other objects.
    pub steps: Vec<Step>,
    /// Volumes that are made anew. Claims of volumes that are not in the archive are treated likewise.
    pub provisioned: BTreeMap<String, Provision>,
    /// Volumes that come back as they were.
    pub kept: BTreeSet<String>,
    /// What a person should know.
    pub report: Report,
}

/// What a plan is made of.
#[derive(Debug, Clone, Copy)]
pub struct Grounds<'a> {
    /// What is in the archive.
    pub contents: &'a Contents,
    /// What the spec says.
    pub rules: &'a Rules,
    /// The kinds that the cluster has.
    pub catalog: &'a Catalog,
    /// The order of kinds.
    pub order: &'a Order,
    /// Namespace and name of claims of which the backup has files.
    pub saved: &'a BTreeSet<(String, String)>,
    /// Whether the archive is believed.
    pub trust: Trust,
}

impl Plan {
    /// Makes a plan.
    pub fn new(grounds: Grounds<'_>) -> Self {
        let mut plan = Self { report: grounds.contents.report.clone(), ..Self::default() };
        plan.decide_volumes(&grounds);
        let wanted = plan.wanted(&grounds);
        let kinds = grounds.order.of(wanted.iter().map(|item| item.resource.as_str()));
        for kind in kinds {
            if kind == resource::NAMESPACES {
                continue;
            }
            for item in wanted.iter().filter(|item| item.resource == kind) {
                let step = plan.step(item, &grounds);
                if kind == resource::DEFINITIONS { plan.definitions.push(step) } else { plan.steps.push(step) }
            }
        }
        plan.find_namespaces(&wanted, &grounds);
        plan.tell(&grounds);
        plan
    }

    /// Objects that are taken, and what they need.
    fn wanted(&mut self, grounds: &Grounds<'_>) -> BTreeSet<ItemName> {
        let entries = &grounds.contents.entries;
        let mut open: Vec<&ItemName> = entries.iter().filter(|(_, e)| e.is_taken).map(|(item, _)| item).collect();
        let mut wanted = BTreeSet::new();
        while let Some(item) = open.pop() {
            let Some(entry) = entries.get(item) else { continue };
            if !wanted.insert(item.clone()) || entry.end.is_some() {
                continue;
            }
            for need in entry.needs.iter().filter(|need| grounds.rules.allows(need)) {
                if entries.contains_key(need) {
                    open.push(need);
                } else if need.resource == resource::CLAIMS {
                    let place = Place::of(need.namespace.as_deref().map(|namespace| grounds.rules.target(namespace)));
                    let message = format!("{item} needs {need}, which is not in the backup");
                    self.report.warnings.add(place, message);
                }
            }
        }
        wanted
    }

    /// Source: Velero `pkg/restore/restore.go`, `restoreItem`, volumes.
    fn decide_volumes(&mut self, grounds: &Grounds<'_>) {
        for (name, volume) in &grounds.contents.volumes {
            let has_files = volume.claim.as_ref().is_some_and(|claim| grounds.saved.contains(claim));
            let provision = if !grounds.rules.restores_volumes {
                Some(Provision::Refused)
            } else if has_files {
                Some(Provision::Files)
            } else if volume.is_deleted_with_claim {
                Some(Provision::Deleted)
            } else {
                None
            };
            match provision {
                Some(why) => drop(self.provisioned.insert(name.clone(), why)),
                None => drop(self.kept.insert(name.clone())),
            }
        }
    }

    fn step(&self, item: &ItemName, grounds: &Grounds<'_>) -> Step {
        // `wanted` holds names of entries alone.
        let entry = &grounds.contents.entries[item];
        let known = grounds.catalog.kind(&item.resource);
        let skip = match entry.end {
            Some(End::Done) => Some(Skip::Done),
            Some(End::Mirror) => Some(Skip::Mirror),
            None if is_made_by_cluster(item) => Some(Skip::MadeByCluster),
            None if grounds.trust == Trust::Unsigned && POWERFUL.contains(&item.resource.as_str()) => {
                Some(Skip::Withheld)
            }
            None if item.resource == resource::VOLUMES => {
                self.provisioned.get(&item.name).map(|why| Skip::Provisioned(*why))
            }
            // A kind that the cluster does not have may come with the definitions of the archive.
            None if known.is_none() && !defines(grounds.contents, &item.resource) => Some(Skip::UnknownKind),
            None => None,
        };
        let kind = kind_of(item, &entry.api_version, &entry.kind, known);
        let target = item.namespace.as_deref().map(|namespace| grounds.rules.target(namespace).to_owned());
        Step { item: item.clone(), kind, target, bytes: entry.bytes, skip }
    }

    /// Namespaces that are taken themselves, and those into which anything goes.
    fn find_namespaces(&mut self, wanted: &BTreeSet<ItemName>, grounds: &Grounds<'_>) {
        let own = wanted.iter().filter(|item| item.resource == resource::NAMESPACES).map(|item| item.name.clone());
        let used = self.steps.iter().filter(|step| step.skip.is_none()).filter_map(|step| step.item.namespace.clone());
        let names: BTreeSet<String> = own.chain(used).collect();
        self.namespaces =
            names.into_iter().map(|name| (name.clone(), grounds.rules.target(&name).to_owned())).collect();
    }

    /// Says what will be missing.
    fn tell(&mut self, grounds: &Grounds<'_>) {
        for step in self.definitions.iter().chain(&self.steps) {
            let place = || Place::of(step.target.as_deref());
            match step.skip {
                Some(skip @ (Skip::Withheld | Skip::UnknownKind)) => {
                    let name = step.restored_name().within_kind();
                    let what = format!("{} {name}: {skip}", step.kind.versioned_name());
                    self.report.warnings.add(place(), what);
                }
                None if step.item.resource == resource::CLAIMS => {
                    let claim = step.item.namespace.clone().map(|namespace| (namespace, step.item.name.clone()));
                    let volume = claim.as_ref().and_then(|claim| grounds.contents.claims.get(claim));
                    let is_emptied = volume.is_some_and(|volume| !self.kept.contains(volume));
                    let is_saved = claim.is_some_and(|claim| grounds.saved.contains(&claim));
                    if is_emptied && !is_saved && grounds.rules.restores_volumes {
                        let name = step.restored_name().within_kind();
                        let what = format!(
                            "PersistentVolumeClaim {name} is restored empty: the backup has no data of its volume"
                        );
                        self.report.warnings.add(place(), what);
                    }
                }
                _ => {}
            }
        }
    }
}

/// The certificates that each namespace gets from its cluster: those of another one would be wrong.
fn is_made_by_cluster(item: &ItemName) -> bool {
    item.resource == "configmaps" && item.name == "kube-root-ca.crt"
}

fn defines(contents: &Contents, kind: &str) -> bool {
    contents.entries.contains_key(&ItemName::cluster_scoped(resource::DEFINITIONS, kind))
}

/// The kind of a stored object in the version in which it was saved, which need not be the one that is preferred.
fn kind_of(item: &ItemName, api_version: &str, kind: &str, known: Option<&Arc<Kind>>) -> Arc<Kind> {
    if let Some(known) = known.filter(|known| known.api_version() == api_version) {
        return Arc::clone(known);
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let plural = item.resource.split('.').next().unwrap_or_default();
    Arc::new(Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        is_namespaced: item.namespace.is_some(),
        aliases: Vec::new(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::{
        super::{
            contents::tests::contents,
            rules::tests::{catalog, rules},
        },
        *,
    };

    pub(crate) fn plan(objects: &[(&str, Value)], spec: Value, saved: &[(&str, &str)], trust: Trust) -> Plan {
        let (rules, contents) = (rules(spec.clone()), contents(objects, spec));
        let saved = saved.iter().map(|(n, c)| ((*n).to_owned(), (*c).to_owned())).collect();
        let grounds = Grounds {
            contents: &contents,
            rules: &rules,
            catalog: &catalog(),
            order: &Order::default(),
            saved: &saved,
            trust,
        };
        Plan::new(grounds)
    }

    fn lines(plan: &Plan) -> Vec<String> {
        let line = |step: &Step| {
            let skip = step.skip.map_or_else(String::new, |skip| format!(" {skip:?}"));
            format!("{}{skip}", step.restored_name())
        };
        plan.definitions.iter().chain(&plan.steps).map(line).collect()
    }

    fn warnings(plan: &Plan) -> Vec<&str> {
        plan.report.warnings.kept().iter().map(|problem| problem.message.as_str()).collect()
    }

    fn claim(name: &str, volume: &str) -> (&'static str, Value) {
        let metadata = json!({"name": name, "namespace": "app"});
        let object = json!({"metadata": metadata, "spec": {"volumeName": volume}, "status": {"phase": "Bound"}});
        ("persistentvolumeclaims v1 PersistentVolumeClaim", object)
    }

    fn volume(name: &str, claim: &str, policy: &str) -> (&'static str, Value) {
        let claim = json!({"namespace": "app", "name": claim});
        let spec = json!({"claimRef": claim, "persistentVolumeReclaimPolicy": policy});
        ("*persistentvolumes v1 PersistentVolume", json!({"metadata": {"name": name}, "spec": spec}))
    }

    fn pod(name: &str, claims: &[&str]) -> (&'static str, Value) {
        let volumes: Vec<Value> =
            claims.iter().map(|c| json!({"name": c, "persistentVolumeClaim": {"claimName": c}})).collect();
        ("pods v1 Pod", json!({"metadata": {"name": name, "namespace": "app"}, "spec": {"volumes": volumes}}))
    }

    #[test]
    fn volumes_come_before_claims_before_pods_before_what_makes_pods() {
        let metadata = || json!({"name": "web", "namespace": "app"});
        let objects = [
            ("deployments apps/v1 Deployment", json!({"metadata": metadata()})),
            pod("web-1", &["a"]),
            claim("a", "pv-a"),
            volume("pv-a", "a", "Retain"),
            ("*namespaces v1 Namespace", json!({"metadata": {"name": "app"}})),
        ];
        let plan = plan(&objects, json!({"namespaceMapping": {"app": "app2"}}), &[], Trust::Whole);
        let expected =
            ["persistentvolumes pv-a", "persistentvolumeclaims app2/a", "pods app2/web-1", "deployments.apps app2/web"];
        assert_eq!(lines(&plan), expected);
        assert_eq!(plan.namespaces, [("app".to_owned(), "app2".to_owned())]);
        assert_eq!(warnings(&plan), Vec::<&str>::new());
    }

    #[test]
    fn a_volume_comes_back_only_where_it_outlives_its_claim_and_nobody_saved_its_files() {
        let objects = [
            claim("a", "pv-a"),
            claim("b", "pv-b"),
            claim("c", "pv-c"),
            claim("d", "pv-d"),
            volume("pv-a", "a", "Retain"),
            volume("pv-b", "b", "Retain"),
            volume("pv-c", "c", "Delete"),
        ];
        let made = plan(&objects, json!({}), &[("app", "b")], Trust::Whole);
        let expected = [
            "persistentvolumes pv-a",
            "persistentvolumes pv-b Provisioned(Files)",
            "persistentvolumes pv-c Provisioned(Deleted)",
            "persistentvolumeclaims app/a",
            "persistentvolumeclaims app/b",
            "persistentvolumeclaims app/c",
            "persistentvolumeclaims app/d",
        ];
        assert_eq!(lines(&made), expected);
        assert_eq!(made.kept, BTreeSet::from(["pv-a".to_owned()]));
        let empty =
            |name| format!("PersistentVolumeClaim app/{name} is restored empty: the backup has no data of its volume");
        assert_eq!(warnings(&made), [empty("c"), empty("d")]);
        let refused = plan(&objects, json!({"restorePVs": false}), &[("app", "b")], Trust::Whole);
        assert_eq!((refused.kept.len(), warnings(&refused).len()), (0, 0));
    }

    #[test]
    fn what_a_taken_object_needs_comes_with_it() {
        let objects = [pod("web", &["a", "gone"]), claim("a", "pv-a"), volume("pv-a", "a", "Retain"), claim("z", "")];
        let mut objects = objects.to_vec();
        objects[0].1["metadata"]["labels"] = json!({"app": "web"});
        let spec = json!({"labelSelector": {"matchLabels": {"app": "web"}}});
        let made = plan(&objects, spec, &[], Trust::Whole);
        assert_eq!(lines(&made), ["persistentvolumes pv-a", "persistentvolumeclaims app/a", "pods app/web"]);
        assert_eq!(warnings(&made), ["pods app/web needs persistentvolumeclaims app/gone, which is not in the backup"]);
        let without =
            plan(&objects, json!({"excludedResources": ["pvc", "persistentvolumeclaims"]}), &[], Trust::Whole);
        assert_eq!(lines(&without), ["persistentvolumes pv-a", "pods app/web"]);
    }

    #[test]
    fn objects_of_kinds_that_nobody_defines_are_listed_and_left_out() {
        let gadget = |kind| (kind, json!({"metadata": {"name": "g", "namespace": "app"}}));
        let definition = json!({"metadata": {"name": "widgets.example.org"}});
        let objects = [
            gadget("widgets example.org/v1 Widget"),
            gadget("gadgets example.org/v1beta1 Gadget"),
            ("*customresourcedefinitions apiextensions.k8s.io/v1 CustomResourceDefinition", definition),
        ];
        let made = plan(&objects, json!({"includedNamespaces": ["app"]}), &[], Trust::Whole);
        let expected = [
            "customresourcedefinitions.apiextensions.k8s.io widgets.example.org",
            "gadgets.example.org app/g UnknownKind",
            "widgets.example.org app/g",
        ];
        assert_eq!(lines(&made), expected);
        let expected = "example.org/v1beta1/Gadget app/g: not restored because the cluster does not have its kind";
        assert_eq!(warnings(&made), [expected]);
    }

    #[test]
    fn what_gives_rights_is_withheld_from_a_backup_that_nobody_signed() {
        let objects = [
            ("*clusterroles rbac.authorization.k8s.io/v1 ClusterRole", json!({"metadata": {"name": "r"}})),
            (
                "rolebindings rbac.authorization.k8s.io/v1 RoleBinding",
                json!({"metadata": {"name": "b", "namespace": "app"}}),
            ),
            ("*apiservices apiregistration.k8s.io/v1 APIService", json!({"metadata": {"name": "a"}})),
            (
                "*validatingwebhookconfigurations admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration",
                json!({"metadata": {"name": "w"}}),
            ),
            ("serviceaccounts v1 ServiceAccount", json!({"metadata": {"name": "s", "namespace": "app"}})),
        ];
        let skips = |trust| {
            let made = plan(&objects, json!({}), &[], trust);
            (made.steps.iter().filter(|step| step.skip == Some(Skip::Withheld)).count(), warnings(&made).len())
        };
        assert_eq!((skips(Trust::Unsigned), skips(Trust::Whole)), ((4, 4), (0, 0)));
    }

    #[test]
    fn a_namespace_comes_back_for_what_is_in_it_or_for_itself() {
        let namespace = |name: &str, labels: Value| {
            ("*namespaces v1 Namespace", json!({"metadata": {"name": name, "labels": labels}}))
        };
        let objects = [pod("web", &[]), namespace("app", json!({})), namespace("empty", json!({"x": "1"}))];
        let names = |spec| -> Vec<String> {
            plan(&objects, spec, &[], Trust::Whole).namespaces.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(json!({})), ["app", "empty"]);
        assert_eq!(names(json!({"includedNamespaces": ["empty"]})), ["empty"]);
        assert_eq!(names(json!({"includedResources": ["pods"]})), ["app"]);
        assert_eq!(names(json!({"labelSelector": {"matchLabels": {"x": "1"}}})), ["empty"]);
    }

    #[test]
    fn the_certificates_of_another_cluster_stay_out() {
        let map = |name: &str| ("configmaps v1 ConfigMap", json!({"metadata": {"name": name, "namespace": "app"}}));
        let made = plan(&[map("kube-root-ca.crt"), map("own")], json!({}), &[], Trust::Unsigned);
        assert_eq!(lines(&made), ["configmaps app/kube-root-ca.crt MadeByCluster", "configmaps app/own"]);
    }

    #[test]
    fn an_object_keeps_the_version_in_which_it_was_saved() {
        let old = ("deployments apps/v1beta2 Deployment", json!({"metadata": {"name": "d", "namespace": "app"}}));
        let made = plan(&[old], json!({}), &[], Trust::Whole);
        assert_eq!(made.steps[0].kind.versioned_name(), "apps/v1beta2/Deployment");
    }
}
