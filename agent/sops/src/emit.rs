//! Values as text of YAML or JSON, such that every reader takes them for what they are.

use crate::{
    document::{Format, Leaf},
    value::Value,
};

/// Columns by which sops indents.
const INDENT: usize = 4;

/// Numbers from here on are written with an exponent.
const DIGITS_MAX: f64 = 1e15;

/// Words that some reader of YAML takes for something else than text.
const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// The text of a value in the place of a leaf.
pub(crate) fn value(value: &Value, format: Format, leaf: &Leaf) -> String {
    match value {
        Value::Text(text) if format == Format::Json => serde_json::Value::from(text.as_str()).to_string(),
        Value::Text(text) if !leaf.flow && is_block(text) => block(text, leaf.column),
        Value::Text(text) => scalar(text),
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Float(number) if number.is_nan() => ".nan".to_owned(),
        Value::Float(number) if number.is_infinite() => if *number > 0.0 { ".inf" } else { "-.inf" }.to_owned(),
        Value::Float(number) if number.abs() >= DIGITS_MAX => format!("{number:e}"),
        Value::Int(_) | Value::Float(_) | Value::Time(_) => String::from_utf8_lossy(&value.bytes()).into_owned(),
        Value::EmptyMapping => "{}".to_owned(),
        Value::EmptyList => "[]".to_owned(),
        Value::Other => String::new(),
    }
}

/// A text in YAML: as it is where nobody can misread it, else in double quotes.
pub(crate) fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

/// Ciphertext in the place of a leaf: it needs quotes where commas and brackets mean something.
pub(crate) fn ciphertext(text: &str, format: Format, flow: bool) -> String {
    if flow || format == Format::Json { format!("\"{text}\"") } else { text.to_owned() }
}

fn is_plain(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_');
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "/_.@+-".contains(c);
    begins && text.chars().all(is_safe) && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if !is_printable(c) => quoted.extend(["\\U", &format!("{:08X}", u32::from(c))]),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether a character may stand in YAML as it is. Source: YAML 1.1 §5.1, without what it takes for the end of a line.
fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Whether a text of several lines can stand as a literal block.
fn is_block(text: &str) -> bool {
    let lines_are_plain = text.chars().all(|c| c == '\n' || is_printable(c));
    text.trim_end_matches('\n').contains('\n')
        && lines_are_plain
        && !text.starts_with([' ', '\n'])
        && !text.ends_with("\n\n")
        && !text.lines().any(|line| line.ends_with(' '))
}

fn block(text: &str, column: usize) -> String {
    let header = if text.ends_with('\n') { "|" } else { "|-" };
    let indent = " ".repeat(column + INDENT);
    let mut block = header.to_owned();
    for line in text.lines() {
        block.push('\n');
        if !line.is_empty() {
            block.push_str(&indent);
            block.push_str(line);
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document;

    /// A text as member of a mapping, and in brackets.
    fn written(text: &str) -> [String; 2] {
        let [a, b] = ["a: x\n", "a: [x]\n"].map(|around| {
            let leaf = document::parse(around, Format::Yaml).unwrap()[0].leaves[0].clone();
            around.replace('x', &value(&Value::text(text), Format::Yaml, &leaf))
        });
        [a, b]
    }

    #[test]
    fn every_text_comes_back_as_it_was() {
        let texts = [
            "",
            " ",
            "a",
            "yes",
            "No",
            "1",
            "1e3",
            "~",
            "a: b",
            "a #b",
            "- a",
            "a, b",
            "[a]",
            "'",
            "\"\\",
            "é😀",
            "a\nb",
            "a\nb\n",
            "a\nb\n\n",
            "\na\nb",
            " a\nb",
            "a \nb",
            "a\n\n  b\n",
            "\u{85}\u{2028}\u{feff}\u{7f}\0",
            "a\tb",
            "tail ",
            "<<",
            "=",
            "!a",
            "&a",
            "*a",
            "2026-01-01",
            "---",
            "a\n---\nb\n",
            "#a\n#b",
            "a\r\nb",
            "{{ a }}",
            "%a",
            "@a",
            "`a",
            ":",
            "-",
            "?",
        ];
        for text in texts {
            for written in written(text) {
                let leaf = &document::parse(&written, Format::Yaml).unwrap()[0].leaves[0];
                assert!(leaf.value == Value::text(text), "{text:?} was written as {written:?}");
            }
        }
    }

    #[test]
    fn values_that_are_no_text_come_back_as_they_were() {
        let leaf = document::parse("a: x\n", Format::Yaml).unwrap()[0].leaves[0].clone();
        for plain in ["null", "true", "-5", "0.5", "1e300", ".inf", "-.inf", "2026-01-02T03:04:05Z"] {
            let value_before = Value::of_plain(plain);
            let text = value(&value_before, Format::Yaml, &leaf);
            assert!(Value::of_plain(&text) == value_before, "{plain} was written as {text}");
        }
    }

    #[test]
    fn several_lines_are_a_block_that_people_can_read() {
        assert_eq!(written("one\n\ntwo\n")[0], "a: |\n    one\n\n    two\n");
        assert_eq!(written("one\ntwo")[0], "a: |-\n    one\n    two\n");
    }
}
