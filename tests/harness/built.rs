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
    // What cargo tells this test of its own package is not for the build: build scripts that read it (ring's) would run again,
    // and half of the dependencies be built again, each time that somebody builds from a shell and then tests.
    for (name, _) in std::env::vars_os() {
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if name.to_str().is_some_and(|name| told.iter().any(|prefix| name.starts_with(prefix))) {
            build.env_remove(name);
        }
    }
    if directory.ends_with("release") {
        build.arg("--release");
    }
    let output = build.output().context("start cargo")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(BUILT.get_or_init(|| directory.join("trysail")))
}
