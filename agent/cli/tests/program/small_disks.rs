//! Disks that are full or read-only, and files that may not be changed, which only root can make.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::{
    fs::{IFlags, ioctl_getflags, ioctl_setflags},
    io::Errno,
};

use crate::machine::{Machine, is_root, noise, skipped};

/// A tmpfs of a test; unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, options: &str) -> Self {
        fs::create_dir_all(at).expect("a directory");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).status();
        assert!(mounted.expect("mount starts").success(), "a tmpfs is mounted");
        Self(at.to_owned())
    }

    fn remount(&self, options: &str) {
        let mounted = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(mounted.expect("mount starts").success(), "the tmpfs is mounted with {options}");
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
    disk.remount("size=8m");
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
    let next = "make room on its disk and run the same command again: what is there stays whole";
    let (begins, ends) = ("the store is full: v1/p/", format!(".pk: No space left on device (os error 28); {next}"));
    assert!(refused.contains(begins) && refused.ends_with(&ends), "{refused}");
    machine.succeed(&["repo", "check", "--read-data", "1/1", "--repo", &url]);
    fs::remove_file(machine.path("src/b")).expect("a removal");
    machine.succeed(&["volume", "restore", &first, "out", "--repo", &url]);
    assert_eq!(fs::read(machine.path("out/a")).expect("a file"), noise(1 << 20, 1));
    drop(disk);
}

#[test]
fn privileged_a_store_that_is_read_only_is_told_and_still_restores() {
    if !is_root("privileged_a_store_that_is_read_only_is_told_and_still_restores") {
        return;
    }
    let machine = Machine::new();
    machine.write_source();
    let disk = Disk::mount(&machine.path("disk"), "size=8m");
    let url = machine.url("disk/repo");
    let first = machine.back_up(&["src", "--repo", &url]);
    disk.remount("ro");
    let next = "mount its disk for writing and run the same command again: what is there stays whole";
    for arguments in [&["volume", "backup", "src"][..], &["repo", "forget", &first]] {
        let refused = machine.refused(&[arguments, &["--repo", &url]].concat());
        let ends = format!(": Read-only file system (os error 30); {next}");
        assert!(refused.starts_with("access denied: v1/") && refused.ends_with(&ends), "{refused}");
    }
    machine.succeed(&["repo", "check", "--read-data", "1/1", "--repo", &url]);
    machine.succeed(&["volume", "restore", &first, "out", "--repo", &url]);
    assert_eq!(machine.tree("out"), machine.tree("src"));
    disk.remount("rw");
    machine.back_up(&["src", "--repo", &url]);
}

/// Files that may not be changed, until dropped; `None` where the file system knows no such files.
struct Immutable(Vec<fs::File>);

impl Immutable {
    fn new(paths: &[PathBuf], test: &str) -> Option<Self> {
        let mut made = Self(Vec::new());
        for path in paths {
            let file = fs::File::open(path).expect("it is there");
            let set = ioctl_getflags(&file).and_then(|flags| ioctl_setflags(&file, flags | IFlags::IMMUTABLE));
            if let Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM) = set {
                skipped("needs a file system with immutable files", test);
                return None;
            }
            set.expect("a flag that can be set");
            made.0.push(file);
        }
        Some(made)
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        for file in &self.0 {
            // A panic here would hide the test's own failure.
            let _ = ioctl_getflags(file).and_then(|flags| ioctl_setflags(file, flags - IFlags::IMMUTABLE));
        }
    }
}

#[test]
fn privileged_a_file_or_directory_that_may_not_be_changed_is_named_and_the_rest_is_restored() {
    let title = "privileged_a_file_or_directory_that_may_not_be_changed_is_named_and_the_rest_is_restored";
    if !is_root(title) {
        return;
    }
    let machine = Machine::new();
    for file in ["a", "b", "fixed/new"] {
        machine.write(&format!("src/{file}"), file);
    }
    machine.back_up(&["src"]);
    for (policy, of_a) in [("--delta", "file cannot be put in place"), ("--overwrite", "old entry cannot be removed")] {
        let out = format!("out{policy}");
        machine.write(&format!("{out}/a"), "mine, and longer");
        fs::create_dir(machine.path(&format!("{out}/fixed"))).expect("a directory");
        let fixed = ["a", "fixed"].map(|name| machine.path(&format!("{out}/{name}")));
        let Some(_immutable) = Immutable::new(&fixed, title) else { return };
        let ran = machine.run(&["-q", "volume", "restore", "latest", &out, policy]);
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        for (path, what) in [("a", of_a), ("fixed/new", "entry cannot be made")] {
            let begins = format!("not restored: {path}: ");
            let found = ran.stderr.lines().any(|line| line.starts_with(&begins) && line.contains(what));
            assert!(found, "{path}: {what} is not in {}", ran.stderr);
        }
        assert_eq!(fs::read(machine.path(&format!("{out}/a"))).expect("a file"), b"mine, and longer");
        assert_eq!(fs::read(machine.path(&format!("{out}/b"))).expect("a file"), b"b");
        let names = fs::read_dir(machine.path(&out)).expect("a listing").count();
        assert_eq!(names, 3, "nothing unfinished is left");
    }
}
