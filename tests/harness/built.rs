//! The program under test, built once for all tests of a process.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, ensure};

/// The path of `trysail`, built like the test itself.
pub fn trysail() -> Result<&'static Path> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = BUILT.get() {
        return Ok(path);
    }
    let test = std::env::current_exe()?;
    let directory = test.parent().and_then(Path::parent).context("the directory of built programs")?;
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "trysail-cli"]);
    if directory.ends_with("release") {
        build.arg("--release");
    }
    let output = build.output().context("start cargo")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(BUILT.get_or_init(|| directory.join("trysail")))
}
