//! Every recorded object of Velero's kinds becomes a value of our types and comes back equal.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use trysail_api::{
    backup::Backup, backup_repository::BackupRepository, backup_storage_location::BackupStorageLocation,
    data_download::DataDownload, data_upload::DataUpload, delete_backup_request::DeleteBackupRequest,
    download_request::DownloadRequest, pod_volume_backup::PodVolumeBackup, pod_volume_restore::PodVolumeRestore,
    restore::Restore, schedule::Schedule, server_status_request::ServerStatusRequest,
    volume_snapshot_location::VolumeSnapshotLocation,
};

use super::golden;

/// A value through a type and back.
fn through<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, String> {
    let typed: T = serde_json::from_value(value.clone()).map_err(|e| e.to_string())?;
    serde_json::to_value(typed).map_err(|e| e.to_string())
}

fn round(kind: &str, value: &Value) -> Result<Value, String> {
    match kind {
        "Backup" => through::<Backup>(value),
        "BackupRepository" => through::<BackupRepository>(value),
        "BackupStorageLocation" => through::<BackupStorageLocation>(value),
        "DataDownload" => through::<DataDownload>(value),
        "DataUpload" => through::<DataUpload>(value),
        "DeleteBackupRequest" => through::<DeleteBackupRequest>(value),
        "DownloadRequest" => through::<DownloadRequest>(value),
        "PodVolumeBackup" => through::<PodVolumeBackup>(value),
        "PodVolumeRestore" => through::<PodVolumeRestore>(value),
        "Restore" => through::<Restore>(value),
        "Schedule" => through::<Schedule>(value),
        "ServerStatusRequest" => through::<ServerStatusRequest>(value),
        "VolumeSnapshotLocation" => through::<VolumeSnapshotLocation>(value),
        _ => Err("a kind that Velero does not have".to_owned()),
    }
}

/// Objects of Velero's kinds within a document: itself, or the items of a list.
fn collect(value: Value, from: &str, into: &mut Vec<(String, Value)>) {
    if value["kind"] == "List" {
        let Value::Array(items) = value["items"].clone() else { return };
        for item in items {
            collect(item, from, into);
        }
    } else if value["apiVersion"].as_str().is_some_and(|version| version.starts_with("velero.io/")) {
        into.push((from.to_owned(), value));
    }
}

fn recorded(golden: &Path) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let mut directories = vec![golden.join("objects"), golden.join("watch"), golden.join("install")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let name = path.strip_prefix(golden).unwrap().display().to_string();
            match path.extension().and_then(|e| e.to_str()) {
                Some("yaml") => {
                    let text = fs::read_to_string(&path).unwrap();
                    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
                    for document in documents {
                        collect(document, &name, &mut found);
                    }
                }
                Some("jsonl") => {
                    for line in fs::read_to_string(&path).unwrap().lines() {
                        let event: Value = serde_json::from_str(line).unwrap();
                        collect(event["object"].clone(), &name, &mut found);
                    }
                }
                _ => {}
            }
        }
    }
    found
}

/// Nulls are what Go writes for a time that it does not know (`creationTimestamp: null`); absent says the same.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect()
        }
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

#[test]
fn no_field_of_a_recorded_object_is_lost_or_invented() {
    let Some(golden) = golden() else { return };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (from, value) in recorded(&golden) {
        let kind = value["kind"].as_str().unwrap_or_default().to_owned();
        let expected = without_nulls(value);
        match round(&kind, &expected) {
            Ok(found) if found == expected => *counts.entry(kind).or_default() += 1,
            Ok(found) => wrong.push(format!("{from}: {kind}\n  recorded {expected}\n  ours     {found}")),
            Err(error) => wrong.push(format!("{from}: {kind}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{} objects differ, the first:\n{}", wrong.len(), wrong[0]);
    let seen: Vec<&str> = counts.keys().map(String::as_str).collect();
    let expected = [
        "Backup",
        "BackupRepository",
        "BackupStorageLocation",
        "DeleteBackupRequest",
        "DownloadRequest",
        "PodVolumeBackup",
        "PodVolumeRestore",
        "Restore",
        "Schedule",
        "ServerStatusRequest",
    ];
    assert_eq!(seen, expected, "kinds in the recordings");
    assert!(counts.values().sum::<usize>() > 1000, "{counts:?}");
}
