//! Promises about servers, agents and Jobs that are killed on a real cluster (feature `cluster`): what they did ends with a reason or
//! goes on, nothing is stuck, and what says `Completed` restores.
#![cfg(feature = "cluster")]

use std::{process::Command, thread::sleep, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use trysail_tests::{
    application::{self, described, volumes},
    built,
    cluster::Cluster,
    deployment::{BUCKET, Deployment},
    minio::{ACCESS_KEY, SECRET_KEY},
    wait,
};

/// Times after the beginning of a backup at which something is killed, in milliseconds: before it is seen, while it reads, while
/// it stores, and after that.
const MOMENTS: [u64; 4] = [0, 400, 1100, 2500];

/// How soon after a restart everything has come to an end.
const RECOVERY: Duration = Duration::from_mins(1);

const ENDED: [&str; 3] = ["Completed", "PartiallyFailed", "Failed"];

/// An application with a volume that takes a while to be read; what the volume holds.
fn start(test: &str) -> Result<Option<(Deployment, String)>> {
    if !Cluster::can_start(test)? {
        return Ok(None);
    }
    let deployment = Deployment::start(1)?;
    application::start(&deployment, "app")?;
    let write = "for n in 1 2 3 4 5 6 7 8; do head -c 25000000 /dev/urandom > /data/large$n; done; sync";
    deployment.cluster.kubectl().run(&["-n", "app", "exec", "writer", "--", "sh", "-c", write])?;
    let before = described(&deployment, "app")?;
    Ok(Some((deployment, before)))
}

/// Kills the processes of pods as a node does that runs out of memory, and the pods, so that new ones come without a pause.
fn kill(deployment: &Deployment, command: &str, pods: &str) -> Result<()> {
    for node in deployment.cluster.nodes() {
        node.machine().shell(&format!("pkill -9 -f '{command}' || true"))?;
    }
    let kubectl = deployment.cluster.kubectl();
    kubectl.run(&["-n", "velero", "delete", "pod", "-l", pods, "--force", "--grace-period=0"])?;
    kubectl.run(&["-n", "velero", "rollout", "status", "deployment/velero", "--timeout=300s"])?;
    kubectl.run(&["-n", "velero", "rollout", "status", "daemonset/node-agent", "--timeout=300s"]).map(drop)
}

const SERVER: (&str, &str) = ("^/velero server", "deploy=velero");
const AGENT: (&str, &str) = ("^/velero node-agent server", "name=node-agent");

fn begin(deployment: &Deployment, name: &str) -> Result<()> {
    deployment.cluster.kubectl().apply_object(&json!({
        "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": { "namespace": "velero", "name": name },
        "spec": { "includedNamespaces": ["app"], "defaultVolumesToFsBackup": true },
    }))
}

/// Waits for the end of a backup within the time of recovery; its phase, and why.
fn end(deployment: &Deployment, name: &str) -> Result<(String, String)> {
    let ended = wait::until(&format!("{name} ends"), RECOVERY, || {
        let status = deployment.object("backup", name)?["status"].take();
        let phase = status["phase"].as_str().unwrap_or_default().to_owned();
        let reason = status["failureReason"].as_str().unwrap_or_default();
        let why = format!("{reason} {} errors", status["errors"].as_i64().unwrap_or_default());
        Ok(ENDED.contains(&phase.as_str()).then_some((phase, why.trim().to_owned())))
    });
    ended.with_context(|| deployment.words())
}

/// Restores the volume of a backup with the program alone and compares a file whose hash is known.
fn restores(deployment: &Deployment, backup: &str, before: &str) -> Result<()> {
    let saved = volumes(deployment, backup)?;
    let snapshot = saved.first().and_then(|volume| volume["status"]["snapshotID"].as_str()).context("a snapshot")?;
    let target = tempfile::tempdir()?;
    let restored = Command::new(built::trysail()?)
        .args(["volume", "restore", snapshot])
        .arg(target.path().join("data"))
        .args(["--repo", &deployment.cluster.minio().url(BUCKET, "kopia/app")])
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("XDG_STATE_HOME", target.path().join("state"))
        .output()?;
    ensure!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let sums = Command::new("sha256sum").arg("noise").current_dir(target.path().join("data")).output()?;
    let line = String::from_utf8(sums.stdout)?;
    ensure!(before.contains(line.trim()), "{line} is not in\n{before}");
    Ok(())
}

/// Kills at each moment of a backup; every one ends, those that completed restore, and one more is whole.
fn killed_at_each_moment(test: &str, word: &str, (command, pods): (&str, &str)) -> Result<()> {
    let Some((deployment, before)) = start(test)? else { return Ok(()) };
    let kubectl = deployment.cluster.kubectl();
    let mut outcomes = Vec::new();
    for (round, moment) in MOMENTS.iter().enumerate() {
        let name = format!("{word}{round}");
        // Each round has something new to store.
        let change = format!("head -c 25000000 /dev/urandom > /data/large{}; sync", round + 1);
        kubectl.run(&["-n", "app", "exec", "writer", "--", "sh", "-c", &change])?;
        begin(&deployment, &name)?;
        sleep(Duration::from_millis(*moment));
        kill(&deployment, command, pods)?;
        let (phase, why) = end(&deployment, &name)?;
        if phase == "Completed" {
            restores(&deployment, &name, &before)?;
        } else {
            assert_ne!(why, "0 errors", "{name} says why it is {phase}");
        }
        outcomes.push(format!("{moment} ms: {phase}, {why}"));
    }
    deployment.until("nothing of them goes on", |deployment| {
        let list = deployment.cluster.kubectl().get(&["podvolumebackups.velero.io", "-n", "velero"])?;
        let mut phases = list["items"].as_array().into_iter().flatten().map(|one| one["status"]["phase"].clone());
        let ended = |phase: Value| ["Completed", "Failed", "Canceled"].contains(&phase.as_str().unwrap_or_default());
        Ok(phases.all(ended).then_some(()))
    })?;
    let last = format!("{word}-last");
    begin(&deployment, &last)?;
    let (phase, why) = end(&deployment, &last)?;
    assert_eq!(phase, "Completed", "{why}\n{}", outcomes.join("\n"));
    restores(&deployment, &last, &before)
}

#[test]
fn a_server_that_is_killed_at_any_moment_leaves_no_backup_without_an_end() -> Result<()> {
    let test = "a_server_that_is_killed_at_any_moment_leaves_no_backup_without_an_end";
    killed_at_each_moment(test, "server", SERVER)
}

#[test]
fn an_agent_that_is_killed_at_any_moment_leaves_no_backup_without_an_end() -> Result<()> {
    let test = "an_agent_that_is_killed_at_any_moment_leaves_no_backup_without_an_end";
    killed_at_each_moment(test, "agent", AGENT)
}

#[test]
fn a_restore_goes_on_when_its_server_or_its_job_is_killed() -> Result<()> {
    let Some((deployment, before)) = start("a_restore_goes_on_when_its_server_or_its_job_is_killed")? else {
        return Ok(());
    };
    let kubectl = deployment.cluster.kubectl();
    begin(&deployment, "whole")?;
    assert_eq!(end(&deployment, "whole")?.0, "Completed");
    for (round, moment) in [300, 1500, 3000].into_iter().enumerate() {
        let name = format!("r{round}");
        application::lose(&deployment, "app")?;
        kubectl.apply_object(&json!({
            "apiVersion": "velero.io/v1", "kind": "Restore", "metadata": { "namespace": "velero", "name": name },
            "spec": { "backupName": "whole" },
        }))?;
        sleep(Duration::from_millis(moment));
        deployment.cluster.nodes()[0].machine().shell("pkill -9 -f '^/velero node-agent restore' || true")?;
        kill(&deployment, SERVER.0, SERVER.1)?;
        deployment.until("the restore ends", |deployment| {
            let phase = deployment.object("restore", &name)?["status"]["phase"].clone();
            ensure!(phase != "Failed" && phase != "PartiallyFailed", "{}", deployment.object("restore", &name)?);
            Ok((phase == "Completed").then_some(()))
        })?;
        assert_eq!(application::restored(&deployment, "app")?, before, "round {round}");
    }
    Ok(())
}

#[test]
fn a_backup_waits_for_a_store_that_is_down_for_a_while() -> Result<()> {
    let Some((deployment, before)) = start("a_backup_waits_for_a_store_that_is_down_for_a_while")? else {
        return Ok(());
    };
    begin(&deployment, "patient")?;
    deployment.until("the volume is read", |deployment| {
        let volumes = volumes(deployment, "patient")?;
        Ok(volumes.first().is_some_and(|volume| volume["status"]["phase"] == "InProgress").then_some(()))
    })?;
    deployment.cluster.minio().pause()?;
    sleep(Duration::from_secs(20));
    let waiting = deployment.object("backup", "patient")?["status"]["phase"].take();
    deployment.cluster.minio().resume()?;
    assert_eq!(waiting, "InProgress");
    deployment.until("the backup ends", |deployment| {
        let phase = deployment.object("backup", "patient")?["status"]["phase"].clone();
        Ok(ENDED.contains(&phase.as_str().unwrap_or_default()).then_some(()))
    })?;
    let object = deployment.object("backup", "patient")?;
    assert_eq!(object["status"]["phase"], "Completed", "{}", deployment.words());
    restores(&deployment, "patient", &before)
}
