//! Schedules as rows of a table and as a description.

use kube::ResourceExt as _;
use trysail_api::{
    schedule::{Schedule, SchedulePhase},
    time::Time,
};

use super::{
    View,
    backup::{
        describe::{metadata, validation_errors},
        spec,
    },
    moment::{from_now, moment, moment_or},
    page::Page,
    selector, span,
};

/// Columns of a table. Source: Velero `pkg/cmd/util/output/schedule_printer.go`.
pub(crate) const COLUMNS: [&str; 8] =
    ["NAME", "STATUS", "CREATED", "SCHEDULE", "BACKUP TTL", "LAST BACKUP", "SELECTOR", "PAUSED"];

/// One row.
pub(crate) fn row(schedule: &Schedule, view: &View) -> Vec<String> {
    let status = schedule.status.clone().unwrap_or_default();
    let template = &schedule.spec.template;
    vec![
        schedule.name_any(),
        status.phase.unwrap_or(SchedulePhase::New).to_string(),
        schedule.metadata.creation_timestamp.as_ref().map(|at| moment(at.0, view)).unwrap_or_default(),
        schedule.spec.schedule.clone(),
        span(template.ttl.as_ref()),
        from_now(status.last_backup.map(Time::timestamp), view),
        selector(template.label_selector.as_ref()),
        schedule.spec.paused.unwrap_or(false).to_string(),
    ]
}

/// Tells a schedule.
pub(crate) fn describe(schedule: &Schedule, view: &View) -> String {
    let mut page = Page::default();
    let status = schedule.status.clone().unwrap_or_default();
    let template = &schedule.spec.template;
    metadata(&mut page, schedule);
    page.blank();
    page.line(format!("Phase:\t{}", status.phase.unwrap_or(SchedulePhase::New)));
    spec::policies(&mut page, "Resource policies", template.resource_policy.as_ref());
    spec::uploader(&mut page, template);
    validation_errors(&mut page, status.validation_errors.as_deref());
    page.blank();
    page.line(format!("Paused:\t{}", schedule.spec.paused.unwrap_or(false)));
    page.blank();
    page.line(format!("Schedule:\t{}", schedule.spec.schedule));
    page.blank();
    page.line("Backup Template:");
    page.indented(|page| spec::describe(page, template));
    page.blank();
    page.line(format!("Last Backup:\t{}", moment_or(status.last_backup, "<never>", view)));
    page.finish()
}
