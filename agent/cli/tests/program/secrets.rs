//! SOPS files: sealed from references, kept where nothing changed, opened, and guarded before a commit.

use std::{fs, process::Command};

use crate::machine::{Machine, Ran};

/// A key of these tests alone.
const IDENTITY: &str = "AGE-SECRET-KEY-17P77WNTE5495TT87HHVCYK05L2R2XFVRKWW49K5WT77CWH842YCQZGERWL";
const RECIPIENT: &str = "age125a2xzja2mg5p9rc72gmlsp55676x0tp9jc5zmaswlfpp6e89fcqrys9td";

/// A machine with rules, an identity and a sealed store of values.
fn machine() -> Machine {
    let machine = Machine::new();
    let rules = format!(
        "\
creation_rules:
  - path_regex: ^secrets/.*\\.enc\\.yaml$
    age: {RECIPIENT}
  - path_regex: \\.sops\\.yaml$
    encrypted_regex: ^(data|stringData)$
    age: {RECIPIENT}
"
    );
    machine.write(".sops.yaml", rules);
    machine.write("key.txt", format!("# a key\n{IDENTITY}\n"));
    machine.write("secrets/a.enc.yaml", "minio:\n    user: backup\n    secret: s3cr3t\n    port: 9000\n");
    assert_eq!(machine.succeed(&["secrets", "seal", "secrets/a.enc.yaml"]), "sealed     secrets/a.enc.yaml\n");
    machine
}

/// A Secret as a module renders it.
const RENDERED: &str = "\
apiVersion: v1
kind: Secret
metadata:
    name: s3
stringData:
    cloud: |
        aws_access_key_id = ref+sops://secrets/a.enc.yaml#/minio/user
        aws_secret_access_key = ref+sops://secrets/a.enc.yaml#/minio/secret
";

const SEAL: [&str; 6] = ["secrets", "seal", "rendered.yaml", "app.sops.yaml", "--identity", "key.txt"];

#[test]
fn a_rendered_secret_is_sealed_with_its_references_and_stays_as_it_is_until_a_value_changes() {
    let machine = machine();
    machine.write("rendered.yaml", RENDERED);
    assert_eq!(machine.succeed(&SEAL), "sealed     app.sops.yaml\n");
    let sealed = fs::read_to_string(machine.path("app.sops.yaml")).unwrap();
    assert!(!sealed.contains("s3cr3t") && !sealed.contains("ref+sops"), "{sealed}");
    let opened = machine.succeed(&["secrets", "open", "app.sops.yaml", "--identity", "key.txt"]);
    let user = "ref+sops://secrets/a.enc.yaml#/minio/user";
    let secret = "ref+sops://secrets/a.enc.yaml#/minio/secret";
    assert_eq!(opened, RENDERED.replace(user, "backup").replace(secret, "s3cr3t"));
    assert_eq!(machine.succeed(&SEAL), "unchanged  app.sops.yaml\n");
    assert_eq!(fs::read_to_string(machine.path("app.sops.yaml")).unwrap(), sealed);
    machine.write("rendered.yaml", RENDERED.replace("name: s3", "name: s4"));
    let told = machine.json(&SEAL);
    assert_eq!(told, serde_json::json!({"file": "app.sops.yaml", "changed": true}));
}

#[test]
fn one_value_is_printed_and_identities_are_found_where_sops_looks() {
    let machine = machine();
    let open = ["secrets", "open", "secrets/a.enc.yaml", "minio/secret"];
    let by = |variable: &str, value: &str| {
        let output = machine.command(&open).env(variable, value).output().expect("the program starts");
        machine.ran(output)
    };
    let done = || Ran { code: Some(0), stdout: "s3cr3t\n".to_owned(), stderr: String::new() };
    assert_eq!(by("SOPS_AGE_KEY", IDENTITY), done());
    assert_eq!(by("SOPS_AGE_KEY_FILE", "key.txt"), done());
    let directory = machine.path("home/.config/sops/age");
    fs::create_dir_all(&directory).unwrap();
    let refused = machine.refused(&open);
    assert_eq!(refused, format!("secrets/a.enc.yaml: no identity opens it (0 tried); its recipients are {RECIPIENT}"));
    fs::copy(machine.path("key.txt"), directory.join("keys.txt")).unwrap();
    assert_eq!(machine.run(&open), done());
    assert_eq!(machine.json(&["secrets", "open", "secrets/a.enc.yaml", "minio/port"]), 9000);
    let refused = machine.refused(&["secrets", "open", "secrets/a.enc.yaml", "minio"]);
    assert_eq!(refused, "secrets/a.enc.yaml: minio: the value is a collection");
}

#[test]
fn what_cannot_be_sealed_is_told_and_the_target_stays_as_it_was() {
    let machine = machine();
    let seal = |text: &str| {
        machine.write("rendered.yaml", text);
        machine.refused(&SEAL)
    };
    let reference = "ref+sops://secrets/a.enc.yaml#/minio/absent";
    let refused = seal(&format!("stringData: {{a: \"{reference}\"}}\n"));
    assert_eq!(refused, format!("app.sops.yaml: stringData.a: {reference}: the file has no such key"));
    let refused = seal("metadata:\n    name: ref+sops://secrets/a.enc.yaml#/minio/user\n");
    let what = "a reference stands where the rule encrypts nothing, so its value would be readable";
    assert_eq!(refused, format!("app.sops.yaml: metadata.name: {what}"));
    assert!(!machine.path("app.sops.yaml").exists());
    let refused = machine.refused(&["secrets", "seal", "rendered.yaml", "other.yaml"]);
    assert_eq!(refused, "no rule of $/.sops.yaml matches other.yaml");
    machine.write("rendered.yaml", "stringData: {a: b}\n");
    machine.succeed(&SEAL);
    let without = ["secrets", "seal", "rendered.yaml", "app.sops.yaml"];
    let expected = "app.sops.yaml is there; without what is in it, it would change for nothing: \
                    no identity opens it (0 tried); its recipients are ";
    assert_eq!(machine.refused(&without), format!("{expected}{RECIPIENT}"));
    let sealed = machine.succeed(&["secrets", "seal", "app.sops.yaml"]);
    assert_eq!(sealed, "unchanged  app.sops.yaml\n", "a sealed file is left alone");
}

#[test]
fn the_guard_names_each_line_and_passes_when_it_is_sealed() {
    let machine = machine();
    fs::remove_file(machine.path("key.txt")).unwrap();
    machine.write("app/plain.sops.yaml", "kind: Secret\nstringData:\n    a: b\n");
    let found = machine.run(&["secrets", "check"]);
    let rule = "the rule \\.sops\\.yaml$ wants it to be";
    let stdout =
        format!("app/plain.sops.yaml:1: not sealed, and {rule}\napp/plain.sops.yaml:3: stringData.a is readable\n");
    assert_eq!(found, Ran { code: Some(1), stdout, stderr: "checked 3 files: 2 findings\n".to_owned() });
    machine.succeed(&["secrets", "seal", "app/plain.sops.yaml"]);
    let clean = Ran { code: Some(0), stdout: String::new(), stderr: "checked 3 files: 0 findings\n".to_owned() };
    assert_eq!(machine.run(&["secrets", "check"]), clean);
    assert_eq!(machine.json(&["secrets", "check", "app"]), serde_json::json!([]));
}

#[test]
fn the_guard_sees_what_is_staged_and_not_what_lies_there() {
    let machine = machine();
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(arguments).current_dir(machine.path("")).env("HOME", machine.path("home"));
        let output = git.output().expect("git starts");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    git(&["init", "-q"]);
    machine.write("app.sops.yaml", "stringData:\n    a: b\n");
    git(&["add", ".sops.yaml", "app.sops.yaml", "secrets"]);
    machine.succeed(&["secrets", "seal", "app.sops.yaml"]);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let check = || {
        let output = machine.command(&["-q", "secrets", "check", "--staged"]).env("PATH", &path).output();
        machine.ran(output.expect("the program starts"))
    };
    let what = "not sealed, and the rule \\.sops\\.yaml$ wants it to be";
    let stdout = format!("$/app.sops.yaml:1: {what}\n");
    assert_eq!(check(), Ran { code: Some(1), stdout, stderr: String::new() });
    git(&["add", "app.sops.yaml"]);
    assert_eq!(check(), Ran { code: Some(0), stdout: String::new(), stderr: String::new() });
}
