//! Paths of objects in an archive, made and understood.

use crate::kind::{Item, ItemName};

/// What stands after a version that the API server preferred.
const PREFERRED: &str = "-preferredversion";

/// Characters that would make an object's name another path. Source: Kubernetes, path segment names, which have none.
const SEPARATORS: [char; 2] = ['/', '\0'];

/// Where an object lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemPath {
    /// Which object.
    pub item: ItemName,
    /// The directory of a version; none for the classic path, which every reader knows.
    pub version: Option<Version>,
}

/// A directory of a version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Such as `v1`.
    pub name: String,
    /// Whether the API server preferred it.
    pub is_preferred: bool,
}

impl ItemPath {
    /// The two paths of an object: the classic one, and that of its version, which is the preferred one.
    pub fn of(item: &Item) -> [Self; 2] {
        let version = Version { name: item.kind.version.clone(), is_preferred: true };
        [None, Some(version)].map(|version| Self { item: item.full_name(), version })
    }

    /// The path as text.
    pub fn text(&self) -> String {
        let ItemName { resource, namespace, name } = &self.item;
        let version = self.version.as_ref().map_or_else(String::new, |version| {
            let preferred = if version.is_preferred { PREFERRED } else { "" };
            format!("{}{preferred}/", version.name)
        });
        match namespace {
            Some(namespace) => format!("resources/{resource}/{version}namespaces/{namespace}/{name}.json"),
            None => format!("resources/{resource}/{version}cluster/{name}.json"),
        }
    }

    /// Understands a path; none for what is no object's. The path must be clean ([`is_clean`]).
    pub fn parse(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("resources/")?.strip_suffix(".json")?;
        let parts: Vec<&str> = rest.split('/').collect();
        let named = |resource: &str, namespace: Option<&str>, name: &str, version| Self {
            item: ItemName {
                resource: resource.to_owned(),
                namespace: namespace.map(str::to_owned),
                name: name.to_owned(),
            },
            version,
        };
        match parts[..] {
            [_, .., ""] => None,
            [resource, "cluster", name] => Some(named(resource, None, name, None)),
            [resource, "namespaces", namespace, name] => Some(named(resource, Some(namespace), name, None)),
            [resource, version, "cluster", name] => Some(named(resource, None, name, Some(Version::parse(version)))),
            [resource, version, "namespaces", namespace, name] => {
                Some(named(resource, Some(namespace), name, Some(Version::parse(version))))
            }
            _ => None,
        }
    }
}

impl Version {
    fn parse(text: &str) -> Self {
        let preferred = text.strip_suffix(PREFERRED);
        Self { name: preferred.unwrap_or(text).to_owned(), is_preferred: preferred.is_some() }
    }
}

/// Whether a path stays below the place where an archive is unpacked, and is written in the one way in which it can be.
pub fn is_clean(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(is_segment)
}

/// Why an object has no path; none if it has one.
pub(crate) fn problem(item: &ItemName) -> Option<&'static str> {
    let segments = [Some(&item.name), item.namespace.as_ref(), Some(&item.resource)];
    let is_bad = |segment: &&String| segment.contains(SEPARATORS) || !is_segment(segment);
    segments.iter().flatten().any(is_bad).then_some("its name is no part of a path")
}

fn is_segment(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_objects_are_understood_and_written_alike() {
        let paths = [
            "resources/pods/namespaces/app1/web-0.json",
            "resources/pods/v1-preferredversion/namespaces/app1/web-0.json",
            "resources/deployments.apps/v1beta1/namespaces/app1/web.json",
            "resources/persistentvolumes/cluster/pv.json",
            "resources/persistentvolumes/v1-preferredversion/cluster/pv.json",
            "resources/configmaps/namespaces/app1/kube-root-ca.crt.json",
            "resources/clusterroles.rbac.authorization.k8s.io/cluster/system:node.json",
        ];
        for path in paths {
            assert_eq!(ItemPath::parse(path).map(|p| p.text()).as_deref(), Some(path));
        }
    }

    #[test]
    fn a_namespace_or_object_may_be_called_like_a_directory() {
        let parsed = ItemPath::parse("resources/pods/namespaces/cluster/cluster.json").unwrap();
        assert_eq!(parsed.item, ItemName::namespaced("pods", "cluster", "cluster"));
    }

    #[test]
    fn other_paths_are_no_objects() {
        let paths = [
            "metadata/version",
            "resources/pods",
            "resources/pods/namespaces/app1/web",
            "resources/pods/elsewhere/web.json",
            "resources/pods/namespaces/app1/.json",
            "resources/a/b/c/d/e/f.json",
            "other/pods/cluster/a.json",
        ];
        for path in paths {
            assert_eq!(ItemPath::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_not_clean() {
        for path in ["/etc/passwd", "a/../b", "..", "a//b", "./a", "a/.", "a/", "", "a\0b"] {
            assert!(!is_clean(path), "{path:?}");
        }
        for path in ["a", "a/b.json", "a/..b/c..", "a/...", "resources/roles/cluster/system:node.json"] {
            assert!(is_clean(path), "{path:?}");
        }
    }
}
