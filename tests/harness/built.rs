//! The program under test, built once for all tests of a process.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, ensure};

/// The path of a `trysail` that needs no library of the machine, as images have it; optimised as the test itself is. No path
/// of this machine is in it.
pub fn trysail() -> Result<&'static Path> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = BUILT.get() {
        return Ok(path);
    }
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?).join(".cargo"),
    };
    let flags = format!(
        "-Ctarget-feature=+crt-static --remap-path-prefix={}=/trysail --remap-path-prefix={}=/cargo",
        source.display(),
        home.display()
    );
    let built = build(&["--target", &target], &flags)?;
    Ok(BUILT.get_or_init(|| built))
}

/// Builds the program, with further arguments of cargo and flags of the compiler.
fn build(arguments: &[&str], flags: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let directory = test.parent().context("the directory of a program")?;
    // Tests lie in `deps`, and programs beside it.
    let directory = if directory.ends_with("deps") { directory.parent().context("its parent")? } else { directory };
    let profile = directory.file_name().context("the name of a profile")?;
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--locked", "--package", "trysail-cli"]).args(arguments);
    // What cargo tells this test of its own package is not for the build: build scripts that read it (ring's) would run again,
    // and half of the dependencies be built again, each time that somebody builds from a shell and then tests.
    for (name, _) in std::env::vars_os() {
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if name.to_str().is_some_and(|name| told.iter().any(|prefix| name.starts_with(prefix))) {
            build.env_remove(name);
        }
    }
    if profile == "release" {
        build.arg("--release");
    }
    if !flags.is_empty() {
        build.env("RUSTFLAGS", flags);
    }
    let output = build.output().context("start cargo")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let target = arguments.last().map_or_else(PathBuf::new, PathBuf::from);
    Ok(directory.parent().context("the directory of builds")?.join(target).join(profile).join("trysail"))
}
