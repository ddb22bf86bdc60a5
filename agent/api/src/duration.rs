//! Spans of time as Go reads and writes them: `720h0m0s`, `336h`, `1m30s`, `1.5h`.
//!
//! Calendar units (days, months) do not exist here, as they do not in Go.

use std::{borrow::Cow, fmt, str::FromStr};

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const NANOSECOND: u64 = 1;
const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Units and their nanoseconds. Both signs for micro (U+00B5, U+03BC) are read.
const UNITS: [(&str, u64); 8] = [
    ("ns", NANOSECOND),
    ("us", MICROSECOND),
    ("\u{b5}s", MICROSECOND),
    ("\u{3bc}s", MICROSECOND),
    ("ms", MILLISECOND),
    ("s", SECOND),
    ("m", MINUTE),
    ("h", HOUR),
];

/// Why a text is no duration; the texts are those of Go's `time.ParseDuration`, which users of Velero know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a duration, or longer than 292 years.
    #[error("time: invalid duration {text:?}")]
    Invalid {
        /// What was read.
        text: String,
    },
    /// A number without a unit.
    #[error("time: missing unit in duration {text:?}")]
    MissingUnit {
        /// What was read.
        text: String,
    },
    /// A unit that Go does not have, such as `d`.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// What was read.
        text: String,
    },
}

/// A span of time that remembers how it was written: an object that says `720h` keeps `720h` when it is stored again.
///
/// Equality compares the spans, not their spelling.
#[derive(Debug, Clone)]
pub struct Duration {
    nanoseconds: i64,
    text: String,
}

impl Duration {
    /// A span of so many nanoseconds, spelled as Go spells it.
    pub fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self { nanoseconds, text: format(nanoseconds) }
    }

    /// A span of so many hours.
    ///
    /// No `u32` of hours overflows: the bound is far above the 2,562,047 hours that Go can say, where it stays.
    pub fn from_hours(hours: u32) -> Self {
        let nanoseconds = u64::from(hours).saturating_mul(HOUR);
        Self::from_nanoseconds(i64::try_from(nanoseconds).unwrap_or(i64::MAX))
    }

    /// Its length in nanoseconds, negative for a span into the past.
    pub fn nanoseconds(&self) -> i64 {
        self.nanoseconds
    }

    /// Whether it says nothing: Velero takes a span of zero for one that was not given.
    pub fn is_zero(&self) -> bool {
        self.nanoseconds == 0
    }

    /// The text, as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Duration {
    fn eq(&self, other: &Self) -> bool {
        self.nanoseconds == other.nanoseconds
    }
}

impl Eq for Duration {}

impl From<&Duration> for SignedDuration {
    fn from(duration: &Duration) -> Self {
        Self::from_nanos(duration.nanoseconds)
    }
}

impl FromStr for Duration {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(Self { nanoseconds: parse(text)?, text: text.to_owned() })
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Cow::<'_, str>::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// Reads a duration; returns nanoseconds.
///
/// Source: Go `time.ParseDuration`: an optional sign, then numbers with an optional fraction, each with its unit, or `0`.
fn parse(text: &str) -> Result<i64, Error> {
    let invalid = || Error::Invalid { text: text.to_owned() };
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (part, after) = part(rest, text)?;
        total = total.checked_add(part).filter(|sum| *sum <= 1 << 63).ok_or_else(invalid)?;
        rest = after;
    }
    if negative { 0_i64.checked_sub_unsigned(total) } else { i64::try_from(total).ok() }.ok_or_else(invalid)
}

/// The first number with its unit in nanoseconds, and what follows it. `text` is the whole, for errors.
fn part<'t>(rest: &'t str, text: &str) -> Result<(u64, &'t str), Error> {
    let invalid = || Error::Invalid { text: text.to_owned() };
    let (whole, after) = digits(rest);
    let (fraction, after) = match after.strip_prefix('.') {
        Some(after) => digits(after),
        None => ("", after),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(invalid());
    }
    let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
    let (unit, after) = after.split_at(end);
    if unit.is_empty() {
        return Err(Error::MissingUnit { text: text.to_owned() });
    }
    let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(Error::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() });
    };
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
    let whole = whole.checked_mul(*scale).filter(|part| *part <= 1 << 63).ok_or_else(invalid)?;
    let sum = whole.checked_add(fraction_of(fraction, *scale)).filter(|part| *part <= 1 << 63);
    Ok((sum.ok_or_else(invalid)?, after))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// The nanoseconds of a fraction's digits, rounded as Go rounds them: in floating point, and then cut off.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is stored must mean here what it means to Go; the product is below one unit, and so in range"
)]
fn fraction_of(digits: &str, scale: u64) -> u64 {
    /// Digits from this value on are not read, because one more might not fit.
    const MOST: u64 = i64::MAX as u64 / 10;
    let (mut value, mut power) = (0_u64, 1.0_f64);
    for digit in digits.bytes() {
        if value > MOST {
            break;
        }
        value = value * 10 + u64::from(digit - b'0');
        power *= 10.0;
    }
    (value as f64 * (scale as f64 / power)) as u64
}

/// Spells nanoseconds.
///
/// Source: Go `time.Duration.String`: from a second on hours, minutes and seconds, where hours or minutes that lead and
/// are zero are left out; below a second the largest unit with a number before the point.
fn format(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let length = nanoseconds.unsigned_abs();
    match length {
        0 => "0s".to_owned(),
        1..MICROSECOND => format!("{sign}{length}ns"),
        MICROSECOND..MILLISECOND => format!("{sign}{}\u{b5}s", decimal(length, MICROSECOND)),
        MILLISECOND..SECOND => format!("{sign}{}ms", decimal(length, MILLISECOND)),
        SECOND..MINUTE => format!("{sign}{}s", decimal(length, SECOND)),
        MINUTE..HOUR => format!("{sign}{}m{}s", length / MINUTE, decimal(length % MINUTE, SECOND)),
        _ => {
            let (hours, rest) = (length / HOUR, length % HOUR);
            format!("{sign}{hours}h{}m{}s", rest / MINUTE, decimal(rest % MINUTE, SECOND))
        }
    }
}

/// A length in a unit, with as many digits after the point as it needs.
fn decimal(length: u64, unit: u64) -> String {
    let (whole, rest) = (length / unit, length % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rows of a text, and its nanoseconds and spelling by Go 1.26, or Go's error.
    const READ_BY_GO: &str = include_str!("duration/go.json");

    type Row = (String, Option<String>, Option<String>, Option<String>);

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        let rows: Vec<Row> = serde_json::from_str(READ_BY_GO).unwrap();
        let found = rows.iter().map(|(text, ..)| match text.parse::<Duration>() {
            Ok(d) => (text.clone(), Some(d.nanoseconds().to_string()), Some(format(d.nanoseconds())), None),
            Err(e) => (text.clone(), None, None, Some(e.to_string())),
        });
        assert_eq!(found.collect::<Vec<Row>>(), rows);
    }

    #[test]
    fn an_object_keeps_the_spelling_of_its_duration() {
        let ttl: Duration = serde_json::from_value("720h".into()).unwrap();
        assert_eq!(serde_json::to_value(&ttl).unwrap(), "720h");
        assert_eq!(ttl, "720h0m0s".parse().unwrap());
        assert_eq!(Duration::from_hours(720).as_str(), "720h0m0s");
    }

    proptest! {
        #[test]
        fn every_span_is_read_back_from_its_spelling(nanoseconds: i64) {
            prop_assert_eq!(parse(&format(nanoseconds)), Ok(nanoseconds));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[-+.0-9a-zµμ]{0,24}") {
            if let Ok(nanoseconds) = parse(&text) {
                prop_assert_eq!(parse(&format(nanoseconds)), Ok(nanoseconds));
            }
        }
    }
}
