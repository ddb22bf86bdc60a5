//! One field of a schedule: the set of numbers that it names.
//!
//! Source: robfig/cron v3 parser.go: a list with commas of `*`, `?`, a number or name, or a range, each with an optional `/step`.

/// The numbers that a field may name, and their names.
#[derive(Debug)]
pub(super) struct Bounds {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

pub(super) const MINUTE: Bounds = Bounds { min: 0, max: 59, names: &[] };
pub(super) const HOUR: Bounds = Bounds { min: 0, max: 23, names: &[] };
pub(super) const DAY: Bounds = Bounds { min: 1, max: 31, names: &[] };
pub(super) const MONTH: Bounds = Bounds {
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
pub(super) const WEEKDAY: Bounds = Bounds { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// The mark of a field that says `*`, above all numbers.
const STAR: u64 = 1 << 63;

/// Why a text is no field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither a number nor a name.
    #[error("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: {why}")]
    Number {
        /// What was read.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A number below zero.
    #[error("negative number ({number}) not allowed: {number}")]
    Negative {
        /// The number.
        number: i64,
    },
    /// More than one hyphen.
    #[error("too many hyphens: {text}")]
    Hyphens {
        /// What was read.
        text: String,
    },
    /// More than one slash.
    #[error("too many slashes: {text}")]
    Slashes {
        /// What was read.
        text: String,
    },
    /// A number that is too small for the field.
    #[error("beginning of range ({start}) below minimum ({min}): {text}")]
    Below {
        /// The number.
        start: u64,
        /// The smallest one.
        min: u32,
        /// What was read.
        text: String,
    },
    /// A number that is too large for the field.
    #[error("end of range ({end}) above maximum ({max}): {text}")]
    Above {
        /// The number.
        end: u64,
        /// The largest one.
        max: u32,
        /// What was read.
        text: String,
    },
    /// A range that ends before it begins.
    #[error("beginning of range ({start}) beyond end of range ({end}): {text}")]
    Backwards {
        /// The first number.
        start: u64,
        /// The last number.
        end: u64,
        /// What was read.
        text: String,
    },
    /// A step of zero.
    #[error("step of range should be a positive number: {text}")]
    Step {
        /// What was read.
        text: String,
    },
}

/// The numbers that a field names, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field(u64);

impl Field {
    pub(super) fn parse(text: &str, bounds: &Bounds) -> Result<Self, Error> {
        let parts = text.split(',').filter(|part| !part.is_empty());
        parts.map(|part| range(part, bounds)).try_fold(Self(0), |all, part| Ok(Self(all.0 | part?)))
    }

    pub(super) fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| self.0 & (1 << number) != 0)
    }

    /// Whether it names all numbers by a star without a step.
    pub(super) fn is_star(self) -> bool {
        self.0 & STAR != 0
    }

    pub(super) fn values(self) -> impl Iterator<Item = i8> {
        (0..=59).filter(move |number| self.has(*number))
    }
}

/// The bits of a number, a range or a star, each with an optional step.
fn range(text: &str, bounds: &Bounds) -> Result<u64, Error> {
    let own = || text.to_owned();
    let mut by_slash = text.split('/');
    let (span, step, more) = (by_slash.next().unwrap_or_default(), by_slash.next(), by_slash.next());
    let mut by_hyphen = span.split('-');
    let (low, high, extra) = (by_hyphen.next().unwrap_or_default(), by_hyphen.next(), by_hyphen.next());
    let is_star = matches!(low, "*" | "?");
    let (start, mut end) = match (is_star, high) {
        // What follows a star and a hyphen is not read.
        (true, _) => (bounds.min.into(), bounds.max.into()),
        (false, _) if extra.is_some() => {
            number_or_name(low, bounds)?;
            return Err(Error::Hyphens { text: own() });
        }
        (false, None) => (number_or_name(low, bounds)?, number_or_name(low, bounds)?),
        (false, Some(high)) => (number_or_name(low, bounds)?, number_or_name(high, bounds)?),
    };
    if more.is_some() {
        return Err(Error::Slashes { text: own() });
    }
    let step_by = step.map_or(Ok(1), number)?;
    if step.is_some() && high.is_none() {
        end = bounds.max.into();
    }
    if start < bounds.min.into() {
        return Err(Error::Below { start, min: bounds.min, text: own() });
    }
    if end > bounds.max.into() {
        return Err(Error::Above { end, max: bounds.max, text: own() });
    }
    if start > end {
        return Err(Error::Backwards { start, end, text: own() });
    }
    let stride = usize::try_from(step_by).unwrap_or(usize::MAX);
    if stride == 0 {
        return Err(Error::Step { text: own() });
    }
    let star = if is_star && step_by <= 1 { STAR } else { 0 };
    Ok((start..=end).step_by(stride).fold(star, |bits, number| bits | 1 << number))
}

fn number_or_name(text: &str, bounds: &Bounds) -> Result<u64, Error> {
    let lower = text.to_lowercase();
    match bounds.names.iter().zip(bounds.min..).find(|(name, _)| **name == lower) {
        Some((_, number)) => Ok(number.into()),
        None => number(text),
    }
}

/// Source: Go `strconv.Atoi`: an optional sign and decimal digits.
fn number(text: &str) -> Result<u64, Error> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let error = |why| Error::Number { text: text.to_owned(), why };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error("invalid syntax"));
    }
    let number: i64 = text.parse().map_err(|_| error("value out of range"))?;
    u64::try_from(number).map_err(|_| Error::Negative { number })
}
