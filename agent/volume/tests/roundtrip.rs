//! What is saved comes back as it was, and what did not change costs nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot prepare its files fails here")]

mod lab;
mod tree;

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, PermissionsExt as _, symlink},
};

use jiff::Timestamp;
use lab::{Done, Lab, RECIPIENT, STRANGER, Sealing, assert_nothing_lost, noise, options, summary, whole};
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    thread::{CapabilitySet, capabilities, set_capabilities},
};
use tempfile::TempDir;
use tree::{assert_same, chain, name, rows, set_mtime, set_xattr};
use trysail_repository::{
    Error,
    layout::SnapshotId,
    pack::{FrameKind, read_toc},
    seal::Identity,
    store::{Key, ObjectStore, memory::Memory},
    table::{Kind, Row},
    testing::{Op, Recorded},
};
use trysail_volume::{
    backup::BackupOptions,
    member,
    restore::{RestoreError, RestoreOptions},
    target::TargetPolicy,
};

/// One of each: sizes around all limits, holes, links, special files, attributes, deep and foreign names.
fn varied() -> TempDir {
    let tree = TempDir::new().unwrap();
    let at = |path: &str| tree.path().join(path);
    fs::create_dir_all(at("sizes")).unwrap();
    for size in [0, 1, 511, 512, 513, 4096, 255 << 10, 256 << 10, 3 << 20] {
        fs::write(at(&format!("sizes/{size}")), noise(size as u64, size)).unwrap();
    }
    let sparse = File::create(at("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(&noise(1, 300_000), 1 << 20).unwrap();
    sparse.write_all_at(b"end", (64 << 20) - 3).unwrap();
    File::create(at("hole")).unwrap().set_len(12_345).unwrap();
    fs::create_dir_all(at("links/other")).unwrap();
    fs::write(at("links/z"), b"linked").unwrap();
    fs::hard_link(at("links/z"), at("links/other/a")).unwrap();
    fs::hard_link(at("links/z"), at("zlink")).unwrap();
    symlink("../nowhere", at("links/dangling")).unwrap();
    symlink("/etc/passwd", at("links/absolute")).unwrap();
    mknodat(CWD, at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    fs::write(at("attributes"), b"x").unwrap();
    set_xattr(&at("attributes"), "user.binary", &(0..=255).collect::<Vec<u8>>());
    fs::set_permissions(at("attributes"), fs::Permissions::from_mode(0o4711)).unwrap();
    set_mtime(&at("attributes"), -5, 123_456_789);
    fs::write(tree.path().join(name(b"\xff\xfe\nname")), b"bytes").unwrap();
    fs::create_dir(at("deep")).unwrap();
    chain(&at("deep"), b"level", 100);
    set_mtime(&at("deep"), 1_000_000_000, 1);
    tree
}

/// The bytes of the headers of some rows: what a session stores for entries whose contents it need not store.
fn header_bytes(rows: &[Row], which: impl Fn(&Row) -> bool) -> u64 {
    rows.iter().filter(|row| which(row)).filter_map(member::header).map(|header| header.len() as u64).sum()
}

/// How many chunks a session stored.
fn chunks(lab: &Lab<impl ObjectStore + 'static>, id: &SnapshotId) -> usize {
    let packs = lab.stored(&format!("v1/p/{}/", id.session));
    let toc = |key: &String| read_toc(&lab.run(lab.store.get(&Key::parse(key).unwrap())).unwrap()).unwrap();
    packs.iter().flat_map(toc).filter(|(_, row)| row.kind == FrameKind::Chunk).count()
}

#[test]
fn a_varied_tree_comes_back_as_it_was_plain_and_encrypted() {
    let source = varied();
    let saved = rows(source.path());
    for sealing in [Sealing::Plain, Sealing::Encrypted] {
        let lab = Lab::new(Memory::new(), sealing);
        let done = lab.backup(source.path()).unwrap();
        assert_eq!(done.entries, saved.len() as u64);
        lab.assert_restores(&done.id, &saved);
        let second = lab.backup(source.path()).unwrap();
        assert_eq!((second.unchanged, second.read), (saved.len() as u64, 0));
        lab.assert_restores(&second.id, &saved);
    }
    summary("roundtrip", &format!("{} entries, plain and encrypted", saved.len()));
}

/// The calls so far, the session called NEW and the one before it OLD.
fn requests(lab: &Lab<Recorded<Memory>>, new: &Done, old: &Done) -> Vec<(Op, String)> {
    let named =
        |key: String| key.replace(&new.id.session.to_string(), "NEW").replace(&old.id.session.to_string(), "OLD");
    lab.store.take().into_iter().map(|call| (call.op, named(call.key))).collect()
}

#[test]
fn a_run_without_changes_opens_no_file_and_sends_just_these_requests() {
    let source = varied();
    let entries = rows(source.path()).len() as u64;
    let lab = Lab::new(Recorded::new(Memory::new()), Sealing::Plain);
    let first = lab.backup(source.path()).unwrap();
    lab.store.take();
    let second = lab.backup(source.path()).unwrap();
    let sent = requests(&lab, &second, &first);
    assert_eq!((second.entries, second.unchanged, second.read), (entries, entries, 0));
    let expected = [
        (Op::List, "v1/repo.json"),
        (Op::Get, "v1/repo.json"),
        (Op::List, "v1/snap/data/"),
        (Op::Create, "v1/s/NEW.open"),
        (Op::List, "v1/bad/"),
        (Op::List, "v1/gc/c/"),
        (Op::Get, "v1/snap/data/OLD.json"),
        (Op::Get, "v1/m/OLD/000000.pk"),
        (Op::Create, "v1/snap/data/NEW.refs"),
        (Op::Create, "v1/snap/data/NEW.recipe"),
        (Op::Create, "v1/snap/data/NEW.json"),
    ];
    assert_eq!(sent, expected.map(|(op, key)| (op, key.to_owned())));
}

#[test]
fn a_rename_stores_a_header_and_no_content() {
    let source = TempDir::new().unwrap();
    for (title, size) in [("small", 4096), ("medium", 200 << 10), ("large", 3 << 20)] {
        fs::write(source.path().join(title), noise(size as u64, size)).unwrap();
    }
    let lab = Lab::new(Memory::new(), Sealing::Plain);
    lab.backup(source.path()).unwrap();
    for title in ["small", "medium", "large"] {
        fs::rename(source.path().join(title), source.path().join(format!("renamed-{title}"))).unwrap();
    }
    let saved = rows(source.path());
    let second = lab.backup(source.path()).unwrap();
    // The root changed too: its names did.
    assert_eq!(second.report.finished.commit.bytes.new, header_bytes(&saved, |_| true));
    lab.assert_restores(&second.id, &saved);
}

#[test]
fn a_changed_byte_in_a_large_file_stores_two_chunks_at_most() {
    let source = TempDir::new().unwrap();
    let path = source.path().join("large");
    fs::write(&path, noise(1, 3 << 20)).unwrap();
    let lab = Lab::new(Memory::new(), Sealing::Plain);
    lab.backup(source.path()).unwrap();
    let mut most = 0;
    for at in [0, 1, 100_000, 1 << 20, 2_000_000, (3 << 20) - 1] {
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        let done = lab.backup(source.path()).unwrap();
        most = most.max(chunks(&lab, &done.id));
        lab.assert_restores(&done.id, &rows(source.path()));
    }
    assert!((1..=2).contains(&most), "{most} chunks");
}

#[test]
fn a_file_that_changed_just_before_a_walk_is_read_again_by_the_next_one_and_then_no_more() {
    let source = TempDir::new().unwrap();
    fs::write(source.path().join("file"), noise(1, 5000)).unwrap();
    let entries = rows(source.path()).len() as u64;
    let lab = Lab::new(Memory::new(), Sealing::Plain);
    let now = Timestamp::from_second(1).unwrap();
    lab.backup_as("data", source.path(), &BackupOptions { now, ..options() }).unwrap();
    let second = lab.backup(source.path()).unwrap();
    assert_eq!((second.unchanged, second.read), (0, 5000));
    let third = lab.backup(source.path()).unwrap();
    assert_eq!((third.unchanged, third.read), (entries, 0));
}

/// Gives up the right to read what modes forbid, on this thread alone.
fn obey_modes() {
    let mut sets = capabilities(None).unwrap();
    sets.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
    set_capabilities(None, sets).unwrap();
}

#[test]
fn an_unreadable_file_is_named_in_the_report_and_by_each_restore_and_saved_once_it_can_be_read() {
    let source = TempDir::new().unwrap();
    let secret = source.path().join("secret");
    fs::write(&secret, b"secret").unwrap();
    fs::hard_link(&secret, source.path().join("second-name")).unwrap();
    fs::write(source.path().join("open"), b"open").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o0)).unwrap();
    let lab = Lab::new(Memory::new(), Sealing::Plain);
    // The walk reads on the thread that calls it, so only that thread gives its rights up.
    let obedient = || {
        obey_modes();
        lab.backup(source.path()).unwrap()
    };
    let first = std::thread::scope(|scope| scope.spawn(obedient).join().unwrap());
    let named: Vec<String> = first.report.problems.errors.iter().map(ToString::to_string).collect();
    assert_eq!(named, ["second-name: file cannot be opened", "secret: file cannot be opened"]);
    assert_eq!(first.report.finished.commit.entries.unreadable, 2);
    let target = TempDir::new().unwrap();
    let report = lab.restore(&first.id, &Identity::default(), target.path(), &whole(TargetPolicy::Empty)).unwrap();
    let lost: Vec<_> = report.lost.iter().map(|l| (l.path.escape_ascii().to_string(), l.reason.as_str())).collect();
    let why = "it could not be read when the snapshot was made";
    assert_eq!(lost, [("second-name".to_owned(), why), ("secret".to_owned(), why)]);
    assert_eq!((report.lost_count, report.unreadable), (2, 2));
    assert_eq!(fs::read(target.path().join("open")).unwrap(), b"open");
    let second = lab.backup(source.path()).unwrap();
    lab.assert_restores(&second.id, &rows(source.path()));
}

#[test]
fn a_restore_without_the_right_identity_says_who_could_open_the_snapshot() {
    let source = TempDir::new().unwrap();
    fs::write(source.path().join("file"), b"content").unwrap();
    let lab = Lab::new(Memory::new(), Sealing::Encrypted);
    let done = lab.backup(source.path()).unwrap();
    let meta = lab.stored("v1/m/").pop().unwrap();
    let cases = [
        (Identity::default(), "no identity was given (--identity FILE)"),
        (Identity::parse(STRANGER).unwrap(), "the identity given does not open it"),
    ];
    for (identity, given) in cases {
        let target = TempDir::new().unwrap();
        let refused = lab.restore(&done.id, &identity, target.path(), &whole(TargetPolicy::Empty));
        let Err(RestoreError::Repository(error)) = refused else { panic!("{refused:?}") };
        let key = Key::parse(&meta).unwrap();
        assert_eq!(error, Error::NoIdentity { key, given, recipients: vec![RECIPIENT.to_owned()] });
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_sub_path_is_restored_with_its_parents_and_a_link_to_elsewhere_becomes_a_file() {
    let source = TempDir::new().unwrap();
    let at = |path: &str| source.path().join(path);
    fs::create_dir_all(at("a")).unwrap();
    fs::create_dir_all(at("b/inner")).unwrap();
    fs::write(at("a/first"), noise(1, 300_000)).unwrap();
    fs::write(at("a/not-wanted"), b"x").unwrap();
    fs::write(at("b/file"), b"file").unwrap();
    fs::hard_link(at("a/first"), at("b/inner/second")).unwrap();
    fs::hard_link(at("a/first"), at("b/third")).unwrap();
    fs::hard_link(at("b/file"), at("b/within")).unwrap();
    fs::write(at("b-"), b"a name that b is a prefix of").unwrap();
    let saved = rows(source.path());
    let lab = Lab::new(Memory::new(), Sealing::Encrypted);
    let done = lab.backup(source.path()).unwrap();
    let target = TempDir::new().unwrap();
    let options = RestoreOptions { paths: vec![b"b".to_vec()], ..whole(TargetPolicy::Empty) };
    assert_nothing_lost(&lab.restore(&done.id, &lab.identity(), target.path(), &options).unwrap());
    let first = saved.iter().find(|row| row.path == b"a/first").unwrap().clone();
    let wanted = |row: &&Row| row.path.is_empty() || row.path == b"b" || row.path.starts_with(b"b/");
    let mut expected: Vec<Row> = saved.iter().filter(wanted).cloned().collect();
    for row in &mut expected {
        match row.path.as_slice() {
            b"b/inner/second" => *row = Row { path: row.path.clone(), ..first.clone() },
            b"b/third" => row.kind = Kind::Hardlink { target: b"b/inner/second".to_vec() },
            _ => {}
        }
    }
    assert_same(&rows(target.path()), &expected);
}

#[test]
fn a_full_target_is_refused_overwritten_or_brought_to_the_snapshot_by_its_differences() {
    let source = varied();
    let saved = rows(source.path());
    let lab = Lab::new(Memory::new(), Sealing::Plain);
    let done = lab.backup(source.path()).unwrap();
    let target = TempDir::new().unwrap();
    let restore = |policy| lab.restore(&done.id, &Identity::default(), target.path(), &whole(policy));
    assert_nothing_lost(&restore(TargetPolicy::Empty).unwrap());
    let refused = restore(TargetPolicy::Empty);
    assert!(matches!(&refused, Err(RestoreError::Target(_))), "{refused:?}");
    let directories = saved.iter().filter(|r| r.kind == Kind::Directory).count();
    let links = saved.iter().filter(|r| matches!(r.kind, Kind::Hardlink { .. })).count();
    let comparable = (saved.len() - directories - links) as u64;
    let spoil = || {
        let large = File::options().write(true).open(target.path().join(format!("sizes/{}", 3 << 20))).unwrap();
        large.write_all_at(b"spoiled", 1_000_000).unwrap();
        fs::remove_file(target.path().join("fifo")).unwrap();
        fs::set_permissions(target.path().join("sizes/513"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(target.path().join("zlink")).unwrap();
        fs::write(target.path().join("zlink"), b"another file").unwrap();
    };
    spoil();
    let report = restore(TargetPolicy::Delta).unwrap();
    assert_nothing_lost(&report);
    assert_same(&rows(target.path()), &saved);
    // The large file and the fifo were made anew; of the third only the mode was set.
    assert_eq!(report.unchanged, comparable - 3);
    spoil();
    assert_nothing_lost(&restore(TargetPolicy::Overwrite).unwrap());
    assert_same(&rows(target.path()), &saved);
    fs::write(target.path().join("own"), b"stays").unwrap();
    assert_nothing_lost(&restore(TargetPolicy::Delta).unwrap());
    assert_eq!(fs::read(target.path().join("own")).unwrap(), b"stays");
}

#[test]
fn a_file_that_repeats_itself_comes_back() {
    let source = TempDir::new().unwrap();
    // Forty times the same chunk of the greatest length.
    fs::write(source.path().join("sevens"), vec![7; 40 << 20]).unwrap();
    let lab = Lab::new(Memory::new(), Sealing::Plain);
    let done = lab.backup(source.path()).unwrap();
    lab.assert_restores(&done.id, &rows(source.path()));
}
