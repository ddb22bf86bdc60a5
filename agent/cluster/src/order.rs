//! The order in which a user wants objects of a kind to be taken (`spec.orderedResources`).
//!
//! The named objects are read first, one by one, and the rest of their kind follows as it is listed: no list must be held
//! in memory to be sorted.

use std::collections::BTreeMap;

use crate::kind::{ItemName, Kind};

/// Names by kind, in the order that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    names: BTreeMap<String, Vec<String>>,
}

impl Order {
    /// From `orderedResources`: by plural name of a kind, `namespace/name` or `name` with commas between.
    pub fn new(ordered: Option<&BTreeMap<String, String>>) -> Self {
        let split = |list: &String| list.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect();
        Self { names: ordered.into_iter().flatten().map(|(kind, list)| (kind.clone(), split(list))).collect() }
    }

    /// The objects of a kind that come first. A name without a namespace, of a kind in namespaces, names nothing and is
    /// left out, as is a namespace of a kind that has none; see [`Order::unusable`].
    pub fn first(&self, kind: &Kind) -> Vec<ItemName> {
        self.of(kind).filter_map(|name| item_name(kind, name)).collect()
    }

    /// What was asked to come first, and names no object.
    pub fn unusable(&self, kind: &Kind) -> Vec<String> {
        self.of(kind).filter(|name| item_name(kind, name).is_none()).cloned().collect()
    }

    /// By plural name, as Velero's documents show it; by full name too.
    fn of(&self, kind: &Kind) -> impl Iterator<Item = &String> {
        self.names.get(&kind.plural).or_else(|| self.names.get(&kind.resource())).into_iter().flatten()
    }
}

fn item_name(kind: &Kind, text: &str) -> Option<ItemName> {
    let resource = kind.resource();
    match (kind.is_namespaced, text.split_once('/')) {
        (true, Some((namespace, name))) => Some(ItemName::namespaced(&resource, namespace, name)),
        (false, None) => Some(ItemName::cluster_scoped(&resource, text)),
        (true, None) | (false, Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::kind;

    fn order(pairs: &[(&str, &str)]) -> Order {
        Order::new(Some(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()))
    }

    #[test]
    fn named_objects_come_first_in_the_order_in_which_they_are_named() {
        let order = order(&[("pods", "n/b, n/a,,m/c"), ("persistentvolumes", "pv2,pv1")]);
        let pods = [("n", "b"), ("n", "a"), ("m", "c")].map(|(n, name)| ItemName::namespaced("pods", n, name));
        assert_eq!(order.first(&kind("pods v1 Pod")), pods);
        let volumes = ["pv2", "pv1"].map(|name| ItemName::cluster_scoped("persistentvolumes", name));
        assert_eq!(order.first(&kind("*persistentvolumes v1 PersistentVolume")), volumes);
        assert_eq!(order.first(&kind("services v1 Service")), []);
    }

    #[test]
    fn a_name_that_cannot_be_of_its_kind_is_told() {
        let order = order(&[("pods", "a,n/b"), ("persistentvolumes", "n/pv")]);
        assert_eq!(order.unusable(&kind("pods v1 Pod")), ["a"]);
        assert_eq!(order.unusable(&kind("*persistentvolumes v1 PersistentVolume")), ["n/pv"]);
    }

    #[test]
    fn kinds_outside_the_core_group_are_named_by_plural_or_full_name() {
        for key in ["deployments", "deployments.apps"] {
            let first = order(&[(key, "n/a")]).first(&kind("deployments apps/v1 Deployment"));
            assert_eq!(first, [ItemName::namespaced("deployments.apps", "n", "a")], "{key}");
        }
    }
}
