//! File systems inside a volume, and full ones below a target. Needs the right to mount.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use tempfile::tempdir;
use trysail_repository::table::{Content, Flags, Inode, Kind, Metadata, Row};
use trysail_volume::target::{Target, TargetPolicy};
use trysail_volume::walk::{Mounts, Walk, WalkOptions};

/// A mount that goes away with the test.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

/// Mounts a file system of 64 KiB in memory; `None`, and a line, where that is not allowed.
fn small(at: &Path, test: &str) -> Option<Mounted> {
    if mount("tmpfs", at, "tmpfs", MountFlags::empty(), Some(c"size=64k")).is_err() {
        tree::skipped("needs the right to mount", test);
        return None;
    }
    Some(Mounted(at.to_owned()))
}

fn given(root: &Path, mounts: Mounts) -> Vec<String> {
    let walk = Walk::open(root, WalkOptions { mounts, ..WalkOptions::default() }).unwrap();
    walk.map(|visit| {
        visit.map_or_else(|problem| problem.to_string(), |visit| visit.row.path.escape_ascii().to_string())
    })
    .collect()
}

#[test]
fn privileged_mounted_directories_and_files_are_named_and_entered_only_when_asked() {
    let from = tempdir().unwrap();
    for directory in ["bound", "mounted", "own"] {
        fs::create_dir(from.path().join(directory)).unwrap();
    }
    fs::write(from.path().join("file"), b"").unwrap();
    fs::write(from.path().join("own/inside"), b"").unwrap();
    let title = "privileged_mounted_directories_and_files_are_named_and_entered_only_when_asked";
    let Some(_mounted) = small(&from.path().join("mounted"), title) else { return };
    fs::write(from.path().join("mounted/foreign"), b"").unwrap();
    // Mounts of the same file system count too: a credential mounted over a file of the volume is not the volume's.
    mount_bind(from.path().join("own"), from.path().join("bound")).unwrap();
    let _bound = Mounted(from.path().join("bound"));
    mount_bind(from.path().join("own/inside"), from.path().join("file")).unwrap();
    let _file = Mounted(from.path().join("file"));

    let notice = |path: &str| format!("{path}: another file system, not saved");
    let (bound, file, mounted) = (notice("bound"), notice("file"), notice("mounted"));
    let expected = ["", "bound", &bound, &file, "mounted", &mounted, "own", "own/inside"];
    assert_eq!(given(from.path(), Mounts::Refuse), expected);
    let all = ["", "bound", "bound/inside", "file", "mounted", "mounted/foreign", "own", "own/inside"];
    assert_eq!(given(from.path(), Mounts::Cross), all);
}

#[test]
fn privileged_a_full_target_is_fatal_and_names_the_file() {
    let at = tempdir().unwrap();
    let Some(_mounted) = small(at.path(), "privileged_a_full_target_is_fatal_and_names_the_file") else { return };
    let target = Target::open(at.path(), TargetPolicy::Empty).unwrap();
    let row = Row {
        path: b"large".to_vec(),
        kind: Kind::File(Content { size: 1 << 20, ..Content::default() }),
        metadata: Metadata::default(),
        inode: Inode::default(),
        flags: Flags::default(),
        member: Vec::new(),
    };
    let output = target.create_file(&row).unwrap();
    let error = output.write_at(0, &vec![1; 1 << 20]).unwrap_err();
    assert_eq!((error.to_string(), error.is_fatal()), ("large: content cannot be written".to_owned(), true));
    drop(output);
    assert_eq!(fs::read_dir(at.path()).unwrap().count(), 0);
}
