//! The order of what is encrypted in objects of Kubernetes: sorted, as kustomize writes them.
//!
//! The MAC covers values in the order of the file. kustomize sorts keys; a file that is sorted already survives that.

use std::ops::Range;

use crate::{
    Result,
    document::{self, Document, Format, Key, Step, keys},
    policy::Selection,
};

/// Mappings that are sorted; what has more unsorted ones keeps their order.
const PASSES_MAX: usize = 1024;

/// The text with keys above encrypted values in the order of their bytes, in each object of Kubernetes in block form.
///
/// A key moves with the comments above it. What is in braces, and mappings that are members of lists, stay as they are.
pub(crate) fn sort(text: &str, format: Format, selection: &Selection) -> Result<String> {
    let mut text = text.to_owned();
    if format == Format::Json {
        return Ok(text);
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    // Each pass sorts one mapping, and no pass makes another one unsorted.
    for _ in 0..PASSES_MAX {
        let documents = document::parse(&text, format)?;
        let objects = documents.iter().filter(|d| d.text(&["apiVersion"]).is_some() && d.text(&["kind"]).is_some());
        let Some(chunks) = objects.into_iter().find_map(|object| unsorted(object, &text, selection)) else {
            return Ok(text);
        };
        text = permute(&text, chunks);
    }
    Ok(text)
}

/// A key and the lines that go with it.
type Chunk = (String, Range<usize>);

/// The chunks of a mapping that are to change places, in their present order.
fn unsorted(document: &Document, text: &str, selection: &Selection) -> Option<Vec<Chunk>> {
    let parents = document.keys.iter().map(|key| &key.path[..key.path.len() - 1]);
    let mut seen: Vec<&[Step]> = Vec::new();
    for parent in parents {
        if seen.contains(&parent) {
            continue;
        }
        seen.push(parent);
        let chunks = chunks(document, text, selection, parent);
        if !chunks.is_sorted_by(|a, b| a.0 <= b.0) {
            return Some(chunks);
        }
    }
    None
}

fn chunks(document: &Document, text: &str, selection: &Selection, parent: &[Step]) -> Vec<Chunk> {
    let is_member = |key: &&Key| key.path.len() == parent.len() + 1 && key.path.starts_with(parent);
    let members: Vec<&Key> = document.keys.iter().filter(is_member).collect();
    let begins_line = |key: &&Key| text[line_start(text, key.start)..key.start].trim().is_empty();
    if matches!(parent.last(), Some(Step::Index(_))) || !members.iter().all(|key| !key.flow && begins_line(key)) {
        return Vec::new();
    }
    let mut chunks = Vec::new();
    let mut start = members.first().map_or(0, |first| start_of_first(document, text, parent, first));
    for member in members {
        let below = document.leaves.iter().filter(|leaf| leaf.path.starts_with(&member.path));
        let (end, is_encrypted) = below.fold((start, false), |(end, is_encrypted), leaf| {
            (end.max(leaf.span.end), is_encrypted || selection.covers(keys(&leaf.path)))
        });
        let end = chunk_end(text, end);
        if is_encrypted && let Some(Step::Key(key)) = member.path.last() {
            chunks.push((key.clone(), start..end));
        }
        start = end;
    }
    chunks
}

/// The first key below another takes the comments with it; at the top they are those of the file.
fn start_of_first(document: &Document, text: &str, parent: &[Step], first: &Key) -> usize {
    let above = document.keys.iter().find(|key| key.path == parent);
    above.map_or_else(|| line_start(text, first.start), |above| line_end(text, above.start))
}

/// Behind the line in which a value ends, and behind empty lines, which may be a part of it.
fn chunk_end(text: &str, at: usize) -> usize {
    let mut end = line_end(text, at);
    while end < text.len() && text[end..line_end(text, end)].trim().is_empty() {
        end = line_end(text, end);
    }
    end
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |newline| at + newline + 1)
}

/// Puts chunks into the places of one another, sorted by key.
fn permute(text: &str, chunks: Vec<Chunk>) -> String {
    let places: Vec<Range<usize>> = chunks.iter().map(|(_, range)| range.clone()).collect();
    let mut sorted = chunks;
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut permuted = String::with_capacity(text.len());
    let mut done = 0;
    for (place, (_, chunk)) in places.into_iter().zip(sorted) {
        permuted.push_str(&text[done..place.start]);
        permuted.push_str(&text[chunk]);
        done = place.end;
    }
    permuted.push_str(&text[done..]);
    permuted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Fields;

    fn sorted(text: &str) -> String {
        let encrypted_regex = Some("^(data|stringData)$".to_owned());
        let selection = Selection::new(&Fields { encrypted_regex, ..Fields::default() }).unwrap();
        sort(text, Format::Yaml, &selection).unwrap()
    }

    #[test]
    fn encrypted_keys_are_sorted_with_their_comments_and_nothing_else_moves() {
        let before = "\
# file
kind: Secret
apiVersion: v1
stringData: # what is secret
  # of z
  z: 1
  b: |
    text

  a: 3 # of a
metadata: {name: x}
data:
  k: YQ==
";
        let after = "\
# file
kind: Secret
apiVersion: v1
data:
  k: YQ==
metadata: {name: x}
stringData: # what is secret
  a: 3 # of a
  b: |
    text

  # of z
  z: 1
";
        assert_eq!(sorted(before), after);
        assert_eq!(sorted(after), after);
    }

    #[test]
    fn what_is_no_object_of_kubernetes_keeps_its_order() {
        assert_eq!(sorted("data: {}\nb: 1\na: 2"), "data: {}\nb: 1\na: 2\n");
    }
}
