//! An application with a volume, which tests back up, lose and get back.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    deployment::{BUCKET, Deployment},
    image::BUSYBOX,
    tools::Tool,
};

/// What the writer of a volume leaves there: every kind of file, two of them one, one of them mostly a hole.
const WRITE: &str = "cd /data && mkdir -m 0750 dir && echo kept > dir/file && ln dir/file hard && ln -s dir/file soft \
    && mkfifo -m 0600 pipe && chown 1000:2000 dir/file && dd if=/dev/zero of=sparse bs=1 count=1 seek=10485760 2>/dev/null \
    && head -c 3000000 /dev/urandom > noise && touch -t 200102030405 dir && sync";

/// What tells a tree from any other: kinds, modes, owners, sizes, links, times of what is older than its restore, contents.
const DESCRIBE: &str = "cd /data && find . -path ./ready -prune -o -path ./lost+found -prune -o -print | sort | while read -r f; do \
    stat -c '%n %F %a %u:%g %h' \"$f\"; done; stat -c %Y dir; readlink soft; stat -c %b sparse; sha256sum dir/file noise sparse hard";

/// A namespace.
pub fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })
}

fn claim(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "namespace": namespace, "name": "data" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    })
}

/// A pod that writes into the claim once, and is ready from then on.
pub fn writer(namespace: &str) -> Value {
    let command = format!("test -e /data/dir || {{ {WRITE}; }}; touch /tmp/ready; exec sleep infinity");
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": namespace, "name": "writer", "labels": { "app": "writer" } },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sh", "-c", command],
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                "readinessProbe": { "exec": { "command": ["test", "-e", "/tmp/ready"] }, "periodSeconds": 1 },
            }],
            "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }],
        },
    })
}

/// Makes a namespace with the pod `writer` and its claim `data`; what the volume holds.
pub fn start(deployment: &Deployment, name: &str) -> Result<String> {
    let kubectl = deployment.cluster.kubectl();
    for object in [namespace(name), claim(name), writer(name)] {
        kubectl.apply_object(&object)?;
    }
    described(deployment, name)
}

/// What the volume holds, once its pod is ready.
pub fn described(deployment: &Deployment, namespace: &str) -> Result<String> {
    let kubectl = deployment.cluster.kubectl();
    let waited = kubectl.run(&["-n", namespace, "wait", "--for=condition=Ready", "pod/writer", "--timeout=300s"]);
    waited.with_context(|| {
        let pod = kubectl.run(&["-n", namespace, "describe", "pod", "writer"]).unwrap_or_default();
        format!("{pod}\n{}", deployment.words())
    })?;
    kubectl.run(&["-n", namespace, "exec", "writer", "-c", "main", "--", "sh", "-c", DESCRIBE])
}

/// Deletes the namespace with all that is in it.
pub fn lose(deployment: &Deployment, namespace: &str) -> Result<()> {
    deployment.cluster.kubectl().run(&["delete", "namespace", namespace, "--timeout=300s"]).map(drop)
}

/// What the volume holds after a restore, once nothing of ours is left in it: the mark goes when the pod has gone on.
pub fn restored(deployment: &Deployment, namespace: &str) -> Result<String> {
    described(deployment, namespace)?;
    deployment.until("nothing of ours is left in the volume", |deployment| {
        let list = ["-n", namespace, "exec", "writer", "-c", "main", "--", "ls", "-A", "/data"];
        let left = deployment.cluster.kubectl().run(&list)?;
        Ok((!left.contains(".velero")).then_some(()))
    })?;
    described(deployment, namespace)
}

/// Makes a backup of a namespace and waits for its end; the object.
pub fn back_up(deployment: &Deployment, tool: Tool, backup: &str, namespace: &str) -> Result<Value> {
    let printed =
        deployment.velero(tool, &["backup", "create", backup, "--include-namespaces", namespace, "--wait"])?;
    let object = deployment.object("backup", backup)?;
    let told = || {
        let described = deployment.velero(tool, &["backup", "describe", backup, "--details"]);
        let logs = deployment.velero(tool, &["backup", "logs", backup]);
        format!("{printed}\n{described:?}\n{logs:?}\n{}", deployment.words())
    };
    ensure!(object["status"]["phase"] == "Completed", "{}\n{}", object["status"], told());
    Ok(object)
}

/// The `PodVolumeBackup`s of a backup.
pub fn volumes(deployment: &Deployment, backup: &str) -> Result<Vec<Value>> {
    let label = format!("velero.io/backup-name={backup}");
    let list = deployment.cluster.kubectl().get(&["podvolumebackups.velero.io", "-n", "velero", "-l", &label])?;
    serde_json::from_value(list["items"].clone()).context("a list")
}

/// The objects of the bucket whose keys begin so.
pub fn kept(deployment: &Deployment, prefix: &str) -> Result<Vec<String>> {
    let all = deployment.cluster.minio().mc(&["find", &format!("t/{BUCKET}")])?;
    let keys = all.lines().filter_map(|line| line.strip_prefix(&format!("t/{BUCKET}/")).map(str::to_owned));
    Ok(keys.filter(|key| key.starts_with(prefix)).collect())
}
