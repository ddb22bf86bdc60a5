//! What the tests of stock-tool recovery share: a source, a place for its repository, and an environment that has stock tools only.

use std::{
    fs,
    os::unix::fs::{FileExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use tempfile::TempDir;
use trysail_repository::RESCUE_SCRIPT;
use trysail_tests::{
    built,
    minio::{ACCESS_KEY, Minio, SECRET_KEY},
    tools::Tool,
};

use crate::tree;

/// Names of members from this length on are left to the test of what tar cannot do.
pub(crate) const PATH_LIMIT: usize = 4000;

/// The programs of coreutils that `rescue.sh` may use.
const COREUTILS: [&str; 18] = [
    "cat",
    "cut",
    "dd",
    "head",
    "ls",
    "mkdir",
    "mktemp",
    "mv",
    "od",
    "printf",
    "rm",
    "rmdir",
    "sha256sum",
    "sort",
    "tail",
    "tr",
    "uname",
    "wc",
];

const AGE: (&str, &str) = (
    "age1vlslqktnt0sxwgvvpplx0pzyew5ydrs0t0awve0umk8yr7lcm33qtzwrr4",
    "AGE-SECRET-KEY-1H92LXZP5GLVN38WRY4Y8KLSZ733NG44J62URD2PXY099ZE5RZANQ82MNEX\n",
);
const STRANGER: (&str, &str) = (
    "age1xykvzj0jhf4nzjezjw6w7mwem8ag4h397ddd22ehhkthnfj3gdms62v6u5",
    "AGE-SECRET-KEY-18QGHTJ07SLX3YRFDSRUELCT956U86360YDL7YDH0R0YEJ9SGL6UQJ8DUKQ\n",
);

/// For whom a repository is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    None,
    Age,
    Ssh,
}

/// Where a repository is, and how `rescue.sh` reaches it.
#[derive(Debug)]
pub(crate) enum Place<'a> {
    Directory(PathBuf),
    Mc(&'a Minio),
    Curl(&'a Minio),
}

/// What a program came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> Result<Ran> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

/// A program of the machine; one that is missing is an error.
fn installed(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").context("PATH")?;
    let found = std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file());
    found.with_context(|| format!("`{name}` is not installed, and this test needs it"))
}

/// Bytes that do not compress.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::repeat_with(|| next().to_le_bytes()).flatten().take(length).collect()
}

/// A scratch directory with a source, homes, identities and a directory of stock tools.
pub(crate) struct Stage {
    scratch: TempDir,
    keys: Keys,
}

impl Stage {
    pub(crate) fn new(keys: Keys) -> Result<Self> {
        let stage = Self { scratch: tempfile::tempdir()?, keys };
        fs::create_dir(stage.source())?;
        fs::write(stage.path("stranger"), STRANGER.1)?;
        let mut keygen = Command::new("ssh-keygen");
        let ran = run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "stage", "-f"]).arg(stage.path("ssh")))?;
        ensure!(ran.code == Some(0), "{ran:?}");
        if keys == Keys::Ssh {
            fs::copy(stage.path("ssh"), stage.path("identity"))?;
        } else {
            fs::write(stage.path("identity"), AGE.1)?;
        }
        fs::write(stage.path("rescue.sh"), RESCUE_SCRIPT)?;
        fs::create_dir(stage.path("bin"))?;
        symlink(installed("dash")?, stage.path("bin/sh"))?;
        for name in COREUTILS.iter().chain(&["tar", "zstd", "age"]) {
            symlink(installed(name)?, stage.path("bin").join(name))?;
        }
        Ok(stage)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.path("volume")
    }

    pub(crate) fn directory(&self) -> Place<'static> {
        Place::Directory(self.path("repo"))
    }

    /// The recipient whose identity lies in that file.
    pub(crate) fn recipient(&self, identity: &str) -> Result<String> {
        Ok(match identity {
            "ssh" => fs::read_to_string(self.path("ssh.pub"))?.trim().to_owned(),
            "stranger" => STRANGER.0.to_owned(),
            _ => AGE.0.to_owned(),
        })
    }

    /// The hostile tree, and a file large enough to be cut.
    pub(crate) fn build(&self) -> Result<()> {
        let source = self.source();
        tree::build(&source);
        if tree::is_root("devices, owners and capabilities by stock tools") {
            tree::build_privileged(&source);
        }
        tree::chain(&source, &[b'l'; 200], 15);
        fs::write(source.join("large"), noise(3_000_000, 1))?;
        fs::write(source.join("doomed"), noise(400_000, 2))?;
        Ok(())
    }

    /// Edits, deletions, renames and new links, after which a snapshot refers to parts of older packs.
    pub(crate) fn edit(&self) -> Result<()> {
        let source = self.source();
        let large = fs::OpenOptions::new().write(true).open(source.join("large"))?;
        large.write_all_at(b"edited in the middle", 1_500_000)?;
        fs::remove_file(source.join("doomed"))?;
        fs::rename(source.join("names"), source.join("renamed"))?;
        fs::write(source.join("renamed/a."), "edited")?;
        fs::remove_file(source.join("links/m"))?;
        fs::hard_link(source.join("sparse/many"), source.join("another-name"))?;
        fs::set_permissions(source.join("metadata/mode644"), fs::Permissions::from_mode(0o751))?;
        tree::set_mtime(&source, 1_600_000_000, 1);
        Ok(())
    }

    /// The program on this stage.
    pub(crate) fn trysail(&self, place: &Place<'_>, arguments: &[&str]) -> Command {
        let url = match place {
            Place::Directory(path) => format!("file://{}", path.display()),
            Place::Mc(minio) | Place::Curl(minio) => minio.url("bucket", "deep/prefix"),
        };
        let mut command = Command::new(built::trysail().expect("the program builds"));
        command
            .env_clear()
            .envs([("XDG_DATA_HOME", self.path("data")), ("XDG_STATE_HOME", self.path("state"))])
            .envs([("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)])
            .args(["-q", "--repo", &url])
            .args(arguments);
        command
    }

    pub(crate) fn json(&self, place: &Place<'_>, arguments: &[&str]) -> Result<Value> {
        let ran = run(self.trysail(place, arguments).args(["-o", "json"]))?;
        ensure!(ran.code == Some(0), "{arguments:?}: {ran:?}");
        Ok(serde_json::from_str(&ran.stdout)?)
    }

    /// Makes a snapshot and gives its name.
    pub(crate) fn back_up(&self, place: &Place<'_>) -> Result<String> {
        let source = self.source();
        let source = source.to_str().context("a path in UTF-8")?;
        let recipient = match self.keys {
            Keys::None => None,
            Keys::Age => Some(self.recipient("identity")?),
            Keys::Ssh => Some(self.recipient("ssh")?),
        };
        let mut arguments = vec!["volume", "backup", source];
        arguments.extend(recipient.iter().flat_map(|recipient| ["--recipient", recipient]));
        let value = self.json(place, &arguments)?;
        Ok(value["snapshot"].as_str().context("a name")?.to_owned())
    }

    /// `rescue.sh` with nothing but stock tools.
    pub(crate) fn rescue_command(
        &self,
        place: &Place<'_>,
        wanted: &str,
        target: &Path,
        identity: Option<&Path>,
    ) -> Result<Command> {
        let bin = self.path("bin");
        let mut command = Command::new(bin.join("sh"));
        command.env_clear().env("PATH", &bin).arg(self.path("rescue.sh"));
        match place {
            Place::Directory(path) => {
                command.arg(path);
            }
            Place::Mc(minio) => {
                let _ = symlink(Tool::Mc.path()?, bin.join("mc"));
                let host = minio.endpoint().replace("http://", &format!("http://{ACCESS_KEY}:{SECRET_KEY}@"));
                // Without a home of its user `mc` does not start.
                command.env("MC_HOST_t", host).env("HOME", self.path("home")).arg("t/bucket/deep/prefix");
            }
            Place::Curl(minio) => {
                let _ = symlink(installed("curl")?, bin.join("curl"));
                command.envs([("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)]);
                command.arg(format!("{}/bucket/deep/prefix", minio.endpoint()));
            }
        }
        command.arg(wanted).arg(target).args(identity);
        Ok(command)
    }

    pub(crate) fn rescue_with(
        &self,
        place: &Place<'_>,
        wanted: &str,
        target: &Path,
        identity: Option<&Path>,
    ) -> Result<Ran> {
        run(&mut self.rescue_command(place, wanted, target, identity)?)
    }

    pub(crate) fn rescue(&self, place: &Place<'_>, wanted: &str, target: &Path) -> Result<Ran> {
        let identity = self.path("identity");
        self.rescue_with(place, wanted, target, (self.keys != Keys::None).then_some(identity.as_path()))
    }

    /// What the second reader finds in a snapshot, a line for each row.
    pub(crate) fn read_by_python(&self, snapshot: &str) -> Result<Vec<String>> {
        let identity = self.path("identity");
        let rows = python(&self.path("repo"), snapshot, (self.keys != Keys::None).then_some(identity.as_path()))?;
        rows.iter().map(row_of_python).collect()
    }

    /// What `volume ls` prints of it, in the same form.
    pub(crate) fn listed_by_trysail(&self, place: &Place<'_>, snapshot: &str) -> Result<Vec<String>> {
        let listed = self.json(place, &["volume", "ls", snapshot])?;
        let rows = listed.as_array().context("a list")?.iter();
        rows.map(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
            // A name that is not UTF-8 has its bytes beside it.
            let bytes = |name: &str| -> Result<String> {
                let exact =
                    row[format!("{name}_bytes")].as_str().map(|bytes| BASE64_STANDARD.decode(bytes)).transpose()?;
                Ok(show(&exact.unwrap_or_else(|| text(name).into_bytes())))
            };
            let time: jiff::Timestamp = text("mtime").parse()?;
            let mode = u64::from_str_radix(&text("mode"), 8)?;
            let size = row["size"].as_u64().unwrap_or(0);
            Ok(format!(
                "{} {} {mode:o} {}:{} {} {size} {} {}",
                bytes("path")?,
                text("kind"),
                row["uid"],
                row["gid"],
                time.as_nanosecond().div_euclid(1_000_000_000),
                text("sha256"),
                bytes("target")?
            ))
        })
        .collect()
    }
}

/// Runs the second reader, which verifies everything, and gives its rows.
pub(crate) fn python(repository: &Path, snapshot: &str, identity: Option<&Path>) -> Result<Vec<Value>> {
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("reader.py")).arg(repository).arg(snapshot);
    if let Some(identity) = identity {
        command.arg("--identity").arg(identity);
    }
    let ran = run(&mut command)?;
    ensure!(ran.code == Some(0), "{ran:?}");
    ran.stdout.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn row_of_python(row: &Value) -> Result<String> {
    let shown = |name: &str| -> Result<String> {
        Ok(row[name].as_str().map(hex::decode).transpose()?.map_or_else(|| "-".to_owned(), |bytes| show(&bytes)))
    };
    let kind = match row["kind"].as_str().context("a kind")? {
        "chardev" => "char device",
        "blockdev" => "block device",
        other => other,
    };
    let mode = row["mode"].as_u64().context("a mode")?;
    let hash = if kind == "file" { row["sha256"].as_str().unwrap_or("-") } else { "-" };
    let size = row["size"].as_u64().unwrap_or(0);
    Ok(format!(
        "{} {kind} {mode:o} {}:{} {} {size} {hash} {}",
        shown("path")?,
        row["uid"],
        row["gid"],
        row["mtime"][0],
        shown("target")?
    ))
}

/// A path as `volume ls` shows it.
fn show(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok("") => ".".to_owned(),
        Ok(text) => {
            text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.into() }).collect()
        }
        Err(_) => path.escape_ascii().to_string(),
    }
}
