//! The `CustomResourceDefinitions` of all kinds, as the API server is given them.
//!
//! Those of `velero.io` equal the ones of Velero 1.18 in everything but their descriptions; a test compares them field by
//! field with recorded ones.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceSubresources, CustomResourceValidation,
};
use kube::core::crd::v1::CustomResourceExt;
use schemars::JsonSchema;
use serde_json::{Value, json};

use crate::{
    backup, backup_repository, backup_storage_location, data_download, data_upload, delete_backup_request,
    download_request, pod_volume_backup, pod_volume_restore, restore, schedule, schema, server_status_request,
    volume_restore, volume_snapshot_location,
};

/// Why there is no definition: a mistake in a type of this crate, which its tests find.
#[derive(Debug, thiserror::Error)]
#[error("the definition of {kind} cannot be made")]
pub struct Error {
    kind: &'static str,
    source: serde_json::Error,
}

/// The thirteen kinds of Velero, ordered as `velero install --crds-only` prints them.
///
/// # Errors
/// None that a user can cause.
pub fn velero() -> Result<Vec<CustomResourceDefinition>, Error> {
    macro_rules! crd {
        ($module:ident, $kind:ident, $spec:ident, $status:ident, $about:literal) => {
            define::<$module::$kind, $module::$spec, $module::$status>(stringify!($kind), $about)
        };
    }
    Ok(vec![
        crd!(
            backup_repository,
            BackupRepository,
            BackupRepositorySpec,
            BackupRepositoryStatus,
            "The repository of one namespace in one location."
        )?,
        crd!(backup, Backup, BackupSpec, BackupStatus, "What is kept, and how far that is.")?,
        crd!(
            backup_storage_location,
            BackupStorageLocation,
            BackupStorageLocationSpec,
            BackupStorageLocationStatus,
            "The bucket in which Backups lie."
        )?,
        crd!(
            delete_backup_request,
            DeleteBackupRequest,
            DeleteBackupRequestSpec,
            DeleteBackupRequestStatus,
            "The wish that a Backup and its data be deleted."
        )?,
        crd!(
            download_request,
            DownloadRequest,
            DownloadRequestSpec,
            DownloadRequestStatus,
            "The wish for a URL from which a stored file can be fetched."
        )?,
        crd!(
            pod_volume_backup,
            PodVolumeBackup,
            PodVolumeBackupSpec,
            PodVolumeBackupStatus,
            "The files of one volume, to be read."
        )?,
        crd!(
            pod_volume_restore,
            PodVolumeRestore,
            PodVolumeRestoreSpec,
            PodVolumeRestoreStatus,
            "The files of one snapshot, to be written."
        )?,
        crd!(restore, Restore, RestoreSpec, RestoreStatus, "What comes back from a Backup, and how far that is.")?,
        crd!(schedule, Schedule, ScheduleSpec, ScheduleStatus, "Backups that are made again and again.")?,
        crd!(
            server_status_request,
            ServerStatusRequest,
            ServerStatusRequestSpec,
            ServerStatusRequestStatus,
            "The question who serves, and in which version."
        )?,
        crd!(
            volume_snapshot_location,
            VolumeSnapshotLocation,
            VolumeSnapshotLocationSpec,
            VolumeSnapshotLocationStatus,
            "Where a provider keeps its own snapshots of disks."
        )?,
        crd!(
            data_download,
            DataDownload,
            DataDownloadSpec,
            DataDownloadStatus,
            "The data of one moved CSI snapshot, to be written."
        )?,
        crd!(data_upload, DataUpload, DataUploadSpec, DataUploadStatus, "The data of one CSI snapshot, to be moved.")?,
    ])
}

/// The kinds of Trysail's own group.
///
/// # Errors
/// None that a user can cause.
pub fn own() -> Result<Vec<CustomResourceDefinition>, Error> {
    let about = "What a claim names to be filled from a snapshot.";
    let crd = define::<
        volume_restore::VolumeRestore,
        volume_restore::VolumeRestoreSpec,
        volume_restore::VolumeRestoreStatus,
    >("VolumeRestore", about)?;
    Ok(vec![crd])
}

/// All kinds: Velero's, then our own.
///
/// # Errors
/// None that a user can cause.
pub fn all() -> Result<Vec<CustomResourceDefinition>, Error> {
    Ok([velero()?, own()?].concat())
}

/// Definitions as one object of kind `List`, as `velero install -o json` prints them.
///
/// # Errors
/// None that a user can cause.
pub fn list(crds: &[CustomResourceDefinition]) -> Result<Value, Error> {
    let items = serde_json::to_value(crds).map_err(|source| Error { kind: "List", source })?;
    Ok(json!({ "apiVersion": "v1", "kind": "List", "items": items }))
}

fn define<Kind: CustomResourceExt, Spec: JsonSchema, Status: JsonSchema>(
    kind: &'static str,
    about: &str,
) -> Result<CustomResourceDefinition, Error> {
    let mut crd = Kind::crd();
    let schema =
        serde_json::from_value(schema::root::<Spec, Status>(about)).map_err(|source| Error { kind, source })?;
    crd.metadata.labels = Some(BTreeMap::from([("component".to_owned(), "velero".to_owned())]));
    crd.spec.names.list_kind = Some(format!("{kind}List"));
    crd.spec.names.categories = None;
    crd.spec.names.short_names = crd.spec.names.short_names.filter(|names| !names.is_empty());
    // The derive makes exactly one version.
    if let Some(version) = crd.spec.versions.first_mut() {
        version.schema = Some(CustomResourceValidation { open_api_v3_schema: Some(schema) });
        version.selectable_fields = None;
        version.additional_printer_columns = version.additional_printer_columns.take().filter(|c| !c.is_empty());
        // No kind has the status subresource: whoever writes an object writes its status with it, and syncing creates
        // objects together with their status. Stock definitions with columns say so by an empty object.
        version.subresources =
            version.additional_printer_columns.as_ref().map(|_| CustomResourceSubresources::default());
    }
    Ok(crd)
}
