//! Trysail in a cluster: its own image, installed with what the stock `velero install` prints, or with other manifests.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    built,
    cluster::{Cluster, ClusterOptions},
    image,
    minio::{ACCESS_KEY, SECRET_KEY},
    tools::Tool,
    velero::velero,
    wait,
};

/// Time until a part of the cluster has done its work, on a busy computer.
pub const LIMIT: Duration = Duration::from_mins(5);

/// The bucket of the default location.
pub const BUCKET: &str = "velero";

/// Phases of Backups and Restores in which they stay.
const ENDS: [&str; 4] = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"];

/// A cluster with a server and a node agent on each node.
#[derive(Debug)]
pub struct Deployment {
    /// The cluster.
    pub cluster: Cluster,
}

impl Deployment {
    /// Starts a cluster of that many nodes, installs, and waits until the default location is Available.
    pub fn start(nodes: u8) -> Result<Self> {
        let deployment = Self::bare(nodes)?;
        deployment.install()?;
        Ok(deployment)
    }

    /// Starts a cluster of that many nodes which have our image, with a bucket, and installs nothing.
    pub fn bare(nodes: u8) -> Result<Self> {
        let program = built::static_trysail()?;
        let cluster = Cluster::start(ClusterOptions { nodes })?;
        cluster.load_image(&image::of_trysail(image::TRYSAIL, program)?.archive)?;
        cluster.minio().make_bucket(BUCKET)?;
        Ok(Self { cluster })
    }

    /// What `velero install` says for our image, without the container of a plugin, which we need not.
    fn manifests(&self) -> Result<Vec<Value>> {
        let scratch = tempfile::tempdir()?;
        let secret = scratch.path().join("credentials");
        fs::write(&secret, format!("[default]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n"))?;
        let config = format!("region=us-east-1,s3ForcePathStyle=true,s3Url={}", self.cluster.minio().endpoint());
        let arguments = [
            &["install", "--dry-run", "-o", "json", "--provider", "aws", "--plugins", "localhost/none:1"][..],
            &["--image", image::TRYSAIL, "--bucket", BUCKET, "--use-node-agent", "--use-volume-snapshots=false"],
            &["--backup-location-config", &config, "--secret-file", secret.to_str().context("a path in UTF-8")?],
        ];
        let printed = velero(Tool::Velero118, self.cluster.kubeconfig(), &arguments.concat())?;
        let mut list: Value = serde_json::from_str(&printed).context("velero install prints JSON")?;
        for object in list["items"].as_array_mut().context("a list")? {
            if let Some(pod) = object.pointer_mut("/spec/template/spec") {
                pod["initContainers"] = json!([]);
                pod["containers"][0]["imagePullPolicy"] = json!("Never");
            }
        }
        serde_json::from_value(list["items"].take()).context("a list of objects")
    }

    fn install(&self) -> Result<()> {
        let kubectl = self.cluster.kubectl();
        let (definitions, others): (Vec<_>, Vec<_>) =
            self.manifests()?.into_iter().partition(|object| object["kind"] == "CustomResourceDefinition");
        let list = |items| json!({ "apiVersion": "v1", "kind": "List", "items": Value::Array(items) });
        kubectl.apply_object(&list(definitions))?;
        self.wait_for_definitions()?;
        kubectl.apply_object(&list(others))?;
        self.wait_until_ready()
    }

    /// Waits until the API server serves all kinds that are defined.
    pub fn wait_for_definitions(&self) -> Result<()> {
        let wait = ["wait", "crd", "--all", "--for=condition=Established", "--timeout=300s"];
        self.cluster.kubectl().run(&wait).map(drop)
    }

    /// Waits until server and node agents are ready, and the default location is Available.
    pub fn wait_until_ready(&self) -> Result<()> {
        for workload in ["deployment/velero", "daemonset/node-agent"] {
            let rolled = self.cluster.kubectl().run(&["-n", "velero", "rollout", "status", workload, "--timeout=300s"]);
            rolled.with_context(|| self.words())?;
        }
        self.until("the location is Available", |deployment| {
            let location = deployment.object("backupstoragelocation", "default")?;
            Ok((location["status"]["phase"] == "Available").then_some(()))
        })
    }

    /// Waits until an object of the namespace has a phase in which it stays; the object.
    pub fn ended(&self, kind: &str, name: &str) -> Result<Value> {
        self.until(&format!("{kind} {name} ends"), |deployment| {
            let object = deployment.object(kind, name)?;
            let phase = object["status"]["phase"].as_str().unwrap_or_default();
            Ok(ENDS.contains(&phase).then_some(object))
        })
    }

    /// One object of the namespace; `null` where there is none.
    pub fn object(&self, kind: &str, name: &str) -> Result<Value> {
        let kind = format!("{kind}.velero.io");
        let arguments = ["get", &kind, name, "-n", "velero", "--ignore-not-found", "-o", "json"];
        let text = self.cluster.kubectl().run(&arguments)?;
        if text.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }

    /// What a stock command line prints.
    pub fn velero(&self, tool: Tool, arguments: &[&str]) -> Result<String> {
        velero(tool, self.cluster.kubeconfig(), arguments).with_context(|| self.words())
    }

    /// Waits for something to see. The error quotes the last words of our pods.
    pub fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Result<Option<T>>) -> Result<T> {
        wait::until(what, LIMIT, || look(self)).with_context(|| self.words())
    }

    /// The last words of our pods, for the message of a test that fails.
    pub fn words(&self) -> String {
        let kubectl = self.cluster.kubectl();
        let say = |arguments: &[&str]| kubectl.run(arguments).unwrap_or_else(|error| format!("{error:#}"));
        [
            say(&["-n", "velero", "get", "pods", "-o", "wide"]),
            say(&["-n", "velero", "logs", "deployment/velero", "--tail=30"]),
            say(&["-n", "velero", "logs", "daemonset/node-agent", "--tail=30"]),
        ]
        .join("\n")
    }
}
