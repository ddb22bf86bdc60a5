//! The programs that are compared, and how each is asked to save and to restore.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use trysail_tests::tools::Tool;

use crate::{
    data::measure,
    measure::{Cost, run},
};

const PASSWORD: &str = "only-for-the-bench";

/// A program with its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// Ours, for one recipient.
    Trysail,
    /// Ours, without encryption.
    TrysailPlain,
    /// restic as it comes.
    Restic,
    /// kopia as it comes: without compression.
    Kopia,
    /// kopia with its zstd.
    KopiaZstd,
    /// The stock programs in a pipe.
    Tar,
}

/// The paths of all programs.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) trysail: PathBuf,
    restic: PathBuf,
    kopia: PathBuf,
    age: PathBuf,
    /// A file with an age identity, and its recipient.
    pub(crate) identity: PathBuf,
    pub(crate) recipient: String,
}

impl Installed {
    /// Finds `trysail` beside this program, builds the others, and makes an identity in that directory.
    pub(crate) fn new(scratch: &Path) -> Result<Self> {
        let trysail = std::env::current_exe()?.with_file_name("trysail");
        anyhow::ensure!(trysail.is_file(), "{} is absent: build it first, in release mode", trysail.display());
        let identity = scratch.join("identity");
        run(Command::new(Tool::AgeKeygen.path()?).arg("-o").arg(&identity))?;
        let text = fs::read_to_string(&identity)?;
        let recipient = text
            .lines()
            .find_map(|line| line.strip_prefix("# public key: "))
            .context("a key has a public one")?
            .to_owned();
        Ok(Self {
            trysail,
            restic: Tool::Restic.path()?,
            kopia: Tool::Kopia.path()?,
            age: Tool::Age.path()?,
            identity,
            recipient,
        })
    }

    /// A line for each program with its version.
    pub(crate) fn versions(&self) -> Result<Vec<String>> {
        let first = |command: &mut Command| -> Result<String> {
            Ok(run(command)?.1.lines().next().unwrap_or_default().to_owned())
        };
        Ok(vec![
            first(Command::new(&self.trysail).arg("--version"))?,
            format!("restic {}", Tool::Restic.version()?),
            format!("kopia {}", Tool::Kopia.version()?),
            first(Command::new("tar").arg("--version"))?,
            first(Command::new("zstd").arg("--version"))?.trim_matches(['*', ' ']).to_owned(),
            format!("age {}", Tool::Age.version()?),
        ])
    }
}

/// A program with its own home, caches and repository.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) program: Program,
    installed: &'a Installed,
    home: PathBuf,
    source: PathBuf,
}

impl Program {
    /// All of them, in the order of the tables.
    pub(crate) const ALL: [Self; 6] =
        [Self::Trysail, Self::TrysailPlain, Self::Restic, Self::Kopia, Self::KopiaZstd, Self::Tar];

    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Trysail => "trysail",
            Self::TrysailPlain => "trysail, not encrypted",
            Self::Restic => "restic",
            Self::Kopia => "kopia (not compressed)",
            Self::KopiaZstd => "kopia, zstd",
            Self::Tar => "tar \\| zstd -1 \\| age",
        }
    }
}

impl<'a> Bench<'a> {
    /// A fresh home and an empty repository for saving that directory.
    pub(crate) fn new(program: Program, installed: &'a Installed, home: PathBuf, source: &Path) -> Result<Self> {
        fs::create_dir_all(&home)?;
        let bench = Self { program, installed, home, source: source.to_owned() };
        match program {
            Program::Trysail => drop(run(bench.trysail().args(["repo", "init", "--recipient", &installed.recipient]))?),
            Program::TrysailPlain => drop(run(bench.trysail().args(["repo", "init"]))?),
            Program::Restic => drop(run(bench.restic().arg("init"))?),
            Program::Kopia | Program::KopiaZstd => {
                run(bench.kopia().args(["repository", "create", "filesystem", "--path"]).arg(bench.repository()))?;
                if program == Program::KopiaZstd {
                    run(bench.kopia().args(["policy", "set", "--global", "--compression=zstd"]))?;
                }
            }
            Program::Tar => fs::create_dir_all(bench.repository())?,
        }
        Ok(bench)
    }

    fn repository(&self) -> PathBuf {
        self.home.join("repository")
    }

    fn at_home(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for variable in ["XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env_remove(variable);
        }
        command.env("HOME", &self.home).env("TMPDIR", &self.home);
        command
    }

    fn trysail(&self) -> Command {
        let mut command = self.at_home(&self.installed.trysail);
        command.args(["-q", "-o", "json", "--repo"]).arg(format!("file://{}", self.repository().display()));
        command
    }

    fn restic(&self) -> Command {
        let mut command = self.at_home(&self.installed.restic);
        command.env("RESTIC_PASSWORD", PASSWORD).arg("--quiet").arg("--repo").arg(self.repository());
        command
    }

    fn kopia(&self) -> Command {
        let mut command = self.at_home(&self.installed.kopia);
        command.envs([("KOPIA_PASSWORD", PASSWORD), ("KOPIA_CHECK_FOR_UPDATES", "false")]).arg("--no-progress");
        command
    }

    fn pipe(&self, script: &str, directory: &Path) -> Command {
        let mut command = self.at_home(Path::new("bash"));
        let script = format!("set -euo pipefail; {script}");
        command.args(["-c", &script, "pipe"]).arg(directory).arg(self.repository().join("0.tar.zst.age"));
        command.arg(&self.installed.age).arg(&self.installed.recipient).arg(&self.installed.identity);
        command
    }

    /// Saves the directory once more.
    pub(crate) fn save(&self) -> Result<Cost> {
        let mut command = match self.program {
            Program::Trysail | Program::TrysailPlain => {
                let mut command = self.trysail();
                command.args(["volume", "backup"]).arg(&self.source);
                command
            }
            Program::Restic => {
                let mut command = self.restic();
                command.arg("backup").arg(&self.source);
                command
            }
            Program::Kopia | Program::KopiaZstd => {
                let mut command = self.kopia();
                command.args(["snapshot", "create"]).arg(&self.source);
                command
            }
            Program::Tar => {
                self.pipe(r#"tar --format=posix -C "$1" -cf - . | zstd -q -1 | "$3" -r "$4" -o "$2""#, &self.source)
            }
        };
        Ok(run(&mut command)?.0)
    }

    /// Restores the newest snapshot into a directory that does not exist.
    pub(crate) fn restore(&self, target: &Path) -> Result<Cost> {
        let mut command = match self.program {
            Program::Trysail | Program::TrysailPlain => {
                let mut command = self.trysail();
                if self.program == Program::Trysail {
                    command.arg("--identity").arg(&self.installed.identity);
                }
                command.args(["volume", "restore", "latest"]).arg(target);
                command
            }
            Program::Restic => {
                let mut command = self.restic();
                command.arg("restore").arg(format!("latest:{}", self.source.display())).arg("--target").arg(target);
                command
            }
            Program::Kopia | Program::KopiaZstd => {
                let listed = run(self.kopia().args(["snapshot", "list", "--json"]).arg(&self.source))?.1;
                let listed: serde_json::Value = serde_json::from_str(&listed)?;
                let newest = listed.as_array().and_then(|list| list.last()).context("kopia has a snapshot")?;
                let mut command = self.kopia();
                command
                    .args(["snapshot", "restore", newest["id"].as_str().context("a snapshot has an id")?])
                    .arg(target);
                command
            }
            Program::Tar => {
                let script = r#"mkdir "$1"; "$3" -d -i "$5" "$2" | zstd -q -d | tar -C "$1" -xpf -"#;
                self.pipe(script, target)
            }
        };
        Ok(run(&mut command)?.0)
    }

    /// Objects and bytes of the repository.
    pub(crate) fn stored(&self) -> Result<(usize, u64)> {
        measure(&self.repository())
    }
}
