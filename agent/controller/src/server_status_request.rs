//! Answers `velero version` and `velero plugin get`: who serves, and in which version.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, ResourceExt as _,
    api::DeleteParams,
    runtime::{Controller, controller::Action, watcher},
};
use serde_json::{Value, json};
use trysail_api::{
    download_request::RequestPhase,
    server_status_request::{Plugin, ServerStatusRequest},
    time::Time,
};

use crate::{
    Error, Result,
    context::{Context, now},
    drive::{Guarded, PROMPT, drive},
    error::unless,
    patch,
    settings::SERVER_VERSION,
};

/// How long an answer stays. Source: Velero `pkg/controller/server_status_request_controller.go`.
const STAYS: SignedDuration = SignedDuration::from_mins(1);

/// What `velero plugin get` shows: built in, under the names of the plugins that they stand for.
const PLUGINS: [(&str, &str); 3] =
    [("velero.io/aws", "ObjectStore"), ("velero.io/pod", "BackupItemAction"), ("velero.io/pod", "RestoreItemAction")];

/// What is to be done about a request.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Answer it.
    Answer(Value),
    /// It was answered long enough ago.
    Delete,
    /// It is answered; look again after that time.
    Keep(SignedDuration),
}

/// Answers all requests for ever.
pub(crate) async fn run(context: Arc<Context>) {
    let api: Api<Guarded<ServerStatusRequest>> = context.api();
    let controller = Controller::new(api, watcher::Config::default());
    drive("server-status-request", controller, PROMPT, reconcile, context).await;
}

async fn reconcile(request: Arc<ServerStatusRequest>, context: Arc<Context>) -> Result<Action> {
    let name = request.name_any();
    match decide(&request, now()) {
        Step::Answer(status) => {
            patch::merge::<ServerStatusRequest>(&context, &name, &json!({ "status": status })).await?;
            Ok(Action::await_change())
        }
        Step::Delete => {
            let deleted = context.api::<ServerStatusRequest>().delete(&name, &DeleteParams::default()).await;
            let what = format!("delete server status request {name}");
            unless(&[404], deleted).map_err(Error::kubernetes(what))?;
            Ok(Action::await_change())
        }
        Step::Keep(left) => Ok(Action::requeue(Duration::try_from(left).unwrap_or_default())),
    }
}

fn decide(request: &ServerStatusRequest, now: Timestamp) -> Step {
    let status = request.status.clone().unwrap_or_default();
    if status.phase != Some(RequestPhase::Processed) {
        let plugin = |(name, kind): &(&str, &str)| Plugin { kind: (*kind).to_owned(), name: (*name).to_owned() };
        let plugins: Vec<Plugin> = PLUGINS.iter().map(plugin).collect();
        return Step::Answer(json!({
            "phase": RequestPhase::Processed,
            "processedTimestamp": Time::new(now),
            "serverVersion": SERVER_VERSION,
            "plugins": plugins,
        }));
    }
    let age = status.processed_timestamp.map_or(STAYS, |at| now.duration_since(at.timestamp()));
    if age >= STAYS { Step::Delete } else { Step::Keep(STAYS - age) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(status: &Value) -> ServerStatusRequest {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "ServerStatusRequest",
            "metadata": { "name": "velero-cli-x" }, "spec": {}, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_request_is_answered_kept_for_a_minute_and_deleted() {
        let now: Timestamp = "2026-11-21T06:00:59Z".parse().unwrap();
        let Step::Answer(answer) = decide(&request(&json!({ "phase": "New" })), now) else { panic!("not answered") };
        assert_eq!(answer["serverVersion"], SERVER_VERSION);
        let answered = |at: &str| decide(&request(&json!({ "phase": "Processed", "processedTimestamp": at })), now);
        assert_eq!(answered("2026-11-21T06:00:00Z"), Step::Keep(SignedDuration::from_secs(1)));
        assert_eq!(answered("2026-11-21T05:59:59Z"), Step::Delete);
    }
}
