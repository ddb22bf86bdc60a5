//! Values of scalars: what a plain text means to sops, and the bytes of it that are encrypted and hashed.
//!
//! sops reads YAML with the Go library `yaml.v3` and so knows integers in four bases, timestamps, and no booleans but `true` and
//! `false`. How a value is written into a file is in [`crate::emit`].

use std::fmt;

use zeroize::Zeroizing;

use crate::timestamp;

/// What a scalar, or a collection without members, means.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// Nothing; neither encrypted nor hashed.
    Null,
    /// A string, which may be a secret.
    Text(Zeroizing<String>),
    /// An integer of 64 bits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A point in time, in the form of RFC 3339 in which it is encrypted.
    Time(String),
    /// A mapping without members.
    EmptyMapping,
    /// A list without members.
    EmptyList,
    /// What sops has no value for; [`crate::document::Document::form`] says what.
    Other,
}

/// Secrets do not come into logs.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().unwrap_or("nothing"))
    }
}

impl Value {
    /// A string.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Zeroizing::new(text.into()))
    }

    /// The word for its type in ciphertext; none for what is never encrypted.
    ///
    /// Source: sops, `aes/cipher.go`.
    pub fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Text(_) => Some("str"),
            Self::Int(_) => Some("int"),
            Self::Float(_) => Some("float"),
            Self::Bool(_) => Some("bool"),
            Self::Time(_) => Some("time"),
            Self::Null | Self::EmptyMapping | Self::EmptyList | Self::Other => None,
        }
    }

    /// Whether both are written alike: `sops set` makes of an integer a float, which nobody sees.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let is_number = |value: &Self| matches!(value, Self::Int(_) | Self::Float(_));
        self == other || is_number(self) && is_number(other) && self.bytes() == other.bytes()
    }

    /// The bytes that are encrypted and hashed.
    ///
    /// Source: sops, `sops.go` (`ToBytes`): booleans as Python writes them, floats without an exponent.
    pub fn bytes(&self) -> Zeroizing<Vec<u8>> {
        let text = match self {
            Self::Text(text) => return Zeroizing::new(text.as_bytes().to_vec()),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => decimal(*number),
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Time(time) => time.clone(),
            Self::Null | Self::EmptyMapping | Self::EmptyList | Self::Other => String::new(),
        };
        Zeroizing::new(text.into_bytes())
    }

    /// The value of decrypted bytes; none if they are not of that type.
    pub fn from_bytes(kind: &str, bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        match kind {
            "str" | "bytes" => Some(Self::text(text)),
            "int" => text.parse().ok().map(Self::Int),
            "float" => parse_float(text).map(Self::Float),
            "bool" => match text {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(Self::Bool(true)),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(Self::Bool(false)),
                _ => None,
            },
            "time" => timestamp::parse(text).map(Self::Time),
            _ => None,
        }
    }

    /// What a plain (unquoted) scalar of YAML means.
    ///
    /// Source: yaml.v3, `resolve.go`.
    pub fn of_plain(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Null,
            "true" | "True" | "TRUE" => return Self::Bool(true),
            "false" | "False" | "FALSE" => return Self::Bool(false),
            ".nan" | ".NaN" | ".NAN" => return Self::Float(f64::NAN),
            ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Self::Float(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => return Self::Float(f64::NEG_INFINITY),
            _ => {}
        }
        let number = match text.as_bytes().first() {
            Some(b'.') => is_float(text).then(|| text.parse().ok().map(Self::Float)).flatten(),
            Some(b'0'..=b'9' | b'+' | b'-') => timestamp::parse(text).map(Self::Time).or_else(|| of_number(text)),
            _ => None,
        };
        number.unwrap_or_else(|| Self::text(text))
    }

    /// What a scalar of JSON that is not in quotes means; none if it is no JSON.
    pub fn of_json(text: &str) -> Option<Self> {
        match text {
            "null" => Some(Self::Null),
            "true" => Some(Self::Bool(true)),
            "false" => Some(Self::Bool(false)),
            _ => {
                let is_number = serde_json::from_str::<f64>(text).is_ok();
                let number = || text.parse().map(Self::Int).or_else(|_| text.parse().map(Self::Float)).ok();
                is_number.then(number).flatten()
            }
        }
    }
}

/// Numbers of YAML 1.1 and 1.2: bases 2, 8, 10 and 16, underscores anywhere.
fn of_number(text: &str) -> Option<Value> {
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, plain.as_str()),
    };
    if let Some(magnitude) = magnitude(digits) {
        return Some(match (negative, i64::try_from(magnitude)) {
            (false, Ok(number)) => Value::Int(number),
            (true, Ok(number)) => Value::Int(-number),
            (true, Err(_)) if magnitude == 1 << 63 => Value::Int(i64::MIN),
            (false, Err(_)) => Value::Other,
            (true, Err(_)) => Value::Float(plain.parse().ok()?),
        });
    }
    let number: f64 = is_float(&plain).then(|| plain.parse().ok()).flatten()?;
    number.is_finite().then_some(Value::Float(number))
}

fn magnitude(digits: &str) -> Option<u64> {
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let is_plain = digits.bytes().all(|b| b.is_ascii_alphanumeric());
    is_plain.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}

/// Whether a text is a float as YAML writes it: `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    has_digits && digits(whole) && digits(fraction) && exponent.is_none_or(|e| !e.is_empty() && digits(e))
}

fn parse_float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => is_float(text).then(|| text.parse().ok()).flatten(),
    }
}

/// The shortest digits that mean a number, without an exponent, as Go's `FormatFloat(x, 'f', -1, 64)` writes them.
fn decimal(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        number.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_they_mean_to_sops() {
        let cases: [(&str, Option<&str>, &str); 26] = [
            ("", None, ""),
            ("~", None, ""),
            ("text", Some("str"), "text"),
            ("yes", Some("str"), "yes"),
            ("true", Some("bool"), "True"),
            ("FALSE", Some("bool"), "False"),
            ("0", Some("int"), "0"),
            ("-0", Some("int"), "0"),
            ("1_000", Some("int"), "1000"),
            ("0777", Some("int"), "511"),
            ("0o17", Some("int"), "15"),
            ("0x1F", Some("int"), "31"),
            ("-0b11", Some("int"), "-3"),
            ("08", Some("float"), "8"),
            ("1.50", Some("float"), "1.5"),
            ("1e3", Some("float"), "1000"),
            (".5", Some("float"), "0.5"),
            (".inf", Some("float"), "+Inf"),
            ("-9223372036854775808", Some("int"), "-9223372036854775808"),
            ("18446744073709551616", Some("float"), "18446744073709552000"),
            ("1e999", Some("str"), "1e999"),
            ("1:30", Some("str"), "1:30"),
            ("2026-1-2", Some("time"), "2026-01-02T00:00:00Z"),
            ("10.0.0.1", Some("str"), "10.0.0.1"),
            ("+5", Some("int"), "5"),
            ("<<", Some("str"), "<<"),
        ];
        for (text, kind, bytes) in cases {
            let value = Value::of_plain(text);
            assert_eq!((value.kind(), value.bytes().as_slice()), (kind, bytes.as_bytes()), "{text}");
        }
    }

    #[test]
    fn bytes_come_back_as_the_value_that_they_were() {
        for text in ["text", "-12", "0.25", "true", "False", "2026-01-02T03:04:05.6+02:00"] {
            let value = Value::of_plain(text);
            assert!(Value::from_bytes(value.kind().unwrap(), &value.bytes()) == Some(value), "{text}");
        }
        assert_eq!(Value::from_bytes("int", b"one"), None);
        assert_eq!(Value::from_bytes("comment", b"one"), None);
    }

    #[test]
    fn a_value_does_not_come_into_a_log() {
        assert_eq!(format!("{:?}", Value::text("secret")), "str");
    }
}
