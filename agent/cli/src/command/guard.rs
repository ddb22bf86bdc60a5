//! `trysail secrets check`: which files are looked at, and what is said of them.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use trysail_sops::{Rules, guard::Guard};

use super::secrets::{FILE_MAX, Place};
use crate::{
    Outcome,
    args::{Format, Shared},
    output::{self, PathText},
};

/// What is checked.
pub(super) enum What {
    /// Files, and directories with all below them.
    Paths(Vec<PathBuf>),
    /// What git would commit now.
    Staged,
}

#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    path: PathText,
    line: usize,
    what: String,
}

/// A file and its content.
type Read<'r> = &'r dyn Fn(&Path) -> Result<Vec<u8>>;

/// Checks files, and names what must not be committed.
pub(super) fn check(shared: &Shared, what: &What, config: Option<&Path>) -> Result<Outcome> {
    let mut desk = Desk { config, rules: HashMap::new(), told: Vec::new(), files: 0 };
    match what {
        What::Paths(paths) => {
            for path in paths {
                desk.walk(path)?;
            }
        }
        What::Staged => {
            let root = git(&["rev-parse", "--show-toplevel"])?;
            let root = PathBuf::from(OsStr::from_bytes(root.strip_suffix(b"\n").unwrap_or(&root)));
            let names = git(&["diff", "--cached", "--name-only", "-z", "--no-renames", "--diff-filter=ACMT"])?;
            for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
                let staged = |_: &Path| git(&[b"show".as_slice(), &[b":", name].concat()].map(OsStr::from_bytes));
                desk.look(&root.join(OsStr::from_bytes(name)), &staged)?;
            }
        }
    }
    match shared.format() {
        Format::Json | Format::Yaml => output::value(shared.format(), &desk.told)?,
        Format::Table => {
            for told in &desk.told {
                output::line(&format!("{}:{}: {}", told.path.shown(), told.line, told.what))?;
            }
        }
    }
    if !shared.quiet {
        output::note(&format!("checked {} files: {} findings", desk.files, desk.told.len()));
    }
    Ok(if desk.told.is_empty() { Outcome::Done } else { Outcome::Damaged })
}

fn git(arguments: &[impl AsRef<OsStr>]) -> Result<Vec<u8>> {
    let output = Command::new("git").args(arguments).output().context("git does not start")?;
    ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(output.stdout)
}

/// What was read and found so far.
struct Desk<'c> {
    config: Option<&'c Path>,
    /// Rules by their file.
    rules: HashMap<PathBuf, Rules>,
    told: Vec<Told>,
    files: usize,
}

impl Desk<'_> {
    /// A file, or all files below a directory in the order of their names, without git's own. Symbolic links in it lead elsewhere, and
    /// are not followed.
    fn walk(&mut self, path: &Path) -> Result<()> {
        let context = || path.display().to_string();
        let kind = fs::metadata(path).with_context(context)?.file_type();
        if kind.is_dir() {
            let mut names = Vec::new();
            for entry in fs::read_dir(path).with_context(context)? {
                let entry = entry.with_context(context)?;
                if !entry.file_type().with_context(context)?.is_symlink() && entry.file_name() != ".git" {
                    names.push(entry.file_name());
                }
            }
            names.sort();
            for name in names {
                let path = if path == Path::new(".") { PathBuf::from(name) } else { path.join(name) };
                self.walk(&path)?;
            }
        } else if kind.is_file() {
            self.look(path, &|path| fs::read(path).with_context(|| path.display().to_string()))?;
        }
        Ok(())
    }

    fn look(&mut self, path: &Path, read: Read<'_>) -> Result<()> {
        if fs::metadata(path).is_ok_and(|metadata| metadata.len() > FILE_MAX) {
            output::note(&format!("not checked, it is larger than {}: {}", output::size(FILE_MAX), path.display()));
            return Ok(());
        }
        let bytes = read(path)?;
        self.files += 1;
        let none = Rules::default();
        let (rules, below) = match Place::of(path, self.config)? {
            Some(place) => {
                if !self.rules.contains_key(&place.config) {
                    self.rules.insert(place.config.clone(), place.rules()?);
                }
                (self.rules.get(&place.config).unwrap_or(&none), place.path)
            }
            None => (&none, path.to_string_lossy().into_owned()),
        };
        for finding in Guard::new(rules).check(&below, &bytes) {
            let path = PathText::new(path.as_os_str().as_bytes());
            self.told.push(Told { path, line: finding.line, what: finding.what });
        }
        Ok(())
    }
}
