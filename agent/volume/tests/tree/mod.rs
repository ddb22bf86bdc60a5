//! Hostile trees, and the round trip through walk and target that the tests of this directory share. Assertions live in the tests.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags, lsetxattr, makedev, mkdirat,
    mknodat, openat, utimensat,
};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use trysail_repository::table::{Inode, Kind, Row};
use trysail_volume::read::segments;
use trysail_volume::target::{NotSetList, Target, TargetError, TargetPolicy};
use trysail_volume::walk::{Problem, Visit, Walk, WalkOptions};

/// Whether a test that needs root can run; where it cannot, a line says that it was skipped.
pub(crate) fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped("needs root", test);
    }
    root
}

/// Says what is not tested here.
#[allow(clippy::explicit_write, reason = "the test harness captures what the print macros write")]
pub(crate) fn skipped(why: &str, what: &str) {
    writeln!(std::io::stderr(), "SKIPPED, {why}: {what}").unwrap();
}

pub(crate) fn name(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

pub(crate) fn set_mtime(path: &Path, seconds: i64, nanoseconds: u32) {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Sets an attribute; a file system that has no room or no such attributes is named, and the case left out.
pub(crate) fn set_xattr(path: &Path, key: &str, value: &[u8]) {
    match lsetxattr(path, key, value, XattrFlags::empty()) {
        Ok(()) => {}
        Err(error @ (Errno::NOSPC | Errno::OPNOTSUPP | Errno::TOOBIG)) => {
            skipped("not on this file system", &format!("{key} of {} bytes: {error}", value.len()));
        }
        Err(error) => panic!("{key}: {error}"),
    }
}

/// The kernel's form of an ACL: (tag, permissions, id).
pub(crate) fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut raw = vec![2, 0, 0, 0];
    for (tag, bits, id) in entries {
        raw.extend(tag.to_le_bytes());
        raw.extend(bits.to_le_bytes());
        raw.extend(id.to_le_bytes());
    }
    raw
}

/// What needs no rights: names, shapes, types, sizes, times, modes, user attributes, ACLs.
pub(crate) fn build(root: &Path) {
    names(&root.join("names"));
    types(&root.join("types"));
    links(&root.join("links"));
    sparse(&root.join("sparse"));
    metadata(&root.join("metadata"));
    fs::create_dir(root.join("empty")).unwrap();
}

fn names(at: &Path) {
    fs::create_dir(at).unwrap();
    let long = [b'n'; 255];
    let cases: [&[u8]; 20] = [
        b"\xff\xfe",
        b"new\nline",
        b"\x1b[31mred",
        b"-rf",
        b"--",
        b"...",
        b"trailing ",
        b" ",
        &long,
        b"e\xcc\x81",
        b"\xc3\xa9",
        b"case",
        b"CASE",
        b"back\\slash",
        b"\"quotes'",
        b"100%s",
        b"a",
        b"a.",
        b"a-",
        b"tab\t",
    ];
    for case in cases {
        fs::write(at.join(name(case)), case).unwrap();
    }
    // Path order is not the order of the joined bytes: `b-` sorts before `b/`, the children of `b` before `b-`.
    fs::create_dir(at.join("b")).unwrap();
    fs::write(at.join("b/x"), b"").unwrap();
    fs::write(at.join("b-"), b"").unwrap();
    fs::create_dir(at.join(name(&[b'd'; 255]))).unwrap();
}

fn types(at: &Path) {
    fs::create_dir(at).unwrap();
    mknodat(CWD, at.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    mknodat(CWD, at.join("socket"), FileType::Socket, Mode::from_raw_mode(0o755), 0).unwrap();
    symlink("/etc/passwd", at.join("absolute")).unwrap();
    symlink("nowhere", at.join("dangling")).unwrap();
    symlink("loop", at.join("loop")).unwrap();
    symlink("../../../../../..", at.join("upwards")).unwrap();
    symlink(name(&[b't'; 4095]), at.join("long")).unwrap();
    symlink("/proc/self/root", at.join("door")).unwrap();
    for hop in 0..40 {
        symlink(format!("hop{:02}", hop + 1), at.join(format!("hop{hop:02}"))).unwrap();
    }
    set_mtime(&at.join("dangling"), 7, 9);
    set_mtime(&at.join("fifo"), -7, 9);
}

fn links(at: &Path) {
    fs::create_dir_all(at.join("other")).unwrap();
    fs::write(at.join("z"), b"linked").unwrap();
    fs::hard_link(at.join("z"), at.join("other/a")).unwrap();
    fs::hard_link(at.join("z"), at.join("m")).unwrap();
    symlink("z", at.join("s")).unwrap();
    fs::hard_link(at.join("s"), at.join("other/s")).unwrap();
    mknodat(CWD, at.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    fs::hard_link(at.join("pipe"), at.join("pipe2")).unwrap();
}

fn sparse(at: &Path) {
    const PAGE: u64 = 4096;
    fs::create_dir(at).unwrap();
    let file = |title: &str, size: u64| {
        let file = File::create(at.join(title)).unwrap();
        file.set_len(size).unwrap();
        file
    };
    file("all-hole", 1 << 20);
    file("odd-hole", 12_345);
    file("tebibyte", 1 << 40).write_all_at(&[1; 4096], 1 << 39).unwrap();
    let ends = file("holes-at-both-ends", 100 * PAGE);
    ends.write_all_at(&[2; 4096], 50 * PAGE).unwrap();
    let start = file("hole-at-start", 100 * PAGE);
    start.write_all_at(&[3; 4096], 99 * PAGE).unwrap();
    let many = file("many", 20_000 * PAGE);
    for extent in 0..10_000 {
        many.write_all_at(&[4; 4096], 2 * extent * PAGE).unwrap();
    }
    for size in [0, 1, 511, 512, 513, 65_535, 65_536, 300_000_usize] {
        fs::write(at.join(format!("full{size}")), vec![b'f'; size]).unwrap();
    }
}

fn metadata(at: &Path) {
    fs::create_dir(at).unwrap();
    let times = [
        (0, 1),
        (1, 999_999_999),
        (-1, 500_000_000),
        (-2_000_000_000, 1),
        (-1, 0),
        (5_000_000_000, 7),
        (2_147_483_648, 0),
    ];
    for (index, (seconds, nanoseconds)) in times.into_iter().enumerate() {
        let path = at.join(format!("time{index}"));
        fs::write(&path, b"t").unwrap();
        set_mtime(&path, seconds, nanoseconds);
    }
    for mode in [0o4755, 0o2755, 0o1777, 0o6711, 0o7777, 0o400, 0o644] {
        let path = at.join(format!("mode{mode:o}"));
        fs::write(&path, b"m").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let path = at.join(format!("directory{mode:o}"));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"i").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode | 0o100)).unwrap();
        set_mtime(&path, 1_000_000_000 + i64::from(mode), 123_456_789);
    }
    let path = at.join("xattrs");
    fs::write(&path, b"x").unwrap();
    set_xattr(&path, "user.empty", b"");
    set_xattr(&path, "user.binary", &(0..=255).collect::<Vec<u8>>());
    set_xattr(&path, "user.a=b%c", b"\n=\n");
    set_xattr(&path, "user.2000", &[b'v'; 2000]);
    let acls = at.join("acls");
    fs::create_dir(&acls).unwrap();
    fs::write(acls.join("file"), b"a").unwrap();
    let none = u32::MAX;
    let access =
        acl(&[(1, 7, none), (2, 5, 1000), (4, 4, none), (8, 6, 2_000_000_000), (0x10, 7, none), (0x20, 0, none)]);
    set_xattr(&acls.join("file"), "system.posix_acl_access", &access);
    set_xattr(&acls, "system.posix_acl_access", &access);
    set_xattr(&acls, "system.posix_acl_default", &access);
}

/// What only root can make.
pub(crate) fn build_privileged(root: &Path) {
    let at = root.join("privileged");
    fs::create_dir(&at).unwrap();
    for (title, kind, device) in [
        ("null", FileType::CharacterDevice, makedev(1, 3)),
        ("large", FileType::CharacterDevice, makedev(4095, 1_048_575)),
        ("disk", FileType::BlockDevice, makedev(259, 70_000)),
    ] {
        mknodat(CWD, at.join(title), kind, Mode::from_raw_mode(0o660), device).unwrap();
    }
    let last = u32::MAX - 1;
    for (title, uid, gid) in [("owner", last, last), ("edge", 2_097_151, 2_097_152)] {
        fs::write(at.join(title), b"o").unwrap();
        std::os::unix::fs::chown(at.join(title), Some(uid), Some(gid)).unwrap();
        fs::set_permissions(at.join(title), fs::Permissions::from_mode(0o6755)).unwrap();
    }
    symlink("owned", at.join("link")).unwrap();
    std::os::unix::fs::lchown(at.join("link"), Some(5), Some(6)).unwrap();
    set_xattr(&at.join("link"), "trusted.link", b"on a link");
    fs::write(at.join("capable"), b"c").unwrap();
    std::os::unix::fs::chown(at.join("capable"), Some(7), Some(7)).unwrap();
    // Version 2, effective, cap_net_raw permitted. Source: Linux `struct vfs_cap_data`.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set_xattr(&at.join("capable"), "security.capability", &capability);
    set_xattr(&at.join("capable"), "trusted.secret", b"s");
    set_xattr(&at.join("capable"), "security.trysail", b"own");
    fs::write(at.join("mode0"), b"none").unwrap();
    fs::set_permissions(at.join("mode0"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::create_dir(at.join("directory0")).unwrap();
    fs::write(at.join("directory0/inside"), b"inside").unwrap();
    fs::set_permissions(at.join("directory0"), fs::Permissions::from_mode(0o000)).unwrap();
}

/// A chain of `levels` directories called `part` with one file at its end, made without any path longer than one name.
pub(crate) fn chain(root: &Path, part: &[u8], levels: usize) {
    let mut at: OwnedFd = File::open(root).unwrap().into();
    for _ in 0..levels {
        mkdirat(&at, part, Mode::RWXU).unwrap();
        at = openat(&at, part, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    }
    let file = openat(&at, "end", OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC, Mode::RWXU).unwrap();
    File::from(file).write_all_at(b"deep", 0).unwrap();
}

/// Everything of a visit that is restored: attributes, segments, and the hash of what is read.
pub(crate) fn complete(visit: &Visit) -> Result<Row, Problem> {
    let mut row = visit.row.clone();
    if !matches!(row.kind, Kind::Hardlink { .. }) {
        row.metadata.xattrs = visit.xattrs()?;
    }
    if let Kind::File(content) = &mut row.kind {
        let file = visit.open()?;
        content.segments = segments(&file, content.size, visit.blocks).unwrap();
        let mut hash = Sha256::new();
        pieces(&file, &row, |_, bytes| hash.update(bytes));
        if let Kind::File(content) = &mut row.kind {
            content.sha256 = hash.finalize().into();
        }
    }
    Ok(row)
}

/// Reads the content stream of a file and gives each piece with its offset in the stream.
pub(crate) fn pieces(file: &File, row: &Row, mut each: impl FnMut(u64, &[u8])) {
    let Kind::File(content) = &row.kind else { return };
    let whole = [trysail_repository::table::Segment { offset: 0, length: content.size }];
    let mut buffer = vec![0; 100_000];
    let mut stream = 0;
    for segment in content.segments.as_deref().unwrap_or(&whole) {
        let mut done = 0;
        while done < segment.length {
            let wanted = usize::try_from(segment.length - done).unwrap().min(buffer.len());
            file.read_exact_at(&mut buffer[..wanted], segment.offset + done).unwrap();
            each(stream, &buffer[..wanted]);
            stream += wanted as u64;
            done += wanted as u64;
        }
    }
}

/// All rows of a tree as they are restored, without inodes. Any problem fails the test.
pub(crate) fn rows(root: &Path) -> Vec<Row> {
    let walk = Walk::open(root, WalkOptions::default()).unwrap();
    walk.map(|visit| Row { inode: Inode::default(), ..complete(&visit.unwrap()).unwrap() }).collect()
}

/// What a copy came to.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) not_set: NotSetList,
    pub(crate) errors: Vec<TargetError>,
    pub(crate) problems: Vec<Problem>,
}

/// Walks `from` and restores what is given to `to`.
pub(crate) fn copy(from: &Path, to: &Path, policy: TargetPolicy) -> Copied {
    let target = Target::open(to, policy).unwrap();
    let (mut directories, mut errors, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for visit in Walk::open(from, WalkOptions::default()).unwrap() {
        let done = visit.and_then(|visit| {
            let row = complete(&visit)?;
            if row.kind == Kind::Directory {
                directories.push(row.clone());
            }
            Ok(restore(&target, &row, || visit.open()))
        });
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => errors.push(error),
            Err(problem) => problems.push(problem),
        }
    }
    for row in directories.iter().rev() {
        errors.extend(target.finish_directory(row).err());
    }
    target.sync().unwrap();
    Copied { not_set: target.take_not_set(), errors, problems }
}

/// Restores one row.
pub(crate) fn restore(target: &Target, row: &Row, open: impl Fn() -> Result<File, Problem>) -> Result<(), TargetError> {
    match &row.kind {
        Kind::Directory => target.make_directory(row),
        Kind::File(_) => {
            let output = target.create_file(row)?;
            let mut written = Ok(());
            pieces(&open().unwrap(), row, |offset, bytes| {
                if written.is_ok() {
                    written = output.write_at(offset, bytes);
                }
            });
            written?;
            output.finish(row)
        }
        Kind::Symlink { .. } => target.make_symlink(row),
        Kind::Hardlink { .. } => target.make_hardlink(row),
        _ => target.make_special(row),
    }
}

/// Asserts that nothing was refused, missing or left out.
pub(crate) fn assert_clean(copied: &Copied) {
    assert_eq!(
        format!("{copied:?}"),
        format!("{:?}", Copied { not_set: NotSetList::default(), errors: vec![], problems: vec![] })
    );
}

/// Asserts that two lists of rows are equal and names the first that is not.
pub(crate) fn assert_same(found: &[Row], expected: &[Row]) {
    let differ = found.iter().zip(expected).find(|(found, expected)| found != expected);
    assert_eq!(differ, None);
    assert_eq!(found.len(), expected.len());
}
