//! Container images without a registry and without Docker: one layer, as an archive of OCI that containerd and skopeo read.
//!
//! An image is a function of its entries: the same bytes in, the same digest out.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// The image of the first process of every pod.
pub const PAUSE: &str = "localhost/pause:1";

/// A shell and the usual programs, from Debian's `busybox-static`.
pub const BUSYBOX: &str = "localhost/busybox:1";

/// Ours, as tests name it.
pub const TRYSAIL: &str = "localhost/trysail:test";

/// Media types. Source: OCI image specification 1.1, "Media Types".
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

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

/// An image as an archive, and its name among all images.
#[derive(Debug)]
pub struct Image {
    /// An OCI layout in a tar, with the file of `docker load` besides.
    pub archive: Vec<u8>,
    /// `sha256:` and the hash of the manifest, by which a registry knows it.
    pub digest: String,
}

/// How containers of an image start.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// The program and its first arguments.
    pub entrypoint: &'a [&'a str],
    /// Who it runs as where nobody says: `uid:gid`, or empty for root.
    pub user: &'a str,
}

/// An image of these entries (paths without the first `/`).
pub fn image(reference: &str, start: Start<'_>, entries: &[(String, Entry)]) -> Result<Image> {
    let mut layer = Builder::new(Vec::new());
    for (path, entry) in entries {
        append(&mut layer, path, entry).with_context(|| format!("{reference}: {path}"))?;
    }
    let layer = layer.into_inner()?;
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": start.user,
            "Entrypoint": start.entrypoint,
            "Env": ["PATH=/usr/bin:/bin:/usr/sbin:/sbin:/", "HOME=/"],
        },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, &config),
        "layers": [descriptor(LAYER, &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut listed = descriptor(MANIFEST, &manifest);
    listed["annotations"] =
        json!({ "io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference });
    let index = json!({ "schemaVersion": 2, "manifests": [listed] });
    let docker = json!([{ "Config": blob(&config), "RepoTags": [reference], "Layers": [blob(&layer)] }]);
    let mut archive = Builder::new(Vec::new());
    append(&mut archive, "oci-layout", &text(&json!({ "imageLayoutVersion": "1.0.0" })))?;
    append(&mut archive, "index.json", &text(&index))?;
    append(&mut archive, "manifest.json", &text(&docker))?;
    let digest = digest(&manifest);
    for body in [manifest, config, layer] {
        append(&mut archive, &blob(&body), &Entry::File(body, 0o644))?;
    }
    Ok(Image { archive: archive.into_inner()?, digest })
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn blob(bytes: &[u8]) -> String {
    format!("blobs/{}", digest(bytes).replace(':', "/"))
}

fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() })
}

fn text(value: &Value) -> Entry {
    Entry::File(value.to_string().into_bytes(), 0o644)
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
pub fn of_program(reference: &str, program: &Path) -> Result<Image> {
    let name = program.file_name().and_then(|name| name.to_str()).context("a program has a name")?;
    let body = fs::read(program).with_context(|| format!("read {}", program.display()))?;
    let entries = [("tmp".to_owned(), Entry::Directory(0o1777)), (name.to_owned(), Entry::File(body, 0o755))];
    image(reference, Start { entrypoint: &[&format!("/{name}")], user: "" }, &entries)
}

/// Our image: the static program, and the names under which Velero's charts and manifests start it.
pub fn of_trysail(reference: &str, program: &Path) -> Result<Image> {
    let body = fs::read(program).with_context(|| format!("read {}", program.display()))?;
    ensure!(is_static(&body), "{} needs libraries of the machine; the image has none", program.display());
    let link = |name: &str| (name.to_owned(), Entry::Link("trysail".to_owned()));
    let entries = [
        ("tmp".to_owned(), Entry::Directory(0o1777)),
        ("trysail".to_owned(), Entry::File(body, 0o755)),
        link("velero"),
        link("velero-restore-helper"),
    ];
    image(reference, Start { entrypoint: &["/trysail"], user: "65532:65532" }, &entries)
}

/// Whether an ELF program names no interpreter, which would load libraries for it.
fn is_static(program: &[u8]) -> bool {
    // Source: System V ABI, "Program Header": offset, entry size and count in the 64-bit header; type 3 is PT_INTERP.
    let number = |at: usize, length: usize| {
        let bytes = program.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let kinds = || {
        let (offset, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        (0..count).map(|index| number(usize::try_from(offset + index * size).ok()?, 4)).collect::<Option<Vec<_>>>()
    };
    kinds().is_some_and(|kinds| !kinds.is_empty() && !kinds.contains(&3))
}

/// The image `BUSYBOX`.
pub fn of_busybox(program: &Path) -> Result<Image> {
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
    image(BUSYBOX, Start { entrypoint: &["/bin/sh"], user: "" }, &entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_a_function_of_its_entries() {
        let make = |text: &str| {
            let entries = [("a".to_owned(), Entry::File(text.as_bytes().to_vec(), 0o755))];
            image("localhost/x:1", Start { entrypoint: &["/a"], user: "" }, &entries).unwrap()
        };
        assert_eq!(make("one").archive, make("one").archive);
        assert_ne!(make("one").digest, make("two").digest);
    }

    #[test]
    fn only_a_program_without_an_interpreter_is_static() {
        assert!(!is_static(&fs::read(std::env::current_exe().unwrap()).unwrap()));
        assert!(!is_static(b"#!/bin/sh\n"));
    }
}
