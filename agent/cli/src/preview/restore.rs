//! What a restore would do: the plan that the server makes of the same archive, with what is in the cluster already.

use std::collections::BTreeSet;

use serde::Serialize;
use trysail_api::{pod_volume_backup::PodVolumeBackup, transfer::TransferPhase};
use trysail_cluster::{
    kind::ItemName,
    restore::{
        contents::Contents,
        plan::{Plan, Skip, Step},
        rules::{ExistingPolicy, Rules},
    },
};

use super::claim_of;
use crate::{
    output,
    show::columns::{LabelColumns, Rows, table},
};

/// What a restore would do.
#[derive(Debug, Default, Serialize, PartialEq, Eq)]
pub(crate) struct Forecast {
    /// Objects in the order of work.
    pub(crate) objects: Vec<Line>,
    /// Volumes of which the backup has files, or should have.
    pub(crate) volumes: Vec<Line>,
    /// What a person should know besides.
    pub(crate) notes: Vec<String>,
}

/// What would become of one object or volume.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub(crate) struct Line {
    /// `apps/v1/Deployment`; of a volume, its snapshot.
    pub(crate) kind: String,
    /// `namespace/name`, as it is in the cluster.
    pub(crate) name: String,
    /// What is done.
    pub(crate) action: Deed,
    /// Why, where it is not plain.
    pub(crate) why: String,
}

/// What is done about an object or volume.
#[derive(Debug, Clone, Copy, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Deed {
    /// It is made.
    Create,
    /// It is there, and becomes what was saved.
    Update,
    /// It is there, and stays as it is.
    Keep,
    /// It does not come back.
    Skip,
    /// The files of a volume are written.
    Fill,
}

impl Deed {
    const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Keep => "keep",
            Self::Skip => "skip",
            Self::Fill => "fill",
        }
    }
}

/// What is known before anything is made.
#[derive(Debug)]
pub(crate) struct Grounds<'a> {
    /// What is in the archive.
    pub(crate) contents: &'a Contents,
    /// What the restore says.
    pub(crate) rules: &'a Rules,
    /// The plan of a backup that a trusted key has signed.
    pub(crate) plan: &'a Plan,
    /// The plan of one that nobody has.
    pub(crate) unsigned: &'a Plan,
    /// What the backup has of volumes.
    pub(crate) saved: &'a [PodVolumeBackup],
    /// Objects that are there already, by their names in the cluster.
    pub(crate) existing: &'a BTreeSet<ItemName>,
}

impl Forecast {
    /// Tells what would be done.
    pub(crate) fn of(grounds: &Grounds<'_>) -> Self {
        let plan = grounds.plan;
        let mut forecast = Self::default();
        forecast.objects.extend(plan.definitions.iter().map(|step| object(step, grounds)));
        for (_, target) in &plan.namespaces {
            let item = ItemName::cluster_scoped("namespaces", target);
            let (action, why) = there_or_not(&item, grounds);
            forecast.objects.push(Line { kind: "v1/Namespace".to_owned(), name: target.clone(), action, why });
        }
        forecast.objects.extend(plan.steps.iter().map(|step| object(step, grounds)));
        forecast.volumes = grounds.saved.iter().map(|saved| volume(saved, grounds)).collect();
        forecast.volumes.sort_by(|a, b| a.name.cmp(&b.name));
        let said = plan.report.errors.kept().iter().chain(plan.report.warnings.kept());
        forecast.notes.extend(said.map(|problem| problem.message.clone()));
        let withheld = grounds.unsigned.steps.iter().filter(|step| step.skip == Some(Skip::Withheld)).count();
        if withheld > 0 {
            forecast.notes.push(format!(
                "{withheld} objects give rights: they come back only if a trusted key has signed the backup, or with the \
                 annotation trysail.io/allow-unsigned=true"
            ));
        }
        forecast
    }

    /// The same for people.
    pub(crate) fn table(&self) -> String {
        let rows = |lines: &[Line]| Rows {
            rows: lines
                .iter()
                .map(|line| {
                    let cells =
                        vec![line.action.word().to_owned(), line.kind.clone(), line.name.clone(), line.why.clone()];
                    (cells, std::collections::BTreeMap::new())
                })
                .collect(),
        };
        let mut text = table(&["ACTION", "KIND", "NAME", "WHY"], rows(&self.objects), &LabelColumns::default());
        if !self.volumes.is_empty() {
            text.push('\n');
            text += &table(&["ACTION", "SNAPSHOT", "VOLUME", "WHY"], rows(&self.volumes), &LabelColumns::default());
        }
        text.extend(self.notes.iter().map(|note| format!("\n{note}")));
        text.push_str(&self.sum());
        text
    }

    /// How many there are of each.
    fn sum(&self) -> String {
        let count = |action| self.objects.iter().filter(|line| line.action == action).count();
        let (made, updated, kept) = (count(Deed::Create), count(Deed::Update), count(Deed::Keep));
        let filled = self.volumes.iter().filter(|line| line.action == Deed::Fill).count();
        format!(
            "\n{made} objects to create, {updated} to update, {kept} stay as they are, {} do not come back; {filled} of {} \
             volumes get their files. Nothing was changed.\n",
            count(Deed::Skip),
            self.volumes.len()
        )
    }
}

fn object(step: &Step, grounds: &Grounds<'_>) -> Line {
    let item = step.restored_name();
    let (action, why) = match step.skip {
        Some(skip) => (Deed::Skip, skip.to_string()),
        None => there_or_not(&item, grounds),
    };
    Line { kind: step.kind.versioned_name(), name: item.within_kind(), action, why }
}

fn there_or_not(item: &ItemName, grounds: &Grounds<'_>) -> (Deed, String) {
    match grounds.rules.existing {
        _ if !grounds.existing.contains(item) => (Deed::Create, String::new()),
        // Source: `trysail_cluster::restore::apply`: a namespace that is there is enough.
        _ if item.resource == "namespaces" => (Deed::Keep, "it is there".to_owned()),
        ExistingPolicy::Keep => (Deed::Keep, "it is there; --existing-resource-policy=update changes it".to_owned()),
        ExistingPolicy::Update => (Deed::Update, "it is there".to_owned()),
    }
}

/// What becomes of the files of a volume: they come back with a pod that mounts it.
fn volume(saved: &PodVolumeBackup, grounds: &Grounds<'_>) -> Line {
    let pod = &saved.spec.pod;
    let namespace = pod.namespace.clone().unwrap_or_default();
    let claim = claim_of(saved).map(|(_, claim)| claim);
    let target = grounds.rules.target(&namespace);
    let name = match &claim {
        Some(claim) => format!("{target}/{claim}"),
        None => format!("{target}/{}: {}", pod.name.as_deref().unwrap_or_default(), saved.spec.volume),
    };
    let status = saved.status.clone().unwrap_or_default();
    let snapshot = status.snapshot_id.filter(|id| !id.is_empty());
    let kind = snapshot.clone().unwrap_or_default();
    let (action, why) = if status.phase != Some(TransferPhase::Completed) {
        let message =
            status.message.filter(|message| !message.is_empty()).map(|m| format!(": {m}")).unwrap_or_default();
        let phase = status.phase.map_or("New", TransferPhase::as_str);
        (Deed::Skip, format!("its files are not in the backup: {phase}{message}"))
    } else if snapshot.is_none() {
        (Deed::Skip, "it was empty".to_owned())
    } else {
        filler(saved, &namespace, claim.as_deref(), status.progress.unwrap_or_default().total_bytes, grounds)
    };
    Line { kind, name, action, why }
}

/// The pod of the plan with which files come back.
fn filler(
    saved: &PodVolumeBackup,
    namespace: &str,
    claim: Option<&str>,
    bytes: i64,
    grounds: &Grounds<'_>,
) -> (Deed, String) {
    let size = output::size(u64::try_from(bytes).unwrap_or(0));
    let mounts = |step: &&Step| {
        let pod = (step.item.namespace.clone().unwrap_or_default(), step.item.name.clone());
        let is_same = saved.spec.pod.name.as_deref() == Some(&step.item.name);
        pod.0 == namespace
            && grounds.contents.pods.get(&pod).into_iter().flatten().any(|volume| match claim {
                Some(claim) => volume.claim.as_deref() == Some(claim),
                None => is_same && volume.name == saved.spec.volume,
            })
    };
    let pods = grounds.plan.steps.iter().filter(|step| step.item.resource == "pods" && step.skip.is_none());
    match pods.clone().find(mounts).map(Step::restored_name) {
        Some(pod) if grounds.existing.contains(&pod) => {
            (Deed::Skip, format!("{size} stay in the backup: pod {} is there; delete it first", pod.within_kind()))
        }
        Some(pod) => (Deed::Fill, format!("{size}, with pod {}", pod.within_kind())),
        None => (Deed::Skip, format!("{size} stay in the backup: no pod that mounts it comes back")),
    }
}

#[cfg(test)]
mod tests;
