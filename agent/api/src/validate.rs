//! What is wrong with a spec, in sentences for `status.validationErrors`: all problems at once, in Velero's words where
//! it has any.
//!
//! Only what the object says by itself is judged. Whether a location or a `ConfigMap` exists needs a cluster.

mod backup;
mod lists;
mod location;
mod restore;

pub use backup::backup;
pub use location::location;
pub use restore::{NON_RESTORABLE, restore};

use crate::{cron::Cadence, schedule::ScheduleSpec};

/// What is wrong with a Schedule: its time, and nothing of its template, which is judged when a Backup is made of it.
///
/// Source: Velero `pkg/controller/schedule_controller.go`.
pub fn schedule(spec: &ScheduleSpec) -> Vec<String> {
    if spec.schedule.is_empty() {
        return vec!["Schedule must be a non-empty valid Cron expression".to_owned()];
    }
    let parsed = spec.schedule.parse::<Cadence>();
    parsed.err().map(|error| format!("invalid schedule: {error}")).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_without_a_time_says_what_velero_says() {
        let problems = ["not a cron", "", "0 2 * * *"]
            .map(|text| schedule(&ScheduleSpec { schedule: text.to_owned(), ..ScheduleSpec::default() }));
        let expected: [&[&str]; 3] = [
            &["invalid schedule: expected exactly 5 fields, found 3: [not a cron]"],
            &["Schedule must be a non-empty valid Cron expression"],
            &[],
        ];
        assert_eq!(problems, expected.map(|p| p.iter().map(|s| (*s).to_owned()).collect::<Vec<String>>()));
    }
}
