//! `trysail node-agent`: from what was typed and the environment to the settings of the agent, and its start.

use anyhow::Result;
use trysail_controller::node::{self, Settings, volume_restore};

use super::server::{address, end, identity, start_log, variable};
use crate::{
    Outcome,
    args::{NodeRestore, NodeServer, WithoutEffect},
};

/// Reads volumes until the process is told to end.
pub(crate) async fn serve(agent: NodeServer) -> Result<Outcome> {
    start_log(agent.log_format, &agent.log_level, &agent.without_effect);
    node::run(settings(agent, variable)?, end()?).await?;
    Ok(Outcome::Done)
}

/// Fills the volume of one restored pod.
pub(crate) async fn restore(restore: NodeRestore) -> Result<Outcome> {
    start_log(restore.log_format, &restore.log_level, &WithoutEffect::default());
    let settings = volume_restore::Settings {
        namespace: restore.namespace,
        name: restore.name,
        target: restore.target,
        identities: restore.identities,
        credentials_file: variable("AWS_SHARED_CREDENTIALS_FILE").map(Into::into),
        kubeconfig: restore.kubeconfig,
    };
    volume_restore::run(&settings).await?;
    Ok(Outcome::Done)
}

/// Keeps a pod running, and with it the mount of its claim.
pub(crate) async fn hold() -> Result<Outcome> {
    end()?.await;
    Ok(Outcome::Done)
}

fn settings(agent: NodeServer, env: impl Fn(&str) -> Option<String>) -> Result<Settings> {
    let metrics_address = address(&agent.metrics_address)?;
    Ok(Settings {
        pods: agent.pods,
        host_paths: agent.host_path,
        concurrency: agent.concurrency,
        upload_rate: agent.upload_rate,
        credentials_file: env("AWS_SHARED_CREDENTIALS_FILE").map(Into::into),
        kubeconfig: agent.kubeconfig,
        kube_context: agent.kubecontext,
        ..Settings::new(agent.namespace, agent.node_name, identity(&env), metrics_address)
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command, NodeAgent};

    #[test]
    fn the_arguments_of_velero_s_chart_start_the_node_agent() {
        // Chart 12.1.0 with a few values, and what `velero install` of 1.13 says.
        let given = [
            "velero",
            "node-agent",
            "server",
            "--features=",
            "--log-level=debug",
            "--log-format=text",
            "--resource-timeout=10m",
            "--data-mover-prepare-timeout=30m",
            "--node-agent-configmap=node-agent-config",
            "--node-name=node1",
            "--concurrency=1",
            "--upload-rate=1000000",
            "--host-path=/opt/local-path-provisioner",
        ];
        let Command::NodeAgent(NodeAgent::Server(agent)) = Args::parse_from(given).command else { panic!("{given:?}") };
        let ignored = ["data-mover-prepare-timeout", "features", "node-agent-configmap"];
        assert_eq!(agent.without_effect.0, ignored);
        let env = |name: &str| match name {
            "POD_NAME" => Some("node-agent-x".to_owned()),
            "AWS_SHARED_CREDENTIALS_FILE" => Some("/credentials/cloud".to_owned()),
            _ => None,
        };
        let identity = format!("node-agent-x_{}", std::process::id());
        let base = Settings::new("velero".to_owned(), "node1".to_owned(), identity, "0.0.0.0:8085".parse().unwrap());
        let expected = Settings {
            host_paths: vec!["/opt/local-path-provisioner".into()],
            concurrency: 1,
            upload_rate: 1_000_000,
            credentials_file: Some("/credentials/cloud".into()),
            ..base
        };
        assert_eq!(settings(*agent, env).unwrap(), expected);
    }
}
