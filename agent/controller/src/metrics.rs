//! Every series that the server tells, with names, types and labels of Velero's, so that its dashboards and alerts go on.
//!
//! Source of the names: Velero `pkg/metrics/metrics.go`. Gauges of Backups are computed from the objects again and again, so
//! they outlive a restart; counters begin at zero. `velero_backup_last_status` is the status of the last backup that ended,
//! where Velero's own says 1 whatever happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use trysail_api::{
    backup::{Backup, BackupPhase},
    names::{annotation, label},
    pod_volume_backup::PodVolumeBackup,
    restore::{Restore, RestorePhase},
    schedule::Schedule,
    transfer::TransferPhase,
};
use trysail_repository::Class;

use crate::{drill::verdict::DrillMetrics, repository::care::metrics::CareMetrics};

type Labels<const N: usize> = [(&'static str, String); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Gauges<const N: usize> = Family<Labels<N>, Gauge>;
type Histograms = Family<Labels<1>, Histogram, fn() -> Histogram>;

/// Upper bounds of durations in seconds: 1 minute to 4 hours. Source: Velero `pkg/metrics/metrics.go`.
pub(crate) const DURATION_BUCKETS: [f64; 9] = [60.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 10800.0, 14400.0];

/// Counters with the label `schedule`, without `_total`, and their help.
const OF_SCHEDULES: [(&str, &str); 17] = [
    ("backup_attempt", "Backups that were started"),
    ("backup_success", "Backups that completed"),
    ("backup_partial_failure", "Backups of which a part failed"),
    ("backup_failure", "Backups that failed"),
    ("backup_validation_failure", "Backups that asked for what cannot be"),
    ("backup_deletion_attempt", "Deletions of backups that were started"),
    ("backup_deletion_success", "Deletions of backups that succeeded"),
    ("backup_deletion_failure", "Deletions of backups that failed"),
    ("backup_warning", "Backups with warnings"),
    ("restore_attempt", "Restores that were started"),
    ("restore_success", "Restores that completed"),
    ("restore_partial_failure", "Restores of which a part failed"),
    ("restore_failed", "Restores that failed"),
    ("restore_validation_failed", "Restores that asked for what cannot be"),
    ("volume_snapshot_attempt", "Snapshots of volumes that were started"),
    ("volume_snapshot_success", "Snapshots of volumes that succeeded"),
    ("volume_snapshot_failure", "Snapshots of volumes that failed"),
];

/// Everything that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    of_schedules: BTreeMap<&'static str, Counters<1>>,
    csi: [Counters<2>; 3],
    backup_total: Gauge,
    restore_total: Gauge,
    backup_last_successful: Gauges<1>,
    backup_last_status: Gauges<1>,
    backup_items_total: Gauges<1>,
    backup_items_errors: Gauges<1>,
    backup_tarball_bytes: Gauges<1>,
    backup_duration: Histograms,
    expected_interval: Gauges<1>,
    location_status: Gauges<1>,
    location_condition: Gauges<2>,
    reconcile_errors: Counters<2>,
    volume_last_successful: Gauges<2>,
    volumes_not_saved: Gauges<1>,
    /// What is counted of the care of repositories.
    pub(crate) care: CareMetrics,
    /// What is told of drills.
    pub(crate) drills: DrillMetrics,
    schedules: Mutex<BTreeSet<String>>,
}

/// How a backup ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BackupEnd {
    pub(crate) phase: BackupPhase,
    /// How long it took.
    pub(crate) seconds: f64,
    /// Objects that are stored.
    pub(crate) items: usize,
    pub(crate) errors: usize,
    pub(crate) warnings: usize,
    /// Size of the archive.
    pub(crate) archive_bytes: usize,
    /// Volumes that are not saved, for whatever reason.
    pub(crate) volumes_not_saved: usize,
}

fn schedule(name: &str) -> Labels<1> {
    [("schedule", name.to_owned())]
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let velero = registry.sub_registry_with_prefix("velero");
        let of_schedules: BTreeMap<_, Counters<1>> =
            OF_SCHEDULES.iter().map(|(name, _)| (*name, Counters::default())).collect();
        for (name, help) in OF_SCHEDULES {
            velero.register(name, help, of_schedules[name].clone());
        }
        let csi: [Counters<2>; 3] = Default::default();
        for (name, counters) in ["attempt", "success", "failure"].iter().zip(&csi) {
            velero.register(format!("csi_snapshot_{name}"), "CSI snapshots", counters.clone());
        }
        let gauges = |registry: &mut Registry, name: &str, help: &str| {
            let gauges = Gauges::<1>::default();
            registry.register(name, help, gauges.clone());
            gauges
        };
        let backup_total = Gauge::default();
        velero.register("backup_total", "Backups that exist", backup_total.clone());
        let restore_total = Gauge::default();
        velero.register("restore_total", "Restores that exist", restore_total.clone());
        let backup_duration = Histograms::new_with_constructor(|| Histogram::new(DURATION_BUCKETS));
        velero.register("backup_duration_seconds", "Time that backups took", backup_duration.clone());
        let last = "When a backup last completed, in seconds since 1970";
        let metrics = Self {
            backup_last_successful: gauges(velero, "backup_last_successful_timestamp", last),
            backup_last_status: gauges(velero, "backup_last_status", "1 if the last backup completed, 0 if not"),
            backup_items_total: gauges(velero, "backup_items_total", "Objects in the last backup"),
            backup_items_errors: gauges(velero, "backup_items_errors", "Errors of the last backup"),
            backup_tarball_bytes: gauges(velero, "backup_tarball_size_bytes", "Size of the last backup's objects"),
            expected_interval: gauges(velero, "schedule_expected_interval_seconds", "Time between two backups"),
            location_status: gauges(velero, "backup_location_status_gauge", "1 if a location is available, 0 if not"),
            of_schedules,
            csi,
            backup_total,
            restore_total,
            backup_duration,
            location_condition: Gauges::default(),
            reconcile_errors: Counters::default(),
            volume_last_successful: Gauges::default(),
            volumes_not_saved: Gauges::default(),
            care: CareMetrics::new(velero),
            drills: DrillMetrics::default(),
            schedules: Mutex::default(),
            registry: Registry::default(),
        };
        let trysail = registry.sub_registry_with_prefix("trysail");
        let condition = metrics.location_condition.clone();
        trysail.register("location_condition", "1 for each thing that is to be said of a location", condition);
        metrics.register_errors(trysail);
        let saved = "When a claim was last saved, in seconds since 1970";
        trysail.register("volume_last_successful_timestamp_seconds", saved, metrics.volume_last_successful.clone());
        let left = "Volumes that the last backup left out or could not save";
        trysail.register("backup_volumes_not_saved", left, metrics.volumes_not_saved.clone());
        metrics.care.register_own(trysail);
        metrics.drills.register(trysail);
        metrics.add_schedule("");
        Self { registry, ..metrics }
    }

    /// The text for Prometheus.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Makes the series of a schedule appear at zero, so that their first increase shows.
    fn add_schedule(&self, name: &str) {
        for counters in self.of_schedules.values() {
            drop(counters.get_or_create(&schedule(name)));
        }
        for counters in &self.csi {
            drop(counters.get_or_create(&[("backupName", String::new()), ("schedule", name.to_owned())]));
        }
        for gauges in [&self.backup_items_total, &self.backup_items_errors] {
            drop(gauges.get_or_create(&schedule(name)));
        }
        self.backup_last_status.get_or_create(&schedule(name)).set(1);
    }

    fn remove_schedule(&self, name: &str) {
        for counters in self.of_schedules.values() {
            counters.remove(&schedule(name));
        }
        for counters in &self.csi {
            counters.remove(&[("backupName", String::new()), ("schedule", name.to_owned())]);
        }
        let gauges = [
            &self.backup_last_successful,
            &self.backup_last_status,
            &self.backup_items_total,
            &self.backup_items_errors,
            &self.backup_tarball_bytes,
            &self.expected_interval,
            &self.volumes_not_saved,
        ];
        for gauges in gauges {
            gauges.remove(&schedule(name));
        }
        self.backup_duration.remove(&schedule(name));
        self.drills.forget(name);
    }

    /// Computes what follows from the objects that there are. Series of schedules that are gone vanish.
    pub(crate) fn count(&self, backups: &[Backup], restores: &[Restore], schedules: &[Schedule]) {
        self.backup_total.set(i64::try_from(backups.len()).unwrap_or(i64::MAX));
        self.restore_total.set(i64::try_from(restores.len()).unwrap_or(i64::MAX));
        let there: BTreeSet<String> = schedules.iter().filter_map(|schedule| schedule.metadata.name.clone()).collect();
        let mut known = self.schedules.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.difference(&there).for_each(|gone| self.remove_schedule(gone));
        there.difference(&known).for_each(|new| self.add_schedule(new));
        *known = there;
        for (name, last) in last_backups(backups) {
            if !name.is_empty() && !known.contains(name) {
                continue;
            }
            if let Some(at) = last.completed {
                self.backup_last_successful.get_or_create(&schedule(name)).set(at);
            }
            let status = self.backup_last_status.get_or_create(&schedule(name));
            status.set(i64::from(last.is_completed));
        }
    }

    /// When each claim was last saved. Claims of which nothing is kept any more vanish.
    pub(crate) fn count_volumes(&self, volumes: &[PodVolumeBackup]) {
        self.volume_last_successful.clear();
        for volume in volumes {
            let claim = volume.metadata.annotations.as_ref().and_then(|all| all.get(annotation::PVC_NAME));
            let status = volume.status.as_ref().filter(|status| status.phase == Some(TransferPhase::Completed));
            let ended = status.and_then(|status| status.completion_timestamp);
            let (Some(claim), Some(ended)) = (claim, ended) else { continue };
            let namespace = volume.spec.pod.namespace.clone().unwrap_or_default();
            let gauge =
                self.volume_last_successful.get_or_create(&[("claim", claim.clone()), ("namespace", namespace)]);
            gauge.set(gauge.get().max(ended.timestamp().as_second()));
        }
    }

    /// A backup that was started.
    pub(crate) fn backup_started(&self, of_schedule: &str) {
        self.increase("backup_attempt", of_schedule);
    }

    /// A backup that asked for what cannot be.
    pub(crate) fn backup_refused(&self, of_schedule: &str) {
        self.increase("backup_validation_failure", of_schedule);
    }

    /// A backup that ended.
    pub(crate) fn backup_ended(&self, of_schedule: &str, end: &BackupEnd) {
        self.increase(
            match end.phase {
                BackupPhase::Completed => "backup_success",
                BackupPhase::PartiallyFailed => "backup_partial_failure",
                _ => "backup_failure",
            },
            of_schedule,
        );
        if end.warnings > 0 {
            self.increase("backup_warning", of_schedule);
        }
        let set = |gauges: &Gauges<1>, number: usize| {
            gauges.get_or_create(&schedule(of_schedule)).set(i64::try_from(number).unwrap_or(i64::MAX));
        };
        set(&self.backup_items_total, end.items);
        set(&self.backup_items_errors, end.errors);
        set(&self.backup_tarball_bytes, end.archive_bytes);
        set(&self.volumes_not_saved, end.volumes_not_saved);
        self.backup_duration.get_or_create(&schedule(of_schedule)).observe(end.seconds);
    }

    /// A restore that was started.
    pub(crate) fn restore_started(&self, of_schedule: &str) {
        self.increase("restore_attempt", of_schedule);
    }

    /// A restore that asked for what cannot be.
    pub(crate) fn restore_refused(&self, of_schedule: &str) {
        self.increase("restore_validation_failed", of_schedule);
    }

    /// A restore that ended.
    pub(crate) fn restore_ended(&self, of_schedule: &str, phase: RestorePhase) {
        self.increase(
            match phase {
                RestorePhase::Completed => "restore_success",
                RestorePhase::PartiallyFailed => "restore_partial_failure",
                _ => "restore_failed",
            },
            of_schedule,
        );
    }

    fn increase(&self, counter: &str, of_schedule: &str) {
        if let Some(counters) = self.of_schedules.get(counter) {
            counters.get_or_create(&schedule(of_schedule)).inc();
        }
    }

    /// Whether a location can be used, and what is to be said of it.
    pub(crate) fn location(&self, name: &str, is_available: bool, before: &[&str], reasons: &[&str]) {
        let status = self.location_status.get_or_create(&[("backup_location_name", name.to_owned())]).clone();
        status.set(i64::from(is_available));
        let labels = |reason: &str| [("location", name.to_owned()), ("reason", reason.to_owned())];
        before.iter().filter(|gone| !reasons.contains(gone)).for_each(|gone| {
            self.location_condition.remove(&labels(gone));
        });
        for reason in reasons {
            self.location_condition.get_or_create(&labels(reason)).set(1);
        }
    }

    /// Forgets a location that is gone.
    pub(crate) fn forget_location(&self, name: &str, reasons: &[&str]) {
        self.location_status.remove(&[("backup_location_name", name.to_owned())]);
        for reason in reasons {
            self.location_condition.remove(&[("location", name.to_owned()), ("reason", (*reason).to_owned())]);
        }
    }

    /// Counts one more thing that happened to a schedule's backups; empty for those of none.
    pub(crate) fn of_schedule(&self, what: &'static str, name: &str) {
        if let Some(counters) = self.of_schedules.get(what) {
            counters.get_or_create(&schedule(name)).inc();
        }
    }

    /// The time between two backups of a schedule.
    pub(crate) fn interval(&self, name: &str, seconds: i64) {
        self.expected_interval.get_or_create(&schedule(name)).set(seconds);
    }

    /// Tells the reconciliations that failed in another registry too.
    pub(crate) fn register_errors(&self, registry: &mut Registry) {
        registry.register("reconcile_errors", "Reconciliations that failed", self.reconcile_errors.clone());
    }

    /// One reconciliation that failed.
    pub(crate) fn reconcile_error(&self, controller: &str, class: Class) {
        let class = format!("{class:?}").to_lowercase();
        self.reconcile_errors.get_or_create(&[("controller", controller.to_owned()), ("class", class)]).inc();
    }
}

/// What the newest backups of one schedule say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Last {
    ended: Option<i64>,
    is_completed: bool,
    completed: Option<i64>,
}

/// By schedule (empty for backups of none), what its backups say.
fn last_backups(backups: &[Backup]) -> BTreeMap<&str, Last> {
    let mut last: BTreeMap<&str, Last> = BTreeMap::new();
    for backup in backups {
        let Some(status) = &backup.status else { continue };
        let Some(phase) = status.phase.filter(|phase| phase.is_terminal()) else { continue };
        let labels = backup.metadata.labels.as_ref();
        let name = labels.and_then(|labels| labels.get(label::SCHEDULE_NAME)).map_or("", String::as_str);
        let ended = status.completion_timestamp.or(status.start_timestamp).map(|at| at.timestamp().as_second());
        let entry = last.entry(name).or_default();
        if phase == BackupPhase::Completed {
            entry.completed = entry.completed.max(ended);
        }
        if ended >= entry.ended {
            entry.ended = ended;
            entry.is_completed = phase == BackupPhase::Completed;
        }
    }
    last
}

#[cfg(test)]
mod told;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn backup(of: &str, phase: &str, at: &str) -> Backup {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "Backup",
            "metadata": { "name": "b", "labels": { "velero.io/schedule-name": of } },
            "spec": {}, "status": { "phase": phase, "completionTimestamp": at },
        }))
        .unwrap()
    }

    fn scheduled(name: &str) -> Schedule {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "Schedule", "metadata": { "name": name },
            "spec": { "schedule": "@daily", "template": {} },
        }))
        .unwrap()
    }

    fn series(metrics: &Metrics, with: &str) -> Vec<String> {
        let text = metrics.text();
        text.lines().filter(|line| !line.starts_with('#') && line.contains(with)).map(str::to_owned).collect()
    }

    #[test]
    fn a_failure_after_a_success_shows_in_the_last_status_and_keeps_the_last_success() {
        let metrics = Metrics::new();
        let backups = [
            backup("nightly", "PartiallyFailed", "2026-11-02T02:00:00Z"),
            backup("nightly", "Completed", "2026-11-01T02:00:00Z"),
            backup("gone", "Completed", "2026-11-01T02:00:00Z"),
        ];
        metrics.count(&backups, &[], &[scheduled("nightly")]);
        let mut found = series(&metrics, "velero_backup_last");
        found.sort();
        assert_eq!(
            found,
            [
                "velero_backup_last_status{schedule=\"\"} 1",
                "velero_backup_last_status{schedule=\"nightly\"} 0",
                "velero_backup_last_successful_timestamp{schedule=\"nightly\"} 1793498400",
            ],
        );
    }

    #[test]
    fn a_backup_that_ended_is_counted_once_and_measured() {
        let metrics = Metrics::new();
        metrics.backup_started("");
        let end = BackupEnd {
            phase: BackupPhase::PartiallyFailed,
            seconds: 11.0,
            items: 27,
            errors: 2,
            warnings: 3,
            archive_bytes: 10_077,
            volumes_not_saved: 1,
        };
        metrics.backup_ended("", &end);
        let told =
            ["attempt_total", "partial_failure_total", "success_total", "warning_total", "items_total", "items_errors"];
        let found: Vec<String> =
            told.iter().flat_map(|name| series(&metrics, &format!("velero_backup_{name}"))).collect();
        let expected = [
            "velero_backup_attempt_total{schedule=\"\"} 1",
            "velero_backup_partial_failure_total{schedule=\"\"} 1",
            "velero_backup_success_total{schedule=\"\"} 0",
            "velero_backup_warning_total{schedule=\"\"} 1",
            "velero_backup_items_total{schedule=\"\"} 27",
            "velero_backup_items_errors{schedule=\"\"} 2",
        ];
        assert_eq!(found, expected);
        let sums =
            [series(&metrics, "backup_duration_seconds_sum"), series(&metrics, "backup_duration_seconds_bucket")];
        assert_eq!((sums[0].len(), sums[1].len()), (1, DURATION_BUCKETS.len() + 1));
        assert_eq!(series(&metrics, "tarball"), ["velero_backup_tarball_size_bytes{schedule=\"\"} 10077"]);
        assert_eq!(series(&metrics, "not_saved"), ["trysail_backup_volumes_not_saved{schedule=\"\"} 1"]);
    }

    #[test]
    fn the_last_success_of_a_claim_is_that_of_its_newest_snapshot() {
        let volume = |phase: &str, at: &str| -> PodVolumeBackup {
            serde_json::from_value(json!({
                "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup",
                "metadata": { "name": "v", "annotations": { "velero.io/pvc-name": "data" } },
                "spec": {
                    "node": "n", "pod": { "namespace": "app" }, "volume": "v", "backupStorageLocation": "default",
                    "repoIdentifier": "",
                },
                "status": { "phase": phase, "completionTimestamp": at },
            }))
            .unwrap()
        };
        let metrics = Metrics::new();
        metrics.count_volumes(&[
            volume("Completed", "2026-11-02T02:00:00Z"),
            volume("Completed", "2026-11-01T02:00:00Z"),
            volume("Failed", "2026-11-03T02:00:00Z"),
        ]);
        let name = "trysail_volume_last_successful_timestamp_seconds";
        let expected = format!("{name}{{claim=\"data\",namespace=\"app\"}} 1793584800");
        assert_eq!(series(&metrics, "volume_last"), [expected]);
        metrics.count_volumes(&[]);
        assert_eq!(series(&metrics, "volume_last"), Vec::<String>::new());
    }

    #[test]
    fn series_of_a_schedule_come_and_go_with_it() {
        let metrics = Metrics::new();
        metrics.count(&[], &[], &[scheduled("nightly")]);
        assert_eq!(series(&metrics, "backup_attempt_total{schedule=\"nightly\"} 0").len(), 1);
        metrics.count(&[], &[], &[]);
        assert_eq!(series(&metrics, "nightly"), Vec::<String>::new());
    }

    #[test]
    fn what_is_said_of_a_location_shows_until_it_is_not_said_any_more() {
        let metrics = Metrics::new();
        metrics.location("default", false, &[], &["LifecycleUnsafe"]);
        let unsafe_series = "trysail_location_condition{location=\"default\",reason=\"LifecycleUnsafe\"} 1".to_owned();
        let status = |value| format!("velero_backup_location_status_gauge{{backup_location_name=\"default\"}} {value}");
        assert_eq!(series(&metrics, "\"default\""), [status(0), unsafe_series]);
        metrics.location("default", true, &["LifecycleUnsafe"], &[]);
        assert_eq!(series(&metrics, "\"default\""), [status(1)]);
    }
}
