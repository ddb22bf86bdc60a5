//! Which volumes of a backup a restore without objects fills, and into which claims. Pure.
//!
//! The spec selects claims of the backup as any Restore does: by namespace, by kind, by the labels that they had. So that one claim can
//! be named, each also has the label that Kubernetes gives to namespaces, `kubernetes.io/metadata.name`, with its name.

use std::collections::{BTreeMap, BTreeSet};

use trysail_api::{names::label_value, pod_volume_backup::PodVolumeBackup, selector::Labels, transfer::TransferPhase};
use trysail_cluster::{
    kind::ItemName,
    problem::{Place, Report},
    restore::rules::Rules,
};

use super::super::volumes::{claim_of, has_snapshot, usable};

/// The kind that is selected.
pub(super) const CLAIMS: &str = "persistentvolumeclaims";

/// The label that stands for the name. Source: Kubernetes, `LabelMetadataName`.
const NAME: &str = "kubernetes.io/metadata.name";

/// Namespace and name of a claim.
pub(super) type ClaimName = (String, String);

/// A claim and what goes into it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Volume {
    /// The claim in the cluster.
    pub(super) claim: ClaimName,
    /// What was saved of it.
    pub(super) saved: PodVolumeBackup,
}

/// A claim in sentences.
pub(super) fn spoken((namespace, name): &ClaimName) -> String {
    format!("PersistentVolumeClaim {namespace}/{name}")
}

/// What is to be done, and what cannot be.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Selected {
    pub(super) volumes: Vec<Volume>,
    pub(super) report: Report,
}

/// Selects among what was saved. `labels` are those of all claims of the archive.
pub(super) fn select(saved: &[PodVolumeBackup], labels: &BTreeMap<ClaimName, Labels>, rules: &Rules) -> Selected {
    let saved_claims = saved.iter().filter_map(claim_of);
    let claims: BTreeSet<ClaimName> = saved_claims.chain(labels.keys().cloned()).collect();
    let taken = claims.into_iter().filter(|claim| takes(rules, claim, labels.get(claim)));
    let mut selected = Selected::default();
    let mut targets = BTreeSet::new();
    let mut is_nothing = true;
    for source in taken {
        is_nothing = false;
        let claim = (rules.target(&source.0).to_owned(), source.1.clone());
        match snapshot(saved, &source) {
            Ok(_) if !targets.insert(claim.clone()) => {
                let why = format!(
                    "two volumes of the backup would go into it, one of them that of {}/{}",
                    source.0, source.1
                );
                selected.refuse(&claim, &why);
            }
            Ok(saved) => selected.volumes.push(Volume { claim, saved: saved.clone() }),
            Err(Lack::Error(why)) => selected.refuse(&claim, &why),
            Err(Lack::Warning(why)) => {
                let place = Place::Namespace(claim.0.clone());
                selected.report.warnings.add(place, format!("{} is left alone: {why}", spoken(&claim)));
            }
        }
    }
    for one in saved.iter().filter(|one| claim_of(one).is_none()) {
        selected.leave(one, rules);
    }
    if is_nothing {
        let message = "the backup has no claim that this restore selects: nothing is restored";
        selected.report.errors.add(Place::Backup, message);
    }
    selected
}

fn takes(rules: &Rules, claim: &ClaimName, labels: Option<&Labels>) -> bool {
    let mut labels = labels.cloned().unwrap_or_default();
    labels.insert(NAME.to_owned(), label_value(&claim.1));
    rules.takes(&ItemName::namespaced(CLAIMS, &claim.0, &claim.1), &labels)
}

/// Why there is nothing to restore.
enum Lack {
    Warning(String),
    Error(String),
}

/// What was saved of a claim: of several, one that has files.
fn snapshot<'a>(saved: &'a [PodVolumeBackup], claim: &ClaimName) -> Result<&'a PodVolumeBackup, Lack> {
    let is_of = |one: &&PodVolumeBackup| claim_of(one).as_ref() == Some(claim);
    if let Some(found) = saved.iter().filter(is_of).find(|one| has_snapshot(one)) {
        return usable(found).map(|()| found).map_err(Lack::Error);
    }
    let Some(found) = saved.iter().find(is_of) else {
        return Err(Lack::Warning("the backup has no data of it".to_owned()));
    };
    let status = found.status.clone().unwrap_or_default();
    match status.phase {
        Some(TransferPhase::Completed) => Err(Lack::Warning("its volume was empty when it was saved".to_owned())),
        phase => {
            let phase = phase.map_or("not begun", TransferPhase::as_str);
            let why = status.message.map(|message| format!(": {message}")).unwrap_or_default();
            Err(Lack::Error(format!("the backup could not save its volume ({phase}{why})")))
        }
    }
}

impl Selected {
    fn refuse(&mut self, claim: &ClaimName, why: &str) {
        let message = format!("{} is not restored: {why}", spoken(claim));
        self.report.errors.add(Place::Namespace(claim.0.clone()), message);
    }

    /// A volume that is no claim's goes with its pod, which is not restored.
    fn leave(&mut self, saved: &PodVolumeBackup, rules: &Rules) {
        let pod = &saved.spec.pod;
        let (namespace, name) = (pod.namespace.clone().unwrap_or_default(), pod.name.clone().unwrap_or_default());
        if has_snapshot(saved)
            && rules.takes(&ItemName::namespaced(CLAIMS, &namespace, &saved.spec.volume), &Labels::new())
        {
            let message = format!(
                "volume {} of pod {namespace}/{name} is not restored: it is no claim's, and goes with its pod",
                saved.spec.volume
            );
            self.report.warnings.add(Place::Namespace(rules.target(&namespace).to_owned()), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use trysail_api::restore::RestoreSpec;
    use trysail_cluster::discover::Catalog;

    use super::*;

    const OURS: &str = "data/01ARZ3NDEKTSV4RRFFQ69G5FAV";

    fn saved(namespace: &str, claim: Option<&str>, status: &Value) -> PodVolumeBackup {
        let annotations = claim.map_or(json!({}), |claim| json!({ "velero.io/pvc-name": claim }));
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup",
            "metadata": { "name": "b1-x", "annotations": annotations },
            "spec": {
                "node": "n1", "pod": { "kind": "Pod", "namespace": namespace, "name": "web" }, "volume": "v",
                "backupStorageLocation": "default", "repoIdentifier": "", "uploaderType": "kopia",
            },
            "status": status,
        }))
        .unwrap()
    }

    fn whole(namespace: &str, claim: &str) -> PodVolumeBackup {
        saved(namespace, Some(claim), &json!({ "phase": "Completed", "snapshotID": OURS }))
    }

    fn rules(spec: Value) -> Rules {
        let spec: RestoreSpec = serde_json::from_value(spec).unwrap();
        Rules::new(&spec, &Catalog::new(Vec::new())).unwrap()
    }

    /// Claims that are filled, errors, warnings.
    fn found(saved: &[PodVolumeBackup], labels: &BTreeMap<ClaimName, Labels>, spec: Value) -> [Vec<String>; 3] {
        let selected = select(saved, labels, &rules(spec));
        let sentences = |problems: &trysail_cluster::problem::Problems| -> Vec<String> {
            problems.kept().iter().map(|problem| problem.message.clone()).collect()
        };
        let volumes = selected.volumes.iter().map(|volume| format!("{}/{}", volume.claim.0, volume.claim.1)).collect();
        [volumes, sentences(&selected.report.errors), sentences(&selected.report.warnings)]
    }

    /// Namespace, name and labels of a claim.
    type Labelled<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

    fn labels(claims: &[Labelled<'_>]) -> BTreeMap<ClaimName, Labels> {
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        claims.iter().map(|(ns, name, pairs)| (((*ns).to_owned(), (*name).to_owned()), labels(pairs))).collect()
    }

    #[test]
    fn claims_are_selected_as_by_any_restore_and_by_their_names() {
        let all = [whole("a", "data"), whole("a", "cache"), whole("b", "data")];
        let of = labels(&[("a", "data", &[("app", "db")]), ("a", "cache", &[("app", "web")]), ("b", "data", &[])]);
        let rows = [
            (json!({}), vec!["a/cache", "a/data", "b/data"]),
            (json!({ "includedNamespaces": ["a"] }), vec!["a/cache", "a/data"]),
            (json!({ "includedNamespaces": ["a"], "namespaceMapping": { "a": "c" } }), vec!["c/cache", "c/data"]),
            (json!({ "labelSelector": { "matchLabels": { "app": "db" } } }), vec!["a/data"]),
            (
                json!({ "labelSelector": { "matchLabels": { "kubernetes.io/metadata.name": "data" } }, "excludedNamespaces": ["b"] }),
                vec!["a/data"],
            ),
        ];
        for (spec, expected) in rows {
            assert_eq!(found(&all, &of, spec.clone()), [expected, vec![], vec![]], "{spec}");
        }
    }

    #[test]
    fn what_cannot_be_filled_is_said() {
        let kopia =
            saved("a", Some("old"), &json!({ "phase": "Completed", "snapshotID": "a322e5386086ec03e413d76d6e9cfa6e" }));
        let failed = saved("a", Some("torn"), &json!({ "phase": "Failed", "message": "the disk broke" }));
        let empty = saved("a", Some("void"), &json!({ "phase": "Completed" }));
        let of_pod = saved("a", None, &json!({ "phase": "Completed", "snapshotID": OURS }));
        let errors = [
            "PersistentVolumeClaim a/old is not restored: snapshot a322e5386086ec03e413d76d6e9cfa6e was written by kopia of another \
             program; restore it with the Velero that made it",
            "PersistentVolumeClaim a/torn is not restored: the backup could not save its volume (Failed: the disk broke)",
        ];
        let warnings = [
            "PersistentVolumeClaim a/unsaved is left alone: the backup has no data of it",
            "PersistentVolumeClaim a/void is left alone: its volume was empty when it was saved",
            "volume v of pod a/web is not restored: it is no claim's, and goes with its pod",
        ];
        let of = labels(&[("a", "unsaved", &[])]);
        let expected = [vec![], errors.map(str::to_owned).to_vec(), warnings.map(str::to_owned).to_vec()];
        assert_eq!(found(&[kopia, failed, empty, of_pod], &of, json!({})), expected);
    }

    #[test]
    fn a_selection_of_nothing_is_an_error() {
        let nothing = "the backup has no claim that this restore selects: nothing is restored".to_owned();
        let of = labels(&[("a", "data", &[])]);
        let spec = json!({ "includedNamespaces": ["typo"] });
        assert_eq!(found(&[whole("a", "data")], &of, spec), [vec![], vec![nothing], vec![]]);
    }

    #[test]
    fn two_volumes_do_not_go_into_one_claim() {
        let all = [whole("a", "data"), whole("b", "data")];
        let why = "PersistentVolumeClaim a/data is not restored: two volumes of the backup would go into it, one of them that of b/data";
        let spec = json!({ "namespaceMapping": { "b": "a" } });
        assert_eq!(found(&all, &BTreeMap::new(), spec), [vec!["a/data".to_owned()], vec![why.to_owned()], vec![]]);
    }
}
