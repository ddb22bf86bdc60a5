//! Which Backup is next. Pure: it looks at all Backups, and says what is to be done about each.
//!
//! Backups start in the order in which they were made, as many at once as the settings allow, and none beside one with
//! which it has a namespace in common: the hooks of one would freeze what the other reads.
//!
//! Source: Velero 1.18 `pkg/controller/backup_queue_controller.go`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::{Map, Value};
use trysail_api::backup::{BackupPhase, BackupSpec};

/// What of a Backup decides about its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) uid: String,
    created: Option<Timestamp>,
    pub(super) phase: BackupPhase,
    position: i64,
    /// Namespaces that it takes, as they are written.
    included: Vec<String>,
    /// What its kind does not understand.
    problems: Vec<String>,
    pub(super) is_deleted: bool,
}

/// What is to be done about a Backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// It is not what its kind says, and cannot be worked on.
    Refuse(Vec<String>),
    /// Its place among those that wait, from 1.
    Queue(i64),
    /// It is its turn.
    Release,
    /// It starts.
    Start,
}

impl Entry {
    /// Reads an object that may be anything that the API server lets through.
    pub(super) fn read(object: &DynamicObject) -> Self {
        let metadata = &object.metadata;
        let status = &object.data["status"];
        let word = status["phase"].as_str().unwrap_or_default();
        let is_phase = |phase: &&BackupPhase| phase.as_str() == word;
        let included = object.data["spec"]["includedNamespaces"].as_array().into_iter().flatten();
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(|at| at.0),
            phase: BackupPhase::ALL.iter().find(is_phase).copied().unwrap_or(BackupPhase::New),
            position: status["queuePosition"].as_i64().unwrap_or_default(),
            included: included.filter_map(Value::as_str).map(str::to_owned).collect(),
            problems: problems(&object.data["spec"]),
            is_deleted: metadata.deletion_timestamp.is_some(),
        }
    }

    /// Whether two Backups may read the same: they may unless both name all their namespaces, and no name is the same.
    fn meets(&self, other: &Self) -> bool {
        let is_open =
            |names: &[String]| names.is_empty() || names.iter().any(|name| name.contains(['*', '?', '[', '{']));
        is_open(&self.included)
            || is_open(&other.included)
            || self.included.iter().any(|name| other.included.contains(name))
    }
}

/// What a spec says that its type does not understand, each with the field that says it.
fn problems(spec: &Value) -> Vec<String> {
    let fields = match spec {
        Value::Object(fields) => fields,
        Value::Null => return vec!["spec: a Backup needs one; `spec: {}` takes everything".to_owned()],
        _ => return vec!["spec: it is not an object".to_owned()],
    };
    if serde_json::from_value::<BackupSpec>(spec.clone()).is_ok() {
        return Vec::new();
    }
    let problem = |(key, value): (&String, &Value)| {
        let alone = Map::from_iter([(key.clone(), value.clone())]);
        let error = serde_json::from_value::<BackupSpec>(alone.into()).err()?;
        Some(format!("spec.{key}: {error}"))
    };
    fields.iter().filter_map(problem).collect()
}

/// Decides about all Backups; `running` are the names of those that have started here.
pub(super) fn decide(
    backups: &BTreeMap<String, Entry>,
    running: &BTreeSet<String>,
    at_once: usize,
) -> Vec<(String, Step)> {
    let mut steps = Vec::new();
    let (mut active, mut waiting, mut new) = (Vec::new(), Vec::new(), Vec::new());
    for (name, entry) in backups {
        match entry.phase {
            _ if running.contains(name) => active.push(entry),
            _ if entry.is_deleted => {}
            BackupPhase::New | BackupPhase::Queued | BackupPhase::ReadyToStart if !entry.problems.is_empty() => {
                steps.push((name.clone(), Step::Refuse(entry.problems.clone())));
            }
            BackupPhase::New => new.push((name, entry)),
            BackupPhase::Queued => waiting.push((name, entry)),
            BackupPhase::ReadyToStart => {
                active.push(entry);
                steps.push((name.clone(), Step::Start));
            }
            _ => {}
        }
    }
    // A place that nobody wrote is the last.
    let place = |entry: &Entry| (u8::from(entry.position <= 0), entry.position, entry.created);
    waiting.sort_by_key(|(name, entry)| (place(entry), *name));
    new.sort_by_key(|(name, entry)| (entry.created, *name));
    let mut before: Vec<&Entry> = Vec::new();
    for (name, entry) in waiting {
        let is_free = active.len() < at_once && !active.iter().chain(&before).any(|other| other.meets(entry));
        if is_free {
            active.push(entry);
            steps.push((name.clone(), Step::Release));
            continue;
        }
        before.push(entry);
        let position = i64::try_from(before.len()).unwrap_or(i64::MAX);
        if entry.position != position {
            steps.push((name.clone(), Step::Queue(position)));
        }
    }
    let places = (before.len() + 1..).map(|place| i64::try_from(place).unwrap_or(i64::MAX));
    steps.extend(new.into_iter().zip(places).map(|((name, _), place)| (name.clone(), Step::Queue(place))));
    steps
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(object: Value) -> Entry {
        Entry::read(&serde_json::from_value(object).unwrap())
    }

    /// `phase@position second-of-creation namespaces`.
    fn backup(text: &str) -> Entry {
        let words: Vec<&str> = text.split(' ').collect();
        let (phase, position) = words[0].split_once('@').unwrap_or((words[0], "0"));
        entry(json!({
            "apiVersion": "velero.io/v1", "kind": "Backup",
            "metadata": { "name": "b", "uid": "u", "creationTimestamp": format!("2026-11-21T06:00:{}Z", words[1]) },
            "spec": { "includedNamespaces": words[2..] },
            "status": { "phase": phase, "queuePosition": position.parse::<i64>().unwrap() },
        }))
    }

    fn steps(backups: &[(&str, &str)], running: &[&str], at_once: usize) -> Vec<(String, Step)> {
        let backups = backups.iter().map(|(name, text)| ((*name).to_owned(), backup(text))).collect();
        decide(&backups, &running.iter().map(|name| (*name).to_owned()).collect(), at_once)
    }

    fn step(name: &str, step: Step) -> (String, Step) {
        (name.to_owned(), step)
    }

    #[test]
    fn a_new_backup_is_queued_released_and_started() {
        assert_eq!(steps(&[("a", "New 00 x")], &[], 1), [step("a", Step::Queue(1))]);
        assert_eq!(steps(&[("a", "Queued@1 00 x")], &[], 1), [step("a", Step::Release)]);
        assert_eq!(steps(&[("a", "ReadyToStart 00 x")], &[], 1), [step("a", Step::Start)]);
        assert_eq!(steps(&[("a", "ReadyToStart 00 x")], &["a"], 1), []);
        assert_eq!(steps(&[("a", "Completed 00 x"), ("b", "FailedValidation 00 x")], &[], 1), []);
    }

    #[test]
    fn those_that_wait_move_up_and_new_ones_come_behind_in_the_order_in_which_they_were_made() {
        let backups = [
            ("a", "InProgress 00 x"),
            ("b", "Queued@2 01 x"),
            ("c", "Queued@3 02 x"),
            ("e", "New 04 x"),
            ("d", "New 05 x"),
        ];
        let expected = [
            step("b", Step::Queue(1)),
            step("c", Step::Queue(2)),
            step("e", Step::Queue(3)),
            step("d", Step::Queue(4)),
        ];
        assert_eq!(steps(&backups, &["a"], 1), expected);
        let expected =
            [step("b", Step::Release), step("c", Step::Queue(1)), step("e", Step::Queue(2)), step("d", Step::Queue(3))];
        assert_eq!(steps(&backups, &[], 1), expected);
    }

    #[test]
    fn backups_of_other_namespaces_run_beside_each_other_and_nobody_overtakes_its_namespace() {
        let backups = [
            ("a", "InProgress 00 x"),
            ("b", "Queued@1 01 x y"),
            ("c", "Queued@2 02 y"),
            ("d", "Queued@3 03 z"),
            ("e", "Queued@4 04 *"),
        ];
        assert_eq!(steps(&backups, &["a"], 3), [step("d", Step::Release), step("e", Step::Queue(3))]);
        assert_eq!(steps(&[("a", "InProgress 00"), ("b", "Queued@1 01 x")], &["a"], 3), []);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_field_and_stands_in_nobody_s_way() {
        let object = |spec: Value| {
            entry(json!({ "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": { "name": "b" }, "spec": spec }))
        };
        let bad = object(json!({ "ttl": "1 week", "itemOperationTimeout": "1d", "snapshotVolumes": true }));
        let backups: BTreeMap<String, Entry> = [
            ("bad".to_owned(), bad),
            ("empty".to_owned(), object(Value::Null)),
            ("good".to_owned(), backup("New 00 x")),
        ]
        .into();
        let refused = vec![
            "spec.ttl: time: unknown unit \" week\" in duration \"1 week\"".to_owned(),
            "spec.itemOperationTimeout: time: unknown unit \"d\" in duration \"1d\"".to_owned(),
        ];
        let missing = vec!["spec: a Backup needs one; `spec: {}` takes everything".to_owned()];
        let expected =
            [step("bad", Step::Refuse(refused)), step("empty", Step::Refuse(missing)), step("good", Step::Queue(1))];
        assert_eq!(decide(&backups, &BTreeSet::new(), 1), expected);
    }
}
