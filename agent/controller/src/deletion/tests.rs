//! Which deletions are refused, and what is left alone.

use serde_json::json;

use super::*;

fn request(name: &str, phase: &str) -> DeleteBackupRequest {
    serde_json::from_value(json!({
        "apiVersion": "velero.io/v1", "kind": "DeleteBackupRequest",
        "metadata": { "name": "b1-x", "creationTimestamp": "2026-11-21T06:00:00Z" },
        "spec": { "backupName": name }, "status": { "phase": phase },
    }))
    .unwrap()
}

fn backup(phase: &str) -> Option<Backup> {
    let backup = json!({
        "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": { "name": "b1" },
        "spec": { "storageLocation": "nas" }, "status": { "phase": phase },
    });
    serde_json::from_value(backup).unwrap()
}

fn location(mode: &str, phase: &str) -> Option<BackupStorageLocation> {
    let location = json!({
        "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": { "name": "nas" },
        "spec": { "provider": "aws", "objectStorage": { "bucket": "b" }, "accessMode": mode },
        "status": { "phase": phase },
    });
    serde_json::from_value(location).unwrap()
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn step(request: &DeleteBackupRequest, backup: Option<Backup>, location: Option<BackupStorageLocation>) -> Step {
    decide(request, &World { backup, location }, at("2026-11-21T07:00:00Z"))
}

#[test]
fn a_backup_that_ended_is_deleted_and_one_that_runs_is_not() {
    let new = request("b1", "New");
    let usable = || location("ReadWrite", "Available");
    for phase in ["Completed", "PartiallyFailed", "Failed", "FailedValidation", "Deleting", "Queued"] {
        assert_eq!(step(&new, backup(phase), usable()), Step::Delete, "{phase}");
    }
    for phase in ["InProgress", "Finalizing", "WaitingForPluginOperations"] {
        let refused = Step::Refuse("backup is still in progress".to_owned());
        assert_eq!(step(&new, backup(phase), usable()), refused, "{phase}");
    }
}

#[test]
fn what_cannot_be_deleted_is_refused_in_velero_s_words() {
    let refused = |request: &DeleteBackupRequest, backup, location| match step(request, backup, location) {
        Step::Refuse(reason) => reason,
        other => panic!("{other:?}"),
    };
    let (new, done) = (request("b1", "New"), || backup("Completed"));
    let found = [
        refused(&request("", "New"), None, None),
        refused(&new, None, None),
        refused(&new, done(), None),
        refused(&new, done(), location("ReadOnly", "Available")),
        refused(&new, done(), location("ReadWrite", "Unavailable")),
    ];
    expect_test::expect![[r"
        spec.backupName is required
        backup not found
        backup storage location nas not found
        cannot delete backup because backup storage location nas is currently in read-only mode
        cannot delete backup because backup storage location nas is currently in Unavailable state"]]
    .assert_eq(&found.join("\n"));
}

#[test]
fn a_deletion_whose_server_died_goes_on() {
    let begun = request("b1", "InProgress");
    assert_eq!(step(&begun, backup("Deleting"), location("ReadWrite", "Available")), Step::Delete);
    assert_eq!(step(&begun, None, None), Step::Forget);
}

#[test]
fn a_request_that_failed_is_kept_for_a_day() {
    let world = World::default();
    let processed = request("b1", "Processed");
    let end = at("2026-11-22T06:00:00Z");
    assert_eq!(decide(&processed, &world, at("2026-11-22T05:59:59Z")), Step::Keep(end));
    assert_eq!(decide(&processed, &world, end), Step::Forget);
}

#[test]
fn the_schedule_of_a_backup_names_its_series() {
    let mut backup = backup("Completed").unwrap();
    assert_eq!(schedule_of(&backup), "");
    backup.labels_mut().insert(label::SCHEDULE_NAME.to_owned(), "daily".to_owned());
    assert_eq!(schedule_of(&backup), "daily");
}
