//! Timestamps as plain scalars of YAML: which texts are some, and their form in RFC 3339. The time of day is nobody's business here.

use jiff::civil::DateTime;

/// Digits of a fraction of a second that count.
const FRACTION_DIGITS: usize = 9;

/// The form of RFC 3339 of a text that YAML takes for a timestamp; none for other texts.
///
/// Source: yaml.v3, `resolve.go`: `Y-M-D`, `Y-M-D h:m:s`, and with `T` or `t` and a zone; numbers but the year may have one digit.
/// Times without a zone are in UTC.
pub(crate) fn parse(text: &str) -> Option<String> {
    let (date, rest) = match text.find(['T', 't', ' ']) {
        Some(at) => (text.get(..at)?, Some((text.as_bytes()[at], text.get(at + 1..)?))),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, number(parts.next()?)?, number(parts.next()?)?);
    if parts.next().is_some() || year.len() != 4 || !year.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let year: i16 = year.parse().ok()?;
    let Some((separator, rest)) = rest else {
        return Some(format!("{}Z", seconds(year, month, day, [0; 3])?));
    };
    let (clock, zone) = if separator == b' ' { (rest, "Z".to_owned()) } else { split_zone(rest)? };
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = whole.split(':');
    let clock = [number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?];
    let is_fraction = (1..=FRACTION_DIGITS).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit());
    if parts.next().is_some() || !is_fraction {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{}{point}{fraction}{zone}", seconds(year, month, day, clock)?))
}

/// A date and a time of day without a zone, if there is such a day and time.
fn seconds(year: i16, month: i8, day: i8, [hour, minute, second]: [i8; 3]) -> Option<String> {
    let time = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%S").to_string())
}

/// A number of one or two digits.
fn number(text: &str) -> Option<i8> {
    let is_number = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// The clock and the zone of `3:04:05Z` or `3:04:05+02:00`; an offset of nothing is `Z`.
fn split_zone(text: &str) -> Option<(&str, String)> {
    if let Some(clock) = text.strip_suffix('Z') {
        return Some((clock, "Z".to_owned()));
    }
    let (clock, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (hours, minutes) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
    let is_zone = hours.len() == 2 && number(hours)? <= 24 && minutes.len() == 2 && number(minutes)? < 60;
    let zone = if &zone[1..] == "00:00" { "Z" } else { zone };
    is_zone.then(|| (clock, zone.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_those_of_yaml_in_the_form_of_rfc_3339() {
        let cases = [
            ("2026-11-21", Some("2026-11-21T00:00:00Z")),
            ("2026-1-2", Some("2026-01-02T00:00:00Z")),
            ("2026-11-21T04:15:20Z", Some("2026-11-21T04:15:20Z")),
            ("2026-11-21t4:5:6.500+02:00", Some("2026-11-21T04:05:06.5+02:00")),
            ("2026-11-21 04:15:20.25", Some("2026-11-21T04:15:20.25Z")),
            ("2026-11-21T04:15:20-00:00", Some("2026-11-21T04:15:20Z")),
            ("2026-11-21 04:15:20Z", None),
            ("2026-11-21T04:15:20", None),
            ("2026-02-30", None),
            ("26-11-21", None),
            ("2026-11", None),
            ("2026-11-21-1", None),
            ("2026-11-21 ", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).as_deref(), expected, "{text}");
        }
    }
}
