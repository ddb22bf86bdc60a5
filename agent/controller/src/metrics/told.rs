//! The series that alerts and the dashboard of the modules are made of, compared with those that the program tells.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use trysail_api::{backup::BackupPhase, restore::RestorePhase};
use trysail_repository::{
    Class,
    prune::{Inventory, Limits, Plan, Report},
};

use super::{BackupEnd, Metrics};
use crate::{drill::verdict::Drilled, node::metrics::NodeMetrics};

/// A file of the working tree.
const KNOWN: &str = include_str!("../../../../nix/generated/metrics.json");

/// A server after a day on which everything happened that is counted.
fn server() -> Metrics {
    let metrics = Metrics::new();
    let schedule = serde_json::from_value(json!({
        "apiVersion": "velero.io/v1", "kind": "Schedule", "metadata": { "name": "daily" },
        "spec": { "schedule": "@daily", "template": {} },
    }));
    let backup = serde_json::from_value(json!({
        "apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": { "name": "b", "labels": { "velero.io/schedule-name": "daily" } }, "spec": {},
        "status": { "phase": "Completed", "completionTimestamp": "2026-11-02T02:00:00Z" },
    }));
    let volume = serde_json::from_value(json!({
        "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup",
        "metadata": { "name": "v", "annotations": { "velero.io/pvc-name": "data" } },
        "spec": {
            "node": "n", "pod": { "namespace": "app" }, "volume": "v", "backupStorageLocation": "default", "repoIdentifier": "",
        },
        "status": { "phase": "Completed", "completionTimestamp": "2026-11-02T02:00:00Z" },
    }));
    metrics.count(&[backup.unwrap()], &[], &[schedule.unwrap()]);
    metrics.count_volumes(&[volume.unwrap()]);
    metrics.interval("daily", 86_400);
    let (seconds, items, errors, warnings) = (1.0, 1, 0, 1);
    let end = BackupEnd {
        phase: BackupPhase::Completed,
        seconds,
        items,
        errors,
        warnings,
        archive_bytes: 1,
        volumes_not_saved: 0,
    };
    metrics.backup_ended("daily", &end);
    metrics.restore_ended("daily", RestorePhase::Completed);
    metrics.location("default", false, &[], &["LifecycleUnsafe"]);
    metrics.reconcile_error("backup", Class::Transient);
    let (day, now) = (SignedDuration::from_hours(24), Timestamp::UNIX_EPOCH);
    let plan = Plan::of(&Inventory::default(), Limits { session_max: day, grace: day * 3 }, now);
    metrics.care.pruned("app-default-kopia", &plan, &Report::default(), now);
    let drilled: Drilled = serde_json::from_value(json!({
        "at": "2026-11-02T02:00:00Z", "backup": "b", "verdict": "proven", "provenAt": "2026-11-02T02:00:00Z",
    }))
    .unwrap();
    metrics.drills.told("daily", Some(&drilled));
    metrics
}

#[test]
fn every_series_that_the_modules_count_on_is_told() {
    let server = server();
    let agent = NodeMetrics::new("node1", &server);
    agent.enqueued();
    agent.finished("Completed");
    let text = format!("{}{}", server.text(), agent.text());
    let listed: Value = serde_json::from_str(KNOWN).unwrap();
    let is_told = |name: &str| text.lines().any(|line| line.starts_with(&format!("{name}{{")));
    let counted = listed["served"].as_array().unwrap().iter().filter_map(Value::as_str);
    let missing: Vec<&str> = counted.filter(|name| !is_told(name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
    assert_eq!(listed["wanted"], json!([]), "what is wanted and not told yet");
}
