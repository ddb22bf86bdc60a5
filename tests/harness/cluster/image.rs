//! Container images without a registry: one layer, in the archive form that `docker save` writes and containerd imports.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// The image of the first process of every pod.
pub const PAUSE: &str = "localhost/pause:1";

/// A shell and the usual programs, from Debian's `busybox-static`.
pub const BUSYBOX: &str = "localhost/busybox:1";

/// What lies at a path of an image.
#[derive(Debug)]
pub enum Entry {
    /// A directory with a mode.
    Directory(u32),
    /// A program or text, with a mode.
    File(Vec<u8>, u32),
    /// A symbolic link and its target.
    Link(String),
}

/// An image of these entries (paths without the first `/`), as an archive.
pub fn archive(reference: &str, entrypoint: &[&str], entries: &[(String, Entry)]) -> Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    for (path, entry) in entries {
        append(&mut layer, path, entry).with_context(|| format!("{reference}: {path}"))?;
    }
    let layer = layer.into_inner()?;
    let digest = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "Entrypoint": entrypoint, "Env": ["PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))] },
    })
    .to_string()
    .into_bytes();
    let config_name = format!("{}.json", digest(&config));
    let manifest = json!([{ "Config": config_name, "RepoTags": [reference], "Layers": ["layer.tar"] }]);
    let mut image = Builder::new(Vec::new());
    append(&mut image, &config_name, &Entry::File(config, 0o644))?;
    append(&mut image, "layer.tar", &Entry::File(layer, 0o644))?;
    append(&mut image, "manifest.json", &Entry::File(manifest.to_string().into_bytes(), 0o644))?;
    Ok(image.into_inner()?)
}

fn append(archive: &mut Builder<Vec<u8>>, path: &str, entry: &Entry) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    let (kind, mode, body): (_, _, &[u8]) = match entry {
        Entry::Directory(mode) => (EntryType::Directory, *mode, &[]),
        Entry::File(body, mode) => (EntryType::Regular, *mode, body),
        Entry::Link(_) => (EntryType::Symlink, 0o777, &[]),
    };
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(body.len() as u64);
    match entry {
        Entry::Link(target) => archive.append_link(&mut header, path, target)?,
        _ => archive.append_data(&mut header, path, body)?,
    }
    Ok(())
}

/// An image of one static program, which it runs.
pub fn of_program(reference: &str, program: &Path) -> Result<Vec<u8>> {
    let name = program.file_name().and_then(|name| name.to_str()).context("a program has a name")?;
    let body = fs::read(program).with_context(|| format!("read {}", program.display()))?;
    let entries = [("tmp".to_owned(), Entry::Directory(0o1777)), (name.to_owned(), Entry::File(body, 0o755))];
    archive(reference, &[&format!("/{name}")], &entries)
}

/// The image `BUSYBOX`.
pub fn of_busybox(program: &Path) -> Result<Vec<u8>> {
    let listed = Command::new(program).arg("--list").output().context("start busybox")?;
    ensure!(listed.status.success(), "busybox --list: {}", listed.status);
    let user = |line: &str| Entry::File(line.as_bytes().to_vec(), 0o644);
    let mut entries = vec![
        ("bin".to_owned(), Entry::Directory(0o755)),
        ("etc".to_owned(), Entry::Directory(0o755)),
        ("tmp".to_owned(), Entry::Directory(0o1777)),
        ("bin/busybox".to_owned(), Entry::File(fs::read(program).context("read busybox")?, 0o755)),
        ("etc/passwd".to_owned(), user("root:x:0:0:root:/:/bin/sh\n")),
        ("etc/group".to_owned(), user("root:x:0:\n")),
    ];
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    let applets = names.lines().filter(|name| !name.is_empty() && *name != "busybox");
    entries.extend(applets.map(|name| (format!("bin/{name}"), Entry::Link("busybox".to_owned()))));
    archive(BUSYBOX, &["/bin/sh"], &entries)
}
