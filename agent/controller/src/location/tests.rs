//! The judgement of locations as a table, and when it is written.

use expect_test::{Expect, expect};
use trysail_repository::store::{
    Error as StoreError, ErrorKind,
    s3::{Lifecycle, LifecycleRule},
};

use super::{judge::Sight, *};

const NOW: &str = "2026-11-21T07:00:00Z";

fn location(status: &Value) -> BackupStorageLocation {
    serde_json::from_value(json!({
        "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
        "metadata": { "name": "default", "creationTimestamp": "2026-11-21T06:00:00Z" },
        "spec": { "provider": "aws", "objectStorage": { "bucket": "velero", "prefix": "/home/" }, "default": true },
        "status": status,
    }))
    .unwrap()
}

fn sight() -> Sight {
    Sight {
        directories: vec!["backups".to_owned(), "kopia".to_owned()],
        lifecycle: Lifecycle::Rules(Vec::new()),
        refused_write: None,
        clock_difference: Some(SignedDuration::from_secs(1)),
        is_plaintext: false,
        trusts_anybody: false,
        unknown_settings: Vec::new(),
    }
}

fn rule(prefix: &str) -> LifecycleRule {
    LifecycleRule {
        id: "bgrt1".to_owned(),
        is_enabled: true,
        prefix: prefix.to_owned(),
        asks_for_tags: false,
        expires: Some("14 days".to_owned()),
    }
}

fn with_rule(rule: LifecycleRule) -> Finding {
    Finding::Seen(Sight { lifecycle: Lifecycle::Rules(vec![rule]), ..sight() })
}

fn check(what: &str, finding: &Finding, expected: &Expect) {
    let verdict = judge(&location(&Value::Null), finding, &[]);
    let found = format!("{}\n{}", verdict.phase, verdict.message);
    assert!(!what.is_empty());
    expected.assert_eq(found.trim_end());
}

#[test]
fn a_location_is_judged_by_what_is_seen_there() {
    let seen = Finding::Seen;
    check("an ordinary bucket", &seen(sight()), &expect!["Available"]);
    check(
        "a foreign directory",
        &seen(Sight { directories: vec!["backups".to_owned(), "alt".to_owned(), "x".to_owned()], ..sight() }),
        &expect![[r"
            Unavailable
            ForeignDirectories: Backup store contains invalid top-level directories: [alt x]"]],
    );
    check(
        "a rule that expires everything",
        &with_rule(rule("")),
        &expect![[r"
            Unavailable
            LifecycleUnsafe: rule bgrt1 of bucket velero deletes objects after 14 days, which younger backups still need; remove it: mc ilm rule rm --id bgrt1 ALIAS/velero"]],
    );
    check(
        "a store that tells no rules, on plain http, with a setting of another plugin",
        &seen(Sight {
            lifecycle: Lifecycle::Untold("HTTP 403: AccessDenied".to_owned()),
            is_plaintext: true,
            unknown_settings: vec!["kmsKeyId".to_owned()],
            ..sight()
        }),
        &expect![[r"
            Available
            LifecycleUnknown: whether a rule of the bucket deletes backups is not known, since the store does not tell us (HTTP 403: AccessDenied); allow s3:GetLifecycleConfiguration; PlaintextTransport: config.s3Url is http: whoever listens on the way reads what is not encrypted; UnknownSettings: without effect here: config.kmsKeyId"]],
    );
    check(
        "a clock that is off",
        &seen(Sight { clock_difference: Some(SignedDuration::from_secs(-601)), ..sight() }),
        &expect![[r"
            Unavailable
            ClockSkew: our clock is 601 s behind the store's; set the clock of the node or of the store"]],
    );
    check(
        "credentials that may only read",
        &seen(Sight {
            refused_write: Some(StoreError::new(ErrorKind::Denied, "k", "HTTP 403: AccessDenied")),
            ..sight()
        }),
        &expect![[r"
            Unavailable
            Unwritable: nothing can be written (access denied: HTTP 403: AccessDenied); give the credentials the right to put and delete objects, or set accessMode: ReadOnly"]],
    );
    check(
        "no bucket",
        &Finding::Broken(StoreError::new(ErrorKind::NoBucket, "", "HTTP 404: NoSuchBucket")),
        &expect![[r"
            Unavailable
            NoBucket: no such bucket or directory: HTTP 404: NoSuchBucket; make the bucket, or correct objectStorage.bucket"]],
    );
    check(
        "no Secret",
        &Finding::Wrong("there is no Secret cloud-credentials".to_owned()),
        &expect![[r"
            Unavailable
            InvalidLocation: there is no Secret cloud-credentials"]],
    );
}

#[test]
fn only_a_rule_that_deletes_current_objects_of_ours_is_dangerous() {
    let phase = |rule| judge(&location(&Value::Null), &with_rule(rule), &[]).phase;
    let base = || rule("");
    let found = [
        phase(rule("home/backups/")),
        phase(rule("ho")),
        phase(rule("other/")),
        phase(rule("homes")),
        phase(LifecycleRule { is_enabled: false, ..base() }),
        phase(LifecycleRule { expires: None, ..base() }),
        phase(LifecycleRule { asks_for_tags: true, ..base() }),
    ];
    let (bad, good) = (LocationPhase::Unavailable, LocationPhase::Available);
    assert_eq!(found, [bad, bad, good, good, good, good, good]);
}

fn step(status: &Value, looked_at: &str) -> Step {
    let world = World { newer_defaults: Vec::new() };
    decide(&location(status), &Finding::Seen(sight()), &world, looked_at.parse().unwrap(), NOW.parse().unwrap())
}

#[test]
fn a_status_that_is_right_is_written_once_an_hour() {
    let available = |at: &str| json!({ "phase": "Available", "lastValidationTime": at });
    let writes = |status: Value, looked_at: &str| step(&status, looked_at).writes;
    assert!(writes(Value::Null, NOW));
    assert!(writes(json!({ "phase": "Unavailable", "message": "x", "lastValidationTime": NOW }), NOW));
    assert!(!writes(available("2026-11-21T06:00:01Z"), NOW));
    assert!(writes(available("2026-11-21T06:00:00Z"), NOW));
    assert!(!writes(available("2026-11-21T06:00:00Z"), "2026-11-21T06:00:00Z"));
}

#[test]
fn of_several_defaults_the_newest_is_taken_and_the_others_say_so() {
    let verdict = judge(&location(&Value::Null), &Finding::Seen(sight()), &["nas".to_owned()]);
    let message = "SeveralDefaults: default and nas both say `default: true`; nas is taken, as it was made later";
    assert_eq!((verdict.phase, verdict.message.as_str()), (LocationPhase::Available, message));
    let mut newer = location(&Value::Null);
    newer.metadata.name = Some("nas".to_owned());
    newer.metadata.creation_timestamp = Some(serde_json::from_value(json!("2026-11-21T06:30:00Z")).unwrap());
    let mut unmarked = location(&Value::Null);
    unmarked.metadata.name = Some("fallback".to_owned());
    unmarked.spec.default = None;
    let all = [newer, location(&Value::Null), unmarked.clone()];
    assert_eq!(default_of(&all, "fallback").unwrap().name_any(), "nas");
    assert_eq!(default_of(&[unmarked], "fallback").unwrap().name_any(), "fallback");
}

#[test]
fn a_message_that_is_no_longer_true_is_removed() {
    let mut location = location(&json!({ "phase": "Unavailable", "message": "x" }));
    location.annotations_mut().insert(own::CONDITION.to_owned(), "LifecycleUnsafe".to_owned());
    let verdict = judge(&location, &Finding::Seen(sight()), &[]);
    let found = fields(&location, &verdict, NOW.parse().unwrap(), None);
    let expected = json!({
        "status": { "phase": "Available", "lastValidationTime": NOW, "message": null },
        "metadata": { "annotations": { "trysail.io/condition": null } },
    });
    assert_eq!(found, expected);
}
