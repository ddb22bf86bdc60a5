//! Sealing: from values to ciphertext in their places, with as little change to the file of last time as there is in the values.

use std::ops::Range;

use jiff::Timestamp;

use crate::{
    Error, Result, cipher,
    document::{self, Document, Format, Step, keys},
    emit,
    keys::DataKey,
    mac::Hash,
    metadata::{Envelope, Metadata},
    open::{Opened, OpenedComment, OpenedDocument},
    order,
    policy::Policy,
    reference::{self, Lookup},
    value::Value,
};

/// What a file is after sealing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sealed {
    /// The file of last time holds the same values for the same people: it stays as it is, byte by byte.
    Unchanged,
    /// Another text is to replace it.
    Changed(String),
}

/// Seals a text: replaces references by what they refer to, then values by ciphertext.
///
/// `last` is the file that this one is to replace. Ciphertext of values that did not change is taken over from it, unless the
/// recipients or the selection changed: then there is a new data key, which former recipients do not know.
///
/// # Errors
/// [`Error::Sealed`] for a text with a `sops` block, [`Error::Form`] for what sops does not keep, [`Error::Reference`] and
/// [`Error::Exposed`] for references.
pub fn seal(
    text: &str,
    format: Format,
    policy: &Policy,
    last: Option<&Opened>,
    lookup: &mut Lookup<'_>,
    now: Timestamp,
) -> Result<Sealed> {
    policy.check()?;
    let sorted = order::sort(text, format, &policy.selection)?;
    let text = sorted.as_str();
    let mut documents = document::parse(text, format)?;
    check(&documents)?;
    for document in &mut documents {
        resolve(document, policy, lookup)?;
    }
    let last = last.filter(|last| last.metadata.agrees_with(policy));
    if last.is_some_and(|last| is_same(&documents, &last.documents)) {
        return Ok(Sealed::Unchanged);
    }
    let key = last.map_or_else(DataKey::generate, |last| Ok(last.key.clone()))?;
    let envelopes = match last {
        Some(last) => last.metadata.envelopes.clone(),
        None => wrap(policy, &key)?,
    };
    let mut hash = Hash::new(true);
    let mut edits = Vec::new();
    for (at, document) in documents.iter().enumerate() {
        let before = last.and_then(|last| last.documents.get(at));
        edit(document, format, policy, &key, before, &mut hash, &mut edits)?;
    }
    let metadata = Metadata::new(policy, envelopes, &key, &hash.finish(), now)?;
    for document in &documents {
        edits.extend(insertion(document, format, text, &metadata));
    }
    Ok(Sealed::Changed(apply(text, edits)))
}

fn check(documents: &[Document]) -> Result<()> {
    if documents.is_empty() {
        return Err(Error::Form { line: 1, what: "a file without a mapping" });
    }
    if documents.iter().any(|document| document.metadata.is_some()) {
        return Err(Error::Sealed);
    }
    match documents.iter().find_map(|document| document.form) {
        Some((line, what)) => Err(Error::Form { line, what }),
        None => Ok(()),
    }
}

fn resolve(document: &mut Document, policy: &Policy, lookup: &mut Lookup<'_>) -> Result<()> {
    for leaf in &mut document.leaves {
        let Value::Text(text) = &leaf.value else { continue };
        let shown = document::shown(&leaf.path);
        let Some(value) = reference::expand(text, &shown, lookup)? else { continue };
        if !policy.selection.covers(keys(&leaf.path)) {
            return Err(Error::Exposed { path: shown });
        }
        leaf.value = value;
    }
    Ok(())
}

/// Whether values, their order and comments are those of last time.
fn is_same(documents: &[Document], last: &[OpenedDocument]) -> bool {
    documents.len() == last.len()
        && documents.iter().zip(last).all(|(document, last)| {
            let mut values = document.leaves.iter().zip(&last.values);
            let comments = document.comments.iter().map(|comment| comment.text.as_str());
            document.leaves.len() == last.values.len()
                && values.all(|(leaf, last)| leaf.path == last.path && leaf.value.is_like(&last.value))
                && comments.eq(last.comments.iter().map(|comment| comment.text.as_str()))
        })
}

fn wrap(policy: &Policy, key: &DataKey) -> Result<Vec<Envelope>> {
    let mut envelopes: Vec<Envelope> = Vec::new();
    for recipient in &policy.recipients {
        if envelopes.iter().all(|envelope| envelope.recipient != recipient.text()) {
            envelopes.push(Envelope { recipient: recipient.text().to_owned(), key: key.wrap(recipient)? });
        }
    }
    Ok(envelopes)
}

/// A piece of the text and what it becomes.
type Edit = (Range<usize>, String);

fn edit(
    document: &Document,
    format: Format,
    policy: &Policy,
    key: &DataKey,
    last: Option<&OpenedDocument>,
    hash: &mut Hash,
    edits: &mut Vec<Edit>,
) -> Result<()> {
    for leaf in &document.leaves {
        if leaf.value.kind().is_none() || !policy.selection.covers(keys(&leaf.path)) {
            continue;
        }
        hash.add(&leaf.value, true);
        let sealed = match known(last, &leaf.path, &leaf.value) {
            Some(sealed) => Some(sealed),
            None => cipher::seal_value(&leaf.value, key, &cipher::binding(keys(&leaf.path)))?,
        };
        let text = sealed.map_or_else(|| "\"\"".to_owned(), |text| emit::ciphertext(&text, format, leaf.flow));
        edits.push((leaf.span.clone(), text));
    }
    for comment in &document.comments {
        if !policy.selection.covers(keys(&comment.collection)) {
            continue;
        }
        let binding = cipher::binding(keys(&comment.collection));
        let is_it = |known: &&OpenedComment| known.binding == binding && *known.text == comment.text;
        let known = last.and_then(|last| last.comments.iter().find(is_it)).and_then(|known| known.ciphertext.clone());
        let sealed = match known {
            Some(sealed) => sealed,
            None => cipher::seal_comment(&comment.text, key, &binding)?,
        };
        edits.push((comment.span.clone(), format!("#{sealed}")));
    }
    Ok(())
}

/// The ciphertext of an equal value in the same place.
fn known(last: Option<&OpenedDocument>, path: &[Step], value: &Value) -> Option<String> {
    let last = last?.values.iter().find(|last| last.path == path && last.value.is_like(value))?;
    last.ciphertext.clone()
}

/// The metadata as the last key of a document.
fn insertion(document: &Document, format: Format, text: &str, metadata: &Metadata) -> Option<Edit> {
    let root = document.root?;
    let mut block = metadata.render(format, root.flow, root.column);
    if root.flow {
        let comma = if root.is_empty { "" } else { "," };
        block = format!("{comma}\n  {block}");
    } else if !text.get(..root.end).is_none_or(|before| before.is_empty() || before.ends_with('\n')) {
        block.insert(0, '\n');
    }
    Some((root.end..root.end, block))
}

/// The text after its edits. Where one lies inside another (a comment beside the header of a block), the outer counts.
fn apply(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|(span, _)| (span.start, span.end));
    let mut sealed = String::with_capacity(text.len() * 2);
    let mut done = 0;
    for (span, with) in edits {
        if span.start < done {
            continue;
        }
        sealed.push_str(text.get(done..span.start).unwrap_or_default());
        sealed.push_str(&with);
        done = span.end;
    }
    sealed.push_str(text.get(done..).unwrap_or_default());
    sealed
}
