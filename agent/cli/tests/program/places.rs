//! Where a repository is, and what is found there instead.

use std::fs;

use crate::machine::Machine;

/// The root key that `repo init` printed.
fn root_key(printed: &str) -> String {
    printed.strip_prefix("root key   ").expect("the root key").trim_end().to_owned()
}

#[test]
fn a_repository_that_was_replaced_is_refused_until_its_root_key_is_said() {
    let machine = Machine::new();
    machine.write_source();
    let pinned = root_key(&machine.succeed(&["repo", "init"]));
    fs::rename(machine.repository(), machine.path("aside")).expect("a rename");
    let machine = machine.forgetting();
    let found = root_key(&machine.succeed(&["repo", "init"]));
    let machine = machine.remembering();
    let expected = format!(
        "{}: v1/repo.json is signed by root key {found}, but this repository was trusted with {pinned}: it was replaced by \
         another installation's, or by an attacker; adopt it with `trysail repo adopt --root {found}` if that is meant",
        "file://$/data/trysail/repo"
    );
    for arguments in [&["volume", "backup", "src"][..], &["volume", "list"], &["repo", "prune"], &["repo", "adopt"]] {
        assert_eq!(machine.refused(arguments), expected, "{arguments:?}");
    }
    assert_eq!(machine.refused(&["repo", "adopt", "--root", "mumble"]).split(": ").next(), Some("--root mumble"));
    machine.succeed(&["repo", "adopt", "--root", &found]);
    machine.succeed(&["volume", "backup", "src"]);
}

#[test]
fn a_place_without_a_repository_is_told_with_the_command_that_makes_one() {
    let machine = Machine::new();
    let missing = "there is no repository: v1/repo.json is missing; make one with `trysail repo init`";
    assert_eq!(machine.refused(&["volume", "list"]), format!("file://$/data/trysail/repo: {missing}"));
    fs::create_dir(machine.path("empty")).expect("a directory");
    let url = machine.url("empty");
    assert_eq!(machine.refused(&["repo", "stats", "--repo", &url]), format!("file://$/empty: {missing}"));
    assert_eq!(
        machine.refused(&["volume", "restore", "latest", "out", "--repo", &url]),
        format!("file://$/empty: {missing}")
    );
    assert!(!machine.path("out").exists() && !machine.path("data").exists());
}

#[test]
fn a_repository_is_not_made_twice() {
    let machine = Machine::new();
    machine.succeed(&["repo", "init"]);
    let keys = || fs::read_dir(machine.path("state/trysail/keys")).expect("a directory").count();
    let again = machine.refused(&["repo", "init"]);
    assert_eq!(again, "file://$/data/trysail/repo: there is a repository already; use it, or give another --repo");
    assert_eq!(keys(), 1);
}

#[test]
fn a_repository_of_another_program_is_left_alone() {
    let machine = Machine::new();
    machine.write_source();
    machine.write("restic/config", "sealed");
    machine.write("restic/data/00/00ff", "sealed");
    machine.write("kopia/kopia.repository.f", "{}");
    for (place, object, programs) in
        [("restic", "config", "restic, rustic or borg"), ("kopia", "kopia.repository.f", "kopia")]
    {
        let url = machine.url(place);
        let before = machine.tree(place);
        let expected = format!(
            "file://$/{place}: {object} is there, which a repository of {programs} has: Trysail does not write into it; \
             choose another place"
        );
        for arguments in [&["volume", "backup", "src"][..], &["repo", "init"], &["volume", "list"]] {
            assert_eq!(machine.refused(&[arguments, &["--repo", &url]].concat()), expected);
        }
        assert_eq!(machine.tree(place), before);
    }
}

#[test]
fn a_repo_json_of_another_program_or_of_a_newer_format_is_refused() {
    let machine = Machine::new();
    machine.write_source();
    let url = machine.url("other");
    for text in ["", "mumble", "{\"version\":2}", "[1]"] {
        machine.write("other/v1/repo.json", text);
        let expected =
            "file://$/other: v1/repo.json: it is not the repo.json of a Trysail repository; choose another place";
        assert_eq!(machine.refused(&["volume", "backup", "src", "--repo", &url]), expected, "{text}");
    }
    machine.succeed(&["repo", "init"]);
    let path = machine.repository().join("v1/repo.json");
    let ours = fs::read_to_string(&path).expect("the object");
    fs::remove_file(&path).expect("a removal");
    for (from, to, shown) in [
        ("\"tarext/1\"", "\"tarext/2\"", "tarext/2 level 1"),
        ("\"min_reader\":1", "\"min_reader\":7", "tarext/1 level 7"),
    ] {
        fs::write(&path, ours.replace(from, to)).expect("a file");
        let expected = format!(
            "file://$/data/trysail/repo: v1/repo.json: it is of format {shown}; this program reads tarext/1 up to level 1: \
             use a newer trysail"
        );
        assert_eq!(machine.refused(&["volume", "list"]), expected);
    }
}

#[test]
fn an_address_that_cannot_be_meant_is_refused_with_its_form() {
    let machine = Machine::new();
    machine.write("file", "");
    let forms = "a repository is file:///dir or s3://bucket/prefix?endpoint=…&region=…";
    let s3 = "s3://b/p?endpoint=http://127.0.0.1:9";
    let credentials =
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SHARED_CREDENTIALS_FILE to a file with them";
    for (url, expected) in [
        ("mumble".to_owned(), format!("mumble: {forms}")),
        ("http://host/x".to_owned(), format!("http://host/x: {forms}")),
        ("file://dir/x".to_owned(), "file://dir/x: a file URL has an absolute path: file:///dir".to_owned()),
        (
            machine.url("file"),
            "file://$/file: no such bucket or directory: $/file: Not a directory (os error 20)".to_owned(),
        ),
        (
            "s3://b/p?endpoint=127.0.0.1:9".to_owned(),
            "s3://b/p?endpoint=127.0.0.1:9: invalid request: endpoint: it has the form http://host:port or https://host"
                .to_owned(),
        ),
        (s3.to_owned(), format!("{s3}: access denied: $/home/.aws/credentials: entity not found; {credentials}")),
    ] {
        assert_eq!(machine.refused(&["volume", "list", "--repo", &url]), expected);
    }
}

#[test]
fn an_endpoint_that_is_down_is_told_while_somebody_is_looking() {
    let machine = Machine::new();
    let url = "s3://b/p?endpoint=http://127.0.0.1:1";
    let mut command = machine.command(&["-q", "volume", "list", "--repo", url]);
    command.envs([("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
    let ran = machine.ran(command.output().expect("the program starts"));
    let expected = format!(
        "error: {url}: the store did not answer: v1/repo.json: error sending request: client error (Connect): tcp connect \
         error: Connection refused (os error 111); gave up after 15 s; is the address right, and does the store run?\n"
    );
    assert_eq!((ran.code, ran.stderr), (Some(1), expected));
}

#[test]
fn a_repository_within_its_source_is_left_out_and_said_so() {
    let machine = Machine::new();
    machine.write("all/a", "alpha");
    fs::create_dir_all(machine.path("all/odd [x] *")).expect("a directory");
    let url = machine.url("all/odd [x] */repo");
    let first = machine.run(&["volume", "backup", "all", "--repo", &url]);
    assert_eq!(first.code, Some(0));
    assert_eq!(first.stderr.lines().last(), Some("warning: odd [x] */repo: the repository itself, not saved"));
    let listed = machine.json(&["volume", "ls", "latest", "--repo", &url]);
    let paths: Vec<&str> = listed.as_array().expect("a list").iter().filter_map(|row| row["path"].as_str()).collect();
    assert_eq!(paths, [".", "a", "odd [x] *"]);
    for inside in ["all/odd [x] */repo", "all/odd [x] */repo/v1/p"] {
        let refused = machine.refused(&["volume", "backup", inside, "--repo", &url]);
        let expected = format!("$/{inside}: this is the repository itself, or lies in it; back up another directory");
        assert_eq!(refused, expected);
    }
}
