//! Whatever rows say, and whatever lies in the target, nothing outside it is written and nothing is refused silently.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod tree;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::{TempDir, tempdir};
use trysail_repository::table::{Content, Flags, Inode, Kind, Metadata, Row, Segment, Time};
use trysail_volume::target::{Same, Target, TargetError, TargetPolicy};
use trysail_volume::walk::{Walk, WalkOptions};

const CANARY: &[u8] = b"canary";

fn row(path: impl AsRef<[u8]>, kind: Kind) -> Row {
    let mtime = Time { seconds: 1_000_000_000, nanoseconds: 5 };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Row {
        path: path.as_ref().to_vec(),
        kind,
        metadata: Metadata { mode: 0o755, uid, gid, mtime, xattrs: Vec::new() },
        inode: Inode::default(),
        flags: Flags::default(),
        member: Vec::new(),
    }
}

fn file(path: impl AsRef<[u8]>, size: u64) -> Row {
    row(path, Kind::File(Content { size, ..Content::default() }))
}

fn link(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Row {
    row(path, Kind::Symlink { target: target.as_ref().to_vec() })
}

fn hardlink(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Row {
    row(path, Kind::Hardlink { target: target.as_ref().to_vec() })
}

/// Makes and finishes whatever the row says.
fn put(target: &Target, row: &Row) -> Result<(), TargetError> {
    match &row.kind {
        Kind::Directory => target.make_directory(row).and_then(|()| target.finish_directory(row)),
        Kind::File(content) => {
            let output = target.create_file(row)?;
            output.write_at(0, &vec![b'w'; usize::try_from(content.size).unwrap()])?;
            output.finish(row)
        }
        Kind::Symlink { .. } => target.make_symlink(row),
        Kind::Hardlink { .. } => target.make_hardlink(row),
        _ => target.make_special(row),
    }
}

/// A directory with a `target` in it and a file beside it that nothing may touch.
fn scene() -> TempDir {
    let scene = tempdir().unwrap();
    fs::create_dir(scene.path().join("target")).unwrap();
    fs::create_dir(scene.path().join("outside")).unwrap();
    fs::write(scene.path().join("outside/file"), CANARY).unwrap();
    scene
}

fn assert_untouched(scene: &Path) {
    assert_eq!(names(scene), ["outside", "target"]);
    assert_eq!(names(&scene.join("outside")), ["file"]);
    assert_eq!(fs::read(scene.join("outside/file")).unwrap(), CANARY);
    assert_eq!(fs::metadata(scene.join("outside/file")).unwrap().nlink(), 1);
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn hostile_paths_are_refused_for_every_kind_and_write_nothing() {
    let scene = scene();
    let outside = scene.path().join("outside").into_os_string().into_encoded_bytes();
    let long = vec![b'n'; 256];
    let deep = vec![b"a".as_slice(); 5000].join(&b'/');
    let paths: [&[u8]; 17] = [
        b"..",
        b".",
        b"../outside/file",
        b"../new",
        b"a/../../new",
        b"a/./b",
        b"/",
        b"//",
        b"/new",
        b"a//b",
        b"a/",
        b"/a",
        b"a\0b",
        b"a/..",
        &outside,
        &long,
        &deep,
    ];
    let kinds = [
        Kind::Directory,
        Kind::File(Content { size: 3, ..Content::default() }),
        Kind::Symlink { target: b"x".to_vec() },
        Kind::Hardlink { target: b"x".to_vec() },
        Kind::Fifo,
        Kind::Socket,
    ];
    for policy in [TargetPolicy::Empty, TargetPolicy::Overwrite, TargetPolicy::Delta] {
        let target = Target::open(&scene.path().join("target"), policy).unwrap();
        for path in paths {
            for kind in &kinds {
                let error = put(&target, &row(path, kind.clone())).unwrap_err();
                assert!(matches!(error, TargetError::BadPath { .. }) && !error.is_fatal(), "{error}");
            }
        }
        assert_eq!(names(&scene.path().join("target")), [""; 0]);
        assert_untouched(scene.path());
    }
}

#[test]
fn nothing_is_made_below_a_link_that_the_snapshot_itself_holds() {
    let scene = scene();
    let target = Target::open(&scene.path().join("target"), TargetPolicy::Overwrite).unwrap();
    put(&target, &link("door", "../outside")).unwrap();
    put(&target, &link("self", ".")).unwrap();
    for path in ["door/file", "door/new", "self/new", "door/a/b"] {
        for hostile in
            [file(path, 3), row(path, Kind::Directory), link(path, "x"), hardlink(path, "door"), row(path, Kind::Fifo)]
        {
            let error = put(&target, &hostile).unwrap_err();
            assert!(matches!(error, TargetError::Failed { .. }) && !error.is_fatal(), "{error}");
        }
    }
    assert_eq!(names(&scene.path().join("target")), ["door", "self"]);
    assert_untouched(scene.path());
}

#[test]
fn hard_links_reach_only_what_this_run_restored() {
    let scene = scene();
    fs::write(scene.path().join("target/before"), b"before").unwrap();
    let target = Target::open(&scene.path().join("target"), TargetPolicy::Overwrite).unwrap();
    put(&target, &link("escape", "../outside/file")).unwrap();
    put(&target, &row("directory", Kind::Directory)).unwrap();
    put(&target, &file("mine", 3)).unwrap();
    let bad: [&[u8]; 8] =
        [b"../outside/file", b"/etc/passwd", b"before", b"directory", b"absent", b"escape/x", b"", b"mine/x"];
    for first in bad {
        let error = put(&target, &hardlink("link", first)).unwrap_err();
        assert!(matches!(error, TargetError::LinkTarget { .. }), "{error}");
    }
    put(&target, &hardlink("second", "mine")).unwrap();
    put(&target, &hardlink("second", "mine")).unwrap();
    put(&target, &hardlink("mine", "mine")).unwrap();
    // The link itself gets a second name, not what it points at.
    put(&target, &hardlink("escape2", "escape")).unwrap();
    let at = |path: &str| fs::symlink_metadata(scene.path().join("target").join(path)).unwrap();
    assert_eq!((at("second").ino(), at("mine").nlink()), (at("mine").ino(), 2));
    assert_eq!((at("escape2").ino(), at("escape").nlink()), (at("escape").ino(), 2));
    assert_untouched(scene.path());
}

#[test]
fn links_planted_at_every_depth_are_refused_and_not_followed() {
    for policy in [TargetPolicy::Overwrite, TargetPolicy::Delta] {
        for depth in 0..4 {
            let scene = scene();
            let parts = ["a", "b", "c", "d"];
            let above = scene.path().join("target").join(parts[..depth].join("/"));
            fs::create_dir_all(&above).unwrap();
            symlink(scene.path().join("outside"), above.join(parts[depth])).unwrap();
            let target = Target::open(&scene.path().join("target"), policy).unwrap();
            let mut refused = Vec::new();
            for length in 1..=4 {
                let path = parts[..length].join("/");
                refused.extend(put(&target, &row(&path, Kind::Directory)).err());
                refused.extend(put(&target, &file(format!("{path}/file"), 3)).err());
            }
            let blocked = TargetError::Blocked { path: parts[..=depth].join("/").into_bytes(), by: "a symbolic link" };
            assert_eq!(refused[0].to_string(), blocked.to_string());
            assert_eq!(refused.len(), 2 * (4 - depth));
            assert_untouched(scene.path());
        }
    }
}

#[test]
fn swapping_directories_with_links_never_leads_a_restore_out() {
    const FILES: usize = 500;
    let scene = scene();
    let at = scene.path().join("target");
    fs::create_dir(at.join("a")).unwrap();
    symlink(scene.path().join("outside"), at.join("swap")).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                renameat_with(CWD, at.join("a"), CWD, at.join("swap"), RenameFlags::EXCHANGE).unwrap();
                // Both need the lock of the same directory: without this one of them can starve.
                std::thread::yield_now();
            }
        });
        for number in 0..FILES {
            // A new target each time has no directory open from before.
            let target = Target::open(&at, TargetPolicy::Overwrite).unwrap();
            let _ = put(&target, &row("a", Kind::Directory));
            let _ = put(&target, &file(format!("a/f{number}"), 3));
            let _ = put(&target, &file("a/file", 3));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_untouched(scene.path());
}

#[test]
fn a_target_that_is_to_be_empty_names_what_is_in_it() {
    let at = tempdir().unwrap();
    fs::create_dir(at.path().join("lost+found")).unwrap();
    drop(Target::open(at.path(), TargetPolicy::Empty).unwrap());
    drop(Target::open(&at.path().join("lost+found/new/deep"), TargetPolicy::Empty).unwrap());
    fs::write(at.path().join("\x1bx"), b"").unwrap();
    let error = Target::open(at.path(), TargetPolicy::Empty).unwrap_err();
    assert_eq!(
        (error.to_string(), error.is_fatal()),
        ("target directory is not empty: it holds \\x1bx".to_owned(), true)
    );
}

#[test]
fn an_entry_given_twice_is_refused_in_an_empty_target() {
    let at = tempdir().unwrap();
    let target = Target::open(at.path(), TargetPolicy::Empty).unwrap();
    put(&target, &file("f", 3)).unwrap();
    put(&target, &row("d", Kind::Directory)).unwrap();
    for again in [
        file("f", 1),
        row("f", Kind::Directory),
        link("f", "x"),
        row("d", Kind::Directory),
        file("d", 1),
        row("f", Kind::Fifo),
    ] {
        assert_eq!(put(&target, &again).unwrap_err().to_string().split(": ").nth(1), Some("entry cannot be made"));
    }
    assert_eq!(fs::read(at.path().join("f")).unwrap(), b"www");
}

#[test]
fn overwriting_replaces_files_and_links_but_never_a_directory() {
    let at = tempdir().unwrap();
    fs::create_dir(at.path().join("directory")).unwrap();
    fs::write(at.path().join("kept"), b"unknown to the snapshot").unwrap();
    fs::write(at.path().join("old"), b"old").unwrap();
    fs::hard_link(at.path().join("old"), at.path().join("old-other-name")).unwrap();
    symlink("old", at.path().join("link")).unwrap();
    let target = Target::open(at.path(), TargetPolicy::Overwrite).unwrap();
    put(&target, &file("old", 2)).unwrap();
    put(&target, &file("link", 1)).unwrap();
    let error = put(&target, &file("directory", 1)).unwrap_err();
    assert_eq!(error.to_string(), "directory: a directory is in the way");
    let read = |path: &str| fs::read_to_string(at.path().join(path)).unwrap();
    assert_eq!(["old", "old-other-name", "link", "kept"].map(read), ["ww", "old", "w", "unknown to the snapshot"]);
    put(&target, &row("old", Kind::Directory)).unwrap();
    assert!(at.path().join("old").is_dir());
}

#[test]
fn a_delta_touches_only_what_differs_and_replaces_files_when_they_are_complete() {
    let at = tempdir().unwrap();
    let target = Target::open(at.path(), TargetPolicy::Delta).unwrap();
    let mut wanted = file("f", 3);
    assert_eq!(target.same(&wanted).unwrap(), Same::Different);
    put(&target, &wanted).unwrap();
    assert_eq!(target.same(&wanted).unwrap(), Same::Unchanged);
    wanted.metadata.mode = 0o600;
    assert_eq!(target.same(&wanted).unwrap(), Same::MetadataOnly);
    target.adjust(&wanted).unwrap();
    assert_eq!(target.same(&wanted).unwrap(), Same::Unchanged);
    wanted.metadata.mtime.nanoseconds += 1;
    assert_eq!(target.same(&wanted).unwrap(), Same::Different);

    let output = target.create_file(&wanted).unwrap();
    output.write_at(0, b"new").unwrap();
    assert_eq!((fs::read(at.path().join("f")).unwrap(), names(at.path()).len()), (b"www".to_vec(), 2));
    output.finish(&wanted).unwrap();
    assert_eq!((fs::read(at.path().join("f")).unwrap(), names(at.path())), (b"new".to_vec(), vec!["f".to_owned()]));

    drop(target.create_file(&wanted).unwrap());
    assert_eq!((fs::read(at.path().join("f")).unwrap(), names(at.path())), (b"new".to_vec(), vec!["f".to_owned()]));
    assert_eq!(target.same(&link("f", "x")).unwrap(), Same::Different);
    assert_eq!(target.same(&file("f/below", 1)).unwrap(), Same::Different);
    put(&target, &hardlink("g", "f")).unwrap();
    assert_eq!(target.same(&hardlink("g", "f")).unwrap(), Same::Unchanged);
}

#[test]
fn a_second_delta_of_a_hostile_tree_finds_nothing_to_do() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    tree::build(from.path());
    tree::assert_clean(&tree::copy(from.path(), to.path(), TargetPolicy::Delta));
    let target = Target::open(to.path(), TargetPolicy::Delta).unwrap();
    let walk = Walk::open(from.path(), WalkOptions::default()).unwrap();
    let different: Vec<_> = walk
        .map(|visit| tree::complete(&visit.unwrap()).unwrap())
        .filter(|row| target.same(row).unwrap() != Same::Unchanged)
        .map(|row| row.path)
        .collect();
    assert_eq!(different, Vec::<Vec<u8>>::new());
    tree::assert_clean(&tree::copy(from.path(), to.path(), TargetPolicy::Delta));
    tree::assert_clean(&tree::copy(from.path(), to.path(), TargetPolicy::Overwrite));
    tree::assert_same(&tree::rows(to.path()), &tree::rows(from.path()));
}

#[test]
fn content_is_placed_by_the_stream_and_never_exceeds_it() {
    let at = tempdir().unwrap();
    let target = Target::open(at.path(), TargetPolicy::Empty).unwrap();
    let segments =
        vec![Segment { offset: 2, length: 3 }, Segment { offset: 8, length: 1 }, Segment { offset: 10, length: 2 }];
    let sparse = row("s", Kind::File(Content { size: 14, segments: Some(segments), ..Content::default() }));
    let output = target.create_file(&sparse).unwrap();
    assert_eq!(fs::metadata(at.path().join("s")).unwrap().permissions().mode() & 0o7777, 0o600);
    output.write_at(4, b"ef").unwrap();
    output.write_at(0, b"abcd").unwrap();
    output.write_at(6, b"").unwrap();
    for (offset, length) in [(6, 1), (0, 7), (u64::MAX, 2)] {
        let error = output.write_at(offset, &vec![b'x'; length]).unwrap_err();
        assert_eq!(error.to_string(), "s: content exceeds 6 bytes");
    }
    output.finish(&sparse).unwrap();
    assert_eq!(fs::read(at.path().join("s")).unwrap(), b"\0\0abc\0\0\0d\0ef\0\0");
}

#[test]
fn runs_of_zeros_take_no_space() {
    let at = tempdir().unwrap();
    let target = Target::open(at.path(), TargetPolicy::Empty).unwrap();
    let wanted = file("z", 1 << 20);
    let output = target.create_file(&wanted).unwrap();
    let mut content = vec![0; 1 << 20];
    content[500_000] = 1;
    output.write_at(0, &content[..70_001]).unwrap();
    output.write_at(70_001, &content[70_001..]).unwrap();
    output.finish(&wanted).unwrap();
    assert_eq!(fs::read(at.path().join("z")).unwrap(), content);
    assert!(fs::metadata(at.path().join("z")).unwrap().blocks() * 512 <= 4 * 65_536);
}

#[test]
fn sparse_maps_that_do_not_fit_are_refused_and_leave_no_file() {
    let at = tempdir().unwrap();
    let target = Target::open(at.path(), TargetPolicy::Empty).unwrap();
    let maps: [&[(u64, u64)]; 6] =
        [&[(0, 0)], &[(0, 11)], &[(5, 2), (4, 1)], &[(0, 2), (2, 2)], &[(u64::MAX, 2)], &[(1, u64::MAX), (0, 1)]];
    for map in maps {
        let segments = map.iter().map(|(offset, length)| Segment { offset: *offset, length: *length }).collect();
        let wanted = row("s", Kind::File(Content { size: 10, segments: Some(segments), ..Content::default() }));
        let error = target.create_file(&wanted).unwrap_err();
        assert_eq!(error.to_string(), "s: sparse map does not fit the size", "{map:?}");
    }
    let error = target.create_file(&file("huge", u64::MAX)).unwrap_err();
    assert!(!error.is_fatal(), "{error}");
    assert_eq!(names(at.path()), [""; 0]);
}

#[test]
fn what_cannot_be_set_is_listed_and_the_rest_is_restored() {
    let at = tempdir().unwrap();
    let target = Target::open(at.path(), TargetPolicy::Empty).unwrap();
    let mut wanted = file("f", 3);
    wanted.metadata.xattrs = vec![
        (b"bad-namespace.x".to_vec(), b"1".to_vec()),
        (b"system.posix_acl_access".to_vec(), b"garbage".to_vec()),
        (b"user.good".to_vec(), b"2".to_vec()),
        ([b"user.", &[b'n'; 256][..]].concat(), b"3".to_vec()),
    ];
    wanted.metadata.uid = u32::MAX;
    wanted.metadata.mode = 0o4755;
    put(&target, &wanted).unwrap();
    let listed = target.take_not_set();
    let messages: Vec<String> = listed.listed.iter().map(ToString::to_string).collect();
    let long = format!("f: extended attribute user.{} not set", "n".repeat(256));
    let expected = [
        "f: extended attribute bad-namespace.x not set",
        &long,
        "f: owner not set",
        "f: mode not set",
        "f: extended attribute system.posix_acl_access not set",
    ];
    assert_eq!((messages, listed.count), (expected.map(str::to_owned).to_vec(), 5));
    let found = fs::metadata(at.path().join("f")).unwrap();
    // The setuid bit would act for another owner.
    assert_eq!((found.permissions().mode() & 0o7777, found.mtime(), found.mtime_nsec()), (0o755, 1_000_000_000, 5));
    assert_eq!(target.take_not_set().count, 0);
}

#[test]
fn temporary_files_of_a_killed_run_are_swept_and_nothing_else_is() {
    let scene = scene();
    let at = |name: &str| scene.path().join("target").join(name);
    fs::create_dir(at("sub")).unwrap();
    for directory in ["", "sub/"] {
        let at = |name: &str| at(&format!("{directory}.trysail-restore-{name}"));
        fs::write(at("0"), b"half").unwrap();
        fs::write(at("17"), b"").unwrap();
        // A person's, by name or kind: a link, a file with a second name, a directory, a pipe, one that another run writes.
        fs::write(at("01"), b"mine").unwrap();
        fs::write(at("1.bak"), b"mine").unwrap();
        symlink("../outside/file", at("2")).unwrap();
        fs::write(at("3"), b"mine").unwrap();
        fs::hard_link(at("3"), at("3-too")).unwrap();
        fs::create_dir(at("4")).unwrap();
        rustix::fs::mknodat(CWD, at("5"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        fs::write(at("6"), b"being written").unwrap();
    }
    let written: Vec<fs::File> =
        ["", "sub/"].iter().map(|d| fs::File::open(at(&format!("{d}.trysail-restore-6"))).unwrap()).collect();
    for file in &written {
        rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    }
    let kept = ["01", "1.bak", "2", "3", "3-too", "4", "5", "6"].map(|name| format!(".trysail-restore-{name}"));
    for policy in [TargetPolicy::Delta, TargetPolicy::Overwrite] {
        let target = Target::open(&scene.path().join("target"), policy).unwrap();
        fs::write(at("sub/.trysail-restore-0"), b"half").unwrap();
        put(&target, &row("", Kind::Directory)).unwrap();
        put(&target, &row("sub", Kind::Directory)).unwrap();
        assert_eq!(names(&at("sub")), kept);
        assert_eq!(names(&at(""))[..8], kept);
        assert_untouched(scene.path());
    }
}

#[test]
fn a_run_does_not_sweep_what_another_one_is_writing() {
    let scene = scene();
    fs::write(scene.path().join("target/file"), b"old").unwrap();
    let open = || Target::open(&scene.path().join("target"), TargetPolicy::Delta).unwrap();
    let (first, second) = (open(), open());
    let output = first.create_file(&file("file", 3)).unwrap();
    put(&second, &row("", Kind::Directory)).unwrap();
    assert_eq!(names(&scene.path().join("target")), [".trysail-restore-0", "file"]);
    output.write_at(0, b"new").unwrap();
    output.finish(&file("file", 3)).unwrap();
    assert_eq!(fs::read(scene.path().join("target/file")).unwrap(), b"new");
}
