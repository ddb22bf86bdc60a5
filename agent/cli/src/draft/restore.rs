//! Restores as they were typed.

use anyhow::Result;
use jiff::Zoned;
use trysail_api::{
    restore::{Restore, RestoreSpec, RestoreStatusSpec, RestoreUploaderConfig},
    validate,
};

use super::{config_map, list, map, refuse, span};
use crate::args::{cluster::Existing, restore::RestoreCreate};

/// Where a Restore comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A Backup, by its name.
    Backup(String),
    /// The newest Completed Backup of a Schedule, which the server finds.
    Schedule(String),
}

/// The Restore that was typed. Without a name, it is that of the source and the time.
///
/// # Errors
/// A spec that the server would refuse.
pub(crate) fn restore(create: &RestoreCreate, source: &Source, now: &Zoned) -> Result<Restore> {
    // A name is made of what was typed, though a schedule may have become one of its backups.
    let typed = create.from_backup.as_ref().or(create.from_schedule.as_ref()).cloned().unwrap_or_default();
    let name = create.name.clone().unwrap_or_else(|| format!("{typed}-{}", now.strftime("%Y%m%d%H%M%S")));
    let mut restore = Restore::new(&name, spec(create, source));
    refuse(&validate::restore(&restore.spec))?;
    restore.metadata.namespace = Some(create.connection.namespace.clone());
    restore.metadata.labels = map(&create.labels);
    restore.metadata.annotations = map(&create.annotations);
    Ok(restore)
}

fn spec(create: &RestoreCreate, source: &Source) -> RestoreSpec {
    let (backup, schedule) = match source {
        Source::Backup(name) => (Some(name.clone()), None),
        Source::Schedule(name) => (None, Some(name.clone())),
    };
    let statuses = list(&create.status_include_resources);
    let existing = create.existing_resource_policy.map(|policy| match policy {
        Existing::None => "none".to_owned(),
        Existing::Update => "update".to_owned(),
    });
    RestoreSpec {
        backup_name: backup,
        schedule_name: schedule,
        included_namespaces: list(&create.include_namespaces),
        excluded_namespaces: list(&create.exclude_namespaces),
        included_resources: list(&create.include_resources),
        excluded_resources: list(&create.exclude_resources),
        existing_resource_policy: existing,
        namespace_mapping: map(&create.namespace_mappings),
        label_selector: create.selector.clone(),
        or_label_selectors: create.or_selector.clone(),
        restore_pvs: create.restore_volumes,
        preserve_node_ports: create.preserve_nodeports,
        include_cluster_resources: create.include_cluster_resources,
        resource_modifier: config_map(create.resource_modifier_configmap.as_ref()),
        resource_policy: config_map(create.resource_policies_configmap.as_ref()),
        item_operation_timeout: span(create.item_operation_timeout.as_ref()),
        uploader_config: Some(RestoreUploaderConfig {
            write_sparse_files: create.write_sparse_files,
            parallel_files_download: create.parallel_files_download.filter(|files| *files > 0),
        }),
        restore_status: statuses.map(|included| RestoreStatusSpec {
            included_resources: Some(included),
            excluded_resources: list(&create.status_exclude_resources),
        }),
        ..RestoreSpec::default()
    }
}
