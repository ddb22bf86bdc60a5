//! Restores what a Backup holds: validated, planned, made in order, volumes filled, hooks run, everything told in the bucket.
//!
//! `decide` says what is to be done and what is wrong with a spec; `run` is one Restore from its start to its end, with
//! `objects`, `transfers` and `hooks` as its parts and `volumes` as the rules for volumes; `data_only` is one that leaves objects
//! alone, as `wish` reads from its annotations; `finish` writes how it ended. What an object becomes is `trysail-cluster`'s matter.

pub(crate) mod archive;
pub(crate) mod configuration;
mod data_only;
mod decide;
mod finish;
mod hooks;
pub(crate) mod identity;
mod objects;
mod run;
mod transfers;
mod volumes;
pub(crate) mod wait;
pub(crate) mod wish;

use std::sync::Arc;

use kube::{
    Api, ResourceExt as _,
    runtime::{Controller, controller::Action, watcher},
};
use serde_json::json;
use tokio::{sync::Semaphore, time::Instant};
use trysail_api::{
    backup::Backup,
    names::{finalizer, own},
    restore::{Restore, RestorePhase},
    time::Time,
};
use trysail_repository::store::{Key, ObjectStore as _, list_all};

use crate::{
    Error, Result,
    bucket::{Place, layout},
    context::{Context, now},
    drive::{Guarded, PROMPT, drive},
    inventory::Evidence,
    patch,
    repository::pinned,
    run_log::RunLog,
    server::client_as,
};
use archive::{Archive, Seal};
use decide::{Source, Step, World, check, fields, needs_identity, step};
use run::Run;

/// Restores that run at once, as with Velero; others wait for their turn.
const AT_ONCE: usize = 1;

/// Files of one Restore: half a dozen, and some of other programs.
const FILES_MAX: usize = 1000;

/// Looks after all Restores for ever.
pub(crate) async fn run(context: Arc<Context>) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let api: Api<Guarded<Restore>> = context.api();
    let controller = Controller::new(api, watcher::Config::default());
    let reconcile = move |restore, context| reconcile(restore, context, Arc::clone(&turns));
    drive("restore", controller, PROMPT, reconcile, context).await;
}

async fn reconcile(restore: Arc<Restore>, context: Arc<Context>, turns: Arc<Semaphore>) -> Result<Action> {
    if step(&restore) == Step::Nothing {
        return Ok(Action::await_change());
    }
    if step(&restore) == Step::RemoveFiles {
        remove_files(&restore, &context).await?;
        return Ok(Action::await_change());
    }
    let Ok(_turn) = turns.acquire().await else { return Ok(Action::await_change()) };
    // What was seen may be old: a Restore that has just ended must not run again.
    let Some(restore) = context.get::<Restore>(&restore.name_any()).await? else { return Ok(Action::await_change()) };
    match step(&restore) {
        Step::Nothing => {}
        Step::RemoveFiles => remove_files(&restore, &context).await?,
        Step::Begin | Step::GoOn => Box::pin(take(restore, &context)).await?,
    }
    Ok(Action::await_change())
}

/// Begins a Restore, or goes on with one.
async fn take(restore: Restore, context: &Context) -> Result<()> {
    let is_resumed = step(&restore) == Step::GoOn;
    let modifiers = configuration::modifiers(context, restore.spec.resource_modifier.as_ref()).await?;
    let world = World {
        backups: context.list::<Backup>("").await?,
        locations: context.list("").await?,
        modifier_problem: modifiers.as_ref().err().cloned(),
    };
    let mut checked = check(&restore, &world);
    let opened = match &checked.source {
        Ok(source) => Some(open(&restore, source, context).await?),
        Err(_) => None,
    };
    let (opened, schedule) = match opened {
        Some(Ok(opened)) => (Some(opened), checked.spec.schedule_name.clone().unwrap_or_default()),
        Some(Err(problem)) => {
            checked.source = Err(vec![problem]);
            (None, String::new())
        }
        None => (None, String::new()),
    };
    let began = began(&restore, is_resumed);
    let mut written = fields(&restore, &checked, Time::new(began));
    if is_resumed && checked.source.is_err() {
        // It was valid once: what it came from is gone since.
        let problems = checked.source.as_ref().err().map(|problems| problems.join("; ")).unwrap_or_default();
        let reason = format!("the server was restarted during this restore, which cannot go on: {problems}");
        written = json!({ "status": { "phase": RestorePhase::Failed, "failureReason": reason, "completionTimestamp": Time::new(now()) } });
    }
    patch::merge::<Restore>(context, &restore.name_any(), &written).await?;
    let (Ok(source), Some((archive, evidence))) = (checked.source, opened) else {
        tracing::warn!(restore = restore.name_any(), "A restore asks for what cannot be");
        context.metrics.restore_refused(&schedule);
        return Ok(());
    };
    let (mappings, problems) = configuration::mappings(context).await?;
    let wait = configuration::wait(context).await?;
    let log = RunLog::new("restore", &context.settings.namespace, &restore.name_any());
    let cluster = || trysail_cluster::problem::Place::Cluster;
    for problem in &problems {
        log.error(cluster(), problem);
    }
    let wait = wait.unwrap_or_else(|problem| {
        log.error(cluster(), &format!("the settings of the restore helper: {problem}"));
        trysail_cluster::restore::wait::RestoreWait::new("")
    });
    let client = match account(&restore) {
        Some((namespace, account)) => client_as(&context.settings, &namespace, &account).await?,
        None => context.client.clone(),
    };
    context.metrics.restore_started(&schedule);
    let run = Run {
        context,
        client,
        evidence,
        spec: checked.spec,
        source: *source,
        modifiers: modifiers.ok().flatten(),
        mappings,
        wait,
        is_resumed,
        began,
        since: Instant::now(),
        log,
        restore,
    };
    let phase = run.to_its_end(archive).await;
    context.metrics.restore_ended(&run.schedule(), phase);
    Ok(())
}

/// Namespace and name of the ServiceAccount whose rights apply: `name` in the namespace of the Restore, or `namespace/name`.
fn account(restore: &Restore) -> Option<(String, String)> {
    let named = restore.annotations().get(own::SERVICE_ACCOUNT)?;
    Some(match named.split_once('/') {
        Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
        None => (restore.namespace().unwrap_or_default(), named.clone()),
    })
}

fn began(restore: &Restore, is_resumed: bool) -> jiff::Timestamp {
    let before = restore.status.as_ref().and_then(|status| status.start_timestamp).filter(|_| is_resumed);
    before.map_or_else(now, Time::timestamp)
}

/// Opens the archive, and says what is believed of it; the inner error says why it cannot be opened.
async fn open(
    restore: &Restore,
    source: &Source,
    context: &Context,
) -> Result<std::result::Result<(Archive, Evidence), String>> {
    let backup = source.backup.name_any();
    let place = Place::open(&source.location, context).await?;
    let evidence = evidence(restore, source, &place).await?;
    let archive = match Archive::find(place, &backup, evidence.archive).await {
        Ok(Some(archive)) => archive,
        Ok(None) => {
            return Ok(Err(format!("The backup {backup} has no archive in location {}", source.location.name_any())));
        }
        Err(error @ Error::Record { .. }) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error),
    };
    let identity = match identity::identity(restore.annotations(), context).await? {
        Ok(identity) => identity,
        Err(problem) => return Ok(Err(problem)),
    };
    let seal = archive.seal().await?;
    let archive = match archive.prepared(seal).await {
        Ok(archive) => archive,
        Err(error @ Error::Record { .. }) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error),
    };
    Ok(match (seal, identity) {
        (Seal::Open, _) => Ok((archive, evidence)),
        (Seal::Encrypted, None) => Err(needs_identity(&backup, "the Restore names no identity")),
        (Seal::Encrypted, Some(identity)) => match archive.opened(&identity) {
            Ok(archive) => Ok((archive, evidence)),
            Err(error) => Err(needs_identity(&backup, &error.to_string())),
        },
    })
}

/// What is believed of a backup's files; a user who allows an unsigned one is believed instead.
async fn evidence(restore: &Restore, source: &Source, place: &Place) -> Result<Evidence> {
    if restore.annotations().get(own::ALLOW_UNSIGNED).map(String::as_str) == Some("true") {
        return Ok(Evidence::default());
    }
    let backup = source.backup.name_any();
    let inventory = place.inventory(&backup).await?;
    let pinned = pinned(&source.location)?;
    Ok(Evidence::of(&backup, inventory.as_deref(), &source.location.name_any(), pinned))
}

/// Removes the files of a Restore that is being deleted, and then what keeps it.
async fn remove_files(restore: &Restore, context: &Context) -> Result<()> {
    let name = restore.name_any();
    let backup = restore.spec.backup_name.clone().unwrap_or_default();
    let backup = context.get::<Backup>(&backup).await?;
    let location = backup.and_then(|backup| backup.spec.storage_location);
    let location = match location {
        Some(location) => context.get(&location).await?,
        None => None,
    };
    // Without a Backup or a location nobody knows where the files are.
    if let Some(location) = location {
        let place = Place::open(&location, context).await?;
        let directory = format!("{}{name}/", layout::RESTORES);
        let found = list_all(&place.store, &directory, FILES_MAX).await.map_err(|error| place.error(error))?;
        let keys: Vec<Key> = found.into_iter().map(|file| file.key).collect();
        place.store.delete(&keys).await.map_err(|error| place.error(error))?;
    }
    let others: Vec<&String> = restore.finalizers().iter().filter(|name| *name != finalizer::RESTORE).collect();
    patch::merge::<Restore>(context, &name, &json!({ "metadata": { "finalizers": others } })).await
}
