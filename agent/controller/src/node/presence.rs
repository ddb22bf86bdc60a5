//! Whether a node agent lives, and for whom its secrets are encrypted: a Lease for each node, renewed while the agent runs.
//!
//! The recipient lives as long as the process, so a Lease of a process that is gone names keys that nobody opens.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::api::{ObjectMeta, Patch, PatchParams};
use serde_json::json;
use trysail_api::names::{label_value, own};
use trysail_repository::seal::Recipient;

use crate::{Error, Result, context::Context};

/// Pause between renewals: rare, since each is a write of etcd.
pub(super) const PERIOD: Duration = Duration::from_secs(30);

/// Pause before a renewal that failed is tried again.
pub(super) const RETRY: Duration = Duration::from_secs(5);

/// How old a renewal may be while its agent counts as alive: some renewals that failed, and clocks that are a minute apart.
const AGE_MAX: SignedDuration = SignedDuration::from_mins(2);

/// Who writes the Lease, for server-side apply.
const MANAGER: &str = "trysail-node-agent";

/// A node agent as its Lease tells of it.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    /// Opens what is encrypted for this process.
    pub(crate) recipient: Recipient,
    /// Whether it has renewed its Lease lately.
    pub(crate) is_alive: bool,
}

/// What comes before a node's name in the name of its Lease.
const PREFIX: &str = "trysail-node-";

/// Name of the Lease of a node.
fn name(node: &str) -> String {
    format!("{PREFIX}{}", label_value(node))
}

/// The agent on a node; none where there never was one, or it was stopped.
pub(crate) async fn agent_on(context: &Context, node: &str, now: Timestamp) -> Result<Option<Agent>> {
    let lease = context.get::<Lease>(&name(node)).await?;
    lease.and_then(|lease| read(&lease, now)).transpose()
}

/// All agents, with the names of their nodes; those of which the name is longer than a label's value go by that value.
pub(crate) async fn agents(context: &Context, now: Timestamp) -> Result<Vec<(String, Agent)>> {
    let leases: Vec<Lease> = context.list("").await?;
    let of_node =
        |lease: &Lease| lease.metadata.name.as_deref().and_then(|name| name.strip_prefix(PREFIX)).map(str::to_owned);
    let found = leases.iter().filter_map(|lease| of_node(lease).zip(read(lease, now)));
    found.map(|(node, agent)| agent.map(|agent| (node, agent))).collect()
}

/// What a Lease says; none where its holder has given it back.
fn read(lease: &Lease, now: Timestamp) -> Option<Result<Agent>> {
    let spec = lease.spec.as_ref()?;
    spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())?;
    let text = lease.metadata.annotations.as_ref()?.get(own::RECIPIENT)?;
    let renewed = spec.renew_time.as_ref().map_or(Timestamp::MIN, |at| at.0);
    // A renewal of the future comes from a clock that is ahead, and not from the dead.
    let is_alive = now.duration_since(renewed) <= AGE_MAX;
    let what = lease.metadata.name.clone().unwrap_or_default();
    let wrong = |error: trysail_repository::seal::Error| Error::Object {
        what: format!("Lease {what}, annotation {}", own::RECIPIENT),
        reason: error.to_string(),
    };
    Some(Recipient::parse(text).map(|recipient| Agent { recipient, is_alive }).map_err(wrong))
}

/// Says that the agent of a node lives, and who it is.
pub(super) async fn renew(
    context: &Context,
    node: &str,
    recipient: &Recipient,
    began: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name(node)),
            annotations: Some([(own::RECIPIENT.to_owned(), recipient.text().to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(context.settings.identity.clone()),
            lease_duration_seconds: i32::try_from(AGE_MAX.as_secs()).ok(),
            acquire_time: Some(MicroTime(began)),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }),
    };
    let parameters = PatchParams::apply(MANAGER).force();
    let written = context.api::<Lease>().patch(&name(node), &parameters, &Patch::Apply(&lease)).await;
    written.map(|_| ()).map_err(Error::kubernetes(format!("renew Lease {}", name(node))))
}

/// Says that the agent of a node is gone.
pub(super) async fn release(context: &Context, node: &str) -> Result<()> {
    let fields = json!({ "spec": { "holderIdentity": "" } });
    crate::patch::merge::<Lease>(context, &name(node), &fields).await
}

#[cfg(test)]
mod tests {
    use trysail_repository::seal::Identity;

    use super::*;

    fn lease(holder: &str, renewed: &str) -> Lease {
        serde_json::from_value(json!({
            "metadata": { "name": "trysail-node-a", "annotations": { own::RECIPIENT: Identity::ephemeral().1.text() } },
            "spec": { "holderIdentity": holder, "renewTime": renewed },
        }))
        .unwrap()
    }

    fn alive(lease: &Lease) -> Option<bool> {
        read(lease, "2026-11-21T06:02:00Z".parse().unwrap()).map(|agent| agent.unwrap().is_alive)
    }

    #[test]
    fn an_agent_is_alive_until_its_renewals_stop_for_two_minutes() {
        assert_eq!(alive(&lease("a_1", "2026-11-21T06:00:00.000000Z")), Some(true));
        assert_eq!(alive(&lease("a_1", "2026-11-21T05:59:59.999999Z")), Some(false));
        assert_eq!(alive(&lease("a_1", "2026-11-21T06:30:00.000000Z")), Some(true));
    }

    #[test]
    fn an_agent_that_was_stopped_is_none() {
        assert_eq!(alive(&lease("", "2026-11-21T06:02:00.000000Z")), None);
        assert_eq!(alive(&Lease::default()), None);
    }
}
