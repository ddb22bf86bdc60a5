//! The way of a user on a real cluster, with the stock command lines alone: installed, backed up, lost, restored, deleted
//! (feature `cluster`).
#![cfg(feature = "cluster")]

use std::{process::Command, sync::OnceLock};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;
use trysail_tests::{
    application, built,
    cluster::Cluster,
    deployment::{BUCKET, Deployment},
    minio::{ACCESS_KEY, SECRET_KEY},
    tools::Tool,
};

/// One deployment for all tests of this file; it goes away with the process.
fn deployment(test: &str) -> Result<Option<&'static Deployment>> {
    static DEPLOYMENT: OnceLock<Result<Deployment>> = OnceLock::new();
    if !Cluster::can_start(test)? {
        return Ok(None);
    }
    let deployment = DEPLOYMENT.get_or_init(|| Deployment::start(1));
    deployment.as_ref().map(Some).map_err(|error| anyhow!("{error:#}"))
}

/// Makes a backup of a namespace and waits for its end; the object.
fn back_up(deployment: &Deployment, tool: Tool, backup: &str, namespace: &str) -> Result<Value> {
    let printed =
        deployment.velero(tool, &["backup", "create", backup, "--include-namespaces", namespace, "--wait"])?;
    let object = deployment.object("backup", backup)?;
    let told = || {
        let described = deployment.velero(tool, &["backup", "describe", backup, "--details"]);
        let logs = deployment.velero(tool, &["backup", "logs", backup]);
        format!("{printed}\n{described:?}\n{logs:?}\n{}", deployment.words())
    };
    ensure!(object["status"]["phase"] == "Completed", "{}\n{}", object["status"], told());
    Ok(object)
}

/// The volumes of a backup as stock `kubectl` shows them: phase, volume, snapshot.
fn volumes(deployment: &Deployment, backup: &str) -> Result<Vec<Value>> {
    let label = format!("velero.io/backup-name={backup}");
    let list = deployment.cluster.kubectl().get(&["podvolumebackups.velero.io", "-n", "velero", "-l", &label])?;
    serde_json::from_value(list["items"].clone()).context("a list")
}

#[test]
fn a_namespace_that_was_lost_comes_back_with_its_volume_by_the_command_line_of_1_18() -> Result<()> {
    lost_and_restored(
        "a_namespace_that_was_lost_comes_back_with_its_volume_by_the_command_line_of_1_18",
        Tool::Velero118,
        "app118",
    )
}

#[test]
fn a_namespace_that_was_lost_comes_back_with_its_volume_by_the_command_line_of_1_13() -> Result<()> {
    lost_and_restored(
        "a_namespace_that_was_lost_comes_back_with_its_volume_by_the_command_line_of_1_13",
        Tool::Velero113,
        "app113",
    )
}

fn lost_and_restored(test: &str, tool: Tool, name: &str) -> Result<()> {
    let Some(deployment) = deployment(test)? else { return Ok(()) };
    let before = application::start(deployment, name)?;
    back_up(deployment, tool, name, name)?;
    application::lose(deployment, name)?;
    let printed = deployment.velero(tool, &["restore", "create", name, "--from-backup", name, "--wait"])?;
    let restore = deployment.object("restore", name)?;
    let told = || {
        let described = deployment.velero(tool, &["restore", "describe", name, "--details"]);
        let logs = deployment.velero(tool, &["restore", "logs", name]);
        format!("{printed}\n{described:?}\n{logs:?}\n{}", deployment.words())
    };
    ensure!(restore["status"]["phase"] == "Completed", "{}\n{}", restore["status"], told());
    assert_eq!(application::restored(deployment, name)?, before);
    Ok(())
}

#[test]
fn the_data_of_a_volume_lies_in_the_bucket_and_can_be_restored_without_the_cluster() -> Result<()> {
    let test = "the_data_of_a_volume_lies_in_the_bucket_and_can_be_restored_without_the_cluster";
    let Some(deployment) = deployment(test)? else { return Ok(()) };
    application::start(deployment, "outside")?;
    back_up(deployment, Tool::Velero118, "outside", "outside")?;
    let volumes = volumes(deployment, "outside")?;
    let [volume] = volumes.as_slice() else { panic!("one volume was saved: {volumes:?}") };
    let snapshot = volume["status"]["snapshotID"].as_str().context("a snapshot")?;
    let target = tempfile::tempdir()?;
    let restored = Command::new(built::trysail()?)
        .args(["volume", "restore", snapshot])
        .arg(target.path().join("data"))
        .args(["--repo", &deployment.cluster.minio().url(BUCKET, "kopia/outside")])
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("XDG_STATE_HOME", target.path().join("state"))
        .output()?;
    ensure!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    assert_eq!(std::fs::read_to_string(target.path().join("data/soft"))?, "kept\n");
    Ok(())
}

#[test]
fn a_deleted_backup_is_gone_from_the_cluster_and_from_the_bucket() -> Result<()> {
    let Some(deployment) = deployment("a_deleted_backup_is_gone_from_the_cluster_and_from_the_bucket")? else {
        return Ok(());
    };
    application::start(deployment, "gone")?;
    back_up(deployment, Tool::Velero118, "gone", "gone")?;
    assert_eq!(kept(deployment, "backups/gone/velero-backup.json")?.len(), 1);
    assert!(!kept(deployment, "kopia/gone/v1/snap/data/")?.is_empty());
    deployment.velero(Tool::Velero118, &["backup", "delete", "gone", "--confirm"])?;
    deployment
        .until("the Backup is gone", |deployment| Ok(deployment.object("backup", "gone")?.is_null().then_some(())))?;
    assert_eq!(kept(deployment, "backups/gone/")?, Vec::<String>::new());
    assert_eq!(kept(deployment, "kopia/gone/v1/snap/")?, Vec::<String>::new());
    // Kubernetes collects what the Backup owned.
    deployment.until("its volumes are gone", |deployment| Ok(volumes(deployment, "gone")?.is_empty().then_some(())))
}

/// The objects of the bucket whose keys begin so.
fn kept(deployment: &Deployment, prefix: &str) -> Result<Vec<String>> {
    let all = deployment.cluster.minio().mc(&["find", &format!("t/{BUCKET}")])?;
    let keys = all.lines().filter_map(|line| line.strip_prefix(&format!("t/{BUCKET}/")).map(str::to_owned));
    Ok(keys.filter(|key| key.starts_with(prefix)).collect())
}
