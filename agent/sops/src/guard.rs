//! The guard of a commit: what must be ciphertext and is not. No key is needed, and nothing is opened.
//!
//! Three questions to each file: does a rule of `.sops.yaml` that names files want it sealed, and is all that the rule covers
//! ciphertext; is it a Secret of Kubernetes whose values can be read; does it hold a key that is recognised by its form.

use regex::Regex;

use crate::{
    cipher,
    document::{self, Document, Format, Leaf, METADATA, Step, keys, shown},
    metadata::Metadata,
    reference,
    rules::{RULES, Rule, Rules},
    value::Value,
};

/// A line that must not be committed, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The line, from 1; that of the whole file is 1.
    pub line: usize,
    /// What is wrong there. It never repeats a value.
    pub what: String,
}

/// Where kubectl keeps a copy of the whole object, its secrets too.
const COPY: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A line with this word is not searched for keys: what it holds is known to be none. The word of gitleaks.
const ALLOWED: &str = "gitleaks:allow";

/// Patterns of keys, and what they are. In halves, so that this file does not look like one that holds them.
const KEYS: [(&str, &str); 4] = [
    (concat!("AGE-SECRET-", "KEY-(PQ-)?1[0-9A-Z]{50,}"), "an age identity"),
    (concat!("-----BEGIN [A-Z ]*PRIVATE", " KEY( BLOCK)?-----"), "a private key"),
    (
        concat!("(?i)aws_secret_", "access_key[\"']?[ \\t]*[:=][ \\t]*[\"']?[0-9a-z/+]{16,}"),
        "a secret key of an object store",
    ),
    (concat!("\\bey", "J[0-9A-Za-z_-]{10,}\\.eyJ[0-9A-Za-z_-]{10,}\\.[0-9A-Za-z_-]{10,}"), "a signed token"),
];

/// Looks at files with the rules of one `.sops.yaml`.
#[derive(Debug)]
pub struct Guard<'r> {
    rules: &'r Rules,
    keys: Vec<(Regex, &'static str)>,
}

impl<'r> Guard<'r> {
    /// A guard of these rules; without rules it knows Secrets and keys only.
    pub fn new(rules: &'r Rules) -> Self {
        let keys = KEYS.iter().filter_map(|(pattern, what)| Some((Regex::new(pattern).ok()?, *what)));
        Self { rules, keys: keys.collect() }
    }

    /// What must not be committed of a file, by its path below the directory of `.sops.yaml`; line by line.
    pub fn check(&self, path: &str, bytes: &[u8]) -> Vec<Finding> {
        // The usual pattern for sealed files, `\.sops\.yaml$`, matches the rules themselves.
        let is_rules = path.rsplit('/').next() == Some(RULES);
        let rule = self.rules.rule(path).filter(|rule| rule.names_files() && !is_rules);
        let Ok(text) = std::str::from_utf8(bytes) else {
            return rule.map(not_sealed).into_iter().collect();
        };
        let mut findings = self.keys_in(text);
        match (Format::of(path), rule) {
            (Some(format), rule) => findings.extend(structured(text, format, rule)),
            (None, Some(rule)) if !is_sealed_otherwise(text) => findings.push(not_sealed(rule)),
            (None, _) => {}
        }
        findings.sort();
        findings.dedup();
        findings
    }

    fn keys_in(&self, text: &str) -> Vec<Finding> {
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.contains(ALLOWED));
        let found = lines.flat_map(|(line, content)| {
            let found = self.keys.iter().filter(move |(regex, _)| regex.is_match(content));
            found.map(move |(_, what)| Finding { line, what: format!("{what} stands here") })
        });
        found.collect()
    }
}

fn not_sealed(rule: &Rule) -> Finding {
    Finding { line: 1, what: format!("not sealed, and the rule {} wants it to be", rule.pattern()) }
}

/// Whether a file that is neither YAML nor JSON by its name is one of sops: a binary one, or one of variables.
fn is_sealed_otherwise(text: &str) -> bool {
    let is_sealed = |value: &str| value.is_empty() || cipher::is_ciphertext(value);
    if let Ok(documents) = document::parse(text, Format::Json) {
        let is_whole = |document: &Document| document.text(&["data"]).is_some_and(is_sealed);
        return Metadata::of(&documents).is_ok() && documents.iter().all(is_whole);
    }
    let variables = || text.lines().filter_map(|line| line.split_once('='));
    variables().any(|(name, _)| name == "sops_mac")
        && variables().all(|(name, value)| name.starts_with("sops_") || is_sealed(value))
}

fn structured(text: &str, format: Format, rule: Option<&Rule>) -> Vec<Finding> {
    let documents = match document::parse(text, format) {
        Ok(documents) => documents,
        // A template is not YAML yet, and what it renders is not here.
        Err(_) if rule.is_none() && (text.contains("{{") || !names_secret(text)) => return Vec::new(),
        Err(error) => return vec![Finding { line: 1, what: format!("cannot be read: {error}") }],
    };
    let mut findings = Vec::new();
    if let Some(rule) = rule {
        findings.extend(ruled(&documents, rule));
    }
    for document in &documents {
        findings.extend(secrets(document));
    }
    findings
}

/// Whether a text that cannot be read has a line that says that it is a Secret.
fn names_secret(text: &str) -> bool {
    text.lines().any(|line| {
        let words = line.trim_start_matches(['-', ' ', '{']).replace(['"', '\''], "");
        words.strip_prefix("kind:").is_some_and(|kind| kind.trim_start().starts_with("Secret"))
    })
}

/// What a rule wants of a file: metadata that can be read, for the right people, and ciphertext in each document.
fn ruled(documents: &[Document], rule: &Rule) -> Vec<Finding> {
    let metadata = match Metadata::of(documents) {
        Ok(metadata) => metadata,
        Err(crate::Error::NotSealed) => return vec![not_sealed(rule)],
        Err(error) => return vec![Finding { line: 1, what: error.to_string() }],
    };
    let mut findings = recipients(&metadata, rule);
    if !cipher::is_ciphertext(&metadata.mac) {
        findings.push(Finding { line: 1, what: format!("{METADATA}.mac is no ciphertext") });
    }
    for document in documents {
        let covered = document.content().filter(|leaf| rule.selection().covers(keys(&leaf.path)));
        findings.extend(covered.filter(|leaf| !is_sealed(&leaf.value)).map(readable));
        for comment in document.remarks() {
            let is_covered = rule.selection().covers(keys(&comment.collection));
            if is_covered && !comment.text.is_empty() && !cipher::is_ciphertext(&comment.text) {
                let line = comment.line;
                findings.push(Finding { line, what: "a comment among encrypted values is readable".to_owned() });
            }
        }
    }
    findings
}

/// Whether a value is ciphertext, or nothing that could be encrypted.
fn is_sealed(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.is_empty() || cipher::is_ciphertext(text),
        Value::Null | Value::EmptyMapping | Value::EmptyList => true,
        Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::Time(_) | Value::Other => false,
    }
}

fn readable(leaf: &Leaf) -> Finding {
    Finding { line: leaf.line, what: format!("{} is readable", shown(&leaf.path)) }
}

fn recipients(metadata: &Metadata, rule: &Rule) -> Vec<Finding> {
    let sealed_for = metadata.recipients();
    if sealed_for.is_empty() && !metadata.has_other_keys {
        return vec![Finding { line: 1, what: "nobody can open it: it has no recipient".to_owned() }];
    }
    if rule.recipients.is_empty() {
        return Vec::new();
    }
    let strangers = sealed_for.iter().filter(|recipient| !rule.recipients.contains(recipient));
    let strangers =
        strangers.map(|recipient| format!("{recipient} can open it, and .sops.yaml does not name that recipient"));
    let missing = rule.recipients.iter().filter(|recipient| !sealed_for.contains(recipient));
    let missing = missing.map(|recipient| format!("{recipient} cannot open it; run `sops updatekeys`"));
    strangers.chain(missing).map(|what| Finding { line: 1, what }).collect()
}

/// Readable values of Secrets of Kubernetes, wherever in the document they are: in lists of objects too.
fn secrets(document: &Document) -> Vec<Finding> {
    let is_kind = |leaf: &&Leaf| {
        let is_secret = matches!(&leaf.value, Value::Text(text) if text.as_str() == "Secret");
        is_secret && matches!(leaf.path.last(), Some(Step::Key(key)) if key == "kind")
    };
    let objects = document.content().filter(is_kind).map(|leaf| &leaf.path[..leaf.path.len() - 1]);
    let values = objects.flat_map(|object| {
        let inside = document.content().filter(move |leaf| leaf.path.starts_with(object));
        inside.filter(move |leaf| is_secret(&leaf.path[object.len()..]))
    });
    let is_placeholder = |value: &Value| matches!(value, Value::Text(text) if reference::is_reference(text));
    values.filter(|leaf| !is_sealed(&leaf.value) && !is_placeholder(&leaf.value)).map(readable).collect()
}

/// Whether a path below a Secret is that of something secret.
fn is_secret(path: &[Step]) -> bool {
    let mut keys = keys(path);
    match keys.next() {
        Some("data" | "stringData") => true,
        Some("metadata") => keys.any(|key| key == COPY),
        _ => false,
    }
}
