//! Which entries the user does not want. Entering or skipping them is done in `walk`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Patterns of one volume: annotations are short, and every pattern costs time at every entry.
pub const PATTERNS_MAX: usize = 1024;

/// A set of `--exclude` patterns.
///
/// A pattern without `/` matches the last name of an entry at any depth; one with `/` matches the whole path from the volume's root,
/// a leading `/` changing nothing but that. A trailing `/` restricts a pattern to directories. `*` does not cross `/`, `**` does.
#[derive(Debug, Clone, Default)]
pub struct Exclude {
    any: GlobSet,
    directories: GlobSet,
}

/// A pattern that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExcludeError {
    /// Not a glob.
    #[error("exclude pattern {pattern:?}")]
    Pattern {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        source: globset::Error,
    },
    /// More than [`PATTERNS_MAX`].
    #[error("{0} exclude patterns, at most {PATTERNS_MAX}")]
    TooMany(usize),
}

impl Exclude {
    /// Compiles patterns.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, ExcludeError> {
        if patterns.len() > PATTERNS_MAX {
            return Err(ExcludeError::TooMany(patterns.len()));
        }
        let (mut any, mut directories) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in patterns.iter().map(AsRef::as_ref) {
            let failed = |source| ExcludeError::Pattern { pattern: pattern.to_owned(), source };
            let body = pattern.strip_suffix('/').unwrap_or(pattern);
            let glob = match body.strip_prefix('/') {
                Some(anchored) => anchored.to_owned(),
                None if body.contains('/') => body.to_owned(),
                None => format!("**/{body}"),
            };
            let glob =
                GlobBuilder::new(&glob).literal_separator(true).backslash_escape(true).build().map_err(failed)?;
            if body.len() < pattern.len() { &mut directories } else { &mut any }.add(glob);
        }
        let build = |set: GlobSetBuilder| {
            set.build().map_err(|source| ExcludeError::Pattern { pattern: "all together".to_owned(), source })
        };
        Ok(Self { any: build(any)?, directories: build(directories)? })
    }

    /// Whether there is nothing to match: the usual case, which costs nothing.
    pub fn is_empty(&self) -> bool {
        self.any.is_empty() && self.directories.is_empty()
    }

    /// Whether an entry that is no directory is excluded; `path` is below the root.
    pub fn entry(&self, path: &[u8]) -> bool {
        self.any.is_match(Path::new(OsStr::from_bytes(path)))
    }

    /// Whether a directory, and with it all below it, is excluded.
    pub fn directory(&self, path: &[u8]) -> bool {
        self.entry(path) || self.directories.is_match(Path::new(OsStr::from_bytes(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_anywhere_or_paths_from_the_root() {
        let exclude = Exclude::new(&["*.tmp", "/cache", "var/log/**", "target/"]).unwrap();
        let paths: [&[u8]; 9] = [
            b"a.tmp",
            b"x/y/b.tmp",
            b"cache",
            b"x/cache",
            b"var/log",
            b"var/log/a/b",
            b"x/target",
            b"\xff.tmp",
            b"a.tmpx",
        ];
        assert_eq!(paths.map(|path| exclude.entry(path)), [true, true, true, false, false, true, false, true, false]);
        assert_eq!(
            paths.map(|path| exclude.directory(path)),
            [true, true, true, false, false, true, true, true, false]
        );
    }

    #[test]
    fn a_pattern_that_is_no_glob_is_named() {
        let error = Exclude::new(&["ok", "[a"]).unwrap_err();
        assert_eq!(error.to_string(), r#"exclude pattern "[a""#);
    }
}
