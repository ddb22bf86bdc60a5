//! Volumes of pods and claims, and the directories where they lie.

use serde_json::{Value, json};

use super::*;

fn spec(kind: &str, name: &str) -> PodVolumeBackupSpec {
    serde_json::from_value(json!({
        "backupStorageLocation": "default", "node": "n1", "repoIdentifier": "", "volume": "data",
        "pod": { "kind": kind, "namespace": "app1", "name": name, "uid": "u-1" },
    }))
    .unwrap()
}

fn pod(uid: &str, volume: &Value) -> Pod {
    let annotations = json!({ "trysail.io/exclude": "cache/, *.tmp" });
    let pod = json!({
        "metadata": { "name": "web-0", "uid": uid, "annotations": annotations },
        "spec": { "containers": [], "volumes": [volume] },
    });
    serde_json::from_value(pod).unwrap()
}

fn known(volume: &Value, claim: &Value, persistent: &Value) -> Known {
    let claim = json!({ "metadata": { "annotations": { "trysail.io/exclude": "/lost+found\n" } }, "spec": claim });
    Known {
        pod: Some(pod("u-1", volume)),
        claim: Some(serde_json::from_value(claim).unwrap()),
        volume: Some(serde_json::from_value(json!({ "spec": persistent })).unwrap()),
    }
}

fn of_claim() -> Value {
    json!({ "name": "data", "persistentVolumeClaim": { "claimName": "db" } })
}

fn bound() -> Value {
    json!({ "volumeName": "pvc-7" })
}

fn of_pod(name: &str) -> Place {
    Place::OfPod { uid: "u-1".to_owned(), name: name.to_owned() }
}

#[test]
fn a_mounted_claim_lies_under_the_name_of_its_volume_and_other_volumes_under_their_own() {
    let mounted = known(&of_claim(), &bound(), &json!({ "csi": { "driver": "d", "volumeHandle": "h" } }));
    let generic = known(&json!({ "name": "data", "ephemeral": {} }), &bound(), &json!({}));
    let scratch = Known { pod: Some(pod("u-1", &json!({ "name": "data", "emptyDir": {} }))), ..Known::default() };
    let found = [&mounted, &generic, &scratch].map(|known| decide(&spec("Pod", "web-0"), known, &[]));
    assert_eq!(found, ["pvc-7", "pvc-7", "data"].map(|name| Ok(of_pod(name))));
}

#[test]
fn another_pod_of_the_same_name_is_not_read() {
    let mut known = known(&of_claim(), &bound(), &json!({}));
    known.pod = Some(pod("u-2", &of_claim()));
    let gone = "the pod is gone; another one has its name".to_owned();
    assert_eq!(decide(&spec("Pod", "web-0"), &known, &[]), Err(gone));
}

#[test]
fn a_raw_block_device_is_refused() {
    let known = known(&of_claim(), &json!({ "volumeName": "pvc-7", "volumeMode": "Block" }), &json!({}));
    let refused = "it is a raw block device, which has no files".to_owned();
    assert_eq!(decide(&spec("Pod", "web-0"), &known, &[]), Err(refused));
}

#[test]
fn a_claim_that_no_pod_mounts_is_read_where_the_node_keeps_it_if_that_is_allowed() {
    let at = |persistent: &Value, allowed: &str| {
        let known = Known { pod: None, ..known(&of_claim(), &bound(), persistent) };
        decide(&spec("PersistentVolumeClaim", "db"), &known, &[PathBuf::from(allowed)])
    };
    let path = || Ok(Place::Path("/opt/lpp/pvc-7".into()));
    assert_eq!(at(&json!({ "local": { "path": "/opt/lpp/pvc-7" } }), "/opt/lpp"), path());
    assert_eq!(at(&json!({ "hostPath": { "path": "/opt/lpp/pvc-7" } }), "/opt/lpp"), path());
    let refused =
        |path: &str| Err(format!("{path} is below none of the paths that the agent may read (agent.hostPaths)"));
    assert_eq!(at(&json!({ "local": { "path": "/opt/lpp" } }), "/opt/lpp"), refused("/opt/lpp"));
    assert_eq!(at(&json!({ "local": { "path": "/opt/lpp2/x" } }), "/opt/lpp"), refused("/opt/lpp2/x"));
    assert_eq!(at(&json!({ "local": { "path": "/opt/lpp/../etc" } }), "/opt/lpp"), refused("/opt/lpp/../etc"));
    let csi = at(&json!({ "csi": { "driver": "d", "volumeHandle": "h" } }), "/opt/lpp").unwrap_err();
    assert!(csi.starts_with("no pod mounts it"), "{csi}");
}

#[test]
fn a_host_path_that_a_pod_mounts_is_read_where_it_is() {
    let known = known(&of_claim(), &bound(), &json!({ "hostPath": { "path": "/opt/lpp/pvc-7" } }));
    let found = decide(&spec("Pod", "web-0"), &known, &[PathBuf::from("/opt/lpp")]);
    assert_eq!(found, Ok(Place::Path("/opt/lpp/pvc-7".into())));
}

#[test]
fn patterns_come_from_the_claim_and_from_the_pod() {
    assert_eq!(excludes(&known(&of_claim(), &bound(), &json!({}))), ["/lost+found", "cache/", "*.tmp"]);
}

fn directory(plugin: &str, path: &str) -> Found {
    Found { plugin: plugin.to_owned(), path: path.into() }
}

#[test]
fn what_should_be_mounted_and_is_not_is_never_read_as_empty() {
    let mounts = "36 35 98:0 / /p/u-1/volumes/kubernetes.io~csi/pvc-7/mount rw shared:1 - ext4 /dev/x rw\n\
                  37 35 98:0 / /p/with\\040space rw - ext4 /dev/y rw\n";
    let choose = |found| choose(found, Path::new("/p/u-1"), "pvc-7", mounts);
    let mounted = || directory(CSI, "/p/u-1/volumes/kubernetes.io~csi/pvc-7/mount");
    let scratch = || directory(EMPTY_DIR, "/p/u-1/volumes/kubernetes.io~empty-dir/pvc-7");
    assert_eq!(choose(vec![mounted()]), Ok(mounted().path));
    assert_eq!(choose(vec![scratch()]), Ok(scratch().path));
    assert_eq!(choose(vec![directory(CSI, "/p/with space")]), Ok("/p/with space".into()));
    assert_eq!(choose(vec![directory("kubernetes.io~nfs", "/p/x")]), Err("nothing is mounted at /p/x".to_owned()));
    assert_eq!(choose(vec![]), Err("the kubelet has no directory pvc-7 in /p/u-1/volumes".to_owned()));
    let several = Err("the kubelet has several directories pvc-7 in /p/u-1/volumes".to_owned());
    assert_eq!(choose(vec![mounted(), scratch()]), several);
}

#[test]
fn the_directory_is_found_below_whatever_mounted_it() {
    let root = tempfile::tempdir().unwrap();
    for path in ["kubernetes.io~csi/pvc-7/mount", "kubernetes.io~empty-dir/data"] {
        std::fs::create_dir_all(root.path().join("volumes").join(path)).unwrap();
    }
    let names = |name: &str| {
        let found = look(root.path(), name).unwrap();
        found.into_iter().map(|f| f.path.strip_prefix(root.path()).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("pvc-7"), [Path::new("volumes/kubernetes.io~csi/pvc-7/mount")]);
    assert_eq!(names("data"), [Path::new("volumes/kubernetes.io~empty-dir/data")]);
    assert_eq!(names("other"), Vec::<PathBuf>::new());
}
