//! Series about the care of repositories: Velero's by name and label, and what a prune condemned, deleted and will delete.
//!
//! Source of the former: Velero `pkg/metrics/metrics.go`.

use jiff::Timestamp;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use trysail_repository::prune::{Plan, Report};

use crate::metrics::DURATION_BUCKETS;

type Labels = [(&'static str, String); 1];

/// What is counted of prunes.
pub(crate) struct CareMetrics {
    successes: Family<Labels, Counter>,
    failures: Family<Labels, Counter>,
    durations: Family<Labels, Histogram, fn() -> Histogram>,
    condemned_bytes: Family<Labels, Gauge>,
    condemned_due: Family<Labels, Gauge>,
    reclaimed_bytes: Family<Labels, Counter>,
    pruned_at: Family<Labels, Gauge>,
    stored_bytes: Family<[(&'static str, String); 2], Gauge>,
}

impl CareMetrics {
    /// All of them; Velero's are told in that registry.
    pub(crate) fn new(velero: &mut Registry) -> Self {
        let metrics = Self {
            successes: Family::default(),
            failures: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)),
            condemned_bytes: Family::default(),
            condemned_due: Family::default(),
            reclaimed_bytes: Family::default(),
            pruned_at: Family::default(),
            stored_bytes: Family::default(),
        };
        velero.register("repo_maintenance_success", "Prunes that succeeded", metrics.successes.clone());
        velero.register("repo_maintenance_failure", "Prunes that failed", metrics.failures.clone());
        velero.register("repo_maintenance_duration_seconds", "Time that prunes took", metrics.durations.clone());
        metrics
    }

    /// Tells our own series in a registry.
    pub(crate) fn register_own(&self, trysail: &mut Registry) {
        let gauges = [
            ("repository_condemned_bytes", "Bytes that no snapshot needs and that wait", &self.condemned_bytes),
            ("repository_condemned_due_timestamp_seconds", "When the next of them may go", &self.condemned_due),
            ("repository_pruned_timestamp_seconds", "When a prune last succeeded", &self.pruned_at),
        ];
        for (name, help, family) in gauges {
            trysail.register(name, help, family.clone());
        }
        let stored = "Bytes of all objects of a repository";
        trysail.register("repository_stored_bytes", stored, self.stored_bytes.clone());
        trysail.register("repository_reclaimed_bytes", "Bytes that prunes deleted", self.reclaimed_bytes.clone());
    }

    /// How a prune ended, and how long it took.
    pub(super) fn ended(&self, repository: &str, is_success: bool, seconds: f64) {
        let labels = [("repository_name", repository.to_owned())];
        let (ended, other) =
            if is_success { (&self.successes, &self.failures) } else { (&self.failures, &self.successes) };
        ended.get_or_create(&labels).inc();
        drop(other.get_or_create(&labels));
        self.durations.get_or_create(&labels).observe(seconds);
    }

    /// What a repository takes of its location.
    pub(super) fn stored(&self, location: &str, repository: &str, bytes: u64) {
        let labels = [("location", location.to_owned()), ("repository", repository.to_owned())];
        self.stored_bytes.get_or_create(&labels).set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// What a prune did.
    pub(crate) fn pruned(&self, repository: &str, plan: &Plan, report: &Report, now: Timestamp) {
        let labels = [("repository", repository.to_owned())];
        let waiting: u64 = plan.waiting.iter().map(|set| set.bytes).sum();
        let bytes = waiting.saturating_add(report.condemned_bytes);
        self.condemned_bytes.get_or_create(&labels).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        let due = plan.waiting.iter().map(|set| set.due).chain(report.condemned_due).min();
        match due {
            Some(due) => {
                self.condemned_due.get_or_create(&labels).set(due.as_second());
            }
            None => {
                self.condemned_due.remove(&labels);
            }
        }
        self.reclaimed_bytes.get_or_create(&labels).inc_by(report.swept_bytes);
        self.pruned_at.get_or_create(&labels).set(now.as_second());
    }
}
