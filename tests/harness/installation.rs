//! An installation without nodes: an API server, a MinIO, and `trysail server` on this machine. It goes with its value.

use std::{net::TcpListener, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    api_server::ApiServer,
    built,
    minio::{ACCESS_KEY, Minio, SECRET_KEY},
    program::{Program, guarded},
    tools::Tool,
    velero::velero,
    wait,
};

/// Time until a controller has done its work, on a busy computer.
pub const LIMIT: Duration = Duration::from_mins(5);

/// The bucket of the default location.
pub const BUCKET: &str = "velero";

/// A running installation.
#[derive(Debug)]
pub struct Installation {
    servers: Vec<Program>,
    /// Its MinIO.
    pub minio: Minio,
    /// Its API server.
    pub api: ApiServer,
}

impl Installation {
    /// Starts everything but our server. The bucket is there, and no location.
    pub fn without_server() -> Result<Self> {
        let (api, minio) = (ApiServer::start()?, Minio::start()?);
        minio.make_bucket(BUCKET)?;
        let kubectl = api.kubectl();
        let definitions =
            std::process::Command::new(built::trysail()?).arg("crds").output().context("run trysail crds")?;
        kubectl.apply(&String::from_utf8(definitions.stdout)?)?;
        kubectl.run(&["wait", "crd", "--all", "--for=condition=Established", "--timeout=300s"])?;
        kubectl.apply_object(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "velero" } }))?;
        let profile = format!("[default]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n");
        kubectl.apply_object(&json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "cloud-credentials", "namespace": "velero" }, "stringData": { "cloud": profile },
        }))?;
        Ok(Self { servers: Vec::new(), minio, api })
    }

    /// The same with a server and with a default location.
    pub fn start() -> Result<Self> {
        let mut installation = Self::without_server()?;
        installation.apply(&installation.location("default", BUCKET))?;
        installation.start_server(&[])?;
        Ok(installation)
    }

    /// Starts one more of our servers, with further arguments; its metrics are told at the address that is returned.
    pub fn start_server(&mut self, arguments: &[&str]) -> Result<String> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut command = guarded(built::trysail()?);
        command
            .args(["server", "--log-format=json", "--metrics-address", &address])
            .args(arguments)
            .env("KUBECONFIG", self.api.kubeconfig());
        let log = self.log(self.servers.len());
        self.servers.push(Program::start("trysail server", command, &log)?);
        Ok(address)
    }

    /// Kills the server that was started first.
    pub fn kill_first_server(&mut self) {
        drop(self.servers.remove(0));
    }

    fn log(&self, number: usize) -> PathBuf {
        self.api.scratch().join(format!("server-{number}.log"))
    }

    /// A location in a bucket of this MinIO.
    pub fn location(&self, name: &str, bucket: &str) -> Value {
        json!({
            "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
            "metadata": { "name": name, "namespace": "velero" },
            "spec": {
                "provider": "aws", "default": name == "default", "objectStorage": { "bucket": bucket },
                "credential": { "name": "cloud-credentials", "key": "cloud" },
                "validationFrequency": "2s", "backupSyncPeriod": "2s",
                "config": { "region": "us-east-1", "s3ForcePathStyle": "true", "s3Url": self.minio.endpoint() },
            },
        })
    }

    /// Applies one object.
    pub fn apply(&self, object: &Value) -> Result<()> {
        self.api.kubectl().apply_object(object)
    }

    /// One object of the namespace, or none.
    pub fn object(&self, kind: &str, name: &str) -> Result<Option<Value>> {
        let kind = format!("{kind}.velero.io");
        let arguments = ["get", &kind, name, "-n", "velero", "--ignore-not-found", "-o", "json"];
        let text = self.api.kubectl().run(&arguments)?;
        if text.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&text)?)) }
    }

    /// What the newest stock command line prints.
    pub fn velero(&self, arguments: &[&str]) -> Result<String> {
        velero(Tool::Velero118, self.api.kubeconfig(), arguments)
    }

    /// Waits while the servers run. The error quotes their logs.
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Self) -> Result<Option<T>>) -> Result<T> {
        let waited = wait::until(what, LIMIT, || {
            self.servers.iter_mut().try_for_each(Program::check)?;
            look(self)
        });
        waited.with_context(|| self.servers.iter().map(Program::last_words).collect::<Vec<_>>().join("\n\n"))
    }

    /// Waits until a location has a phase; its message.
    pub fn until_location(&mut self, name: &str, phase: &str) -> Result<String> {
        self.until(&format!("location {name} is {phase}"), |installation| {
            let Some(location) = installation.object("backupstoragelocation", name)? else { return Ok(None) };
            let is_so = location["status"]["phase"] == *phase;
            Ok(is_so.then(|| location["status"]["message"].as_str().unwrap_or_default().to_owned()))
        })
    }
}
