//! What our service accounts asked of an API server: its audit log, of which each request is one line.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// The group of all service accounts of the namespace in which tests install.
const ACCOUNTS: &str = "system:serviceaccounts:velero";

/// What comes before the name of one of them as a user.
const USER: &str = "system:serviceaccount:velero:";

/// The log, and what is written into it.
const LOG: &str = "audit.jsonl";
const POLICY: &str = "audit-policy.json";

/// One thing that an account did or tried, as RBAC knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// The service account.
    pub account: String,
    /// The verb of RBAC.
    pub verb: String,
    /// The API group; empty for the first one.
    pub group: String,
    /// The plural name of the kind, with `/` and the subresource where there is one.
    pub resource: String,
    /// Empty for what is cluster-wide, and for requests over all namespaces.
    pub namespace: String,
    /// Whether the server refused it for want of a right.
    pub is_refused: bool,
}

/// Writes what is recorded: who did what, without contents, of our accounts alone.
pub(crate) fn write_policy(logs: &Path) -> Result<()> {
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [{ "level": "Metadata", "userGroups": [ACCOUNTS] }, { "level": "None" }],
    });
    fs::write(logs.join(POLICY), policy.to_string()).context("write the policy of the audit log")
}

/// Flags of the API server.
pub(crate) fn flags(logs: &Path) -> [String; 2] {
    let flag = |name: &str, file: &str| format!("--audit-{name}={}", logs.join(file).display());
    [flag("policy-file", POLICY), flag("log-path", LOG)]
}

/// All requests so far, each of which is listed once.
pub fn requests(logs: &Path) -> Result<BTreeSet<Request>> {
    let text = fs::read_to_string(logs.join(LOG)).context("read the audit log")?;
    let mut found = BTreeSet::new();
    // The last line may be half written.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let event: Value = serde_json::from_str(line).context("a line of the audit log")?;
        found.extend(of_event(&event));
    }
    Ok(found)
}

/// What one event used. Discovery and the like are about no object, and RBAC lets everybody do these.
fn of_event(event: &Value) -> Vec<Request> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(account) = text("/user/username").strip_prefix(USER).map(str::to_owned) else { return Vec::new() };
    if event.get("objectRef").is_none() {
        return Vec::new();
    }
    let (resource, part) = (text("/objectRef/resource"), text("/objectRef/subresource"));
    let status = event.pointer("/responseStatus/code").and_then(Value::as_u64);
    let request = |verb: &str| Request {
        account: account.clone(),
        verb: verb.to_owned(),
        group: text("/objectRef/apiGroup"),
        resource: if part.is_empty() { resource.clone() } else { format!("{resource}/{part}") },
        namespace: text("/objectRef/namespace"),
        is_refused: status == Some(403),
    };
    let verb = text("/verb");
    let mut requests = vec![request(&verb)];
    // A server-side apply of what was not there needs the right to create it, too.
    if verb == "patch" && status == Some(201) {
        requests.push(request("create"));
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_becomes_what_rbac_asks_for() {
        let event = |user: &str, verb: &str, code: u16, object: &Value| {
            json!({
                "user": { "username": user }, "verb": verb, "objectRef": object, "responseStatus": { "code": code },
            })
        };
        let lease = json!({ "resource": "leases", "apiGroup": "coordination.k8s.io", "namespace": "velero" });
        let told = |event: &Value| {
            let requests = of_event(event);
            let tell = |r: &Request| {
                format!("{} {} {}/{} {:?} {}", r.account, r.verb, r.group, r.resource, r.namespace, r.is_refused)
            };
            requests.iter().map(tell).collect::<Vec<_>>()
        };
        assert_eq!(
            told(&event("system:serviceaccount:velero:node-agent", "patch", 201, &lease)),
            [
                r#"node-agent patch coordination.k8s.io/leases "velero" false"#,
                r#"node-agent create coordination.k8s.io/leases "velero" false"#
            ]
        );
        let exec = json!({ "resource": "pods", "subresource": "exec", "namespace": "app" });
        assert_eq!(
            told(&event("system:serviceaccount:velero:velero", "get", 403, &exec)),
            [r#"velero get /pods/exec "app" true"#]
        );
        assert_eq!(told(&event("administrator", "get", 200, &exec)), [""; 0]);
        assert_eq!(
            told(&json!({ "user": { "username": "system:serviceaccount:velero:velero" }, "verb": "get" })),
            [""; 0]
        );
    }
}
