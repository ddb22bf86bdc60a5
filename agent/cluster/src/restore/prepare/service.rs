//! Services: addresses and ports that a cluster gave go, those that a person chose stay.
//!
//! Source: Velero `pkg/restore/actions/service_action.go`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    kind::{list, text},
    restore::edit::{each, remove},
};

/// What `kubectl apply` was told.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The address of a Service that has none on purpose.
const HEADLESS: &str = "None";

pub(super) fn reset(service: &mut Value, keeps_node_ports: bool) {
    if text(&service["spec"]["clusterIP"]) != HEADLESS {
        remove(service, "/spec", &["clusterIP", "clusterIPs"]);
    }
    if keeps_node_ports || text(&service["spec"]["type"]) == "ExternalName" {
        return;
    }
    let chosen = Chosen::of(service);
    if !chosen.health_check {
        remove(service, "/spec", &["healthCheckNodePort"]);
    }
    for port in each(service, "/spec/ports") {
        if !chosen.has(port) {
            remove(port, "", &["nodePort"]);
        }
    }
}

/// Node ports that a person chose.
#[derive(Debug, Default, PartialEq, Eq)]
struct Chosen {
    names: BTreeSet<String>,
    node_ports: BTreeSet<i64>,
    ports: BTreeSet<(i64, String)>,
    health_check: bool,
}

impl Chosen {
    fn of(service: &Value) -> Self {
        let mut chosen = Self::default();
        let applied = text(&service["metadata"]["annotations"][LAST_APPLIED]);
        if let Ok(applied) = serde_json::from_str::<Value>(applied) {
            chosen.health_check = number(&applied["spec"]["healthCheckNodePort"]).is_some();
            for port in list(&applied["spec"]["ports"]) {
                let Some(node_port) = number(&port["nodePort"]) else { continue };
                match port["name"].as_str() {
                    Some(name) => drop(chosen.names.insert(name.to_owned())),
                    None => drop(chosen.node_ports.insert(node_port)),
                }
            }
        }
        for set in list(&service["metadata"]["managedFields"]) {
            let spec = &set["fieldsV1"]["f:spec"];
            chosen.health_check |= !spec["f:healthCheckNodePort"].is_null();
            for (key, fields) in spec["f:ports"].as_object().into_iter().flatten() {
                let Some(key) = key.strip_prefix("k:") else { continue };
                let key: Value = serde_json::from_str(key).unwrap_or_default();
                if let (Some(port), false) = (number(&key["port"]), fields["f:nodePort"].is_null()) {
                    chosen.ports.insert((port, text(&key["protocol"]).to_owned()));
                }
            }
        }
        chosen
    }

    fn has(&self, port: &Value) -> bool {
        let named = port["name"].as_str();
        let is_applied = match named {
            Some(name) => self.names.contains(name),
            None => number(&port["nodePort"]).is_some_and(|node_port| self.node_ports.contains(&node_port)),
        };
        let protocol = text(&port["protocol"]).to_owned();
        is_applied || number(&port["port"]).is_some_and(|number| self.ports.contains(&(number, protocol)))
    }
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().filter(|number| *number > 0)
}
