//! A machine of one user: a scratch directory with homes of its own, in which the program runs. No promises are tested here.
#![allow(clippy::panic, reason = "a test that cannot go on fails here")]

use std::{
    fs,
    io::Write as _,
    os::unix::{fs::FileExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// Machines share a scratch directory where one takes over from another.
pub(crate) struct Machine {
    scratch: TempDir,
    state: &'static str,
}

/// What a run of the program came to; `$` stands for the scratch directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self { scratch: tempfile::tempdir().expect("a temporary directory"), state: "state" }
    }

    /// The same files and stores, but nothing is remembered: another machine, or this one after a loss.
    pub(crate) fn forgetting(self) -> Self {
        Self { state: "other-state", ..self }
    }

    /// The machine again that remembers.
    pub(crate) fn remembering(self) -> Self {
        Self { state: "state", ..self }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }

    /// The default repository.
    pub(crate) fn repository(&self) -> PathBuf {
        self.path("data/trysail/repo")
    }

    /// Writes a file below the scratch directory, with all directories above it.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it is below the scratch directory")).expect("a directory");
        fs::write(&path, text).expect("a file");
        path
    }

    /// A directory `src` with files small and large, a directory, links and holes.
    pub(crate) fn write_source(&self) -> PathBuf {
        self.write("src/a", "alpha");
        self.write("src/sub/b", "beta\n");
        self.write("src/big", noise(600_000, 1));
        let sparse = fs::File::create(self.path("src/sparse")).expect("a file");
        sparse.set_len(1_000_000).expect("a length");
        sparse.write_all_at(b"island", 500_000).expect("a write");
        fs::hard_link(self.path("src/a"), self.path("src/z")).expect("a link");
        std::os::unix::fs::symlink("sub/b", self.path("src/s")).expect("a link");
        self.path("src")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trysail"));
        command
            .env_clear()
            .env("HOME", self.path("home"))
            .env("XDG_DATA_HOME", self.path("data"))
            .env("XDG_STATE_HOME", self.path(self.state))
            .current_dir(self.scratch.path())
            .args(arguments);
        command
    }

    pub(crate) fn ran(&self, output: Output) -> Ran {
        let scratch = self.scratch.path().to_str().expect("a path in UTF-8").to_owned();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace(&scratch, "$");
        Ran {
            code: output.status.code().or_else(|| output.status.signal().map(|signal| -signal)),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.ran(self.command(arguments).output().expect("the program starts"))
    }

    /// Runs what must succeed and gives what it printed.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
        ran.stdout
    }

    /// Runs what must succeed and gives its JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let text = self.succeed(&[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&text).expect("JSON")
    }

    /// Backs up and gives the name of the snapshot.
    pub(crate) fn back_up(&self, arguments: &[&str]) -> String {
        text(&self.json(&[&["volume", "backup"], arguments].concat())["snapshot"])
    }

    /// Runs what must be refused with exit code 1 and gives the only thing it says.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{arguments:?}: {}", ran.stderr);
        let line = ran.stderr.strip_prefix("error: ").and_then(|line| line.strip_suffix('\n'));
        line.unwrap_or_else(|| panic!("not one error: {}", ran.stderr)).to_owned()
    }

    /// All below a directory, as text: kind, mode, modification time, and content or target.
    pub(crate) fn tree(&self, name: &str) -> Vec<String> {
        let mut lines = Vec::new();
        list(&self.path(name), Path::new("."), &mut lines);
        lines
    }

    /// Objects below a prefix of the default repository: keys, sorted.
    pub(crate) fn objects(&self, prefix: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.repository().join(prefix), &mut found);
        found.sort();
        found
    }
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { collect(&path, found) } else { found.push(path) }
    }
}

fn list(at: &Path, name: &Path, lines: &mut Vec<String>) {
    use std::os::unix::fs::MetadataExt as _;
    let meta = at.symlink_metadata().expect("an entry");
    let (mode, seconds, rest) = (meta.mode(), meta.mtime(), meta.mtime_nsec());
    let what = if meta.is_symlink() {
        format!("-> {}", fs::read_link(at).expect("a target").display())
    } else if meta.is_file() {
        let content = fs::read(at).expect("a content");
        let sum = content.iter().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        format!("{} bytes, sum {sum:x}, {} links", content.len(), meta.nlink())
    } else {
        String::new()
    };
    lines.push(format!("{} {mode:o} {seconds}.{rest:09} {what}", name.display()));
    if meta.is_dir() {
        let mut entries: Vec<_> =
            fs::read_dir(at).expect("a listing").map(|e| e.expect("a name").file_name()).collect();
        entries.sort();
        for entry in entries {
            list(&at.join(&entry), &name.join(&entry), lines);
        }
    }
}

/// Bytes that do not compress, the same for the same seed.
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

/// The text of a JSON string.
pub(crate) fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

/// The names and types in a JSON value, a line each.
pub(crate) fn shape(value: &serde_json::Value) -> String {
    let mut lines = Vec::new();
    describe(value, "", &mut lines);
    lines.join("\n")
}

fn describe(value: &serde_json::Value, at: &str, lines: &mut Vec<String>) {
    use serde_json::Value;
    let kind = match value {
        Value::Object(fields) => {
            return fields.iter().for_each(|(name, value)| describe(value, &format!("{at}.{name}"), lines));
        }
        Value::Array(values) if !values.is_empty() => return describe(&values[0], &format!("{at}[]"), lines),
        Value::Array(_) => "nothing in a list",
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
    };
    lines.push(format!("{at} {kind}"));
}

/// Whether a test that needs root can run; where it cannot, a line says that it was skipped.
pub(crate) fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped("needs root", test);
    }
    root
}

/// Says what is not tested here.
pub(crate) fn skipped(why: &str, test: &str) {
    writeln!(std::io::stderr().lock(), "SKIPPED, {why}: {test}").expect("standard error");
}
