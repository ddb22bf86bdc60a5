//! What a backup was asked to take, told in a page: of a Backup, or of the template of a Schedule.

use trysail_api::{
    backup::BackupSpec,
    hook::{BackupHook, Hook},
    reference::LocalReference,
    selection::uses_unscoped,
    selector::LabelSelector,
};

use crate::show::{NONE, joined, page::Page, selector, span, switch};

/// Tells a spec.
pub(crate) fn describe(page: &mut Page, spec: &BackupSpec) {
    namespaces(page, spec);
    page.blank();
    kinds(page, spec);
    page.blank();
    page.line(format!("Label selector:\t{}", selector(spec.label_selector.as_ref())));
    page.blank();
    page.line(format!("Or label selector:\t{}", alternatives(spec.or_label_selectors.as_deref())));
    page.blank();
    page.line(format!("Storage Location:\t{}", spec.storage_location.as_deref().unwrap_or_default()));
    page.blank();
    page.line(format!("Velero-Native Snapshot PVs:\t{}", switch(spec.snapshot_volumes)));
    if let Some(all) = spec.default_volumes_to_fs_backup {
        page.line(format!("File System Backup (Default):\t{all}"));
    }
    page.line(format!("Snapshot Move Data:\t{}", switch(spec.snapshot_move_data)));
    let mover = spec.datamover.as_deref().filter(|mover| !mover.is_empty()).unwrap_or("velero");
    page.line(format!("Data Mover:\t{mover}"));
    page.blank();
    page.line(format!("TTL:\t{}", span(spec.ttl.as_ref())));
    page.blank();
    page.line(format!("CSISnapshotTimeout:\t{}", span(spec.csi_snapshot_timeout.as_ref())));
    page.line(format!("ItemOperationTimeout:\t{}", span(spec.item_operation_timeout.as_ref())));
    page.blank();
    hooks(page, spec);
    if let Some(order) = &spec.ordered_resources {
        page.blank();
        page.line("OrderedResources:");
        for (kind, objects) in order {
            page.line(format!("\t{kind}: {objects}"));
        }
    }
}

/// Selectors of which one is enough.
pub(crate) fn alternatives(selectors: Option<&[LabelSelector]>) -> String {
    let texts: Vec<String> = selectors.into_iter().flatten().map(|one| selector(Some(one))).collect();
    if texts.is_empty() { NONE.to_owned() } else { texts.join(" or ") }
}

/// Tells the `ConfigMap` with rules, where there is one.
pub(crate) fn policies(page: &mut Page, heading: &str, reference: Option<&LocalReference>) {
    if let Some(reference) = reference {
        page.blank();
        page.line(format!("{heading}:"));
        page.line(format!("\tType:\t{}", reference.kind));
        page.line(format!("\tName:\t{}", reference.name));
    }
}

/// Tells how many files are read at once, where that was said.
pub(crate) fn uploader(page: &mut Page, spec: &BackupSpec) {
    let files = spec.uploader_config.as_ref().and_then(|config| config.parallel_files_upload);
    if let Some(files) = files.filter(|files| *files > 0) {
        page.blank();
        page.line("Uploader config:");
        page.line(format!("\tParallel files upload:\t{files}"));
    }
}

fn namespaces(page: &mut Page, spec: &BackupSpec) {
    page.line("Namespaces:");
    page.line(format!("\tIncluded:\t{}", joined(spec.included_namespaces.as_ref(), "*")));
    page.line(format!("\tExcluded:\t{}", joined(spec.excluded_namespaces.as_ref(), NONE)));
}

fn kinds(page: &mut Page, spec: &BackupSpec) {
    page.line("Resources:");
    if uses_unscoped(spec) {
        page.line(format!("\tIncluded:\t{}", joined(spec.included_resources.as_ref(), "*")));
        page.line(format!("\tExcluded:\t{}", joined(spec.excluded_resources.as_ref(), NONE)));
        page.line(format!("\tCluster-scoped:\t{}", included(spec.include_cluster_resources)));
        return;
    }
    let lists = [
        ("Included cluster-scoped", &spec.included_cluster_scoped_resources, NONE),
        ("Excluded cluster-scoped", &spec.excluded_cluster_scoped_resources, NONE),
        ("Included namespace-scoped", &spec.included_namespace_scoped_resources, "*"),
        ("Excluded namespace-scoped", &spec.excluded_namespace_scoped_resources, NONE),
    ];
    for (name, list, instead) in lists {
        page.line(format!("\t{name}:\t{}", joined(list.as_ref(), instead)));
    }
}

/// Whether objects without a namespace are taken.
pub(crate) fn included(value: Option<bool>) -> &'static str {
    match value {
        Some(true) => "included",
        Some(false) => "excluded",
        None => "auto",
    }
}

fn hooks(page: &mut Page, spec: &BackupSpec) {
    let hooks = spec.hooks.as_ref().and_then(|hooks| hooks.resources.as_deref()).unwrap_or_default();
    if hooks.is_empty() {
        return page.line(format!("Hooks:\t{NONE}"));
    }
    page.line("Hooks:");
    page.line("\tResources:");
    for hook in hooks {
        self::hook(page, hook);
    }
}

fn hook(page: &mut Page, hook: &BackupHook) {
    page.line(format!("\t\t{}:", hook.name));
    page.line("\t\t\tNamespaces:");
    page.line(format!("\t\t\t\tIncluded:\t{}", joined(hook.included_namespaces.as_ref(), "*")));
    page.line(format!("\t\t\t\tExcluded:\t{}", joined(hook.excluded_namespaces.as_ref(), NONE)));
    page.blank();
    page.line("\t\t\tResources:");
    page.line(format!("\t\t\t\tIncluded:\t{}", joined(hook.included_resources.as_ref(), "*")));
    page.line(format!("\t\t\t\tExcluded:\t{}", joined(hook.excluded_resources.as_ref(), NONE)));
    page.blank();
    page.line(format!("\t\t\tLabel selector:\t{}", selector(hook.label_selector.as_ref())));
    let stages = [("Pre", &hook.pre), ("Post", &hook.post)];
    for (stage, hooks) in stages {
        for hook in hooks.iter().flatten() {
            command(page, stage, hook);
        }
    }
}

fn command(page: &mut Page, stage: &str, hook: &Hook) {
    let exec = &hook.exec;
    page.blank();
    page.line(format!("\t\t\t{stage} Exec Hook:"));
    page.line(format!("\t\t\t\tContainer:\t{}", exec.container.as_deref().unwrap_or_default()));
    page.line(format!("\t\t\t\tCommand:\t{}", exec.command.join(" ")));
    page.line(format!("\t\t\t\tOn Error:\t{}", exec.on_error.map(|on| on.to_string()).unwrap_or_default()));
    page.line(format!("\t\t\t\tTimeout:\t{}", span(exec.timeout.as_ref())));
}
