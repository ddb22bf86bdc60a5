//! Whether a restored tree is the one that was saved.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Metadata},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::Result;

/// Bytes that are compared at once.
const BUFFER: usize = 1 << 18;

/// What differs, as text; nothing where the trees are equal: content, kind, mode, owner, mtime, links, symbolic links.
pub(crate) fn differences(saved: &Path, restored: &Path) -> Result<Option<String>> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut links = BTreeMap::new();
    directory(saved, restored, &mut counts, &mut links)?;
    for restored in links.values() {
        if restored.len() > 1 {
            *counts.entry("hard link").or_default() += 1;
        }
    }
    let text: Vec<_> = counts.iter().map(|(what, count)| format!("{count} × {what}")).collect();
    Ok((!text.is_empty()).then(|| text.join(", ")))
}

type Links = BTreeMap<(u64, u64), BTreeSet<(u64, u64)>>;

fn directory(saved: &Path, restored: &Path, counts: &mut BTreeMap<&'static str, u64>, links: &mut Links) -> Result<()> {
    let names = |path: &Path| -> Result<BTreeSet<PathBuf>> {
        fs::read_dir(path)?.map(|entry| Ok(PathBuf::from(entry?.file_name()))).collect()
    };
    let (here, there) = (names(saved)?, names(restored)?);
    let absent = here.symmetric_difference(&there).count() as u64;
    if absent > 0 {
        *counts.entry("entry").or_default() += absent;
    }
    for name in here.intersection(&there) {
        let (saved, restored) = (saved.join(name), restored.join(name));
        let (before, after) = (fs::symlink_metadata(&saved)?, fs::symlink_metadata(&restored)?);
        let mut differs = |what, is: bool| {
            if is {
                *counts.entry(what).or_default() += 1;
            }
        };
        differs("mode", before.mode() != after.mode());
        differs("owner", (before.uid(), before.gid()) != (after.uid(), after.gid()));
        let mtime = |m: &Metadata| (m.mtime(), m.mtime_nsec());
        if before.is_dir() {
            differs("mtime of a directory", mtime(&before) != mtime(&after));
            if after.is_dir() {
                directory(&saved, &restored, counts, links)?;
            }
        } else if before.is_symlink() {
            differs("symbolic link", fs::read_link(&saved)? != fs::read_link(&restored)?);
            differs("mtime of a symbolic link", mtime(&before) != mtime(&after));
        } else if before.is_file() {
            differs("mtime", mtime(&before) != mtime(&after));
            differs("content", !same_content(&saved, &restored)?);
            if before.nlink() > 1 {
                links.entry((before.dev(), before.ino())).or_default().insert((after.dev(), after.ino()));
            }
        }
    }
    Ok(())
}

fn same_content(one: &Path, other: &Path) -> Result<bool> {
    if fs::metadata(one)?.len() != fs::metadata(other)?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (fs::File::open(one)?, fs::File::open(other)?);
    let (mut a, mut b) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        let read = one.read(&mut a)?;
        if read == 0 {
            return Ok(true);
        }
        other.read_exact(&mut b[..read])?;
        if a[..read] != b[..read] {
            return Ok(false);
        }
    }
}
