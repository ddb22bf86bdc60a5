//! Days of schedules in a moment: `decide` is told the time, and its status is carried on.

use std::fmt::Write as _;

use expect_test::expect;
use jiff::SignedDuration;
use trysail_api::schedule::{SchedulePhase, ScheduleStatus};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(spec: &Value) -> Schedule {
    serde_json::from_value(json!({
        "apiVersion": "velero.io/v1", "kind": "Schedule",
        "metadata": {
            "name": "daily", "namespace": "velero", "uid": "u-1", "creationTimestamp": "2026-03-20T10:00:00Z",
            "labels": { "app": "shop" },
            "annotations": { "note": "keep", "kubectl.kubernetes.io/last-applied-configuration": "{}" },
        },
        "spec": spec,
    }))
    .unwrap()
}

fn daily() -> Schedule {
    schedule(&json!({ "schedule": "0 2 * * *", "template": {} }))
}

/// Writes the status that a step says, as the API server would hold it.
fn apply(schedule: &mut Schedule, step: &Step) {
    schedule.status = Some(ScheduleStatus {
        last_backup: step.last_backup,
        last_skipped: step.last_skipped,
        phase: step.phase,
        validation_errors: (!step.problems.is_empty()).then(|| step.problems.clone()),
    });
}

fn made_at(text: &str, phase: Option<&str>) -> Backup {
    serde_json::from_value(json!({
        "apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": { "name": "b", "creationTimestamp": text }, "spec": {}, "status": { "phase": phase },
    }))
    .unwrap()
}

/// Lets time pass, looking whenever a step asks for it; what is made, with the time.
fn simulate(mut schedule: Schedule, from: &str, until: &str) -> String {
    let (mut now, until) = (at(from), at(until));
    let mut made = String::new();
    let mut looks = 0;
    while now < until {
        looks += 1;
        let step = decide(&schedule, &[], false, now);
        if let Some(at) = step.make {
            writeln!(made, "{} {}", now, schedule.backup(at).name_any()).unwrap();
        }
        apply(&mut schedule, &step);
        let Some(next) = step.next else { break };
        now = next + SignedDuration::from_millis(50);
    }
    writeln!(made, "{looks} looks").unwrap();
    made
}

#[test]
fn ten_days_of_a_daily_schedule_make_a_backup_each_day_but_where_the_clock_leaves_its_time_out() {
    // Clocks in Berlin go from 2 to 3 o'clock on 29 March 2026, so that day has no 02:30.
    let berlin = schedule(&json!({ "schedule": "CRON_TZ=Europe/Berlin 30 2 * * *", "template": {} }));
    expect![[r"
        2026-03-23T12:00:00Z daily-20260323120000
        2026-03-24T01:30:00.05Z daily-20260324013000
        2026-03-25T01:30:00.05Z daily-20260325013000
        2026-03-26T01:30:00.05Z daily-20260326013000
        2026-03-27T01:30:00.05Z daily-20260327013000
        2026-03-28T01:30:00.05Z daily-20260328013000
        2026-03-30T00:30:00.05Z daily-20260330003000
        2026-03-31T00:30:00.05Z daily-20260331003000
        2026-04-01T00:30:00.05Z daily-20260401003000
        2026-04-02T00:30:00.05Z daily-20260402003000
        10 looks
    "]]
    .assert_eq(&simulate(berlin, "2026-03-23T12:00:00Z", "2026-04-02T12:00:00Z"));
    expect![[r"
        2026-03-23T12:00:00Z daily-20260323120000
        2026-03-24T02:00:00.05Z daily-20260324020000
        2026-03-25T02:00:00.05Z daily-20260325020000
        2026-03-26T02:00:00.05Z daily-20260326020000
        2026-03-27T02:00:00.05Z daily-20260327020000
        2026-03-28T02:00:00.05Z daily-20260328020000
        2026-03-29T02:00:00.05Z daily-20260329020000
        2026-03-30T02:00:00.05Z daily-20260330020000
        2026-03-31T02:00:00.05Z daily-20260331020000
        2026-04-01T02:00:00.05Z daily-20260401020000
        10 looks
    "]]
    .assert_eq(&simulate(daily(), "2026-03-23T12:00:00Z", "2026-04-01T12:00:00Z"));
}

#[test]
fn a_new_schedule_makes_nothing_before_its_first_time() {
    let step = decide(&daily(), &[], false, at("2026-03-20T10:00:01Z"));
    let expected = Step {
        next: Some(at("2026-03-21T02:00:00Z")),
        interval: Some(86_400),
        phase: Some(SchedulePhase::Enabled),
        ..Step::default()
    };
    assert_eq!(step, expected);
}

#[test]
fn a_schedule_that_cannot_be_says_so_in_velero_s_words_and_makes_nothing() {
    let bad = schedule(&json!({ "schedule": "not a cron", "template": {} }));
    let step = decide(&bad, &[], false, at("2026-05-20T10:00:00Z"));
    let expected = Step {
        phase: Some(SchedulePhase::FailedValidation),
        problems: vec!["invalid schedule: expected exactly 5 fields, found 3: [not a cron]".to_owned()],
        ..Step::default()
    };
    assert_eq!(step, expected);
    let mut mended = daily();
    apply(&mut mended, &step);
    let fields = fields(&mended, &decide(&mended, &[], false, at("2026-03-20T11:00:00Z")));
    assert_eq!(fields, json!({ "phase": "Enabled", "validationErrors": null }));
}

#[test]
fn a_paused_schedule_makes_nothing_and_changes_nothing() {
    let paused = schedule(&json!({ "schedule": "0 2 * * *", "template": {}, "paused": true }));
    let step = decide(&paused, &[], false, at("2026-05-20T10:00:00Z"));
    assert_eq!((&step, fields(&paused, &step)), (&Step::default(), json!({})));
}

#[test]
fn a_backup_that_runs_holds_up_the_next_one_until_it_ends() {
    let now = at("2026-03-21T02:00:01Z");
    let earlier = "2026-03-21T01:00:00Z";
    let makes = |phase: Option<&str>| decide(&daily(), &[made_at(earlier, phase)], false, now).make.is_some();
    let phases = [None, Some("New"), Some("Queued"), Some("InProgress"), Some("Finalizing")];
    assert_eq!(phases.map(makes), [false; 5]);
    assert_eq!(["Completed", "Failed", "PartiallyFailed", "Deleting"].map(|phase| makes(Some(phase))), [true; 4]);
}

#[test]
fn a_backup_whose_note_was_lost_is_not_made_again() {
    let step = decide(&daily(), &[made_at("2026-03-21T02:00:03Z", None)], false, at("2026-03-21T02:00:30Z"));
    assert_eq!((step.make, step.last_backup), (None, Some(time(at("2026-03-21T02:00:03Z")))));
}

#[test]
fn skip_immediately_passes_over_one_time_and_once_more_after_a_pause() {
    let mut schedule = schedule(&json!({ "schedule": "@every 24h", "template": {}, "skipImmediately": true }));
    let first = decide(&schedule, &[], false, at("2026-03-25T12:00:00Z"));
    assert_eq!((first.make, first.last_skipped), (None, Some(time(at("2026-03-25T12:00:00Z")))));
    apply(&mut schedule, &first);
    assert!(decide(&schedule, &[], false, at("2026-03-26T12:00:01Z")).make.is_some());
    schedule.spec.paused = Some(true);
    let paused = decide(&schedule, &[], false, at("2026-03-26T13:00:00Z"));
    assert_eq!(fields(&schedule, &paused), json!({ "lastSkipped": null }));
    apply(&mut schedule, &paused);
    schedule.spec.paused = None;
    let again = decide(&schedule, &[], false, at("2026-04-01T00:00:00Z"));
    assert_eq!((again.make, again.last_skipped), (None, Some(time(at("2026-04-01T00:00:00Z")))));
}

#[test]
fn a_time_zone_and_a_jitter_of_the_annotations_count() {
    let mut schedule = daily();
    schedule.annotations_mut().insert("trysail.io/time-zone".to_owned(), "Asia/Tokyo".to_owned());
    let next = |schedule: &Schedule| decide(schedule, &[], false, at("2026-03-20T10:00:00Z")).next.unwrap();
    assert_eq!(next(&schedule), at("2026-03-20T17:00:00Z"));
    schedule.annotations_mut().insert("trysail.io/jitter".to_owned(), "30m".to_owned());
    let late = next(&schedule).duration_since(at("2026-03-20T17:00:00Z"));
    assert!(late > SignedDuration::ZERO && late <= SignedDuration::from_mins(30), "{late:?}");
}

#[test]
fn the_backup_of_a_schedule_is_the_one_that_the_command_line_makes() {
    let template = json!({ "includedNamespaces": ["shop"], "ttl": "72h", "metadata": {} });
    let mine = schedule(&json!({ "schedule": "0 2 * * *", "template": template, "useOwnerReferencesInBackup": true }));
    let made = serde_json::to_value(mine.backup(at("2026-03-21T02:00:00.05Z"))).unwrap();
    let owner = json!({
        "apiVersion": "velero.io/v1", "kind": "Schedule", "name": "daily", "uid": "u-1", "controller": true,
    });
    let expected = json!({
        "apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": {
            "name": "daily-20260321020000", "namespace": "velero",
            "labels": { "app": "shop", "velero.io/schedule-name": "daily" },
            "annotations": { "note": "keep" }, "ownerReferences": [owner],
        },
        "spec": { "includedNamespaces": ["shop"], "ttl": "72h", "metadata": {} },
    });
    assert_eq!(made, expected);
}
