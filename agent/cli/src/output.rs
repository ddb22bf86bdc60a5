//! The only place that prints: results to standard output, everything else to standard error.
#![expect(clippy::print_stderr, reason = "printing is what this file is for")]

use std::io::{IsTerminal, Write as _};

use anyhow::{Context as _, Result};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;

use crate::args::Format;

/// What an error of the result's destination is about.
const OUTPUT: &str = "standard output cannot be written";

/// Whether colours are wanted: on a terminal, unless `NO_COLOR` says otherwise. Source: no-color.org.
pub(crate) fn is_coloured(to: &impl IsTerminal) -> bool {
    to.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints an error with its causes in one line.
pub(crate) fn error(error: &anyhow::Error) {
    let mut said: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // A cause that an outer error already quotes adds nothing.
        if !said.iter().any(|s| s.contains(&text)) {
            said.push(text);
        }
    }
    eprintln!("error: {}", escape(&said.join(": ")));
}

/// Prints something that a person should know, but that is no result.
pub(crate) fn note(text: &str) {
    eprintln!("{}", escape(text));
}

/// Prints a result for programs: as YAML where that was asked for, else as JSON.
pub(crate) fn value<T: Serialize>(format: Format, value: &T) -> Result<()> {
    match format {
        Format::Yaml => {
            let text = serde_saphyr::to_string(value)?;
            line(text.trim_end())
        }
        Format::Json | Format::Table => {
            let mut text = serde_json::to_vec_pretty(value)?;
            text.push(b'\n');
            bytes(&text)
        }
    }
}

/// Prints values as YAML documents, each with the line that begins it.
pub(crate) fn documents<T: Serialize>(values: &[T]) -> Result<()> {
    values.iter().try_for_each(|document| {
        line("---")?;
        value(Format::Yaml, document)
    })
}

/// Prints a line of a result.
pub(crate) fn line(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context(OUTPUT)
}

/// Prints lines of a result, as they are.
pub(crate) fn text(text: &str) -> Result<()> {
    bytes(text.as_bytes())
}

/// Prints a result for programs as `velero describe` does: JSON with four spaces.
pub(crate) fn indented(value: &serde_json::Value) -> Result<()> {
    let mut text = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, form))?;
    text.push(b'\n');
    bytes(&text)
}

/// Prints a piece of a line at once.
pub(crate) fn ask(text: &str) -> Result<()> {
    bytes(text.as_bytes())?;
    flush()
}

/// Where the bytes of a result go that is longer than memory.
#[derive(Debug)]
pub(crate) struct Results;

impl std::io::Write for Results {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::io::stdout().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stdout().flush()
    }
}

/// Prints bytes of a result.
pub(crate) fn bytes(bytes: &[u8]) -> Result<()> {
    std::io::stdout().write_all(bytes).context(OUTPUT)
}

/// Passes on what is still in the buffer: at the end of the program nobody would hear of a failure.
pub(crate) fn flush() -> Result<()> {
    std::io::stdout().flush().context(OUTPUT)
}

/// Whether an error says only that the reader of a pipe has seen enough.
pub(crate) fn is_reader_gone(error: &anyhow::Error) -> bool {
    let is_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    };
    error.chain().any(is_pipe)
}

/// Prints a table as kubectl does.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> Result<()> {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    line(&table.trim_fmt())
}

/// A path as text that no terminal takes for commands.
pub(crate) fn path(path: &[u8]) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    match std::str::from_utf8(path) {
        // A line break too: a name must not look like a row of its own.
        Ok(text) => {
            text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.into() }).collect()
        }
        Err(_) => path.escape_ascii().to_string(),
    }
}

/// A path in JSON, from which its bytes come back: as the text that it is, and where it is none, its bytes in base64 beside.
#[derive(Serialize)]
pub(crate) struct PathText {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
}

impl PathText {
    /// The path of an entry; the root's is `.`.
    pub(crate) fn new(path: &[u8]) -> Self {
        let (path, path_bytes) = lossless(if path.is_empty() { b"." } else { path });
        Self { path, path_bytes }
    }

    /// The text for a terminal.
    pub(crate) fn shown(&self) -> String {
        self::path(self.path.as_bytes())
    }
}

/// Bytes as text, for JSON, which escapes control characters itself; where they are not UTF-8, with replacement characters, and in base64.
pub(crate) fn lossless(bytes: &[u8]) -> (String, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (String::from_utf8_lossy(bytes).into_owned(), Some(BASE64_STANDARD.encode(bytes))),
    }
}

/// Text whose control characters are escaped.
fn escape(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    let mut whole = bytes;
    let mut tenths = 0;
    while whole >= 1024 && unit + 1 < UNITS.len() {
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit += 1;
    }
    if unit == 0 { format!("{whole} B") } else { format!("{whole}.{tenths} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_binary_units() {
        let shown: Vec<String> = [0, 1023, 1024, 1536, 1 << 20, u64::MAX].into_iter().map(size).collect();
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "16383.9 PiB"]);
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert_eq!(path(b"a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(path(b"\xff\n"), "\\xff\\n");
        assert_eq!(path(b"a\nb"), "a\\nb");
    }
}
