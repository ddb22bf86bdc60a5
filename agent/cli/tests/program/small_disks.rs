//! Disks that are full or read-only, which only root can make.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::machine::{Machine, is_root, noise};

/// A tmpfs of a test; unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, options: &str) -> Self {
        fs::create_dir_all(at).expect("a directory");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).status();
        assert!(mounted.expect("mount starts").success(), "a tmpfs is mounted");
        Self(at.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What cannot be unmounted goes with the machine; a panic here would hide the test's own failure.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn privileged_a_target_that_is_read_only_or_full_is_told_and_a_delta_goes_on() {
    if !is_root("privileged_a_target_that_is_read_only_or_full_is_told_and_a_delta_goes_on") {
        return;
    }
    let machine = Machine::new();
    machine.write("src/a", noise(3 << 20, 1));
    machine.back_up(&["src"]);
    let next = "when that is repaired, the same command with --delta goes on";
    let disk = Disk::mount(&machine.path("read-only"), "ro");
    let refused = machine.refused(&["volume", "restore", "latest", "read-only"]);
    assert_eq!(refused, format!("read-only: a: entry cannot be made: Read-only file system (os error 30); {next}"));
    drop(disk);
    let disk = Disk::mount(&machine.path("full"), "size=1m");
    let refused = machine.refused(&["volume", "restore", "latest", "full"]);
    assert_eq!(refused, format!("full: a: content cannot be written: No space left on device (os error 28); {next}"));
    assert_eq!(fs::read_dir(machine.path("full")).expect("a listing").count(), 0);
    let larger = Command::new("mount").args(["-o", "remount,size=8m"]).arg(&disk.0).status();
    assert!(larger.expect("mount starts").success());
    machine.succeed(&["volume", "restore", "latest", "full", "--delta"]);
    assert_eq!(machine.tree("full"), machine.tree("src"));
}

#[test]
fn privileged_a_store_that_is_full_is_told_and_what_is_there_still_restores() {
    if !is_root("privileged_a_store_that_is_full_is_told_and_what_is_there_still_restores") {
        return;
    }
    let machine = Machine::new();
    machine.write("src/a", noise(1 << 20, 1));
    let disk = Disk::mount(&machine.path("disk"), "size=8m");
    let url = machine.url("disk/repo");
    let first = machine.back_up(&["src", "--repo", &url]);
    machine.write("src/b", noise(16 << 20, 2));
    let refused = machine.refused(&["-q", "volume", "backup", "src", "--repo", &url]);
    assert!(refused.contains("store is full") && refused.contains("No space left on device"), "{refused}");
    fs::remove_file(machine.path("src/b")).expect("a removal");
    machine.succeed(&["volume", "restore", &first, "out", "--repo", &url]);
    assert_eq!(fs::read(machine.path("out/a")).expect("a file"), noise(1 << 20, 1));
    drop(disk);
}
