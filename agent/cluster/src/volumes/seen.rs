//! What of a backup's objects decides about volumes: the few fields of pods, claims and volumes that are asked for.
//!
//! Objects pass by once; these are kept.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use trysail_api::{
    names::{annotation, own},
    selector::Labels,
};

use super::policy::Properties;
use crate::{
    kind::{Item, list, strings, text},
    select::resource,
};

/// The label of a node that an affinity names. Source: Kubernetes, well-known labels.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// Pods, claims and volumes of a backup.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub(super) pods: Vec<Pod>,
    pub(super) claims: BTreeMap<(String, String), Claim>,
    pub(super) volumes: BTreeMap<String, Volume>,
}

#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) node: String,
    pub(super) phase: String,
    /// The names to read, in the order in which they are written; absent where nobody wrote any.
    pub(super) asked: Option<Vec<String>>,
    pub(super) opted_out: Vec<String>,
    pub(super) exclude: Option<String>,
    pub(super) volumes: Vec<PodVolume>,
}

#[derive(Debug, Clone)]
pub(super) struct PodVolume {
    pub(super) name: String,
    pub(super) claim: Option<String>,
    pub(super) host_path: Option<String>,
    pub(super) is_mounted: bool,
    pub(super) properties: Properties,
}

#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) uid: String,
    pub(super) volume: String,
    pub(super) phase: String,
    pub(super) is_block: bool,
    pub(super) labels: Labels,
    pub(super) exclude: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Volume {
    pub(super) host_path: Option<String>,
    pub(super) local_path: Option<String>,
    pub(super) node: Option<String>,
    pub(super) is_block: bool,
    pub(super) properties: Properties,
}

impl Volume {
    /// The directory of a node that it is.
    pub(super) fn path(&self) -> Option<&str> {
        self.host_path.as_deref().or(self.local_path.as_deref())
    }
}

impl Seen {
    /// Takes note of an object; of most kinds nothing.
    pub fn observe(&mut self, item: &Item) {
        let (namespace, name) = (item.namespace().unwrap_or_default().to_owned(), item.name().to_owned());
        match item.kind.resource().as_str() {
            resource::PODS => self.pods.push(pod(namespace, name, &item.object)),
            resource::CLAIMS => drop(self.claims.insert((namespace, name), claim(&item.object))),
            resource::VOLUMES => drop(self.volumes.insert(name, volume(&item.object["spec"]))),
            _ => {}
        }
    }
}

fn pod(namespace: String, name: String, object: &Value) -> Pod {
    let spec = &object["spec"];
    let containers = list(&spec["containers"]).iter();
    let mounts = containers.flat_map(|container| list(&container["volumeMounts"]));
    let mounted: BTreeSet<&str> = mounts.map(|mount| text(&mount["name"])).collect();
    let volumes = list(&spec["volumes"]).iter().map(|volume| {
        let name = text(&volume["name"]);
        PodVolume {
            claim: claim_of(text(&object["metadata"]["name"]), volume),
            host_path: volume["hostPath"]["path"].as_str().map(str::to_owned),
            is_mounted: mounted.contains(name),
            properties: Properties::of_pod_volume(volume),
            name: name.to_owned(),
        }
    });
    let annotations = strings(&object["metadata"]["annotations"]);
    Pod {
        namespace,
        name,
        uid: text(&object["metadata"]["uid"]).to_owned(),
        node: text(&spec["nodeName"]).to_owned(),
        phase: text(&object["status"]["phase"]).to_owned(),
        asked: annotations.get(annotation::BACKUP_VOLUMES).map(|list| names_of(list)),
        opted_out: annotations.get(annotation::BACKUP_VOLUMES_EXCLUDES).map(|l| names_of(l)).unwrap_or_default(),
        exclude: annotations.get(own::EXCLUDE).cloned(),
        volumes: volumes.collect(),
    }
}

/// An ephemeral volume has a claim too, named after pod and volume. Source: Kubernetes, generic ephemeral volumes.
fn claim_of(pod: &str, volume: &Value) -> Option<String> {
    if !volume["ephemeral"].is_null() {
        return Some(format!("{pod}-{}", text(&volume["name"])));
    }
    volume["persistentVolumeClaim"]["claimName"].as_str().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Commas divide, and spaces stay: as in Velero, ` a` is not the volume `a`.
fn names_of(list: &str) -> Vec<String> {
    list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn claim(object: &Value) -> Claim {
    Claim {
        uid: text(&object["metadata"]["uid"]).to_owned(),
        volume: text(&object["spec"]["volumeName"]).to_owned(),
        phase: text(&object["status"]["phase"]).to_owned(),
        is_block: text(&object["spec"]["volumeMode"]) == "Block",
        labels: strings(&object["metadata"]["labels"]),
        exclude: strings(&object["metadata"]["annotations"]).remove(own::EXCLUDE),
    }
}

fn volume(spec: &Value) -> Volume {
    Volume {
        host_path: spec["hostPath"]["path"].as_str().map(str::to_owned),
        local_path: spec["local"]["path"].as_str().map(str::to_owned),
        node: node_of(spec),
        is_block: text(&spec["volumeMode"]) == "Block",
        properties: Properties::of_volume(spec),
    }
}

/// The one node that a volume's affinity names by its host name; none where it names none or several.
fn node_of(spec: &Value) -> Option<String> {
    let terms = list(&spec["nodeAffinity"]["required"]["nodeSelectorTerms"]);
    let rules = terms.iter().flat_map(|term| list(&term["matchExpressions"]));
    let mut rules = rules.filter(|rule| text(&rule["key"]) == HOSTNAME && text(&rule["operator"]) == "In");
    match (rules.next().map(|rule| list(&rule["values"])), rules.next()) {
        (Some([node]), None) => node.as_str().map(str::to_owned),
        _ => None,
    }
}
