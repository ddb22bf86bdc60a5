//! The node agent: reads the volumes of its node into repositories. One process on each node, which takes the PodVolumeBackups
//! that name its node.
//!
//! `agent` decides what becomes of each of them, `transfer` carries one out, `source` finds the directory on the node. The agent
//! reads alone: keys come sealed with each PodVolumeBackup, and writing into volumes is another program's work.

mod agent;
mod bandwidth;
mod door;
pub(crate) mod metrics;
pub mod posture;
pub(crate) mod presence;
pub(crate) mod problems;
mod source;
mod transfer;
pub mod volume_restore;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use trysail_repository::seal::{Identity, Recipient};

use crate::{
    Result,
    context::{Context, now},
    http,
    metrics::Metrics,
    server,
    settings::{self, SERVER_VERSION},
};
use agent::Agent;

/// Volumes that are read at once. Each needs some 50 MiB.
pub const CONCURRENCY: usize = 2;

/// Where the chart mounts the kubelet's directory of pods.
pub const PODS: &str = "/host_pods";

/// How long transfers may take to end when the agent is stopped: within the 30 s that a pod is given.
const GRACE: Duration = Duration::from_secs(20);

/// What the agent is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The namespace whose objects it serves.
    pub namespace: String,
    /// The node that it runs on.
    pub node: String,
    /// Who it is: the name of its pod.
    pub identity: String,
    /// Where metrics and health are told.
    pub metrics_address: SocketAddr,
    /// Where the kubelet's directory of pods is to be found.
    pub pods: PathBuf,
    /// Directories of the node, found at the same paths, below which volumes may lie that the kubelet does not mount.
    pub host_paths: Vec<PathBuf>,
    /// Volumes that are read at once.
    pub concurrency: usize,
    /// Bytes that all uploads together may send in a second; 0 for no limit.
    pub upload_rate: u64,
    /// The file with credentials of locations that name no Secret.
    pub credentials_file: Option<PathBuf>,
    /// The file that says where the API server is; else what the environment says.
    pub kubeconfig: Option<PathBuf>,
    /// The context of that file; its current one where absent.
    pub kube_context: Option<String>,
}

impl Settings {
    /// Those of an agent that is told nothing but its place.
    pub fn new(namespace: String, node: String, identity: String, metrics_address: SocketAddr) -> Self {
        Self {
            namespace,
            node,
            identity,
            metrics_address,
            pods: PODS.into(),
            host_paths: Vec::new(),
            concurrency: CONCURRENCY,
            upload_rate: 0,
            credentials_file: None,
            kubeconfig: None,
            kube_context: None,
        }
    }

    fn of_context(&self) -> settings::Settings {
        settings::Settings {
            credentials_file: self.credentials_file.clone(),
            kubeconfig: self.kubeconfig.clone(),
            kube_context: self.kube_context.clone(),
            ..settings::Settings::new(self.namespace.clone(), self.identity.clone(), self.metrics_address)
        }
    }
}

/// Serves until `stop` resolves, or an error that time does not heal. Transfers that go on then end as failed.
///
/// # Errors
/// Where no API server is named, or the address of the metrics cannot be listened on.
pub async fn run(settings: Settings, stop: impl Future<Output = ()>) -> Result<()> {
    tracing::info!(version = SERVER_VERSION, node = settings.node, "Starting the node agent");
    let of_context = settings.of_context();
    let client = server::client(of_context.kubeconfig.as_deref(), of_context.kube_context.as_deref()).await?;
    let context = Arc::new(Context::new(client, of_context, Metrics::new()));
    let (identity, recipient) = Identity::ephemeral();
    let agent = Arc::new(Agent::new(Arc::clone(&context), settings, identity));
    match posture::now() {
        Ok(posture) => agent.metrics.posture(posture),
        Err(error) => tracing::warn!(%error, "The kernel does not tell our rights"),
    }
    let told = Arc::clone(&agent);
    let ended = tokio::select! {
        ended = http::serve(agent.settings.metrics_address, move || told.metrics.text()) => ended,
        () = keep_presence(&agent, &recipient) => Ok(()),
        () = agent::run(Arc::clone(&agent)) => Ok(()),
        () = stop => Ok(()),
    };
    tracing::info!("Stopping the node agent");
    if let Err(error) = presence::release(&context, &agent.settings.node).await {
        tracing::warn!(%error, "The agent's Lease could not be given back");
    }
    agent.stop(GRACE).await;
    ended
}

/// Renews the Lease of this agent for ever.
async fn keep_presence(agent: &Agent, recipient: &Recipient) {
    let began = now();
    let mut ticks = interval(presence::PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = presence::renew(&agent.context, &agent.settings.node, recipient, began, now()).await {
            tracing::warn!(%error, "The agent's Lease could not be renewed");
            ticks.reset_after(presence::RETRY);
        }
    }
}
