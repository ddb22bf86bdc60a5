//! One machine of a cluster: a set of namespaces, entered with `nsenter`.

use std::{
    ffi::OsStr,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// A node, or the machine beside the nodes on which MinIO runs.
#[derive(Debug, Clone)]
pub struct Machine {
    name: String,
    pid: u32,
    directory: PathBuf,
}

impl Machine {
    /// `pid` is that of the first process of its namespaces; `directory` is the cluster's.
    pub fn new(name: &str, pid: u32, directory: &Path) -> Self {
        Self { name: name.to_owned(), pid, directory: directory.to_owned() }
    }

    /// Its host name, for a node also that in Kubernetes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first process of its namespaces, by the number outside.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// A directory of its own, with the same path inside and outside.
    pub fn directory(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    /// Where its volumes by local-path-provisioner lie, seen from outside.
    pub fn volumes(&self) -> PathBuf {
        self.directory().join("volumes")
    }

    /// Where kubelet keeps pods and their volumes inside (`/var/lib/kubelet`). Mounts are seen only inside.
    pub fn kubelet(&self) -> PathBuf {
        self.directory().join("kubelet")
    }

    /// A command that runs on the machine as root.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.pid.to_string(), "--mount", "--net", "--pid", "--ipc", "--uts", "--"])
            .arg(program)
            // Not the computer's own: what a killed program leaves there would stay.
            .env("TMPDIR", "/run/tmp");
        command
    }

    /// Runs a command of the outside in the machine's network alone.
    pub fn in_network(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string(), "--net", "--", program]);
        command
    }

    /// Runs a shell command; what it prints.
    pub fn shell(&self, words: &str) -> Result<String> {
        let output = self.command("sh").args(["-c", words]).stdin(Stdio::null()).output().context("start nsenter")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {words}: {error}", self.name);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Runs a command that reads a text to its end.
pub(super) fn feed(mut command: Command, text: &[u8], what: &str) -> Result<()> {
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start: {what}"))?;
    let written = process.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(text));
    let output = process.wait_with_output()?;
    ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    written.with_context(|| format!("feed: {what}"))
}
