//! A backup told on a page, as `velero backup describe` does.

use kube::ResourceExt as _;
use trysail_api::{
    backup::{Backup, BackupPhase, BackupStatus},
    delete_backup_request::{DeleteBackupRequest, DeleteBackupRequestPhase},
    pod_volume_backup::PodVolumeBackup,
};

use super::{spec, volumes};
use crate::show::{
    View,
    files::{Fetched, Missing, ResourceList, Results, VolumeInfo, describe_resource_list, describe_results},
    moment::{moment, moment_or},
    page::Page,
};

/// Everything that is told of a backup.
#[derive(Debug)]
pub(crate) struct Picture {
    /// The backup.
    pub(crate) backup: Backup,
    /// Wishes that it be deleted.
    pub(crate) deletions: Vec<DeleteBackupRequest>,
    /// Its volumes.
    pub(crate) volumes: Vec<PodVolumeBackup>,
    /// What went wrong, where something did.
    pub(crate) results: Option<Fetched<Results>>,
    /// Its objects, where details are wanted.
    pub(crate) resources: Option<Fetched<ResourceList>>,
    /// What was done with volumes.
    pub(crate) infos: Fetched<Vec<VolumeInfo>>,
}

/// Tells a backup.
pub(crate) fn describe(picture: &Picture, view: &View) -> String {
    let (backup, mut page) = (&picture.backup, Page::default());
    let status = backup.status.clone().unwrap_or_default();
    metadata(&mut page, backup);
    page.blank();
    page.line(format!("Phase:\t{}{}", status.phase.unwrap_or(BackupPhase::New), note(backup, &status, view)));
    if status.phase == Some(BackupPhase::Queued) {
        page.line(format!("Queue position:\t{}", status.queue_position));
    }
    spec::policies(&mut page, "Resource policies", backup.spec.resource_policy.as_ref());
    spec::uploader(&mut page, &backup.spec);
    validation_errors(&mut page, status.validation_errors.as_deref());
    page.blank();
    results(&mut page, picture, &status);
    page.blank();
    spec::describe(&mut page, &backup.spec);
    page.blank();
    times(&mut page, &status, view);
    if let Some(resources) = &picture.resources {
        describe_resource_list(&mut page, resources, "backup");
        page.blank();
    }
    let depth = volumes::Depth::of(picture.resources.as_ref());
    volumes::describe(&mut page, &status, &picture.infos, &picture.volumes, depth);
    if let Some(hooks) = status.hook_status {
        page.blank();
        page.line(format!("HooksAttempted:\t{}", hooks.hooks_attempted));
        page.line(format!("HooksFailed:\t{}", hooks.hooks_failed));
    }
    deletions(&mut page, &picture.deletions, view);
    page.finish()
}

/// Tells names, labels and annotations.
pub(crate) fn metadata(page: &mut Page, object: &impl kube::Resource) {
    let metadata = object.meta();
    page.line(format!("Name:\t{}", object.name_any()));
    page.line(format!("Namespace:\t{}", metadata.namespace.as_deref().unwrap_or_default()));
    page.map("Labels", &metadata.labels.clone().unwrap_or_default());
    page.map("Annotations", &metadata.annotations.clone().unwrap_or_default());
}

/// Tells what is wrong with a spec.
pub(crate) fn validation_errors(page: &mut Page, errors: Option<&[String]>) {
    let errors = errors.unwrap_or_default();
    if !errors.is_empty() {
        page.blank();
        page.list("", "Validation errors", errors);
    }
}

/// Where to read on when something went wrong.
fn note(backup: &Backup, status: &BackupStatus, view: &View) -> String {
    match status.phase {
        Some(BackupPhase::Failed | BackupPhase::PartiallyFailed) => {
            format!(" (run `{} backup logs {}` for more information)", view.program, backup.name_any())
        }
        _ => String::new(),
    }
}

fn results(page: &mut Page, picture: &Picture, status: &BackupStatus) {
    if let Some(reason) = status.failure_reason.as_deref().filter(|reason| !reason.is_empty()) {
        page.line(format!("Failure reason:\t{reason}"));
    }
    match &picture.results {
        None => {}
        Some(Ok(results)) => describe_results(page, results, status.warnings, status.errors),
        Some(Err(Missing::NotFound)) => {
            page.line(format!("Errors:\t{}", status.errors));
            page.line(format!("Warnings:\t{}", status.warnings));
        }
        Some(Err(missing)) => {
            page.line(format!("Warnings:\t<error getting warnings: {missing}>"));
            page.blank();
            page.line(format!("Errors:\t<error getting errors: {missing}>"));
        }
    }
}

fn times(page: &mut Page, status: &BackupStatus, view: &View) {
    page.line(format!("Backup Format Version:\t{}", status.format_version.as_deref().unwrap_or_default()));
    page.blank();
    page.line(format!("Started:\t{}", moment_or(status.start_timestamp, "<n/a>", view)));
    page.line(format!("Completed:\t{}", moment_or(status.completion_timestamp, "<n/a>", view)));
    page.blank();
    page.line(format!("Expiration:\t{}", moment_or(status.expiration, "<nil>", view)));
    page.blank();
    if let Some(progress) = status.progress {
        let (total, done) = match status.phase {
            Some(BackupPhase::InProgress) => ("Estimated total items to be backed up", "Items backed up so far"),
            _ => ("Total items to be backed up", "Items backed up"),
        };
        page.line(format!("{total}:\t{}", progress.total_items));
        page.line(format!("{done}:\t{}", progress.items_backed_up));
        page.blank();
    }
    if status.backup_item_operations_attempted > 0 {
        page.line(format!(
            "Backup Item Operations:\t{} of {} completed successfully, {} failed",
            status.backup_item_operations_completed,
            status.backup_item_operations_attempted,
            status.backup_item_operations_failed
        ));
    }
}

fn deletions(page: &mut Page, requests: &[DeleteBackupRequest], view: &View) {
    if requests.is_empty() {
        return;
    }
    let errors = |request: &DeleteBackupRequest| {
        request.status.as_ref().and_then(|status| status.errors.clone()).unwrap_or_default()
    };
    let is_processed = |request: &DeleteBackupRequest| {
        request.status.as_ref().and_then(|status| status.phase) == Some(DeleteBackupRequestPhase::Processed)
    };
    let failed = requests.iter().filter(|request| is_processed(request) && !errors(request).is_empty()).count();
    let failed = if failed > 0 { format!(" ({failed} failed)") } else { String::new() };
    page.blank();
    page.line(format!("Deletion Attempts{failed}:"));
    for (number, request) in requests.iter().enumerate() {
        if number > 0 {
            page.blank();
        }
        let made = request.metadata.creation_timestamp.as_ref().map(|at| moment(at.0, view)).unwrap_or_default();
        let phase = request.status.as_ref().and_then(|status| status.phase);
        page.line(format!("\t{made}: {}", phase.map(|phase| phase.to_string()).unwrap_or_default()));
        let errors = errors(request);
        if !errors.is_empty() {
            page.line("\tErrors:");
            for error in &errors {
                page.line(format!("\t\t{error}"));
            }
        }
    }
}
