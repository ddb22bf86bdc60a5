//! What becomes of each PodVolumeBackup of this node: it is started, ended, or, where a process that is gone began it, told as
//! failed. One agent runs on a node, so what goes on and is not its own goes on nowhere.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::{
    ResourceExt as _,
    runtime::{Controller, controller::Action, watcher},
};
use serde_json::json;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::timeout,
};
use trysail_api::{pod_volume_backup::PodVolumeBackup, time::Time, transfer::TransferPhase};
use trysail_repository::seal::Identity;

use super::{Settings, bandwidth::Bandwidth, door::End, metrics::NodeMetrics, transfer};
use crate::{
    Result,
    context::{Context, now},
    drive::{Guarded, PROMPT, drive},
    patch,
};

/// What is told of a transfer that a process began which is gone.
const INTERRUPTED: &str =
    "the node agent was restarted while it read the volume; the next backup goes on from what is stored";

/// The agent of one node.
pub(super) struct Agent {
    pub(super) context: Arc<Context>,
    pub(super) settings: Settings,
    /// Opens the task keys that are sealed for this process.
    pub(super) identity: Identity,
    pub(super) metrics: NodeMetrics,
    /// A permit for each volume that may be read at once.
    pub(super) slots: Arc<Semaphore>,
    /// What all uploads share.
    pub(super) bandwidth: Arc<Bandwidth>,
    running: Mutex<HashMap<String, Running>>,
}

/// A transfer of this process.
struct Running {
    end: Arc<watch::Sender<Option<End>>>,
    task: JoinHandle<()>,
}

/// What is to be done about a PodVolumeBackup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is another node's, or over, or goes on.
    Nothing,
    /// Read the volume.
    Start,
    /// It goes on, and is to end.
    End,
    /// It is to be cancelled before it began.
    Cancel,
    /// A process that is gone began it.
    Interrupted,
}

impl Agent {
    pub(super) fn new(context: Arc<Context>, settings: Settings, identity: Identity) -> Self {
        let metrics = NodeMetrics::new(&settings.node, &context.metrics);
        let slots = Arc::new(Semaphore::new(settings.concurrency.max(1)));
        let bandwidth = Arc::new(Bandwidth::new(settings.upload_rate));
        Self { context, settings, identity, metrics, slots, bandwidth, running: Mutex::default() }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a transfer. The entry is there before the task can remove it.
    fn start(self: &Arc<Self>, name: String, uid: String) {
        let end = Arc::new(watch::Sender::new(None));
        let mut running = self.running();
        let agent = Arc::clone(self);
        let (own, key) = (Arc::clone(&end), uid.clone());
        let task = tokio::spawn(async move {
            transfer::run(&agent, &name, &key, &own).await;
            agent.running().remove(&key);
        });
        running.insert(uid, Running { end, task });
    }

    /// Ends all transfers, and waits until they are told as failed, but not for longer than that.
    pub(super) async fn stop(&self, grace: Duration) {
        let all: Vec<Running> = self.running().drain().map(|(_, running)| running).collect();
        for running in &all {
            running.end.send_replace(Some(End::Stopped));
        }
        let ends = futures::future::join_all(all.into_iter().map(|running| running.task));
        if timeout(grace, ends).await.is_err() {
            tracing::warn!("A transfer did not end in time; it is told as failed when the agent starts again");
        }
    }
}

/// Looks after the PodVolumeBackups of a node for ever.
pub(super) async fn run(agent: Arc<Agent>) {
    let context = Arc::clone(&agent.context);
    let controller = Controller::new(context.api::<Guarded<PodVolumeBackup>>(), watcher::Config::default());
    let each = move |transfer, _| reconcile(transfer, Arc::clone(&agent));
    drive("pod-volume-backup", controller, PROMPT, each, context).await;
}

async fn reconcile(transfer: Arc<PodVolumeBackup>, agent: Arc<Agent>) -> Result<Action> {
    let (name, uid) = (transfer.name_any(), transfer.uid().unwrap_or_default());
    let is_running = agent.running().contains_key(&uid);
    match decide(&transfer, &agent.settings.node, is_running) {
        Step::Nothing => {}
        Step::Start => {
            agent.metrics.enqueued();
            agent.start(name, uid);
        }
        Step::End => {
            if let Some(running) = agent.running().get(&uid) {
                running.end.send_replace(Some(End::Cancelled));
            }
            if phase(&transfer) != TransferPhase::Canceling {
                let fields = json!({ "status": { "phase": TransferPhase::Canceling } });
                patch::merge::<PodVolumeBackup>(&agent.context, &name, &fields).await?;
            }
        }
        Step::Cancel => end(&transfer, TransferPhase::Canceled, "it was cancelled before it began", &agent).await?,
        Step::Interrupted => {
            tracing::warn!("Found a transfer that a process before this one began");
            end(&transfer, TransferPhase::Failed, INTERRUPTED, &agent).await?;
        }
    }
    Ok(Action::await_change())
}

/// How far a transfer is.
pub(super) fn phase(transfer: &PodVolumeBackup) -> TransferPhase {
    transfer.status.as_ref().and_then(|status| status.phase).unwrap_or(TransferPhase::New)
}

/// Pure.
fn decide(transfer: &PodVolumeBackup, node: &str, is_running: bool) -> Step {
    let phase = phase(transfer);
    if transfer.spec.node != node || phase.is_terminal() {
        return Step::Nothing;
    }
    match (is_running, transfer.spec.cancel == Some(true)) {
        (true, true) => Step::End,
        (true, false) => Step::Nothing,
        (false, true) => Step::Cancel,
        (false, false) if phase == TransferPhase::New => Step::Start,
        (false, false) => Step::Interrupted,
    }
}

/// Ends a transfer that does not go on, if it still is as it was seen: a watch may be late.
async fn end(transfer: &PodVolumeBackup, phase: TransferPhase, message: &str, agent: &Agent) -> Result<()> {
    let fields = json!({
        "metadata": { "resourceVersion": transfer.metadata.resource_version },
        "status": { "phase": phase, "message": message, "completionTimestamp": Time::new(now()) },
    });
    patch::merge_if_unchanged::<PodVolumeBackup>(&agent.context, &transfer.name_any(), &fields).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(node: &str, phase: &str, cancel: bool) -> PodVolumeBackup {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup", "metadata": { "name": "b1-x" },
            "spec": {
                "backupStorageLocation": "default", "node": node, "repoIdentifier": "", "volume": "data", "pod": {},
                "cancel": cancel,
            },
            "status": { "phase": phase },
        }))
        .unwrap()
    }

    #[test]
    fn a_transfer_is_started_once_and_by_its_own_node() {
        assert_eq!(decide(&transfer("n1", "New", false), "n1", false), Step::Start);
        assert_eq!(decide(&transfer("n1", "New", false), "n1", true), Step::Nothing);
        assert_eq!(decide(&transfer("n2", "New", false), "n1", false), Step::Nothing);
        assert_eq!(decide(&transfer("n1", "InProgress", false), "n1", true), Step::Nothing);
    }

    #[test]
    fn what_a_process_that_is_gone_began_has_failed() {
        let steps = ["Accepted", "Prepared", "InProgress", "Canceling", "Completed", "Failed", "Canceled"]
            .map(|phase| decide(&transfer("n1", phase, false), "n1", false));
        let (lost, over) = (Step::Interrupted, Step::Nothing);
        assert_eq!(steps, [lost, lost, lost, lost, over, over, over]);
    }

    #[test]
    fn a_transfer_is_cancelled_whether_it_began_or_not() {
        assert_eq!(decide(&transfer("n1", "InProgress", true), "n1", true), Step::End);
        assert_eq!(decide(&transfer("n1", "New", true), "n1", false), Step::Cancel);
        assert_eq!(decide(&transfer("n1", "Canceling", true), "n1", false), Step::Cancel);
        assert_eq!(decide(&transfer("n1", "Completed", true), "n1", false), Step::Nothing);
    }
}
