//! The data of a backup's volumes: PodVolumeBackups are made, hooks run before and after, and their end is waited for.
//!
//! Pods with hooks come first, a few at a time: what a hook has frozen stays so no longer than its own volumes take.
//! Hooks after run also where volumes failed or took too long, so that nothing stays frozen.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
};

use futures::{StreamExt as _, TryStreamExt as _, future::join_all, stream};
use kube::{
    Api, ResourceExt as _,
    api::PostParams,
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, timeout_at},
};
use trysail_api::{
    backup::Backup,
    backup_storage_location::BackupStorageLocation,
    hook::HookStatus,
    names::label,
    pod_volume_backup::PodVolumeBackup,
    transfer::{TransferPhase, UploaderType},
};
use trysail_cluster::{
    hooks::{Plan, exec},
    kind::Item,
    problem::Place,
    volumes::{Source, VolumeTask},
};

use super::{
    gather::HookedPod,
    holder,
    owed::Owed,
    transfer::{Means, has_ended, judge, name_of, transfer},
};
use crate::{
    Error, Result,
    context::{Context, now},
    drive::Guarded,
    node::presence::{self, Agent},
    patch,
    repository::{self, Opened},
    run_log::RunLog,
    task_keys,
};

/// Pods with hooks of which the volumes are read at once.
const HOOKED_AT_ONCE: usize = 4;

/// PodVolumeBackups of a backup, by name, as they were last seen.
type Transfers = BTreeMap<String, PodVolumeBackup>;

/// What becomes of the volumes of one backup.
pub(super) struct Volumes<'a> {
    pub(super) context: &'a Context,
    pub(super) backup: &'a Backup,
    pub(super) location: &'a BackupStorageLocation,
    pub(super) log: &'a RunLog,
    pub(super) owed: &'a Owed,
    pub(super) uploader: UploaderType,
    /// When volumes are no longer waited for.
    pub(super) deadline: Instant,
    /// Repositories by namespace, or why there is none.
    pub(super) repositories: Mutex<BTreeMap<String, std::result::Result<Opened, String>>>,
}

/// How it went.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) hooks: HookStatus,
    /// Pods that a hook did not stop: they are to be stored.
    pub(super) pods: Vec<Item>,
    /// All PodVolumeBackups.
    pub(super) transfers: Vec<PodVolumeBackup>,
}

/// Volumes of pods with hooks apart from all others. Pure.
fn grouped(tasks: Vec<VolumeTask>, hooked: Vec<HookedPod>) -> (Vec<(HookedPod, Vec<VolumeTask>)>, Vec<VolumeTask>) {
    let mut groups: Vec<(HookedPod, Vec<VolumeTask>)> = hooked.into_iter().map(|pod| (pod, Vec::new())).collect();
    let mut others = Vec::new();
    let at: BTreeMap<(String, String), usize> = groups
        .iter()
        .enumerate()
        .map(|(at, (hooked, _))| {
            ((hooked.pod.namespace().unwrap_or_default().to_owned(), hooked.pod.name().to_owned()), at)
        })
        .collect();
    for task in tasks {
        let found = match &task.source {
            Source::Pod { name, .. } => at.get(&(task.namespace.clone(), name.clone())),
            Source::Claim { .. } | Source::Held => None,
        };
        match found.and_then(|at| groups.get_mut(*at)) {
            Some((_, tasks)) => tasks.push(task),
            None => others.push(task),
        }
    }
    (groups, others)
}

impl Volumes<'_> {
    /// Saves all volumes. What goes wrong with one is in the log, and the others go on.
    ///
    /// # Errors
    /// The API server does not say any more which PodVolumeBackups there are.
    pub(super) async fn save(&self, tasks: Vec<VolumeTask>, hooked: Vec<HookedPod>) -> Result<Done> {
        let (sender, receiver) = watch::channel(Transfers::new());
        let mut done = Done::default();
        let work = async {
            let (groups, others) = grouped(tasks, hooked);
            let groups = stream::iter(groups).map(|(pod, tasks)| self.hooked(pod, tasks, receiver.clone()));
            let outcomes: Vec<(HookStatus, Option<Item>)> = groups.buffered(HOOKED_AT_ONCE).collect().await;
            for (hooks, pod) in outcomes {
                done.hooks.hooks_attempted += hooks.hooks_attempted;
                done.hooks.hooks_failed += hooks.hooks_failed;
                done.pods.extend(pod);
            }
            let (held, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|task| task.source == Source::Held);
            let names = self.start(&others).await;
            tokio::join!(self.wait(names, receiver.clone()), self.held(&held, &receiver));
        };
        tokio::select! {
            () = work => {}
            () = follow(self.context, self.backup, &sender) => {}
        }
        done.transfers = transfers_of(self.context, self.backup).await?;
        done.transfers.sort_by_key(|transfer| (transfer.metadata.creation_timestamp.clone(), transfer.name_any()));
        Ok(done)
    }

    /// One pod with hooks; gives the pod back unless a hook before stopped it.
    async fn hooked(
        &self,
        hooked: HookedPod,
        tasks: Vec<VolumeTask>,
        transfers: watch::Receiver<Transfers>,
    ) -> (HookStatus, Option<Item>) {
        let HookedPod { pod, before, after } = hooked;
        let mut status = HookStatus::default();
        self.owed.add(self.context, self.backup, &pod, &after).await;
        let first = self.run_hooks(&pod, &before, &mut status).await;
        if first.is_stopped {
            for task in &tasks {
                let why = "a hook of its pod failed";
                self.log.error(Place::of(pod.namespace()), &format!("{} is not saved: {why}", name_of(task)));
            }
        } else {
            let names = self.start(&tasks).await;
            self.wait(names, transfers).await;
        }
        // Where the only hook before has failed, nothing is to be undone.
        if !first.is_stopped || !first.outputs.is_empty() {
            self.run_hooks(&pod, &after, &mut status).await;
        }
        self.owed.settle(self.context, self.backup, &pod).await;
        (status, (!first.is_stopped).then_some(pod))
    }

    /// Claims that no pod mounts: some at a time get a pod that does, until they are read.
    async fn held(&self, tasks: &[VolumeTask], transfers: &watch::Receiver<Transfers>) {
        for some in tasks.chunks(holder::AT_ONCE) {
            let mut names = BTreeSet::new();
            let holders = some.iter().map(|task| holder::hold(self.context, self.backup, task));
            for (task, held) in some.iter().zip(join_all(holders).await) {
                let started = match held {
                    Ok(node) => self.start_on(task, node).await,
                    Err(why) => Err(Unstarted::Unreachable(why)),
                };
                names.extend(self.told(task, started, &mut BTreeSet::new()));
            }
            self.wait(names, transfers.clone()).await;
            holder::release(self.context, self.backup).await;
        }
    }

    async fn run_hooks(&self, pod: &Item, plan: &Plan, status: &mut HookStatus) -> exec::Outcome {
        let outcome = exec::run_all(&self.context.client, pod, plan).await;
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        status.hooks_attempted = status.hooks_attempted.saturating_add(count(outcome.attempted));
        status.hooks_failed = status.hooks_failed.saturating_add(count(outcome.failed.len()));
        let pod_name = pod.full_name().within_kind();
        for (hook, output) in &outcome.outputs {
            let stdout = String::from_utf8_lossy(&output.stdout);
            let fields = [("container", &*hook.container), ("hookName", &hook.name), ("pod", &pod_name)];
            self.log.info(&format!("A hook ended well; stdout: {stdout:.500}"), &fields);
        }
        for error in &outcome.failed {
            self.log.error(Place::of(pod.namespace()), &error.sentence());
        }
        outcome
    }

    /// Makes PodVolumeBackups; their names. Why one cannot be made is in the log.
    async fn start(&self, tasks: &[VolumeTask]) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let mut told = BTreeSet::new();
        for task in tasks {
            let started = self.start_one(task).await;
            names.extend(self.told(task, started, &mut told));
        }
        names
    }

    /// Puts into the log whether a volume is read; the name of its PodVolumeBackup.
    fn told(
        &self,
        task: &VolumeTask,
        started: std::result::Result<String, Unstarted>,
        told: &mut BTreeSet<String>,
    ) -> Option<String> {
        let message = |why: &str| format!("{} is not saved: {why}", name_of(task));
        let place = || Place::Namespace(task.namespace.clone());
        match started {
            Ok(name) => {
                self.log.info(&format!("Reads {}", name_of(task)), &[("podVolumeBackup", &name)]);
                return Some(name);
            }
            Err(Unstarted::NoAgent(node)) => self.no_agent(task, &node, told),
            Err(Unstarted::Unreachable(why)) => self.log.warning(place(), &message(&why)),
            Err(Unstarted::Failed(why)) => self.log.error(place(), &message(&why)),
        }
        None
    }

    /// An error for each pod, and a warning for each of its volumes: so many count in Velero too, with these words. An error for
    /// each claim that no pod mounts.
    fn no_agent(&self, task: &VolumeTask, node: &str, told: &mut BTreeSet<String>) {
        let why = format!("daemonset pod not found in running state in node {node}");
        let message = format!("{} is not saved: {why}", name_of(task));
        let place = Place::Namespace(task.namespace.clone());
        let Source::Pod { name, .. } = &task.source else {
            self.log.error(place, &message);
            return;
        };
        let pod = format!("{}/{name}", task.namespace);
        if told.insert(pod.clone()) {
            self.log.error(Place::Backup, &format!("Volumes of pod {pod} are not saved: {why}"));
        }
        self.log.warning(place, &message);
    }

    async fn start_one(&self, task: &VolumeTask) -> std::result::Result<String, Unstarted> {
        let (node, agent) = self.agent(task).await?;
        self.ask(task, &node, &agent).await
    }

    /// The same on a node that is known.
    async fn start_on(&self, task: &VolumeTask, node: String) -> std::result::Result<String, Unstarted> {
        let agent = self.agent_on(&node).await?;
        self.ask(task, &node, &agent).await
    }

    /// Makes the PodVolumeBackup of a volume, with its keys for an agent; its name.
    async fn ask(&self, task: &VolumeTask, node: &str, agent: &Agent) -> std::result::Result<String, Unstarted> {
        let failed = |error: Error| Unstarted::Failed(error.to_string());
        let pod = match &task.source {
            Source::Pod { name, .. } => name.as_str(),
            Source::Claim { .. } | Source::Held => "",
        };
        let claim = task.claim.as_ref().map(|(name, _)| name.as_str());
        let volume = repository::volume_name(claim, pod, &task.volume);
        let volume = volume.map_err(|error| Unstarted::Failed(error.to_string()))?;
        let mut repositories = self.repositories.lock().await;
        if !repositories.contains_key(&task.namespace) {
            let opened = repository::ready(self.context, self.location, &task.namespace, self.uploader).await;
            repositories.insert(task.namespace.clone(), opened.map_err(|error| error.to_string()));
        }
        let opened = match repositories.get(&task.namespace) {
            Some(Ok(opened)) => opened,
            Some(Err(why)) => return Err(Unstarted::Failed(why.clone())),
            None => return Err(Unstarted::Failed("its namespace has no repository".to_owned())),
        };
        let keys = opened.keys.as_ref().ok_or_else(|| Unstarted::Failed(format!("no keys of {}", opened.name)))?;
        let sealed = task_keys::seal(&keys.for_volume(&volume), &agent.recipient).map_err(failed)?;
        let means = Means { node, repository: &opened.identifier, uploader: self.uploader, task_keys: sealed };
        let wanted = transfer(self.backup, task, means);
        drop(repositories);
        let created = self.context.api::<PodVolumeBackup>().create(&PostParams::default(), &wanted).await;
        let created = created.map_err(Error::kubernetes(format!("create PodVolumeBackup for {}", name_of(task))));
        Ok(created.map_err(failed)?.name_any())
    }

    /// The node agent that reads a volume.
    async fn agent(&self, task: &VolumeTask) -> std::result::Result<(String, Agent), Unstarted> {
        let failed = |error: Error| Unstarted::Failed(error.to_string());
        let node = match &task.source {
            Source::Pod { node, .. } | Source::Claim { node: Some(node) } => node.clone(),
            Source::Claim { node: None } | Source::Held => {
                let agents = presence::agents(self.context, now()).await.map_err(failed)?;
                let nobody = || Unstarted::Unreachable("no pod mounts it, and no node agent runs".to_owned());
                return agents.into_iter().find(|(_, agent)| agent.is_alive).ok_or_else(nobody);
            }
        };
        let agent = self.agent_on(&node).await?;
        Ok((node, agent))
    }

    async fn agent_on(&self, node: &str) -> std::result::Result<Agent, Unstarted> {
        let found = presence::agent_on(self.context, node, now()).await;
        match found.map_err(|error| Unstarted::Failed(error.to_string()))? {
            Some(agent) if agent.is_alive => Ok(agent),
            _ => Err(Unstarted::NoAgent(node.to_owned())),
        }
    }

    /// Waits until PodVolumeBackups have ended, or the time is over; then they are cancelled.
    async fn wait(&self, names: BTreeSet<String>, mut transfers: watch::Receiver<Transfers>) {
        if names.is_empty() {
            return;
        }
        let have_ended = |all: &Transfers| names.iter().all(|name| all.get(name).is_some_and(has_ended));
        let is_late = timeout_at(self.deadline, transfers.wait_for(have_ended)).await.is_err();
        let seen = transfers.borrow().clone();
        if is_late {
            self.log.error(Place::Backup, "timed out waiting for all PodVolumeBackups to complete");
        }
        for name in &names {
            let Some(transfer) = seen.get(name) else {
                self.log.error(Place::Backup, &format!("PodVolumeBackup {name} was not seen again"));
                continue;
            };
            self.tell(transfer);
            if is_late && !has_ended(transfer) {
                cancel(self.context, name).await;
            }
        }
    }

    fn tell(&self, transfer: &PodVolumeBackup) {
        let place = Place::of(transfer.spec.pod.namespace.as_deref());
        let verdict = judge(transfer);
        if let Some(saved) = &verdict.saved {
            self.log.info(saved, &[("podVolumeBackup", &transfer.name_any())]);
        }
        verdict.errors.iter().for_each(|error| self.log.error(place.clone(), error));
        verdict.warnings.iter().for_each(|warning| self.log.warning(place.clone(), warning));
    }
}

/// Why a volume cannot be read.
enum Unstarted {
    /// No agent runs on its node.
    NoAgent(String),
    /// No node reaches it.
    Unreachable(String),
    /// Something else is missing.
    Failed(String),
}

/// The label that all PodVolumeBackups of a backup have.
fn labels(backup: &Backup) -> String {
    format!("{}={}", label::BACKUP_UID, backup.uid().unwrap_or_default())
}

async fn transfers_of(context: &Context, backup: &Backup) -> Result<Vec<PodVolumeBackup>> {
    context.list(&labels(backup)).await
}

/// Tells for ever what becomes of the PodVolumeBackups of a backup. One that is deleted has failed.
async fn follow(context: &Context, backup: &Backup, sender: &watch::Sender<Transfers>) {
    let api: Api<Guarded<PodVolumeBackup>> = context.api();
    let config = watcher::Config::default().labels(&labels(backup));
    let mut events = pin!(watcher(api, config).default_backoff());
    let mut listed = BTreeSet::new();
    loop {
        match events.try_next().await {
            Ok(Some(watcher::Event::Init)) => listed.clear(),
            Ok(Some(watcher::Event::InitApply(object))) => {
                if let Ok(transfer) = object.0 {
                    listed.insert(transfer.name_any());
                    sender.send_modify(|all| drop(all.insert(transfer.name_any(), transfer)));
                }
            }
            Ok(Some(watcher::Event::InitDone)) => {
                sender.send_modify(|all| all.iter_mut().filter(|(name, _)| !listed.contains(*name)).for_each(lose));
            }
            Ok(Some(watcher::Event::Apply(object))) => {
                if let Ok(transfer) = object.0 {
                    sender.send_modify(|all| drop(all.insert(transfer.name_any(), transfer)));
                }
            }
            Ok(Some(watcher::Event::Delete(object))) => {
                let name = object.name_any();
                sender.send_modify(|all| all.iter_mut().filter(|(known, _)| **known == name).for_each(lose));
            }
            Ok(None) => std::future::pending().await,
            // The watch begins again by itself.
            Err(error) => tracing::warn!(%error, "PodVolumeBackups cannot be watched"),
        }
    }
}

/// What was deleted before its end has failed.
fn lose((_, transfer): (&String, &mut PodVolumeBackup)) {
    if !has_ended(transfer) {
        let status = transfer.status.get_or_insert_default();
        status.phase = Some(TransferPhase::Failed);
        status.message = Some("its PodVolumeBackup was deleted".to_owned());
    }
}

/// Cancels what goes on for a backup that is not finished any more.
pub(super) async fn cancel_all(context: &Context, backup: &Backup) -> Result<()> {
    for transfer in transfers_of(context, backup).await?.iter().filter(|transfer| !has_ended(transfer)) {
        cancel(context, &transfer.name_any()).await;
    }
    holder::release(context, backup).await;
    Ok(())
}

async fn cancel(context: &Context, name: &str) {
    let cancelled = patch::merge::<PodVolumeBackup>(context, name, &json!({ "spec": { "cancel": true } })).await;
    if let Err(error) = cancelled {
        tracing::warn!(%error, "A PodVolumeBackup cannot be cancelled");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trysail_cluster::kind::Kind;

    use super::*;

    fn hooked(name: &str) -> HookedPod {
        let kind = Kind {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            plural: "pods".to_owned(),
            is_namespaced: true,
            aliases: Vec::new(),
        };
        let pod = Item::new(kind.into(), json!({ "metadata": { "name": name, "namespace": "app" } }));
        HookedPod { pod, before: Plan::default(), after: Plan::default() }
    }

    fn task(pod: Option<&str>, volume: &str) -> VolumeTask {
        let of_pod = |name: &str| Source::Pod { name: name.to_owned(), uid: String::new(), node: String::new() };
        VolumeTask {
            namespace: "app".to_owned(),
            source: pod.map_or(Source::Claim { node: None }, of_pod),
            volume: volume.to_owned(),
            claim: None,
            exclude: Vec::new(),
        }
    }

    #[test]
    fn volumes_of_pods_with_hooks_go_with_their_pods_and_a_pod_without_volumes_keeps_its_hooks() {
        let tasks = vec![task(Some("web"), "a"), task(Some("db"), "b"), task(None, "c"), task(Some("db"), "d")];
        let (groups, others) = grouped(tasks, vec![hooked("db"), hooked("idle")]);
        let names = |tasks: &[VolumeTask]| tasks.iter().map(|task| task.volume.clone()).collect::<Vec<_>>().join(" ");
        let groups: Vec<(String, String)> =
            groups.iter().map(|(pod, tasks)| (pod.pod.name().to_owned(), names(tasks))).collect();
        let expected = [("db", "b d"), ("idle", "")].map(|(pod, tasks)| (pod.to_owned(), tasks.to_owned()));
        assert_eq!((groups, names(&others)), (expected.to_vec(), "a c".to_owned()));
    }

    #[test]
    fn a_transfer_that_is_deleted_before_its_end_has_failed() {
        let transfer = |phase: &str| -> PodVolumeBackup {
            serde_json::from_value(json!({
                "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup", "metadata": { "name": "v" },
                "spec": {
                    "node": "n", "pod": {}, "volume": "v", "backupStorageLocation": "default", "repoIdentifier": "",
                },
                "status": { "phase": phase },
            }))
            .unwrap()
        };
        let lost = |phase: &str| {
            let mut transfer = transfer(phase);
            lose((&"v".to_owned(), &mut transfer));
            transfer.status.and_then(|status| status.phase)
        };
        let found = [lost("InProgress"), lost("Completed")];
        assert_eq!(found, [Some(TransferPhase::Failed), Some(TransferPhase::Completed)]);
    }
}
