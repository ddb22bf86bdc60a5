//! One Restore from its start to its end.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::Timestamp;
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};
use trysail_api::{
    backup::Backup,
    duration::Duration as Span,
    hook::{HookStatus, RestoreHookSet},
    modifier::Modifiers,
    names::label,
    pod_volume_restore::PodVolumeRestore,
    restore::{Restore, RestorePhase, RestoreProgress, RestoreSpec, RestoreStatus},
    time::Time,
};
use trysail_cluster::{
    discover::Catalog,
    problem::{Place as ProblemPlace, Report},
    restore::{mapping::Mappings, wait::RestoreWait},
};

use super::{
    archive::Archive,
    data_only,
    decide::Source,
    finish, hooks,
    objects::{self, Objects, Progress},
    transfers::Transfers,
    wish::Wish,
};
use crate::{
    Result,
    bucket::Place,
    context::{Context, now},
    inventory::Evidence,
    patch,
    run_log::RunLog,
};

/// How often progress is written.
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);

/// A Restore that runs.
pub(super) struct Run<'a> {
    pub(super) context: &'a Context,
    pub(super) restore: Restore,
    /// Its spec, with no empty fields.
    pub(super) spec: RestoreSpec,
    pub(super) source: Source,
    pub(super) modifiers: Option<Modifiers>,
    pub(super) mappings: Mappings,
    pub(super) wait: RestoreWait,
    /// The client that makes objects: ours, or one with the rights of the ServiceAccount that the Restore names.
    pub(super) client: Client,
    /// What is believed of the backup's files.
    pub(super) evidence: Evidence,
    /// Whether an earlier server has begun it.
    pub(super) is_resumed: bool,
    pub(super) began: Timestamp,
    pub(super) since: Instant,
    pub(super) log: RunLog,
}

/// What was restored.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) objects: Objects,
    pub(super) transfers: Vec<PodVolumeRestore>,
    pub(super) hooks: HookStatus,
}

impl Run<'_> {
    pub(super) fn name(&self) -> String {
        self.restore.name_any()
    }

    pub(super) fn uid(&self) -> String {
        self.restore.uid().unwrap_or_default()
    }

    pub(super) fn backup_name(&self) -> String {
        self.source.backup.name_any()
    }

    /// The label's value of the Schedule that made the Backup.
    pub(super) fn schedule(&self) -> String {
        let backup: &Backup = &self.source.backup;
        backup.labels().get(label::SCHEDULE_NAME).cloned().unwrap_or_default()
    }

    /// How long a change of an object may take.
    pub(super) fn resource_timeout(&self) -> Duration {
        span(&self.context.settings.backups.resource_timeout)
    }

    /// Until when volumes are waited for.
    pub(super) fn volumes_until(&self) -> Instant {
        self.since + span(&self.context.settings.backups.volumes_timeout)
    }

    /// Hooks of the spec, with the full names of kinds.
    pub(super) fn hooks(&self, catalog: &Catalog) -> Vec<RestoreHookSet> {
        let mut sets = self.spec.hooks.clone().and_then(|hooks| hooks.resources).unwrap_or_default();
        for list in sets.iter_mut().flat_map(|set| [&mut set.included_resources, &mut set.excluded_resources]) {
            for word in list.iter_mut().flatten() {
                if let Some(kind) = catalog.named(word) {
                    *word = kind.resource();
                }
            }
        }
        sets
    }

    /// Puts what went wrong into the log.
    pub(super) fn relay(&self, report: &Report) {
        for problem in report.errors.kept() {
            self.log.error(problem.place.clone(), &problem.message);
        }
        for problem in report.warnings.kept() {
            self.log.warning(problem.place.clone(), &problem.message);
        }
        let more = report.errors.count() - report.errors.kept().len();
        if more > 0 {
            self.log.error(ProblemPlace::Backup, &format!("{more} more errors"));
        }
    }

    /// Restores, and writes how it ended.
    pub(super) async fn to_its_end(&self, archive: Archive) -> RestorePhase {
        self.log.info("starting restore", &[]);
        self.log.info(
            &format!("Starting restore of backup {}/{}", self.context.settings.namespace, self.backup_name()),
            &[],
        );
        if self.is_resumed {
            let message =
                "the server was restarted during this restore, which goes on: lines of before are missing here";
            self.log.warning(ProblemPlace::Backup, message);
        }
        let progress = Progress::default();
        let done = tokio::select! {
            done = self.restore(archive, &progress) => done,
            never = self.show(&progress) => match never {},
        };
        match done {
            Ok(outcome) => finish::finish(self, &outcome).await,
            Err(error) => finish::fail(self, &error).await,
        }
    }

    async fn restore(&self, archive: Archive, progress: &Progress) -> Result<Outcome> {
        let place = Place::open(&self.source.location, self.context).await?;
        let saved = match &self.evidence.volumes {
            Some(expected) => place.proved_pod_volume_backups(&self.backup_name(), expected).await?,
            None => place.pod_volume_backups(&self.backup_name()).await?,
        };
        // What is wrong with annotations is said before a Restore runs.
        if let Ok(Some(wish)) = Wish::of(&self.restore) {
            return Box::pin(data_only::restore(self, archive, &saved, &wish)).await;
        }
        let transfers = Transfers::of(self).await?;
        let objects = objects::restore(self, Arc::new(archive), &saved, &transfers, progress).await?;
        let until = self.volumes_until();
        self.log.info("Waiting for all pod volume restores to complete", &[]);
        let patience = self.spec.item_operation_timeout.as_ref().map_or(until, |timeout| self.since + span(timeout));
        let (moved, hooks) = tokio::join!(transfers.finish(until), hooks::run(self, &objects.hooked, patience));
        let moved = moved?;
        self.log.info("Done waiting for all pod volume restores to complete", &[]);
        Ok(Outcome { objects, transfers: moved, hooks })
    }

    /// Writes progress for ever.
    async fn show(&self, progress: &Progress) -> Infallible {
        let mut ticks = interval(PROGRESS_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut written = RestoreProgress::default();
        loop {
            ticks.tick().await;
            let now = shown(progress);
            if now != written {
                written = now;
                let fields = json!({ "status": { "progress": now } });
                if let Err(error) = patch::merge::<Restore>(self.context, &self.name(), &fields).await {
                    tracing::warn!(%error, restore = self.name(), "Progress cannot be written");
                }
            }
        }
    }

    /// The status with which it ends.
    pub(super) fn status(&self, phase: RestorePhase) -> RestoreStatus {
        let (errors, warnings) = self.log.counts();
        RestoreStatus {
            phase: Some(phase),
            errors: count(errors),
            warnings: count(warnings),
            start_timestamp: Some(Time::new(self.began)),
            completion_timestamp: phase.is_terminal().then(|| Time::new(now())),
            ..RestoreStatus::default()
        }
    }
}

fn shown(progress: &Progress) -> RestoreProgress {
    RestoreProgress {
        items_restored: count(progress.done.load(Ordering::Relaxed)),
        total_items: count(progress.total.load(Ordering::Relaxed)),
    }
}

pub(super) fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

pub(super) fn span(span: &Span) -> Duration {
    Duration::from_nanos(u64::try_from(span.nanoseconds()).unwrap_or_default())
}
