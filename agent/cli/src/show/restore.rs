//! Restores as rows of a table and as a description.

use kube::ResourceExt as _;
use trysail_api::{
    pod_volume_restore::PodVolumeRestore,
    restore::{Restore, RestorePhase, RestoreSpec, RestoreStatus},
    transfer::UploaderType,
};

use super::{
    NONE, View,
    backup::{
        describe::{metadata, validation_errors},
        spec::{alternatives, included, policies},
        volumes::{Depth, PodVolume, describe_groups},
    },
    files::{Fetched, Missing, ResourceList, Results, VolumeInfo, describe_resource_list, describe_results},
    joined,
    moment::{moment, moment_or},
    page::Page,
    selector, span, switch,
};

/// Columns of a table. Source: Velero `pkg/cmd/util/output/restore_printer.go`.
pub(crate) const COLUMNS: [&str; 9] =
    ["NAME", "BACKUP", "STATUS", "STARTED", "COMPLETED", "ERRORS", "WARNINGS", "CREATED", "SELECTOR"];

/// One row.
pub(crate) fn row(restore: &Restore, view: &View) -> Vec<String> {
    let status = restore.status.clone().unwrap_or_default();
    vec![
        restore.name_any(),
        restore.spec.backup_name.clone().unwrap_or_default(),
        phase(restore, &status),
        moment_or(status.start_timestamp, "<nil>", view),
        moment_or(status.completion_timestamp, "<nil>", view),
        status.errors.to_string(),
        status.warnings.to_string(),
        restore.metadata.creation_timestamp.as_ref().map(|at| moment(at.0, view)).unwrap_or_default(),
        selector(restore.spec.label_selector.as_ref()),
    ]
}

fn phase(restore: &Restore, status: &RestoreStatus) -> String {
    if restore.metadata.deletion_timestamp.is_some() {
        return "Deleting".to_owned();
    }
    status.phase.unwrap_or(RestorePhase::New).to_string()
}

/// Everything that is told of a restore.
#[derive(Debug)]
pub(crate) struct Picture {
    /// The restore.
    pub(crate) restore: Restore,
    /// Its volumes.
    pub(crate) volumes: Vec<PodVolumeRestore>,
    /// What went wrong, where something did.
    pub(crate) results: Option<Fetched<Results>>,
    /// Its objects, where details are wanted.
    pub(crate) resources: Option<Fetched<ResourceList>>,
    /// What was done with volumes.
    pub(crate) infos: Fetched<Vec<VolumeInfo>>,
}

/// Tells a restore.
pub(crate) fn describe(picture: &Picture, view: &View) -> String {
    let (restore, mut page) = (&picture.restore, Page::default());
    let status = restore.status.clone().unwrap_or_default();
    metadata(&mut page, restore);
    page.blank();
    progress(&mut page, restore, &status, view);
    page.blank();
    page.line(format!("Started:\t{}", moment_or(status.start_timestamp, "<n/a>", view)));
    page.line(format!("Completed:\t{}", moment_or(status.completion_timestamp, "<n/a>", view)));
    validation_errors(&mut page, status.validation_errors.as_deref());
    results(&mut page, picture, &status);
    page.blank();
    spec(&mut page, &restore.spec);
    volumes(&mut page, picture);
    page.blank();
    let existing = restore.spec.existing_resource_policy.as_deref().filter(|policy| !policy.is_empty());
    page.line(format!("Existing Resource Policy: \t{}", existing.unwrap_or(NONE)));
    page.line(format!("ItemOperationTimeout:\t{}", span(restore.spec.item_operation_timeout.as_ref())));
    page.blank();
    page.line(format!("Preserve Service NodePorts:\t{}", switch(restore.spec.preserve_node_ports)));
    policies(&mut page, "Resource modifier", restore.spec.resource_modifier.as_ref());
    policies(&mut page, "Resource policies", restore.spec.resource_policy.as_ref());
    uploader(&mut page, &restore.spec);
    page.blank();
    end(&mut page, picture, &status);
    page.finish()
}

fn progress(page: &mut Page, restore: &Restore, status: &RestoreStatus, view: &View) {
    let phase = status.phase.unwrap_or(RestorePhase::New);
    let deleting = if restore.metadata.deletion_timestamp.is_some() { " (Deleting)" } else { "" };
    let note = match phase {
        RestorePhase::Failed | RestorePhase::PartiallyFailed => {
            format!(" (run '{} restore logs {}' for more information)", view.program, restore.name_any())
        }
        _ => String::new(),
    };
    page.line(format!("Phase:\t{phase}{deleting}{note}"));
    if let Some(progress) = status.progress {
        let (total, done) = match phase {
            RestorePhase::InProgress => ("Estimated total items to be restored", "Items restored so far"),
            _ => ("Total items to be restored", "Items restored"),
        };
        page.line(format!("{total}:\t{}", progress.total_items));
        page.line(format!("{done}:\t{}", progress.items_restored));
    }
}

fn results(page: &mut Page, picture: &Picture, status: &RestoreStatus) {
    if let Some(reason) = status.failure_reason.as_deref().filter(|reason| !reason.is_empty()) {
        page.blank();
        page.line(format!("Failure reason:\t{reason}"));
    }
    match &picture.results {
        None => {}
        Some(Ok(results)) => describe_results(page, results, status.warnings, status.errors),
        Some(Err(missing)) => {
            page.line(format!("Warnings:\t<error getting warnings: {missing}>"));
            page.blank();
            page.line(format!("Errors:\t<error getting errors: {missing}>"));
        }
    }
}

fn spec(page: &mut Page, spec: &RestoreSpec) {
    page.line(format!("Backup:\t{}", spec.backup_name.as_deref().unwrap_or_default()));
    page.blank();
    let namespaces = spec.included_namespaces.as_ref().filter(|list| list.as_slice() != ["*"]);
    page.line("Namespaces:");
    page.line(format!("\tIncluded:\t{}", joined(namespaces, "all namespaces found in the backup")));
    page.line(format!("\tExcluded:\t{}", joined(spec.excluded_namespaces.as_ref(), NONE)));
    page.blank();
    page.line("Resources:");
    page.line(format!("\tIncluded:\t{}", joined(spec.included_resources.as_ref(), "*")));
    page.line(format!("\tExcluded:\t{}", joined(spec.excluded_resources.as_ref(), NONE)));
    page.line(format!("\tCluster-scoped:\t{}", included(spec.include_cluster_resources)));
    page.blank();
    page.map("Namespace mappings", &spec.namespace_mapping.clone().unwrap_or_default());
    page.blank();
    page.line(format!("Label selector:\t{}", selector(spec.label_selector.as_ref())));
    page.blank();
    page.line(format!("Or label selector:\t{}", alternatives(spec.or_label_selectors.as_deref())));
    page.blank();
    page.line(format!("Restore PVs:\t{}", switch(spec.restore_pvs)));
}

fn volumes(page: &mut Page, picture: &Picture) {
    let depth = Depth::of(picture.resources.as_ref());
    if let Some(first) = picture.volumes.first() {
        page.blank();
        let uploader = first.spec.uploader_type.map(UploaderType::as_str).unwrap_or_default();
        let hint = depth.hint();
        page.line(format!("{uploader} Restores{hint}:"));
        let volumes: Vec<PodVolume<'_>> = picture.volumes.iter().map(of_restore).collect();
        describe_groups(page, "\t", &volumes, depth);
    }
    match &picture.infos {
        Err(Missing::NotFound) => {}
        Err(missing) => page.line(format!("\t<error getting restore volume info: {missing}>")),
        Ok(infos) => {
            page.blank();
            let csi: Vec<&VolumeInfo> = infos.iter().filter(|info| info.restore_method == "CSISnapshot").collect();
            if csi.is_empty() {
                return page.line("CSI Snapshot Restores: <none included>");
            }
            page.line("CSI Snapshot Restores:");
            for info in &csi {
                page.line(format!("\t{}", info.claim()));
            }
        }
    }
}

fn of_restore(volume: &PodVolumeRestore) -> PodVolume<'_> {
    let status = volume.status.clone().unwrap_or_default();
    let pod = &volume.spec.pod;
    PodVolume {
        pod: format!("{}/{}", pod.namespace.as_deref().unwrap_or_default(), pod.name.as_deref().unwrap_or_default()),
        volume: &volume.spec.volume,
        phase: status.phase,
        progress: status.progress.unwrap_or_default(),
        new_bytes: 0,
    }
}

fn uploader(page: &mut Page, spec: &RestoreSpec) {
    let Some(config) = &spec.uploader_config else { return };
    page.blank();
    page.line("Uploader config:");
    if config.write_sparse_files == Some(true) {
        page.line("\tWrite Sparse Files:\ttrue");
    }
    if let Some(files) = config.parallel_files_download.filter(|files| *files > 0) {
        page.line(format!("\tParallel Restore:\t{files}"));
    }
}

fn end(page: &mut Page, picture: &Picture, status: &RestoreStatus) {
    if status.restore_item_operations_attempted > 0 {
        page.line(format!(
            "Restore Item Operations:\t{} of {} completed successfully, {} failed",
            status.restore_item_operations_completed,
            status.restore_item_operations_attempted,
            status.restore_item_operations_failed
        ));
    }
    if let Some(hooks) = status.hook_status {
        page.blank();
        page.line(format!("HooksAttempted: \t{}", hooks.hooks_attempted));
        page.line(format!("HooksFailed: \t{}", hooks.hooks_failed));
    }
    if let Some(resources) = &picture.resources {
        page.blank();
        describe_resource_list(page, resources, "restore");
    }
}
