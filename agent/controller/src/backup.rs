//! The kind Backup: which is next (`queue`), what it asks for (`begin`, `prepare`), and its run (`run`).
//!
//! One loop looks at all Backups, since the turn of each depends on the others; each that runs is a task of its own, and ends
//! where its object goes. Objects that are not what their kind says are refused, and stand in nobody's way.

mod begin;
mod gather;
mod holder;
mod owed;
mod prepare;
mod queue;
mod recover;
mod run;
mod skipped;
mod store;
mod transfer;
mod volume_info;
mod volumes;

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::TryStreamExt as _;
use kube::{
    Api, ResourceExt as _,
    core::{ApiResource, DynamicObject},
    runtime::{WatchStreamExt as _, watcher, watcher::Event},
};
use serde_json::{Value, json};
use tokio::{
    sync::oneshot,
    task::{self, JoinError, JoinSet},
    time::{MissedTickBehavior, interval, sleep},
};
use trysail_api::backup::{Backup, BackupPhase};
use trysail_repository::Class;

use self::{
    begin::{Begun, begin},
    queue::{Entry, Step, decide},
    recover::recover,
};
use crate::{
    bucket::{Place, write::Files},
    context::Context,
    patch,
};

/// The controller's name in the settings. Source: Velero `pkg/constant`.
const NAME: &str = "backup";

/// How soon a step that failed is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// What helps where the API server refuses a phase.
const RENEW: &str = "is the definition of Backups older than this server? `trysail install --crds-only` renews it, and keeps all Backups";

/// Looks after all Backups for ever.
pub(crate) async fn run(context: Arc<Context>) {
    if !context.settings.runs(NAME) {
        tracing::info!(controller = NAME, "Controller is disabled");
        return;
    }
    while let Err(error) = recover(&context).await {
        tracing::warn!(%error, "Backups of a server that is gone cannot be looked at");
        sleep(AGAIN).await;
    }
    Backups {
        context,
        known: BTreeMap::new(),
        listed: BTreeSet::new(),
        running: BTreeMap::new(),
        tasks: JoinSet::new(),
    }
    .serve()
    .await;
}

/// All Backups, and those of them that run.
struct Backups {
    context: Arc<Context>,
    known: BTreeMap<String, Entry>,
    /// Those that a list has named so far.
    listed: BTreeSet<String>,
    running: BTreeMap<String, Running>,
    /// Each ends with the name of its Backup.
    tasks: JoinSet<String>,
}

/// A Backup that runs.
struct Running {
    uid: String,
    task: task::Id,
    /// Dropped or sent to: its object is gone, or is being deleted.
    stop: Option<oneshot::Sender<()>>,
}

impl Backups {
    async fn serve(mut self) {
        let kind = ApiResource::erase::<Backup>(&());
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.context.client.clone(), &self.context.settings.namespace, &kind);
        let mut events = pin!(watcher(api, watcher::Config::default()).default_backoff());
        let mut ticks = interval(AGAIN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.try_next() => match event {
                    Ok(Some(event)) => self.note(event),
                    Ok(None) => return,
                    Err(error) => tracing::warn!(controller = NAME, %error, "A watch failed"),
                },
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(name) => drop(self.running.remove(&name)),
                    Err(error) => self.note_broken(&error).await,
                },
                _ = ticks.tick() => {}
            }
            self.stop_those_that_are_gone();
            self.step().await;
        }
    }

    /// Gather.
    fn note(&mut self, event: Event<DynamicObject>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                self.listed.insert(object.name_any());
                self.known.insert(object.name_any(), Entry::read(&object));
            }
            Event::InitDone => self.known.retain(|name, _| self.listed.contains(name)),
            Event::Apply(object) => drop(self.known.insert(object.name_any(), Entry::read(&object))),
            Event::Delete(object) => drop(self.known.remove(&object.name_any())),
        }
    }

    /// A task that panicked says nothing itself, and must not keep its place.
    async fn note_broken(&mut self, error: &JoinError) {
        let broken = self.running.extract_if(.., |_, running| running.task == error.id()).map(|(name, _)| name);
        for name in broken.collect::<Vec<_>>() {
            tracing::error!(backup = name, %error, "The task of a backup broke");
            let reason = format!("the server is broken: {error}");
            self.write(&name, json!({ "status": { "phase": BackupPhase::Failed, "failureReason": reason } })).await;
        }
    }

    fn stop_those_that_are_gone(&mut self) {
        for (name, running) in &mut self.running {
            let goes_on = self.known.get(name).is_some_and(|entry| {
                entry.uid == running.uid && !entry.is_deleted && entry.phase != BackupPhase::Deleting
            });
            if !goes_on && let Some(stop) = running.stop.take() {
                // One that has ended meanwhile does not listen.
                let _ = stop.send(());
            }
        }
    }

    /// Decide, act and report. A step that fails is taken again at the next tick.
    async fn step(&mut self) {
        let running: BTreeSet<String> = self.running.keys().cloned().collect();
        for (name, step) in decide(&self.known, &running, self.context.settings.backups.at_once.get()) {
            let fields = match step {
                Step::Start => {
                    self.start(&name);
                    continue;
                }
                Step::Queue(position) => {
                    json!({ "status": { "phase": BackupPhase::Queued, "queuePosition": position } })
                }
                Step::Release => {
                    json!({ "status": { "phase": BackupPhase::ReadyToStart, "queuePosition": null } })
                }
                Step::Refuse(problems) => {
                    tracing::warn!(backup = name, problems = problems.join("; "), "A backup cannot be understood");
                    self.context.metrics.backup_refused("");
                    json!({ "status": { "phase": BackupPhase::FailedValidation, "validationErrors": problems } })
                }
            };
            self.write(&name, fields).await;
        }
    }

    /// Writes a status, and knows it at once: the watch tells it later. One that the API server refuses ends the Backup, which
    /// would wait in silence otherwise.
    async fn write(&mut self, name: &str, fields: Value) {
        let mut written = patch::merge_untyped::<Backup>(&self.context, name, &fields).await;
        if let Err(error) = &written
            && error.class() == Class::Invalid
        {
            tracing::warn!(backup = name, %error, "The status of a backup is refused");
            self.context.metrics.backup_refused("");
            let problem = format!("{error}; {RENEW}");
            let status = json!({ "phase": BackupPhase::FailedValidation, "validationErrors": [problem] });
            written = patch::merge_untyped::<Backup>(&self.context, name, &json!({ "status": status })).await;
        }
        match written {
            Ok(Some(object)) => drop(self.known.insert(name.to_owned(), Entry::read(&object))),
            Ok(None) => drop(self.known.remove(name)),
            Err(error) => tracing::warn!(backup = name, %error, "The status of a backup cannot be written"),
        }
    }

    fn start(&mut self, name: &str) {
        let Some(entry) = self.known.get(name) else { return };
        let (stop, stopped) = oneshot::channel();
        let task = self.tasks.spawn(work(Arc::clone(&self.context), name.to_owned(), stopped)).id();
        self.running.insert(name.to_owned(), Running { uid: entry.uid.clone(), task, stop: Some(stop) });
    }
}

/// Runs one Backup, until its object is gone.
async fn work(context: Arc<Context>, name: String, stopped: oneshot::Receiver<()>) -> String {
    let begun = OnceLock::new();
    tokio::select! {
        done = begin(&context, &name, &begun) => {
            if let Err(error) = done {
                tracing::warn!(backup = name, %error, "A backup cannot be begun");
                sleep(AGAIN).await;
            }
        }
        Ok(()) = stopped => {
            tracing::warn!(backup = name, "A backup ends, as its object is deleted");
            if let Some(begun) = begun.get() {
                clear(&context, begun).await;
            }
        }
    }
    name
}

/// Leaves nothing of a Backup that was deleted while it ran.
async fn clear(context: &Context, begun: &Begun) {
    begun.owed.run(context).await;
    if let Err(error) = volumes::cancel_all(context, &begun.backup).await {
        tracing::warn!(%error, "Volumes of a deleted backup cannot be cancelled");
    }
    let discarded = async {
        let place = Place::open(&begun.location, context).await?;
        Files::new(place).discard(&begun.backup.name_any()).await
    };
    if let Err(error) = discarded.await {
        tracing::warn!(%error, "Files of a deleted backup are left");
    }
}
