//! What this machine remembers of repositories: the root key of each place, and their keys. Files of mode 0600 below one directory.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use trysail_repository::{frame::sha256, keys::Keys, signature::PublicKey};

/// The state directory.
#[derive(Debug, Clone)]
pub(crate) struct State(PathBuf);

impl State {
    /// State below that directory, which need not exist.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    fn pin_path(&self, url: &str) -> PathBuf {
        self.0.join("pins").join(hex::encode(&sha256(url.as_bytes())[..16]))
    }

    fn keys_path(&self, root: PublicKey) -> PathBuf {
        self.0.join("keys").join(format!("{}.json", hex::encode(root.0)))
    }

    /// The root key that was trusted at that place before.
    pub(crate) fn pin(&self, url: &str) -> Result<Option<PublicKey>> {
        let path = self.pin_path(url);
        let Some(text) = read(&path)? else { return Ok(None) };
        let key = String::from_utf8(text).ok().and_then(|text| text.lines().next().and_then(|l| l.parse().ok()));
        key.map(Some).with_context(|| format!("{} does not hold a root key; remove it to trust anew", path.display()))
    }

    /// Remembers the root key of a place.
    pub(crate) fn set_pin(&self, url: &str, root: PublicKey) -> Result<()> {
        write(&self.pin_path(url), format!("{root}\n{url}\n").as_bytes())
    }

    /// The keys of the repository with that root key.
    pub(crate) fn keys(&self, root: PublicKey) -> Result<Option<Keys>> {
        let path = self.keys_path(root);
        let Some(text) = read(&path)? else { return Ok(None) };
        Keys::from_json(&text).map(Some).with_context(|| path.display().to_string())
    }

    /// Remembers the keys of a repository.
    pub(crate) fn set_keys(&self, keys: &Keys) -> Result<()> {
        write(&self.keys_path(keys.root().public()), &keys.to_json())
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Replaces a file at once, so that a crash leaves the old one or the new one.
fn write(path: &Path, text: &[u8]) -> Result<()> {
    let directory = path.parent().unwrap_or(path);
    let context = || path.display().to_string();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).with_context(context)?;
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .with_context(context)?;
    file.write_all(text).and_then(|()| file.sync_all()).with_context(context)?;
    fs::rename(&temporary, path).with_context(context)
}
