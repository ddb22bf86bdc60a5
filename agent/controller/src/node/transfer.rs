//! One PodVolumeBackup from its turn to its end: the directory is found, the repository opened, the volume read on a thread of its
//! own, and what came of it is written until the API server has it. How that is said is in `outcome`, and how far it is in
//! `progress`.

mod outcome;
mod progress;

use std::{num::NonZero, sync::Arc, thread, time::Duration};

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::json;
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
    time::sleep,
};
use trysail_api::{
    backup_storage_location::BackupStorageLocation,
    names::{label, own},
    pod_volume_backup::PodVolumeBackup,
    time::Time,
    transfer::{TransferPhase, UploaderType},
};
use trysail_repository::{
    Class, Repository,
    commit::CommitKind,
    layout::SnapshotId,
    prune,
    store::{ObjectStore, retry::Retry},
    write::{Session, SessionPlan},
};
use trysail_volume::{
    backup::{self, BackupOptions, CHECKPOINT_EVERY, Counters, HELD_PIECES_MAX, Report},
    walk::{Exclude, Mounts, WalkOptions},
};

use super::{
    agent::{Agent, phase},
    door::{Door, End, Ending, ended},
    problems::Told,
    source::{self, Source},
};
use crate::{
    Error, Result,
    bucket::Place,
    context::now,
    patch,
    repository::{self, place},
    task_keys,
};
use outcome::{Outcome, Saved, fields};
use progress::{Done, Progress};

/// Pause before the end of a transfer is written again that the API server did not take.
const RETRY: Duration = Duration::from_secs(5);

/// Tries of a step that the API server did not answer.
const TRIES_MAX: u32 = 12;

/// A repository that a transfer writes into.
struct Target {
    repository: Repository,
    /// The same without a door, for what is to be done after an end.
    open: Repository,
    plan: SessionPlan,
}

/// Carries a transfer out.
pub(super) async fn run(agent: &Agent, name: &str, uid: &str, end: &watch::Sender<Option<End>>) {
    let ending = end.subscribe();
    let permit = tokio::select! {
        permit = Arc::clone(&agent.slots).acquire_owned() => permit.ok(),
        _ = ended(ending.clone()) => None,
    };
    agent.metrics.dequeued();
    let outcome = match permit {
        None => Outcome::Ended(ended(ending.clone()).await),
        Some(_) => match attempt(agent, name, uid, end).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Failed(error.to_string()),
        },
    };
    let outcome = match (outcome, *ending.borrow()) {
        // What fails after an end fails because of it.
        (Outcome::Failed(_), Some(end)) => Outcome::Ended(end),
        (outcome, _) => outcome,
    };
    match &outcome {
        Outcome::Saved(saved) => tracing::info!(name, snapshot = saved.snapshot, bytes = saved.bytes, "Saved a volume"),
        other => tracing::warn!(name, outcome = ?other, "Did not save a volume"),
    }
    agent.metrics.finished(outcome.word());
    drop(permit);
    finish(agent, name, &outcome).await;
}

/// From the turn of a transfer to what came of it.
async fn attempt(agent: &Agent, name: &str, uid: &str, end: &watch::Sender<Option<End>>) -> Result<Outcome> {
    let began = now();
    let Some((transfer, source)) = patiently(end, || take(agent, name, uid, began)).await? else {
        return Ok(Outcome::Dropped);
    };
    tracing::info!(name, path = %source.path.display(), "Reads a volume");
    let target = patiently(end, || open(agent, &transfer, end.subscribe(), began)).await?;
    let (open, volume) = (target.open.clone(), target.plan.volume.clone());
    let counters = Arc::new(Counters::default());
    let done = read(target, source, Arc::clone(&counters), began).await?;
    let progress = Progress { agent, name, counters: &counters, repository: &open, volume: &volume };
    let report = progress.watch(done, end).await?;
    let latency = now().duration_since(began).as_secs_f64();
    agent.metrics.latency(&transfer, &agent.settings.namespace, latency);
    let is_there = || agent.context.get::<PodVolumeBackup>(name);
    if patiently(end, is_there).await?.is_none_or(|found| found.uid().as_deref() != Some(uid)) {
        end.send_replace(Some(End::Gone));
    }
    let ending = *end.borrow();
    settle(report, ending, &open).await
}

/// Does a step again while the API server does not answer.
async fn patiently<T, Step>(end: &watch::Sender<Option<End>>, mut step: impl FnMut() -> Step) -> Result<T>
where
    Step: Future<Output = Result<T>>,
{
    for _ in 1..TRIES_MAX {
        match step().await {
            Err(error @ Error::Kubernetes { .. }) if error.class() == Class::Transient => {
                tracing::warn!(%error, "A step of a transfer failed; it is tried again");
            }
            other => return other,
        }
        tokio::select! {
            () = sleep(RETRY) => {}
            _ = ended(end.subscribe()) => break,
        }
    }
    step().await
}

/// Takes a transfer for this process: finds its directory and says that it is being read. None where it is not to be taken any
/// more.
async fn take(agent: &Agent, name: &str, uid: &str, began: Timestamp) -> Result<Option<(PodVolumeBackup, Source)>> {
    for _ in 0..TRIES_MAX {
        let Some(transfer) = agent.context.get::<PodVolumeBackup>(name).await? else { return Ok(None) };
        let is_taken = is_taken(&transfer, began);
        if transfer.uid().as_deref() != Some(uid) || !(is_taken || phase(&transfer) == TransferPhase::New) {
            return Ok(None);
        }
        let source = source::find(&transfer.spec, &agent.settings, &agent.context).await?;
        if is_taken || begin(agent, &transfer, &source, began).await? {
            return Ok(Some((transfer, source)));
        }
    }
    Err(Error::Object { what: format!("PodVolumeBackup {name}"), reason: "it changes all the time".to_owned() })
}

/// Whether this process has taken it, and the answer was lost.
fn is_taken(transfer: &PodVolumeBackup, began: Timestamp) -> bool {
    let start = transfer.status.as_ref().and_then(|status| status.start_timestamp);
    phase(transfer) == TransferPhase::InProgress && start == Some(Time::new(began))
}

/// Says that the volume is being read, if nobody else has said so.
async fn begin(agent: &Agent, transfer: &PodVolumeBackup, source: &Source, now: Timestamp) -> Result<bool> {
    let fields = json!({
        "metadata": { "resourceVersion": transfer.metadata.resource_version },
        "status": {
            "phase": TransferPhase::InProgress,
            "acceptedTimestamp": Time::new(now),
            "startTimestamp": Time::new(now),
            "path": source.path.to_string_lossy(),
        },
    });
    patch::merge_if_unchanged::<PodVolumeBackup>(&agent.context, &transfer.name_any(), &fields).await
}

/// Opens the repository that the transfer writes into, with the keys that came with it.
async fn open(agent: &Agent, transfer: &PodVolumeBackup, ending: Ending, now: Timestamp) -> Result<Target> {
    let spec = &transfer.spec;
    let wrong = |what: &str, reason: String| Error::Object { what: what.to_owned(), reason };
    let sealed = transfer.annotations().get(own::TASK_KEYS);
    let sealed = sealed.ok_or_else(|| wrong("annotation", format!("{} is missing", own::TASK_KEYS)))?;
    let keys = task_keys::open(sealed, &agent.identity)?;
    let volume = repository::volume_of(transfer).map_err(|error| wrong("the volume", error.to_string()))?;
    let location = agent.context.get::<BackupStorageLocation>(&spec.backup_storage_location).await?;
    let missing = || wrong("BackupStorageLocation", format!("there is no {}", spec.backup_storage_location));
    let location = location.ok_or_else(missing)?;
    let bucket = Place::open(&location, &agent.context).await?;
    let namespace = spec.pod.namespace.as_deref().unwrap_or_default();
    let uploader = spec.uploader_type.unwrap_or(UploaderType::Unset);
    let below = bucket.store.below(&place::directory(uploader, namespace)).map_err(|error| bucket.error(error))?;
    let store: Arc<dyn ObjectStore> = Arc::new(Retry::new(below));
    let door: Arc<dyn ObjectStore> = Arc::new(Door::new(Arc::clone(&store), ending, Arc::clone(&agent.bandwidth)));
    let name = format!("{namespace}-{}-{}", location.name_any(), uploader.directory());
    let repository = Repository::open(door, repository::pinned(&location)?).await;
    let repository = repository.map_err(|source| repository::failed(&name, source))?;
    let uid = transfer.labels().get(label::PVC_UID).cloned().or_else(|| spec.pod.uid.clone()).unwrap_or_default();
    let open = repository.clone().with_store(store);
    Ok(Target { repository, open, plan: SessionPlan { volume, uid, keys, now } })
}

/// Reads the volume on a thread of its own.
async fn read(target: Target, source: Source, counters: Arc<Counters>, now: Timestamp) -> Result<Done> {
    let wrong = |what: &str, reason: String| Error::Object { what: what.to_owned(), reason };
    let exclude =
        Exclude::new(&source.excludes).map_err(|error| wrong("annotation trysail.io/exclude", error.to_string()))?;
    let Target { repository, plan, .. } = target;
    let volume = plan.volume.to_string();
    let session = Session::begin(&repository, plan).await.map_err(|source| repository::failed(&volume, source))?;
    let options = BackupOptions {
        walk: WalkOptions { mounts: Mounts::Refuse, exclude },
        threads: thread::available_parallelism().map_or(2, NonZero::get),
        now,
        checkpoint_every: CHECKPOINT_EVERY,
        held_pieces_max: HELD_PIECES_MAX,
    };
    let runtime = Handle::current();
    let (tell, done) = oneshot::channel();
    let work = move || {
        // Nobody listens any more when the agent is being stopped.
        let _ = tell.send(backup::backup(&repository, session, &source.path, &options, &counters, &runtime));
    };
    let spawned = thread::Builder::new().name("backup".to_owned()).spawn(work);
    spawned.map(|_| done).map_err(|error| wrong("a thread for the volume", error.to_string()))
}

/// What a report means. A snapshot that nobody will know of is removed again.
async fn settle(report: Report, ending: Option<End>, open: &Repository) -> Result<Outcome> {
    let Report { finished, problems } = report;
    if let Some(end) = ending {
        forget(open, &finished.id).await?;
        return Ok(Outcome::Ended(end));
    }
    Ok(match finished.commit.kind {
        CommitKind::Partial => Outcome::Partial,
        CommitKind::Complete => Outcome::Saved(Saved {
            snapshot: finished.id.to_string(),
            bytes: finished.commit.bytes.logical,
            // What is new has headers around it, which are no bytes of the volume.
            new_bytes: finished.commit.bytes.new.min(finished.commit.bytes.logical),
            told: Told::new(&problems),
        }),
    })
}

async fn forget(repository: &Repository, snapshot: &SnapshotId) -> Result<()> {
    let failed =
        |error: prune::Error| Error::Object { what: format!("snapshot {snapshot}"), reason: error.to_string() };
    prune::forget(&**repository.store(), snapshot).await.map_err(failed)
}

/// Writes what came of a transfer until the API server has it.
async fn finish(agent: &Agent, name: &str, outcome: &Outcome) {
    let fields = fields(outcome, now());
    if fields.is_null() {
        return;
    }
    loop {
        match patch::merge::<PodVolumeBackup>(&agent.context, name, &fields).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, name, "What came of a transfer could not be told; it is tried again"),
        }
        sleep(RETRY).await;
    }
}
