//! The container that keeps a restored pod from starting before its volumes have their files.
//!
//! Source: Velero `pkg/restore/actions/pod_volume_restore_action.go`.

use serde_json::{Map, Value, json};

use crate::kind::{list, text};

/// Its name, and that which Velero 1.9 used: one that was saved with the pod is dropped.
pub const NAMES: [&str; 2] = ["restore-wait", "restic-wait"];

/// Below it, each volume is mounted under its name.
pub const MOUNT: &str = "/restores";

/// The program in the image.
const COMMAND: &str = "/velero-restore-helper";

/// A user that is nobody, for pods that may not run as root and do not say as whom they run.
const USER: i64 = 1000;

/// What the container is.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreWait {
    /// Its image.
    pub image: String,
    /// Its program; [`COMMAND`] where it is empty.
    pub command: Vec<String>,
    /// Requests and limits, as Kubernetes writes them.
    pub resources: Value,
    /// How it runs; where nothing is said, like the pod that it waits for.
    pub security: Option<Value>,
}

impl RestoreWait {
    /// The usual one. Source: Velero `pkg/restore/actions/pod_volume_restore_action.go`, defaults.
    pub fn new(image: &str) -> Self {
        let resources = json!({ "cpu": "100m", "memory": "128Mi" });
        Self {
            image: image.to_owned(),
            command: Vec::new(),
            resources: json!({ "requests": resources, "limits": resources }),
            security: None,
        }
    }

    /// The settings of a `ConfigMap`. Keys that are not known are left alone, as Velero does.
    ///
    /// # Errors
    /// A security context that is no YAML, as a clause.
    pub fn configured(mut self, data: &std::collections::BTreeMap<String, String>) -> Result<Self, String> {
        let value = |key: &str| data.get(key).filter(|value| !value.is_empty());
        if let Some(image) = value("image") {
            self.image.clone_from(image);
        }
        if let Some(command) = value("command") {
            self.command = vec![command.clone()];
        }
        let amounts = [
            ("requests", "cpu", "cpuRequest"),
            ("requests", "memory", "memRequest"),
            ("limits", "cpu", "cpuLimit"),
            ("limits", "memory", "memLimit"),
        ];
        for (part, resource, key) in amounts {
            if let Some(amount) = value(key) {
                self.resources[part][resource] = Value::String(amount.clone());
            }
        }
        self.security = configured_security(data)?.or(self.security);
        Ok(self)
    }

    /// The container for a pod's spec and some of its volumes.
    pub(super) fn container(&self, spec: &Value, volumes: &[String], restore_uid: &str) -> Value {
        let mounts = volumes.iter().map(|volume| json!({ "name": volume, "mountPath": format!("{MOUNT}/{volume}") }));
        let command = if self.command.is_empty() { vec![COMMAND.to_owned()] } else { self.command.clone() };
        let field = |path: &str| json!({ "fieldRef": { "apiVersion": "v1", "fieldPath": path } });
        json!({
            "name": NAMES[0],
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": command,
            "args": [restore_uid],
            "env": [
                { "name": "POD_NAMESPACE", "valueFrom": field("metadata.namespace") },
                { "name": "POD_NAME", "valueFrom": field("metadata.name") },
            ],
            "resources": self.resources,
            "volumeMounts": mounts.collect::<Vec<_>>(),
            "securityContext": self.security.clone().unwrap_or_else(|| security(spec, volumes)),
        })
    }
}

/// How the container runs: as the pod's own container that mounts the volumes, since what that may read, this may. Where
/// nobody says as whom the pod runs, as root without rights but that of reading, unless the pod may not: then as nobody.
///
/// Velero takes a user of its own, who cannot look into a volume whose root is closed to others, and waits for ever.
fn security(spec: &Value, volumes: &[String]) -> Value {
    let mounts = |container: &&Value| {
        list(&container["volumeMounts"]).iter().any(|mount| volumes.iter().any(|volume| text(&mount["name"]) == volume))
    };
    let containers = list(&spec["containers"]);
    let container = containers.iter().find(mounts).or_else(|| containers.first());
    let own = container.map(|container| &container["securityContext"]);
    let says =
        |key: &str| own.map(|own| &own[key]).filter(|value| !value.is_null()).or(Some(&spec["securityContext"][key]));
    let given = |key: &str| says(key).filter(|value| !value.is_null()).cloned();
    let mut security: Map<String, Value> = Map::new();
    for key in ["runAsUser", "runAsGroup", "runAsNonRoot", "seLinuxOptions"] {
        security.extend(given(key).map(|value| (key.to_owned(), value)));
    }
    let is_root = match (given("runAsUser"), given("runAsNonRoot")) {
        (Some(user), _) => user == 0,
        (None, Some(Value::Bool(true))) => {
            security.insert("runAsUser".to_owned(), USER.into());
            false
        }
        (None, _) => {
            security.insert("runAsUser".to_owned(), 0.into());
            true
        }
    };
    let capabilities =
        if is_root { json!({ "drop": ["ALL"], "add": ["DAC_OVERRIDE"] }) } else { json!({ "drop": ["ALL"] }) };
    security.insert("capabilities".to_owned(), capabilities);
    security.insert("allowPrivilegeEscalation".to_owned(), false.into());
    security.insert("seccompProfile".to_owned(), json!({ "type": "RuntimeDefault" }));
    Value::Object(security)
}

/// Source: Velero `pkg/restore/actions/pod_volume_restore_action.go`, `getSecurityContext`.
fn configured_security(data: &std::collections::BTreeMap<String, String>) -> Result<Option<Value>, String> {
    let value = |key: &str| data.get(key).filter(|value| !value.is_empty());
    if let Some(whole) = value("secCtx") {
        let parsed: Value = serde_saphyr::from_str(whole).map_err(|error| format!("secCtx: {error}"))?;
        return Ok(Some(parsed));
    }
    let mut security = Map::new();
    for (key, field) in [("secCtxRunAsUser", "runAsUser"), ("secCtxRunAsGroup", "runAsGroup")] {
        if let Some(number) = value(key) {
            let number: i64 = number.parse().map_err(|error| format!("{key}: {error}"))?;
            security.insert(field.to_owned(), number.into());
        }
    }
    if let Some(allowed) = value("secCtxAllowPrivilegeEscalation") {
        security.insert("allowPrivilegeEscalation".to_owned(), (allowed == "true").into());
    }
    Ok((!security.is_empty()).then_some(Value::Object(security)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_runs_as_whoever_may_read_the_volume() {
        let volumes = ["data".to_owned()];
        let container =
            |context: Value| json!({"name": "a", "volumeMounts": [{"name": "data"}], "securityContext": context});
        let rows = [
            (json!({"containers": [container(json!(null))]}), json!([0, null, ["DAC_OVERRIDE"]])),
            (json!({"containers": [container(json!({"runAsUser": 999}))]}), json!([999, null, null])),
            (
                json!({"containers": [container(json!(null))], "securityContext": {"runAsUser": 5}}),
                json!([5, null, null]),
            ),
            (
                json!({"containers": [container(json!({"runAsUser": 7}))], "securityContext": {"runAsUser": 5, "runAsNonRoot": true}}),
                json!([7, true, null]),
            ),
            (
                json!({"containers": [container(json!(null))], "securityContext": {"runAsNonRoot": true}}),
                json!([1000, true, null]),
            ),
            (
                json!({"containers": [{"name": "b", "securityContext": {"runAsUser": 1}}, container(json!({"runAsUser": 2}))]}),
                json!([2, null, null]),
            ),
        ];
        for (spec, expected) in rows {
            let found = security(&spec, &volumes);
            assert_eq!(
                json!([found["runAsUser"], found["runAsNonRoot"], found["capabilities"]["add"]]),
                expected,
                "{spec}"
            );
        }
    }

    #[test]
    fn a_config_map_says_what_it_is() {
        let data = [("image", "mirror/trysail:1"), ("cpuLimit", "1"), ("secCtxRunAsUser", "2000"), ("unknown", "x")];
        let data: BTreeMap<String, String> = data.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let wait = RestoreWait::new("trysail:1").configured(&data).unwrap();
        let expected = RestoreWait {
            image: "mirror/trysail:1".to_owned(),
            command: Vec::new(),
            resources: json!({"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}),
            security: Some(json!({"runAsUser": 2000})),
        };
        assert_eq!(wait, expected);
        let wrong = BTreeMap::from([("secCtxRunAsUser".to_owned(), "me".to_owned())]);
        let error = RestoreWait::new("a").configured(&wrong).unwrap_err();
        assert_eq!(error, "secCtxRunAsUser: invalid digit found in string");
    }
}
