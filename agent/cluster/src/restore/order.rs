//! In which order kinds come back: what others need first, what acts on others last.
//!
//! Source: Velero 1.18 `pkg/cmd/server/config/config.go`, `defaultRestorePriorities`.

use std::collections::BTreeSet;

/// Kinds that come first, in this order.
const FIRST: [&str; 23] = [
    "customresourcedefinitions.apiextensions.k8s.io",
    "namespaces",
    "storageclasses.storage.k8s.io",
    "volumesnapshotclasses.snapshot.storage.k8s.io",
    "volumesnapshotcontents.snapshot.storage.k8s.io",
    "volumesnapshots.snapshot.storage.k8s.io",
    "datauploads.velero.io",
    "persistentvolumes",
    "persistentvolumeclaims",
    "clusterroles.rbac.authorization.k8s.io",
    "roles.rbac.authorization.k8s.io",
    "serviceaccounts",
    "clusterrolebindings.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "secrets",
    "configmaps",
    "limitranges",
    "priorityclasses.scheduling.k8s.io",
    "pods",
    "replicasets.apps",
    "clusterclasses.cluster.x-k8s.io",
    "endpoints",
    "services",
];

/// Kinds that come last, in this order.
const LAST: [&str; 5] = [
    "clusterbootstraps.run.tanzu.vmware.com",
    "clusters.cluster.x-k8s.io",
    "clusterresourcesets.addons.cluster.x-k8s.io",
    "apps.kappctrl.k14s.io",
    "packageinstalls.packaging.carvel.dev",
];

/// What divides kinds that come first from those that come last.
const SEPARATOR: &str = "-";

/// Kinds that come first, and kinds that come last; all others between them by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    first: Vec<String>,
    last: Vec<String>,
}

impl Default for Order {
    fn default() -> Self {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self { first: own(&FIRST), last: own(&LAST) }
    }
}

impl Order {
    /// The order that a user gives: full names of kinds, and a `-` before those that come last.
    pub fn new(words: &[String]) -> Self {
        let mut parts = words.splitn(2, |word| word == SEPARATOR);
        let first = parts.next().unwrap_or_default().to_vec();
        Self { first, last: parts.next().unwrap_or_default().to_vec() }
    }

    /// The kinds of an archive in the order in which they come back.
    pub fn of<'a>(&self, kinds: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let kinds: BTreeSet<&str> = kinds.collect();
        let mut ordered: Vec<&str> = kinds.into_iter().collect();
        let place = |list: &[String], kind: &str| list.iter().position(|listed| listed == kind);
        ordered.sort_by_key(|kind| match (place(&self.first, kind), place(&self.last, kind)) {
            (Some(at), _) => (0, at),
            (None, None) => (1, 0),
            (None, Some(at)) => (2, at),
        });
        ordered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_come_before_what_owns_them_and_after_what_they_mount() {
        let kinds = [
            "replicasets.apps",
            "deployments.apps",
            "clusters.cluster.x-k8s.io",
            "pods",
            "zebras.example.org",
            "persistentvolumeclaims",
            "customresourcedefinitions.apiextensions.k8s.io",
        ];
        let expected = [
            "customresourcedefinitions.apiextensions.k8s.io",
            "persistentvolumeclaims",
            "pods",
            "replicasets.apps",
            "deployments.apps",
            "zebras.example.org",
            "clusters.cluster.x-k8s.io",
        ];
        assert_eq!(Order::default().of(kinds.into_iter()), expected);
    }

    #[test]
    fn a_user_may_say_what_comes_first_and_last() {
        let order = Order::new(&["b", "a", "-", "c"].map(str::to_owned));
        assert_eq!(order.of(["a", "b", "c", "d"].into_iter()), ["b", "a", "d", "c"]);
        assert_eq!(Order::new(&[]).of(["b", "a"].into_iter()), ["a", "b"]);
    }
}
