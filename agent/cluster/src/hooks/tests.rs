//! Each rule in a sentence.

#![allow(clippy::needless_pass_by_value, reason = "values are handed over as they are written in tables")]

use serde_json::json;

use super::*;
use crate::kind::tests::kind;

fn pod(annotations: Value) -> Item {
    let object = json!({
        "metadata": {"name": "p", "namespace": "n", "labels": {"app": "db"}, "annotations": annotations},
        "spec": {
            "containers": [{"name": "main"}, {"name": "other"}],
            "initContainers": [{"name": "first"}, {"name": "side", "restartPolicy": "Always"}],
        },
        "status": {"phase": "Running"},
    });
    Item::new(kind("pods v1 Pod"), object)
}

fn spec(json: Value) -> Vec<BackupHook> {
    serde_json::from_value(json).unwrap()
}

fn hook(command: &[&str]) -> PodHook {
    PodHook {
        name: FROM_ANNOTATION.to_owned(),
        container: "main".to_owned(),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        on_error: None,
        timeout: TIMEOUT,
    }
}

fn planned(pod: &Item, hooks: Value, stage: Stage) -> Plan {
    of_pod(pod, &spec(hooks), stage).unwrap()
}

fn only(plan: Plan) -> PodHook {
    let [hook] = <[_; 1]>::try_from(plan.hooks).unwrap();
    hook.unwrap()
}

#[test]
fn annotations_say_a_hook_in_full() {
    let annotations = json!({
        "pre.hook.backup.velero.io/command": r#"["sh", "-c", "sync"]"#,
        "pre.hook.backup.velero.io/container": "side",
        "pre.hook.backup.velero.io/on-error": "Fail",
        "pre.hook.backup.velero.io/timeout": "1m30s",
        "post.hook.backup.velero.io/command": "/bin/thaw now",
    });
    let expected = PodHook {
        container: "side".to_owned(),
        on_error: Some(OnError::Fail),
        timeout: Duration::from_secs(90),
        ..hook(&["sh", "-c", "sync"])
    };
    let pod = pod(annotations);
    assert_eq!(only(planned(&pod, json!([]), Stage::Pre)), expected);
    // Text that is no JSON list is one word: no shell divides it.
    assert_eq!(only(planned(&pod, json!([]), Stage::Post)), hook(&["/bin/thaw now"]));
    assert!(has_annotations(&pod));
}

#[test]
fn annotations_without_a_stage_run_before_unless_others_do() {
    let old = json!({"hook.backup.velero.io/command": "old"});
    assert_eq!(only(planned(&pod(old.clone()), json!([]), Stage::Pre)), hook(&["old"]));
    assert_eq!(planned(&pod(old), json!([]), Stage::Post), Plan::default());
    let both = json!({"hook.backup.velero.io/command": "old", "pre.hook.backup.velero.io/command": "new"});
    assert_eq!(only(planned(&pod(both), json!([]), Stage::Pre)), hook(&["new"]));
}

#[test]
fn annotations_win_over_the_spec() {
    let hooks = json!([{"name": "h", "pre": [{"exec": {"command": ["spec"]}}]}]);
    let annotated = pod(json!({"pre.hook.backup.velero.io/command": "own"}));
    assert_eq!(only(planned(&annotated, hooks.clone(), Stage::Pre)), hook(&["own"]));
    let expected = PodHook { name: "h".to_owned(), ..hook(&["spec"]) };
    assert_eq!(only(planned(&pod(json!({})), hooks, Stage::Pre)), expected);
    assert!(!has_annotations(&pod(json!({}))));
}

#[test]
fn hooks_of_a_spec_are_for_pods_that_all_their_lists_select() {
    let rows = [
        (json!({}), 1),
        (json!({"includedNamespaces": ["n"]}), 1),
        (json!({"includedNamespaces": ["m"]}), 0),
        (json!({"excludedNamespaces": ["n*"]}), 0),
        (json!({"includedResources": ["pods"]}), 1),
        (json!({"includedResources": ["secrets"]}), 0),
        (json!({"excludedResources": ["pods"]}), 0),
        (json!({"labelSelector": {"matchLabels": {"app": "db"}}}), 1),
        (json!({"labelSelector": {"matchLabels": {"app": "web"}}}), 0),
    ];
    for (mut set, expected) in rows {
        let said = set.to_string();
        set["name"] = "h".into();
        set["post"] = json!([{"exec": {"command": ["a"]}}]);
        assert_eq!(planned(&pod(json!({})), json!([set]), Stage::Post).hooks.len(), expected, "{said}");
    }
}

#[test]
fn hooks_run_in_the_order_in_which_they_are_written() {
    let one = |command: &str| json!({"exec": {"command": [command]}});
    let hooks = json!([{"name": "h", "pre": [one("a"), one("b")]}, {"name": "i", "pre": [one("c")]}]);
    let plan = planned(&pod(json!({})), hooks, Stage::Pre);
    let commands: Vec<_> = plan.hooks.into_iter().map(|hook| hook.unwrap().command.concat()).collect();
    assert_eq!(commands, ["a", "b", "c"]);
}

#[test]
fn only_the_word_fail_stops_a_pod() {
    let words = [None, Some(OnError::Continue), Some(OnError::Fail)];
    assert_eq!(words.map(|on_error| PodHook { on_error, ..hook(&["a"]) }.stops()), [false, false, true]);
}

#[test]
fn what_cannot_be_read_in_an_annotation_is_told_and_has_its_default() {
    let annotations = json!({
        "pre.hook.backup.velero.io/command": "a",
        "pre.hook.backup.velero.io/timeout": "soon",
        "pre.hook.backup.velero.io/on-error": "fail",
    });
    let plan = planned(&pod(annotations), json!([]), Stage::Pre);
    let expected = [
        "annotation pre.hook.backup.velero.io/timeout: time: invalid duration \"soon\"; the hook has 30 seconds",
        "annotation pre.hook.backup.velero.io/on-error: \"fail\" is neither Fail nor Continue",
    ];
    assert_eq!(plan.warnings, expected);
    assert_eq!(only(plan), hook(&["a"]));
}

#[test]
fn a_timeout_is_bounded_and_one_of_zero_is_none() {
    let timeout = |text: &str| {
        let annotations = json!({"pre.hook.backup.velero.io/command": "a", "pre.hook.backup.velero.io/timeout": text});
        only(planned(&pod(annotations), json!([]), Stage::Pre)).timeout
    };
    assert_eq!(["0s", "-5s", "10s", "9999h"].map(timeout), [TIMEOUT, TIMEOUT, Duration::from_secs(10), TIMEOUT_MAX]);
}

#[test]
fn a_hook_that_cannot_be_run_counts_as_one_that_failed() {
    let refused = |container: &str, on_error: &str| {
        let exec = json!({"command": ["a"], "container": container, "onError": on_error});
        let plan = planned(&pod(json!({})), json!([{"name": "h", "pre": [{"exec": exec}]}]), Stage::Pre);
        let [hook] = <[_; 1]>::try_from(plan.hooks).unwrap();
        hook.map_err(|refused| (refused.why, refused.stops))
    };
    assert_eq!(refused("none", "Fail"), Err(("the pod has no container \"none\"".to_owned(), true)));
    assert_eq!(refused("first", "Continue"), Err(("the pod has no container \"first\"".to_owned(), false)));
    assert!(refused("other", "Fail").is_ok() && refused("side", "Fail").is_ok());
}

#[test]
fn a_pod_that_has_ended_has_no_hooks() {
    for phase in ["Succeeded", "Failed"] {
        let mut ended = pod(json!({"pre.hook.backup.velero.io/command": "a"}));
        ended.object["status"]["phase"] = phase.into();
        assert_eq!(planned(&ended, json!([]), Stage::Pre), Plan::default(), "{phase}");
    }
}

#[test]
fn a_selector_that_cannot_be_read_is_named_with_its_hook() {
    let selector = json!({"matchExpressions": [{"key": "a", "operator": "is"}]});
    let error = of_pod(&pod(json!({})), &spec(json!([{"name": "h", "labelSelector": selector}])), Stage::Pre);
    let expected = "spec.hooks: h: label \"a\": \"is\" is not a valid label selector operator";
    assert_eq!(error.unwrap_err().to_string(), expected);
}
