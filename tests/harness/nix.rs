//! What our Nix modules render, with the machine's own Nix: nothing is built, and nothing is fetched.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// The programs that this takes, for `prerequisites`.
pub const PROGRAMS: [&str; 2] = ["nix-instantiate", "jq"];

/// All objects of settings, which are those of a module (`{ "trysail": … }`).
pub fn objects(settings: &Value) -> Result<Vec<Value>> {
    serde_json::from_slice(&evaluate("objects", settings)?).context("the modules render a list of objects")
}

/// The Secret of settings, of references: YAML to be sealed.
pub fn secret(settings: &Value) -> Result<String> {
    serde_json::from_slice(&evaluate("secret", settings)?).context("the modules render a Secret as YAML")
}

/// Writes the tree for Flux of settings below a directory, as `make manifests` does.
pub fn write_tree(settings: &Value, directory: &Path) -> Result<()> {
    let files = evaluate("files", settings)?;
    let json = tempfile::NamedTempFile::new()?;
    fs::write(json.path(), files)?;
    let written = Command::new("sh")
        .arg(root()?.join("nix/write-files"))
        .arg(directory)
        .stdin(json.reopen()?)
        .output()
        .context("start sh")?;
    ensure!(written.status.success(), "write-files: {}", String::from_utf8_lossy(&written.stderr));
    Ok(())
}

/// What a function of `nix/default.nix` makes of settings, as JSON.
fn evaluate(function: &str, settings: &Value) -> Result<Vec<u8>> {
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("settings.json");
    fs::write(&file, settings.to_string())?;
    let root = root()?.display();
    let expression = format!(
        "(import {root}/nix {{ lib = import {root}/tests/nix/double/lib; }}).{function} \
         [ (builtins.fromJSON (builtins.readFile {})) ]",
        file.display()
    );
    let output = Command::new(PROGRAMS[0])
        .args(["--eval", "--strict", "--json", "--expr", &expression])
        .stdin(Stdio::null())
        .output()
        .context("start Nix")?;
    // Half a document may stand on standard output where the evaluation fails.
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")
}
