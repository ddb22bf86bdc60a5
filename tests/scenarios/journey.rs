//! The way of a user on a real cluster, with the stock command lines alone: installed, backed up, lost, restored, deleted
//! (feature `cluster`).
#![cfg(feature = "cluster")]

use std::{process::Command, sync::OnceLock};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use trysail_tests::{
    application::{self, back_up, described, kept, volumes},
    built,
    cluster::Cluster,
    deployment::{BUCKET, Deployment},
    image::BUSYBOX,
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

/// A pod that is ready when the files of a claim are there as it starts: it never looks again. It has a scratch volume too, and a
/// part of the claim alone.
fn reader(namespace: &str) -> Value {
    let command = "test -e /part/file && touch /tmp/ready; exec sleep infinity";
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "namespace": namespace, "name": "reader" },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sh", "-c", command],
                "volumeMounts": [
                    { "name": "shared", "mountPath": "/part", "subPath": "dir" }, { "name": "scratch", "mountPath": "/scratch" },
                ],
                "readinessProbe": { "exec": { "command": ["test", "-e", "/tmp/ready"] }, "periodSeconds": 1 },
            }],
            "volumes": [
                { "name": "shared", "persistentVolumeClaim": { "claimName": "data" } }, { "name": "scratch", "emptyDir": {} },
            ],
        },
    })
}

#[test]
fn pods_that_share_a_claim_all_start_with_its_files_there() -> Result<()> {
    let Some(deployment) = deployment("pods_that_share_a_claim_all_start_with_its_files_there")? else { return Ok(()) };
    let kubectl = deployment.cluster.kubectl();
    let before = application::start(deployment, "shared")?;
    kubectl.apply_object(&reader("shared"))?;
    let ready = || kubectl.run(&["-n", "shared", "wait", "--for=condition=Ready", "pod/reader", "--timeout=120s"]);
    ready()?;
    back_up(deployment, Tool::Velero118, "shared", "shared")?;
    application::lose(deployment, "shared")?;
    let printed =
        deployment.velero(Tool::Velero118, &["restore", "create", "shared", "--from-backup", "shared", "--wait"])?;
    ensure!(deployment.object("restore", "shared")?["status"]["phase"] == "Completed", "{printed}");
    ready().with_context(|| deployment.words())?;
    assert_eq!(application::restored(deployment, "shared")?, before);
    let restores =
        kubectl.get(&["podvolumerestores.velero.io", "-n", "velero", "-l", "velero.io/restore-name=shared"])?;
    let volumes = restores["items"].as_array().into_iter().flatten().map(|one| one["spec"]["volume"].clone());
    let mut volumes: Vec<Value> = volumes.collect();
    volumes.sort_by_key(Value::to_string);
    assert_eq!(volumes.len(), 1, "the claim is filled once, and what was empty needs nothing: {volumes:?}");
    Ok(())
}

#[test]
fn a_claim_that_no_pod_mounts_is_saved_through_a_pod_that_holds_it_and_goes_again() -> Result<()> {
    let test = "a_claim_that_no_pod_mounts_is_saved_through_a_pod_that_holds_it_and_goes_again";
    let Some(deployment) = deployment(test)? else { return Ok(()) };
    let kubectl = deployment.cluster.kubectl();
    let before = application::start(deployment, "idle")?;
    kubectl.run(&["-n", "idle", "delete", "pod", "writer"])?;
    back_up(deployment, Tool::Velero118, "idle", "idle")?;
    let saved = volumes(deployment, "idle")?;
    let owner = &saved[0]["spec"]["pod"];
    assert_eq!((saved.len(), &owner["kind"], &owner["name"]), (1, &json!("PersistentVolumeClaim"), &json!("data")));
    deployment.until("the pod that held the claim is gone", |_| {
        Ok(kubectl.run(&["-n", "idle", "get", "pods", "-o", "name"])?.is_empty().then_some(()))
    })?;
    let bytes = saved[0]["status"]["progress"]["totalBytes"].as_i64().unwrap_or_default();
    assert!(bytes > 3_000_000, "all of its files were read: {saved:?}");
    // It was held read-only.
    kubectl.apply_object(&application::writer("idle"))?;
    assert_eq!(described(deployment, "idle")?, before);
    Ok(())
}

#[test]
fn hooks_run_around_the_reading_of_volumes_and_in_the_restored_pod() -> Result<()> {
    let Some(deployment) = deployment("hooks_run_around_the_reading_of_volumes_and_in_the_restored_pod")? else {
        return Ok(());
    };
    let kubectl = deployment.cluster.kubectl();
    application::start(deployment, "hooked")?;
    let shell = |words: &str| json!(["sh", "-c", words]).to_string();
    let hooks = [
        ("pre.hook.backup.velero.io/command", shell("echo frozen > /data/state && sync")),
        ("post.hook.backup.velero.io/command", shell("echo thawed > /data/state && sync")),
        ("post.hook.restore.velero.io/command", shell("cp /data/state /data/seen")),
        ("init.hook.restore.velero.io/container-name", "first".to_owned()),
        ("init.hook.restore.velero.io/container-image", BUSYBOX.to_owned()),
        ("init.hook.restore.velero.io/command", json!(["true"]).to_string()),
    ];
    let annotations = hooks.map(|(key, value)| format!("{key}={value}"));
    let arguments = ["-n", "hooked", "annotate", "pod", "writer"].into_iter();
    let arguments: Vec<&str> = arguments.chain(annotations.iter().map(String::as_str)).collect();
    kubectl.run(&arguments)?;
    let backup = back_up(deployment, Tool::Velero118, "hooked", "hooked")?;
    assert_eq!(backup["status"]["hookStatus"], json!({ "hooksAttempted": 2 }));
    let read = |file: &str| {
        let path = format!("/data/{file}");
        kubectl.run(&["-n", "hooked", "exec", "writer", "-c", "main", "--", "cat", &path])
    };
    assert_eq!(read("state")?, "thawed\n");
    application::lose(deployment, "hooked")?;
    let printed =
        deployment.velero(Tool::Velero118, &["restore", "create", "hooked", "--from-backup", "hooked", "--wait"])?;
    let restore = deployment.object("restore", "hooked")?;
    ensure!(restore["status"]["phase"] == "Completed", "{printed}\n{}", deployment.words());
    assert_eq!(restore["status"]["hookStatus"], json!({ "hooksAttempted": 1 }));
    assert_eq!([read("state")?, read("seen")?], ["frozen\n", "frozen\n"]);
    let pod = kubectl.get(&["pod", "writer", "-n", "hooked"])?;
    let first = pod["spec"]["initContainers"].as_array().into_iter().flatten();
    let names: Vec<&Value> = first.map(|container| &container["name"]).collect();
    assert_eq!(names, [&json!("restore-wait"), &json!("first")]);
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
