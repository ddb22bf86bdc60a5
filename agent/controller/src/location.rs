//! Whether a BackupStorageLocation can be used: looked at again and again (`look`), judged (`judge`), and told.
//!
//! A location is looked at every minute, and its status is written when that changes something, and else once an hour:
//! this is the only writer of it. The spec stays as the user wrote it, also where several locations are the default.

mod judge;
mod look;

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Resource as _, ResourceExt as _,
    runtime::{Controller, controller::Action, watcher},
};
use serde_json::{Value, json};
use trysail_api::{
    backup_storage_location::{BackupStorageLocation, BackupStorageLocationSpec, LocationPhase},
    names::own,
    time::Time,
};

use crate::{
    Result,
    bucket::Place,
    condition,
    context::{Context, now},
    drive::{CALM, Guarded, drive},
    patch,
};
use judge::{Finding, Verdict, judge};
use look::look;

/// How old `lastValidationTime` may become while nothing changes. Each write is one of etcd, on every home lab's SSD.
const STATUS_AGE: SignedDuration = SignedDuration::from_hours(1);

/// What is known of a location since it was last looked at.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    spec: BackupStorageLocationSpec,
    looked_at: Timestamp,
    finding: Finding,
    /// Reasons that the metrics show.
    reasons: Vec<&'static str>,
    /// When backups of others were last taken over.
    pub(crate) synced_at: Option<Timestamp>,
}

/// What else there is to know, for a judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
struct World {
    /// Other locations that say they are the default, and were made later; the newest last.
    newer_defaults: Vec<String>,
}

/// What is to be done about a location.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    verdict: Verdict,
    /// The status has to be written.
    writes: bool,
    /// What is said has changed, and is told as an Event too.
    tells: bool,
}

/// Looks after all locations for ever.
pub(crate) async fn run(context: Arc<Context>) {
    let api: Api<Guarded<BackupStorageLocation>> = context.api();
    let controller = Controller::new(api, watcher::Config::default());
    drive("backup-storage-location", controller, CALM, reconcile, context).await;
}

/// How often a location is looked at; none for only once.
fn frequency(location: &BackupStorageLocation, default: Duration) -> Option<Duration> {
    let own = location.spec.validation_frequency.as_ref().map(|own| u64::try_from(own.nanoseconds()).unwrap_or(0));
    let frequency = own.map_or(default, Duration::from_nanos);
    (!frequency.is_zero()).then_some(frequency)
}

async fn reconcile(location: Arc<BackupStorageLocation>, context: Arc<Context>) -> Result<Action> {
    let every = frequency(&location, context.settings.validation_frequency);
    let (finding, looked_at) = finding(&location, every, &context).await?;
    let world = gather(&location, &context).await?;
    let now = now();
    let step = decide(&location, &finding, &world, looked_at, now);
    report(&location, &step, looked_at, &context).await?;
    Ok(every.map_or_else(Action::await_change, |every| {
        let age = Duration::try_from(now.duration_since(looked_at)).unwrap_or_default();
        Action::requeue(every.saturating_sub(age).max(Duration::from_secs(1)))
    }))
}

/// What was last found, looked at again where that is due: by time, or because the user changed the location.
async fn finding(
    location: &BackupStorageLocation,
    every: Option<Duration>,
    context: &Context,
) -> Result<(Finding, Timestamp)> {
    let name = location.name_any();
    let known = context.known().get(&name).cloned();
    let now = now();
    let is_fresh = |known: &&Known| {
        let age = now.duration_since(known.looked_at);
        known.spec == location.spec && every.is_none_or(|every| age < SignedDuration::try_from(every).unwrap_or(age))
    };
    if let Some(known) = known.as_ref().filter(is_fresh) {
        return Ok((known.finding.clone(), known.looked_at));
    }
    // Writing is tried where it is not known to work: at first, after a change, and after a failure.
    let is_new = known.as_ref().is_none_or(|known| known.spec != location.spec || !known.finding.is_usable());
    let place = Place::open(location, context).await;
    let finding = look(location, place, is_new).await?;
    let mut all = context.known();
    let before = all.remove(&name);
    let (reasons, synced_at) = before.map(|k| (k.reasons, k.synced_at)).unwrap_or_default();
    let known = Known { spec: location.spec.clone(), looked_at: now, finding: finding.clone(), reasons, synced_at };
    all.insert(name, known);
    Ok((finding, now))
}

async fn gather(location: &BackupStorageLocation, context: &Context) -> Result<World> {
    if location.spec.default != Some(true) {
        return Ok(World { newer_defaults: Vec::new() });
    }
    let all: Vec<BackupStorageLocation> = context.list("").await?;
    let is_newer = |other: &&BackupStorageLocation| other.spec.default == Some(true) && rank(other) > rank(location);
    let mut newer: Vec<&BackupStorageLocation> = all.iter().filter(is_newer).collect();
    newer.sort_by_key(|location| rank(location));
    Ok(World { newer_defaults: newer.into_iter().map(kube::ResourceExt::name_any).collect() })
}

/// Of several defaults the one that was made last counts. Source: Velero `ensureSingleDefaultBSL`.
fn rank(location: &BackupStorageLocation) -> (Option<Timestamp>, String) {
    (location.meta().creation_timestamp.as_ref().map(|at| at.0), location.name_any())
}

/// The location that is meant where none is named: the newest that says so, else the one of the settings.
pub(crate) fn default_of<'l>(
    locations: &'l [BackupStorageLocation],
    settings_name: &str,
) -> Option<&'l BackupStorageLocation> {
    let marked = locations.iter().filter(|location| location.spec.default == Some(true));
    let newest = marked.max_by_key(|location| rank(location));
    newest.or_else(|| locations.iter().find(|location| location.metadata.name.as_deref() == Some(settings_name)))
}

/// Pure.
fn decide(
    location: &BackupStorageLocation,
    finding: &Finding,
    world: &World,
    looked_at: Timestamp,
    now: Timestamp,
) -> Step {
    let verdict = judge(location, finding, &world.newer_defaults);
    let status = location.status.clone().unwrap_or_default();
    let message = status.message.clone().unwrap_or_default();
    let says = location.annotations().get(own::CONDITION).cloned().unwrap_or_default();
    let changed = status.phase != Some(verdict.phase) || message != verdict.message;
    let tells = says != verdict.annotation();
    let written = status.last_validation_time.map(trysail_api::time::Time::timestamp);
    let is_old = written.is_none_or(|written| now.duration_since(written) >= STATUS_AGE && looked_at > written);
    Step { writes: changed || tells || is_old, tells: tells && !verdict.conditions.is_empty(), verdict }
}

async fn report(location: &BackupStorageLocation, step: &Step, looked_at: Timestamp, context: &Context) -> Result<()> {
    let name = location.name_any();
    let verdict = &step.verdict;
    let reasons = condition::reasons(&verdict.conditions);
    let (before, synced_at) = match context.known().get_mut(&name) {
        Some(known) => (std::mem::replace(&mut known.reasons, reasons.clone()), known.synced_at),
        None => (Vec::new(), None),
    };
    context.metrics.location(&name, verdict.phase == LocationPhase::Available, &before, &reasons);
    if !step.writes {
        return Ok(());
    }
    match verdict.phase {
        LocationPhase::Available => tracing::info!("BackupStorageLocations is valid, marking as available"),
        LocationPhase::Unavailable => {
            tracing::warn!(error = verdict.message, "BackupStorageLocation is invalid, marking as unavailable");
        }
    }
    patch::merge::<BackupStorageLocation>(context, &name, &fields(location, verdict, looked_at, synced_at)).await?;
    if step.tells {
        for condition in &verdict.conditions {
            context.tell(location, condition.reason, condition.sentence.clone()).await;
        }
    }
    Ok(())
}

/// The fields that are written.
fn fields(
    location: &BackupStorageLocation,
    verdict: &Verdict,
    looked_at: Timestamp,
    synced_at: Option<Timestamp>,
) -> Value {
    let message = if verdict.message.is_empty() { Value::Null } else { verdict.message.clone().into() };
    let mut fields = json!({
        "status": { "phase": verdict.phase, "lastValidationTime": Time::new(looked_at), "message": message },
    });
    if let Some(at) = synced_at {
        fields["status"]["lastSyncedTime"] = json!(Time::new(at));
    }
    let annotation = verdict.annotation();
    if location.annotations().get(own::CONDITION).map_or("", String::as_str) != annotation {
        let value = if annotation.is_empty() { Value::Null } else { annotation.into() };
        fields["metadata"] = json!({ "annotations": { own::CONDITION: value } });
    }
    fields
}

/// Forgets locations that are gone.
pub(crate) fn forget(there: &[BackupStorageLocation], context: &Context) {
    let is_there = |name: &str| there.iter().any(|location| location.metadata.name.as_deref() == Some(name));
    context.known().retain(|name, known| {
        let keeps = is_there(name);
        if !keeps {
            context.metrics.forget_location(name, &known.reasons);
        }
        keeps
    });
}

#[cfg(test)]
mod tests;
