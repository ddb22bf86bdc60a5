//! Repositories that released versions wrote stay readable for ever. They lie in `tests/golden/<version>/<name>/`: `repo/`, for an
//! encrypted one `identity`, and `listing`, a line for each row of each snapshot.
//!
//! `TRYSAIL_WRITE_GOLDEN=1 cargo test -p trysail-volume --test golden written_when_asked` writes those of the version in work anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod tree;

use std::{
    fmt::Write as _,
    fs::{self, File},
    os::unix::fs::{FileExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::runtime::Runtime;
use trysail_repository::{
    Repository,
    keys::Keys,
    layout::VolumeName,
    read::Snapshot,
    seal::{Identity, Recipient},
    store::directory::Directory,
    table::{Kind, Row},
    write::{Session, SessionPlan},
};
use trysail_volume::{
    backup::{BackupOptions, Counters, HELD_PIECES_MAX, backup},
    restore::{RestoreOptions, restore},
    target::TargetPolicy,
    walk::WalkOptions,
};

/// Every version that wrote repositories of which others hold some, oldest first. The last is written anew when it is asked for.
const VERSIONS: [&str; 1] = ["v0.1"];
const NAMES: [&str; 2] = ["encrypted", "plain"];
const VOLUME: &str = "golden/volume";
/// A key of these tests alone.
const RECIPIENT: &str = "age1vlslqktnt0sxwgvvpplx0pzyew5ydrs0t0awve0umk8yr7lcm33qtzwrr4";
const SECRET: &str = "AGE-SECRET-KEY-1H92LXZP5GLVN38WRY4Y8KLSZ733NG44J62URD2PXY099ZE5RZANQ82MNEX\n";

/// Bytes of all files of one repository: all of them are in every clone.
const BYTES_MAX: u64 = 200_000;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A row as a listing has it. What only root can restore, and what not every file system takes, is in the longer form.
fn line(row: &Row, long: bool) -> String {
    let mut line = format!(
        "{}\t{:04o}\t{}.{:09}",
        row.path.escape_ascii(),
        row.metadata.mode,
        row.metadata.mtime.seconds,
        row.metadata.mtime.nanoseconds
    );
    match &row.kind {
        Kind::File(content) => {
            let hash: String = content
                .sha256
                .iter()
                .flat_map(|byte| [byte >> 4, byte & 0xf])
                .filter_map(|n| char::from_digit(n.into(), 16))
                .collect();
            write!(line, "\tfile {} {hash}", content.size).unwrap();
            for segment in content.segments.iter().flatten() {
                write!(line, " {}+{}", segment.offset, segment.length).unwrap();
            }
        }
        other => write!(line, "\t{other:?}").unwrap(),
    }
    if long {
        write!(line, "\t{}:{}", row.metadata.uid, row.metadata.gid).unwrap();
        for (name, value) in &row.metadata.xattrs {
            write!(line, "\t{}={}", name.escape_ascii(), value.escape_ascii()).unwrap();
        }
    }
    line
}

/// All snapshots of a repository with all their rows.
fn listing(runtime: &Runtime, repository: &Repository, identity: &Identity) -> String {
    let mut text = String::new();
    for entry in runtime.block_on(repository.snapshots(None)).unwrap() {
        writeln!(text, "snapshot\t{}", entry.id).unwrap();
        let mut snapshot = runtime.block_on(Snapshot::open(repository, &entry.id, identity)).unwrap();
        for block in snapshot.blocks().to_vec() {
            for stored in runtime.block_on(snapshot.rows(&block)).unwrap() {
                writeln!(text, "{}", line(&stored.row, true)).unwrap();
            }
        }
    }
    text
}

fn open(runtime: &Runtime, directory: &Path) -> (Repository, Identity) {
    let store = Arc::new(Directory::open(&directory.join("repo")).unwrap());
    let identity = fs::read_to_string(directory.join("identity")).ok();
    let identity = identity.map_or_else(Identity::default, |text| Identity::parse(&text).unwrap());
    (runtime.block_on(Repository::open(store, None)).unwrap(), identity)
}

#[test]
fn every_version_with_golden_repositories_is_listed_here() {
    assert_eq!(names(&golden()), VERSIONS);
    for version in VERSIONS {
        assert_eq!(names(&golden().join(version)), NAMES, "{version}");
    }
}

#[test]
fn every_golden_repository_lists_and_restores_what_was_put_into_it() {
    let runtime = Runtime::new().unwrap();
    for (version, name) in VERSIONS.iter().flat_map(|version| NAMES.map(|name| (version, name))) {
        let directory = golden().join(version).join(name);
        let (repository, identity) = open(&runtime, &directory);
        let expected = fs::read_to_string(directory.join("listing")).unwrap();
        assert_eq!(listing(&runtime, &repository, &identity), expected, "{version}/{name}");
        let mut restored = String::new();
        for entry in runtime.block_on(repository.snapshots(None)).unwrap() {
            let target = tempfile::tempdir().unwrap();
            let options = RestoreOptions { policy: TargetPolicy::Empty, paths: vec![], threads: 2, withhold: vec![] };
            let counters = Counters::default();
            let report =
                restore(&repository, &entry.id, &identity, target.path(), &options, &counters, runtime.handle())
                    .unwrap();
            assert_eq!((report.lost, report.unreadable), (vec![], 0), "{version}/{name}");
            writeln!(restored, "snapshot\t{}", entry.id).unwrap();
            for row in tree::rows(target.path()) {
                writeln!(restored, "{}", line(&row, false)).unwrap();
            }
        }
        let short = |line: &str| line.split('\t').take(4).collect::<Vec<_>>().join("\t");
        let expected: Vec<String> = expected.lines().map(short).collect();
        assert_eq!(restored.lines().collect::<Vec<_>>(), expected, "{version}/{name}");
    }
}

/// Runs only when it is asked for: then it replaces what the version in work has written.
#[test]
fn golden_repositories_of_this_version_are_written_when_asked_for() {
    if std::env::var_os("TRYSAIL_WRITE_GOLDEN").is_none() {
        return;
    }
    let runtime = Runtime::new().unwrap();
    let version = golden().join(VERSIONS[VERSIONS.len() - 1]);
    for name in NAMES {
        let directory = version.join(name);
        if directory.exists() {
            fs::remove_dir_all(&directory).unwrap();
        }
        fs::create_dir_all(&directory).unwrap();
        let recipients = if name == "encrypted" { vec![Recipient::parse(RECIPIENT).unwrap()] } else { vec![] };
        if !recipients.is_empty() {
            fs::write(directory.join("identity"), SECRET).unwrap();
        }
        let keys = Keys::from_parts([1; 32], [2; 32]);
        let store = Arc::new(Directory::create(&directory.join("repo")).unwrap());
        let made = Repository::init(store, &recipients, &keys, Timestamp::now());
        let repository = runtime.block_on(made).unwrap();
        let source = tempfile::tempdir().unwrap();
        write_first(source.path());
        save(&runtime, &repository, &keys, source.path());
        write_second(source.path());
        save(&runtime, &repository, &keys, source.path());
        let (repository, identity) = open(&runtime, &directory);
        fs::write(directory.join("listing"), listing(&runtime, &repository, &identity)).unwrap();
        let bytes = bytes_in(&directory);
        assert!(bytes <= BYTES_MAX, "{name}: {bytes} bytes");
    }
}

fn bytes_in(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| if e.path().is_dir() { bytes_in(&e.path()) } else { e.metadata().unwrap().len() }).sum()
}

fn save(runtime: &Runtime, repository: &Repository, keys: &Keys, source: &Path) {
    let volume = VolumeName::new(VOLUME).unwrap();
    let now = Timestamp::now();
    let plan = SessionPlan { keys: keys.for_volume(&volume), volume, uid: "golden".to_owned(), now };
    let session = runtime.block_on(Session::begin(repository, plan)).unwrap();
    let options = BackupOptions {
        walk: WalkOptions::default(),
        threads: 1,
        now,
        checkpoint_every: Duration::from_mins(1),
        held_pieces_max: HELD_PIECES_MAX,
    };
    let report = backup(repository, session, source, &options, &Counters::default(), runtime.handle()).unwrap();
    assert_eq!(report.problems.error_count, 0);
}

fn lines(from: u32, count: u32) -> Vec<u8> {
    (from..from + count)
        .map(|n| format!("line {:08x} of a golden file\n", n.wrapping_mul(2_654_435_761)))
        .collect::<Vec<_>>()
        .concat()
        .into()
}

/// One of each kind that needs no rights.
fn write_first(root: &Path) {
    let at = |name: &str| root.join(name);
    fs::create_dir_all(at("directory/deeper")).unwrap();
    fs::create_dir(at("empty directory")).unwrap();
    fs::write(at("directory/small"), "small\n").unwrap();
    fs::write(at("directory/empty"), "").unwrap();
    fs::write(at("directory/deeper/gone"), "deleted before the second snapshot").unwrap();
    fs::write(at("large"), lines(0, 12_000)).unwrap();
    fs::write(root.join(tree::name(b"not \xff utf-8\n")), "name").unwrap();
    fs::write(root.join("n".repeat(255)), "long name").unwrap();
    fs::hard_link(at("directory/small"), at("linked")).unwrap();
    symlink("directory/small", at("symlink")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o640),
        0,
    )
    .unwrap();
    let sparse = File::create(at("sparse")).unwrap();
    sparse.set_len(10 << 20).unwrap();
    sparse.write_all_at(&lines(50_000, 3000)[..65_536], 1 << 20).unwrap();
    sparse.write_all_at(&lines(60_000, 3000)[..65_536], 5 << 20).unwrap();
    fs::set_permissions(at("directory/small"), fs::Permissions::from_mode(0o4750)).unwrap();
    tree::set_xattr(&at("directory/small"), "user.golden", b"\x00\xff=\n");
    settle(root);
}

/// An edit, an addition, a deletion and a rename: the second snapshot refers to parts of the first one's packs.
fn write_second(root: &Path) {
    let at = |name: &str| root.join(name);
    let mut large = lines(0, 12_000);
    large.splice(200_000..200_010, *b"edited in the middle");
    fs::write(at("large"), large).unwrap();
    fs::remove_file(at("directory/deeper/gone")).unwrap();
    fs::write(at("directory/deeper/new"), "new\n").unwrap();
    fs::rename(at("symlink"), at("renamed")).unwrap();
    settle(root);
}

/// Gives every entry a time that depends on its name only.
fn settle(root: &Path) {
    for name in names_below(root) {
        let odd = i64::try_from(name.as_os_str().len()).unwrap();
        tree::set_mtime(&name, 1_700_000_000 + odd, 123_456_789);
    }
}

/// All below a directory and itself, deepest first.
fn names_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| if path.is_dir() && !path.is_symlink() { names_below(&path) } else { vec![path] };
    entries.flat_map(below).chain([directory.to_owned()]).collect()
}
