//! Each rule in a sentence.

#![allow(clippy::needless_pass_by_value, reason = "values are handed over as they are written in tables")]

use serde_json::{Value, json};

use super::*;
use crate::kind::{Item, tests::kind};

/// A pod of namespace `n`, with annotations and volumes; all of them are mounted.
fn pod(name: &str, annotations: Value, volumes: &[Value]) -> Item {
    let mounts: Vec<Value> = volumes.iter().map(|volume| json!({"name": volume["name"]})).collect();
    let object = json!({
        "metadata": {"name": name, "namespace": "n", "uid": format!("{name}-uid"), "annotations": annotations},
        "spec": {"nodeName": "node1", "volumes": volumes, "containers": [{"name": "c", "volumeMounts": mounts}]},
        "status": {"phase": "Running"},
    });
    Item::new(kind("pods v1 Pod"), object)
}

fn mount(volume: &str, claim: &str) -> Value {
    json!({"name": volume, "persistentVolumeClaim": {"claimName": claim}})
}

/// A bound claim and its volume, with fields of the volume's own.
fn claim(name: &str, volume: Value) -> [Item; 2] {
    let pv = format!("pv-{name}");
    let object = json!({
        "metadata": {"name": name, "namespace": "n", "uid": format!("{name}-uid")},
        "spec": {"volumeName": pv},
        "status": {"phase": "Bound"},
    });
    let claim = Item::new(kind("persistentvolumeclaims v1 PersistentVolumeClaim"), object);
    let object = json!({"metadata": {"name": pv}, "spec": volume});
    [claim, Item::new(kind("*persistentvolumes v1 PersistentVolume"), object)]
}

fn local() -> Value {
    let rule = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["node1"]});
    json!({
        "local": {"path": "/data"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}},
        "storageClassName": "fast",
    })
}

fn chosen(items: &[Item], settings: &Settings) -> Selected {
    let mut seen = Seen::default();
    for item in items {
        seen.observe(item);
    }
    select(&seen, settings)
}

/// What is read, as `pod:volume` or `claim:volume@node`, and then the sentences about what is not.
fn told(items: &[Item], settings: &Settings) -> Vec<String> {
    let selected = chosen(items, settings);
    let tasks = selected.tasks.iter().map(|task| match &task.source {
        Source::Pod { name, .. } => format!("{name}:{}", task.volume),
        Source::Held => format!("held:{}", task.volume),
        Source::Claim { node } => format!("claim:{}@{}", task.volume, node.as_deref().unwrap_or("any")),
    });
    let mark = |skipped: &Skipped| if skipped.reason.is_warning() { "! " } else { "" };
    tasks.chain(selected.skipped.iter().map(|skipped| format!("{}{skipped}", mark(skipped)))).collect()
}

fn default(default: Option<bool>) -> Settings {
    Settings { default, ..Settings::default() }
}

const NAMED: &str = "backup.velero.io/backup-volumes";
const EXCLUDED: &str = "backup.velero.io/backup-volumes-excludes";
const NO_NAME: &str = "no annotation backup.velero.io/backup-volumes names it";
const OUT: &str = "the pod's annotation backup.velero.io/backup-volumes-excludes names it";

/// Two claims and a scratch directory in one pod with these annotations, under each default.
fn under_each_default(annotations: Value) -> [Vec<String>; 3] {
    let volumes = [mount("a", "one"), mount("b", "two"), json!({"name": "s", "emptyDir": {}})];
    let items = [vec![pod("p", annotations, &volumes)], claim("one", local()).into(), claim("two", local()).into()];
    [None, Some(true), Some(false)].map(|value| told(&items.concat(), &default(value)))
}

#[test]
fn a_pod_without_annotations_has_its_claims_read_or_everything_or_nothing() {
    let not = |volume: &str, claim: &str| format!("volume {volume} (claim {claim}) of pod n/p is not saved: {NO_NAME}");
    let expected = [
        vec!["p:a".to_owned(), "p:b".into()],
        vec!["p:a".into(), "p:b".into(), "p:s".into()],
        vec![not("a", "one"), not("b", "two")],
    ];
    assert_eq!(under_each_default(json!({})), expected);
}

#[test]
fn a_pod_that_names_volumes_has_exactly_these_read_unless_all_are() {
    let not = |volume: &str, claim: &str| format!("volume {volume} (claim {claim}) of pod n/p is not saved: {NO_NAME}");
    let expected = [
        vec!["p:b".to_owned(), "p:s".into(), not("a", "one")],
        vec!["p:a".into(), "p:b".into(), "p:s".into()],
        vec!["p:b".into(), "p:s".into(), not("a", "one")],
    ];
    assert_eq!(under_each_default(json!({NAMED: "b,s"})), expected);
}

#[test]
fn an_empty_list_of_names_is_a_list() {
    let [unset, all, named] = under_each_default(json!({NAMED: ""}));
    assert_eq!((unset.len(), all.len(), named.len()), (2, 3, 2));
    assert!(unset.iter().all(|line| line.ends_with(NO_NAME)), "{unset:?}");
}

#[test]
fn a_pod_excludes_volumes_where_they_are_not_named() {
    let out = format!("volume b (claim two) of pod n/p is not saved: {OUT}");
    let [unset, all, named] = under_each_default(json!({EXCLUDED: "b"}));
    assert_eq!(unset, ["p:a".to_owned(), out.clone()]);
    assert_eq!(all, ["p:a".to_owned(), "p:s".into(), out]);
    assert!(named.iter().all(|line| line.ends_with(NO_NAME)), "{named:?}");
}

#[test]
fn a_name_with_a_space_names_nothing_and_is_told() {
    let unknown = "! volume  b of pod n/p is not saved: the pod has no volume of this name";
    let [unset, all, _] = under_each_default(json!({EXCLUDED: "a, b"}));
    assert_eq!(unset[0], "p:b");
    assert!(unset.contains(&unknown.to_owned()) && all.contains(&unknown.to_owned()), "{unset:?} {all:?}");
}

#[test]
fn volumes_made_of_objects_are_never_read_and_nothing_is_said_of_them() {
    let volumes = [
        json!({"name": "a", "secret": {}}),
        json!({"name": "b", "configMap": {}}),
        json!({"name": "c", "projected": {}}),
        json!({"name": "d", "downwardAPI": {}}),
        json!({"name": "e", "hostPath": {"path": "/etc"}}),
        json!({"name": "default-token-x", "emptyDir": {}}),
    ];
    for value in [None, Some(true), Some(false)] {
        assert_eq!(told(&[pod("p", json!({}), &volumes)], &default(value)), Vec::<String>::new());
    }
    let named = told(&[pod("p", json!({NAMED: "e"}), &volumes)], &default(None));
    assert_eq!(named.len(), 1, "{named:?}");
    assert!(named[0].starts_with("! volume e of pod n/p is not saved: it is the directory"), "{named:?}");
}

#[test]
fn a_claim_that_no_running_pod_mounts_is_held_or_read_where_its_files_lie() {
    let mut waiting = pod("p", json!({}), &[mount("a", "one")]);
    waiting.object["status"]["phase"] = "Pending".into();
    let mut unmounted = pod("q", json!({}), &[mount("b", "two")]);
    unmounted.object["spec"]["containers"] = json!([]);
    let items = [
        vec![waiting, unmounted],
        claim("one", local()).into(),
        claim("two", json!({"csi": {"driver": "d"}})).into(),
        claim("three", local()).into(),
    ]
    .concat();
    let expected = ["held:one", "held:three", "held:two"];
    assert_eq!(told(&items, &default(None)), expected);
    assert_eq!(told(&items, &default(Some(true))), expected);
    let below = Settings { host_paths: vec!["/data".into()], ..Settings::default() };
    assert_eq!(told(&items, &below), ["claim:one@node1", "claim:three@node1", "held:two"]);
    let named = told(&items, &default(Some(false)));
    assert!(named.len() == 3 && named.iter().all(|line| line.ends_with(NO_NAME)), "{named:?}");
}

#[test]
fn a_pod_that_does_not_run_can_still_opt_its_claim_out() {
    let mut done = pod("p", json!({EXCLUDED: "a"}), &[mount("a", "one")]);
    done.object["status"]["phase"] = "Succeeded".into();
    let items = [vec![done], claim("one", local()).into()].concat();
    assert_eq!(told(&items, &default(None)), [format!("volume a (claim one) of pod n/p is not saved: {OUT}")]);
}

#[test]
fn a_claim_of_several_pods_is_read_once_if_any_of_them_wants_it() {
    let out = format!("volume a (claim one) of pod n/p is not saved: {OUT}");
    let pods = [
        pod("p", json!({EXCLUDED: "a"}), &[mount("a", "one")]),
        pod("q", json!({}), &[mount("b", "one")]),
        pod("r", json!({}), &[mount("c", "one")]),
    ];
    let items = [pods.to_vec(), claim("one", local()).into()].concat();
    assert_eq!(told(&items, &default(None)), ["q:b".to_owned(), out]);
}

#[test]
fn a_volume_of_a_pod_alone_needs_the_pod_to_run_and_to_mount_it() {
    let scratch = [json!({"name": "s", "emptyDir": {}})];
    let mut waiting = pod("p", json!({}), &scratch);
    waiting.object["status"]["phase"] = "Pending".into();
    let mut unmounted = pod("q", json!({}), &scratch);
    unmounted.object["spec"]["containers"] = json!([]);
    let expected = [
        "! volume s of pod n/p is not saved: its pod does not run but is Pending",
        "! volume s of pod n/q is not saved: no container of the pod mounts it",
    ];
    assert_eq!(told(&[waiting, unmounted], &default(Some(true))), expected);
}

#[test]
fn what_cannot_be_read_is_told_with_its_claim() {
    let volumes = [mount("a", "path"), mount("b", "block"), mount("c", "waiting"), mount("d", "nowhere")];
    let mut waiting = claim("waiting", local());
    waiting[0].object["status"]["phase"] = "Pending".into();
    let items = [
        vec![pod("p", json!({}), &volumes)],
        claim("path", json!({"hostPath": {"path": "/opt/local/one"}})).into(),
        claim("block", json!({"local": {}, "volumeMode": "Block"})).into(),
        waiting.into(),
    ]
    .concat();
    let nowhere = "! volume d (claim nowhere) of pod n/p is not saved: its claim is not part of the backup";
    let block = "! claim n/block is not saved: it is a block device, of which no files can be read";
    let path = "! claim n/path is not saved: it is the directory /opt/local/one of a node, which is not below one that \
                node agents read";
    let pending = "! claim n/waiting is not saved: its claim is Pending and has no volume";
    assert_eq!(told(&items, &default(None)), [nowhere, block, path, pending]);
    let settings = Settings { host_paths: vec!["/opt/local".into()], ..Settings::default() };
    assert_eq!(told(&items, &settings), ["claim:path@any", nowhere, block, pending]);
    let sibling = Settings { host_paths: vec!["/opt/loc".into()], ..Settings::default() };
    assert_eq!(told(&items, &sibling), [nowhere, block, path, pending]);
}

#[test]
fn a_policy_is_stronger_than_annotations() {
    let rules = |action: &str| {
        let text = format!(
            "version: v1\nvolumePolicies: [{{conditions: {{storageClass: [fast]}}, action: {{type: {action}}}}}]"
        );
        Some(Policy::parse(&text).unwrap())
    };
    let told_under = |annotations: Value, action: &str, value: Option<bool>| {
        let items = [vec![pod("p", annotations, &[mount("a", "one")])], claim("one", local()).into()].concat();
        told(&items, &Settings { policy: rules(action), ..default(value) })
    };
    let not = |why: &str| vec![format!("volume a (claim one) of pod n/p is not saved: the resource policy says {why}")];
    assert_eq!(told_under(json!({NAMED: "a"}), "skip", None), not("skip"));
    assert_eq!(told_under(json!({EXCLUDED: "a"}), "fs-backup", Some(true)), ["p:a"]);
    assert_eq!(told_under(json!({}), "fs-backup", Some(false)), ["p:a"]);
    let snapshot = format!("! {}", not("snapshot, which is not done here")[0]);
    assert_eq!(told_under(json!({}), "snapshot", None), [snapshot]);
    let alone = Settings { policy: rules("skip"), ..Settings::default() };
    assert_eq!(told(&claim("one", local()), &alone), ["claim n/one is not saved: the resource policy says skip"]);
}

#[test]
fn claims_that_are_left_out_of_the_backup_are_not_read() {
    let settings = Settings { leaves_out_claims: true, ..Settings::default() };
    let told = told(&[pod("p", json!({}), &[mount("a", "one")])], &settings);
    assert_eq!(told, ["volume a (claim one) of pod n/p is not saved: the backup leaves out persistentvolumeclaims"]);
}

#[test]
fn an_ephemeral_volume_is_a_claim_too() {
    let volume = json!({"name": "cache", "ephemeral": {"volumeClaimTemplate": {}}});
    let items = [vec![pod("p", json!({}), &[volume])], claim("p-cache", local()).into()].concat();
    assert_eq!(told(&items, &default(None)), ["p:cache"]);
}

#[test]
fn a_task_says_everything_that_is_needed_to_read_it() {
    let mut claim = claim("one", local());
    claim[0].object["metadata"]["annotations"] = json!({"trysail.io/exclude": "*.log"});
    let items =
        [vec![pod("p", json!({"trysail.io/exclude": "cache/**"}), &[mount("a", "one")])], claim.into()].concat();
    let expected = VolumeTask {
        namespace: "n".to_owned(),
        source: Source::Pod { name: "p".to_owned(), uid: "p-uid".to_owned(), node: "node1".to_owned() },
        volume: "a".to_owned(),
        claim: Some(("one".to_owned(), "one-uid".to_owned())),
        exclude: vec!["cache/**".to_owned(), "*.log".to_owned()],
    };
    assert_eq!(chosen(&items, &default(None)).tasks, [expected]);
}

#[test]
fn a_backup_that_reads_nothing_although_it_has_claims_says_so() {
    let with = chosen(&claim("one", local()), &default(Some(false)));
    assert_eq!(with.warning().as_deref(), Some("no volume is saved although the backup has 1 claims"));
    assert_eq!(chosen(&[], &default(None)).warning(), None);
    assert_eq!(chosen(&claim("one", local()), &default(None)).warning(), None);
}

#[test]
fn the_older_name_of_the_default_counts_where_the_newer_one_is_absent() {
    let of = |new, old| {
        let spec =
            BackupSpec { default_volumes_to_fs_backup: new, default_volumes_to_restic: old, ..BackupSpec::default() };
        Settings::of(&spec, None).default
    };
    assert_eq!([of(None, None), of(None, Some(true)), of(Some(false), Some(true))], [None, Some(true), Some(false)]);
}
