//! A YAML or JSON text as a flat list of its values, each with the keys above it and its place in the text.
//!
//! Sealing and opening replace values in place, so that order, comments and form of a file stay what they are. JSON is read as the
//! subset of YAML that it nearly is. Nothing is encrypted or decided here.

use std::ops::Range;

use granit_parser::{Event, Parser, Placement, ScalarStyle, Span, StructureStyle};

use crate::{Error, Result, value::Value};

/// The key of the metadata at the top of each document.
pub(crate) const METADATA: &str = "sops";

/// Comment lines in a row that are read: a licence text has some hundred.
const COMMENTS_MAX: usize = 4096;

/// How a text is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// YAML, with any number of documents.
    #[default]
    Yaml,
    /// JSON, one object.
    Json,
}

impl Format {
    /// The format that the name of a file says; none for other names.
    pub fn of(path: &str) -> Option<Self> {
        match path.rsplit_once('.')?.1 {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// One step from the top of a document to a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// Into a mapping.
    Key(String),
    /// Into a list, from 0.
    Index(usize),
}

/// The mapping keys of a path.
pub(crate) fn keys(path: &[Step]) -> impl Iterator<Item = &str> {
    path.iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    })
}

/// A path for people: `data.key`, `list[0].key`.
pub(crate) fn shown(path: &[Step]) -> String {
    let mut shown = String::new();
    for step in path {
        match step {
            Step::Key(key) if shown.is_empty() => shown.push_str(key),
            Step::Key(key) => shown.extend([".", key]),
            Step::Index(index) => shown.extend(["[", &index.to_string(), "]"]),
        }
    }
    shown
}

/// A scalar, or a collection without members.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) path: Vec<Step>,
    /// The column, from 0, of the collection that it is a member of.
    pub(crate) column: usize,
    pub(crate) value: Value,
    /// Bytes of the text, with quotes, and with the header of a block scalar.
    pub(crate) span: Range<usize>,
    /// The line, from 1.
    pub(crate) line: usize,
    /// Whether it stands in braces or brackets.
    pub(crate) flow: bool,
}

/// A comment.
#[derive(Debug, Clone)]
pub(crate) struct Comment {
    /// What stands behind the `#`.
    pub(crate) text: String,
    /// Bytes of the text, with the `#`.
    pub(crate) span: Range<usize>,
    /// The line, from 1.
    pub(crate) line: usize,
    /// Whether it stands behind something on the same line.
    pub(crate) is_beside: bool,
    /// The path of the collection that it stands in.
    pub(crate) collection: Vec<Step>,
    /// How many leaves of the document stand before it.
    pub(crate) leaves_before: usize,
}

/// A key of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// The path of its value.
    pub(crate) path: Vec<Step>,
    pub(crate) start: usize,
    pub(crate) flow: bool,
}

/// What a document has at its top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Root {
    /// Whether its mapping is in braces.
    pub(crate) flow: bool,
    /// The column of its keys.
    pub(crate) column: usize,
    /// Where a further key goes: before the closing brace, or before the next document.
    pub(crate) end: usize,
    /// Whether it has a key.
    pub(crate) is_empty: bool,
}

/// One document.
#[derive(Debug, Clone, Default)]
pub(crate) struct Document {
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) comments: Vec<Comment>,
    pub(crate) keys: Vec<Key>,
    /// None where the top is no mapping.
    pub(crate) root: Option<Root>,
    /// The metadata with its key, and with the comma of JSON.
    pub(crate) metadata: Option<Range<usize>>,
    /// The first form that sops does not keep, with its line.
    pub(crate) form: Option<(usize, &'static str)>,
}

impl Document {
    /// Leaves that are not metadata.
    pub(crate) fn content(&self) -> impl Iterator<Item = &Leaf> {
        self.leaves.iter().filter(|leaf| !is_metadata(&leaf.path))
    }

    /// Comments that are not among the metadata.
    pub(crate) fn remarks(&self) -> impl Iterator<Item = &Comment> {
        let is_inside = |span: &Range<usize>| self.metadata.as_ref().is_some_and(|m| m.contains(&span.start));
        self.comments.iter().filter(move |comment| !is_inside(&comment.span))
    }

    /// The text of a value.
    pub(crate) fn text(&self, path: &[&str]) -> Option<&str> {
        let leaf =
            self.leaves.iter().find(|leaf| leaf.path.len() == path.len() && keys(&leaf.path).eq(path.iter().copied()));
        match &leaf?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The values before and behind a comment.
    fn neighbours(&self, comment: &Comment) -> [Option<&Leaf>; 2] {
        let before = comment.leaves_before.checked_sub(1);
        [before, Some(comment.leaves_before)].map(|at| self.leaves.get(at?))
    }

    /// All collections near a comment, one of which it was sealed in.
    pub(crate) fn collections_near<'a>(&'a self, comment: &'a Comment) -> impl Iterator<Item = &'a [Step]> {
        let near = self.neighbours(comment).into_iter().flatten();
        std::iter::once(comment.collection.as_slice())
            .chain(near.flat_map(|leaf| (0..leaf.path.len()).rev().map(|depth| &leaf.path[..depth])))
    }
}

pub(crate) fn is_metadata(path: &[Step]) -> bool {
    matches!(path.first(), Some(Step::Key(key)) if key == METADATA)
}

/// The documents of a text.
///
/// # Errors
/// [`Error::Syntax`] for a text that is not of that format. Forms that sops does not keep are no error here.
pub(crate) fn parse(text: &str, format: Format) -> Result<Vec<Document>> {
    let options = granit_parser::options! { max_buffered_comment_events: COMMENTS_MAX };
    let mut reader = Reader { text, format, ..Reader::default() };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|e| Error::Syntax { line: e.marker().line(), what: e.info().clone() })?;
        reader.take(event, span)?;
    }
    if let Some(last) = reader.documents.last_mut() {
        last.comments.append(&mut reader.comments);
    }
    Ok(reader.documents)
}

/// A collection whose end was not read yet.
#[derive(Debug)]
struct Open {
    is_mapping: bool,
    flow: bool,
    column: usize,
    start: usize,
    line: usize,
    /// Members that were read.
    count: usize,
    /// Keys of a mapping so far.
    seen: Vec<String>,
    /// Whether a key was read and its value was not.
    has_key: bool,
    /// Where its last member ends.
    member_end: Option<usize>,
}

#[derive(Debug, Default)]
struct Reader<'t> {
    text: &'t str,
    format: Format,
    documents: Vec<Document>,
    /// Comments before the next document.
    comments: Vec<Comment>,
    document: Document,
    /// The line in which it begins.
    first_line: usize,
    stack: Vec<Open>,
    path: Vec<Step>,
    /// Where the last key or comment ends: the header of a block scalar stands behind it.
    token_end: usize,
    /// Where the last key ends.
    key_end: usize,
    /// Where a member of the top ends that stands before the metadata.
    before_metadata: Option<usize>,
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<()> {
        let range = span.byte_range().unwrap_or(0..0);
        let (line, column) = (span.start.line(), span.start.col());
        match event {
            Event::DocumentStart(..) => {
                self.document = Document { comments: std::mem::take(&mut self.comments), ..Document::default() };
                self.first_line = line;
            }
            Event::DocumentEnd => {
                let mut document = std::mem::take(&mut self.document);
                match &mut document.root {
                    Some(root) if !root.flow => root.end = range.start,
                    Some(_) => {}
                    None => document.form = Some((self.first_line, "a document that is no mapping")),
                }
                self.documents.push(document);
            }
            Event::Comment(text, placement) => {
                if self.format == Format::Json {
                    return Err(Error::Syntax { line, what: "JSON has no comments".to_owned() });
                }
                self.token_end = range.end;
                let leaves_before = self.document.leaves.len();
                let is_beside = placement == Placement::Right;
                let collection = self.around(column, is_beside).to_vec();
                let comment =
                    Comment { text: text.into_owned(), span: range, line, is_beside, collection, leaves_before };
                let is_outside = self.stack.is_empty() && self.document.root.is_none();
                if is_outside { &mut self.comments } else { &mut self.document.comments }.push(comment);
            }
            Event::MappingStart(style, anchor, tag) => {
                self.refuse(anchor != 0, line, "an anchor");
                self.refuse(tag.is_some(), line, "a tag");
                self.begin(true, style == StructureStyle::Flow, range.start, line, column)?;
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.refuse(anchor != 0, line, "an anchor");
                self.refuse(tag.is_some(), line, "a tag");
                self.begin(false, style == StructureStyle::Flow, range.start, line, column)?;
            }
            Event::MappingEnd | Event::SequenceEnd => self.end(range),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse(anchor != 0, line, "an anchor");
                self.refuse(tag.is_some(), line, "a tag");
                if self.stack.last().is_some_and(|open| open.is_mapping && !open.has_key) {
                    self.key(text.into_owned(), style, range, line)?;
                } else {
                    self.scalar(&text, style, range, line)?;
                }
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.refuse(true, line, "an alias");
                if self.stack.last().is_some_and(|open| open.is_mapping && !open.has_key) {
                    return Err(Error::Syntax { line, what: "a key is an alias".to_owned() });
                }
                self.leaf(Value::Other, range, line);
            }
            // The parser may learn more events; the beginning and the end of the stream are none of ours.
            _ => {}
        }
        Ok(())
    }

    /// The innermost collection at a comment: one that it stands beside, else one whose members stand no deeper than it.
    fn around(&self, column: usize, is_beside: bool) -> &[Step] {
        let open = self.stack.iter().filter(|open| is_beside || open.column <= column).count();
        &self.path[..open.saturating_sub(1).min(self.path.len())]
    }

    /// Comments on lines of their own between a key and its collection stand in the collection, wherever in their lines they begin.
    fn take_in_comments(&mut self) {
        let key_end = self.key_end;
        let is_between = |comment: &&mut Comment| !comment.is_beside && comment.span.start > key_end;
        for comment in self.document.comments.iter_mut().rev().take_while(is_between) {
            comment.collection.clone_from(&self.path);
        }
    }

    /// Notes a form that sops does not keep.
    fn refuse(&mut self, is_there: bool, line: usize, what: &'static str) {
        if is_there && self.document.form.is_none() {
            self.document.form = Some((line, what));
        }
    }

    fn begin(&mut self, is_mapping: bool, flow: bool, start: usize, line: usize, column: usize) -> Result<()> {
        if self.format == Format::Json && !flow {
            return Err(Error::Syntax { line, what: "JSON has braces and brackets around its members".to_owned() });
        }
        match self.stack.last() {
            None if is_mapping => {
                self.document.root = Some(Root { flow, column, end: start, is_empty: true });
            }
            Some(open) if open.is_mapping && !open.has_key => {
                return Err(Error::Syntax { line, what: "a key is a collection".to_owned() });
            }
            Some(open) if open.is_mapping => self.take_in_comments(),
            _ => self.enter(),
        }
        let (seen, has_key, member_end) = (Vec::new(), false, None);
        self.stack.push(Open { is_mapping, flow, column, start, line, count: 0, seen, has_key, member_end });
        Ok(())
    }

    /// Steps into the next member of a list; into that of a mapping, its key has.
    fn enter(&mut self) {
        if let Some(open) = self.stack.last().filter(|open| !open.is_mapping) {
            self.path.push(Step::Index(open.count));
        }
    }

    /// Steps out of a member that ends there.
    fn leave(&mut self, end: usize) {
        if let Some(open) = self.stack.last_mut() {
            self.path.pop();
            open.count += 1;
            open.has_key = false;
            open.member_end = Some(end);
        }
    }

    fn key(&mut self, key: String, style: ScalarStyle, range: Range<usize>, line: usize) -> Result<()> {
        self.token_end = range.end;
        self.key_end = range.end;
        let is_text = style != ScalarStyle::Plain || Value::of_plain(&key).kind() == Some("str");
        self.refuse(!is_text, line, "a key that is no text");
        self.refuse(style == ScalarStyle::Plain && key == "<<", line, "a merge");
        let depth = self.stack.len();
        let Some(open) = self.stack.last_mut() else { return Ok(()) };
        if open.seen.contains(&key) {
            return Err(Error::Syntax { line, what: format!("the key {key} is there twice") });
        }
        open.seen.push(key.clone());
        open.has_key = true;
        let (flow, member_end) = (open.flow, open.member_end);
        if depth == 1 {
            self.top_key(&key, range.start, flow, member_end);
        }
        self.path.push(Step::Key(key));
        self.document.keys.push(Key { path: self.path.clone(), start: range.start, flow });
        Ok(())
    }

    /// Finds where metadata in the text begins, and in JSON where the comma behind it ends.
    fn top_key(&mut self, key: &str, start: usize, flow: bool, member_end: Option<usize>) {
        if let Some(root) = &mut self.document.root {
            root.is_empty = false;
        }
        if key == METADATA {
            self.before_metadata = member_end;
            let start = if flow { member_end.unwrap_or(start) } else { start };
            self.document.metadata = Some(start..start);
        } else if let Some(metadata) = &mut self.document.metadata
            && flow
            && self.before_metadata.is_none()
        {
            metadata.end = metadata.end.max(start);
            self.before_metadata = Some(start);
        }
    }

    fn end(&mut self, range: Range<usize>) {
        let Some(open) = self.stack.pop() else { return };
        if open.count == 0 {
            let value = if open.is_mapping { Value::EmptyMapping } else { Value::EmptyList };
            if !self.stack.is_empty() {
                self.push(value, open.start..range.end, open.line);
            }
        }
        if self.stack.is_empty() {
            if let Some(root) = &mut self.document.root {
                root.end = if open.flow { open.member_end.unwrap_or(range.start) } else { range.start };
            }
            return;
        }
        if self.stack.len() == 1 && is_metadata(&self.path) {
            self.end_metadata(open.flow, &range);
        }
        self.leave(range.end);
    }

    /// Metadata ends where its value ends; in block form at the next key, or at a comment that belongs to what follows.
    fn end_metadata(&mut self, flow: bool, range: &Range<usize>) {
        let last_value = self.document.leaves.last().map_or(0, |leaf| leaf.span.end);
        let follows = |comment: &&Comment| comment.span.start > last_value && !comment.is_beside;
        let comment = self.document.comments.iter().find(follows).map(|comment| comment.span.start);
        if let Some(metadata) = &mut self.document.metadata {
            metadata.end = if flow { range.end } else { comment.unwrap_or(range.start) };
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, range: Range<usize>, line: usize) -> Result<()> {
        let source = self.text.get(range.clone()).unwrap_or_default();
        let value = match (self.format, style) {
            (_, ScalarStyle::Plain) if source.is_empty() => Value::Null,
            (Format::Yaml, ScalarStyle::Plain) => Value::of_plain(text),
            (Format::Yaml, _) => Value::text(text),
            (Format::Json, ScalarStyle::Plain) => Value::of_json(text)
                .ok_or_else(|| Error::Syntax { line, what: "a word that JSON does not have".to_owned() })?,
            (Format::Json, _) => {
                let text: String = serde_json::from_str(source)
                    .map_err(|_| Error::Syntax { line, what: "a text that is not JSON's".to_owned() })?;
                Value::text(text)
            }
        };
        self.refuse(value == Value::Other, line, "an integer of more than 63 bits");
        let range = if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            self.block_scalar(range, line)?
        } else {
            range
        };
        if self.stack.is_empty() {
            return Ok(());
        }
        self.leaf(value, range, line);
        Ok(())
    }

    /// The bytes of a block scalar, whose content is `range`, from its header to the end of its last line with content.
    fn block_scalar(&self, range: Range<usize>, line: usize) -> Result<Range<usize>> {
        let header = self.text.get(self.token_end..range.start).and_then(|between| between.find(['|', '>']));
        let what = "the header of a block of text has a comment";
        let header = self.token_end + header.ok_or_else(|| Error::Syntax { line, what: what.to_owned() })?;
        let content = self.text.get(range.clone()).unwrap_or_default().trim_end();
        let end = if content.is_empty() {
            let rest = self.text.get(header..).unwrap_or_default();
            header + rest.find('\n').unwrap_or(rest.len())
        } else {
            range.start + content.len()
        };
        Ok(header..end)
    }

    /// A value that is a member of the collection at hand.
    fn leaf(&mut self, value: Value, range: Range<usize>, line: usize) {
        self.enter();
        let end = range.end;
        self.push(value, range, line);
        self.token_end = self.token_end.max(end);
        self.leave(end);
    }

    fn push(&mut self, value: Value, span: Range<usize>, line: usize) {
        let (flow, column) = self.stack.last().map_or((false, 0), |open| (open.flow, open.column));
        self.document.leaves.push(Leaf { path: self.path.clone(), column, value, span, line, flow });
    }
}
