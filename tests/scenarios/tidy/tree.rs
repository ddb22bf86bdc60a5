//! The files of the working tree as texts. No rules are here.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Directories that hold no text of ours: git's, cargo's, Python's, and repositories written by released versions.
const SKIPPED: [&str; 4] = [".git", "target", "__pycache__", "golden"];

/// Files whose text is prescribed or made by others.
const FOREIGN: [&str; 6] = [".git", "Cargo.lock", "LICENSE", "flake.lock", "go.mod", "go.sum"];

/// A text file of ours.
#[derive(Debug)]
pub(crate) struct Text {
    /// Its path below the root, with `/`.
    pub(crate) path: String,
    pub(crate) body: String,
}

impl Text {
    pub(crate) fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|e| e == extension)
    }

    /// Its lines, counted from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.body.lines())
    }
}

/// The root of the working tree.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in a directory of the root")
}

/// All texts of ours, by path. Files that are not UTF-8 are no texts.
pub(crate) fn texts() -> &'static [Text] {
    static TEXTS: OnceLock<Vec<Text>> = OnceLock::new();
    TEXTS.get_or_init(|| {
        let mut texts = Vec::new();
        let mut directories = vec![root().to_owned()];
        while let Some(directory) = directories.pop() {
            collect(&directory, &mut directories, &mut texts);
        }
        texts.sort_by(|a, b| a.path.cmp(&b.path));
        texts
    })
}

/// The text at a path; empty where there is none.
pub(crate) fn text(path: &str) -> &'static str {
    texts().iter().find(|t| t.path == path).map_or("", |t| &t.body)
}

fn collect(directory: &Path, directories: &mut Vec<PathBuf>, texts: &mut Vec<Text>) {
    for entry in fs::read_dir(directory).expect("the tree can be listed") {
        let entry = entry.expect("the tree can be listed");
        let (name, kind) = (entry.file_name(), entry.file_type().expect("an entry has a type"));
        let is_in = |list: &[&str]| list.iter().any(|skipped| name == *skipped);
        if kind.is_dir() && !is_in(&SKIPPED) {
            directories.push(entry.path());
        } else if kind.is_file() && !is_in(&FOREIGN) {
            let path = entry.path();
            let below = path.strip_prefix(root()).expect("the walk stays below the root");
            if let (Some(below), Ok(body)) = (below.to_str(), fs::read_to_string(&path)) {
                texts.push(Text { path: below.to_owned(), body });
            }
        }
    }
}
