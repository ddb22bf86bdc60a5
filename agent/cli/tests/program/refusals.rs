//! Bad input: each is a sentence with the noun and the next step, and nothing is lost.

use std::{fs, io::Read as _, process::Stdio};

use crate::machine::{Machine, noise};

#[test]
fn a_source_that_is_no_directory_is_refused_before_a_repository_is_made() {
    let machine = Machine::new();
    machine.write("file", "");
    let refused = machine.refused(&["volume", "backup", "file"]);
    assert_eq!(refused, "file: not a directory; a volume is a directory with all that is in it");
    let refused = machine.refused(&["volume", "backup", "absent"]);
    let expected = "absent: the directory that is to be saved cannot be found: No such file or directory (os error 2)";
    assert_eq!(refused, expected);
    fs::create_dir(machine.path("dir")).expect("a directory");
    let refused = machine.refused(&["volume", "backup", "dir", "--exclude", "ok", "--exclude", "[a"]);
    let expected = "exclude pattern \"[a\": error parsing glob '**/[a': unclosed character class; missing ']'";
    assert_eq!(refused, expected);
    let refused = machine.refused(&["volume", "backup", "dir", "--recipient", "mumble"]);
    assert_eq!(refused, "`mumble` is not an age recipient (age1… or an ssh-ed25519 or ssh-rsa public key)");
    assert!(!machine.repository().exists());
}

#[test]
fn an_identity_that_is_none_is_refused_with_its_file() {
    let machine = Machine::new();
    machine.write("text", "mumble\n");
    machine.write("empty", "# nothing\n");
    for (file, why) in [
        ("absent", "No such file or directory (os error 2)"),
        ("text", "no age identity: the file has a line that is neither a key nor a comment"),
        ("empty", "no age identity: the file holds no AGE-SECRET-KEY"),
    ] {
        assert_eq!(machine.refused(&["volume", "list", "--identity", file]), format!("--identity {file}: {why}"));
    }
}

#[test]
fn a_snapshot_that_is_not_there_or_not_the_only_one_is_told() {
    let machine = Machine::new();
    machine.write_source();
    let first = machine.back_up(&["src"]);
    let missing = |name: &str| format!("no snapshot `{name}`; `trysail volume list` shows what there is");
    for name in ["mumble", "src/mumble", "other@latest", "other/latest", ""] {
        assert_eq!(machine.refused(&["volume", "restore", name, "out"]), missing(name));
    }
    let second = machine.back_up(&["src"]);
    let refused = machine.refused(&["volume", "ls", "0"]);
    let expected = format!("`0` is the beginning of 2 snapshots: {first}, {second}; give more characters");
    assert_eq!(refused, expected);
    machine.back_up(&["src", "--volume", "other"]);
    let refused = machine.refused(&["volume", "restore", "latest", "out"]);
    assert_eq!(refused, "`latest` can be of several volumes: say one of other@latest, src@latest");
    assert_eq!(
        machine.refused(&["volume", "list", "none"]),
        "no volume `none`; `trysail volume list` shows what there is"
    );
    assert!(!machine.path("out").exists());
}

#[test]
fn a_path_that_is_not_in_the_snapshot_is_told() {
    let machine = Machine::new();
    machine.write_source();
    machine.back_up(&["src"]);
    assert_eq!(
        machine.refused(&["volume", "ls", "latest", "none"]),
        "the snapshot has no entry none; `trysail volume ls` shows what there is"
    );
    let missing = "the snapshot has no file none; `trysail volume ls` shows what there is";
    assert_eq!(machine.refused(&["volume", "cat", "latest", "none"]), missing);
    assert_eq!(machine.refused(&["volume", "cat", "latest", "sub"]), "sub is a directory, not a file");
    let refused = machine.refused(&["volume", "restore", "latest", "out", "--path", "none", "--path", "a"]);
    assert_eq!(refused, "the snapshot has no entry none; `trysail volume ls` shows what there is");
    assert!(!machine.path("out").exists());
}

#[test]
fn a_target_that_is_not_empty_or_no_directory_is_refused_and_untouched() {
    let machine = Machine::new();
    machine.write_source();
    machine.back_up(&["src"]);
    machine.write("out/mine", "precious");
    let before = machine.tree("out");
    let refused = machine.refused(&["volume", "restore", "latest", "out"]);
    let expected =
        "out: target directory is not empty: it holds mine; choose an empty one, or add --overwrite or --delta";
    assert_eq!(refused, expected);
    assert_eq!(machine.tree("out"), before);
    machine.write("file", "");
    let refused = machine.refused(&["volume", "restore", "latest", "file"]);
    let expected = "file: target directory cannot be opened: File exists (os error 17); a target is a directory that can be written";
    assert_eq!(refused, expected);
}

#[test]
fn a_damaged_pack_costs_the_files_in_it_by_name_and_nothing_else() {
    let machine = Machine::new();
    machine.write_source();
    machine.back_up(&["src"]);
    let content = noise(600_000, 1);
    let needle = &content[300_000..300_064];
    let pack = machine.objects("v1/p").remove(0);
    let mut bytes = fs::read(&pack).expect("a pack");
    let at = bytes.windows(needle.len()).position(|window| window == needle).expect("noise is stored as it is");
    bytes[at] ^= 1;
    fs::write(&pack, bytes).expect("a write");
    let ran = machine.run(&["-q", "volume", "restore", "latest", "out", "-o", "json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!((ran.code, &report["lost_count"], &report["lost"][0]["path"]), (Some(3), &1.into(), &"big".into()));
    let reason = report["lost"][0]["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("v1/p/") && reason.contains(" is damaged at byte "), "{reason}");
    assert_eq!(ran.stderr, format!("not restored: big: {reason}\n"));
    let left = |name: &str| -> Vec<String> {
        machine.tree(name).into_iter().filter(|line| !line.starts_with("./big ")).collect()
    };
    assert_eq!(left("out"), left("src"));
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_the_run_ends_with_three() {
    // A directory deeper than a walk goes is unreadable for everybody, root too.
    const LEVELS: usize = 4100;
    let machine = Machine::new();
    machine.write("src/a", "alpha");
    let mut at: std::os::fd::OwnedFd = fs::File::open(machine.path("src")).expect("a directory").into();
    for _ in 0..LEVELS {
        rustix::fs::mkdirat(&at, "d", rustix::fs::Mode::RWXU).expect("a directory");
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
        at = rustix::fs::openat(&at, "d", flags, rustix::fs::Mode::empty()).expect("a directory");
    }
    let ran = machine.run(&["-q", "volume", "backup", "src"]);
    while machine.path("src/d/d").exists() {
        fs::rename(machine.path("src/d/d"), machine.path("rest")).expect("a rename");
        fs::remove_dir(machine.path("src/d")).expect("a removal");
        fs::rename(machine.path("rest"), machine.path("src/d")).expect("a rename");
    }
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let path = vec!["d"; 4096].join("/");
    let expected = format!("not saved: {path}: deeper than 4096 levels, not saved");
    assert_eq!(ran.stderr.lines().last(), Some(expected.as_str()));
    machine.succeed(&["volume", "restore", "latest", "out", "--path", "a"]);
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_program_quietly() {
    let machine = Machine::new();
    machine.write("src/big", noise(3_000_000, 2));
    machine.back_up(&["src"]);
    for arguments in [&["volume", "cat", "latest", "big"][..], &["volume", "export", "latest"]] {
        let mut command = machine.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        child.stdout.take().expect("a pipe").read_exact(&mut [0]).expect("a byte");
        let output = child.wait_with_output().expect("an end");
        let ran = machine.ran(output);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(141), ""), "{arguments:?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error_however_little_it_is() {
    let machine = Machine::new();
    machine.write("src/a", "no end of line");
    machine.back_up(&["src"]);
    let lines: [&[&str]; 4] =
        [&["volume", "cat", "latest", "a"], &["volume", "ls", "latest"], &["volume", "list"], &["completion", "bash"]];
    for arguments in lines {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("the full device");
        let ran = machine.ran(machine.command(arguments).stdout(full).output().expect("the program starts"));
        let expected = "error: standard output cannot be written: No space left on device (os error 28)\n";
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), expected), "{arguments:?}");
    }
}
