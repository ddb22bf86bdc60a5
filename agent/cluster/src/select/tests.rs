//! Each rule in a sentence.

#![allow(clippy::needless_pass_by_value, reason = "values are handed over as they are written in tables")]

use serde_json::json;

use super::*;
use crate::kind::tests::kind;

fn words(text: &str) -> Option<Vec<String>> {
    (!text.is_empty()).then(|| text.split(' ').map(str::to_owned).collect())
}

/// A namespace from `name`, `name phase`, `name phase key=value`.
fn namespace(text: &str) -> Item {
    let mut words = text.split(' ');
    let (name, phase) = (words.next().unwrap(), words.next().unwrap_or("Active"));
    let labels: Value = words.filter_map(|w| w.split_once('=')).map(|(k, v)| (k.to_owned(), json!(v))).collect();
    let object = json!({"metadata": {"name": name, "labels": labels}, "status": {"phase": phase}});
    Item::new(kind("*namespaces v1 Namespace"), object)
}

fn cluster() -> Vec<Item> {
    ["app1", "app2 Active team=a", "gone Terminating", "out Active velero.io/exclude-from-backup=true"]
        .map(namespace)
        .to_vec()
}

fn rules(spec: BackupSpec) -> Rules {
    Rules::new(&spec, &cluster()).unwrap()
}

/// The same on a cluster of which no namespace is kept out.
fn rules_of_all(spec: BackupSpec) -> Rules {
    Rules::new(&spec, &cluster()[..3]).unwrap()
}

fn selector(json: Value) -> Option<LabelSelector> {
    serde_json::from_value(json).unwrap()
}

fn pod(namespace: &str, metadata: Value) -> Item {
    let mut object = json!({"metadata": {"name": "p", "namespace": namespace}});
    for (key, value) in metadata.as_object().unwrap() {
        object["metadata"][key] = value.clone();
    }
    Item::new(kind("pods v1 Pod"), object)
}

#[test]
fn an_object_is_taken_unless_a_rule_keeps_it_out() {
    let spec = BackupSpec {
        excluded_namespaces: words("app2"),
        excluded_resources: words("secrets"),
        label_selector: selector(json!({"matchLabels": {"app": "web"}})),
        ..BackupSpec::default()
    };
    let rules = rules(spec);
    let web = json!({"app": "web"});
    let excluded = json!({"app": "web", "velero.io/exclude-from-backup": "true"});
    let no_value = json!({"app": "web", "velero.io/exclude-from-backup": "yes"});
    let secret =
        Item::new(kind("secrets v1 Secret"), json!({"metadata": {"name": "s", "namespace": "app1", "labels": web}}));
    let rows = [
        ("with the label of the selector", pod("app1", json!({"labels": web})), None, None),
        ("without it", pod("app1", json!({})), Some(Refusal::Selector), None),
        (
            "with the label that excludes",
            pod("app1", json!({"labels": excluded})),
            Some(Refusal::Label),
            Some(Refusal::Label),
        ),
        ("with another value of that label", pod("app1", json!({"labels": no_value})), None, None),
        (
            "being deleted",
            pod("app1", json!({"labels": web, "deletionTimestamp": "2026-01-01T00:00:00Z"})),
            Some(Refusal::Deleted),
            Some(Refusal::Deleted),
        ),
        (
            "of an excluded namespace",
            pod("app2", json!({"labels": web})),
            Some(Refusal::Namespace),
            Some(Refusal::Namespace),
        ),
        (
            "of a namespace whose label excludes it",
            pod("out", json!({"labels": web})),
            Some(Refusal::Namespace),
            Some(Refusal::Namespace),
        ),
        ("of an excluded kind", secret, Some(Refusal::Kind), Some(Refusal::Kind)),
    ];
    for (what, item, listed, needed) in rows {
        assert_eq!(rules.refusal(&item, Found::Listed), listed, "listed, {what}");
        assert_eq!(rules.refusal(&item, Found::Needed), needed, "needed, {what}");
    }
}

#[test]
fn what_is_cluster_scoped_comes_with_what_needs_it_unless_it_is_excluded_by_name() {
    let volume = Item::new(kind("*persistentvolumes v1 PersistentVolume"), json!({"metadata": {"name": "pv"}}));
    let app = || BackupSpec { included_namespaces: words("app1"), ..BackupSpec::default() };
    let rows = [
        ("one namespace", app(), false, None),
        ("everything", BackupSpec::default(), true, None),
        (
            "no cluster-scoped",
            BackupSpec { include_cluster_resources: Some(false), ..app() },
            false,
            Some(Refusal::Kind),
        ),
        ("pods alone", BackupSpec { included_resources: words("pods"), ..app() }, false, Some(Refusal::Kind)),
        (
            "pods and all cluster-scoped",
            BackupSpec { included_resources: words("pods"), include_cluster_resources: Some(true), ..app() },
            false,
            None,
        ),
        (
            "volumes excluded",
            BackupSpec { excluded_resources: words("persistentvolumes"), ..app() },
            false,
            Some(Refusal::Kind),
        ),
        (
            "scoped lists that exclude volumes",
            BackupSpec { excluded_cluster_scoped_resources: words("persistentvolumes"), ..app() },
            false,
            Some(Refusal::Kind),
        ),
        (
            "scoped lists that exclude another kind",
            BackupSpec { excluded_cluster_scoped_resources: words("nodes"), ..app() },
            false,
            None,
        ),
    ];
    for (what, spec, by_itself, refusal) in rows {
        let rules = rules_of_all(spec);
        assert_eq!(rules.takes_kind(&volume.kind), by_itself, "by itself: {what}");
        assert_eq!(rules.refusal(&volume, Found::Needed), refusal, "needed: {what}");
    }
}

#[test]
fn lists_are_read_where_namespaces_are_meant() {
    let some = |names: &str| Scope::Namespaces(words(names).unwrap_or_default());
    let rows = [
        ("", "", Scope::Cluster),
        ("*", "", Scope::Cluster),
        ("*", "app1", Scope::Cluster),
        ("app1", "", some("app1")),
        ("app*", "", some("app1 app2")),
        ("app*", "app2", some("app1")),
        ("app1 nowhere", "", some("app1")),
        ("nowhere", "", some("")),
        ("out app1", "", some("app1")),
    ];
    let (pods, nodes) = (kind("pods v1 Pod"), kind("*nodes v1 Node"));
    for (included, excluded, expected) in rows {
        let rules = rules(BackupSpec {
            included_namespaces: words(included),
            excluded_namespaces: words(excluded),
            ..BackupSpec::default()
        });
        assert_eq!(rules.scope(&pods), expected, "+{included} -{excluded}");
        assert_eq!(rules.scope(&nodes), Scope::Cluster, "+{included} -{excluded}");
    }
}

#[test]
fn a_namespace_that_is_named_and_not_there_is_told() {
    let rules = rules(BackupSpec { included_namespaces: words("app1 nowhere no-*"), ..BackupSpec::default() });
    assert_eq!(rules.missing_namespaces(), ["nowhere"]);
}

#[test]
fn namespaces_are_chosen_by_name_or_label_if_they_are_active() {
    let team = || selector(json!({"matchLabels": {"team": "a"}}));
    let rows = [
        ("all", BackupSpec::default(), "app1 app2"),
        ("one", BackupSpec { included_namespaces: words("app1"), ..BackupSpec::default() }, "app1"),
        ("all, by a label", BackupSpec { label_selector: team(), ..BackupSpec::default() }, "app2"),
        (
            "one, or by a label",
            BackupSpec { included_namespaces: words("app1"), label_selector: team(), ..BackupSpec::default() },
            "app1 app2",
        ),
        (
            "all, by one of several labels",
            BackupSpec { or_label_selectors: team().map(|s| vec![s]), ..BackupSpec::default() },
            "app2",
        ),
    ];
    for (what, spec, expected) in rows {
        let expected: BTreeSet<String> = words(expected).unwrap().into_iter().collect();
        assert_eq!(rules_of_all(spec).chosen_namespaces(), &expected, "{what}");
    }
}

#[test]
fn cluster_scoped_objects_that_one_exclusion_keeps_out_are_worth_a_warning() {
    let everything = Rules::new(&BackupSpec::default(), &[namespace("app1")]).unwrap();
    let but_one = rules(BackupSpec { excluded_namespaces: words("app1"), ..BackupSpec::default() });
    let asked = rules(BackupSpec {
        excluded_namespaces: words("app1"),
        include_cluster_resources: Some(true),
        ..BackupSpec::default()
    });
    let named = rules(BackupSpec { included_namespaces: words("app1"), ..BackupSpec::default() });
    let all = [everything, but_one, asked, named].map(|rules| rules.leaves_out_cluster_scoped());
    assert_eq!(all, [false, true, false, false]);
}

#[test]
fn selectors_are_written_as_the_api_server_reads_them() {
    let expressions = json!({
        "matchLabels": {"a": "1", "b": ""},
        "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["x", "y"]},
            {"key": "d", "operator": "NotIn", "values": ["z"]},
            {"key": "e", "operator": "Exists"},
            {"key": "f", "operator": "DoesNotExist"},
        ],
    });
    let one = rules(BackupSpec { label_selector: selector(expressions), ..BackupSpec::default() });
    assert_eq!(one.list_selectors(), [Some("a=1,b=,c in (x,y),d notin (z),e,!f".to_owned())]);
    let either = ["a", "b"].iter().filter_map(|key| selector(json!({"matchLabels": {*key: "1"}}))).collect();
    let any = rules(BackupSpec { or_label_selectors: Some(either), ..BackupSpec::default() });
    assert_eq!(any.list_selectors(), [Some("a=1".to_owned()), Some("b=1".to_owned())]);
    assert_eq!(rules(BackupSpec::default()).list_selectors(), [None]);
}

#[test]
fn what_cannot_be_read_is_named_with_its_field() {
    let bad = selector(json!({"matchExpressions": [{"key": "a", "operator": "in", "values": ["b"]}]}));
    let specs = [
        BackupSpec { included_namespaces: words("a["), ..BackupSpec::default() },
        BackupSpec { label_selector: bad, ..BackupSpec::default() },
    ];
    let errors = specs.map(|spec| Rules::new(&spec, &[]).unwrap_err().to_string());
    assert!(errors[0].starts_with("spec.includedNamespaces: "), "{}", errors[0]);
    assert_eq!(errors[1], "spec.labelSelector: label \"a\": \"in\" is not a valid label selector operator");
}

#[test]
fn objects_bring_what_they_need() {
    let mut bindings = Bindings::default();
    let account = json!({"kind": "ServiceAccount", "namespace": "n", "name": "web"});
    let user = json!({"kind": "User", "name": "web"});
    bindings.add(&json!({"metadata": {"name": "b1"}, "roleRef": {"name": "admin"}, "subjects": [user, account]}));
    bindings.add(&json!({"metadata": {"name": "b2"}, "roleRef": {"name": "admin"}, "subjects": [account]}));
    bindings.add(&json!({"metadata": {"name": "b3"}, "roleRef": {"name": "view"}, "subjects": [user]}));
    bindings.add(&json!({"metadata": {"name": "b4"}, "roleRef": {"name": "view"}}));
    let cluster = |resource: &str, name: &str| ItemName::cluster_scoped(resource, name);
    let volumes = json!([
        {"name": "a", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "b", "emptyDir": {}},
    ]);
    let in_n = |of: &str, rest: Value| {
        let mut object = json!({"metadata": {"name": "web", "namespace": "n"}});
        rest.as_object().unwrap().iter().for_each(|(key, value)| object[key] = value.clone());
        Item::new(kind(of), object)
    };
    let claim = |phase: &str| {
        let object = json!({"spec": {"volumeName": "pv"}, "status": {"phase": phase}});
        in_n("persistentvolumeclaims v1 PersistentVolumeClaim", object)
    };
    let rows = [
        (
            "a pod",
            in_n("pods v1 Pod", json!({"spec": {"volumes": volumes, "priorityClassName": "high"}})),
            vec![ItemName::namespaced(resource::CLAIMS, "n", "data"), cluster(resource::PRIORITY_CLASSES, "high")],
        ),
        ("a pod without volumes", in_n("pods v1 Pod", json!({"spec": {}})), vec![]),
        ("a bound claim", claim("Bound"), vec![cluster(resource::VOLUMES, "pv")]),
        ("a claim that waits", claim("Pending"), vec![]),
        (
            "an account",
            in_n("serviceaccounts v1 ServiceAccount", json!({})),
            vec![
                cluster(resource::CLUSTER_ROLE_BINDINGS, "b1"),
                cluster(resource::CLUSTER_ROLE_BINDINGS, "b2"),
                cluster(resource::CLUSTER_ROLES, "admin"),
            ],
        ),
        ("a secret", in_n("secrets v1 Secret", json!({})), vec![]),
    ];
    for (what, item, expected) in rows {
        assert_eq!(needs(&item, &bindings), expected, "{what}");
    }
}

#[test]
fn kinds_of_groups_with_a_dot_may_have_a_definition() {
    let name = ItemName::cluster_scoped(resource::DEFINITIONS, "backups.velero.io");
    assert_eq!(definition(&kind("backups velero.io/v1 Backup")), Some(name));
    assert_eq!(definition(&kind("deployments apps/v1 Deployment")), None);
    assert_eq!(definition(&kind("pods v1 Pod")), None);
}
