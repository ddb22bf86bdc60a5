//! Opening: from ciphertext back to values, after everything was verified.

use zeroize::Zeroizing;

use crate::{
    Error, Result, cipher,
    document::{self, Comment, Document, Format, Leaf, Step, keys, shown},
    emit,
    keys::{DataKey, Identities},
    mac::Hash,
    metadata::Metadata,
    value::Value,
};

/// A sealed file whose values are known and verified.
#[derive(Debug)]
pub struct Opened {
    pub(crate) documents: Vec<OpenedDocument>,
    pub(crate) metadata: Metadata,
    pub(crate) key: DataKey,
    text: Zeroizing<String>,
}

/// One document: values and comments in their order, without the metadata.
#[derive(Debug)]
pub(crate) struct OpenedDocument {
    pub(crate) values: Vec<OpenedValue>,
    pub(crate) comments: Vec<OpenedComment>,
}

#[derive(Debug)]
pub(crate) struct OpenedValue {
    pub(crate) path: Vec<Step>,
    pub(crate) value: Value,
    /// What stood for it in the file, if that was ciphertext.
    pub(crate) ciphertext: Option<String>,
}

#[derive(Debug)]
pub(crate) struct OpenedComment {
    pub(crate) text: Zeroizing<String>,
    /// What stood for it in the file, if that was ciphertext.
    pub(crate) ciphertext: Option<String>,
    /// What that ciphertext is bound to.
    pub(crate) binding: String,
}

impl Opened {
    /// The file as it was before it was sealed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value at a path of keys of the first document, as a reference names it; none if nothing is there.
    pub fn value(&self, path: &[&str]) -> Option<&Value> {
        let is_it = |value: &&OpenedValue| value.path.len() == path.len() && keys(&value.path).eq(path.iter().copied());
        self.documents.first()?.values.iter().find(is_it).map(|value| &value.value)
    }

    /// Whether something lies below a path of keys, so that it is a collection.
    pub fn is_collection(&self, path: &[&str]) -> bool {
        let begins_so = |value: &OpenedValue| {
            value.path.len() > path.len() && keys(&value.path).take(path.len()).eq(path.iter().copied())
        };
        self.documents.first().is_some_and(|first| first.values.iter().any(begins_so))
    }
}

/// Opens a sealed file.
///
/// # Errors
/// [`Error::NotSealed`], [`Error::NoIdentity`], and [`Error::Value`] or [`Error::Mac`] for a file that is not as it was sealed.
pub fn open(text: &str, format: Format, identities: &Identities) -> Result<Opened> {
    let documents = document::parse(text, format)?;
    let metadata = Metadata::of(&documents)?;
    if let Some((line, what)) = documents.iter().find_map(|document| document.form) {
        return Err(Error::Form { line, what });
    }
    let key = metadata.data_key(identities)?;
    let mut hash = Hash::new(metadata.mac_only_encrypted);
    let mut opened = Vec::new();
    let mut plain = Replacement { text, done: 0, result: Zeroizing::new(String::with_capacity(text.len())) };
    for document in &documents {
        opened.push(open_document(document, format, &metadata, &key, &mut hash, &mut plain)?);
    }
    if metadata.hash(&key)? != Value::text(hash.finish()) {
        return Err(Error::Mac);
    }
    Ok(Opened { documents: opened, metadata, key, text: plain.finish() })
}

/// A text in which pieces are replaced, front to back.
struct Replacement<'t> {
    text: &'t str,
    done: usize,
    result: Zeroizing<String>,
}

impl Replacement<'_> {
    fn replace(&mut self, span: &std::ops::Range<usize>, with: &str) {
        self.result.push_str(self.text.get(self.done..span.start).unwrap_or_default());
        self.result.push_str(with);
        self.done = span.end;
    }

    fn finish(mut self) -> Zeroizing<String> {
        self.result.push_str(self.text.get(self.done..).unwrap_or_default());
        self.result
    }
}

/// What may be replaced in a document.
enum Piece<'d> {
    Leaf(&'d Leaf),
    Comment(&'d Comment),
    Metadata,
}

fn open_document(
    document: &Document,
    format: Format,
    metadata: &Metadata,
    key: &DataKey,
    hash: &mut Hash,
    plain: &mut Replacement<'_>,
) -> Result<OpenedDocument> {
    let mut pieces: Vec<_> = document.content().map(|leaf| (leaf.span.clone(), Piece::Leaf(leaf))).collect();
    pieces.extend(document.remarks().map(|comment| (comment.span.clone(), Piece::Comment(comment))));
    pieces.extend(document.metadata.clone().map(|span| (span, Piece::Metadata)));
    pieces.sort_by_key(|(span, _)| span.start);
    let mut opened = OpenedDocument { values: Vec::new(), comments: Vec::new() };
    let mut members = CommentMembers::default();
    for (span, piece) in pieces {
        match piece {
            Piece::Metadata => plain.replace(&span, ""),
            Piece::Leaf(leaf) if is_comment(leaf) => {
                let comment = members.open(leaf, key)?;
                // With its dash it becomes a line of its own; in brackets there is no place for a comment.
                let before = plain.text.get(..span.start).unwrap_or_default().trim_end();
                let dash = before.strip_suffix('-').map(str::len);
                if let Some(dash) = dash {
                    plain.replace(&(dash..span.end), &Zeroizing::new(format!("#{}", *comment.text)));
                }
                opened.comments.push(comment);
            }
            Piece::Leaf(leaf) => {
                let mut value = open_leaf(leaf, metadata, key, hash)?;
                members.renumber(&mut value.path);
                if value.ciphertext.is_some() {
                    plain.replace(&span, &Zeroizing::new(emit::value(&value.value, format, leaf)));
                }
                opened.values.push(value);
            }
            Piece::Comment(comment) => {
                let comment = open_comment(document, comment, key);
                if comment.ciphertext.is_some() {
                    plain.replace(&span, &Zeroizing::new(format!("#{}", *comment.text)));
                }
                opened.comments.push(comment);
            }
        }
    }
    Ok(opened)
}

/// Whether a leaf is no value, but a comment that sops made a member of a list.
fn is_comment(leaf: &Leaf) -> bool {
    let is_member = matches!(leaf.path.last(), Some(Step::Index(_)));
    is_member && matches!(&leaf.value, Value::Text(text) if cipher::is_comment(text))
}

/// Comments that are members of lists: behind them, the values of a list have other places than they seem to.
#[derive(Debug, Default)]
struct CommentMembers(Vec<Vec<Step>>);

impl CommentMembers {
    fn open(&mut self, leaf: &Leaf, key: &DataKey) -> Result<OpenedComment> {
        self.0.push(leaf.path.clone());
        let Value::Text(ciphertext) = &leaf.value else { return Err(Error::Mac) };
        let binding = cipher::binding(keys(&leaf.path));
        let what = "a comment does not open: damaged, or moved from elsewhere";
        let text = cipher::open_comment(ciphertext, key, &binding);
        let text = text.ok_or_else(|| Error::Value { path: shown(&leaf.path), what })?;
        Ok(OpenedComment { text, ciphertext: Some(ciphertext.to_string()), binding })
    }

    /// Counts values only.
    fn renumber(&self, path: &mut [Step]) {
        let seen = path.to_vec();
        for (at, step) in path.iter_mut().enumerate() {
            let Step::Index(index) = step else { continue };
            let is_before = |comment: &&Vec<Step>| {
                comment.len() == at + 1
                    && comment.starts_with(&seen[..at])
                    && matches!(comment.last(), Some(Step::Index(other)) if *other < *index)
            };
            *index -= self.0.iter().filter(is_before).count();
        }
    }
}

fn open_leaf(leaf: &Leaf, metadata: &Metadata, key: &DataKey, hash: &mut Hash) -> Result<OpenedValue> {
    let path = leaf.path.clone();
    let is_encrypted = metadata.selection.covers(keys(&path));
    let (value, ciphertext) = match &leaf.value {
        Value::Text(text) if is_encrypted => {
            let value = cipher::open_value(text, key, &cipher::binding(keys(&path)))
                .map_err(|what| Error::Value { path: shown(&path), what })?;
            (value, Some(text.to_string()).filter(|text| !text.is_empty()))
        }
        value if is_encrypted && value.kind().is_some() => {
            let what = "not encrypted, where the `sops` block says that it is";
            return Err(Error::Value { path: shown(&path), what });
        }
        value => (value.clone(), None),
    };
    if value.kind().is_some() {
        hash.add(&value, is_encrypted);
    }
    Ok(OpenedValue { path, value, ciphertext })
}

/// sops seals comments with the keys above them, which for some places of a comment only its parser knows: what opens is right.
fn open_comment(document: &Document, comment: &Comment, key: &DataKey) -> OpenedComment {
    let mut bindings = document.collections_near(comment).map(|collection| cipher::binding(keys(collection)));
    let opened = bindings.find_map(|binding| Some((cipher::open_comment(&comment.text, key, &binding)?, binding)));
    let ciphertext = opened.is_some().then(|| comment.text.clone());
    let (text, binding) = opened.unwrap_or_else(|| (Zeroizing::new(comment.text.clone()), String::new()));
    OpenedComment { text, ciphertext, binding }
}
