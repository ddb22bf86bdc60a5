//! From a Backup as its user wrote it to one that can run: empty fields are filled, and what cannot be is said. Pure.
//!
//! Source: Velero 1.18 `pkg/controller/backup_controller.go`, `prepareBackupRequest`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::version::Info};
use kube::ResourceExt as _;
use serde_json::{Map, Value, json};
use trysail_api::{
    backup::{Backup, BackupPhase, BackupSpec, BackupStatus},
    backup_storage_location::{AccessMode, BackupStorageLocation, LocationPhase},
    duration::Duration as Span,
    names::{annotation, label, label_value},
    policy::Policy,
    selection::{uses_scoped, uses_unscoped},
    time::Time,
    validate,
};
use trysail_cluster::archive;

use crate::{location, settings::BackupSettings};

/// How long a CSI snapshot may take, where a Backup does not say. Source: Velero `pkg/cmd/server/config/config.go`.
const CSI_SNAPSHOT_TIMEOUT: i64 = 600_000_000_000;

/// Kinds of snapshots of a cluster that mean nothing in another one. Source: Velero `pkg/controller/backup_controller.go`.
const SNAPSHOTS: &str = "volumesnapshots.snapshot.storage.k8s.io";
const SNAPSHOT_CONTENTS: &str = "volumesnapshotcontents.snapshot.storage.k8s.io";

/// The only major version of what is stored.
const VERSION: i32 = 1;

/// What there is to know for a Backup.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) locations: Vec<BackupStorageLocation>,
    pub(super) default_location: String,
    pub(super) version: Info,
    /// The ConfigMap that the Backup names.
    pub(super) policy: Option<ConfigMap>,
    /// Names of namespaces whose label keeps them out.
    pub(super) labelled_out: Vec<String>,
}

/// A Backup that was looked at.
#[derive(Debug)]
pub(super) struct Prepared {
    /// With its empty fields filled, and its new status.
    pub(super) backup: Backup,
    /// The fields that change.
    pub(super) fields: Value,
    /// What is wrong; a Backup of which something is does not run.
    pub(super) problems: Vec<String>,
    pub(super) location: Option<BackupStorageLocation>,
    pub(super) policy: Option<Policy>,
}

/// Fills and judges a Backup.
pub(super) fn prepare(mut backup: Backup, world: &World, settings: &BackupSettings, now: Timestamp) -> Prepared {
    let before = json!(backup.spec);
    let mut problems = validate::backup(&backup.spec);
    let location = find_location(&backup.spec, &world.locations, &world.default_location).cloned();
    fill(&mut backup.spec, world, location.as_ref(), settings);
    problems.extend(location_problem(&backup.spec, location.as_ref()));
    let policy = match policy(&backup, world) {
        Ok(policy) => policy,
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    let metadata = metadata(&mut backup, world, settings);
    let phase = if problems.is_empty() { BackupPhase::InProgress } else { BackupPhase::FailedValidation };
    let ttl = backup.spec.ttl.as_ref().map_or(SignedDuration::ZERO, SignedDuration::from);
    let status = BackupStatus {
        version: VERSION,
        format_version: Some(archive::VERSION.to_owned()),
        expiration: now.saturating_add(ttl).ok().map(Time::new),
        phase: Some(phase),
        start_timestamp: problems.is_empty().then(|| Time::new(now)),
        validation_errors: (!problems.is_empty()).then(|| problems.clone()),
        ..BackupStatus::default()
    };
    let fields = json!({ "metadata": metadata, "spec": changes(&before, &json!(backup.spec)), "status": status });
    backup.status = Some(status);
    Prepared { backup, fields, problems, location, policy }
}

/// The location that a Backup names, or else the default one.
pub(super) fn find_location<'l>(
    spec: &BackupSpec,
    locations: &'l [BackupStorageLocation],
    default: &str,
) -> Option<&'l BackupStorageLocation> {
    match spec.storage_location.as_ref().filter(|name| !name.is_empty()) {
        Some(name) => locations.iter().find(|location| location.name_any() == *name),
        None => location::default_of(locations, default),
    }
}

fn fill(spec: &mut BackupSpec, world: &World, location: Option<&BackupStorageLocation>, settings: &BackupSettings) {
    let or = |span: Option<Span>, default: &Span| {
        Some(span.filter(|span| !span.is_zero()).unwrap_or_else(|| default.clone()))
    };
    spec.ttl = or(spec.ttl.take(), &settings.ttl);
    spec.csi_snapshot_timeout = or(spec.csi_snapshot_timeout.take(), &Span::from_nanoseconds(CSI_SNAPSHOT_TIMEOUT));
    spec.item_operation_timeout = or(spec.item_operation_timeout.take(), &settings.item_operation_timeout);
    spec.default_volumes_to_fs_backup =
        spec.default_volumes_to_fs_backup.or(spec.default_volumes_to_restic).or(settings.all_volumes);
    spec.snapshot_move_data.get_or_insert(settings.move_snapshots);
    spec.volume_group_snapshot_label_key.get_or_insert_with(|| label::VOLUME_GROUP.to_owned());
    let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    if spec.storage_location.as_ref().is_none_or(String::is_empty) {
        let default = || world.default_location.clone();
        spec.storage_location = Some(location.map_or_else(default, kube::ResourceExt::name_any));
    }
    if is_empty(&spec.included_namespaces) {
        spec.included_namespaces = Some(vec!["*".to_owned()]);
    }
    if is_empty(&spec.excluded_namespaces) && !world.labelled_out.is_empty() {
        spec.excluded_namespaces = Some(world.labelled_out.clone());
    }
    let lists = if uses_unscoped(spec) && !uses_scoped(spec) {
        vec![(&mut spec.excluded_resources, vec![SNAPSHOTS.to_owned(), SNAPSHOT_CONTENTS.to_owned()])]
    } else if uses_unscoped(spec) {
        Vec::new()
    } else {
        vec![
            (&mut spec.excluded_cluster_scoped_resources, vec![SNAPSHOT_CONTENTS.to_owned()]),
            (&mut spec.excluded_namespace_scoped_resources, vec![SNAPSHOTS.to_owned()]),
        ]
    };
    for (list, snapshots) in lists {
        if is_empty(list) {
            *list = Some(snapshots);
        }
    }
}

/// The fields of a spec that are no longer what they were.
fn changes(before: &Value, after: &Value) -> Value {
    let fields = after.as_object().into_iter().flatten();
    let changed = fields.filter(|(key, value)| before.get(key) != Some(value));
    changed.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<String, Value>>().into()
}

/// In Velero's words, where it has any.
fn location_problem(spec: &BackupSpec, location: Option<&BackupStorageLocation>) -> Option<String> {
    let name = spec.storage_location.as_deref().unwrap_or_default();
    let Some(location) = location else {
        return Some(format!("storageLocation: there is no BackupStorageLocation {name}"));
    };
    let phase = location.status.as_ref().and_then(|status| status.phase);
    if location.spec.access_mode == Some(AccessMode::ReadOnly) {
        return Some(format!(
            "backup can't be created because backup storage location {name} is currently in read-only mode"
        ));
    }
    match phase {
        Some(LocationPhase::Available) => None,
        Some(LocationPhase::Unavailable) => {
            Some(format!("backup can't be created because BackupStorageLocation {name} is in Unavailable status."))
        }
        None => Some(format!("storageLocation: nobody has looked at BackupStorageLocation {name} yet")),
    }
}

fn policy(backup: &Backup, world: &World) -> Result<Option<Policy>, String> {
    let Some(reference) = &backup.spec.resource_policy else { return Ok(None) };
    let name = &reference.name;
    let map = world.policy.as_ref().ok_or_else(|| format!("resourcePolicy: there is no ConfigMap {name}"))?;
    let empty = BTreeMap::new();
    let data = map.data.as_ref().unwrap_or(&empty);
    let namespace = backup.namespace().unwrap_or_default();
    let policy = Policy::of_config_map(&namespace, name, data).map_err(|error| format!("resourcePolicy: {error}"))?;
    if policy.include_exclude_policy.is_some() && uses_unscoped(&backup.spec) {
        let old = "includedResources, excludedResources and includeClusterResources";
        return Err(format!("resourcePolicy: the includeExcludePolicy of ConfigMap {name} does not go with {old}"));
    }
    Ok(Some(policy))
}

/// Labels and annotations, which are set whatever was there.
fn metadata(backup: &mut Backup, world: &World, settings: &BackupSettings) -> Value {
    let location = label_value(backup.spec.storage_location.as_deref().unwrap_or_default());
    let annotations = [
        (annotation::RESOURCE_TIMEOUT, settings.resource_timeout.to_string()),
        (annotation::SOURCE_CLUSTER_GIT_VERSION, world.version.git_version.clone()),
        (annotation::SOURCE_CLUSTER_MAJOR_VERSION, world.version.major.clone()),
        (annotation::SOURCE_CLUSTER_MINOR_VERSION, world.version.minor.clone()),
    ];
    let annotations: BTreeMap<String, String> = annotations.map(|(key, value)| (key.to_owned(), value)).into();
    let fields = json!({ "labels": { label::STORAGE_LOCATION: location }, "annotations": annotations });
    backup.labels_mut().insert(label::STORAGE_LOCATION.to_owned(), location);
    backup.annotations_mut().extend(annotations);
    fields
}

/// The spec by which objects are collected: what was excluded for everybody is no choice of this Backup's user, who would
/// else get no cluster-scoped objects by themselves ([`is_left_out`] leaves these kinds out), and the policy's lists of
/// kinds stand where the Backup has none.
pub(super) fn for_collection(backup: &Backup, policy: Option<&Policy>) -> BackupSpec {
    let mut spec = backup.spec.clone();
    let automatic = [
        (&mut spec.excluded_cluster_scoped_resources, [SNAPSHOT_CONTENTS].as_slice()),
        (&mut spec.excluded_namespace_scoped_resources, &[SNAPSHOTS]),
    ];
    for (list, snapshots) in automatic {
        if list.as_ref().is_some_and(|list| list == snapshots) {
            *list = None;
        }
    }
    let Some(kinds) = policy.and_then(|policy| policy.include_exclude_policy.as_ref()) else { return spec };
    let lists = [
        (&mut spec.included_cluster_scoped_resources, &kinds.included_cluster_scoped_resources),
        (&mut spec.excluded_cluster_scoped_resources, &kinds.excluded_cluster_scoped_resources),
        (&mut spec.included_namespace_scoped_resources, &kinds.included_namespace_scoped_resources),
        (&mut spec.excluded_namespace_scoped_resources, &kinds.excluded_namespace_scoped_resources),
    ];
    for (list, of_policy) in lists {
        if list.as_ref().is_none_or(Vec::is_empty) && !of_policy.is_empty() {
            *list = Some(of_policy.clone());
        }
    }
    spec
}

/// Whether objects of a kind are never stored.
pub(super) fn is_left_out(resource: &str) -> bool {
    [SNAPSHOTS, SNAPSHOT_CONTENTS].contains(&resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-21T06:37:33Z";

    fn location(name: &str, mode: &str, phase: &str) -> BackupStorageLocation {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": { "name": name },
            "spec": {
                "provider": "aws", "objectStorage": { "bucket": "b" }, "accessMode": mode, "default": name == "default",
            },
            "status": { "phase": phase },
        }))
        .unwrap()
    }

    fn world() -> World {
        World {
            locations: vec![
                location("default", "ReadWrite", "Available"),
                location("ro", "ReadOnly", "Available"),
                location("down", "ReadWrite", "Unavailable"),
            ],
            default_location: "default".to_owned(),
            version: serde_json::from_value(json!({
                "gitVersion": "v1.34.4", "major": "1", "minor": "34", "buildDate": "", "compiler": "", "gitCommit": "",
                "gitTreeState": "", "goVersion": "", "platform": "",
            }))
            .unwrap(),
            ..World::default()
        }
    }

    #[allow(clippy::needless_pass_by_value, reason = "values are handed over as they are written in tables")]
    fn backup(spec: Value) -> Backup {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": { "name": "b1", "namespace": "velero" },
            "spec": spec,
        }))
        .unwrap()
    }

    #[allow(clippy::needless_pass_by_value, reason = "values are handed over as they are written in tables")]
    fn prepared(spec: Value, world: &World, settings: &BackupSettings) -> Prepared {
        prepare(backup(spec), world, settings, NOW.parse().unwrap())
    }

    #[allow(clippy::needless_pass_by_value, reason = "values are handed over as they are written in tables")]
    fn problems(spec: Value) -> Vec<String> {
        prepared(spec, &world(), &BackupSettings::default()).problems
    }

    #[test]
    fn empty_fields_become_what_stock_velero_writes() {
        // What its command line sends, and the patch of its server 1.18 that was started with --default-volumes-to-fs-backup.
        let sent = json!({
            "csiSnapshotTimeout": "0s", "hooks": {}, "includedNamespaces": ["app1"], "itemOperationTimeout": "0s",
            "metadata": {}, "ttl": "0s",
        });
        let settings = BackupSettings { all_volumes: Some(true), ..BackupSettings::default() };
        let expected = json!({
            "metadata": {
                "labels": { "velero.io/storage-location": "default" },
                "annotations": {
                    "velero.io/resource-timeout": "10m0s", "velero.io/source-cluster-k8s-gitversion": "v1.34.4",
                    "velero.io/source-cluster-k8s-major-version": "1", "velero.io/source-cluster-k8s-minor-version": "34",
                },
            },
            "spec": {
                "csiSnapshotTimeout": "10m0s", "defaultVolumesToFsBackup": true,
                "excludedClusterScopedResources": ["volumesnapshotcontents.snapshot.storage.k8s.io"],
                "excludedNamespaceScopedResources": ["volumesnapshots.snapshot.storage.k8s.io"],
                "itemOperationTimeout": "4h0m0s", "snapshotMoveData": false, "storageLocation": "default",
                "ttl": "720h0m0s", "volumeGroupSnapshotLabelKey": "velero.io/volume-group",
            },
            "status": {
                "expiration": "2026-12-21T06:37:33Z", "formatVersion": "1.1.0", "phase": "InProgress",
                "startTimestamp": NOW, "version": 1,
            },
        });
        assert_eq!(prepared(sent, &world(), &settings).fields, expected);
    }

    #[test]
    fn what_the_user_wrote_stays() {
        let spec = json!({
            "csiSnapshotTimeout": "1m", "defaultVolumesToFsBackup": false, "includedNamespaces": ["app*"],
            "excludedNamespaces": ["a"], "excludedClusterScopedResources": ["nodes"],
            "includedNamespaceScopedResources": ["pods"], "excludedNamespaceScopedResources": ["secrets"],
            "itemOperationTimeout": "1h", "snapshotMoveData": true, "storageLocation": "default", "ttl": "48h",
            "volumeGroupSnapshotLabelKey": "x",
        });
        let world = World { labelled_out: vec!["out".to_owned()], ..world() };
        let settings = BackupSettings { all_volumes: Some(true), ..BackupSettings::default() };
        assert_eq!(prepared(spec, &world, &settings).fields["spec"], json!({}));
    }

    #[test]
    fn a_backup_of_everything_says_so_and_older_lists_are_filled_by_themselves() {
        let world = World { labelled_out: vec!["out".to_owned()], ..world() };
        let spec = json!({ "includeClusterResources": true, "defaultVolumesToRestic": true });
        let filled = prepared(spec, &world, &BackupSettings::default()).fields;
        let expected = json!({
            "csiSnapshotTimeout": "10m0s", "defaultVolumesToFsBackup": true, "excludedNamespaces": ["out"],
            "excludedResources": [SNAPSHOTS, SNAPSHOT_CONTENTS], "includedNamespaces": ["*"],
            "itemOperationTimeout": "4h0m0s", "snapshotMoveData": false, "storageLocation": "default",
            "ttl": "720h0m0s", "volumeGroupSnapshotLabelKey": "velero.io/volume-group",
        });
        assert_eq!(filled["spec"], expected);
        let unsaid = prepared(json!({}), &world, &BackupSettings::default()).fields;
        assert_eq!(unsaid["spec"].get("defaultVolumesToFsBackup"), None);
    }

    #[test]
    fn a_backup_that_cannot_be_does_not_begin_and_says_why() {
        let at = |name: &str| problems(json!({ "storageLocation": name }));
        assert_eq!(at("gone"), ["storageLocation: there is no BackupStorageLocation gone"]);
        assert_eq!(
            at("ro"),
            ["backup can't be created because backup storage location ro is currently in read-only mode"]
        );
        assert_eq!(
            at("down"),
            ["backup can't be created because BackupStorageLocation down is in Unavailable status."]
        );
        let policy = json!({ "resourcePolicy": { "kind": "configmap", "name": "p" } });
        assert_eq!(problems(policy.clone()), ["resourcePolicy: there is no ConfigMap p"]);
        let data = BTreeMap::from([("a".to_owned(), "version: v1\nvolumePolicy: []".to_owned())]);
        let map = ConfigMap { data: Some(data), ..ConfigMap::default() };
        let found = prepared(policy, &World { policy: Some(map), ..world() }, &BackupSettings::default());
        assert!(found.problems[0].contains("`volumePolicy`"), "{:?}", found.problems);
        let expected = json!({
            "expiration": "2026-12-21T06:37:33Z", "formatVersion": "1.1.0", "phase": "FailedValidation",
            "validationErrors": found.problems, "version": 1,
        });
        assert_eq!(found.fields["status"], expected);
        assert_eq!(problems(json!({ "excludedNamespaces": ["*"] })).len(), 1);
    }

    #[test]
    fn what_is_excluded_for_everybody_does_not_make_a_whole_backup_a_part() {
        let whole = prepared(json!({}), &world(), &BackupSettings::default()).backup;
        let spec = for_collection(&whole, None);
        assert_eq!((spec.excluded_cluster_scoped_resources, spec.excluded_namespace_scoped_resources), (None, None));
        let policy = "version: v1\nincludeExcludePolicy: {excludedNamespaceScopedResources: [events]}";
        let spec = for_collection(&whole, Some(&Policy::parse(policy).unwrap()));
        assert_eq!(spec.excluded_namespace_scoped_resources, Some(vec!["events".to_owned()]));
        assert!(is_left_out(SNAPSHOTS) && is_left_out(SNAPSHOT_CONTENTS) && !is_left_out("pods"));
    }
}
