//! Whether a claim can be filled now, by what the cluster shows of it. Pure.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt as _;
use trysail_api::{
    names::{finalizer, own},
    pod_volume_restore::PodVolumeRestore,
};

use super::{
    super::wish::Wish,
    select::{ClaimName, spoken},
};

/// What there is.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub(super) claim: Option<PersistentVolumeClaim>,
    /// Names of pods that write into it.
    pub(super) writers: Vec<String>,
    /// PodVolumeRestores that fill it, or have.
    pub(super) transfers: Vec<PodVolumeRestore>,
}

/// What is to be done with a claim. Sentences name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// It cannot be filled yet.
    Await(String),
    /// It is not to be filled.
    Leave(String),
    /// It never can be.
    Refuse(String),
    /// It can be filled.
    Fill {
        /// UID of the claim.
        uid: String,
    },
}

pub(super) fn decide(name: &ClaimName, found: &Found, wish: &Wish) -> Step {
    let spoken = spoken(name);
    let Some(claim) = &found.claim else {
        return Step::Await(format!(
            "{spoken} is not there, and a restore of data alone makes no objects: apply it and restore again, or leave out annotation {}",
            own::DATA_ONLY
        ));
    };
    if claim.metadata.deletion_timestamp.is_some() {
        return Step::Await(format!("{spoken} is being deleted"));
    }
    let remembered = claim.annotations().get(own::RESTORED_ONCE);
    if wish.once.is_some() && wish.once.as_ref() == remembered {
        let id = wish.once.as_deref().unwrap_or_default();
        return Step::Leave(format!(
            "{spoken} is left alone: it was restored once as {id:?} (annotation {}); another id restores it again",
            own::RESTORED_ONCE
        ));
    }
    let spec = claim.spec.clone().unwrap_or_default();
    if spec.volume_mode.as_deref() == Some("Block") {
        return Step::Refuse(format!("{spoken} is not restored: it is a raw block device, which has no files"));
    }
    if claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Lost") {
        return Step::Refuse(format!("{spoken} is not restored: its volume is lost"));
    }
    let holds = |one: &&PodVolumeRestore| one.finalizers().iter().any(|name| name == finalizer::POD_VOLUME);
    if let Some(other) = found.transfers.iter().find(holds) {
        return Step::Await(format!("{spoken} is being filled by PodVolumeRestore {}", other.name_any()));
    }
    match found.writers.as_slice() {
        [] => Step::Fill { uid: claim.uid().unwrap_or_default() },
        writers if wish.overwrite => over_writers(&spoken, claim, writers),
        writers => Step::Await(format!(
            "{spoken} is mounted for writing by {}: scale down what owns it until the restore has ended; annotation {}: \"true\" writes \
             under it",
            pods(writers),
            own::OVERWRITE
        )),
    }
}

/// Under pods that write a claim can be filled where a second pod can mount it.
fn over_writers(spoken: &str, claim: &PersistentVolumeClaim, writers: &[String]) -> Step {
    let modes = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_ref());
    if modes.is_some_and(|modes| modes.iter().any(|mode| mode == "ReadWriteOncePod")) {
        return Step::Await(format!(
            "{spoken} is mounted by {}, and its access mode ReadWriteOncePod lets no other pod mount it: scale down what owns it",
            pods(writers)
        ));
    }
    Step::Fill { uid: claim.uid().unwrap_or_default() }
}

fn pods(names: &[String]) -> String {
    if let [one] = names { format!("pod {one}") } else { format!("pods {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(claim: &Value, writers: &[&str]) -> Found {
        Found {
            claim: serde_json::from_value(claim.clone()).unwrap(),
            writers: writers.iter().map(|name| (*name).to_owned()).collect(),
            transfers: Vec::new(),
        }
    }

    fn step(found: &Found, wish: &Wish) -> Step {
        decide(&("app".to_owned(), "data".to_owned()), found, wish)
    }

    fn claim(annotations: &Value, spec: &Value) -> Value {
        json!({ "metadata": { "name": "data", "uid": "cu", "annotations": annotations }, "spec": spec })
    }

    fn fill() -> Step {
        Step::Fill { uid: "cu".to_owned() }
    }

    #[test]
    fn a_claim_that_nobody_writes_into_is_filled_bound_or_not() {
        assert_eq!(step(&found(&claim(&json!({}), &json!({})), &[]), &Wish::default()), fill());
    }

    #[test]
    fn a_claim_that_is_not_there_is_waited_for_and_named() {
        let expected = "PersistentVolumeClaim app/data is not there, and a restore of data alone makes no objects: apply it and restore \
                        again, or leave out annotation trysail.io/data-only";
        assert_eq!(step(&Found::default(), &Wish::default()), Step::Await(expected.to_owned()));
    }

    #[test]
    fn under_a_pod_that_writes_nothing_is_written_unless_that_is_said() {
        let used = found(&claim(&json!({}), &json!({ "accessModes": ["ReadWriteOnce"] })), &["web-0", "web-1"]);
        let expected = "PersistentVolumeClaim app/data is mounted for writing by pods web-0, web-1: scale down what owns it until the \
                        restore has ended; annotation trysail.io/overwrite: \"true\" writes under it";
        assert_eq!(step(&used, &Wish::default()), Step::Await(expected.to_owned()));
        let overwrite = Wish { overwrite: true, ..Wish::default() };
        assert_eq!(step(&used, &overwrite), fill());
        let alone = found(&claim(&json!({}), &json!({ "accessModes": ["ReadWriteOncePod"] })), &["web-0"]);
        let expected = "PersistentVolumeClaim app/data is mounted by pod web-0, and its access mode ReadWriteOncePod lets no other pod \
                        mount it: scale down what owns it";
        assert_eq!(step(&alone, &overwrite), Step::Await(expected.to_owned()));
    }

    #[test]
    fn an_id_fills_a_claim_once() {
        let wish = Wish { once: Some("a".to_owned()), ..Wish::default() };
        let bears = |id: &str| found(&claim(&json!({ "trysail.io/restored-once": id }), &json!({})), &[]);
        let expected = "PersistentVolumeClaim app/data is left alone: it was restored once as \"a\" (annotation trysail.io/restored-once); \
                        another id restores it again";
        assert_eq!(step(&bears("a"), &wish), Step::Leave(expected.to_owned()));
        assert_eq!(step(&bears("b"), &wish), fill());
        assert_eq!(step(&bears("a"), &Wish::default()), fill());
    }

    #[test]
    fn a_claim_that_another_restore_fills_is_waited_for() {
        let mut used = found(&claim(&json!({}), &json!({})), &[]);
        let transfer = |finalizers: Value| {
            serde_json::from_value(json!({
                "apiVersion": "velero.io/v1", "kind": "PodVolumeRestore", "metadata": { "name": "r0-x", "finalizers": finalizers },
                "spec": {
                    "pod": {}, "volume": "data", "snapshotID": "data/1", "backupStorageLocation": "default", "repoIdentifier": "",
                    "sourceNamespace": "app",
                },
            }))
            .unwrap()
        };
        used.transfers = vec![transfer(json!([]))];
        assert_eq!(step(&used, &Wish::default()), fill());
        used.transfers = vec![transfer(json!(["velero.io/pod-volume-finalizer"]))];
        let expected = "PersistentVolumeClaim app/data is being filled by PodVolumeRestore r0-x";
        assert_eq!(step(&used, &Wish::default()), Step::Await(expected.to_owned()));
    }

    #[test]
    fn what_has_no_files_is_refused() {
        let block = found(&claim(&json!({}), &json!({ "volumeMode": "Block" })), &[]);
        let expected = "PersistentVolumeClaim app/data is not restored: it is a raw block device, which has no files";
        assert_eq!(step(&block, &Wish::default()), Step::Refuse(expected.to_owned()));
        let mut lost = claim(&json!({}), &json!({}));
        lost["status"] = json!({ "phase": "Lost" });
        let expected = "PersistentVolumeClaim app/data is not restored: its volume is lost";
        assert_eq!(step(&found(&lost, &[]), &Wish::default()), Step::Refuse(expected.to_owned()));
    }
}
