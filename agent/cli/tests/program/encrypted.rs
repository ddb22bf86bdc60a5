//! Encrypted repositories: who can open them, and what happens after the machine that made one is lost.

use std::{fs, path::Path};

use crate::machine::{Machine, text};

const ONE: (&str, &str) = (
    "age1vlslqktnt0sxwgvvpplx0pzyew5ydrs0t0awve0umk8yr7lcm33qtzwrr4",
    "AGE-SECRET-KEY-1H92LXZP5GLVN38WRY4Y8KLSZ733NG44J62URD2PXY099ZE5RZANQ82MNEX\n",
);
const TWO: (&str, &str) = (
    "age1wc5wfl78zzuyy9zt2f3jvs3nvq63p4v9yyzhhwykveqrvlwvns8s5xsx0v",
    "# a comment\nAGE-SECRET-KEY-1EMVCLT2TGPDPNM7WV45FD8QAVKWF9XXUZ98HCYZ0Y2MJ8AJXQRWSAPMVW0\n",
);
const STRANGER: &str = "AGE-SECRET-KEY-18QGHTJ07SLX3YRFDSRUELCT956U86360YDL7YDH0R0YEJ9SGL6UQJ8DUKQ\n";
/// A key of these tests alone.
const SSH: (&str, &str) = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFnrT6B/srKHixVBFKqVNIkFqlJTz+yBmkoZsurRRc3O test",
    "-----BEGIN OPENSSH PRIVATE KEY-----\n\
     b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n\
     QyNTUxOQAAACBZ60+gf7Kyh4sVQRSqlTSJBapSU8/sgZpKGbLq0UXNzgAAAIhtKmt5bSpr\n\
     eQAAAAtzc2gtZWQyNTUxOQAAACBZ60+gf7Kyh4sVQRSqlTSJBapSU8/sgZpKGbLq0UXNzg\n\
     AAAECbXxvpmDqUCBi51gLhFhPEs4oJDuJVViCMr7NedXLh31nrT6B/srKHixVBFKqVNIkF\n\
     qlJTz+yBmkoZsurRRc3OAAAABHRlc3QB\n\
     -----END OPENSSH PRIVATE KEY-----\n",
);

/// A machine with a source, the identities in files, and an encrypted repository for the first two.
fn encrypted() -> (Machine, String) {
    let machine = Machine::new();
    machine.write_source();
    for (name, secret) in [("one", ONE.1), ("two", TWO.1), ("stranger", STRANGER), ("ssh", SSH.1)] {
        machine.write(name, secret);
    }
    let snapshot = machine.back_up(&["src", "--recipient", ONE.0, "--recipient", TWO.0]);
    (machine, snapshot)
}

#[test]
fn each_recipient_restores_and_nothing_of_the_content_is_in_the_store() {
    let (machine, snapshot) = encrypted();
    for name in ["one", "two"] {
        machine.succeed(&["volume", "restore", &snapshot, name_of_target(name), "--identity", name]);
        assert_eq!(machine.tree(name_of_target(name)), machine.tree("src"));
    }
    let needle = &crate::machine::noise(600_000, 1)[300_000..300_032];
    for object in machine.objects("v1") {
        let bytes = fs::read(&object).expect("an object");
        assert!(!bytes.windows(needle.len()).any(|window| window == needle), "{}", object.display());
    }
}

fn name_of_target(identity: &str) -> &'static str {
    if identity == "one" { "out-one" } else { "out-two" }
}

#[test]
fn a_restore_that_cannot_be_opened_names_who_can_open_it() {
    let (machine, _) = encrypted();
    let recipients = format!("one of these recipients can open it: {}, {}", ONE.0, TWO.0);
    let without = machine.refused(&["volume", "restore", "latest", "out"]);
    let (object, why) = without.split_once(' ').expect("the object comes first");
    assert!(object.starts_with("v1/") && Path::new(object).components().count() > 2, "{object}");
    assert_eq!(why, format!("is encrypted and no identity was given (--identity FILE); {recipients}"));
    let wrong = machine.refused(&["volume", "restore", "latest", "out", "--identity", "stranger"]);
    let (_, why) = wrong.split_once(' ').expect("the object comes first");
    assert_eq!(why, format!("is encrypted and the identity given does not open it; {recipients}"));
    assert!(!machine.path("out").exists());
    let cat = machine.refused(&["volume", "cat", "latest", "a"]);
    assert!(cat.ends_with(&recipients), "{cat}");
}

#[test]
fn without_an_identity_the_machine_that_saved_lists_files_and_saves_on() {
    let (machine, first) = encrypted();
    assert_eq!(machine.json(&["volume", "ls", "latest"]).as_array().map(Vec::len), Some(8));
    let again = machine.json(&["volume", "backup", "src"]);
    assert_eq!(format!("src/{}", text(&again["commit"]["base"])), first);
    assert_eq!(
        text(&again["restore"]),
        format!("trysail volume restore {} TARGET --identity FILE", text(&again["snapshot"]))
    );
}

#[test]
fn a_single_recipient_is_warned_of_and_two_are_not() {
    let machine = Machine::new();
    let one = machine.run(&["repo", "init", "--repo", &machine.url("one"), "--recipient", ONE.0]);
    assert_eq!(
        one.stderr,
        format!(
            "Made a repository at file://$/one\nOnly {} can restore from it: if that one key is lost, everything is. \
             Better give a second --recipient, kept elsewhere.\n",
            ONE.0
        )
    );
    let file = machine.write("recipients", format!("# two\n{}\n\n{}\n", ONE.0, TWO.0));
    let file = file.to_str().expect("a path in UTF-8");
    let two = machine.run(&["repo", "init", "--repo", &machine.url("two"), "--recipients-file", file]);
    assert_eq!(two.stderr, "Made a repository at file://$/two\n");
    let stats = machine.json(&["repo", "stats", "--repo", &machine.url("two")]);
    assert_eq!(stats["recipients"], serde_json::json!([ONE.0, TWO.0]));
}

#[test]
fn an_ssh_key_is_a_recipient() {
    let (machine, _) = encrypted();
    let url = machine.url("ssh-repo");
    machine.back_up(&["src", "--repo", &url, "--recipient", SSH.0, "--recipient", ONE.0]);
    machine.succeed(&["volume", "restore", "latest", "out", "--repo", &url, "--identity", "ssh"]);
    assert_eq!(machine.tree("out"), machine.tree("src"));
}

#[test]
fn other_recipients_than_those_of_the_repository_are_refused() {
    let (machine, _) = encrypted();
    let refused = machine.refused(&["volume", "backup", "src", "--recipient", ONE.0]);
    let expected =
        format!("the repository exists and has other recipients: {}, {}; leave --recipient out", ONE.0, TWO.0);
    assert_eq!(refused, expected);
    let same = machine.run(&["volume", "backup", "src", "--recipient", TWO.0, "--recipient", ONE.0]);
    assert_eq!(same.code, Some(0), "{}", same.stderr);
}

#[test]
fn after_a_lost_machine_the_identity_alone_restores_and_saves_on() {
    let (machine, first) = encrypted();
    let machine = machine.forgetting();
    let refused = machine.refused(&["volume", "backup", "src"]);
    let expected = format!(
        "RepositoryKeyMissing: this machine has not the keys of this repository; take them over with `trysail repo adopt \
         --identity FILE`, with the identity of one of: {}, {}",
        ONE.0, TWO.0
    );
    assert_eq!(refused, expected);
    let adopt = machine.refused(&["repo", "adopt", "--identity", "stranger"]);
    assert!(adopt.ends_with(&format!("one of these recipients can open it: {}, {}", ONE.0, TWO.0)), "{adopt}");

    let adopted = machine.succeed(&["repo", "adopt", "--identity", "two"]);
    assert_eq!(adopted.lines().next(), Some("adopted    file://$/data/trysail/repo"));
    machine.succeed(&["volume", "restore", &first, "out", "--identity", "two"]);
    assert_eq!(machine.tree("out"), machine.tree("src"));
    let again = machine.json(&["volume", "backup", "src"]);
    assert_eq!(format!("src/{}", text(&again["commit"]["base"])), first);
    assert!(again["commit"]["bytes"]["stored"].as_u64() < Some(100_000), "{again}");
    for secret in [machine.path("other-state/trysail/keys"), machine.path("other-state/trysail/pins")] {
        for file in fs::read_dir(secret).expect("a directory") {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = file.expect("a name").metadata().expect("metadata").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}

#[test]
fn a_drill_proves_with_an_identity_what_is_only_stored_without_one_and_fails_where_a_pack_is_gone() {
    let (machine, first) = encrypted();
    let newest = machine.back_up(&["src"]);
    let verdict = |arguments: &[&str]| {
        let drilled = machine.json(&[&["drill"], arguments].concat());
        (text(&drilled["verdict"]), drilled["snapshots"].clone(), drilled["report"]["snapshots"].clone())
    };
    let told = |word: &str, snapshot: &str| (word.to_owned(), serde_json::json!([snapshot]), serde_json::json!(1));
    assert_eq!(verdict(&[]), told("stored", &newest));
    assert_eq!(verdict(&["--identity", "two"]), told("proven", &newest));
    assert_eq!(verdict(&[&first, "--identity", "two"]), told("proven", &first));
    let pack = machine.objects("v1/p").into_iter().next().expect("a pack");
    fs::remove_file(&pack).expect("a pack to lose");
    let failed = machine.run(&["drill", "--identity", "two"]);
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    let last = failed.stdout.lines().last().unwrap_or_default();
    assert_eq!(last, "verdict    failed: something that a restore needs is missing or damaged");
    assert!(failed.stdout.starts_with("damage: "), "{}", failed.stdout);
}
