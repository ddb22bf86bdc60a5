//! The first pass over an archive: what is in it, without the objects themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

use serde_json::Value;

use super::rules::Rules;
use crate::{
    archive::{Reader, StoredItem},
    error::{Error, Result},
    kind::{ItemName, list, strings, text},
    problem::{Place, Report},
    select::resource,
};

/// Most objects of one Restore: a few hundred bytes are held for each.
pub const ITEMS_MAX: usize = 100_000;

/// Why the API server runs a pod that no object made. Source: Kubernetes, `kubernetes.io/config.mirror`.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What is known of a stored object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its `kind`.
    pub kind: String,
    /// Length of its JSON.
    pub bytes: usize,
    /// Whether it comes back by itself.
    pub is_taken: bool,
    /// Why it does not come back whatever anybody says.
    pub end: Option<End>,
    /// Objects without which it is of no use.
    pub needs: Vec<ItemName>,
}

/// Why an object has no next life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A pod or a job that has done its work.
    Done,
    /// A pod that a kubelet made from a file.
    Mirror,
}

/// What matters of a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    /// Whether it goes with its claim.
    pub is_deleted_with_claim: bool,
    /// Namespace and name of its claim.
    pub claim: Option<(String, String)>,
    /// What happens to it when its claim goes: `Retain`, `Delete`.
    pub reclaim_policy: String,
}

/// A volume of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodVolume {
    /// Its name within the pod.
    pub name: String,
    /// The claim that it is, in the pod's namespace.
    pub claim: Option<String>,
}

/// What is in an archive.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// Objects by their names.
    pub entries: BTreeMap<ItemName, Entry>,
    /// Volumes by name.
    pub volumes: BTreeMap<String, Volume>,
    /// The volume of each bound claim, by namespace and name.
    pub claims: BTreeMap<(String, String), String>,
    /// The volumes of each pod, by its namespace and name.
    pub pods: BTreeMap<(String, String), Vec<PodVolume>>,
    /// Objects that cannot be understood.
    pub report: Report,
}

impl Contents {
    /// Reads an archive to its end.
    ///
    /// # Errors
    /// An archive that is damaged, or holds more than [`ITEMS_MAX`] objects. An object that is damaged is in the report.
    pub fn read<R: Read>(mut archive: Reader<R>, rules: &Rules) -> Result<Self> {
        let mut contents = Self::default();
        while let Some(stored) = archive.next_item()? {
            // The directories of versions hold the same objects again.
            if stored.path.version.is_none() {
                contents.add(&stored, rules);
            }
            if contents.entries.len() > ITEMS_MAX {
                return Err(Error::TooMany { max: ITEMS_MAX });
            }
        }
        Ok(contents)
    }

    fn add(&mut self, stored: &StoredItem, rules: &Rules) {
        let item = stored.path.item.clone();
        let object = match parsed(stored) {
            Ok(object) => object,
            Err(why) => {
                let place = Place::of(item.namespace.as_deref().map(|namespace| rules.target(namespace)));
                self.report.errors.add(place, format!("error decoding {item} from the backup: {why}"));
                return;
            }
        };
        match item.resource.as_str() {
            resource::VOLUMES => drop(self.volumes.insert(item.name.clone(), volume(&object))),
            resource::CLAIMS => {
                let name = text(&object["spec"]["volumeName"]);
                if let Some(namespace) = item.namespace.clone().filter(|_| !name.is_empty()) {
                    self.claims.insert((namespace, item.name.clone()), name.to_owned());
                }
            }
            resource::PODS => {
                if let Some(namespace) = item.namespace.clone() {
                    self.pods.insert((namespace, item.name.clone()), pod_volumes(&object));
                }
            }
            _ => {}
        }
        let entry = Entry {
            api_version: text(&object["apiVersion"]).to_owned(),
            kind: text(&object["kind"]).to_owned(),
            bytes: stored.json.len(),
            is_taken: rules.takes(&item, &strings(&object["metadata"]["labels"])),
            end: end(&item, &object),
            needs: needs(&item, &object),
        };
        self.entries.insert(item, entry);
    }

    /// Namespaces of which there are objects, taken or not.
    pub fn namespaces(&self) -> BTreeSet<&str> {
        self.entries.keys().filter_map(|item| item.namespace.as_deref()).collect()
    }
}

/// The object of an entry, if it is the one that its path names: what is selected by its path must not be another.
///
/// # Errors
/// Why it is none, as a clause.
pub(super) fn parsed(stored: &StoredItem) -> Result<Value, String> {
    let object: Value = serde_json::from_slice(&stored.json).map_err(|error| error.to_string())?;
    let item = &stored.path.item;
    let metadata = &object["metadata"];
    let namespace = Some(text(&metadata["namespace"])).filter(|namespace| !namespace.is_empty());
    if text(&metadata["name"]) != item.name || namespace != item.namespace.as_deref() {
        let said = ItemName {
            resource: item.resource.clone(),
            namespace: namespace.map(str::to_owned),
            name: text(&metadata["name"]).to_owned(),
        };
        return Err(format!("it says that it is {said}"));
    }
    if text(&object["apiVersion"]).is_empty() || text(&object["kind"]).is_empty() {
        return Err("it does not say of which kind it is".to_owned());
    }
    Ok(object)
}

fn pod_volumes(pod: &Value) -> Vec<PodVolume> {
    let volume = |volume: &Value| PodVolume {
        name: text(&volume["name"]).to_owned(),
        claim: volume["persistentVolumeClaim"]["claimName"].as_str().map(str::to_owned),
    };
    list(&pod["spec"]["volumes"]).iter().map(volume).collect()
}

fn volume(object: &Value) -> Volume {
    let spec = &object["spec"];
    let claim = &spec["claimRef"];
    let policy = text(&spec["persistentVolumeReclaimPolicy"]);
    Volume {
        is_deleted_with_claim: policy == "Delete",
        claim: claim["name"].as_str().map(|name| (text(&claim["namespace"]).to_owned(), name.to_owned())),
        reclaim_policy: policy.to_owned(),
    }
}

/// Source: Velero `pkg/restore/restore.go`, `isCompleted`.
fn end(item: &ItemName, object: &Value) -> Option<End> {
    match item.resource.as_str() {
        resource::PODS if !object["metadata"]["annotations"][MIRROR].is_null() => Some(End::Mirror),
        resource::PODS => matches!(text(&object["status"]["phase"]), "Succeeded" | "Failed").then_some(End::Done),
        "jobs.batch" => (!object["status"]["completionTime"].is_null()).then_some(End::Done),
        _ => None,
    }
}

/// What an object brings with it: a pod its claims and its priority class, a claim its volume, and an object of somebody's
/// own kind the definition of it.
///
/// Source: Velero pkg/restore/actions. That definitions come with objects is ours: without them the objects cannot be.
fn needs(item: &ItemName, object: &Value) -> Vec<ItemName> {
    let spec = &object["spec"];
    match (item.resource.as_str(), item.namespace.as_deref()) {
        (resource::PODS, Some(namespace)) => {
            let claims = list(&spec["volumes"]).iter().map(|v| text(&v["persistentVolumeClaim"]["claimName"]));
            let claims = claims.filter(|claim| !claim.is_empty());
            let claims = claims.map(|claim| ItemName::namespaced(resource::CLAIMS, namespace, claim));
            let class = spec["priorityClassName"].as_str().filter(|class| !class.is_empty());
            claims.chain(class.map(|class| ItemName::cluster_scoped(resource::PRIORITY_CLASSES, class))).collect()
        }
        (resource::CLAIMS, Some(_)) => {
            let volume = spec["volumeName"].as_str().filter(|volume| !volume.is_empty());
            volume.map(|volume| ItemName::cluster_scoped(resource::VOLUMES, volume)).into_iter().collect()
        }
        (kind, _) => {
            // Only groups of definitions have a dot in their names.
            let has_definition = kind.split_once('.').is_some_and(|(_, group)| group.contains('.'));
            has_definition.then(|| ItemName::cluster_scoped(resource::DEFINITIONS, kind)).into_iter().collect()
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::{super::rules::tests::rules, *};
    use crate::{
        archive::Writer,
        kind::{Item, tests::kind},
    };

    /// An archive of objects, each with its kind as `pods v1 Pod`.
    pub(crate) fn archive(objects: &[(&str, Value)]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), 0).unwrap();
        for (of, object) in objects {
            writer.append(Item::new(kind(of), object.clone())).unwrap();
        }
        writer.finish().unwrap().0
    }

    pub(crate) fn contents(objects: &[(&str, Value)], spec: Value) -> Contents {
        Contents::read(Reader::new(&archive(objects)[..]), &rules(spec)).unwrap()
    }

    #[test]
    fn an_object_is_noted_with_what_it_needs() {
        let pod = json!({
            "metadata": {"name": "web", "namespace": "app"},
            "spec": {
                "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "e", "emptyDir": {}}],
                "priorityClassName": "high",
            },
        });
        let found = contents(&[("pods v1 Pod", pod)], json!({}));
        let expected = Entry {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            bytes: 209,
            is_taken: true,
            end: None,
            needs: vec![
                ItemName::namespaced("persistentvolumeclaims", "app", "data"),
                ItemName::cluster_scoped("priorityclasses.scheduling.k8s.io", "high"),
            ],
        };
        let entries: Vec<_> = found.entries.into_iter().collect();
        assert_eq!(entries, [(ItemName::namespaced("pods", "app", "web"), expected)]);
    }

    #[test]
    fn pods_and_jobs_that_are_done_and_pods_of_files_have_no_next_life() {
        let metadata = || json!({"name": "a", "namespace": "n"});
        let rows = [
            ("pods v1 Pod", json!({"metadata": metadata(), "status": {"phase": "Succeeded"}}), Some(End::Done)),
            ("pods v1 Pod", json!({"metadata": metadata(), "status": {"phase": "Failed"}}), Some(End::Done)),
            ("pods v1 Pod", json!({"metadata": metadata(), "status": {"phase": "Running"}}), None),
            (
                "pods v1 Pod",
                json!({"metadata": {"name": "a", "namespace": "n", "annotations": {MIRROR: "x"}}}),
                Some(End::Mirror),
            ),
            ("jobs batch/v1 Job", json!({"metadata": metadata(), "status": {"completionTime": "t"}}), Some(End::Done)),
            ("jobs batch/v1 Job", json!({"metadata": metadata(), "status": {}}), None),
        ];
        for (of, object, expected) in rows {
            let found = contents(&[(of, object.clone())], json!({}));
            assert_eq!(found.entries.into_values().next().unwrap().end, expected, "{object}");
        }
    }

    #[test]
    fn an_object_that_is_another_than_its_path_says_is_an_error_and_is_not_taken() {
        let item = ItemName::namespaced("secrets", "app", "a");
        let stored = |json: &str| StoredItem {
            path: crate::archive::path::ItemPath { item: item.clone(), version: None },
            json: json.as_bytes().to_vec(),
        };
        let rows = [
            (r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","namespace":"app"}}"#, None),
            (
                r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","namespace":"kube-system"}}"#,
                Some("it says that it is secrets kube-system/a"),
            ),
            (r#"{"kind":"Secret","metadata":{"name":"a"}}"#, Some("it says that it is secrets a")),
            (
                r#"{"kind":"Secret","metadata":{"name":"a","namespace":"app"}}"#,
                Some("it does not say of which kind it is"),
            ),
            ("{", Some("EOF while parsing an object at line 1 column 1")),
        ];
        for (json, expected) in rows {
            assert_eq!(parsed(&stored(json)).err().as_deref(), expected, "{json}");
        }
        let mut found = Contents::default();
        found.add(&stored("{"), &rules(json!({"namespaceMapping": {"app": "app2"}})));
        assert!(found.entries.is_empty());
        let problem = &found.report.errors.kept()[0];
        let expected = "error decoding secrets app/a from the backup: EOF while parsing an object at line 1 column 1";
        assert_eq!((&problem.place, problem.message.as_str()), (&Place::Namespace("app2".to_owned()), expected));
    }
}
