//! The guard catches what leaks and lets pass what does not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::collections::BTreeMap;

use trysail_sops::{
    Rules,
    guard::{Finding, Guard},
};

const RECIPIENT: &str = "age125a2xzja2mg5p9rc72gmlsp55676x0tp9jc5zmaswlfpp6e89fcqrys9td";
const STRANGER: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

/// A file that sops made.
const KNOWN: &str = include_str!("known.yaml");

fn rules() -> Rules {
    let text = format!(
        "\
creation_rules:
  - path_regex: ^secrets/.*\\.enc\\.(ya?ml|json|env)$
    age: {RECIPIENT}
  - path_regex: \\.sops\\.yaml$
    encrypted_regex: ^(data|stringData)$
    mac_only_encrypted: true
    age: {RECIPIENT}
  - age: {RECIPIENT}
"
    );
    Rules::parse(&text).unwrap()
}

/// A value of the known file.
fn ciphertext() -> &'static str {
    KNOWN.lines().find_map(|line| line.strip_prefix("    cloud: ")).unwrap()
}

/// Its metadata.
fn metadata() -> &'static str {
    &KNOWN[KNOWN.find("\nsops:").unwrap() + 1..]
}

/// A text in which `CIPHER` stands for ciphertext and `SOPS` for metadata; `WHOLE` for that of a file that is encrypted whole.
fn written(text: &str) -> String {
    let whole = metadata().replace("    encrypted_regex: ^(data|stringData)$\n", "");
    text.replace("CIPHER", ciphertext()).replace("WHOLE\n", &whole).replace("SOPS\n", metadata())
}

fn check(path: &str, text: &str) -> Vec<(usize, String)> {
    let rules = rules();
    let findings = Guard::new(&rules).check(path, text.as_bytes());
    findings.into_iter().map(|Finding { line, what }| (line, what)).collect()
}

/// What it is about, a path, a text, and findings.
type Case<'c> = (&'c str, &'c str, String, Vec<(usize, &'c str)>);

#[test]
fn fifteen_leaks_are_caught() {
    let pattern = "the rule ^secrets/.*\\.enc\\.(ya?ml|json|env)$ wants it to be";
    let unsealed = format!("not sealed, and {pattern}");
    let identity = format!("AGE-SECRET-{}", "KEY-17P77WNTE5495TT87HHVCYK05L2R2XFVRKWW49K5WT77CWH842YCQZGERWL");
    let key = format!("aws_secret_{} = wJalrXUtnFEMIK7MDENGbPxRfiCY", "access_key");
    let pem = format!("-----BEGIN OPENSSH PRIVATE {}-----\nb3Bl\n", "KEY");
    let stranger = KNOWN.replace(RECIPIENT, STRANGER);
    let not_mine = format!("{RECIPIENT} cannot open it; run `sops updatekeys`");
    let not_named = format!("{STRANGER} can open it, and .sops.yaml does not name that recipient");
    let without_mac = KNOWN.replace("    mac: ENC", "    other: ENC");
    let second = format!("{}---\n{}", written("data:\n    a: CIPHER\nSOPS\n"), "data:\n    b: readable\n");
    let json = "{\"kind\": \"List\", \"items\": [{\"kind\": \"Secret\", \"data\": {\"a\": \"YQ==\"}}]}";
    let copy =
        "metadata:\n    annotations:\n        kubectl.kubernetes.io/last-applied-configuration: '{}'\nkind: Secret\n";
    let leaks: [Case<'_>; 15] = [
        ("a store in plain text", "secrets/a.enc.yaml", "a: readable\n".to_owned(), vec![(1, unsealed.as_str())]),
        ("a store of variables", "secrets/a.enc.env", "A=readable\n".to_owned(), vec![(1, unsealed.as_str())]),
        (
            "a key added by hand",
            "secrets/a.enc.yaml",
            written("a: CIPHER\nb: readable\nWHOLE\n"),
            vec![(2, "b is readable")],
        ),
        (
            "a Secret in plain text",
            "app/a.yaml",
            "kind: Secret\nstringData:\n    a: x\n".to_owned(),
            vec![(3, "stringData.a is readable")],
        ),
        (
            "a Secret half encrypted",
            "app/a.sops.yaml",
            written("kind: Secret\nstringData:\n    a: CIPHER\ndata: {b: YQ==}\nSOPS\n"),
            vec![(4, "data.b is readable")],
        ),
        (
            "a block of text",
            "app/a.sops.yaml",
            written("data:\n    a: |\n        ENC[AES256_GCM,\n        x\nSOPS\n"),
            vec![(3, "data.a is readable")],
        ),
        (
            "what looks like ciphertext",
            "app/a.sops.yaml",
            written("data:\n    a: \"ENC[secret]\"\nSOPS\n"),
            vec![(2, "data.a is readable")],
        ),
        (
            "an alias to a readable value",
            "app/a.sops.yaml",
            written("x: &x secret\ndata:\n    a: *x\nSOPS\n"),
            vec![(3, "data.a is readable")],
        ),
        ("a second document", "app/a.sops.yaml", second, vec![(21, "data.b is readable")]),
        ("a list of objects in JSON", "app/a.json", json.to_owned(), vec![(1, "items[0].data.a is readable")]),
        (
            "a copy of kubectl's",
            "app/a.yaml",
            copy.to_owned(),
            vec![(3, "metadata.annotations.kubectl.kubernetes.io/last-applied-configuration is readable")],
        ),
        (
            "a comment among values",
            "app/a.sops.yaml",
            written("data:\n    # it was: hunter2\n    a: CIPHER\nSOPS\n"),
            vec![(2, "a comment among encrypted values is readable")],
        ),
        ("another recipient", "app/a.sops.yaml", stranger, vec![(1, not_mine.as_str()), (1, not_named.as_str())]),
        ("no seal over the values", "app/a.sops.yaml", without_mac, vec![(1, "its `sops` block: it has no mac")]),
        (
            "keys anywhere",
            "README.md",
            format!("{identity}\n{key}\n{pem}"),
            vec![
                (1, "an age identity stands here"),
                (2, "a secret key of an object store stands here"),
                (3, "a private key stands here"),
            ],
        ),
    ];
    for (name, path, text, expected) in leaks {
        let found = check(path, &text);
        let expected: Vec<(usize, String)> = expected.into_iter().map(|(line, what)| (line, what.to_owned())).collect();
        assert_eq!(found, expected, "{name}:\n{text}");
        let values = ["hunter2", "YQ==", "wJalr"];
        assert!(
            found.iter().all(|(_, what)| values.iter().all(|value| !what.contains(value))),
            "{name} repeats a value"
        );
    }
}

#[test]
fn fifteen_clean_files_pass() {
    let json = "{\"kind\": \"Secret\", \"data\": {\"a\": \"CIPHER\"}}";
    let template = "kind: Secret\nstringData:\n  {{- range . }}\n  a: {{ .b }}\n  {{- end }}\n";
    let known =
        format!("AGE-SECRET-{} # gitleaks:allow\n", "KEY-17P77WNTE5495TT87HHVCYK05L2R2XFVRKWW49K5WT77CWH842YCQZGERWL");
    let clean: BTreeMap<&str, (&str, String)> = BTreeMap::from([
        ("a file of sops", ("app/a.sops.yaml", KNOWN.to_owned())),
        ("the same in JSON", ("app/a.json", written(json))),
        ("a store", ("secrets/a.enc.yaml", written("a: CIPHER\nb:\n    - CIPHER\nc_unencrypted: open\nWHOLE\n"))),
        (
            "nothing to encrypt",
            ("app/a.sops.yaml", written("data:\n    a: \"\"\n    b:\n    c: {}\n    d: []\nSOPS\n")),
        ),
        ("ciphertext in quotes and braces", ("app/a.sops.yaml", written("data: {a: \"CIPHER\", b: 'CIPHER'}\nSOPS\n"))),
        ("metadata in the midst", ("app/a.sops.yaml", written("SOPS\nstringData:\n    a: CIPHER\ntype: Opaque\n"))),
        (
            "two documents",
            ("app/a.sops.yaml", written("data:\n    a: CIPHER\nSOPS\n---\ndata:\n    b: CIPHER\nSOPS\n")),
        ),
        (
            "an encrypted comment",
            ("app/a.sops.yaml", written("# of all\ndata:\n    #CIPHER\n    a: CIPHER #CIPHER\nSOPS\n")),
        ),
        (
            "references",
            ("app/a.yaml", "kind: Secret\nstringData:\n    a: ref+sops://secrets/a.enc.yaml#/a/b\n".to_owned()),
        ),
        ("a Secret without values", ("app/a.yaml", "kind: Secret\nmetadata: {name: token}\n".to_owned())),
        ("another kind with data", ("app/a.yaml", "kind: ConfigMap\ndata: {a: readable}\n".to_owned())),
        (
            "a mention of a Secret",
            ("app/a.yaml", "valuesFrom: [{kind: Secret, name: data}]\ndata: {a: b}\n".to_owned()),
        ),
        ("a template", ("app/a.yaml", template.to_owned())),
        ("a text with a known key", ("README.md", known)),
        (
            "words about keys",
            ("README.md", format!("aws_secret_{} = …\naws_secret_{}: ref+sops://a#b\n", "access_key", "access_key")),
        ),
    ]);
    assert_eq!(clean.len(), 15);
    for (name, (path, text)) in clean {
        assert_eq!(check(path, &text), [], "{name}:\n{text}");
    }
}

#[test]
fn the_rules_are_not_what_they_want_sealed() {
    assert_eq!(check(".sops.yaml", "creation_rules: []\n"), []);
    assert_eq!(check("app/.sops.yaml", "creation_rules: []\n"), []);
}

#[test]
fn without_rules_secrets_and_keys_are_found_still() {
    let rules = Rules::default();
    let findings = Guard::new(&rules).check("a.yaml", b"kind: Secret\ndata: {a: YQ==}\n");
    assert_eq!(findings, [Finding { line: 2, what: "data.a is readable".to_owned() }]);
    assert_eq!(Guard::new(&rules).check("secrets/a.enc.yaml", b"a: readable\n"), []);
}
