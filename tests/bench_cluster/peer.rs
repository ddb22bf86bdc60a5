//! The two programs, each installed on a cluster of its own with what the stock `velero install` prints, and what is asked of it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use trysail_tests::{
    built,
    cluster::{Cluster, ClusterOptions},
    deployment::{BUCKET, stock_manifests},
    image::{self, BUSYBOX, Entry, Start},
    tools::Tool,
    velero::velero,
    wait,
};

/// The image of stock Velero, with its plugin for S3 inside.
const VELERO: &str = "localhost/velero:stock";

/// Somebody's key: Trysail encrypts, as it is meant to be used.
const RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
const IDENTITY: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";

const LIMIT: Duration = Duration::from_mins(10);

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Trysail,
    Velero,
}

/// One of them on a cluster.
pub(crate) struct Installed {
    peer: Peer,
    cluster: Cluster,
}

impl Peer {
    pub(crate) const ALL: [Self; 2] = [Self::Trysail, Self::Velero];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Trysail => "trysail",
            Self::Velero => "velero",
        }
    }

    fn image(self) -> Result<(&'static str, Vec<u8>)> {
        match self {
            Self::Trysail => Ok((image::TRYSAIL, image::of_trysail(image::TRYSAIL, built::trysail()?)?.archive)),
            Self::Velero => Ok((VELERO, stock()?)),
        }
    }

    /// Starts a cluster and installs it there.
    pub(crate) fn install(self) -> Result<Installed> {
        let (reference, archive) = self.image()?;
        let cluster = Cluster::start(ClusterOptions { nodes: 1 })?;
        cluster.load_image(&archive)?;
        cluster.minio().make_bucket(BUCKET)?;
        let installed = Installed { peer: self, cluster };
        let kubectl = installed.cluster.kubectl();
        let mut manifests = stock_manifests(&installed.cluster, reference, &["--default-volumes-to-fs-backup"])?;
        manifests.iter_mut().filter_map(|object| object.pointer_mut("/spec/template/spec")).for_each(without_plugins);
        let (definitions, others): (Vec<_>, Vec<_>) =
            manifests.into_iter().partition(|object| object["kind"] == "CustomResourceDefinition");
        let list = |items| json!({ "apiVersion": "v1", "kind": "List", "items": Value::Array(items) });
        kubectl.apply_object(&list(definitions))?;
        kubectl.run(&["wait", "crd", "--all", "--for=condition=Established", "--timeout=300s"])?;
        kubectl.apply_object(&list(others))?;
        for workload in ["deployment/velero", "daemonset/node-agent"] {
            kubectl.run(&["-n", "velero", "rollout", "status", workload, "--timeout=300s"])?;
        }
        wait::until("the location is Available", LIMIT, || {
            let found =
                kubectl.run(&["-n", "velero", "get", "backupstoragelocations.velero.io", "default", "-o", "json"])?;
            let location: Value = serde_json::from_str(&found)?;
            Ok((location["status"]["phase"] == "Available").then_some(()))
        })?;
        if self == Self::Trysail {
            installed.encrypt()?;
        }
        Ok(installed)
    }
}

/// Stock Velero's programs, which Go builds, and directories that it writes into.
fn stock() -> Result<Vec<u8>> {
    let program = |tool: Tool| -> Result<Entry> { Ok(Entry::File(fs::read(tool.path()?)?, 0o755)) };
    let entries = [
        ("velero".to_owned(), program(Tool::Velero118)?),
        ("velero-restore-helper".to_owned(), program(Tool::VeleroRestoreHelper)?),
        ("plugins".to_owned(), Entry::Directory(0o755)),
        ("plugins/velero-plugin-for-aws".to_owned(), program(Tool::VeleroPluginForAws)?),
        ("tmp".to_owned(), Entry::Directory(0o1777)),
        ("scratch".to_owned(), Entry::Directory(0o777)),
        ("home".to_owned(), Entry::Directory(0o777)),
    ];
    Ok(image::image(VELERO, Start { entrypoint: &["/velero"], user: "" }, &entries)?.archive)
}

impl Installed {
    /// From now on the location encrypts, and Restores are given the identity.
    fn encrypt(&self) -> Result<()> {
        let kubectl = self.cluster.kubectl();
        let recipients = format!("trysail.io/recipients={RECIPIENT}");
        kubectl.run(&["-n", "velero", "annotate", "backupstoragelocations.velero.io", "default", &recipients])?;
        kubectl.apply_object(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": "velero", "name": "offline" },
            "stringData": { "identity": IDENTITY },
        }))
    }

    /// A namespace with a pod that sleeps, and so many volumes; their directories.
    pub(crate) fn application(&self, name: &str, count: usize) -> Result<Vec<PathBuf>> {
        let kubectl = self.cluster.kubectl();
        kubectl.apply_object(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))?;
        let claims: Vec<String> = (0..count).map(|n| format!("data{n}")).collect();
        for claim in &claims {
            kubectl.apply_object(&json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "namespace": name, "name": claim },
                "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "10Gi" } } },
            }))?;
        }
        let mounts: Vec<Value> =
            claims.iter().map(|claim| json!({ "name": claim, "mountPath": format!("/{claim}") })).collect();
        let volumes: Vec<Value> = claims
            .iter()
            .map(|claim| json!({ "name": claim, "persistentVolumeClaim": { "claimName": claim } }))
            .collect();
        kubectl.apply_object(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "namespace": name, "name": "sleeper" },
            "spec": {
                "terminationGracePeriodSeconds": 0, "volumes": volumes,
                "containers": [{
                    "name": "main", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sleep", "infinity"],
                    "volumeMounts": mounts,
                }],
            },
        }))?;
        self.volumes(name)
    }

    /// The directories of an application's volumes, when its pod runs.
    pub(crate) fn volumes(&self, name: &str) -> Result<Vec<PathBuf>> {
        let kubectl = self.cluster.kubectl();
        kubectl.run(&["-n", name, "wait", "--for=condition=Ready", "pod/sleeper", "--timeout=300s"])?;
        let list = kubectl.get(&["persistentvolumes"])?;
        let of_name = |volume: &&Value| volume["spec"]["claimRef"]["namespace"] == name;
        let directory = self.cluster.nodes()[0].machine().volumes();
        let path = |volume: &Value| -> Result<PathBuf> {
            let path = volume["spec"]["local"]["path"].as_str().context("a local volume")?;
            Ok(directory.join(Path::new(path).file_name().context("a name")?))
        };
        list["items"].as_array().into_iter().flatten().filter(of_name).map(path).collect()
    }

    /// Deletes an application with its data.
    pub(crate) fn lose(&self, name: &str) -> Result<()> {
        let kubectl = self.cluster.kubectl();
        kubectl.run(&["delete", "namespace", name, "--timeout=600s"])?;
        wait::until("its volumes are gone", LIMIT, || {
            let list = kubectl.get(&["persistentvolumes"])?;
            Ok(list["items"].as_array().is_none_or(Vec::is_empty).then_some(()))
        })
    }

    /// Runs the stock command line. A Restore of what is encrypted names the identity, which the stock words cannot.
    pub(crate) fn velero(&self, arguments: &[&str]) -> Result<()> {
        let annotated = ["--annotations", "trysail.io/identity-secret=offline"];
        let more: &[&str] = if self.peer == Peer::Trysail && arguments[0] == "restore" { &annotated } else { &[] };
        velero(Tool::Velero118, self.cluster.kubeconfig(), &[arguments, more].concat()).map(drop)
    }

    pub(crate) fn ensure_completed(&self, kind: &str, name: &str) -> Result<()> {
        let kind = format!("{kind}.velero.io");
        let object = self.cluster.kubectl().get(&[&kind, name, "-n", "velero"])?;
        ensure!(object["status"]["phase"] == "Completed", "{}", object["status"]);
        Ok(())
    }

    /// Bytes of the repository of a namespace.
    pub(crate) fn stored(&self, name: &str) -> Result<u64> {
        let text = self.cluster.minio().mc(&["du", "--json", &format!("t/{BUCKET}/kopia/{name}")])?;
        let value: Value = serde_json::from_str(text.lines().last().unwrap_or_default())?;
        value["size"].as_u64().context("a size")
    }

    /// Requests that the store has answered.
    pub(crate) fn requests(&self) -> Result<u64> {
        let text = self.cluster.minio().mc(&["admin", "prometheus", "metrics", "t", "cluster"])?;
        let of_s3 = |line: &&str| line.starts_with("minio_s3_requests_total{");
        let numbers = text.lines().filter(of_s3).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let sum = numbers.sum::<f64>() as u64;
        Ok(sum)
    }
}

/// The plugin lies in the image; an empty directory would hide it.
fn without_plugins(pod: &mut Value) {
    let is_other = |value: &Value| value["name"] != "plugins";
    for path in ["/volumes", "/containers/0/volumeMounts"] {
        if let Some(list) = pod.pointer_mut(path).and_then(Value::as_array_mut) {
            list.retain(is_other);
        }
    }
}
