//! What is to be done about a Restore, and what is wrong with one. Pure.
//!
//! Source: Velero `pkg/controller/restore_controller.go`, `validateAndComplete`.

use kube::ResourceExt as _;
use serde_json::{Value, json};
use trysail_api::{
    backup::{Backup, BackupPhase},
    backup_storage_location::{BackupStorageLocation, LocationPhase},
    duration::Duration as Span,
    names::{finalizer, label, namespace_problems, own},
    restore::{Restore, RestorePhase, RestoreSpec},
    time::Time,
    validate::{self, NON_RESTORABLE},
};

use super::wish;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing more.
    Nothing,
    /// Its files in the bucket go before it does.
    RemoveFiles,
    /// It is new.
    Begin,
    /// A server that is gone has begun it.
    GoOn,
}

pub(super) fn step(restore: &Restore) -> Step {
    let has_finalizer = restore.finalizers().iter().any(|name| name == finalizer::RESTORE);
    if restore.metadata.deletion_timestamp.is_some() {
        return if has_finalizer { Step::RemoveFiles } else { Step::Nothing };
    }
    match restore.status.as_ref().and_then(|status| status.phase) {
        None | Some(RestorePhase::New) => Step::Begin,
        Some(phase) if phase.is_terminal() => Step::Nothing,
        Some(_) => Step::GoOn,
    }
}

/// What there is to know before a Restore begins.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    /// All Backups.
    pub(super) backups: Vec<Backup>,
    /// All locations.
    pub(super) locations: Vec<BackupStorageLocation>,
    /// What is wrong with the `ConfigMap` of resource modifiers.
    pub(super) modifier_problem: Option<String>,
}

/// Where a Restore comes from.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) backup: Backup,
    pub(super) location: BackupStorageLocation,
}

/// A Restore whose empty fields are filled.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    /// Its spec.
    pub(super) spec: RestoreSpec,
    /// Where it comes from, or what is wrong: sentences.
    pub(super) source: Result<Box<Source>, Vec<String>>,
}

/// Fills what is empty and says what is wrong.
pub(super) fn check(restore: &Restore, world: &World) -> Checked {
    let mut problems = validate::restore(&restore.spec);
    problems.extend(mapping_problems(&restore.spec));
    problems.extend(account_problem(restore));
    problems.extend(wish::problems(restore));
    problems.extend(world.modifier_problem.clone());
    let mut spec = completed(restore.spec.clone());
    let named = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    if let (None, Some(schedule)) = (named(&spec.backup_name), named(&spec.schedule_name)) {
        match newest_completed(&world.backups, &schedule) {
            Some(backup) => spec.backup_name = Some(backup.name_any()),
            None => problems.push("No completed backups found for schedule".to_owned()),
        }
    }
    let Some(name) = named(&spec.backup_name) else { return Checked { spec, source: Err(problems) } };
    let Some(backup) = world.backups.iter().find(|backup| backup.name_any() == name) else {
        problems.push(format!("Error retrieving backup: backup.velero.io {name:?} not found"));
        return Checked { spec, source: Err(problems) };
    };
    if named(&spec.schedule_name).is_none() {
        spec.schedule_name = backup.labels().get(label::SCHEDULE_NAME).cloned();
    }
    let location = backup.spec.storage_location.clone().unwrap_or_default();
    match find_location(&location, &world.locations) {
        Ok(location) if problems.is_empty() => {
            let source = Source { backup: backup.clone(), location: location.clone() };
            Checked { spec, source: Ok(Box::new(source)) }
        }
        Ok(_) => Checked { spec, source: Err(problems) },
        Err(problem) => {
            problems.push(problem);
            Checked { spec, source: Err(problems) }
        }
    }
}

fn find_location<'a>(name: &str, locations: &'a [BackupStorageLocation]) -> Result<&'a BackupStorageLocation, String> {
    let Some(location) = locations.iter().find(|location| location.name_any() == name) else {
        return Err(format!("Error retrieving backup: backupstoragelocation.velero.io {name:?} not found"));
    };
    match location.status.as_ref().and_then(|status| status.phase) {
        Some(LocationPhase::Unavailable) => Err(format!("The BSL {name} is unavailable, cannot retrieve the backup")),
        _ => Ok(location),
    }
}

/// A namespace that cannot be is told before anything is made.
fn mapping_problems(spec: &RestoreSpec) -> Vec<String> {
    let pairs = spec.namespace_mapping.iter().flatten();
    let problems = pairs.filter_map(|(from, to)| {
        let problem = namespace_problems(to).into_iter().next()?;
        Some(format!("Invalid namespace mapping {from}:{to}: {problem}"))
    });
    problems.collect()
}

/// A ServiceAccount that cannot be is told before anything is made.
fn account_problem(restore: &Restore) -> Option<String> {
    let named = restore.annotations().get(own::SERVICE_ACCOUNT)?;
    let parts: Vec<&str> = named.split('/').collect();
    let is_name = |part: &&str| part.split('.').all(|label| namespace_problems(label).is_empty());
    (parts.len() > 2 || !parts.iter().all(is_name)).then(|| {
        format!("annotation {} is no name of a ServiceAccount, nor namespace/name: {named:?}", own::SERVICE_ACCOUNT)
    })
}

/// Source: as above; the kinds are added to those that the user excludes.
fn completed(mut spec: RestoreSpec) -> RestoreSpec {
    let excluded = spec.excluded_resources.get_or_insert_default();
    for kind in NON_RESTORABLE {
        if !excluded.iter().any(|listed| listed == kind) {
            excluded.push(kind.to_owned());
        }
    }
    if spec.item_operation_timeout.as_ref().is_none_or(Span::is_zero) {
        spec.item_operation_timeout = Some(Span::from_hours(4));
    }
    spec
}

/// The newest Completed Backup of a Schedule.
fn newest_completed<'a>(backups: &'a [Backup], schedule: &str) -> Option<&'a Backup> {
    let label_value = trysail_api::names::label_value(schedule);
    let is_of = |backup: &&Backup| {
        backup.labels().get(label::SCHEDULE_NAME) == Some(&label_value)
            && backup.status.as_ref().and_then(|status| status.phase) == Some(BackupPhase::Completed)
    };
    let began = |backup: &&Backup| backup.status.as_ref().and_then(|status| status.start_timestamp);
    backups.iter().filter(is_of).max_by_key(began)
}

/// The fields that a Restore gets when it begins, or when it is refused: of the spec those that were empty.
pub(super) fn fields(restore: &Restore, checked: &Checked, now: Time) -> Value {
    let mut fields = json!({ "status": match &checked.source {
        Ok(_) => json!({ "phase": RestorePhase::InProgress, "startTimestamp": now }),
        Err(problems) => json!({ "phase": RestorePhase::FailedValidation, "validationErrors": problems }),
    } });
    let mut spec = serde_json::Map::new();
    let (old, new) = (json!(restore.spec), json!(checked.spec));
    for (key, value) in new.as_object().into_iter().flatten() {
        if old.get(key) != Some(value) {
            spec.insert(key.clone(), value.clone());
        }
    }
    if !spec.is_empty() {
        fields["spec"] = Value::Object(spec);
    }
    if checked.source.is_ok() && !restore.finalizers().iter().any(|name| name == finalizer::RESTORE) {
        let finalizers: Vec<&str> =
            restore.finalizers().iter().map(String::as_str).chain([finalizer::RESTORE]).collect();
        fields["metadata"] = json!({ "finalizers": finalizers });
    }
    fields
}

/// What says that an encrypted backup cannot be opened.
pub(super) fn needs_identity(backup: &str, problem: &str) -> String {
    format!(
        "The backup {backup} is encrypted and {problem}: put an age identity into a Secret of this namespace and name it in \
         annotation {} of the Restore",
        own::IDENTITY_SECRET
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restore(spec: &Value, rest: &Value) -> Restore {
        let mut object =
            json!({ "apiVersion": "velero.io/v1", "kind": "Restore", "metadata": { "name": "r1" }, "spec": spec });
        for (key, value) in rest.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    fn backup(name: &str, schedule: &str, phase: &str, began: &str) -> Backup {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "Backup",
            "metadata": { "name": name, "labels": { "velero.io/schedule-name": schedule } },
            "spec": { "storageLocation": "default" }, "status": { "phase": phase, "startTimestamp": began },
        }))
        .unwrap()
    }

    fn world(phase: &str) -> World {
        let location = json!({
            "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": { "name": "default" },
            "spec": { "provider": "aws", "objectStorage": { "bucket": "b" } }, "status": { "phase": phase },
        });
        let backups = vec![
            backup("old", "daily", "Completed", "2026-01-01T00:00:00Z"),
            backup("new", "daily", "Completed", "2026-01-02T00:00:00Z"),
            backup("bad", "daily", "PartiallyFailed", "2026-01-03T00:00:00Z"),
        ];
        World { backups, locations: vec![serde_json::from_value(location).unwrap()], modifier_problem: None }
    }

    fn problems(spec: &Value, world: &World) -> Vec<String> {
        check(&restore(spec, &json!({})), world).source.err().unwrap_or_default()
    }

    #[test]
    fn a_restore_is_begun_once_and_gone_on_with_and_cleared_up_after() {
        let at = |phase: &str| step(&restore(&json!({}), &json!({ "status": { "phase": phase } })));
        let steps = ["New", "InProgress", "Finalizing", "Completed", "FailedValidation"].map(at);
        assert_eq!(steps, [Step::Begin, Step::GoOn, Step::GoOn, Step::Nothing, Step::Nothing]);
        assert_eq!(step(&restore(&json!({}), &json!({}))), Step::Begin);
        let deleted = |finalizers: Value| json!({ "metadata": { "name": "r1", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers } });
        let ends = [json!([]), json!(["restores.velero.io/external-resources-finalizer"])];
        assert_eq!(ends.map(|f| step(&restore(&json!({}), &deleted(f)))), [Step::Nothing, Step::RemoveFiles]);
    }

    #[test]
    fn a_restore_of_a_schedule_takes_the_newest_completed_backup() {
        let found = check(&restore(&json!({ "scheduleName": "daily" }), &json!({})), &world("Available"));
        assert_eq!((found.spec.backup_name.as_deref(), found.source.is_ok()), (Some("new"), true));
        let found = check(&restore(&json!({ "backupName": "old" }), &json!({})), &world("Available"));
        assert_eq!((found.spec.schedule_name.as_deref(), found.source.is_ok()), (Some("daily"), true));
    }

    #[test]
    fn what_cannot_be_restored_is_said_in_velero_s_words() {
        let (here, away) = (world("Available"), world("Unavailable"));
        let rows = [
            (json!({ "scheduleName": "weekly" }), &here, "No completed backups found for schedule"),
            (json!({ "backupName": "x" }), &here, "Error retrieving backup: backup.velero.io \"x\" not found"),
            (json!({ "backupName": "old" }), &away, "The BSL default is unavailable, cannot retrieve the backup"),
            (
                json!({}),
                &here,
                "Either a backup or schedule must be specified as a source for the restore, but not both",
            ),
        ];
        for (spec, world, expected) in rows {
            assert_eq!(problems(&spec, world), [expected]);
        }
        let mapped = problems(&json!({ "backupName": "old", "namespaceMapping": { "a": "B_" } }), &here);
        assert!(mapped[0].starts_with("Invalid namespace mapping a:B_: a lowercase RFC 1123 label must"), "{mapped:?}");
        let lost = World { locations: Vec::new(), ..here };
        let expected = "Error retrieving backup: backupstoragelocation.velero.io \"default\" not found";
        assert_eq!(problems(&json!({ "backupName": "old" }), &lost), [expected]);
    }

    #[test]
    fn a_service_account_is_a_name_or_a_namespace_and_a_name() {
        let with = |account: &str| {
            let metadata = json!({ "name": "r1", "annotations": { "trysail.io/service-account": account } });
            restore(&json!({ "backupName": "old" }), &json!({ "metadata": metadata }))
        };
        let is_valid = |account: &str| check(&with(account), &world("Available")).source.is_ok();
        assert_eq!(["restorer", "app/re.storer", "a/b/c", "", "A b"].map(is_valid), [true, true, false, false, false]);
        let problem = check(&with("a/b/c"), &world("Available")).source.unwrap_err();
        let expected =
            "annotation trysail.io/service-account is no name of a ServiceAccount, nor namespace/name: \"a/b/c\"";
        assert_eq!(problem, [expected]);
    }

    #[test]
    fn only_empty_fields_are_written() {
        let given = restore(&json!({ "backupName": "old", "excludedResources": ["nodes", "pods"] }), &json!({}));
        let now = Time::new("2026-11-21T06:00:00Z".parse().unwrap());
        let begun = fields(&given, &check(&given, &world("Available")), now);
        let expected = json!({
            "status": { "phase": "InProgress", "startTimestamp": "2026-11-21T06:00:00Z" },
            "spec": {
                "excludedResources": [
                    "nodes", "pods", "events", "events.events.k8s.io", "backups.velero.io", "restores.velero.io",
                    "resticrepositories.velero.io", "csinodes.storage.k8s.io", "volumeattachments.storage.k8s.io",
                    "backuprepositories.velero.io",
                ],
                "itemOperationTimeout": "4h0m0s", "scheduleName": "daily",
            },
            "metadata": { "finalizers": ["restores.velero.io/external-resources-finalizer"] },
        });
        assert_eq!(begun, expected);
        let refused = fields(&given, &check(&given, &world("Unavailable")), now);
        let status = json!({
            "phase": "FailedValidation",
            "validationErrors": ["The BSL default is unavailable, cannot retrieve the backup"],
        });
        assert_eq!((&refused["status"], refused.get("metadata")), (&status, None));
    }
}
