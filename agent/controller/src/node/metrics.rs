//! Every series that a node agent tells: those of Velero's by name and label, so that its dashboards go on, and a few of our own.
//!
//! Source of the names: Velero pkg/metrics/metrics.go. What it counts without `_total` is a gauge here, since the library adds that
//! word to every counter.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
};

use kube::ResourceExt as _;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use trysail_api::{names::label, pod_volume_backup::PodVolumeBackup, transfer::UploaderType};

use super::posture::Posture;
use crate::metrics::{DURATION_BUCKETS, Metrics};

type Labels<const N: usize> = [(&'static str, String); N];

/// Transfers whose latency is told; older ones vanish, so that the series of a year do not.
const LATENCIES_MAX: usize = 500;

/// Counters of Velero's data mover, which nothing moves here.
const DATA_MOVER: [&str; 6] = [
    "data_upload_success",
    "data_upload_failure",
    "data_upload_cancel",
    "data_download_success",
    "data_download_failure",
    "data_download_cancel",
];

/// Everything that a node agent counts.
pub(crate) struct NodeMetrics {
    registry: Registry,
    node: String,
    enqueued: Family<Labels<1>, Gauge>,
    dequeued: Family<Labels<1>, Gauge>,
    latency: Family<Labels<4>, Histogram, fn() -> Histogram>,
    latency_gauge: Family<Labels<4>, Gauge<f64, AtomicU64>>,
    transfers: Family<Labels<1>, Counter>,
    posture: Family<Labels<1>, Gauge>,
    told: Mutex<VecDeque<Labels<4>>>,
}

impl NodeMetrics {
    pub(crate) fn new(node: &str, of_context: &Metrics) -> Self {
        let mut registry = Registry::default();
        let velero = registry.sub_registry_with_prefix("podVolume");
        let own = || [("node", node.to_owned())];
        for name in DATA_MOVER {
            let counters: Family<Labels<1>, Counter> = Family::default();
            drop(counters.get_or_create(&own()));
            velero.register(name, "Transfers of snapshots, of which there are none", counters);
        }
        let (enqueued, dequeued) = (Family::default(), Family::default());
        for (name, help, family) in [
            ("pod_volume_backup_enqueue_count", "Volumes that were to be read", &enqueued),
            ("pod_volume_backup_dequeue_count", "Volumes whose turn came", &dequeued),
        ] {
            let family: &Family<Labels<1>, Gauge> = family;
            drop(family.get_or_create(&own()));
            velero.register(name, help, family.clone());
        }
        let latency: Family<Labels<4>, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS));
        let latency_gauge = Family::default();
        velero.register("pod_volume_operation_latency_seconds", "Time that a volume took", latency.clone());
        velero.register("pod_volume_operation_latency_seconds_gauge", "The same as one number", latency_gauge.clone());
        let trysail = registry.sub_registry_with_prefix("trysail");
        let transfers: Family<Labels<1>, Counter> = Family::default();
        for result in ["saved", "failed", "ended"] {
            drop(transfers.get_or_create(&[("result", result.to_owned())]));
        }
        trysail.register("node_transfers", "Volumes by what came of them", transfers.clone());
        let posture: Family<Labels<1>, Gauge> = Family::default();
        trysail.register("node_posture", "1 for the rights that the agent runs with", posture.clone());
        of_context.register_errors(trysail);
        let told = Mutex::default();
        Self { registry, node: node.to_owned(), enqueued, dequeued, latency, latency_gauge, transfers, posture, told }
    }

    /// The text for Prometheus.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// The rights that the agent runs with.
    pub(super) fn posture(&self, posture: Posture) {
        self.posture.get_or_create(&[("posture", posture.word().to_owned())]).set(1);
    }

    /// A volume is to be read.
    pub(crate) fn enqueued(&self) {
        self.enqueued.get_or_create(&[("node", self.node.clone())]).inc();
    }

    /// Its turn has come.
    pub(super) fn dequeued(&self) {
        self.dequeued.get_or_create(&[("node", self.node.clone())]).inc();
    }

    /// What came of a volume, in one word.
    pub(crate) fn finished(&self, result: &str) {
        self.transfers.get_or_create(&[("result", result.to_owned())]).inc();
    }

    /// How long a volume took.
    pub(super) fn latency(&self, transfer: &PodVolumeBackup, namespace: &str, seconds: f64) {
        let name = transfer.name_any();
        let backup = transfer.labels().get(label::BACKUP_NAME).map_or("", String::as_str);
        let of = transfer.spec.pod.namespace.as_deref().unwrap_or_default();
        let directory = transfer.spec.uploader_type.unwrap_or(UploaderType::Unset).directory();
        let labels = [
            ("node", self.node.clone()),
            ("operation", format!("{name}-{}-{of}-{directory}-backup", transfer.spec.backup_storage_location)),
            ("backupName", format!("{namespace}/{backup}")),
            ("pod_volume_backup", name),
        ];
        self.latency.get_or_create(&labels).observe(seconds);
        self.latency_gauge.get_or_create(&labels).set(seconds);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.push_back(labels);
        if told.len() > LATENCIES_MAX
            && let Some(oldest) = told.pop_front()
        {
            self.latency.remove(&oldest);
            self.latency_gauge.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn transfer(name: &str) -> PodVolumeBackup {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup",
            "metadata": { "name": name, "labels": { "velero.io/backup-name": "b1" } },
            "spec": {
                "backupStorageLocation": "default", "node": "node1", "repoIdentifier": "", "volume": "data",
                "pod": { "namespace": "app1" },
            },
        }))
        .unwrap()
    }

    fn series(metrics: &NodeMetrics, with: &str) -> Vec<String> {
        let text = metrics.text();
        text.lines().filter(|line| !line.starts_with('#') && line.contains(with)).map(str::to_owned).collect()
    }

    #[test]
    fn series_have_the_names_and_labels_of_velero() {
        let metrics = NodeMetrics::new("node1", &Metrics::new());
        metrics.enqueued();
        metrics.latency(&transfer("b1-gjghb"), "velero", 2.0);
        let labels = "node=\"node1\",operation=\"b1-gjghb-default-app1-kopia-backup\",backupName=\"velero/b1\",\
                      pod_volume_backup=\"b1-gjghb\"";
        assert_eq!(
            series(&metrics, "seconds_gauge"),
            [format!("podVolume_pod_volume_operation_latency_seconds_gauge{{{labels}}} 2.0")]
        );
        assert_eq!(
            series(&metrics, "queue_count"),
            [
                "podVolume_pod_volume_backup_enqueue_count{node=\"node1\"} 1",
                "podVolume_pod_volume_backup_dequeue_count{node=\"node1\"} 0",
            ]
        );
        assert_eq!(series(&metrics, "data_upload_success"), ["podVolume_data_upload_success_total{node=\"node1\"} 0"]);
    }

    #[test]
    fn old_transfers_leave_no_series_behind() {
        let metrics = NodeMetrics::new("node1", &Metrics::new());
        (0..LATENCIES_MAX + 10).for_each(|n| metrics.latency(&transfer(&format!("b1-{n}")), "velero", 1.0));
        assert_eq!(series(&metrics, "seconds_gauge").len(), LATENCIES_MAX);
        assert_eq!(series(&metrics, "b1-9\""), Vec::<String>::new());
    }
}
