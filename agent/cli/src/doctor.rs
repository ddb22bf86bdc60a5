//! What is dangerous about the backups of a cluster, one line and one remedy each. Pure: what is in the cluster is given.
//!
//! What the server has found out about locations and repositories stands in their status; here it is put together with what
//! only the whole shows: claims that no schedule takes, nodes without an agent, schedules that do not succeed.

mod claims;

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::ResourceExt as _;
use serde::Serialize;
use trysail_api::{
    backup::{Backup, BackupPhase},
    backup_repository::{BackupRepository, BackupRepositoryPhase},
    backup_storage_location::{BackupStorageLocation, LocationPhase},
    names::{label, label_value, own},
    schedule::{Schedule, SchedulePhase},
};

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Weight {
    /// Data may be lost, or read by others.
    Unsafe,
    /// It works; a person should know.
    Advice,
}

/// One thing that a person should do something about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Hazard {
    /// How bad it is.
    pub(crate) weight: Weight,
    /// The object, as `backup-location/default`.
    pub(crate) object: String,
    /// What is so.
    pub(crate) finding: String,
    /// What helps.
    pub(crate) remedy: String,
}

/// What is in a cluster.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// The namespace of the server.
    pub(crate) namespace: String,
    /// Locations.
    pub(crate) locations: Vec<BackupStorageLocation>,
    /// Repositories.
    pub(crate) repositories: Vec<BackupRepository>,
    /// Schedules.
    pub(crate) schedules: Vec<Schedule>,
    /// Backups.
    pub(crate) backups: Vec<Backup>,
    /// Nodes.
    pub(crate) nodes: Vec<Node>,
    /// Pods of node agents.
    pub(crate) agents: Vec<Pod>,
    /// Claims of all namespaces.
    pub(crate) claims: Vec<PersistentVolumeClaim>,
}

/// All that is dangerous, the worst first.
pub(crate) fn hazards(cluster: &Cluster) -> Vec<Hazard> {
    let mut found = Vec::new();
    found.extend(no_default(cluster));
    for location in &cluster.locations {
        found.extend(of_location(location, &cluster.namespace));
    }
    found.extend(cluster.repositories.iter().filter_map(of_repository));
    for schedule in &cluster.schedules {
        found.extend(of_schedule(schedule, &cluster.backups));
    }
    found.extend(agents(cluster));
    found.extend(claims::unprotected(&cluster.claims, &cluster.schedules));
    found.sort_by_key(|hazard| hazard.weight);
    found
}

fn hazard(weight: Weight, object: String, finding: impl Into<String>, remedy: impl Into<String>) -> Hazard {
    Hazard { weight, object, finding: finding.into(), remedy: remedy.into() }
}

fn no_default(cluster: &Cluster) -> Option<Hazard> {
    let has_default = cluster.locations.iter().any(|location| {
        location.spec.default == Some(true) || location.name_any() == trysail_api::names::DEFAULT_LOCATION
    });
    let (finding, remedy) = match cluster.locations.first() {
        _ if has_default => return None,
        None => (
            "there is no location: nothing can be backed up",
            "trysail backup-location create NAME --default …".to_owned(),
        ),
        Some(first) => (
            "no location is the default: backups that name none fail",
            format!("trysail backup-location set {} --default", first.name_any()),
        ),
    };
    Some(hazard(Weight::Unsafe, "backup-location".to_owned(), finding, remedy))
}

/// What the server says of a location, and that nothing there is encrypted.
fn of_location(location: &BackupStorageLocation, namespace: &str) -> Vec<Hazard> {
    let (name, object) = (location.name_any(), format!("backup-location/{}", location.name_any()));
    let status = location.status.clone().unwrap_or_default();
    let is_encrypted =
        location.annotations().get(own::RECIPIENTS).is_some_and(|recipients| !recipients.trim().is_empty());
    let is_unavailable = status.phase == Some(LocationPhase::Unavailable);
    let mut found = Vec::new();
    let conditions = conditions(location, status.message.as_deref().unwrap_or_default());
    for (reason, sentence) in &conditions {
        let weight = match reason.as_str() {
            "PlaintextTransport" | "UnverifiedTransport" if is_encrypted => Weight::Advice,
            "PlaintextTransport" | "UnverifiedTransport" | "LifecycleUnsafe" => Weight::Unsafe,
            "LifecycleUnknown" | "SeveralDefaults" | "UnknownSettings" => Weight::Advice,
            _ if is_unavailable => Weight::Unsafe,
            _ => Weight::Advice,
        };
        found.push(hazard(weight, object.clone(), format!("{reason}: {sentence}"), remedy(reason, &name)));
    }
    if is_unavailable && conditions.is_empty() {
        let said = status.message.clone().unwrap_or_else(|| "it is Unavailable".to_owned());
        found.push(hazard(
            Weight::Unsafe,
            object.clone(),
            said,
            format!("kubectl -n {namespace} logs deployment/velero"),
        ));
    }
    if status.phase.is_none() {
        let finding = "nobody has looked at it: no server runs, or it has just been made";
        found.push(hazard(Weight::Unsafe, object.clone(), finding, format!("kubectl -n {namespace} get pods")));
    }
    if !is_encrypted {
        let finding = "no recipients: whoever reads the bucket reads all files and Secrets";
        let remedy = format!("kubectl -n {namespace} annotate bsl {name} {}=age1…", own::RECIPIENTS);
        found.push(hazard(Weight::Advice, object, finding, remedy));
    }
    found
}

/// The conditions that a message tells, by the reasons that the annotation lists in the same order.
fn conditions(location: &BackupStorageLocation, message: &str) -> Vec<(String, String)> {
    let reasons = location.annotations().get(own::CONDITION).map(String::as_str).unwrap_or_default();
    let mut rest = message;
    let mut found = Vec::new();
    let mut reasons = reasons.split(',').filter(|reason| !reason.is_empty()).peekable();
    while let Some(reason) = reasons.next() {
        let Some(said) = rest.strip_prefix(&format!("{reason}: ")) else { break };
        let end = reasons.peek().and_then(|next| said.find(&format!("; {next}: ")));
        found.push((reason.to_owned(), said[..end.unwrap_or(said.len())].to_owned()));
        rest = end.map_or("", |end| &said[end + 2..]);
    }
    found
}

/// What helps against a condition; those that are not here say it themselves.
fn remedy(reason: &str, location: &str) -> String {
    match reason {
        "PlaintextTransport" => {
            format!("set config.s3Url of {location} to https, with caCert where the authority is your own")
        }
        "UnverifiedTransport" => {
            format!("trysail backup-location set {location} --cacert FILE, and take the setting away")
        }
        "SeveralDefaults" => format!("trysail backup-location set {location} --default=false"),
        "UnknownSettings" => "take the settings away, or correct their names".to_owned(),
        _ => "as it says".to_owned(),
    }
}

fn of_repository(repository: &BackupRepository) -> Option<Hazard> {
    let status = repository.status.clone().unwrap_or_default();
    if status.phase != Some(BackupRepositoryPhase::NotReady) {
        return None;
    }
    let message = status.message.filter(|message| !message.is_empty()).unwrap_or_else(|| "it is NotReady".to_owned());
    let remedy = if message.contains("RepositoryKeyMissing") {
        "name a Secret with the identity of one of its recipients in annotation trysail.io/identity-secret of the location"
    } else {
        "as it says"
    };
    Some(hazard(Weight::Unsafe, format!("repo/{}", repository.name_any()), message, remedy))
}

/// A schedule that makes no backups, or whose last one is not whole.
fn of_schedule(schedule: &Schedule, backups: &[Backup]) -> Option<Hazard> {
    let (name, object) = (schedule.name_any(), format!("schedule/{}", schedule.name_any()));
    let status = schedule.status.clone().unwrap_or_default();
    if status.phase == Some(SchedulePhase::FailedValidation) {
        let why = status.validation_errors.unwrap_or_default().join("; ");
        return Some(hazard(Weight::Unsafe, object, why, format!("correct it: trysail schedule describe {name}")));
    }
    if schedule.spec.paused == Some(true) {
        let remedy = format!("trysail schedule unpause {name}");
        return Some(hazard(Weight::Advice, object, "it is paused and makes no backups", remedy));
    }
    let last = backups
        .iter()
        .filter(|backup| backup.labels().get(label::SCHEDULE_NAME) == Some(&label_value(&name)))
        .filter(|backup| phase(backup).is_some_and(BackupPhase::is_terminal))
        .max_by_key(|backup| backup.metadata.creation_timestamp.as_ref().map(|at| at.0))?;
    let phase = phase(last).filter(|phase| *phase != BackupPhase::Completed)?;
    let backup = last.name_any();
    let remedy = format!("trysail backup describe {backup}");
    Some(hazard(Weight::Unsafe, object, format!("its last backup {backup} is {phase}"), remedy))
}

fn phase(backup: &Backup) -> Option<BackupPhase> {
    backup.status.as_ref()?.phase
}

/// Nodes on which no agent runs: volumes there cannot be read.
fn agents(cluster: &Cluster) -> Vec<Hazard> {
    let is_running = |pod: &&Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    let running: BTreeSet<&str> =
        cluster.agents.iter().filter(is_running).filter_map(|pod| pod.spec.as_ref()?.node_name.as_deref()).collect();
    let missing = cluster.nodes.iter().map(kube::ResourceExt::name_any).filter(|node| !running.contains(node.as_str()));
    let remedy = format!("kubectl -n {} describe daemonset node-agent", cluster.namespace);
    let finding = "no node agent runs there: its volumes are not backed up";
    missing.map(|node| hazard(Weight::Unsafe, format!("node/{node}"), finding, remedy.clone())).collect()
}

#[cfg(test)]
mod tests;
