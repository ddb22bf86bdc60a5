//! The rights that rendered roles give, beside those that were used: what is missing, and what is there in vain. Pure.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::audit::Request;

/// One verb on one kind, of one account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The service account that has it.
    pub account: String,
    /// The namespace in which it counts; empty for everywhere.
    pub namespace: String,
    /// The verb.
    pub verb: String,
    /// The API group, or `*`.
    pub group: String,
    /// The plural name of the kind, or `*`.
    pub resource: String,
}

impl Right {
    /// `account: verb group/resource`, and where it does not count everywhere, its namespace.
    pub fn told(&self) -> String {
        let place = if self.namespace.is_empty() { String::new() } else { format!(" in {}", self.namespace) };
        format!("{}: {} {}/{}{place}", self.account, self.verb, self.group, self.resource)
    }

    fn covers(&self, request: &Request) -> bool {
        let fits = |pattern: &str, word: &str| pattern == "*" || pattern == word;
        self.account == request.account
            && self.verb == request.verb
            && fits(&self.group, &request.group)
            && fits(&self.resource, &request.resource)
            && (self.namespace.is_empty() || self.namespace == request.namespace)
    }

    /// How much it leaves open: the kind, the group, the place.
    fn width(&self) -> u8 {
        u8::from(self.resource == "*") * 4 + u8::from(self.group == "*") * 2 + u8::from(self.namespace.is_empty())
    }
}

/// All rights that the roles among these objects give to service accounts by the bindings among them.
pub fn given(objects: &[Value]) -> Result<BTreeSet<Right>> {
    let mut rights = BTreeSet::new();
    for binding in objects.iter().filter(|object| text(object, "/kind").ends_with("RoleBinding")) {
        let (kind, name) = (text(binding, "/roleRef/kind"), text(binding, "/roleRef/name"));
        let place = text(binding, "/metadata/namespace");
        let is_role = |object: &&Value| {
            text(object, "/kind") == kind
                && text(object, "/metadata/name") == name
                && (kind == "ClusterRole" || text(object, "/metadata/namespace") == place)
        };
        let role = objects.iter().find(is_role).with_context(|| format!("a binding names {kind} {name}"))?;
        for subject in texts_of(binding, "/subjects")? {
            for rule in texts_of(role, "/rules")? {
                add(&mut rights, text(subject, "/name"), place, rule)?;
            }
        }
    }
    Ok(rights)
}

fn add(rights: &mut BTreeSet<Right>, account: &str, namespace: &str, rule: &Value) -> Result<()> {
    for verb in texts_of(rule, "/verbs")? {
        for group in texts_of(rule, "/apiGroups")? {
            for resource in texts_of(rule, "/resources")? {
                let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                rights.insert(Right {
                    account: account.to_owned(),
                    namespace: namespace.to_owned(),
                    verb: word(verb),
                    group: word(group),
                    resource: word(resource),
                });
            }
        }
    }
    Ok(())
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn texts_of<'a>(object: &'a Value, pointer: &str) -> Result<&'a Vec<Value>> {
    object.pointer(pointer).and_then(Value::as_array).with_context(|| format!("{pointer} of {object} is a list"))
}

/// Requests that no right covers.
pub fn missing<'a>(given: &BTreeSet<Right>, requests: &'a BTreeSet<Request>) -> Vec<&'a Request> {
    requests.iter().filter(|request| !given.iter().any(|right| right.covers(request))).collect()
}

/// Rights without which each request would still be granted. A request counts for the narrowest right that covers it.
pub fn unused<'a>(given: &'a BTreeSet<Right>, requests: &BTreeSet<Request>) -> Vec<&'a Right> {
    let narrowest = |request| given.iter().filter(|right| right.covers(request)).min_by_key(|right| right.width());
    let used: BTreeSet<&Right> = requests.iter().filter_map(narrowest).collect();
    given.iter().filter(|right| !used.contains(right)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn roles() -> BTreeSet<Right> {
        let role = |kind: &str, namespace: &str, group: &str, resource: &str, verbs: &[&str]| {
            json!({
                "kind": kind, "metadata": { "name": "a", "namespace": namespace },
                "rules": [{ "apiGroups": [group], "resources": [resource], "verbs": verbs }],
            })
        };
        let binding = |kind: &str, namespace: &str| {
            json!({
                "kind": format!("{kind}Binding"), "metadata": { "name": "b", "namespace": namespace },
                "roleRef": { "kind": kind, "name": "a" }, "subjects": [{ "kind": "ServiceAccount", "name": "server" }],
            })
        };
        given(&[
            role("ClusterRole", "", "*", "*", &["get", "list"]),
            binding("ClusterRole", ""),
            role("Role", "velero", "", "secrets", &["get", "delete"]),
            binding("Role", "velero"),
        ])
        .unwrap()
    }

    fn request(verb: &str, resource: &str, namespace: &str) -> Request {
        let [account, verb, resource, namespace] = ["server", verb, resource, namespace].map(str::to_owned);
        Request { account, verb, group: String::new(), resource, namespace, is_refused: false }
    }

    #[test]
    fn what_no_role_gives_is_missing() {
        let requests = [
            request("get", "pods", "app"),
            request("delete", "secrets", "velero"),
            request("delete", "secrets", "app"),
            request("watch", "pods", ""),
        ];
        let requests: BTreeSet<Request> = requests.into();
        let missing: Vec<_> = missing(&roles(), &requests).into_iter().map(|r| (&*r.verb, &*r.namespace)).collect();
        assert_eq!(missing, [("delete", "app"), ("watch", "")]);
    }

    #[test]
    fn a_right_is_unused_where_narrower_ones_or_others_cover_all_requests() {
        let requests = [request("get", "secrets", "velero"), request("list", "pods", "app")].into();
        let unused: Vec<String> = unused(&roles(), &requests).into_iter().map(Right::told).collect();
        assert_eq!(unused, ["server: get */*", "server: delete /secrets in velero"]);
    }
}
