//! Files of ours and of the real sops and vals are one another's (feature `store`; needs Go).
#![cfg(feature = "store")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use trysail_sops::{Format, Identities, Opened, Rules, Sealed, guard::Guard, open, reference::Reference, seal};
use trysail_tests::tools::Tool;

/// Keys of these tests alone.
const IDENTITY: &str = "AGE-SECRET-KEY-17P77WNTE5495TT87HHVCYK05L2R2XFVRKWW49K5WT77CWH842YCQZGERWL";
const RECIPIENT: &str = "age125a2xzja2mg5p9rc72gmlsp55676x0tp9jc5zmaswlfpp6e89fcqrys9td";
const SECOND: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

/// A directory with `.sops.yaml`, in which programs run.
struct Desk {
    directory: TempDir,
    rules: String,
}

impl Desk {
    fn new() -> Result<Self> {
        let rules = format!(
            "\
creation_rules:
  - path_regex: store\\.enc\\.(yaml|json)$
    age: {RECIPIENT}
  - path_regex: \\.sops\\.(yaml|json)$
    encrypted_regex: ^(data|stringData)$
    mac_only_encrypted: true
    age: {RECIPIENT}
"
        );
        let desk = Self { directory: tempfile::tempdir()?, rules };
        desk.write(".sops.yaml", &desk.rules)?;
        Ok(desk)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.path(name), text).with_context(|| name.to_owned())
    }

    fn read(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.path(name)).with_context(|| name.to_owned())
    }

    /// Runs a program; what it prints, and what it says beside that.
    fn run(&self, tool: Tool, arguments: &[&str]) -> Result<(String, String)> {
        let output = Command::new(tool.path()?)
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .env("HOME", self.directory.path())
            .env("SOPS_AGE_KEY", IDENTITY)
            .output()
            .with_context(|| format!("{} does not start", tool.name()))?;
        let (out, said) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr).into_owned());
        ensure!(output.status.success(), "{} {arguments:?}: {said}", tool.name());
        Ok((out, said))
    }

    /// Decrypts with sops; a comment that it cannot decrypt is an error here.
    fn sops_decrypts(&self, name: &str) -> Result<String> {
        let (plain, said) = self.run(Tool::Sops, &["decrypt", name])?;
        ensure!(!said.contains("unencrypted comment"), "{name}: {said}");
        Ok(plain)
    }

    /// Seals a text as a file of that name, over what is there.
    fn seal(&self, name: &str, text: &str) -> Result<Sealed> {
        let rules = Rules::parse(&self.read(".sops.yaml")?)?;
        let policy = rules.rule(name).context("a rule")?.policy()?;
        let last = self.path(name).exists().then(|| self.open(name)).transpose()?;
        let mut lookup = |reference: &Reference| {
            let file = self.open(&reference.file).map_err(|e| e.to_string())?;
            reference.value_in(&file)
        };
        let sealed = seal(text, format_of(name)?, &policy, last.as_ref(), &mut lookup, jiff::Timestamp::now())?;
        if let Sealed::Changed(text) = &sealed {
            trysail_sops::file::replace(&self.path(name), text)?;
        }
        Ok(sealed)
    }

    fn open(&self, name: &str) -> Result<Opened> {
        let mut identities = Identities::default();
        identities.add(IDENTITY)?;
        open(&self.read(name)?, format_of(name)?, &identities).with_context(|| name.to_owned())
    }

    /// Whether the guard lets a file pass.
    fn passes(&self, name: &str) -> Result<()> {
        let rules = Rules::parse(&self.read(".sops.yaml")?)?;
        assert_eq!(Guard::new(&rules).check(name, self.read(name)?.as_bytes()), []);
        Ok(())
    }
}

fn format_of(name: &str) -> Result<Format> {
    Format::of(name).with_context(|| name.to_owned())
}

/// The values of a text of YAML, without its form.
fn values(text: &str) -> Result<Json> {
    serde_saphyr::from_str(text).with_context(|| text.to_owned())
}

/// All that a Secret can have.
const SECRET: &str = "\
# a file
apiVersion: v1
kind: Secret
metadata: # of it
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
    flow: {a: [1, \"two\"], b: 'c'}
    list:
        # of the list
        - a # first
        # of the second
        - - 1.5
          - x: true
            y: null
    none:
    quoted: 'it''s: é😀'
    when: 2026-11-21
    # the last
type: Opaque
";

#[test]
fn sops_decrypts_what_is_sealed_here() -> Result<()> {
    let desk = Desk::new()?;
    desk.seal("a.sops.yaml", SECRET)?;
    let plain = desk.sops_decrypts("a.sops.yaml")?;
    let dated = SECRET.replace("2026-11-21", "2026-11-21T00:00:00Z");
    assert_eq!(values(&plain)?, values(&dated)?);
    for comment in [
        "# a file",
        "# its name",
        "# beside",
        "# in it,",
        "# the profile",
        "# of the list",
        "# first",
        "# of the second",
        "# the last",
    ] {
        ensure!(plain.contains(comment), "{comment} is not in {plain}");
    }
    desk.passes("a.sops.yaml")?;
    desk.seal("store.enc.yaml", "# top\na: {b: c}\nd_unencrypted: e\n---\nf: 1\n")?;
    assert_eq!(desk.sops_decrypts("store.enc.yaml")?, "# top\na:\n    b: c\nd_unencrypted: e\n---\nf: 1\n");
    Ok(())
}

#[test]
fn sops_decrypts_json_that_is_sealed_here() -> Result<()> {
    let desk = Desk::new()?;
    let plain = json!({"kind": "Secret", "data": {"a": "\u{e9}/\"\\\n", "n": -1, "f": 1.5, "l": [true, null, {}, ""]}});
    desk.seal("a.sops.json", &plain.to_string())?;
    let decrypted: Json = serde_json::from_str(&desk.sops_decrypts("a.sops.json")?)?;
    assert_eq!(decrypted, plain);
    desk.passes("a.sops.json")
}

#[test]
fn files_stay_ours_after_sops_edited_updated_and_rotated_them() -> Result<()> {
    let desk = Desk::new()?;
    let name = "a.sops.yaml";
    desk.seal(name, SECRET)?;
    desk.run(Tool::Sops, &["set", name, "[\"stringData\"][\"count\"]", "6"])?;
    let edited = SECRET.replace("count: 5", "count: 6");
    let dated = values(&edited.replace("2026-11-21", "2026-11-21T00:00:00Z"))?;
    assert_eq!(values(desk.open(name)?.text())?, dated);
    assert_eq!(desk.seal(name, &edited)?, Sealed::Unchanged, "what sops wrote is kept");

    desk.write(".sops.yaml", &desk.rules.replace(RECIPIENT, &format!("{RECIPIENT},{SECOND}")))?;
    desk.run(Tool::Sops, &["updatekeys", "--yes", name])?;
    ensure!(desk.read(name)?.contains(SECOND), "sops adds the recipient");
    assert_eq!(desk.seal(name, &edited)?, Sealed::Unchanged, "the recipients are those of the rule");

    let before = desk.read(name)?;
    desk.run(Tool::Sops, &["rotate", "--in-place", name])?;
    ensure!(desk.read(name)? != before, "sops makes another data key");
    assert_eq!(values(desk.open(name)?.text())?, dated);
    assert_eq!(desk.seal(name, &edited)?, Sealed::Unchanged);
    let Sealed::Changed(_) = desk.seal(name, SECRET)? else { anyhow::bail!("5 is not 6") };
    assert_eq!(values(&desk.sops_decrypts(name)?)?, values(&SECRET.replace("2026-11-21", "2026-11-21T00:00:00Z"))?);
    desk.passes(name)
}

/// What sops may find in a file.
const ALL: &str = "\
# top

# second
text: plain
empty: \"\"
space: ' '
number: 12
negative: -0x1f
octal: 0o17
large: 9223372036854775807
float: 1.25
exponent: 1e21
word: yes
truth: \"true\"
bool: true
other: False
nothing: null
tilde: ~
date: 2026-11-21
time: 2026-11-21T04:05:06.5+02:00
multi: |
    one
      two

    three
kept: |+
    one

stripped: |-
    - a
    # no comment
trailing: \"a \\nb\"
unicode: \"\\u00e9 \\U0001F600 \\u2028 \\u0085\"
colon: 'a: b'
hash: 'a #b'
long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb ccccccccccccccccc
\"key with: colon\": 1
nested: # deep
    a:
        b: # deeper
            c: [1, [2, \"\"], {}]
            d: {}
            e: []
        # foot of a
    # foot of nested
list:
    # head
    - one # beside
    - - two
    # middle
    - x: 1
      # inside
      y: 2
    # foot
open_unencrypted: [1, x]
# end
";

#[test]
fn what_sops_wrote_opens_here_with_every_kind_of_value() -> Result<()> {
    let desk = Desk::new()?;
    // The second time readable values are a part of the MAC as well.
    let selections: [&[&str]; 4] = [
        &[],
        &["--mac-only-encrypted"],
        &["--encrypted-regex", "^(nested|list|multi|date)$"],
        &["--unencrypted-suffix", "t"],
    ];
    for selection in selections {
        // Another name, for which no rule of the file says how.
        desk.write("plain.yaml", ALL)?;
        let arguments =
            [&["--config", "/dev/null", "--age", RECIPIENT], selection, &["--encrypt", "plain.yaml"]].concat();
        let (sealed, _) = desk.run(Tool::Sops, &arguments)?;
        desk.write("sealed.yaml", &sealed)?;
        let (ours, theirs) = (desk.open("sealed.yaml")?, desk.sops_decrypts("sealed.yaml")?);
        assert_eq!(values(ours.text())?, values(&theirs)?, "{selection:?}");
        let comments = |text: &str| {
            text.lines().filter_map(|line| line.split_once("# ")).map(|(_, c)| c.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(comments(ours.text()), comments(&theirs), "{selection:?}");
    }
    Ok(())
}

#[test]
fn json_that_sops_wrote_opens_here() -> Result<()> {
    let desk = Desk::new()?;
    let plain = json!({"a": "\u{e9}<&>\u{2028}\t", "b": {"c": [1, -2.5, true, null, "", [], {}], "d": 12_345_678_901_234_567_i64}, "e": 1e300});
    desk.write("store.enc.json", &plain.to_string())?;
    desk.run(Tool::Sops, &["encrypt", "--in-place", "store.enc.json"])?;
    let opened: Json = serde_json::from_str(desk.open("store.enc.json")?.text())?;
    assert_eq!(opened, plain);
    desk.passes("store.enc.json")
}

#[test]
fn sops_decrypts_after_keys_were_sorted_and_the_namespace_changed() -> Result<()> {
    let desk = Desk::new()?;
    let plain = "kind: Secret\napiVersion: v1\nstringData:\n    z: 1\n    a: two\ndata:\n    k: YQ==\nmetadata:\n    namespace: old\n";
    desk.seal("a.sops.yaml", plain)?;
    let mut object = sort(values(&desk.read("a.sops.yaml")?)?);
    object["metadata"]["namespace"] = "new".into();
    desk.write("built.json", &object.to_string())?;
    let built: Json = serde_json::from_str(&desk.sops_decrypts("built.json")?)?;
    let mut expected = values(plain)?;
    expected["metadata"]["namespace"] = "new".into();
    assert_eq!(built, expected);
    Ok(())
}

fn sort(value: Json) -> Json {
    match value {
        Json::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().map(|(key, value)| (key, sort(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            fields.into_iter().collect()
        }
        other => other,
    }
}

#[test]
fn references_mean_what_they_mean_to_vals() -> Result<()> {
    let desk = Desk::new()?;
    fs::create_dir(desk.path("d"))?;
    let store = "minio:\n    user: backup\n    port: 9000\n    tls: true\n    ratio: 0.5\n    zip: \"01234\"\n    text: |\n        a\n        b\n";
    desk.seal("d/store.enc.yaml", store)?;
    let store = "d/store.enc.yaml";
    let absolute = desk.path(store);
    let absolute = absolute.to_str().context("a path in UTF-8")?;
    let references = [
        format!("ref+sops://{store}#minio/user"),
        format!("ref+sops://{store}#/minio/user"),
        format!("secretref+sops://{store}#/minio/port"),
        format!("ref+sops://{absolute}#/minio/tls"),
        format!("ref+sops://{store}#/minio/ratio"),
        format!("ref+sops://{store}#/minio/zip"),
        format!("ref+sops://{store}#/minio/text"),
        format!("ref+sops://{store}#/minio/user+"),
        format!("http://ref+sops://{store}#/minio/user+:ref+sops://{store}#/minio/port+/x"),
        format!("a=ref+sops://{store}#/minio/user b=ref+sops://{store}#/minio/ratio\nc=ref+sops://{store}#/minio/tls"),
        format!("{{\"a\": \"ref+sops://{store}#/minio/user\", \"b\": \"ref+sops://{store}#/minio/zip+\"}}"),
        "no ref+ here".to_owned(),
    ];
    let fields: serde_json::Map<String, Json> =
        references.iter().enumerate().map(|(at, text)| (format!("k{at:02}"), text.clone().into())).collect();
    let object = json!({ "stringData": fields }).to_string();
    desk.write("references.json", &object)?;
    let (evaluated, _) = desk.run(Tool::Vals, &["eval", "-o", "json", "-f", "references.json"])?;
    desk.seal("a.sops.json", &object)?;
    let ours: Json = serde_json::from_str(desk.open("a.sops.json")?.text())?;
    assert_eq!(ours, serde_json::from_str::<Json>(&evaluated)?);
    // vals reads what is sealed here, too.
    let (user, _) = desk.run(Tool::Vals, &["get", "ref+sops://a.sops.json#/stringData/k00"])?;
    assert_eq!(user.trim(), "backup");
    ensure!(Path::new(absolute).is_absolute(), "one reference is to an absolute path");
    Ok(())
}
