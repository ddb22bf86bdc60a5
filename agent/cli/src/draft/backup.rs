//! Backups and Schedules as they were typed.

use anyhow::Result;
use jiff::Timestamp;
use trysail_api::{
    backup::{Backup, BackupSpec, BackupUploaderConfig},
    schedule::{Schedule, ScheduleSpec},
    validate,
};

use super::{config_map, list, map, refuse, span};
use crate::args::backup::{BackupCreate, Choice, ScheduleCreate};

/// The Backup with what was typed alone.
///
/// # Errors
/// A spec that the server would refuse.
pub(crate) fn backup(create: &BackupCreate) -> Result<Backup> {
    let mut backup = Backup::new(create.name.as_deref().unwrap_or_default(), spec(&create.choice));
    refuse(&validate::backup(&backup.spec))?;
    add_metadata(&mut backup, create);
    Ok(backup)
}

/// The Backup that a Schedule would make now, with the name, labels and annotations that were typed.
pub(crate) fn from_schedule(create: &BackupCreate, schedule: &Schedule, now: Timestamp) -> Backup {
    let mut backup = schedule.backup(now);
    if let Some(name) = &create.name {
        backup.metadata.name = Some(name.clone());
    }
    add_metadata(&mut backup, create);
    backup
}

fn add_metadata(backup: &mut Backup, create: &BackupCreate) {
    backup.metadata.namespace = Some(create.connection.namespace.clone());
    if let Some(labels) = map(&create.choice.labels) {
        backup.metadata.labels.get_or_insert_default().extend(labels);
    }
    if let Some(annotations) = map(&create.annotations) {
        backup.metadata.annotations.get_or_insert_default().extend(annotations);
    }
}

/// The Schedule that was typed.
pub(crate) fn schedule(create: &ScheduleCreate) -> Schedule {
    let spec = ScheduleSpec {
        schedule: create.schedule.clone(),
        template: spec(&create.choice),
        paused: create.paused.then_some(true),
        skip_immediately: create.skip_immediately,
        use_owner_references_in_backup: Some(create.use_owner_references_in_backup),
    };
    let mut schedule = Schedule::new(&create.name, spec);
    schedule.metadata.namespace = Some(create.connection.namespace.clone());
    schedule.metadata.labels = map(&create.choice.labels);
    schedule
}

fn spec(choice: &Choice) -> BackupSpec {
    let uploader = choice.parallel_files_upload.filter(|files| *files > 0);
    BackupSpec {
        included_namespaces: list(&choice.include_namespaces),
        excluded_namespaces: list(&choice.exclude_namespaces),
        included_resources: list(&choice.include_resources),
        excluded_resources: list(&choice.exclude_resources),
        included_cluster_scoped_resources: list(&choice.include_cluster_scoped_resources),
        excluded_cluster_scoped_resources: list(&choice.exclude_cluster_scoped_resources),
        included_namespace_scoped_resources: list(&choice.include_namespace_scoped_resources),
        excluded_namespace_scoped_resources: list(&choice.exclude_namespace_scoped_resources),
        include_cluster_resources: choice.include_cluster_resources,
        label_selector: choice.selector.clone(),
        or_label_selectors: choice.or_selector.clone(),
        ttl: span(choice.ttl.as_ref()),
        storage_location: choice.storage_location.clone(),
        volume_snapshot_locations: list(&choice.volume_snapshot_locations),
        snapshot_volumes: choice.snapshot_volumes,
        snapshot_move_data: choice.snapshot_move_data,
        default_volumes_to_fs_backup: choice.default_volumes_to_fs_backup,
        ordered_resources: map(&choice.ordered_resources),
        csi_snapshot_timeout: span(choice.csi_snapshot_timeout.as_ref()),
        item_operation_timeout: span(choice.item_operation_timeout.as_ref()),
        resource_policy: config_map(choice.resource_policies_configmap.as_ref()),
        datamover: choice.data_mover.clone(),
        uploader_config: uploader.map(|files| BackupUploaderConfig { parallel_files_upload: Some(files) }),
        ..BackupSpec::default()
    }
}
