//! `trysail version`: of this program, and of the server.

use anyhow::{Context as _, Result};
use kube::ResourceExt as _;
use serde_json::json;
use tokio::time::timeout;
use trysail_api::server_status_request::{ServerStatusRequest, ServerStatusRequestSpec};
use trysail_controller::settings::SERVER_VERSION;

use super::backup::span;
use crate::{
    Outcome,
    args::{Format, Shared, cluster::Version},
    cluster::Cluster,
    output,
};

/// Tells the versions.
pub(super) async fn run(shared: &Shared, version: &Version) -> Result<Outcome> {
    let server = if version.client_only { None } else { Some(server(version).await) };
    if shared.format() != Format::Table {
        let told = server.and_then(Result::ok);
        output::value(shared.format(), &json!({ "client": SERVER_VERSION, "server": told }))?;
        return Ok(Outcome::Done);
    }
    output::line(&format!("Client:\n\tVersion: {SERVER_VERSION}"))?;
    match server {
        None => {}
        Some(Err(error)) => output::line(&format!("<error getting server version: {error:#}>"))?,
        Some(Ok(told)) => {
            output::line(&format!("Server:\n\tVersion: {told}"))?;
            if line_of(&told) != line_of(SERVER_VERSION) {
                output::line("# WARNING: the client version does not match the server version")?;
            }
        }
    }
    Ok(Outcome::Done)
}

/// Asks the server and waits for its answer. It deletes the request a minute later.
async fn server(version: &Version) -> Result<String> {
    let cluster = Cluster::connect(&version.connection).await?;
    let mut request = ServerStatusRequest::new("", ServerStatusRequestSpec {});
    request.metadata.name = None;
    request.metadata.generate_name = Some("velero-cli-".to_owned());
    let asked = async {
        let made = cluster.create(&request).await?;
        let has_answered = |request: &ServerStatusRequest| version_of(request).is_some();
        cluster.until(&made.name_any(), has_answered).await
    };
    let limit = span(&version.timeout);
    let answered = timeout(limit, asked).await;
    let answered =
        answered.map_err(|_| anyhow::anyhow!("the server did not answer within {} s", limit.as_secs()))??;
    answered.as_ref().and_then(version_of).context("the request was deleted before the server answered")
}

fn version_of(request: &ServerStatusRequest) -> Option<String> {
    request.status.as_ref()?.server_version.clone()
}

/// Major and minor version.
fn line_of(version: &str) -> Option<(&str, &str)> {
    let mut parts = version.split('.');
    Some((parts.next()?, parts.next()?))
}
