//! What came of a transfer, and how the PodVolumeBackup says it. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};
use trysail_api::{names::own, time::Time, transfer::TransferPhase};

use crate::node::{door::End, problems::Told};

/// What came of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A snapshot of the whole volume.
    Saved(Saved),
    /// A snapshot of its first part: the session was over before the volume was.
    Partial,
    /// No snapshot, for this reason.
    Failed(String),
    /// It was ended from outside.
    Ended(End),
    /// Another process has it, or nobody wants it any more: nothing is to be said.
    Dropped,
}

/// A snapshot of a whole volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Saved {
    /// `<volume>/<session>`.
    pub(super) snapshot: String,
    /// Length of all files in bytes.
    pub(super) bytes: u64,
    /// Bytes that no earlier snapshot held.
    pub(super) new_bytes: u64,
    pub(super) told: Told,
}

/// The fields that are written; null for none. Pure.
pub(super) fn fields(outcome: &Outcome, now: Timestamp) -> Value {
    let ended = |phase: TransferPhase, message: &str| json!({ "status": { "phase": phase, "message": message, "completionTimestamp": Time::new(now) } });
    match outcome {
        Outcome::Dropped | Outcome::Ended(End::Gone) => Value::Null,
        Outcome::Failed(reason) => ended(TransferPhase::Failed, reason),
        Outcome::Ended(End::Cancelled) => ended(TransferPhase::Canceled, "it was cancelled"),
        Outcome::Ended(End::Stopped) => {
            ended(TransferPhase::Failed, "the node agent was stopped while it read the volume")
        }
        Outcome::Partial => ended(
            TransferPhase::Failed,
            "the volume was not read to its end within the longest time of a session; the next backup goes on from there",
        ),
        Outcome::Saved(Saved { snapshot, bytes, new_bytes, told }) => {
            let mut fields = json!({
                "status": {
                    "phase": TransferPhase::Completed,
                    "snapshotID": snapshot,
                    "progress": { "bytesDone": bytes, "totalBytes": bytes },
                    "incrementalBytes": new_bytes,
                    "message": told.message(),
                    "completionTimestamp": Time::new(now),
                },
            });
            if !told.is_empty() {
                fields["metadata"] = json!({ "annotations": { own::PROBLEMS: json!(told).to_string() } });
            }
            fields
        }
    }
}

impl Outcome {
    /// Its word in the metrics.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Saved(_) => "saved",
            Self::Partial | Self::Failed(_) => "failed",
            Self::Ended(_) | Self::Dropped => "ended",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(outcome: &Outcome) -> Value {
        fields(outcome, "2026-11-21T06:00:00Z".parse().unwrap())
    }

    fn saved(told: Told) -> Outcome {
        Outcome::Saved(Saved { snapshot: "db/01A".to_owned(), bytes: 30, new_bytes: 10, told })
    }

    #[test]
    fn a_saved_volume_names_its_snapshot_and_its_bytes() {
        let expected = json!({
            "status": {
                "phase": "Completed", "snapshotID": "db/01A", "progress": { "bytesDone": 30, "totalBytes": 30 },
                "incrementalBytes": 10, "message": null, "completionTimestamp": "2026-11-21T06:00:00Z",
            },
        });
        assert_eq!(written(&saved(Told::default())), expected);
    }

    #[test]
    fn files_that_could_not_be_saved_are_told_beside_the_snapshot() {
        let told = Told {
            errors: vec!["a: file cannot be opened".to_owned()],
            error_count: 2,
            unstable: vec!["b".to_owned()],
        };
        let written = written(&saved(told));
        assert_eq!(written["status"]["message"], "not saved: a: file cannot be opened, and 1 more");
        let annotation = written["metadata"]["annotations"]["trysail.io/problems"].as_str().unwrap();
        assert_eq!(annotation, r#"{"errors":["a: file cannot be opened"],"errorCount":2,"unstable":["b"]}"#);
    }

    #[test]
    fn whatever_else_becomes_of_a_transfer_ends_it_with_a_reason() {
        let phases = [
            Outcome::Failed("why".to_owned()),
            Outcome::Partial,
            Outcome::Ended(End::Cancelled),
            Outcome::Ended(End::Stopped),
        ];
        let told = phases.map(|outcome| {
            let status = written(&outcome)["status"].take();
            assert!(!status["message"].as_str().unwrap().is_empty(), "{status}");
            status["phase"].clone()
        });
        assert_eq!(told, ["Failed", "Failed", "Canceled", "Failed"]);
    }

    #[test]
    fn nothing_is_said_of_what_is_gone() {
        assert_eq!(
            [Outcome::Dropped, Outcome::Ended(End::Gone)].map(|outcome| written(&outcome)),
            [Value::Null, Value::Null]
        );
    }
}
