//! Promises of `trysail node-agent server` and of the server's care for repositories, on a real API server and a real MinIO (feature
//! `api`; needs Go). The agent runs on this machine, and a directory stands for the kubelet's.
#![cfg(feature = "api")]

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Digest as _;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use trysail_repository::{
    Repository,
    keys::Keys,
    layout::VolumeName,
    seal::{self, Recipient},
    store::{retry::Retry, s3::S3},
};
use trysail_tests::{
    built,
    installation::{BUCKET, Installation, LIMIT},
    minio::{ACCESS_KEY, SECRET_KEY},
    program::{Program, guarded},
    tools::Tool,
    velero::velero,
    wait,
};

/// The node that the agent says it runs on.
const NODE: &str = "node1";

/// The namespace whose volumes are saved.
const NAMESPACE: &str = "app1";

/// An installation with a repository and a node agent.
struct Field {
    agent: Option<Program>,
    metrics: String,
    starts: usize,
    keys: Keys,
    installation: Installation,
    /// Stands for the kubelet's directory of pods, and for paths of the node.
    node: TempDir,
}

impl Field {
    /// Makes a repository, and starts the agent and no server.
    fn start() -> Result<Self> {
        let installation = Installation::without_server()?;
        let keys = Keys::generate()?;
        let settings = installation.minio.settings(BUCKET, &format!("kopia/{NAMESPACE}"))?;
        let store = Arc::new(Retry::new(S3::connect(&settings)?));
        Runtime::new()?.block_on(Repository::init(store, &[], &keys, Timestamp::now()))?;
        let mut location = installation.location("default", BUCKET);
        location["metadata"]["annotations"] = json!({ "trysail.io/root-key": keys.root().public().to_string() });
        installation.apply(&location)?;
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
        installation.apply(&namespace)?;
        let node = tempfile::tempdir()?;
        for directory in ["pods", "disk"] {
            fs::create_dir(node.path().join(directory))?;
        }
        let mut field = Self { agent: None, metrics: String::new(), starts: 0, keys, installation, node };
        field.start_agent()?;
        Ok(field)
    }

    fn start_agent(&mut self) -> Result<()> {
        let before = self.lease()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut command = guarded(built::trysail()?);
        command.args(["node-agent", "server", "--node-name", NODE, "--metrics-address", &address]);
        command.arg("--pods").arg(self.node.path().join("pods"));
        command.arg("--host-path").arg(self.node.path().join("disk"));
        command.env("KUBECONFIG", self.installation.api.kubeconfig());
        let log = self.installation.api.scratch().join(format!("agent-{}.log", self.starts));
        self.starts += 1;
        self.agent = Some(Program::start("trysail node-agent", command, &log)?);
        self.metrics = address;
        self.until("the agent says that it lives", |field| {
            let lease = field.lease()?;
            Ok((lease != before && lease["spec"]["holderIdentity"] != "").then_some(()))
        })
    }

    fn lease(&self) -> Result<Value> {
        let arguments = ["get", "lease", "trysail-node-node1", "-n", "velero", "--ignore-not-found", "-o", "json"];
        let text = self.installation.api.kubectl().run(&arguments)?;
        if text.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }

    /// Waits for something to see. The error quotes the agent's log.
    fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Result<Option<T>>) -> Result<T> {
        let words = || self.agent.as_ref().map_or_else(String::new, Program::last_words);
        wait::until(what, LIMIT, || look(self)).with_context(words)
    }

    /// A pod with one volume; its UID. No node runs it.
    fn pod(&self, name: &str, volume: &Value, annotations: &Value) -> Result<String> {
        let container = json!({ "name": "main", "image": "none" });
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": NAMESPACE, "annotations": annotations },
            "spec": { "containers": [container], "volumes": [volume] },
        });
        self.until("the pod is accepted", |field| Ok(field.installation.apply(&pod).is_ok().then_some(())))?;
        let pod = self.installation.api.kubectl().get(&["pod", name, "-n", NAMESPACE])?;
        Ok(pod["metadata"]["uid"].as_str().context("a pod has a UID")?.to_owned())
    }

    /// The directory that the kubelet would have made.
    fn directory(&self, uid: &str, plugin: &str, name: &str) -> Result<PathBuf> {
        let path = self.node.path().join("pods").join(uid).join("volumes").join(plugin).join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// A claim that is bound to a path of the node.
    fn claim(&self, name: &str, path: &Path) -> Result<()> {
        let size = json!({ "storage": "1Gi" });
        let claim_ref = json!({ "namespace": NAMESPACE, "name": name });
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": format!("pv-{name}") },
            "spec": {
                "accessModes": ["ReadWriteOnce"], "capacity": size, "claimRef": claim_ref, "hostPath": { "path": path },
            },
        });
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": name, "namespace": NAMESPACE },
            "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": { "requests": size }, "storageClassName": "",
                "volumeName": format!("pv-{name}"),
            },
        });
        self.installation.apply(&volume)?;
        self.installation.apply(&claim)
    }

    /// A `PodVolumeBackup` as the server makes it.
    fn transfer(&self, name: &str, pod: &Value, volume: &VolumeName, location: &str) -> Result<()> {
        let lease = self.lease()?;
        let recipient = lease["metadata"]["annotations"]["trysail.io/recipient"].as_str().context("a recipient")?;
        let keys = self.keys.for_volume(volume).to_json();
        let sealed = STANDARD.encode(seal::encrypt(&keys, &[Recipient::parse(recipient)?])?);
        self.installation.apply(&json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup",
            "metadata": {
                "name": name, "namespace": "velero", "labels": { "velero.io/backup-name": "b1" },
                "annotations": { "trysail.io/task-keys": sealed },
            },
            "spec": {
                "node": NODE, "backupStorageLocation": location, "repoIdentifier": "", "uploaderType": "kopia",
                "volume": "data", "pod": pod,
            },
        }))
    }

    fn of_pod(name: &str, uid: &str) -> Value {
        json!({ "kind": "Pod", "namespace": NAMESPACE, "name": name, "uid": uid })
    }

    /// Waits for the end of a transfer; its object.
    fn ended(&self, name: &str) -> Result<Value> {
        self.until(&format!("{name} ends"), |field| {
            let object = field.installation.object("podvolumebackup", name)?.context("it is there")?;
            let phase = object["status"]["phase"].as_str().unwrap_or_default();
            Ok(["Completed", "Failed", "Canceled"].contains(&phase).then_some(object))
        })
    }

    /// Restores a snapshot with the program alone; where it lies.
    fn restore(&self, snapshot: &str, name: &str) -> Result<PathBuf> {
        let target = self.node.path().join(name);
        let restored = Command::new(built::trysail()?)
            .args(["volume", "restore", snapshot])
            .arg(&target)
            .args(["--repo", &self.installation.minio.url(BUCKET, &format!("kopia/{NAMESPACE}"))])
            .envs([("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)])
            .env("XDG_STATE_HOME", self.node.path().join("state"))
            .output()?;
        ensure!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
        Ok(target)
    }

    /// What `/metrics` says, by series.
    fn metrics(&self) -> Result<BTreeMap<String, String>> {
        let output =
            Command::new("curl").args(["-sS", "--fail", &format!("http://{}/metrics", self.metrics)]).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let series = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        Ok(series.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// The first snapshot of a scratch volume of a pod; its name.
    fn saved(&self, pod: &str, transfer: &str) -> Result<String> {
        let uid = self.pod(pod, &json!({ "name": "data", "emptyDir": {} }), &json!({}))?;
        let directory = self.directory(&uid, "kubernetes.io~empty-dir", "data")?;
        fs::write(directory.join("file"), "kept\n")?;
        let volume = VolumeName::new(&format!("{pod}/data"))?;
        self.transfer(transfer, &Self::of_pod(pod, &uid), &volume, "default")?;
        let ended = self.ended(transfer)?;
        ensure!(ended["status"]["phase"] == "Completed", "{}", ended["status"]);
        Ok(ended["status"]["snapshotID"].as_str().context("a snapshot")?.to_owned())
    }
}

#[test]
fn a_volume_becomes_a_snapshot_that_the_program_restores_and_the_next_one_is_incremental() -> Result<()> {
    let field = Field::start()?;
    let uid = field.pod(
        "web",
        &json!({ "name": "data", "emptyDir": {} }),
        &json!({ "trysail.io/exclude": "*.tmp, cache/" }),
    )?;
    let directory = field.directory(&uid, "kubernetes.io~empty-dir", "data")?;
    fs::create_dir(directory.join("cache"))?;
    for (name, content) in [("file", "kept\n"), ("left.tmp", "out"), ("cache/x", "out")] {
        fs::write(directory.join(name), content)?;
    }
    symlink("file", directory.join("soft"))?;
    // Hashes, so that nothing in it repeats.
    let large: Vec<u8> = (0..100_000_u32).flat_map(|n| sha2::Sha256::digest(n.to_le_bytes())).collect();
    fs::write(directory.join("large"), &large)?;
    let (volume, pod) = (VolumeName::new("web/data")?, Field::of_pod("web", &uid));
    field.transfer("b1-first", &pod, &volume, "default")?;
    let first = field.ended("b1-first")?;
    let status = &first["status"];
    assert_eq!(status["phase"], "Completed", "{status}");
    let bytes = large.len() + 5;
    assert_eq!(status["progress"], json!({ "bytesDone": bytes, "totalBytes": bytes }));
    assert_eq!(status["incrementalBytes"], bytes);
    assert_eq!(status["path"], directory.to_str().context("UTF-8")?);
    assert!(status["message"].is_null() && status["startTimestamp"].is_string(), "{status}");
    let snapshot = status["snapshotID"].as_str().context("a snapshot")?;
    assert!(snapshot.starts_with("web~2Fdata/"), "{snapshot}");
    let restored = field.restore(snapshot, "restored")?;
    let mut names: Vec<_> =
        fs::read_dir(&restored)?.map(|entry| entry.map(|e| e.file_name())).collect::<Result<_, _>>()?;
    names.sort();
    assert_eq!(names, ["file", "large", "soft"]);
    assert!(fs::read(restored.join("large"))? == large, "the large file came back with other content");
    assert_eq!(fs::read_to_string(restored.join("soft"))?, "kept\n");
    field.transfer("b1-second", &pod, &volume, "default")?;
    let second = field.ended("b1-second")?;
    assert_eq!(second["status"]["phase"], "Completed", "{}", second["status"]);
    assert!(second["status"]["incrementalBytes"].as_u64().unwrap_or(0) < 100_000, "{}", second["status"]);
    let metrics = field.metrics()?;
    let value = |series: &str| metrics.get(series).map(String::as_str);
    assert_eq!(value("podVolume_pod_volume_backup_dequeue_count{node=\"node1\"}"), Some("2"));
    assert_eq!(value("trysail_node_transfers_total{result=\"saved\"}"), Some("2"));
    Ok(())
}

#[test]
fn a_volume_is_found_where_the_node_keeps_it_and_never_taken_for_an_empty_one() -> Result<()> {
    let field = Field::start()?;
    let disk = field.node.path().join("disk");
    for name in ["kept", "mounted"] {
        fs::create_dir(disk.join(name))?;
        fs::write(disk.join(name).join("file"), name)?;
        field.claim(name, &disk.join(name))?;
    }
    field.claim("elsewhere", Path::new("/etc"))?;
    let of_claim = |name: &str| json!({ "kind": "PersistentVolumeClaim", "namespace": NAMESPACE, "name": name });
    for name in ["kept", "elsewhere"] {
        field.transfer(&format!("b1-{name}"), &of_claim(name), &VolumeName::new(name)?, "default")?;
    }
    let kept = field.ended("b1-kept")?;
    assert_eq!(kept["status"]["phase"], "Completed", "{}", kept["status"]);
    let restored = field.restore(kept["status"]["snapshotID"].as_str().context("a snapshot")?, "restored")?;
    assert_eq!(fs::read_to_string(restored.join("file"))?, "kept");
    let elsewhere = field.ended("b1-elsewhere")?;
    assert_eq!(elsewhere["status"]["phase"], "Failed");
    let message =
        "volume data of app1/elsewhere: /etc is below none of the paths that the agent may read (agent.hostPaths)";
    assert_eq!(elsewhere["status"]["message"], message);
    // The kubelet's directory of a volume that is not mounted, as it is left behind after a pod has ended.
    let source = json!({ "name": "data", "nfs": { "server": "nas", "path": "/x" } });
    let uid = field.pod("web", &source, &json!({}))?;
    let path = field.directory(&uid, "kubernetes.io~nfs", "data")?;
    field.transfer("b1-empty", &Field::of_pod("web", &uid), &VolumeName::new("web/data")?, "default")?;
    let empty = field.ended("b1-empty")?;
    assert_eq!(empty["status"]["phase"], "Failed");
    let message = format!("volume data of app1/web: nothing is mounted at {}", path.display());
    assert_eq!(empty["status"]["message"], message);
    Ok(())
}

#[test]
fn a_transfer_ends_with_a_reason_whoever_ends_it() -> Result<()> {
    let mut field = Field::start()?;
    // A store that takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let mut location = field.installation.location("silent", BUCKET);
    location["spec"]["config"]["s3Url"] = json!(format!("http://{}", silent.local_addr()?));
    field.installation.apply(&location)?;
    let uid = field.pod("web", &json!({ "name": "data", "emptyDir": {} }), &json!({}))?;
    field.directory(&uid, "kubernetes.io~empty-dir", "data")?;
    let volume = VolumeName::new("web/data")?;
    let begin = |field: &Field, name: &str| {
        field.transfer(name, &Field::of_pod("web", &uid), &volume, "silent")?;
        field.until("the volume is being read", |field| {
            let object = field.installation.object("podvolumebackup", name)?.context("it is there")?;
            Ok((object["status"]["phase"] == "InProgress").then_some(()))
        })
    };
    let end = |object: Value| (object["status"]["phase"].clone(), object["status"]["message"].clone());

    begin(&field, "b1-cancelled")?;
    let kubectl = field.installation.api.kubectl().clone();
    let patch = ["patch", "podvolumebackups.velero.io", "-n", "velero", "--type=merge"];
    kubectl.run(&[&patch[..], &["b1-cancelled", "-p", r#"{"spec":{"cancel":true}}"#]].concat())?;
    assert_eq!(end(field.ended("b1-cancelled")?), (json!("Canceled"), json!("it was cancelled")));

    begin(&field, "b1-killed")?;
    drop(field.agent.take());
    field.start_agent()?;
    let killed = end(field.ended("b1-killed")?);
    let message = "the node agent was restarted while it read the volume; the next backup goes on from what is stored";
    assert_eq!(killed, (json!("Failed"), json!(message)));

    begin(&field, "b1-stopped")?;
    field.agent.take().context("an agent")?.end()?;
    let stopped = end(field.ended("b1-stopped")?);
    assert_eq!(stopped, (json!("Failed"), json!("the node agent was stopped while it read the volume")));
    assert_eq!(field.lease()?["spec"]["holderIdentity"], "");
    Ok(())
}

#[test]
fn a_deleted_backup_takes_its_snapshots_with_it_and_leaves_those_of_others() -> Result<()> {
    let mut field = Field::start()?;
    let snapshots = [field.saved("web", "b1-web")?, field.saved("db", "b2-db")?];
    let minio = |field: &Field, arguments: &[&str]| field.installation.minio.mc(arguments);
    // Of a directory that is not there, `mc` says that it does not exist: all are listed.
    let listed = |field: &Field, prefix: &str| {
        let all = minio(field, &["find", &format!("t/{BUCKET}")])?;
        let all = all.lines().filter(|line| line.starts_with(&format!("t/{BUCKET}/{prefix}")));
        anyhow::Ok(all.map(str::to_owned).collect::<Vec<_>>().join("\n"))
    };
    for name in ["b1", "running"] {
        let phase = if name == "b1" { "Completed" } else { "InProgress" };
        let backup = json!({
            "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": { "name": name, "namespace": "velero" },
            "spec": { "storageLocation": "default" }, "status": { "phase": phase },
        });
        field.installation.apply(&backup)?;
    }
    for file in ["velero-backup.json", "b1.tar.gz", "b1-logs.gz"] {
        minio(&field, &["cp", "/etc/hostname", &format!("t/{BUCKET}/backups/b1/{file}")])?;
    }
    minio(&field, &["cp", "/etc/hostname", &format!("t/{BUCKET}/restores/r1/restore-r1-logs.gz")])?;
    field.installation.apply(&json!({
        "apiVersion": "velero.io/v1", "kind": "Restore", "metadata": { "name": "r1", "namespace": "velero" },
        "spec": { "backupName": "b1", "excludedResources": ["nodes"] }, "status": { "phase": "Completed" },
    }))?;
    let label =
        ["label", "podvolumebackups.velero.io", "b2-db", "-n", "velero", "--overwrite", "velero.io/backup-name=b2"];
    field.installation.api.kubectl().run(&label)?;
    // The sync of backups would take the made-up record for damaged, and is not what is looked at.
    field.installation.start_server(&["--disable-controllers=backup-sync,restore,backup"])?;
    field.installation.until_location("default", "Available")?;
    for name in ["b1", "running"] {
        velero(Tool::Velero118, field.installation.api.kubeconfig(), &["backup", "delete", name, "--confirm"])?;
    }
    field
        .installation
        .until("the Backup is gone", |installation| Ok(installation.object("backup", "b1")?.is_none().then_some(())))?;
    assert_eq!(listed(&field, "backups")?, "");
    assert_eq!(listed(&field, "restores")?, "");
    assert_eq!(field.installation.object("restore", "r1")?, None);
    let left = listed(&field, "kopia/app1/v1/snap")?;
    assert_eq!(snapshots.map(|snapshot| left.contains(&format!("{snapshot}.json"))), [false, true], "{left}");
    let errors = field.installation.until("the other deletion is refused", |installation| {
        let list = installation.api.kubectl().get(&["deletebackuprequests.velero.io", "-n", "velero"])?;
        let requests = list["items"].as_array().cloned().unwrap_or_default();
        Ok(match requests.as_slice() {
            [one] if one["status"]["phase"] == "Processed" => Some(one["status"]["errors"].clone()),
            _ => None,
        })
    })?;
    assert_eq!(errors, json!(["backup deletion failed: backup is still in progress"]));
    Ok(())
}

#[test]
fn a_repository_is_pruned_when_it_is_due_and_its_object_says_so() -> Result<()> {
    let mut field = Field::start()?;
    let snapshot = field.saved("web", "b1-web")?;
    let url = field.installation.minio.url(BUCKET, &format!("kopia/{NAMESPACE}"));
    let forgotten = Command::new(built::trysail()?)
        .args(["repo", "forget", &snapshot, "--repo", &url])
        .envs([("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)])
        .env("XDG_STATE_HOME", field.node.path().join("state"))
        .output()?;
    ensure!(forgotten.status.success(), "{}", String::from_utf8_lossy(&forgotten.stderr));
    let address = field.installation.start_server(&[])?;
    field.installation.until_location("default", "Available")?;
    field.installation.apply(&json!({
        "apiVersion": "velero.io/v1", "kind": "BackupRepository",
        "metadata": { "name": "app1-default-kopia", "namespace": "velero" },
        "spec": {
            "backupStorageLocation": "default", "maintenanceFrequency": "24h0m0s", "repositoryType": "kopia",
            "volumeNamespace": NAMESPACE,
        },
        "status": { "phase": "Ready", "lastMaintenanceTime": "2026-01-01T00:00:00Z" },
    }))?;
    let status = field.installation.until("the repository is pruned", |installation| {
        let object = installation.object("backuprepository", "app1-default-kopia")?.context("it is there")?;
        let status = object["status"].clone();
        Ok(status["recentMaintenance"].is_array().then_some(status))
    })?;
    assert_eq!(status["recentMaintenance"][0]["result"], "Succeeded", "{status}");
    assert_eq!(status["lastMaintenanceTime"], status["recentMaintenance"][0]["completeTimestamp"]);
    field.metrics = address;
    let metrics = field.metrics()?;
    let value = |series: &str| metrics.get(series).map(String::as_str);
    assert_eq!(value("velero_repo_maintenance_success_total{repository_name=\"app1-default-kopia\"}"), Some("1"));
    assert!(value("trysail_repository_pruned_timestamp_seconds{repository=\"app1-default-kopia\"}").is_some());
    Ok(())
}
