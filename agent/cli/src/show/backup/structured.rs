//! A backup told as JSON, as `velero backup describe -o json` does; its misspelt key too.
//!
//! Source: Velero `pkg/cmd/util/output/backup_structured_describer.go`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use trysail_api::{
    backup::{BackupPhase, BackupSpec, BackupStatus},
    hook::{BackupHook, Hook, OnError},
};

use super::{
    describe::Picture,
    spec::included,
    volumes::{GROUPS, PodVolume, by_pod, kept, uploader},
};
use crate::show::{
    NONE, View,
    files::{Fetched, Missing, Part, VolumeInfo},
    joined,
    moment::{moment, moment_or},
    selector, span, switch,
};

/// Tells a backup.
pub(crate) fn describe(picture: &Picture, view: &View) -> Value {
    let backup = &picture.backup;
    let status = backup.status.clone().unwrap_or_default();
    let mut told = Map::new();
    let mut put = |key: &str, value: Value| drop(told.insert(key.to_owned(), value));
    let metadata = &backup.metadata;
    put(
        "metadata",
        json!({
            "name": metadata.name, "namespace": metadata.namespace,
            "labels": metadata.labels.clone().unwrap_or_default(),
            "annotations": metadata.annotations.clone().unwrap_or_default(),
        }),
    );
    put("phase", json!(status.phase.map_or("", BackupPhase::as_str)));
    if let Some(policy) = &backup.spec.resource_policy {
        put("resourcePolicies", json!({ "type": policy.kind, "name": policy.name }));
    }
    if let Some(errors) = status.validation_errors.as_ref().filter(|errors| !errors.is_empty()) {
        put("validationErrors", json!(errors));
    }
    for (key, value) in results(picture, &status) {
        put(key, value);
    }
    put("spec", spec(&backup.spec));
    put("status", self::status(picture, &status, view));
    if !picture.deletions.is_empty() {
        put("deletionAttempts", deletions(picture, view));
    }
    sorted(Value::Object(told))
}

/// The same with the keys of all objects in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<String, Value> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(map.into_iter().collect())
        }
        Value::Array(list) => list.into_iter().map(sorted).collect(),
        other => other,
    }
}

fn results(picture: &Picture, status: &BackupStatus) -> Vec<(&'static str, Value)> {
    let Some(results) = &picture.results else { return Vec::new() };
    let part = |count: i32, part: &Part| {
        let namespaces = if part.namespaces.is_empty() { json!([]) } else { json!(part.namespaces) };
        match count {
            0 => json!({}),
            _ => json!({ "velero": part.velero, "cluster": part.cluster, "namespace": namespaces }),
        }
    };
    let (errors, warnings) = match results {
        Ok(results) => (part(status.errors, &results.errors), part(status.warnings, &results.warnings)),
        Err(Missing::NotFound) => (json!({ "count": status.errors }), json!({ "count": status.warnings })),
        Err(missing) => (
            json!({ "errorGettingErrors": format!("<error getting errors: {missing}>") }),
            json!({ "errorGettingWarnings": format!("<error getting warnings: {missing}>") }),
        ),
    };
    vec![("errors", errors), ("warnings", warnings)]
}

fn spec(spec: &BackupSpec) -> Value {
    let mut told = json!({
        "namespaces": {
            "included": joined(spec.included_namespaces.as_ref(), "*"),
            "excluded": joined(spec.excluded_namespaces.as_ref(), NONE),
        },
        "resources": {
            "included": joined(spec.included_resources.as_ref(), "*"),
            "excluded": joined(spec.excluded_resources.as_ref(), NONE),
            "clusterScoped": included(spec.include_cluster_resources),
        },
        "labelSelector": selector(spec.label_selector.as_ref()),
        "storageLocation": spec.storage_location.as_deref().unwrap_or_default(),
        "veleroNativeSnapshotPVs": switch(spec.snapshot_volumes),
        "veleroSnapshotMoveData": switch(spec.snapshot_move_data),
        "dataMover": spec.datamover.as_deref().filter(|mover| !mover.is_empty()).unwrap_or(NONE),
        "TTL": span(spec.ttl.as_ref()),
        "CSISnapshotTimeout": span(spec.csi_snapshot_timeout.as_ref()),
    });
    let hooks = spec.hooks.as_ref().and_then(|hooks| hooks.resources.as_deref()).unwrap_or_default();
    if !hooks.is_empty() {
        let hooks: BTreeMap<&str, Value> = hooks.iter().map(|hook| (hook.name.as_str(), self::hook(hook))).collect();
        told["hooks"] = json!({ "resources": hooks });
    }
    if let Some(order) = &spec.ordered_resources {
        told["orderedResources"] = json!(order);
    }
    told
}

fn hook(hook: &BackupHook) -> Value {
    let commands = |hooks: Option<&Vec<Hook>>| -> Vec<Value> {
        let command = |hook: &Hook| {
            let exec = &hook.exec;
            json!({
                "container": exec.container.as_deref().unwrap_or_default(), "command": exec.command.join(" "),
                "onError:": exec.on_error.map(OnError::as_str).unwrap_or_default(), "timeout": span(exec.timeout.as_ref()),
            })
        };
        hooks.into_iter().flatten().map(command).collect()
    };
    json!({
        "namespaces": {
            "included": joined(hook.included_namespaces.as_ref(), "*"),
            "excluded": joined(hook.excluded_namespaces.as_ref(), NONE),
        },
        "resources": {
            "included": joined(hook.included_resources.as_ref(), "*"),
            "excluded": joined(hook.excluded_resources.as_ref(), NONE),
        },
        "labelSelector": selector(hook.label_selector.as_ref()),
        "preExecHook": commands(hook.pre.as_ref()),
        "postExecHook": commands(hook.post.as_ref()),
    })
}

fn status(picture: &Picture, status: &BackupStatus, view: &View) -> Value {
    let mut told = json!({
        "backupFormatVersion": status.format_version.as_deref().unwrap_or_default(),
        "started": moment_or(status.start_timestamp, "<n/a>", view),
        "completed": moment_or(status.completion_timestamp, "<n/a>", view),
        "expiration": moment_or(status.expiration, "<nil>", view),
        "backupVolumes": volumes(picture, status),
    });
    if let Some(progress) = status.progress {
        let (total, done) = match status.phase {
            Some(BackupPhase::InProgress) => ("estimatedTotalItemsToBeBackedUp", "itemsBackedUpSoFar"),
            _ => ("totalItemsToBeBackedUp", "itemsBackedUp"),
        };
        told[total] = json!(progress.total_items);
        told[done] = json!(progress.items_backed_up);
    }
    if let Some(hooks) = status.hook_status {
        told["hooksAttempted"] = json!(hooks.hooks_attempted);
        told["hooksFailed"] = json!(hooks.hooks_failed);
    }
    match &picture.resources {
        None => {}
        Some(Ok(list)) => told["resourceList"] = json!(list),
        Some(Err(Missing::NotFound)) => told["errorGettingResourceList"] = json!("<backup resource list not found>"),
        Some(Err(missing)) => {
            told["errorGettingResourceList"] = json!(format!("<error getting backup resource list: {missing}>"));
        }
    }
    told
}

fn volumes(picture: &Picture, status: &BackupStatus) -> Value {
    let (native, csi) = match &picture.infos {
        Err(Missing::Failed(why)) => {
            return json!({ "errorGetBackupVolumeInfo": format!("error getting backup volume info: {why}") });
        }
        infos => snapshots(infos, status),
    };
    json!({ "nativeSnapshots": native, "csiSnapshots": csi, "podVolumeBackups": pod_volumes(picture) })
}

/// Snapshots that stock Velero took, by their names.
fn snapshots(infos: &Fetched<Vec<VolumeInfo>>, status: &BackupStatus) -> (Value, Value) {
    let Ok(infos) = infos else {
        let native = match status.volume_snapshots_attempted {
            0 => json!("<none included>"),
            attempted => json!(format!("{attempted} attempted")),
        };
        return (native, json!("<none included or not detectable>"));
    };
    let of = |method: &str, name: fn(&VolumeInfo) -> String| {
        let found = infos.iter().filter(|info| info.backup_method == method);
        let found: BTreeMap<String, &str> = found.map(|info| (name(info), kept(info))).collect();
        if found.is_empty() { json!("<none included>") } else { json!(found) }
    };
    (of("NativeSnapshot", |info| info.pv_name.clone()), of("CSISnapshot", VolumeInfo::claim))
}

fn pod_volumes(picture: &Picture) -> Value {
    if picture.volumes.is_empty() {
        return json!("<none included>");
    }
    let volumes: Vec<PodVolume<'_>> = picture.volumes.iter().map(PodVolume::of_backup).collect();
    let mut groups = Map::new();
    for group in GROUPS {
        let of_group: Vec<&PodVolume<'_>> = volumes.iter().filter(|volume| volume.group() == group).collect();
        if of_group.is_empty() {
            continue;
        }
        let told = if picture.resources.is_none() {
            json!(of_group.len())
        } else {
            by_pod(&of_group).into_iter().map(|(pod, volumes)| json!({ pod: volumes.join(", ") })).collect()
        };
        groups.insert(group.to_owned(), told);
    }
    json!({ "uploderType": uploader(&picture.volumes).as_str(), "podVolumeBackupsDetails": groups })
}

fn deletions(picture: &Picture, view: &View) -> Value {
    let requests: Vec<Value> = picture
        .deletions
        .iter()
        .map(|request| {
            let status = request.status.clone().unwrap_or_default();
            let mut told = json!({
                "creationTimestamp": request.metadata.creation_timestamp.as_ref().map(|at| moment(at.0, view)),
                "phase": status.phase,
            });
            if let Some(errors) = status.errors.filter(|errors| !errors.is_empty()) {
                told["errors"] = json!(errors);
            }
            told
        })
        .collect();
    let failed = requests.iter().filter(|request| request["phase"] == "Processed" && !request["errors"].is_null());
    let failed = failed.count();
    let mut told = json!({ "deleteBackupRequests": requests });
    if failed > 0 {
        told["failed"] = json!(failed);
    }
    told
}
