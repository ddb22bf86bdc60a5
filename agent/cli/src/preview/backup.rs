//! What a backup would take: how many objects of each kind, which volumes and about how much, and which volumes not and why.

use std::collections::BTreeMap;

use serde::Serialize;
use trysail_api::{pod_volume_backup::PodVolumeBackup, time::Time, transfer::TransferPhase};
use trysail_cluster::{
    problem::Report,
    volumes::{Selected, Source, VolumeTask},
};

use super::claim_of;
use crate::{
    output,
    show::columns::{LabelColumns, Rows, table},
};

/// What a backup would take.
#[derive(Debug, Default, Serialize, PartialEq, Eq)]
pub(crate) struct Forecast {
    /// How many objects of each kind, as `apps/v1/Deployment`.
    pub(crate) objects: BTreeMap<String, usize>,
    /// Volumes whose files are read.
    pub(crate) volumes: Vec<Volume>,
    /// Volumes whose files are not read, each with why.
    pub(crate) skipped: Vec<String>,
    /// What a person should know besides.
    pub(crate) notes: Vec<String>,
}

/// A volume whose files are read.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub(crate) struct Volume {
    /// `namespace/claim`, or `namespace/pod: volume`.
    pub(crate) name: String,
    /// How it is reached.
    pub(crate) through: String,
    /// Bytes of its files when they were last saved.
    pub(crate) last_bytes: Option<u64>,
    /// What its claim asks for, as `10Gi`: its files may be fewer bytes, and are rarely more.
    pub(crate) requested: Option<String>,
}

/// What is known of claims besides what decides about them.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    /// What claims ask for, by namespace and name.
    pub(crate) requested: BTreeMap<(String, String), String>,
    /// All that was ever saved of volumes, and is still there.
    pub(crate) saved: Vec<PodVolumeBackup>,
}

impl Forecast {
    /// Tells what would be taken.
    pub(crate) fn of(objects: BTreeMap<String, usize>, selected: &Selected, sizes: &Sizes, report: &Report) -> Self {
        let said = report.errors.kept().iter().chain(report.warnings.kept());
        Self {
            objects,
            volumes: selected.tasks.iter().map(|task| volume(task, sizes)).collect(),
            skipped: selected.skipped.iter().map(ToString::to_string).collect(),
            notes: said.map(|problem| problem.message.clone()).chain(selected.warning()).collect(),
        }
    }

    /// The same for people.
    pub(crate) fn table(&self) -> String {
        let plain = |cells: Vec<String>| (cells, BTreeMap::new());
        let kinds = self.objects.iter().map(|(kind, count)| plain(vec![kind.clone(), count.to_string()])).collect();
        let mut text = table(&["KIND", "OBJECTS"], Rows { rows: kinds }, &LabelColumns::default());
        if !self.volumes.is_empty() {
            let rows = self.volumes.iter().map(|volume| plain(volume.cells())).collect();
            text.push('\n');
            text += &table(&["VOLUME", "READ", "SIZE"], Rows { rows }, &LabelColumns::default());
        }
        let said = self.skipped.iter().chain(&self.notes).map(|line| format!("\n{line}"));
        text.extend(said.chain([format!("\n{}\n", self.sum())]));
        text
    }

    /// How much it is, as far as that can be known.
    fn sum(&self) -> String {
        let objects: usize = self.objects.values().sum();
        let known: Vec<u64> = self.volumes.iter().filter_map(|volume| volume.last_bytes).collect();
        let unknown = self.volumes.len() - known.len();
        let bytes = output::size(known.iter().sum());
        format!(
            "{objects} objects and {} volumes would be taken: {} with {bytes} of files when they were last backed up, {unknown} \
             of unknown size. Only what has changed since is read and sent. Nothing was made.",
            self.volumes.len(),
            known.len()
        )
    }
}

impl Volume {
    fn cells(&self) -> Vec<String> {
        let size = match (self.last_bytes, &self.requested) {
            (Some(bytes), _) => format!("{} when last backed up", output::size(bytes)),
            (None, Some(requested)) => format!("unknown, {requested} requested"),
            (None, None) => "unknown".to_owned(),
        };
        vec![self.name.clone(), self.through.clone(), size]
    }
}

fn volume(task: &VolumeTask, sizes: &Sizes) -> Volume {
    let claim = task.claim.as_ref().map(|(name, _)| (task.namespace.clone(), name.clone()));
    let through = match &task.source {
        Source::Pod { name, node, .. } => format!("through pod {name} on {node}"),
        Source::Claim { node: Some(node) } => format!("by itself on {node}"),
        Source::Claim { node: None } => "by itself".to_owned(),
        Source::Held => "through a pod that is made for it".to_owned(),
    };
    let name = match (&claim, &task.source) {
        (Some((namespace, claim)), _) => format!("{namespace}/{claim}"),
        (None, Source::Pod { name, .. }) => format!("{}/{name}: {}", task.namespace, task.volume),
        (None, Source::Claim { .. } | Source::Held) => format!("{}/{}", task.namespace, task.volume),
    };
    let requested = claim.as_ref().and_then(|claim| sizes.requested.get(claim).cloned());
    Volume { name, through, last_bytes: claim.and_then(|claim| last_bytes(&claim, sizes)), requested }
}

/// Bytes of the files of a claim when they were last saved whole.
fn last_bytes(claim: &(String, String), sizes: &Sizes) -> Option<u64> {
    let ended = |saved: &PodVolumeBackup| saved.status.as_ref().and_then(|status| status.completion_timestamp);
    let is_of = |saved: &&PodVolumeBackup| {
        let phase = saved.status.as_ref().and_then(|status| status.phase);
        phase == Some(TransferPhase::Completed) && claim_of(saved).as_ref() == Some(claim)
    };
    let last = sizes.saved.iter().filter(is_of).max_by_key(|saved| ended(saved).map(Time::timestamp))?;
    u64::try_from(last.status.as_ref()?.progress?.total_bytes).ok()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;
    use trysail_cluster::volumes::{Reason, Skipped};

    use super::*;

    #[test]
    fn volumes_are_told_with_their_size_as_far_as_it_is_known() {
        let task = |claim: Option<&str>, volume: &str, source: Source| VolumeTask {
            namespace: "app".to_owned(),
            source,
            volume: volume.to_owned(),
            claim: claim.map(|claim| (claim.to_owned(), "uid".to_owned())),
            exclude: Vec::new(),
        };
        let pod = || Source::Pod { name: "web".to_owned(), uid: "u".to_owned(), node: "n1".to_owned() };
        let skipped = Skipped {
            namespace: "app".to_owned(),
            pod: Some("web".to_owned()),
            volume: "cache".to_owned(),
            claim: None,
            reason: Reason::OptedOut,
        };
        let selected = Selected {
            tasks: vec![
                task(Some("data"), "d", pod()),
                task(None, "scratch", pod()),
                task(Some("alone"), "alone", Source::Claim { node: None }),
            ],
            skipped: vec![skipped],
            claims: 2,
        };
        let saved = |at: &str, bytes: i64| {
            serde_json::from_value(json!({
                "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup",
                "metadata": { "name": at, "annotations": { "velero.io/pvc-name": "data" } },
                "spec": {
                    "backupStorageLocation": "default", "node": "n1", "repoIdentifier": "", "volume": "d",
                    "pod": { "kind": "Pod", "namespace": "app", "name": "old" },
                },
                "status": { "phase": "Completed", "completionTimestamp": at, "progress": { "totalBytes": bytes } },
            }))
            .unwrap()
        };
        let sizes = Sizes {
            requested: [("data", "1Gi"), ("alone", "8Gi")]
                .map(|(claim, size)| (("app".to_owned(), claim.to_owned()), size.to_owned()))
                .into(),
            saved: vec![saved("2026-11-20T02:00:00Z", 3 << 20), saved("2026-11-19T02:00:00Z", 9 << 20)],
        };
        let objects = [("v1/Pod", 1), ("v1/ConfigMap", 12)].map(|(kind, count)| (kind.to_owned(), count)).into();
        expect![[r"
            KIND           OBJECTS
            v1/ConfigMap   12
            v1/Pod         1

            VOLUME             READ                    SIZE
            app/data           through pod web on n1   3.0 MiB when last backed up
            app/web: scratch   through pod web on n1   unknown
            app/alone          by itself               unknown, 8Gi requested

            volume cache of pod app/web is not saved: the pod's annotation backup.velero.io/backup-volumes-excludes names it
            13 objects and 3 volumes would be taken: 1 with 3.0 MiB of files when they were last backed up, 2 of unknown size. Only what has changed since is read and sent. Nothing was made.
        "]]
        .assert_eq(&Forecast::of(objects, &selected, &sizes, &Report::default()).table());
    }
}
