//! The stock command lines of Velero, run as a user runs them.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};

use crate::tools::Tool;

/// What a stock command line prints; its standard error as an error where it fails.
pub fn velero(tool: Tool, kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
    // Its own settings lie in the home directory.
    let home = tempfile::tempdir()?;
    let output = Command::new(tool.path()?)
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", home.path())
        .env_remove("VELERO_NAMESPACE")
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} {}: {error}", tool.name(), arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
