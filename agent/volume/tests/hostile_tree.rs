//! Whatever a volume holds is walked, read and restored as it was.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, RenameFlags, renameat_with, unlinkat};
use tempfile::tempdir;
use trysail_repository::table::Kind;
use trysail_volume::target::TargetPolicy;
use trysail_volume::walk::{Exclude, Problem, Walk, WalkOptions};

#[test]
fn a_hostile_tree_comes_back_as_it_was() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    tree::build(from.path());
    tree::assert_clean(&tree::copy(from.path(), to.path(), TargetPolicy::Empty));
    tree::assert_same(&tree::rows(to.path()), &tree::rows(from.path()));
}

#[test]
fn privileged_owners_devices_capabilities_and_closed_entries_come_back_as_they_were() {
    if !tree::is_root("privileged_owners_devices_capabilities_and_closed_entries_come_back_as_they_were") {
        return;
    }
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    tree::build(from.path());
    tree::build_privileged(from.path());
    tree::assert_clean(&tree::copy(from.path(), to.path(), TargetPolicy::Empty));
    tree::assert_same(&tree::rows(to.path()), &tree::rows(from.path()));
}

#[test]
fn attributes_of_sixty_kilobytes_come_back_as_they_were() {
    let memory = std::path::Path::new("/dev/shm");
    let make = || if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempdir().unwrap() };
    let (from, to) = (make(), make());
    for length in [4000_usize, 16_000, 60_000, 65_536] {
        let path = from.path().join(format!("x{length}"));
        fs::write(&path, b"").unwrap();
        tree::set_xattr(&path, "user.large", &vec![b'l'; length]);
    }
    tree::assert_clean(&tree::copy(from.path(), to.path(), TargetPolicy::Empty));
    tree::assert_same(&tree::rows(to.path()), &tree::rows(from.path()));
}

#[test]
fn paths_beyond_the_kernels_limit_come_back_as_they_were() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    tree::chain(from.path(), &[b'p'; 200], 60);
    tree::chain(from.path(), b"q", 2000);
    tree::assert_clean(&tree::copy(from.path(), to.path(), TargetPolicy::Empty));
    let rows = tree::rows(to.path());
    tree::assert_same(&rows, &tree::rows(from.path()));
    assert_eq!(rows.len(), 1 + 60 + 1 + 2000 + 1);
    assert_eq!(rows.iter().map(|row| row.path.len()).max(), Some(60 * 201 + 3));
}

#[test]
fn rows_come_in_path_order_with_each_directory_before_its_entries() {
    let from = tempdir().unwrap();
    tree::build(from.path());
    let paths: Vec<Vec<u8>> = tree::rows(from.path()).into_iter().map(|row| row.path).collect();
    let parts = |path: &Vec<u8>| path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let mut sorted = paths.clone();
    sorted.sort_by_key(parts);
    assert_eq!(paths, sorted);
    assert_eq!(paths[0], b"");
}

#[test]
fn a_directory_below_the_depth_bound_is_named_and_not_entered() {
    let from = tempdir().unwrap();
    tree::chain(from.path(), b"d", 4100);
    let (mut rows, mut problems) = (0, Vec::new());
    for visit in Walk::open(from.path(), WalkOptions::default()).unwrap() {
        match visit {
            Ok(_) => rows += 1,
            Err(problem) => problems.push(problem.to_string().len()),
        }
    }
    let message = ": deeper than 4096 levels, not saved".len();
    assert_eq!((rows, problems), (1 + 4096, vec![2 * 4096 - 1 + message]));
    // Too deep for the clean-up of the standard library.
    shorten(from.path());
}

/// Removes a chain of directories `d` from its top, so that no step is deep.
fn shorten(root: &std::path::Path) {
    while root.join("d/d").exists() {
        fs::rename(root.join("d/d"), root.join("rest")).unwrap();
        fs::remove_dir(root.join("d")).unwrap();
        fs::rename(root.join("rest"), root.join("d")).unwrap();
    }
}

#[test]
fn excluded_entries_are_absent_and_excluded_directories_are_not_entered() {
    let from = tempdir().unwrap();
    for path in ["keep/cache/x", "cache/x", "a.tmp/x", "b/c.tmp/x", "b/logs/old/x", "b/logs/new/x"] {
        fs::create_dir_all(from.path().join(path)).unwrap();
    }
    let exclude = Exclude::new(&["/cache", "*.tmp", "b/logs/old/"]).unwrap();
    let walk = Walk::open(from.path(), WalkOptions { exclude, ..WalkOptions::default() }).unwrap();
    let paths: Vec<String> = walk.map(|visit| String::from_utf8(visit.unwrap().row.path).unwrap()).collect();
    assert_eq!(paths, ["", "b", "b/logs", "b/logs/new", "b/logs/new/x", "keep", "keep/cache", "keep/cache/x"]);
}

#[test]
fn an_entry_deleted_after_the_listing_is_a_notice() {
    let from = tempdir().unwrap();
    for file in ["a", "b", "c"] {
        fs::write(from.path().join(file), b"").unwrap();
    }
    let mut walk = Walk::open(from.path(), WalkOptions::default()).unwrap();
    assert_eq!(walk.next().unwrap().unwrap().row.path, b"");
    assert_eq!(walk.next().unwrap().unwrap().row.path, b"a");
    fs::remove_file(from.path().join("b")).unwrap();
    let problem = walk.next().unwrap().unwrap_err();
    assert!(matches!(&problem, Problem::Vanished { path } if path == b"b") && problem.is_notice(), "{problem}");
    assert_eq!(walk.next().unwrap().unwrap().row.path, b"c");
    assert!(walk.next().is_none());
}

#[test]
fn a_file_replaced_after_its_row_is_refused_whatever_took_its_place() {
    let from = tempdir().unwrap();
    let path = from.path().join("f");
    let visit_then = |replace: &dyn Fn()| {
        let _ = fs::remove_file(&path);
        fs::write(&path, b"original").unwrap();
        let visit = Walk::open(from.path(), WalkOptions::default()).unwrap().nth(1).unwrap().unwrap();
        // A name of its own keeps the inode's number from being used again.
        fs::rename(&path, from.path().join("kept")).unwrap();
        replace();
        visit.open().map(|_| ()).unwrap_err().to_string()
    };
    let replaced = "f was replaced during the walk";
    assert_eq!(visit_then(&|| fs::write(&path, b"other").unwrap()), replaced);
    assert_eq!(visit_then(&|| symlink("kept", &path).unwrap()), replaced);
    assert_eq!(visit_then(&|| rustix::fs::mkfifoat(CWD, &path, rustix::fs::Mode::RWXU).unwrap()), replaced);
    assert_eq!(visit_then(&|| ()), "f vanished during the walk");
}

#[test]
fn an_unreadable_directory_has_a_row_and_is_named() {
    let title = "an_unreadable_directory_has_a_row_and_is_named";
    if rustix::process::geteuid().is_root() {
        return tree::skipped("root reads everything", title);
    }
    let from = tempdir().unwrap();
    fs::create_dir(from.path().join("closed")).unwrap();
    fs::write(from.path().join("next"), b"").unwrap();
    fs::set_permissions(from.path().join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let walk = Walk::open(from.path(), WalkOptions::default()).unwrap();
    let given: Vec<String> = walk
        .map(|visit| {
            visit.map_or_else(|problem| problem.to_string(), |visit| visit.row.path.escape_ascii().to_string())
        })
        .collect();
    assert_eq!(given, ["", "closed", "closed: directory cannot be listed", "next"]);
}

#[test]
fn a_mount_point_has_an_empty_row_and_a_notice() {
    // Any other file system will do, and every Linux mounts one here.
    let walk = Walk::open(std::path::Path::new("/dev"), WalkOptions::default()).unwrap();
    let mut rows = BTreeMap::new();
    let mut notices = Vec::new();
    for visit in walk {
        match visit {
            Ok(visit) => drop(rows.insert(visit.row.path, visit.row.kind)),
            Err(Problem::OtherFileSystem { path }) => notices.push(path),
            // What else is in there is not the test's.
            Err(_) => {}
        }
    }
    assert!(notices.contains(&b"pts".to_vec()), "{notices:?}");
    assert_eq!(rows.get(&b"pts"[..]), Some(&Kind::Directory));
    assert_eq!(rows.keys().filter(|path| path.starts_with(b"pts/")).count(), 0);
}

#[test]
fn a_directory_that_becomes_a_link_after_its_row_is_not_entered() {
    let (from, outside) = (tempdir().unwrap(), tempdir().unwrap());
    fs::create_dir(from.path().join("a")).unwrap();
    fs::write(outside.path().join("canary"), b"canary").unwrap();
    for other_directory in [false, true] {
        let mut walk = Walk::open(from.path(), WalkOptions::default()).unwrap();
        assert_eq!(walk.nth(1).unwrap().unwrap().row.path, b"a");
        fs::rename(from.path().join("a"), outside.path().join("kept")).unwrap();
        if other_directory {
            fs::create_dir(from.path().join("a")).unwrap();
        } else {
            symlink(outside.path(), from.path().join("a")).unwrap();
        }
        let given: Vec<String> = walk.map(|visit| visit.unwrap_err().to_string()).collect();
        assert_eq!(given, ["a was replaced during the walk"]);
        let swapped = from.path().join("a");
        if other_directory { fs::remove_dir(swapped) } else { fs::remove_file(swapped) }.unwrap();
        fs::rename(outside.path().join("kept"), from.path().join("a")).unwrap();
    }
}

#[test]
fn a_deep_walk_comes_back_only_to_the_directories_it_came_from() {
    const LEVELS: usize = 100;
    let (from, outside) = (tempdir().unwrap(), tempdir().unwrap());
    tree::chain(from.path(), b"d", LEVELS);
    let top = from.path().join("d/d");
    // After its chain is walked, this directory holds a name that is still to come.
    fs::write(top.join("later"), b"").unwrap();
    fs::write(from.path().join("last"), b"").unwrap();
    let mut walk = Walk::open(from.path(), WalkOptions::default()).unwrap();
    assert_eq!(walk.nth(LEVELS + 1).unwrap().unwrap().row.path, [b"d/".repeat(LEVELS), b"end".to_vec()].concat());
    fs::rename(&top, outside.path().join("moved")).unwrap();
    symlink(outside.path().join("moved"), &top).unwrap();
    let given: Vec<String> =
        walk.map(|visit| visit.map_or_else(|problem| problem.to_string(), |_| "row".to_owned())).collect();
    let lost = |levels: usize| format!("{} was replaced during the walk", ["d"].repeat(levels).join("/"));
    let mut expected: Vec<String> = (2..=LEVELS - OPEN).rev().map(lost).collect();
    expected.push("row".to_owned());
    assert_eq!(given, expected);
}

/// Directories that a walk holds open: deeper ones it comes back to by their path.
const OPEN: usize = 64;

#[test]
fn swapping_directories_with_links_never_leads_the_walk_out() {
    const WALKS: usize = 10_000;
    let (from, outside) = (tempdir().unwrap(), tempdir().unwrap());
    fs::create_dir(from.path().join("a")).unwrap();
    fs::create_dir(outside.path().join("b")).unwrap();
    fs::create_dir(from.path().join("a/b")).unwrap();
    for index in 0..2 {
        fs::write(from.path().join(format!("a/b/f{index}")), b"inside").unwrap();
        fs::write(outside.path().join(format!("b/f{index}")), b"canary").unwrap();
    }
    symlink(outside.path(), from.path().join("swap")).unwrap();
    let done = AtomicBool::new(false);
    let mut contents = BTreeMap::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let (a, swap) = (from.path().join("a"), from.path().join("swap"));
                renameat_with(CWD, a, CWD, swap, RenameFlags::EXCHANGE).unwrap();
            }
        });
        for _ in 0..WALKS {
            for visit in Walk::open(from.path(), WalkOptions::default()).unwrap().flatten() {
                if let (Kind::File(_), Ok(file)) = (&visit.row.kind, visit.open()) {
                    let text = std::io::read_to_string(file).unwrap();
                    *contents.entry(text).or_insert(0) += 1;
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(contents.keys().collect::<Vec<_>>(), ["inside"]);
    let _ = unlinkat(CWD, from.path().join("swap"), AtFlags::empty());
}
