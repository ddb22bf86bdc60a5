//! References: `ref+sops://FILE#KEY` in a text stands for a value of another sealed file.
//!
//! They mean what they mean to vals 0.46 (`pkg/expansion/expand_match.go`, `vals.go`), with these differences, which are all
//! refusals: other schemes than sops, parameters, and keys that are absent, null, a collection or a time in the midst of a text.

use zeroize::Zeroizing;

use crate::{Error, Result, open::Opened, value::Value};

/// What a reference names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The file: absolute, or from where the program runs.
    pub file: String,
    /// Keys from the top of the file to the value; the whole file where there are none.
    pub keys: Vec<String>,
}

/// Finds the value of a reference, or says why there is none.
pub type Lookup<'l> = dyn FnMut(&Reference) -> Result<Value, String> + 'l;

impl Reference {
    /// Its value in the file that it names.
    ///
    /// # Errors
    /// A sentence about what is at that place instead.
    pub fn value_in(&self, file: &Opened) -> Result<Value, String> {
        if self.keys.is_empty() {
            return Ok(Value::text(file.text()));
        }
        let keys: Vec<&str> = self.keys.iter().map(String::as_str).collect();
        match file.value(&keys) {
            Some(Value::Null) => Err("the value is null".to_owned()),
            Some(Value::EmptyMapping | Value::EmptyList) => Err("the value is a collection".to_owned()),
            Some(value) => Ok(value.clone()),
            None if file.is_collection(&keys) => Err("the value is a collection".to_owned()),
            None => Err("the file has no such key".to_owned()),
        }
    }
}

/// A text with values in the place of its references; none where it has no reference. A text that is one reference and nothing else
/// becomes a value of the type that was sealed.
pub(crate) fn expand(text: &str, path: &str, lookup: &mut Lookup<'_>) -> Result<Option<Value>> {
    let mut rest = text;
    let mut expanded = Zeroizing::new(String::new());
    while let Some(found) = find(rest) {
        let wrong = |what: String| {
            let (path, reference) = (path.to_owned(), found.text.chars().take(200).collect());
            Error::Reference { path, reference, what }
        };
        let reference = parse(&found).map_err(wrong)?;
        let value = lookup(&reference).map_err(wrong)?;
        if found.start == 0 && found.end == text.len() && rest.len() == text.len() {
            return Ok(Some(value));
        }
        expanded.push_str(&rest[..found.start]);
        expanded.push_str(&inside(&value).map_err(wrong)?);
        rest = &rest[found.end..];
    }
    if rest.len() == text.len() {
        return Ok(None);
    }
    expanded.push_str(rest);
    Ok(Some(Value::Text(expanded)))
}

/// Whether a text is a reference of any scheme and nothing else: a placeholder that holds no secret.
pub(crate) fn is_reference(text: &str) -> bool {
    find(text).is_some_and(|found| found.start == 0 && found.end == text.len())
}

/// A reference in a text.
struct Found<'t> {
    text: &'t str,
    start: usize,
    /// Behind it, and behind one `+` that ends it.
    end: usize,
    scheme: &'t str,
    target: &'t str,
}

/// The first reference: it runs to the next space, line break or `+`, and ends neither in a quote nor in a comma.
fn find(text: &str) -> Option<Found<'_>> {
    for (at, word) in text.match_indices("ref+") {
        let behind = &text[at + word.len()..];
        let Some((scheme, target)) = behind.split_once("://").filter(|(scheme, _)| !scheme.contains(['+', ':'])) else {
            continue;
        };
        let run = target.split(['+', '\n', ' ']).next().unwrap_or_default();
        let ended = run.trim_end_matches(['"', ',']);
        if ended.chars().count() < 2 {
            continue;
        }
        let start = if text[..at].ends_with("secret") { at - "secret".len() } else { at };
        let target_end = text.len() - target.len() + ended.len();
        let end = target_end + usize::from(text[target_end..].starts_with('+'));
        return Some(Found { text: &text[start..target_end], start, end, scheme, target: ended });
    }
    None
}

fn parse(found: &Found<'_>) -> Result<Reference, String> {
    if found.scheme != "sops" {
        return Err("only ref+sops is resolved here; let vals resolve it before".to_owned());
    }
    let (file, fragment) = found.target.split_once('#').unwrap_or((found.target, ""));
    if file.contains('?') {
        return Err("parameters of references are not supported".to_owned());
    }
    let host = file.split('/').next().unwrap_or_default();
    if host.contains(['@', ':', '%', '[']) {
        return Err("the first part of the file's name has a character that vals takes for an address".to_owned());
    }
    let decoded = |text: &str| decode(text).ok_or_else(|| "`%` is not followed by two hexadecimal digits".to_owned());
    let fragment = decoded(fragment)?;
    let fragment = fragment.strip_prefix('#').unwrap_or(&fragment);
    let fragment = fragment.strip_prefix('/').unwrap_or(fragment);
    let keys = if fragment.is_empty() { Vec::new() } else { fragment.split('/').map(ToOwned::to_owned).collect() };
    Ok(Reference { file: decoded(file)?, keys })
}

/// Bytes for `%XX`, as in URLs.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(behind.get(..2)?).ok()?;
            bytes.push(hex::decode(digits).ok()?.first().copied()?);
            rest = &behind[2..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8(bytes).ok()
}

/// A value in the midst of a text, as Go prints it.
fn inside(value: &Value) -> Result<Zeroizing<String>, String> {
    let text = match value {
        Value::Text(text) => return Ok(text.clone()),
        Value::Int(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Float(number) if number.is_finite() && (1e-4..1e21).contains(&number.abs()) => number.to_string(),
        _ => return Err("only texts, truth values and ordinary numbers can stand inside a text".to_owned()),
    };
    Ok(Zeroizing::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expands with values that name what was asked for.
    fn expanded(text: &str) -> Result<Option<Value>> {
        expand(text, "data.a", &mut |reference: &Reference| {
            Ok(match reference.keys.join("/").as_str() {
                "number" => Value::Int(7),
                keys => Value::text(format!("<{}|{keys}>", reference.file)),
            })
        })
    }

    #[test]
    fn references_are_found_where_vals_finds_them() {
        let cases = [
            ("ref+sops://f.yaml#a", "<f.yaml|a>"),
            ("ref+sops://d/f.yaml#/a/b", "<d/f.yaml|a/b>"),
            ("ref+sops:///d/f.yaml#a+", "</d/f.yaml|a>"),
            ("secretref+sops://f.yaml#a", "<f.yaml|a>"),
            ("x ref+sops://f#a y", "x <f|a> y"),
            ("\"ref+sops://f#a\",", "\"<f|a>\","),
            ("ref+sops://f#a+ref+sops://f#b", "<f|a><f|b>"),
            ("ref+sops://f#a+++", "<f|a>++"),
            ("k=ref+sops://f#number\n", "k=7\n"),
            ("ref+sops://d/my%20file#a%2Fb", "<d/my file|a/b>"),
            ("ref+sops://f.yaml", "<f.yaml|>"),
        ];
        for (text, expected) in cases {
            assert!(expanded(text) == Ok(Some(Value::text(expected))), "{text}: {:?}", expanded(text));
        }
        for text in ["", "ref", "ref+sops:", "ref+sops://", "ref+sops://\"", "preference"] {
            assert!(expanded(text) == Ok(None), "{text}");
        }
    }

    #[test]
    fn a_reference_alone_keeps_the_type_of_its_value() {
        assert!(expanded("ref+sops://f#number") == Ok(Some(Value::Int(7))));
        assert!(expanded("ref+sops://f#number+") == Ok(Some(Value::Int(7))));
        assert!(is_reference("ref+vault://a/b#c") && !is_reference("ref+sops://f#a b"));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for text in ["ref+vault://a/b#c", "ref+sops://f?format=json#a", "ref+sops://a@b#c", "ref+sops://f#%zz"] {
            let error = expanded(text).unwrap_err();
            assert!(error.to_string().starts_with(&format!("data.a: {text}: ")), "{error}");
        }
    }
}
