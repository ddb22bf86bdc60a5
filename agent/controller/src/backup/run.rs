//! One Backup from its beginning to its end: collected, its volumes saved, and everything stored, the record last.
//!
//! Nobody reads `Completed` before the record is in the bucket. What stops one part of the work is an error in the log; what
//! stops all of it makes the Backup Failed.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kube::ResourceExt as _;
use serde_json::json;
use tokio::{
    sync::Mutex,
    time::{Instant, MissedTickBehavior, interval},
};
use trysail_api::{
    backup::{Backup, BackupPhase, BackupProgress, BackupStatus},
    backup_storage_location::BackupStorageLocation,
    duration::Duration as Span,
    hook::HookStatus,
    names::{annotation, own},
    pod_volume_backup::PodVolumeBackup,
    time::Time,
    transfer::TransferPhase,
};
use trysail_cluster::{
    problem::{Place as ProblemPlace, Report},
    volumes::{self as choice, Skipped},
};
use trysail_repository::keys::Signer;

use super::{
    begin::Begun,
    gather::{self, Gathered, gather},
    log::BackupLog,
    prepare::for_collection,
    skipped::annotation_of,
    store::{Package, package, put_all, put_failed, put_record},
    volumes::{Done, Volumes},
};
use crate::{
    Error, Result,
    bucket::{Place, write::Files},
    context::{Context, now},
    metrics::BackupEnd,
    patch, repository,
};

/// How often progress is written. Source: Velero `pkg/backup/backup.go`.
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);

/// How long the log of a failed backup is tried to be stored: that the store is gone may be the reason.
const FAILED_PATIENCE: Duration = Duration::from_secs(10);

/// Runs a Backup that has begun; how it ended is written.
pub(super) async fn run(context: &Context, begun: &Begun) -> BackupEnd {
    let log = Arc::new(BackupLog::new(&context.settings.namespace, &begun.backup.name_any()));
    let run = Run { context, begun, backup: &begun.backup, location: &begun.location, since: Instant::now(), log };
    Box::pin(run.to_its_end()).await
}

/// A Backup that runs.
struct Run<'a> {
    context: &'a Context,
    begun: &'a Begun,
    backup: &'a Backup,
    location: &'a BackupStorageLocation,
    since: Instant,
    log: Arc<BackupLog>,
}

/// What a Backup has saved.
struct Saved {
    package: Package,
    items: usize,
    hooks: HookStatus,
    /// Volumes that are not saved, for whatever reason.
    left_out: usize,
    /// The annotation that names volumes which are left out.
    skipped: Option<String>,
    /// What signs the inventory.
    root: Option<Signer>,
}

impl Run<'_> {
    fn name(&self) -> String {
        self.backup.name_any()
    }

    async fn to_its_end(&self) -> BackupEnd {
        let count = Arc::new(AtomicUsize::new(0));
        let saved = tokio::select! {
            saved = self.save(&count) => saved,
            never = self.show_progress(&count) => match never {},
        };
        match saved {
            Ok((mut files, saved)) => match self.store(&mut files, &saved).await {
                Ok(end) => end,
                Err(error) => {
                    // What is stored of it is of no use without its record.
                    if let Err(error) = files.discard(&self.name()).await {
                        tracing::warn!(%error, "Files of a failed backup are left");
                    }
                    self.fail(&error).await
                }
            },
            Err(error) => self.fail(&error).await,
        }
    }

    /// Collects objects and saves volumes.
    async fn save(&self, count: &Arc<AtomicUsize>) -> Result<(Files, Saved)> {
        let name = self.name();
        let files = Files::new(Place::open(self.location, self.context).await?);
        if files.has_record(&name).await? {
            return Err(Error::BackupExists { backup: name });
        }
        let recipients = repository::recipients(self.location)?;
        self.announce();
        let spec = for_collection(self.backup, self.begun.policy.as_ref());
        let gathered = gather(&self.context.client, &name, spec.clone(), self.begun.began, &self.log, count).await?;
        self.relay(&gathered.collected.report);
        let Gathered { mut archive, collected, seen, hooked, bound } = gathered;
        let mut settings = choice::Settings::of(&spec, self.begun.policy.clone());
        settings.host_paths.clone_from(&self.context.settings.backups.host_paths);
        if let Some(claims) = gather::claims(&collected) {
            settings = settings.with_claims(&collected.rules, claims);
        }
        let selected = choice::select(&seen, &settings);
        drop(seen);
        self.tell_skipped(&selected.skipped);
        if let Some(warning) = selected.warning() {
            self.log.warning(ProblemPlace::Backup, &warning);
        }
        let wanted = selected.tasks.len();
        let volumes = Volumes {
            context: self.context,
            backup: self.backup,
            location: self.location,
            log: &self.log,
            owed: &self.begun.owed,
            uploader: self.context.settings.backups.uploader,
            deadline: self.since + self.volumes_timeout(),
            repositories: Mutex::new(BTreeMap::new()),
        };
        let Done { hooks, pods, transfers } = volumes.save(selected.tasks, hooked).await?;
        let log = Arc::clone(&self.log);
        let failed = |source| Error::Collect { backup: self.name(), source };
        let finished = tokio::task::spawn_blocking(move || {
            for pod in pods {
                gather::store(&mut archive, pod, &log)?;
            }
            archive.finish()
        });
        let finished = finished.await.map_err(|_| failed(trysail_cluster::Error::Closed))?;
        let (sink, list) = finished.map_err(failed)?;
        gather::tell(&list, &self.log);
        let items = list.values().map(BTreeSet::len).sum();
        let saved_volumes = transfers.iter().filter(|transfer| is_saved(transfer)).count();
        let package = package(&name, sink.0, &list, &transfers, &selected.skipped, &bound, &recipients).await?;
        let root = self.root().await;
        let left_out = selected.skipped.len() + wanted.saturating_sub(saved_volumes);
        Ok((files, Saved { package, items, hooks, left_out, skipped: annotation_of(&selected.skipped), root }))
    }

    /// The key that signs. A backup without a signature restores, but for rights and webhooks.
    async fn root(&self) -> Option<Signer> {
        let uploader = self.context.settings.backups.uploader;
        match repository::root(self.context, self.location, uploader).await {
            Ok(root) => Some(root),
            Err(error) => {
                self.log.warning(ProblemPlace::Backup, &format!("the backup is not signed: {error}"));
                None
            }
        }
    }

    /// How long all volumes together may take.
    fn volumes_timeout(&self) -> Duration {
        let own = self.backup.annotations().get(annotation::POD_VOLUME_TIMEOUT);
        let span = own.map(|text| text.parse::<Span>());
        if let Some(Err(error)) = &span {
            let message = format!("annotation {}: {error}", annotation::POD_VOLUME_TIMEOUT);
            self.log.warning(ProblemPlace::Backup, &message);
        }
        let default = &self.context.settings.backups.volumes_timeout;
        let span = span.and_then(std::result::Result::ok).filter(|span| span.nanoseconds() > 0);
        let nanoseconds = span.as_ref().unwrap_or(default).nanoseconds();
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or_default())
    }

    /// What is asked for.
    fn announce(&self) {
        let spec = &self.backup.spec;
        let list = |names: &Option<Vec<String>>, none: &str| match names.as_deref() {
            None | Some([]) => none.to_owned(),
            Some(names) => names.join(", "),
        };
        self.log.info(&format!("Including namespaces: {}", list(&spec.included_namespaces, "*")), &[]);
        self.log.info(&format!("Excluding namespaces: {}", list(&spec.excluded_namespaces, "<none>")), &[]);
        let all = match spec.default_volumes_to_fs_backup {
            Some(true) => "every volume that is not excluded",
            Some(false) => "volumes that annotations name",
            None => "every claim that is not excluded",
        };
        self.log.info(&format!("Saving the files of {all}"), &[]);
    }

    /// Puts what the collector found wrong into the log.
    fn relay(&self, report: &Report) {
        for problem in report.errors.kept() {
            self.log.error(problem.place.clone(), &problem.message);
        }
        for problem in report.warnings.kept() {
            self.log.warning(problem.place.clone(), &problem.message);
        }
        let more = report.errors.count() - report.errors.kept().len();
        if more > 0 {
            self.log.error(ProblemPlace::Backup, &format!("{more} more errors while objects were collected"));
        }
    }

    fn tell_skipped(&self, skipped: &[Skipped]) {
        for skipped in skipped {
            if skipped.reason.is_warning() {
                self.log.warning(ProblemPlace::Namespace(skipped.namespace.clone()), &skipped.to_string());
            } else {
                self.log.info(&skipped.to_string(), &[("namespace", &skipped.namespace)]);
            }
        }
    }

    /// Stores all files and writes how it ended. The record is the last file.
    async fn store(&self, files: &mut Files, saved: &Saved) -> Result<BackupEnd> {
        let (errors, warnings) = self.log.counts();
        let is_whole = errors == 0;
        let status = self.status(saved, errors, warnings);
        let name = self.name();
        let summary = format!("Backed up a total of {} items", saved.items);
        let seconds = self.since.elapsed().as_secs_f64();
        let volumes = saved.package.volumes.to_string();
        let counts = [errors.to_string(), warnings.to_string(), saved.left_out.to_string()];
        let fields = [
            ("errors", counts[0].as_str()),
            ("warnings", &counts[1]),
            ("volumes", &volumes),
            ("volumesNotSaved", &counts[2]),
            ("seconds", &format!("{seconds:.1}")),
        ];
        put_all(files, &name, &saved.package, &self.log, (&summary, &fields)).await?;
        let finalizing = if is_whole { BackupPhase::Finalizing } else { BackupPhase::FinalizingPartiallyFailed };
        let status_now = BackupStatus { phase: Some(finalizing), ..status.clone() };
        let skipped = json!({ "annotations": { own::SKIPPED_VOLUMES: saved.skipped } });
        patch::persist::<Backup>(self.context, &name, &json!({ "metadata": skipped, "status": status_now })).await;
        let phase = if is_whole { BackupPhase::Completed } else { BackupPhase::PartiallyFailed };
        let status = BackupStatus { phase: Some(phase), completion_timestamp: Some(Time::new(now())), ..status };
        let mut record = self.record(&status);
        record.annotations_mut().extend(saved.skipped.clone().map(|text| (own::SKIPPED_VOLUMES.to_owned(), text)));
        put_record(files, &record, &saved.package, saved.root.as_ref()).await?;
        self.report(&status).await;
        let archive_bytes = saved.package.archive.len();
        let volumes_not_saved = saved.left_out;
        Ok(BackupEnd { phase, seconds, items: saved.items, errors, warnings, archive_bytes, volumes_not_saved })
    }

    fn status(&self, saved: &Saved, errors: usize, warnings: usize) -> BackupStatus {
        let items = count(saved.items);
        BackupStatus {
            errors: count(errors),
            warnings: count(warnings),
            hook_status: Some(saved.hooks),
            progress: Some(BackupProgress { items_backed_up: items, total_items: items }),
            ..self.backup.status.clone().unwrap_or_default()
        }
    }

    /// Makes the Backup Failed, with what there is of a log.
    async fn fail(&self, error: &Error) -> BackupEnd {
        let reason = error.to_string();
        self.log.error(ProblemPlace::Backup, &reason);
        let (errors, warnings) = self.log.counts();
        let status = BackupStatus {
            phase: Some(BackupPhase::Failed),
            failure_reason: Some(reason),
            completion_timestamp: Some(Time::new(now())),
            errors: count(errors),
            warnings: count(warnings),
            ..self.backup.status.clone().unwrap_or_default()
        };
        // A backup that lies there under this name is another one's.
        if !matches!(error, Error::BackupExists { .. })
            && let Err(error) = self.store_failed(&status).await
        {
            tracing::warn!(backup = self.name(), %error, "The log of a failed backup cannot be stored");
        }
        self.report(&status).await;
        if let Err(error) = super::volumes::cancel_all(self.context, self.backup).await {
            tracing::warn!(%error, "Volumes of a failed backup cannot be cancelled");
        }
        BackupEnd { errors, warnings, ..self.failed(errors) }
    }

    /// Stores the log and the record of a failed backup, so that people can read why.
    async fn store_failed(&self, status: &BackupStatus) -> Result<()> {
        let files = Files::new(Place::open(self.location, self.context).await?);
        put_failed(&mut files.with_patience(FAILED_PATIENCE), &self.record(status), &self.log).await
    }

    /// The Backup with its last status, as it is stored.
    fn record(&self, status: &BackupStatus) -> Backup {
        let mut record = self.backup.clone();
        record.metadata.managed_fields = None;
        record.status = Some(status.clone());
        record
    }

    fn failed(&self, errors: usize) -> BackupEnd {
        BackupEnd {
            phase: BackupPhase::Failed,
            seconds: self.since.elapsed().as_secs_f64(),
            items: 0,
            errors,
            warnings: 0,
            archive_bytes: 0,
            volumes_not_saved: 0,
        }
    }

    /// Writes progress while it changes, for ever.
    async fn show_progress(&self, count: &AtomicUsize) -> Infallible {
        let mut ticks = interval(PROGRESS_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shown = 0;
        loop {
            ticks.tick().await;
            let stored = count.load(Ordering::Relaxed);
            if stored == shown {
                continue;
            }
            let items = i32::try_from(stored).unwrap_or(i32::MAX);
            let progress = BackupProgress { items_backed_up: items, total_items: items };
            let fields = json!({ "status": { "progress": progress } });
            // The next tick tries again.
            if patch::merge::<Backup>(self.context, &self.name(), &fields).await.is_ok() {
                shown = stored;
            }
        }
    }

    /// Writes a status until it is written: what is done must not stay unsaid.
    async fn report(&self, status: &BackupStatus) {
        patch::persist::<Backup>(self.context, &self.name(), &json!({ "status": status })).await;
    }
}

/// A number as a status holds it.
fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn is_saved(transfer: &PodVolumeBackup) -> bool {
    transfer.status.as_ref().and_then(|status| status.phase) == Some(TransferPhase::Completed)
}
