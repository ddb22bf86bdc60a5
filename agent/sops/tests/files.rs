//! Files as a whole: what is sealed comes back, what did not change stays, and what was changed is told.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use trysail_sops::{
    Error, Format, Identities, Policy, Recipient, Rules, Sealed, open,
    reference::{Lookup, Reference},
    seal,
};

const IDENTITY: &str = "AGE-SECRET-KEY-17P77WNTE5495TT87HHVCYK05L2R2XFVRKWW49K5WT77CWH842YCQZGERWL";
const RECIPIENT: &str = "age125a2xzja2mg5p9rc72gmlsp55676x0tp9jc5zmaswlfpp6e89fcqrys9td";
const OTHER: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

/// A file that sops 3.13.2 made.
const KNOWN: &str = include_str!("known.yaml");

fn identities() -> Identities {
    let mut identities = Identities::default();
    identities.add(IDENTITY).unwrap();
    identities
}

/// A policy; with a pattern, only values below keys that match are encrypted.
fn policy(encrypted_regex: &str) -> Policy {
    let text = format!("creation_rules: [{{encrypted_regex: {encrypted_regex:?}, age: {RECIPIENT}}}]");
    Rules::parse(&text).unwrap().rule("any").unwrap().policy().unwrap()
}

fn refuse(_: &Reference) -> Result<trysail_sops::Value, String> {
    Err("there are no references here".to_owned())
}

/// Seals at a second of a day.
fn sealed(text: &str, format: Format, policy: &Policy, last: Option<&str>, second: i64) -> Result<Sealed, Error> {
    let last = last.map(|last| open(last, format, &identities())).transpose()?;
    let now = jiff::Timestamp::from_second(1_763_700_000 + second).unwrap();
    seal(text, format, policy, last.as_ref(), &mut refuse, now)
}

fn changed(text: &str, format: Format, policy: &Policy) -> String {
    match sealed(text, format, policy, None, 0).unwrap() {
        Sealed::Changed(text) => text,
        Sealed::Unchanged => panic!("there was no file before"),
    }
}

fn opened(text: &str) -> String {
    open(text, Format::Yaml, &identities()).unwrap().text().to_owned()
}

const SECRET: &str = "\
# a file
apiVersion: v1
kind: Secret
metadata: # of it
# what it is called
    name: s3 # its name
    labels: {app: velero}
stringData: # beside
# in it, though it does not look so
    # the profile
    cloud: |
        [default]
        aws_access_key_id = AKIA

        region = \"x\"
    count: 5
    empty: \"\"
    folded: >-
        one
        two
    list:
    # of the list
    - a # first
    - - 1.5
      - x: true
        y: null
    none:
    quoted: 'it''s'
    when: 2026-11-21
    # the last
type: Opaque
";

#[test]
fn the_known_answer_opens() {
    let expected = "\
apiVersion: v1
kind: Secret
metadata:
    name: velero-s3-secret
    namespace: velero
type: Opaque
stringData:
    cloud: |
        [default]
        aws_access_key_id = AKIAEXAMPLE
        aws_secret_access_key = secret/with+chars
    empty: \"\"
";
    assert_eq!(opened(KNOWN), expected);
}

#[test]
fn what_is_sealed_comes_back_with_order_comments_and_types() {
    let policy = policy("^(data|stringData)$");
    let file = changed(SECRET, Format::Yaml, &policy);
    for readable in ["AKIA", "in it", "profile", "of the list", "first", "the last", "2026-11-21\n", "  one\n"] {
        assert!(!file.contains(readable), "{readable} can be read in {file}");
    }
    for kept in [
        "# a file\n",
        "# beside\n",
        "# what it is called\n",
        "# its name\n",
        "labels: {app: velero}\n",
        "    none:\n",
        "    empty: \"\"\n",
    ] {
        assert!(file.contains(kept), "{kept} is not in {file}");
    }
    let expected = SECRET
        .replace(">-\n        one\n        two", "\"one two\"")
        .replace("'it''s'", "\"it's\"")
        .replace("2026-11-21", "2026-11-21T00:00:00Z");
    assert_eq!(opened(&file), expected);
}

#[test]
fn a_file_without_a_selection_is_encrypted_whole_but_for_marked_keys() {
    let text = format!("creation_rules: [{{age: {RECIPIENT}}}]");
    let policy = Rules::parse(&text).unwrap().rule("any").unwrap().policy().unwrap();
    let plain = "# top\na: 1\nb_unencrypted: open\nc:\n    - d\n---\ne: f\n";
    let file = changed(plain, Format::Yaml, &policy);
    assert!(file.contains("b_unencrypted: open\n") && !file.contains("top") && file.matches("\nsops:\n").count() == 2);
    assert_eq!(opened(&file), plain);
}

#[test]
fn json_stays_json() {
    let plain =
        "{\n  \"kind\": \"Secret\",\n  \"data\": {\"a\": \"b\\u00e9\\/\", \"n\": 1.5, \"l\": [true, null, {}]}\n}\n";
    let file = changed(plain, Format::Json, &policy("^data$"));
    let value: serde_json::Value = serde_json::from_str(&file).unwrap();
    assert_eq!((&value["kind"], &value["sops"]["mac_only_encrypted"]), (&"Secret".into(), &true.into()));
    let back = open(&file, Format::Json, &identities()).unwrap().text().to_owned();
    assert_eq!(back, plain.replace("\\u00e9\\/", "é/"));
}

#[test]
fn a_file_whose_values_did_not_change_stays_as_it_is() {
    let policy = policy("^(data|stringData)$");
    let file = changed(SECRET, Format::Yaml, &policy);
    assert_eq!(sealed(SECRET, Format::Yaml, &policy, Some(&file), 60), Ok(Sealed::Unchanged));
    let differently_written = SECRET.replace("'it''s'", "it's").replace("    cloud: |", "    cloud:  |");
    assert_eq!(sealed(&differently_written, Format::Yaml, &policy, Some(&file), 60), Ok(Sealed::Unchanged));
}

#[test]
fn a_change_changes_the_lines_that_it_must() {
    let policy = policy("^(data|stringData)$");
    let file = changed(SECRET, Format::Yaml, &policy);
    let edited = SECRET.replace("count: 5", "count: 6");
    let Ok(Sealed::Changed(next)) = sealed(&edited, Format::Yaml, &policy, Some(&file), 60) else { panic!("a change") };
    let differ: Vec<&str> = file
        .lines()
        .zip(next.lines())
        .filter(|(a, b)| a != b)
        .map(|(a, _)| a.trim().split(':').next().unwrap())
        .collect();
    assert_eq!(differ, ["count", "lastmodified", "mac"]);
    assert!(opened(&next).contains("count: 6\n"));
    let label = SECRET.replace("velero", "backup");
    let Ok(Sealed::Changed(next)) = sealed(&label, Format::Yaml, &policy, Some(&file), 60) else { panic!("a change") };
    assert!(next.contains("labels: {app: backup}"), "a readable value counts too");
}

#[test]
fn other_recipients_get_another_data_key() {
    let first = policy("^(data|stringData)$");
    let file = changed(SECRET, Format::Yaml, &first);
    let mut second = first.clone();
    second.recipients.push(Recipient::parse(OTHER).unwrap());
    let Ok(Sealed::Changed(next)) = sealed(SECRET, Format::Yaml, &second, Some(&file), 60) else { panic!("a change") };
    let ciphertext =
        |text: &str| text.lines().filter(|line| line.contains("type:str")).map(str::to_owned).collect::<Vec<_>>();
    assert!(ciphertext(&file).iter().all(|line| !next.contains(line)), "no value is taken over");
    assert_eq!((next.matches("recipient: age1").count(), opened(&next)), (2, opened(&file)));
}

#[test]
fn kustomize_may_sort_keys_and_write_another_namespace() {
    let plain = "kind: Secret\napiVersion: v1\nstringData:\n    z: 1\n    a: two\ndata:\n    k: YQ==\nmetadata:\n    namespace: old\n";
    let file = changed(plain, Format::Yaml, &policy("^(data|stringData)$"));
    // Through JSON, whose keys are sorted.
    let value: serde_json::Value = {
        let parsed: std::collections::BTreeMap<String, serde_json::Value> = serde_saphyr::from_str(&file).unwrap();
        serde_json::to_value(parsed).unwrap()
    };
    let mut sorted = sort(value);
    sorted["metadata"]["namespace"] = "new".into();
    let back = open(&sorted.to_string(), Format::Json, &identities()).unwrap();
    let value = |path: &[&str]| back.value(path).cloned();
    assert!(value(&["stringData", "a"]) == Some(trysail_sops::Value::text("two")));
    assert!(value(&["metadata", "namespace"]) == Some(trysail_sops::Value::text("new")));
}

fn sort(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().map(|(key, value)| (key, sort(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            fields.into_iter().collect()
        }
        other => other,
    }
}

#[test]
fn what_was_changed_without_sops_does_not_open() {
    let policy = policy("^(data|stringData)$");
    let plain = "stringData:\n    a: one\n    b: two\n";
    let file = changed(plain, Format::Yaml, &policy);
    let error = |text: &str| open(text, Format::Yaml, &identities()).unwrap_err();
    let lines: Vec<&str> = file.lines().collect();
    let values = [lines[1].split_once(": ").unwrap().1, lines[2].split_once(": ").unwrap().1];
    let swapped = file.replace(values[0], "<>").replace(values[1], values[0]).replace("<>", values[1]);
    let moved = "it does not open: damaged, or moved from elsewhere";
    assert_eq!(error(&swapped), Error::Value { path: "stringData.a".to_owned(), what: moved });
    assert_eq!(error(&file.replace(&format!("{}\n", lines[2]), "")), Error::Mac);
    let readable = "not encrypted, where the `sops` block says that it is";
    assert_eq!(
        error(&file.replace(values[1], "plain")),
        Error::Value { path: "stringData.b".to_owned(), what: readable }
    );
    assert_eq!(
        error(&file.replace("lastmodified: \"2", "lastmodified: \"3")),
        Error::Value { path: "sops.mac".to_owned(), what: moved }
    );
    assert_eq!(error(plain), Error::NotSealed);
    let stranger = open(&file, Format::Yaml, &Identities::default()).unwrap_err();
    assert_eq!(stranger, Error::NoIdentity { given: 0, recipients: vec![RECIPIENT.to_owned()] });
}

#[test]
fn forms_that_sops_does_not_keep_are_refused() {
    let policy = policy("^data$");
    let refused = |text: &str| sealed(text, Format::Yaml, &policy, None, 0).unwrap_err().to_string();
    let form = |what: &str| format!("line 1: {what}, which a SOPS file cannot have; write the value out");
    assert_eq!(refused("data: &a x\n"), form("an anchor"));
    assert_eq!(refused("data: !!binary YQ==\n"), form("a tag"));
    assert_eq!(refused("1: x\n"), form("a key that is no text"));
    assert_eq!(refused("- x\n"), form("a document that is no mapping"));
    assert_eq!(refused(""), form("a file without a mapping"));
    assert_eq!(refused("a: 1\na: 2\n"), "line 2: the key a is there twice");
    assert_eq!(sealed(KNOWN, Format::Yaml, &policy, None, 0).unwrap_err(), Error::Sealed);
}

#[test]
fn references_are_sealed_as_their_values_and_never_written_readably() {
    let policy = policy("^stringData$");
    let file = open(KNOWN, Format::Yaml, &identities()).unwrap();
    let mut asked = Vec::new();
    let mut find = |reference: &Reference| {
        asked.push(reference.file.clone());
        reference.value_in(&file)
    };
    let lookup: &mut Lookup<'_> = &mut find;
    let now = jiff::Timestamp::UNIX_EPOCH;
    let plain = "stringData:\n    cloud: ref+sops://known.yaml#/stringData/cloud\n    name: <ref+sops://known.yaml#metadata/name+>\n";
    let Ok(Sealed::Changed(sealed)) = seal(plain, Format::Yaml, &policy, None, lookup, now) else {
        panic!("no change")
    };
    let expected = "\
stringData:
    cloud: |
        [default]
        aws_access_key_id = AKIAEXAMPLE
        aws_secret_access_key = secret/with+chars
    name: \"<velero-s3-secret>\"
";
    assert_eq!(opened(&sealed), expected);
    let exposed = seal("name: ref+sops://known.yaml#kind\n", Format::Yaml, &policy, None, lookup, now);
    assert_eq!(exposed, Err(Error::Exposed { path: "name".to_owned() }));
    for (key, what) in [("no", "the file has no such key"), ("stringData", "the value is a collection")] {
        let reference = format!("ref+sops://known.yaml#{key}");
        let refused = seal(&format!("stringData: {reference}\n"), Format::Yaml, &policy, None, lookup, now);
        assert_eq!(refused, Err(Error::Reference { path: "stringData".to_owned(), reference, what: what.to_owned() }));
    }
    assert_eq!(asked, ["known.yaml"; 5]);
}
