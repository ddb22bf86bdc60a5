//! Promises of backups for recipients on a real cluster (feature `cluster`): nothing readable leaves it, the identity opens
//! everything again, and a drill says what a backup is worth.
#![cfg(feature = "cluster")]

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use trysail_tests::{
    application::{self, back_up, described, kept, volumes},
    cluster::Cluster,
    deployment::{BUCKET, Deployment},
    tools::Tool,
};

const RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
const IDENTITY: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";

/// What stands in a Secret and in a file of the volume, and must stand nowhere else.
const CANARY: &str = "canary-3f9b1c77aa";

/// A cluster whose default location encrypts, with an application that holds the canary, backed up once.
fn saved(test: &str) -> Result<Option<(Deployment, String)>> {
    if !Cluster::can_start(test)? {
        return Ok(None);
    }
    let deployment = Deployment::start(1)?;
    let kubectl = deployment.cluster.kubectl();
    let recipients = format!("trysail.io/recipients={RECIPIENT}");
    kubectl.run(&["-n", "velero", "annotate", "backupstoragelocation", "default", &recipients])?;
    let before = application::start(&deployment, "app")?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": "app", "name": "password" },
        "stringData": { "password": CANARY },
    });
    kubectl.apply_object(&secret)?;
    let write = format!("echo {CANARY} > /data/dir/secret && touch -t 200102030405 /data/dir && sync");
    kubectl.run(&["-n", "app", "exec", "writer", "--", "sh", "-c", &write])?;
    ensure!(!before.is_empty(), "the volume holds something");
    let before = described(&deployment, "app")?;
    back_up(&deployment, Tool::Velero118, "b1", "app")?;
    Ok(Some((deployment, before)))
}

/// Whether bytes hold a word, as they are, in base64, or packed.
fn holds(bytes: &[u8], word: &str) -> Result<bool> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let encoded = STANDARD.encode(word);
    let seen = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.contains(word) || text.contains(&encoded[..encoded.len() - 4])
    };
    let mut plain = Vec::new();
    let is_gzip = bytes.starts_with(&[0x1f, 0x8b]);
    if is_gzip {
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(bytes), &mut plain)?;
    }
    Ok(seen(bytes) || seen(&plain))
}

#[test]
fn a_secret_is_readable_nowhere_and_comes_back_with_the_identity_alone() -> Result<()> {
    let Some((deployment, before)) = saved("a_secret_is_readable_nowhere_and_comes_back_with_the_identity_alone")?
    else {
        return Ok(());
    };
    let kubectl = deployment.cluster.kubectl();
    let copy = tempfile::tempdir()?;
    let local = copy.path().to_str().context("UTF-8")?;
    deployment.cluster.minio().mc(&["mirror", &format!("t/{BUCKET}"), local])?;
    let files = kept(&deployment, "")?;
    ensure!(files.len() > 10, "{files:?}");
    for key in &files {
        assert!(!holds(&fs::read(copy.path().join(key))?, CANARY)?, "{key} holds the canary");
    }
    ensure!(holds(CANARY.as_bytes(), CANARY)?, "the search finds what is there");
    let kinds = "events,backups.velero.io,podvolumebackups.velero.io,backuprepositories.velero.io,\
                 backupstoragelocations.velero.io,leases,configmaps,jobs,pods";
    let objects = kubectl.run(&["get", kinds, "-n", "velero", "-o", "json"])?;
    let logs = [("deployment/velero", "velero"), ("daemonset/node-agent", "node-agent")]
        .map(|(owner, container)| kubectl.run(&["-n", "velero", "logs", owner, "-c", container]));
    for text in logs.into_iter().chain([Ok(objects), kubectl.run(&["get", "events", "-A", "-o", "json"])]) {
        let text = text?;
        assert!(!holds(text.as_bytes(), CANARY)?, "{text}");
    }
    application::lose(&deployment, "app")?;
    let refused = restored(&deployment, "without", &json!({}))?;
    assert_eq!(refused["status"]["phase"], "FailedValidation");
    let problem = "The backup b1 is encrypted and the Restore names no identity: put an age identity into a Secret of this \
                   namespace and name it in annotation trysail.io/identity-secret of the Restore";
    assert_eq!(refused["status"]["validationErrors"], json!([problem]));
    keep_identity(&deployment)?;
    let ended = restored(&deployment, "with", &json!({ "trysail.io/identity-secret": "offline" }))?;
    ensure!(ended["status"]["phase"] == "Completed", "{}\n{}", ended["status"], deployment.words());
    assert_eq!(application::restored(&deployment, "app")?, before);
    let read = kubectl.run(&["-n", "app", "exec", "writer", "-c", "main", "--", "cat", "/data/dir/secret"])?;
    assert_eq!(read.trim(), CANARY);
    let secret = kubectl.get(&["secret", "password", "-n", "app"])?;
    assert_eq!(secret["data"]["password"], json!("Y2FuYXJ5LTNmOWIxYzc3YWE="));
    Ok(())
}

fn keep_identity(deployment: &Deployment) -> Result<()> {
    deployment.cluster.kubectl().apply_object(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": "velero", "name": "offline" },
        "stringData": { "identity": IDENTITY },
    }))
}

/// Restores the backup; the Restore as it ended.
fn restored(deployment: &Deployment, name: &str, annotations: &Value) -> Result<Value> {
    deployment.cluster.kubectl().apply_object(&json!({
        "apiVersion": "velero.io/v1", "kind": "Restore",
        "metadata": { "name": name, "namespace": "velero", "annotations": annotations }, "spec": { "backupName": "b1" },
    }))?;
    deployment.until("the restore ends", |deployment| {
        let restore = deployment.object("restore", name)?;
        let ended = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"];
        let phase = restore["status"]["phase"].as_str().unwrap_or_default().to_owned();
        Ok(ended.contains(&phase.as_str()).then_some(restore))
    })
}

/// What the next drill of a Schedule says.
fn next_drill(deployment: &Deployment, schedule: &str, before: &Value) -> Result<Value> {
    deployment.until("a drill has ended", |deployment| {
        let schedule = deployment.object("schedule", schedule)?;
        let text = schedule["metadata"]["annotations"]["trysail.io/drilled"].as_str().unwrap_or("null");
        let drilled: Value = serde_json::from_str(text)?;
        let is_new = drilled.is_object() && drilled["verdict"] != "running" && drilled["at"] != before["at"];
        Ok(is_new.then_some(drilled))
    })
}

/// What the server tells of a series.
fn metric(deployment: &Deployment, name: &str) -> Result<Option<String>> {
    let pods = deployment.cluster.kubectl().get(&["pods", "-n", "velero", "-l", "deploy=velero"])?;
    let address = pods["items"][0]["status"]["podIP"].as_str().context("an address")?.to_owned();
    let output = deployment.cluster.nodes()[0]
        .machine()
        .in_network("curl")
        .args(["-sS", "--fail", &format!("http://{address}:8085/metrics")])
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().find(|line| line.starts_with(name)).map(str::to_owned))
}

#[test]
fn a_drill_says_what_a_backup_is_worth_and_sees_damage_before_a_restore_needs_it() -> Result<()> {
    let test = "a_drill_says_what_a_backup_is_worth_and_sees_damage_before_a_restore_needs_it";
    let Some((deployment, _)) = saved(test)? else { return Ok(()) };
    let kubectl = deployment.cluster.kubectl();
    let schedule = json!({
        "apiVersion": "velero.io/v1", "kind": "Schedule", "metadata": { "namespace": "velero", "name": "daily" },
        "spec": { "schedule": "0 3 1 1 *", "template": { "includedNamespaces": ["app"] } },
    });
    kubectl.apply_object(&schedule)?;
    deployment.velero(Tool::Velero118, &["backup", "create", "d1", "--from-schedule", "daily", "--wait"])?;
    let annotate = |text: &str| {
        kubectl.run(&["-n", "velero", "annotate", "--overwrite", "schedule.velero.io", "daily", text]).map(drop)
    };
    annotate("trysail.io/drill=@every 5s")?;
    let stored = next_drill(&deployment, "daily", &Value::Null)?;
    assert_eq!((&stored["verdict"], &stored["backup"], stored.get("provenAt")), (&json!("stored"), &json!("d1"), None));
    assert_eq!(metric(&deployment, "trysail_last_proven_timestamp_seconds")?, None);
    keep_identity(&deployment)?;
    annotate("trysail.io/identity-secret=offline")?;
    let proven = deployment.until("a drill has proven the backup", |deployment| {
        let drilled = next_drill(deployment, "daily", &stored)?;
        Ok((drilled["verdict"] == "proven").then_some(drilled))
    })?;
    assert_eq!(proven["at"], proven["provenAt"]);
    let series = metric(&deployment, "trysail_last_proven_timestamp_seconds")?.context("the series is there")?;
    assert!(series.starts_with("trysail_last_proven_timestamp_seconds{schedule=\"daily\"} 1"), "{series}");
    let file = deployment.cluster.minio().mc(&["cat", &format!("t/{BUCKET}/backups/d1/d1-trysail-drill.json")])?;
    let file: Value = serde_json::from_str(&file)?;
    let snapshot = volumes(&deployment, "d1")?[0]["status"]["snapshotID"].clone();
    let read = &file["repositories"][0];
    assert_eq!(
        (&file["verdict"], &read["repository"], &read["snapshots"], &read["damage"]),
        (&json!("proven"), &json!("kopia/app"), &json!([snapshot]), &json!(0))
    );
    // Somebody loses a pack.
    let packs = kept(&deployment, "kopia/app/v1/p/")?;
    let pack = packs.first().context("a pack")?;
    deployment.cluster.minio().mc(&["rm", &format!("t/{BUCKET}/{pack}")])?;
    let failed = deployment.until("a drill sees the damage", |deployment| {
        let drilled = next_drill(deployment, "daily", &proven)?;
        Ok((drilled["verdict"] == "failed").then_some(drilled))
    })?;
    let message = failed["message"].as_str().unwrap_or_default();
    assert!(message.contains("it is missing") && failed["provenAt"].is_string(), "{failed}");
    let series = metric(&deployment, "trysail_drill_failed")?;
    assert_eq!(series.as_deref(), Some("trysail_drill_failed{schedule=\"daily\"} 1"));
    let events =
        kubectl.run(&["-n", "velero", "get", "events", "--field-selector=reason=DrillFailed", "-o", "name"])?;
    assert!(!events.is_empty());
    Ok(())
}

#[test]
fn the_identity_opens_a_backup_without_the_cluster_and_without_trysail() -> Result<()> {
    let test = "the_identity_opens_a_backup_without_the_cluster_and_without_trysail";
    let Some((deployment, _)) = saved(test)? else { return Ok(()) };
    let scratch = tempfile::tempdir()?;
    let at = |name: &str| scratch.path().join(name);
    fs::write(at("identity"), IDENTITY)?;
    let archive = format!("t/{BUCKET}/backups/b1/b1.tar.gz");
    deployment.cluster.minio().mc(&["cp", &archive, at("b1").to_str().context("UTF-8")?])?;
    let opened = Command::new(Tool::Age.path()?).arg("-d").arg("-i").arg(at("identity")).arg(at("b1")).output()?;
    ensure!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    assert!(holds(&opened.stdout, "Y2FuYXJ5LTNmOWIxYzc3YWE=")?, "the archive holds the Secret");
    Ok(())
}

#[test]
fn a_cluster_that_is_lost_comes_back_from_its_bucket_and_the_identity_and_goes_on() -> Result<()> {
    let test = "a_cluster_that_is_lost_comes_back_from_its_bucket_and_the_identity_and_goes_on";
    let Some((lost, before)) = saved(test)? else { return Ok(()) };
    let copy = tempfile::tempdir()?;
    let local = copy.path().to_str().context("UTF-8")?;
    lost.cluster.minio().mc(&["mirror", &format!("t/{BUCKET}"), local])?;
    // Both stand in Git beside the location, where somebody keeps it there.
    let annotations = lost.object("backupstoragelocation", "default")?["metadata"]["annotations"].take();
    let root = annotations["trysail.io/root-key"].as_str().context("a root key")?;
    drop(lost);
    let deployment = Deployment::start(1)?;
    let annotate = |text: &str| {
        let arguments = ["-n", "velero", "annotate", "--overwrite", "backupstoragelocation", "default", text];
        deployment.cluster.kubectl().run(&arguments).map(drop)
    };
    annotate(&format!("trysail.io/recipients={RECIPIENT}"))?;
    annotate(&format!("trysail.io/root-key={root}"))?;
    let period = json!({ "spec": { "backupSyncPeriod": "2s" } }).to_string();
    let patch = ["-n", "velero", "patch", "backupstoragelocation.velero.io", "default", "--type=merge", "-p", &period];
    deployment.cluster.kubectl().run(&patch)?;
    deployment.cluster.minio().mc(&["mirror", local, &format!("t/{BUCKET}")])?;
    deployment.until("the backup is listed again", |deployment| {
        Ok((!deployment.object("backup", "b1")?.is_null()).then_some(()))
    })?;
    keep_identity(&deployment)?;
    let ended = restored(&deployment, "all", &json!({ "trysail.io/identity-secret": "offline" }))?;
    ensure!(ended["status"]["phase"] == "Completed", "{}\n{}", ended["status"], deployment.words());
    assert_eq!(application::restored(&deployment, "app")?, before);
    // The keys died with the cluster: nothing can be written until somebody who has the identity says so.
    let backup = |name: &str| -> Result<Value> {
        deployment.velero(Tool::Velero118, &["backup", "create", name, "--include-namespaces", "app", "--wait"])?;
        Ok(deployment.object("backup", name)?["status"].take())
    };
    let without = backup("without")?;
    assert_ne!(without["phase"], "Completed", "{without}");
    let told = deployment.velero(Tool::Velero118, &["backup", "logs", "without"])?;
    assert!(told.contains("RepositoryKeyMissing") && told.contains("trysail.io/identity-secret"), "{told}");
    annotate("trysail.io/identity-secret=offline")?;
    assert_eq!(backup("adopted")?["phase"], "Completed");
    annotate("trysail.io/identity-secret-")?;
    assert_eq!(backup("after")?["phase"], "Completed");
    Ok(())
}
