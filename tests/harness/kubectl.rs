//! A Kubernetes client for tests: the `kubectl` of the cluster's own version, as administrator.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// An administrator's client.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// `program` is that of `Tool::Kubernetes`.
    pub fn new(program: PathBuf, kubeconfig: PathBuf) -> Self {
        Self { program, kubeconfig }
    }

    /// Which server, and as whom.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// `kubectl`, to which arguments can be given.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("kubectl").arg("--kubeconfig").arg(&self.kubeconfig);
        // Caches of discovery would outlive the server that they describe.
        command.arg("--cache-dir").arg(self.kubeconfig.with_extension("cache"));
        command
    }

    /// What `kubectl` comes to, whatever its exit code.
    pub fn output(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut process = self
            .command()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start kubectl")?;
        let mut stdin = process.stdin.take().context("kubectl reads")?;
        thread::scope(|scope| {
            // A program that does not read to the end has its reasons; its exit code tells them.
            scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
            process.wait_with_output().context("wait for kubectl")
        })
    }

    /// What `kubectl` prints; its standard error as an error where it fails.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        self.run_with(arguments, "")
    }

    /// The same with something to read.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let output = self.output(arguments, input)?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {}: {error}", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Makes what a manifest (YAML or JSON) says, or changes it to that.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        self.run_with(&["apply", "--server-side", "-f", "-"], manifest).map(|_| ())
    }

    /// Applies one object.
    pub fn apply_object(&self, object: &Value) -> Result<()> {
        self.apply(&object.to_string())
    }

    /// What `kubectl get … -o json` prints.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.run(&[&["get"], arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).context("kubectl prints JSON")
    }
}
