//! The first minutes with the program: backup, looking, restoring, care.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::Read as _,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
    },
    time::{Duration, UNIX_EPOCH},
};

use expect_test::expect;
use serde_json::json;

use crate::machine::{Machine, shape, text};

/// What a user reads, without what differs from run to run.
fn steady(text: &str, snapshot: &str) -> String {
    let line = |line: &str| match line.split_once(' ') {
        Some(("time", rest)) if rest.ends_with(" s") => "time       T s".to_owned(),
        Some(("bytes", _)) => "bytes      B".to_owned(),
        Some(("root", _)) => "root key   K".to_owned(),
        _ => line.replace(snapshot, "SNAPSHOT"),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The snapshot of a printed backup.
fn snapshot(printed: &str) -> String {
    let line = printed.lines().find_map(|line| line.strip_prefix("snapshot   "));
    line.expect("a line with the snapshot").to_owned()
}

#[test]
fn the_first_command_saves_into_the_embedded_repository_and_prints_the_command_that_restores() {
    let machine = Machine::new();
    machine.write_source();
    let ran = machine.run(&["volume", "backup", "src"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (
            Some(0),
            "Made a repository at file://$/data/trysail/repo\nIt is not encrypted: whoever can read the store can read \
             the files. Encrypt with --recipient when it is made.\n"
        )
    );
    let id = snapshot(&ran.stdout);
    expect![[r"
        snapshot   SNAPSHOT
        entries    4 files, 2 directories, 2 other; 0 unchanged
        bytes      B
        time       T s
        restore    trysail volume restore SNAPSHOT TARGET"]]
    .assert_eq(&steady(&ran.stdout, &id));

    let command = ran.stdout.lines().find_map(|line| line.strip_prefix("restore    trysail ")).expect("a command");
    let words: Vec<&str> = command.split(' ').collect();
    let printed = machine.succeed(&words);
    expect![[r"
        restored   SNAPSHOT to TARGET
        entries    8 restored, 0 unchanged
        bytes      B
        time       T s"]]
    .assert_eq(&steady(&printed, &id));
    assert_eq!(machine.tree("TARGET"), machine.tree("src"));
}

#[test]
fn the_printed_command_names_a_repository_that_is_not_the_default() {
    let machine = Machine::new();
    machine.write("src/a", "alpha");
    let url = machine.url("a dir");
    let restore = text(&machine.json(&["volume", "backup", "src", "--repo", &url])["restore"]);
    let restore = restore.replace("file://$/a dir", &url);
    let sh = machine.command(&[]).get_program().to_owned();
    let script = format!("trysail() {{ \"$PROGRAM\" \"$@\"; }}; {restore}");
    let status = std::process::Command::new("sh")
        .args(["-c", &script])
        .env("PROGRAM", sh)
        .env("XDG_DATA_HOME", machine.path("data"))
        .env("XDG_STATE_HOME", machine.path("state"))
        .current_dir(machine.path(""))
        .status()
        .expect("a shell");
    assert!(status.success(), "{restore}");
    assert_eq!(machine.tree("TARGET"), machine.tree("src"));
}

/// The sources of this package are older than its build, so that nothing in them counts as just changed.
#[test]
fn a_second_run_reads_nothing() {
    let machine = Machine::new();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let first = machine.json(&["volume", "backup", source, "--volume", "sources"]);
    let second = machine.json(&["volume", "backup", source, "--volume", "sources"]);
    let files = first["commit"]["entries"]["files"].as_u64().expect("a number");
    assert_eq!(second["commit"]["bytes"]["read"], 0);
    assert!(second["unchanged"].as_u64() >= Some(files), "{second}");
    assert_eq!(second["commit"]["base"], first["commit"]["session"]);
    assert_eq!(second["commit"]["table"]["merkle"], first["commit"]["table"]["merkle"]);
}

#[test]
fn a_backup_as_json_has_these_fields() {
    let machine = Machine::new();
    machine.write_source();
    let value = machine.json(&["volume", "backup", "src"]);
    expect![[r"
        .snapshot text
        .commit.format text
        .commit.session text
        .commit.volume text
        .commit.uid text
        .commit.kind text
        .commit.started text
        .commit.seq number
        .commit.prev text
        .commit.base null
        .commit.entries.directories number
        .commit.entries.files number
        .commit.entries.symlinks number
        .commit.entries.hardlinks number
        .commit.entries.specials number
        .commit.entries.sockets number
        .commit.entries.unstable number
        .commit.entries.unreadable number
        .commit.bytes.logical number
        .commit.bytes.read number
        .commit.bytes.new number
        .commit.bytes.stored number
        .commit.table.root[].pack text
        .commit.table.root[].offset number
        .commit.table.root[].stored number
        .commit.table.root[].plain number
        .commit.table.root[].sha256 text
        .commit.table.rows number
        .commit.table.blocks number
        .commit.table.merkle text
        .commit.tar.bytes number
        .commit.packs.bytes number
        .commit.packs.sha256 text
        .commit.packs.adopted number
        .commit.refs.bytes number
        .commit.refs.sha256 text
        .commit.recipe.bytes number
        .commit.recipe.sha256 text
        .commit.recipe.lines number
        .commit.signer text
        .packs number
        .unchanged number
        .seconds number
        .errors nothing in a list
        .error_count number
        .unstable nothing in a list
        .notices nothing in a list
        .restore text"]]
    .assert_eq(&shape(&value));
    let value = machine.json(&["volume", "restore", "latest", "out"]);
    expect![[r"
        .snapshot text
        .target text
        .entries number
        .bytes number
        .unchanged number
        .seconds number
        .lost nothing in a list
        .lost_count number
        .not_set nothing in a list
        .not_set_count number
        .withheld nothing in a list
        .withheld_count number
        .nar null"]]
    .assert_eq(&shape(&value));
}

#[test]
fn quiet_commands_print_nothing_but_results() {
    let machine = Machine::new();
    machine.write_source();
    let commands: [&[&str]; 4] = [
        &["-q", "repo", "init"],
        &["-q", "volume", "backup", "src"],
        &["-q", "volume", "restore", "latest", "out"],
        &["-q", "repo", "prune"],
    ];
    for arguments in commands {
        let ran = machine.run(arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn snapshots_are_listed_and_looked_into_without_a_restore() {
    let machine = Machine::new();
    machine.write_source();
    let first = machine.back_up(&["src"]);
    machine.write("src/sub/new", "gamma");
    machine.write("src/a", "other");
    fs::remove_file(machine.path("src/s")).expect("a removal");
    let second = machine.back_up(&["src"]);

    let listed = machine.json(&["volume", "list"]);
    let names: Vec<String> = listed.as_array().expect("a list").iter().map(|l| text(&l["snapshot"])).collect();
    assert_eq!(names, [first.clone(), second.clone()]);
    let fields = "[].snapshot text\n[].volume text\n[].committed text\n[].kind text\n[].files number\n[].bytes number\n\
                  [].stored number\n[].unstable number\n[].unreadable number";
    assert_eq!(shape(&listed), fields);
    assert_eq!(machine.json(&["volume", "list", "src"]), listed);

    let listed = machine.json(&["volume", "ls", &second]);
    let rows = listed.as_array().expect("a list").iter();
    let rows: Vec<String> = rows.map(|r| format!("{} {} {}", text(&r["kind"]), text(&r["path"]), r["size"])).collect();
    let expected = [
        "directory . null",
        "file a 5",
        "file big 600000",
        "file sparse 1000000",
        "directory sub null",
        "file sub/b 5",
        "file sub/new 5",
        "hardlink z null",
    ];
    assert_eq!(rows, expected);
    let below = machine.json(&["volume", "ls", &second, "sub"]);
    assert_eq!(below.as_array().cloned(), listed.as_array().map(|rows| rows[4..7].to_vec()));

    assert_eq!(machine.succeed(&["volume", "cat", &second, "z"]), "other");
    let output = machine.command(&["volume", "cat", &second, "./sparse"]).output().expect("the program starts");
    assert_eq!(output.stdout, fs::read(machine.path("src/sparse")).expect("a file"));
    assert_eq!(machine.succeed(&["volume", "diff", &first, &second]), "U .\nM a\n- s\nU sub\n+ sub/new\nU z\n");
    let changes = machine.json(&["volume", "diff", &first, &second]);
    assert_eq!(changes[1], serde_json::json!({"change": "M", "path": "a"}));
    assert_eq!(machine.succeed(&["volume", "diff", &second, &second]), "");
}

#[test]
fn json_keeps_every_byte_of_a_name_and_every_digit_of_a_time() {
    let machine = Machine::new();
    let name = |bytes: &[u8]| machine.path("src").join(OsStr::from_bytes(bytes));
    machine.write("src/plain", "");
    let names: [&[u8]; 4] = [b"\\xff", b"\xff", "\u{e9}".as_bytes(), b"line\nbreak"];
    for bytes in names {
        fs::write(name(bytes), "").expect("a file");
    }
    symlink(OsStr::from_bytes(b"to\xfe"), name(b"link")).expect("a link");
    let time = UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    fs::File::open(name(b"plain")).and_then(|file| file.set_modified(time)).expect("a time");
    let early = UNIX_EPOCH - Duration::new(1, 500_000_000);
    fs::File::open(name(b"\\xff")).and_then(|file| file.set_modified(early)).expect("a time");
    let first = machine.back_up(&["src"]);

    let listed = machine.json(&["volume", "ls", &first]);
    let rows: Vec<_> =
        listed.as_array().expect("a list")[1..].iter().map(|row| (&row["path"], &row["path_bytes"])).collect();
    let (null, bytes) = (json!(null), json!("/w=="));
    let expected =
        [json!("\\xff"), json!("line\nbreak"), json!("link"), json!("plain"), json!("\u{e9}"), json!("\u{fffd}")];
    let expected: Vec<_> =
        expected.iter().map(|path| (path, if path == "\u{fffd}" { &bytes } else { &null })).collect();
    assert_eq!(rows, expected);
    let row = |path: &str| {
        let rows = listed.as_array().expect("a list");
        rows.iter().find(|row| row["path"] == path).unwrap_or_else(|| panic!("no row {path}")).clone()
    };
    assert_eq!(row("plain")["mtime"], "2001-09-09T01:46:40.123456789Z");
    assert_eq!(row("\\xff")["mtime"], "1969-12-31T23:59:58.5Z");
    assert_eq!((&row("link")["target"], &row("link")["target_bytes"]), (&json!("to\u{fffd}"), &json!("dG/+")));

    // For people names are printed in one line, and no byte is a command to the terminal.
    let printed = machine.succeed(&["volume", "ls", &first]);
    assert!(printed.contains(" 2001-09-09T01:46:40Z plain\n") && printed.contains("line\\nbreak\n"), "{printed}");
    assert!(printed.contains("\\xff\n") && printed.contains(" -> to\\xfe\n"), "{printed}");
    fs::remove_file(name(b"\xff")).expect("a removal");
    let second = machine.back_up(&["src"]);
    let changes = machine.json(&["volume", "diff", &first, &second]);
    assert_eq!(changes[1], json!({"change": "-", "path": "\u{fffd}", "path_bytes": "/w=="}));
}

#[test]
fn what_is_withheld_is_listed_and_is_no_failure() {
    let machine = Machine::new();
    machine.write("src/program", "run");
    fs::set_permissions(machine.path("src/program"), fs::Permissions::from_mode(0o4755)).expect("a mode");
    machine.back_up(&["src"]);
    let mode = |path: &str| fs::metadata(machine.path(path)).expect("a file").permissions().mode() & 0o7777;
    machine.succeed(&["volume", "restore", "latest", "whole"]);
    assert_eq!(mode("whole/program"), 0o4755);
    let ran = machine.run(&["-q", "volume", "restore", "latest", "out", "--withhold", "devices,setuid"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), "withheld: program: setuid or setgid\n"));
    assert_eq!(mode("out/program"), 0o755);
    let again = machine.json(&["volume", "restore", "latest", "out", "--delta", "--withhold", "setuid"]);
    assert_eq!((&again["unchanged"], &again["withheld_count"]), (&json!(1), &json!(1)));
    assert_eq!(again["withheld"], json!([{"path": "program", "what": "setuid or setgid"}]));
}

#[test]
fn an_export_is_a_tar_that_other_libraries_read() {
    let machine = Machine::new();
    machine.write_source();
    machine.back_up(&["src"]);
    machine.write("src/a", "rewritten");
    let second = machine.back_up(&["src"]);
    let output = machine.command(&["volume", "export", &second]).output().expect("the program starts");
    let plain = zstd::decode_all(output.stdout.as_slice()).expect("zstd");
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(plain.as_slice()).entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a name").display().to_string();
        let kind = entry.header().entry_type();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("a content");
        found.insert(name, (kind, content));
    }
    // This library knows nothing of sparse files: it shows the name that is meant for such.
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["./", "./GNUSparseFile.0/sparse", "./a", "./big", "./s", "./sub/", "./sub/b", "./z"]);
    assert_eq!(found["./a"], (tar::EntryType::Regular, b"rewritten".to_vec()));
    assert_eq!(found["./big"].1, fs::read(machine.path("src/big")).expect("a file"));
    assert_eq!((found["./s"].0, found["./z"].0), (tar::EntryType::Symlink, tar::EntryType::Link));
}

#[test]
fn parts_of_a_snapshot_are_restored_and_a_delta_mends_what_differs() {
    let machine = Machine::new();
    machine.write_source();
    machine.back_up(&["src"]);
    machine.succeed(&["volume", "restore", "src@latest", "part", "--path", "sub", "--path", "/z"]);
    let names: Vec<String> =
        machine.tree("part").iter().map(|line| line.split(' ').next().unwrap_or("").to_owned()).collect();
    assert_eq!(names, [".", "./sub", "./sub/b", "./z"]);

    machine.succeed(&["volume", "restore", "latest", "out"]);
    machine.write("out/big", "broken");
    let mended = machine.json(&["volume", "restore", "latest", "out", "--delta"]);
    assert_eq!(mended["bytes"], 600_000);
    assert_eq!(machine.tree("out"), machine.tree("src"));
    machine.write("out/big", "broken again");
    machine.succeed(&["volume", "restore", "latest", "out", "--overwrite"]);
    assert_eq!(machine.tree("out"), machine.tree("src"));
}

#[test]
fn a_forgotten_snapshot_is_gone_and_a_prune_waits_for_its_session() {
    let machine = Machine::new();
    machine.write_source();
    let first = machine.back_up(&["src"]);
    let second = machine.back_up(&["src"]);
    let wrong = machine.refused(&["repo", "forget", &first, "nothing"]);
    assert_eq!(wrong, "no snapshot `nothing`; `trysail volume list` shows what there is");
    assert_eq!(machine.succeed(&["repo", "forget", &first]), format!("forgot     {first}\n"));
    let listed = machine.json(&["volume", "list"]);
    let names: Vec<String> = listed.as_array().expect("a list").iter().map(|l| text(&l["snapshot"])).collect();
    assert_eq!(names, std::slice::from_ref(&second));
    assert_eq!(machine.succeed(&["repo", "prune", "--dry-run"]), "nothing to prune\n");
    assert_eq!(machine.succeed(&["repo", "prune"]), "condemned  0 packs, 0 B\ndeleted    0 packs, 0 B\n");
    machine.succeed(&["volume", "restore", &second, "out"]);
    assert_eq!(machine.tree("out"), machine.tree("src"));
}

#[test]
fn statistics_count_what_there_is() {
    let machine = Machine::new();
    machine.write_source();
    machine.back_up(&["src"]);
    machine.back_up(&["src", "--volume", "again"]);
    let stats = machine.json(&["repo", "stats"]);
    let counted = (&stats["encrypted"], &stats["volumes"], &stats["snapshots"]);
    assert_eq!(counted, (&serde_json::json!(false), &serde_json::json!(2), &serde_json::json!(2)));
    let packs = machine.objects("v1/p").len() + machine.objects("v1/m").len();
    assert_eq!(stats["packs"], packs);
    assert_eq!(stats["other_objects"], machine.objects("v1").len() - packs);
    let printed = machine.succeed(&["repo", "stats"]);
    assert_eq!(printed.lines().nth(1), Some("encryption not encrypted"));
    assert_eq!(printed.lines().nth(3), Some("snapshots  2 of 2 volumes"));
}

#[test]
fn completion_scripts_name_every_command() {
    let machine = Machine::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = machine.succeed(&["completion", shell]);
        for word in ["volume", "repo", "backup", "restore", "export", "adopt", "prune", "forget"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn a_wrong_command_line_ends_with_two() {
    let machine = Machine::new();
    let lines: [&[&str]; 4] = [
        &["volume", "backup"],
        &["volume", "mumble"],
        &["volume", "restore", "latest", "out", "--delta", "--overwrite"],
        &["repo", "forget"],
    ];
    for arguments in lines {
        let ran = machine.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ran.stderr.contains("Usage: trysail"), "{}", ran.stderr);
    }
}
