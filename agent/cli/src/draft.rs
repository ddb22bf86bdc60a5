//! What was typed, as the objects that are asked for. Pure: what must be known of a cluster for that is given.

pub(crate) mod backup;
pub(crate) mod location;
pub(crate) mod restore;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use trysail_api::duration::Duration;

/// A list; none where nothing was typed.
fn list(items: &[String]) -> Option<Vec<String>> {
    (!items.is_empty()).then(|| items.to_vec())
}

/// Pairs; none where nothing was typed. Of two with one key the later one counts.
fn map(pairs: &[(String, String)]) -> Option<BTreeMap<String, String>> {
    (!pairs.is_empty()).then(|| pairs.iter().cloned().collect())
}

/// A span as Go spells it: so it comes into objects.
fn span(duration: Option<&Duration>) -> Option<Duration> {
    duration.map(|duration| Duration::from_nanoseconds(duration.nanoseconds()))
}

/// The rules of a `ConfigMap`. Source: Velero internal/resourcepolicies.
fn config_map(name: Option<&String>) -> Option<trysail_api::reference::LocalReference> {
    name.map(|name| trysail_api::reference::LocalReference {
        api_group: None,
        kind: "configmap".to_owned(),
        name: name.clone(),
    })
}

/// Refuses what the server would refuse.
fn refuse(problems: &[String]) -> Result<()> {
    ensure!(problems.is_empty(), "{}", problems.join("; "));
    Ok(())
}
