//! The files of a backup, and the order in which they are stored: the record comes last, since where it lies the backup is.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use serde::Serialize;
use trysail_api::{backup::Backup, pod_volume_backup::PodVolumeBackup};
use trysail_cluster::{archive::ResourceList, volumes::Skipped};
use trysail_repository::{
    keys::Signer,
    seal::{self, Recipient},
    signature::sign_inventory,
};

use super::{
    transfer,
    volume_info::{Bound, volume_infos},
};
use crate::{
    Error, Result,
    bucket::{
        layout,
        write::{Files, StoredFile},
    },
    inventory::Inventory,
    results::Results,
    run_log::RunLog,
};

/// What a backup has saved, as files.
pub(super) struct Package {
    pub(super) archive: Bytes,
    resource_list: Bytes,
    transfers: Vec<PodVolumeBackup>,
    volume_infos: Bytes,
    /// How many volumes were read or tried.
    pub(super) volumes: usize,
}

/// Makes the files. An archive for recipients is encrypted: it holds the Secrets of the cluster.
pub(super) async fn package(
    backup: &str,
    archive: Vec<u8>,
    list: &ResourceList,
    transfers: &[PodVolumeBackup],
    skipped: &[Skipped],
    bound: &Bound,
    recipients: &[Recipient],
) -> Result<Package> {
    let failed = |what, reason: &dyn std::fmt::Display| Error::Make {
        backup: backup.to_owned(),
        what,
        reason: reason.to_string(),
    };
    let archive = if recipients.is_empty() {
        archive
    } else {
        let recipients = recipients.to_vec();
        let encrypted = tokio::task::spawn_blocking(move || seal::encrypt(&archive, &recipients)).await;
        let encrypted = encrypted.map_err(|error| failed("the archive", &error))?;
        encrypted.map_err(|error| failed("the archive", &error))?
    };
    let transfers: Vec<PodVolumeBackup> = transfers.iter().cloned().map(transfer::stored).collect();
    Ok(Package {
        archive: archive.into(),
        resource_list: zipped(backup, "the resource list", list)?.into(),
        volume_infos: zipped(backup, "the volume information", &volume_infos(&transfers, skipped, bound))?.into(),
        volumes: transfers.len(),
        transfers,
    })
}

/// JSON in gzip.
fn zipped<T: Serialize + ?Sized>(backup: &str, what: &'static str, value: &T) -> Result<Vec<u8>> {
    let failed =
        |reason: &dyn std::fmt::Display| Error::Make { backup: backup.to_owned(), what, reason: reason.to_string() };
    let json = serde_json::to_vec(value).map_err(|error| failed(&error))?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    // A newline as Go's encoder writes it.
    gzip.write_all(&json).and_then(|()| gzip.write_all(b"\n")).map_err(|error| failed(&error))?;
    gzip.finish().map_err(|error| failed(&error))
}

/// Stores everything but the record; the log ends with the summary.
pub(super) async fn put_all(
    files: &mut Files,
    backup: &str,
    package: &Package,
    log: &RunLog,
    summary: (&str, &[(&str, &str)]),
) -> Result<()> {
    let file = |rest: &str| layout::backup_file(backup, rest);
    files.put(&file(".tar.gz"), package.archive.clone()).await?;
    files.put(&layout::pod_volume_backups(backup), zipped(backup, "the list of volumes", &package.transfers)?).await?;
    files.put(&file("-resource-list.json.gz"), package.resource_list.clone()).await?;
    files.put(&file("-volumeinfo.json.gz"), package.volume_infos.clone()).await?;
    // Snapshots of Velero's plugins and operations of plugins, of which there are none: Velero writes these files all the same.
    files.put(&file("-volumesnapshots.json.gz"), zipped(backup, "the list of snapshots", &())?).await?;
    files.put(&file("-itemoperations.json.gz"), zipped::<[()]>(backup, "the list of operations", &[])?).await?;
    put_log(files, backup, log, summary).await
}

/// Ends the log, and stores it and what it says of errors and warnings.
async fn put_log(files: &mut Files, backup: &str, log: &RunLog, summary: (&str, &[(&str, &str)])) -> Result<()> {
    let ended = log.end(summary.0, summary.1).map_err(|error| Error::Make {
        backup: backup.to_owned(),
        what: "the log",
        reason: error.to_string(),
    })?;
    let results = zipped(backup, "the results", &Results::of(&ended.report))?;
    files.put(&layout::backup_file(backup, "-results.gz"), results).await?;
    files.put(&layout::backup_file(backup, "-logs.gz"), ended.stored).await
}

/// Stores what there is of a backup that failed: its log, and its record.
pub(super) async fn put_failed(files: &mut Files, record: &Backup, log: &RunLog) -> Result<()> {
    let name = record.metadata.name.clone().unwrap_or_default();
    put_log(files, &name, log, ("The backup failed", &[])).await?;
    files.put(&layout::backup_record(&name), record_json(&name, record)?).await
}

fn record_json<T: Serialize>(backup: &str, value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::Make {
        backup: backup.to_owned(),
        what: "the record",
        reason: error.to_string(),
    })
}

/// Stores the inventory and then the record.
pub(super) async fn put_record(
    files: &mut Files,
    record: &Backup,
    package: &Package,
    root: Option<&Signer>,
) -> Result<()> {
    let name = record.metadata.name.clone().unwrap_or_default();
    let json = record_json(&name, record)?;
    files.put(&layout::backup_record_by_its_former_name(&name), zipped(&name, "the record", record)?).await?;
    let key = layout::backup_record(&name);
    let mut all = files.stored.clone();
    all.push(StoredFile::of(&key, &json));
    let uid = record.metadata.uid.clone().unwrap_or_default();
    let inventory = Inventory::new(&name, &uid, root.map(Signer::public), &all, &package.transfers);
    let inventory = match root {
        Some(root) => sign_inventory(&inventory, root),
        None => record_json(&name, &inventory)?,
    };
    files.put(&layout::backup_inventory(&name), inventory).await?;
    files.put(&key, json).await
}
