//! Which kinds of objects a cluster has that can be saved and restored: each once, in the version that the API server prefers.
//!
//! What the server says becomes a [`Catalog`]; that is a pure step. Which of the kinds a backup takes is not decided here.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroup, APIResource, APIResourceList};
use kube::{
    Client,
    core::discovery::v2::{APIGroupDiscovery, APIGroupDiscoveryList, APIResourceDiscovery},
};
use trysail_api::backup::BackupSpec;

use crate::{
    error::{Error, Result},
    kind::Kind,
    problem::{Place, Problems},
};

/// Verbs without which a kind cannot be saved, or not be restored: what is measured or computed lacks them.
///
/// Source: Velero `pkg/discovery/helper.go`, `filterByVerbs`.
const VERBS: [&str; 4] = ["create", "delete", "get", "list"];

/// What the API server says of a group that it could not ask itself.
const STALE: &str = "Stale";

/// Kinds of the core group that come first, so that pods are followed by what belongs to them.
///
/// Source: Velero `pkg/backup/item_collector.go`, `coreGroupResourcePriority`.
const FIRST: [&str; 3] = ["pods", "persistentvolumeclaims", "persistentvolumes"];

/// Kinds that are served twice under one name: the name, the group that counts, and the group that is left out beside it.
///
/// Source: Velero `pkg/backup/backup.go`, cohabitating resources.
const SERVED_TWICE: [(&str, &str, &str); 5] = [
    ("daemonsets", "apps", "extensions"),
    ("deployments", "apps", "extensions"),
    ("events", "", "events.k8s.io"),
    ("networkpolicies", "networking.k8s.io", "extensions"),
    ("replicasets", "apps", "extensions"),
];

/// A group and its versions, the preferred one first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Group {
    name: String,
    versions: Vec<Version>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Version {
    name: String,
    /// Why what is known of it may be wrong.
    doubt: Option<String>,
    resources: Vec<Resource>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Resource {
    plural: String,
    kind: String,
    is_namespaced: bool,
    aliases: Vec<String>,
    verbs: Vec<String>,
}

/// The kinds of a cluster whose objects can be listed, in the order in which they are saved.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    kinds: Vec<Arc<Kind>>,
}

impl Catalog {
    /// A catalog of kinds as they come.
    pub fn new(kinds: Vec<Arc<Kind>>) -> Self {
        Self { kinds }
    }

    /// All kinds.
    pub fn kinds(&self) -> &[Arc<Kind>] {
        &self.kinds
    }

    /// The kind of this full name (`pods`, `deployments.apps`).
    pub fn kind(&self, resource: &str) -> Option<&Arc<Kind>> {
        self.kinds.iter().find(|kind| kind.resource() == resource)
    }

    /// The kind that a user means: by plural, singular or short name, with its group or a beginning of it, or without.
    /// Where several fit, the first: the core group comes before others.
    pub fn named(&self, word: &str) -> Option<&Arc<Kind>> {
        let word = word.to_lowercase();
        let (name, group) = word.split_once('.').map_or((word.as_str(), None), |(name, group)| (name, Some(group)));
        self.kinds.iter().find(|kind| {
            let is_named = kind.plural == name || kind.aliases.iter().any(|alias| alias.to_lowercase() == name);
            is_named && group.is_none_or(|group| kind.group.starts_with(group))
        })
    }

    /// A spec whose lists of kinds hold full names. What no kind is called by stays as it is: an inclusion of nothing
    /// must not become one of everything, and patterns are compared with full names later.
    ///
    /// Source: Velero `pkg/util/collections/includes_excludes.go`, `GetResourceIncludesExcludes`.
    pub fn resolve(&self, spec: &BackupSpec) -> BackupSpec {
        let mut spec = spec.clone();
        let lists = [
            &mut spec.included_resources,
            &mut spec.excluded_resources,
            &mut spec.included_namespace_scoped_resources,
            &mut spec.excluded_namespace_scoped_resources,
            &mut spec.included_cluster_scoped_resources,
            &mut spec.excluded_cluster_scoped_resources,
        ];
        lists.into_iter().flatten().for_each(|list| self.resolve_list(list));
        for set in spec.hooks.iter_mut().flat_map(|hooks| hooks.resources.iter_mut().flatten()) {
            [&mut set.included_resources, &mut set.excluded_resources]
                .into_iter()
                .flatten()
                .for_each(|list| self.resolve_list(list));
        }
        spec
    }

    fn resolve_list(&self, list: &mut [String]) {
        for word in list {
            if let Some(kind) = self.named(word) {
                *word = kind.resource();
            }
        }
    }
}

/// Asks the API server for its kinds. Groups that do not answer are warnings: the others are saved all the same.
///
/// # Errors
/// The server does not answer, or answers with something else.
pub async fn discover(client: &Client) -> Result<(Catalog, Problems)> {
    let fails = |path: &'static str| move |source| Error::Discover { path: path.to_owned(), source: Box::new(source) };
    let core = client.list_core_api_versions_aggregated().await.map_err(fails("/api"))?;
    let others = client.list_api_groups_aggregated().await.map_err(fails("/apis"))?;
    // A server that knows no aggregated discovery answers with lists of another shape, of which nothing is left here.
    let groups = if core.items.is_empty() { one_by_one(client).await? } else { aggregated(core, others) };
    Ok(preferred(groups))
}

fn aggregated(core: APIGroupDiscoveryList, others: APIGroupDiscoveryList) -> Vec<Group> {
    core.items.into_iter().chain(others.items).map(group_of).collect()
}

fn group_of(group: APIGroupDiscovery) -> Group {
    let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
    let versions = group.versions.into_iter().map(|version| Version {
        name: version.version.unwrap_or_default(),
        doubt: (version.freshness.as_deref() == Some(STALE)).then(|| "its server does not answer".to_owned()),
        resources: version.resources.into_iter().filter_map(resource_of).collect(),
    });
    Group { name, versions: versions.collect() }
}

fn resource_of(resource: APIResourceDiscovery) -> Option<Resource> {
    Some(Resource {
        plural: resource.resource?,
        kind: resource.response_kind?.kind?,
        is_namespaced: resource.scope.as_deref() == Some("Namespaced"),
        aliases: resource.singular_resource.into_iter().chain(resource.short_names).filter(|s| !s.is_empty()).collect(),
        verbs: resource.verbs,
    })
}

/// The discovery of Kubernetes before 1.26: a request for each version of each group.
async fn one_by_one(client: &Client) -> Result<Vec<Group>> {
    let fails = |path: String| move |source| Error::Discover { path, source: Box::new(source) };
    let core = client.list_core_api_resources("v1").await.map_err(fails("/api/v1".to_owned()))?;
    let core = Version { name: "v1".to_owned(), doubt: None, resources: resources_of(core) };
    let mut groups = vec![Group { name: String::new(), versions: vec![core] }];
    for group in client.list_api_groups().await.map_err(fails("/apis".to_owned()))?.groups {
        let mut versions = Vec::new();
        for (version, path) in versions_of(&group) {
            versions.push(match client.list_api_group_resources(&path).await {
                Ok(list) => Version { name: version, doubt: None, resources: resources_of(list) },
                Err(error) => Version { name: version, doubt: Some(error.to_string()), resources: Vec::new() },
            });
        }
        groups.push(Group { name: group.name, versions });
    }
    Ok(groups)
}

/// Versions and their paths, the preferred one first.
fn versions_of(group: &APIGroup) -> Vec<(String, String)> {
    let all = group.preferred_version.iter().chain(&group.versions);
    let mut seen = HashSet::new();
    all.filter(|v| seen.insert(&v.version)).map(|v| (v.version.clone(), v.group_version.clone())).collect()
}

fn resources_of(list: APIResourceList) -> Vec<Resource> {
    let is_own = |resource: &APIResource| !resource.name.contains('/');
    let resources = list.resources.into_iter().filter(is_own).map(|resource| Resource {
        plural: resource.name,
        kind: resource.kind,
        is_namespaced: resource.namespaced,
        aliases: Some(resource.singular_name)
            .into_iter()
            .chain(resource.short_names.unwrap_or_default())
            .filter(|s| !s.is_empty())
            .collect(),
        verbs: resource.verbs,
    });
    resources.collect()
}

/// Each kind in the first version of its group that has it: some kinds exist only in versions that are not preferred.
/// The core group comes first and its [`FIRST`] kinds before all; other groups and kinds follow by name.
fn preferred(mut groups: Vec<Group>) -> (Catalog, Problems) {
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    let mut warnings = Problems::default();
    let mut kinds = Vec::new();
    for group in groups {
        let mut seen = HashSet::new();
        let mut own = Vec::new();
        for version in group.versions {
            if let Some(doubt) = version.doubt {
                let message = format!("kinds of API group {}/{} may be missing: {doubt}", group.name, version.name);
                warnings.add(Place::Backup, message);
            }
            for resource in version.resources {
                let can = |verb: &str| resource.verbs.iter().any(|own| own == verb);
                if VERBS.into_iter().all(can) && seen.insert(resource.plural.clone()) {
                    own.push(Kind {
                        group: group.name.clone(),
                        version: version.name.clone(),
                        kind: resource.kind,
                        plural: resource.plural,
                        is_namespaced: resource.is_namespaced,
                        aliases: resource.aliases,
                    });
                }
            }
        }
        own.sort_by_key(|kind| (rank(kind), kind.plural.clone()));
        kinds.extend(own);
    }
    let served: HashSet<String> = kinds.iter().map(Kind::resource).collect();
    let is_second = |kind: &Kind| {
        let twin = SERVED_TWICE.iter().find(|(plural, _, second)| kind.plural == *plural && kind.group == *second);
        twin.is_some_and(|(plural, first, _)| {
            let first = if first.is_empty() { (*plural).to_owned() } else { format!("{plural}.{first}") };
            served.contains(&first)
        })
    };
    let kept = kinds.into_iter().filter(|kind| !is_second(kind)).map(Arc::new);
    (Catalog { kinds: kept.collect() }, warnings)
}

fn rank(kind: &Kind) -> usize {
    let place = kind.group.is_empty().then(|| FIRST.iter().position(|first| *first == kind.plural));
    place.flatten().unwrap_or(FIRST.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(text: &str) -> Resource {
        let words: Vec<&str> = text.split(' ').collect();
        Resource {
            plural: words[0].to_owned(),
            kind: words[1].to_owned(),
            is_namespaced: !words.contains(&"cluster"),
            aliases: vec![words[1].to_lowercase()],
            verbs: VERBS.iter().skip(usize::from(words.contains(&"computed"))).map(|v| (*v).to_owned()).collect(),
        }
    }

    fn group(name: &str, versions: &[(&str, &[&str])]) -> Group {
        let version = |(name, resources): &(&str, &[&str])| Version {
            name: (*name).to_owned(),
            doubt: None,
            resources: resources.iter().map(|text| resource(text)).collect(),
        };
        Group { name: name.to_owned(), versions: versions.iter().map(version).collect() }
    }

    fn names(catalog: &Catalog) -> Vec<String> {
        catalog.kinds().iter().map(|kind| format!("{} {}", kind.resource(), kind.version)).collect()
    }

    fn cluster() -> Catalog {
        let core = [
            "configmaps ConfigMap",
            "persistentvolumes PersistentVolume cluster",
            "componentstatuses ComponentStatus computed",
        ];
        let more = ["events Event", "persistentvolumeclaims PersistentVolumeClaim", "pods Pod"];
        preferred(vec![
            group("events.k8s.io", &[("v1", &["events Event"])]),
            group("extensions", &[("v1beta1", &["deployments Deployment", "ingresses Ingress"])]),
            group("apps", &[("v1", &["deployments Deployment"]), ("v1beta2", &["deployments Deployment", "old Old"])]),
            group("", &[("v1", &[core, more].concat())]),
        ])
        .0
    }

    #[test]
    fn pods_claims_and_volumes_come_first_and_each_kind_comes_once() {
        let expected = [
            "pods v1",
            "persistentvolumeclaims v1",
            "persistentvolumes v1",
            "configmaps v1",
            "events v1",
            "deployments.apps v1",
            "old.apps v1beta2",
            "ingresses.extensions v1beta1",
        ];
        assert_eq!(names(&cluster()), expected);
    }

    #[test]
    fn a_kind_that_is_served_twice_is_taken_where_it_is_alone() {
        let alone = preferred(vec![group("events.k8s.io", &[("v1", &["events Event"])])]).0;
        assert_eq!(names(&alone), ["events.events.k8s.io v1"]);
    }

    #[test]
    fn a_group_that_does_not_answer_is_a_warning() {
        let mut lost = group("metrics.k8s.io", &[("v1beta1", &[])]);
        lost.versions[0].doubt = Some("its server does not answer".to_owned());
        let (catalog, warnings) = preferred(vec![lost, group("", &[("v1", &["pods Pod"])])]);
        assert_eq!(names(&catalog), ["pods v1"]);
        let messages: Vec<&str> = warnings.kept().iter().map(|w| w.message.as_str()).collect();
        assert_eq!(messages, ["kinds of API group metrics.k8s.io/v1beta1 may be missing: its server does not answer"]);
    }

    #[test]
    fn users_call_kinds_by_many_names() {
        let catalog = cluster();
        let rows = [
            ("pods", Some("pods")),
            ("Pod", Some("pods")),
            ("deployment", Some("deployments.apps")),
            ("deployments.apps", Some("deployments.apps")),
            ("events", Some("events")),
            ("nothing", None),
            ("*", None),
        ];
        for (word, expected) in rows {
            assert_eq!(catalog.named(word).map(|kind| kind.resource()).as_deref(), expected, "{word}");
        }
    }

    #[test]
    fn lists_of_a_spec_get_full_names_and_keep_what_nobody_knows() {
        let list = |words: &[&str]| Some(words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        let spec =
            BackupSpec { included_resources: list(&["deployment", "unknown", "*.velero.io"]), ..BackupSpec::default() };
        let resolved = cluster().resolve(&spec);
        assert_eq!(resolved.included_resources, list(&["deployments.apps", "unknown", "*.velero.io"]));
    }
}
