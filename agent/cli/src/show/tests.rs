//! Descriptions and tables of recorded objects are those that stock Velero's command line printed of them.

use std::{fs, io::Write as _, path::PathBuf};

use serde_json::Value;

use super::*;

/// The moment of all tests of this folder.
pub(crate) fn view() -> View {
    View { now: "2026-11-21T07:00:00Z".parse().unwrap(), zone: TimeZone::UTC, program: "velero" }
}

/// Where recordings of stock Velero are. Elsewhere than in CI they may be absent.
fn golden() -> Option<PathBuf> {
    let path = std::env::var_os("TRYSAIL_GOLDEN").map(PathBuf::from);
    if path.is_none() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "TRYSAIL_GOLDEN names no recordings");
        // A test that is passed over says so, and cannot say more if nobody listens.
        let _ = writeln!(std::io::stderr(), "SKIPPED, needs TRYSAIL_GOLDEN: recordings of stock Velero");
    }
    path
}

/// What a recorded command printed, without colours.
fn printed(golden: &std::path::Path, file: &str) -> String {
    let text = fs::read_to_string(golden.join("cli/server-1.18.3").join(file)).unwrap();
    let text = text.split_once("--- stdout\n").unwrap().1;
    let mut text = text.split_once("--- stderr").unwrap().0.to_owned();
    for colour in ["\u{1b}[1m", "\u{1b}[22m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[0m"] {
        text = text.replace(colour, "");
    }
    text
}

fn stored<T: serde::de::DeserializeOwned>(golden: &std::path::Path, file: &str) -> T {
    serde_json::from_str(&fs::read_to_string(golden.join("bucket").join(file)).unwrap()).unwrap()
}

fn object<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_backup_is_told_as_stock_velero_tells_it() {
    let Some(golden) = golden() else { return };
    let picture = backup::describe::Picture {
        backup: object(&printed(&golden, "075-backup-get-json.cli1.18.txt")),
        deletions: Vec::new(),
        volumes: stored(&golden, "b1-plain/b1-podvolumebackups.json"),
        results: None,
        resources: Some(Ok(stored(&golden, "b1-plain/b1-resource-list.json"))),
        infos: Ok(stored(&golden, "b1-plain/b1-volumeinfo.json")),
    };
    assert_eq!(
        backup::describe::describe(&picture, &view()),
        printed(&golden, "087-backup-describe-details.cli1.18.txt")
    );
    let told: Value = object(&printed(&golden, "091-backup-describe-details-json.cli1.18.txt"));
    assert_eq!(backup::structured::describe(&picture, &view()), told);
    let short = backup::describe::Picture { resources: None, ..picture };
    assert_eq!(backup::describe::describe(&short, &view()), printed(&golden, "085-backup-describe.cli1.18.txt"));
    let told: Value = object(&printed(&golden, "089-backup-describe-json.cli1.18.txt"));
    assert_eq!(backup::structured::describe(&short, &view()), told);
}

#[test]
fn a_restore_is_told_as_stock_velero_tells_it() {
    let Some(golden) = golden() else { return };
    let volume = |name: &str, bytes: i64| {
        serde_json::json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeRestore", "metadata": { "name": name },
            "spec": {
                "backupStorageLocation": "default", "repoIdentifier": "", "snapshotID": "x", "sourceNamespace": "app1",
                "pod": { "namespace": "app1r", "name": "web-59d45d4f88-757s7" }, "volume": name, "uploaderType": "kopia",
            },
            "status": { "phase": "Completed", "progress": { "totalBytes": bytes, "bytesDone": bytes } },
        })
    };
    let volumes = [volume("scratch", 8), volume("data", 3_145_890)];
    let picture = restore::Picture {
        restore: object(&printed(&golden, "110-restore-get-json.cli1.18.txt")),
        volumes: volumes.into_iter().map(|volume| serde_json::from_value(volume).unwrap()).collect(),
        results: Some(Ok(stored(&golden, "r1-plain/restore-r1-results"))),
        resources: Some(Ok(stored(&golden, "r1-plain/restore-r1-resource-list.json"))),
        infos: Ok(stored(&golden, "r1-plain/r1-volumeinfo.json")),
    };
    assert_eq!(restore::describe(&picture, &view()), printed(&golden, "116-restore-describe-details.cli1.18.txt"));
    let short = restore::Picture { resources: None, ..picture };
    assert_eq!(restore::describe(&short, &view()), printed(&golden, "114-restore-describe.cli1.18.txt"));
}

#[test]
fn a_schedule_is_told_as_stock_velero_tells_it() {
    let Some(golden) = golden() else { return };
    let list: Value = object(&printed(&golden, "252-schedule-get-json.cli1.18.txt"));
    let schedules: Vec<trysail_api::schedule::Schedule> = serde_json::from_value(list["items"].clone()).unwrap();
    let told = |name: &str| {
        let schedule = schedules.iter().find(|schedule| schedule.metadata.name.as_deref() == Some(name)).unwrap();
        schedule::describe(schedule, &view())
    };
    assert_eq!(told("s1"), printed(&golden, "256-schedule-describe.cli1.18.txt"));
    assert_eq!(told("sbad118"), printed(&golden, "258-schedule-describe-invalid.cli1.18.txt"));
    assert_eq!(told("s2"), printed(&golden, "260-schedule-describe-paused.cli1.18.txt"));
    let rows = schedules.iter().map(|one| (schedule::row(one, &view()), std::collections::BTreeMap::new()));
    let table =
        columns::table(&schedule::COLUMNS, columns::Rows { rows: rows.collect() }, &columns::LabelColumns::default());
    assert_eq!(table, printed(&golden, "250-schedule-get.cli1.18.txt"));
}
