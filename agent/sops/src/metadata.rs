//! The `sops` block: who can open a file, what of it is encrypted, and the seal over all values.
//!
//! Source: sops, `stores/stores.go`; it writes the fields in the order of their names.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::json;

use crate::{
    Error, Result, cipher,
    document::{Document, Format, METADATA, Step, is_metadata, keys},
    emit,
    keys::{DataKey, Identities},
    policy::{Fields, Policy, Selection},
    value::Value,
};

/// The version of sops whose files these are; sops compares it with its own.
const VERSION: &str = "3.13.2";

/// Recipients of one file; a team has some dozen.
const RECIPIENTS_MAX: usize = 1024;

/// The data key for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) recipient: String,
    /// An armoured age file.
    pub(crate) key: String,
}

/// What the `sops` block says.
#[derive(Debug, Clone)]
pub(crate) struct Metadata {
    pub(crate) envelopes: Vec<Envelope>,
    /// Whether others than age recipients can open it too.
    pub(crate) has_other_keys: bool,
    pub(crate) selection: Selection,
    pub(crate) mac_only_encrypted: bool,
    /// As it stands in the file: the MAC is bound to these bytes.
    pub(crate) modified_at: String,
    /// Ciphertext.
    pub(crate) mac: String,
}

impl Metadata {
    /// The metadata of a file; what further documents have is a copy.
    pub(crate) fn of(documents: &[Document]) -> Result<Self> {
        let bad = |what: &str| Error::Metadata(what.to_owned());
        let first = documents.first().filter(|first| first.metadata.is_some()).ok_or(Error::NotSealed)?;
        let text = |name: &str| first.text(&[METADATA, name]).filter(|text| !text.is_empty()).map(ToOwned::to_owned);
        let fields = Fields {
            unencrypted_suffix: text("unencrypted_suffix"),
            encrypted_suffix: text("encrypted_suffix"),
            unencrypted_regex: text("unencrypted_regex"),
            encrypted_regex: text("encrypted_regex"),
            comment_regex: text("encrypted_comment_regex").or_else(|| text("unencrypted_comment_regex")),
        };
        if has(first, "key_groups") || has(first, "shamir_threshold") {
            return Err(bad("groups of keys are not supported"));
        }
        let others = ["pgp", "kms", "gcp_kms", "azure_kv", "hc_vault", "hckms"];
        Ok(Self {
            envelopes: envelopes(first)?,
            has_other_keys: others.iter().any(|name| has(first, name)),
            selection: Selection::new(&fields).map_err(Error::Metadata)?,
            mac_only_encrypted: is_true(first, "mac_only_encrypted"),
            modified_at: modified_at(first).ok_or_else(|| bad("it has no lastmodified"))?,
            mac: text("mac").ok_or_else(|| bad("it has no mac"))?,
        })
    }

    /// The data key, by the first identity that opens one.
    pub(crate) fn data_key(&self, identities: &Identities) -> Result<DataKey> {
        for envelope in &self.envelopes {
            if let Some(key) = DataKey::unwrap(&envelope.key, identities)? {
                return Ok(key);
            }
        }
        Err(Error::NoIdentity { given: identities.count(), recipients: self.recipients() })
    }

    /// The recipients, sorted.
    pub(crate) fn recipients(&self) -> Vec<String> {
        let mut recipients: Vec<String> = self.envelopes.iter().map(|envelope| envelope.recipient.clone()).collect();
        recipients.sort();
        recipients
    }

    /// Whether the file was sealed for the same people and by the same rule.
    pub(crate) fn agrees_with(&self, policy: &Policy) -> bool {
        self.recipients() == policy.recipient_texts()
            && self.selection == policy.selection
            && self.mac_only_encrypted
            && !self.has_other_keys
    }

    /// New metadata: the data key for each recipient, and the MAC bound to the time.
    pub(crate) fn new(
        policy: &Policy,
        envelopes: Vec<Envelope>,
        key: &DataKey,
        hash: &str,
        now: Timestamp,
    ) -> Result<Self> {
        let modified_at = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mac = cipher::seal_value(&Value::text(hash), key, &modified_at)?;
        Ok(Self {
            envelopes,
            has_other_keys: false,
            selection: policy.selection.clone(),
            mac_only_encrypted: true,
            modified_at,
            mac: mac.unwrap_or_default(),
        })
    }

    /// The hash that the MAC seals.
    pub(crate) fn hash(&self, key: &DataKey) -> Result<Value> {
        cipher::open_value(&self.mac, key, &self.modified_at)
            .map_err(|what| Error::Value { path: format!("{METADATA}.mac"), what })
    }

    /// The block as a further key of a document.
    pub(crate) fn render(&self, format: Format, is_flow: bool, column: usize) -> String {
        if is_flow || format == Format::Json { self.braces() } else { self.block(column) }
    }

    fn block(&self, column: usize) -> String {
        let mut lines = vec![format!("{METADATA}:"), "    age:".to_owned()];
        for Envelope { recipient, key } in &self.envelopes {
            lines.push("        - enc: |".to_owned());
            lines.extend(key.lines().map(|line| format!("            {line}")));
            lines.push(format!("          recipient: {}", emit::scalar(recipient)));
        }
        let (name, selected) = self.selection.field();
        let mut fields = [
            format!("    {name}: {}", emit::scalar(selected)),
            format!("    lastmodified: \"{}\"", self.modified_at),
            format!("    mac: {}", self.mac),
            format!("    mac_only_encrypted: {}", self.mac_only_encrypted),
            format!("    version: {VERSION}"),
        ];
        fields.sort();
        lines.extend(fields);
        lines.iter().fold(String::new(), |mut block, line| {
            // Writing into a string does not fail.
            let _ = writeln!(block, "{:column$}{line}", "");
            block
        })
    }

    fn braces(&self) -> String {
        let age: Vec<_> = self.envelopes.iter().map(|e| json!({ "recipient": e.recipient, "enc": e.key })).collect();
        let (name, selected) = self.selection.field();
        let value = json!({
            "age": age,
            name: selected,
            "lastmodified": self.modified_at,
            "mac": self.mac,
            "mac_only_encrypted": self.mac_only_encrypted,
            "version": VERSION,
        });
        format!("\"{METADATA}\": {value}")
    }
}

/// Whether there is something of that name.
fn has(document: &Document, name: &str) -> bool {
    let is_it = |path: &[Step]| is_metadata(path) && keys(path).nth(1) == Some(name);
    let is_some =
        |value: &Value| !matches!(value, Value::Null | Value::EmptyList | Value::EmptyMapping | Value::Int(0));
    document.leaves.iter().any(|leaf| is_it(&leaf.path) && is_some(&leaf.value))
}

fn find<'d>(document: &'d Document, name: &str) -> Option<&'d Value> {
    let leaf = document.leaves.iter().find(|leaf| leaf.path.len() == 2 && keys(&leaf.path).eq([METADATA, name]));
    leaf.map(|leaf| &leaf.value)
}

fn is_true(document: &Document, name: &str) -> bool {
    match find(document, name) {
        Some(Value::Bool(value)) => *value,
        Some(Value::Text(text)) => text.as_str() == "true",
        _ => false,
    }
}

/// A time that lost its quotes is one too.
fn modified_at(document: &Document) -> Option<String> {
    match find(document, "lastmodified")? {
        Value::Text(text) => Some(text.to_string()),
        Value::Time(time) => Some(time.clone()),
        _ => None,
    }
}

fn envelopes(document: &Document) -> Result<Vec<Envelope>> {
    let mut envelopes: Vec<Envelope> = Vec::new();
    for leaf in document.leaves.iter().filter(|leaf| is_metadata(&leaf.path)) {
        let [_, Step::Key(age), Step::Index(index), Step::Key(field)] = leaf.path.as_slice() else { continue };
        let Value::Text(text) = &leaf.value else { continue };
        if age != "age" || *index > RECIPIENTS_MAX {
            continue;
        }
        if envelopes.len() <= *index {
            envelopes.resize(index + 1, Envelope { recipient: String::new(), key: String::new() });
        }
        if let Some(envelope) = envelopes.get_mut(*index) {
            match field.as_str() {
                "recipient" => text.as_str().clone_into(&mut envelope.recipient),
                "enc" => text.as_str().clone_into(&mut envelope.key),
                _ => {}
            }
        }
    }
    if envelopes.iter().any(|envelope| envelope.recipient.is_empty() || envelope.key.is_empty()) {
        return Err(Error::Metadata("an age recipient is not whole".to_owned()));
    }
    Ok(envelopes)
}
