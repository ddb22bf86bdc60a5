//! Promises of backups to the stock command lines, on a real API server and a real MinIO without nodes (feature `api`; needs Go).
#![cfg(feature = "api")]

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use trysail_repository::{
    seal::{self, Identity},
    signature::verify_inventory,
};
use trysail_tests::{
    installation::{BUCKET, Installation},
    tools::Tool,
    velero::velero,
};

/// Both stock command lines.
const BOTH: [Tool; 2] = [Tool::Velero113, Tool::Velero118];

/// A server as stock Velero's was started when it was recorded.
const AS_RECORDED: [&str; 1] = ["--default-volumes-to-fs-backup"];

/// Where recordings of stock Velero are. Elsewhere than in CI they may be absent.
fn golden() -> Option<PathBuf> {
    let path = std::env::var_os("TRYSAIL_GOLDEN").map(PathBuf::from);
    if path.is_none() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "TRYSAIL_GOLDEN names no recordings");
        // A test that is passed over says so, and cannot say more if nobody listens.
        let _ = writeln!(std::io::stderr(), "SKIPPED, needs TRYSAIL_GOLDEN: recordings of stock Velero");
    }
    path
}

/// A server with a default location that is available, and a namespace `app1` with some objects.
fn shop(arguments: &[&str]) -> Result<Installation> {
    let mut installation = Installation::without_server()?;
    installation.apply(&installation.location("default", BUCKET))?;
    installation.start_server(arguments)?;
    let metadata = |name: &str| json!({ "name": name, "namespace": "app1" });
    installation.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "app1" } }))?;
    let settings = json!({ "apple": "2" });
    installation.apply(
        &json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("settings"), "data": settings }),
    )?;
    let token = json!({ "token": "the-canary-sings" });
    installation
        .apply(&json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata("token"), "stringData": token }))?;
    installation.until_location("default", "Available")?;
    Ok(installation)
}

/// A claim without a pod, and its volume on a node that is not there.
fn claim(installation: &mut Installation) -> Result<()> {
    let affinity = json!({ "required": { "nodeSelectorTerms": [{ "matchExpressions": [
        { "key": "kubernetes.io/hostname", "operator": "In", "values": ["node1"] },
    ] }] } });
    installation.apply(&json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "pv-data" },
        "spec": {
            "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
            "local": { "path": "/data" }, "claimRef": { "namespace": "app1", "name": "data" }, "nodeAffinity": affinity,
        },
    }))?;
    installation.apply(&json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "data", "namespace": "app1" },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "volumeName": "pv-data",
            "resources": { "requests": { "storage": "1Gi" } },
        },
    }))?;
    installation.until("the claim is bound", |installation| {
        let found = installation.api.kubectl().get(&["persistentvolumeclaim", "data", "-n", "app1"])?;
        Ok((found["status"]["phase"] == "Bound").then_some(()))
    })
}

/// Waits until a Backup has a phase; the Backup.
fn until_phase(installation: &mut Installation, name: &str, phase: &str) -> Result<Value> {
    installation.until(&format!("backup {name} is {phase}"), |installation| {
        let backup = installation.object("backup", name)?;
        Ok(backup.filter(|backup| backup["status"]["phase"] == *phase))
    })
}

/// One object of the bucket.
fn stored(installation: &Installation, key: &str) -> Result<Vec<u8>> {
    let path = installation.api.scratch().join("object");
    let to = path.to_str().context("UTF-8")?;
    installation.minio.mc(&["cp", &format!("t/{BUCKET}/{key}"), to])?;
    Ok(fs::read(&path)?)
}

fn unzipped(bytes: &[u8]) -> Result<String> {
    let mut text = String::new();
    MultiGzDecoder::new(bytes).read_to_string(&mut text)?;
    Ok(text)
}

/// Keys below a directory of the bucket.
fn keys(installation: &Installation, directory: &str) -> Result<Vec<String>> {
    let listing = installation.minio.mc(&["ls", "--recursive", "--json", &format!("t/{BUCKET}/{directory}")])?;
    let lines: Vec<Value> = listing.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let mut keys: Vec<String> = lines.iter().filter_map(|line| line["key"].as_str().map(str::to_owned)).collect();
    keys.sort();
    Ok(keys)
}

/// Output whose columns do not matter: each version has its own.
fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Output without colours, moments and numbers of objects.
fn steady(text: &str) -> Vec<String> {
    let plain =
        text.replace("\u{1b}[1m", "").replace("\u{1b}[22m", "").replace("\u{1b}[32m", "").replace("\u{1b}[0m", "");
    let is_of_the_moment = |line: &&str| {
        let starts = [
            "Started:",
            "Completed:",
            "Expiration:",
            "Total items",
            "Items backed up",
            "              velero.io/source",
        ];
        !starts.iter().any(|start| line.starts_with(start))
    };
    plain.lines().filter(is_of_the_moment).map(|line| line.trim_end().to_owned()).collect()
}

/// Standard output of a recorded command.
fn recorded(golden: &Path, file: &str) -> Result<String> {
    let text = fs::read_to_string(golden.join("cli/server-1.18.3").join(file))?;
    let output = text.split_once("--- stdout\n").context("a recording has output")?.1;
    Ok(output.split_once("--- stderr").context("and an end")?.0.to_owned())
}

#[test]
fn a_namespace_is_backed_up_and_both_command_lines_wait_for_it_list_it_fetch_its_files_and_delete_it() -> Result<()> {
    let mut installation = shop(&[])?;
    for (name, tool) in [("b113", Tool::Velero113), ("b118", Tool::Velero118)] {
        let run = |arguments: &[&str]| velero(tool, installation.api.kubeconfig(), arguments);
        let said = run(&["backup", "create", name, "--include-namespaces", "app1", "--wait"])?;
        assert!(said.contains("Backup completed with status: Completed."), "{said}");
        let table = run(&["backup", "get", name])?;
        let row: Vec<&str> = table.lines().nth(1).context("a row")?.split_whitespace().collect();
        assert_eq!(row[..4], [name, "Completed", "0", "0"], "{table}");
        let described = run(&["backup", "describe", name, "--details"])?;
        for expected in ["v1/ConfigMap:\n    - app1/kube-root-ca.crt\n    - app1/settings", "v1/Namespace:\n    - app1"]
        {
            assert!(described.contains(expected), "{described}");
        }
        assert!(!described.contains("<error"), "{described}");
        let log = run(&["backup", "logs", name])?;
        let last = log.lines().last().context("a log has lines")?;
        assert!(last.contains("level=info msg=\"Backed up a total of "), "{last}");
        assert!(last.contains(&format!(" backup=velero/{name} errors=0 ")), "{last}");
        let file = installation.api.scratch().join(format!("{name}.tar.gz"));
        run(&["backup", "download", name, "--output", file.to_str().context("UTF-8")?])?;
        let listing = Command::new("tar").args(["-tzf"]).arg(&file).output()?;
        let listing = String::from_utf8(listing.stdout)?;
        assert!(listing.starts_with("metadata/version\n"), "{listing}");
        for path in [
            "resources/secrets/namespaces/app1/token.json",
            "resources/configmaps/v1-preferredversion/namespaces/app1/settings.json",
        ] {
            assert!(listing.lines().any(|line| line == path), "{listing}");
        }
        run(&["backup", "delete", name, "--confirm"])?;
        installation.until("nothing of it is left", |installation| {
            let is_gone = installation.object("backup", name)?.is_none();
            Ok((is_gone && keys(installation, &format!("backups/{name}/"))?.is_empty()).then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn what_is_stored_is_what_stock_velero_stores_and_a_little_more() -> Result<()> {
    let Some(golden) = golden() else { return Ok(()) };
    let installation = shop(&AS_RECORDED)?;
    installation.velero(&["backup", "create", "b1", "--include-namespaces", "app1", "--wait"])?;
    let ours: BTreeSet<String> = keys(&installation, "backups/b1/")?.into_iter().collect();
    let theirs = fs::read_dir(golden.join("bucket/b1"))?;
    let theirs: BTreeSet<String> =
        theirs.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<_>>()?;
    let more: Vec<&String> = ours.difference(&theirs).collect();
    assert_eq!(theirs.difference(&ours).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(more, ["b1-backup.json.gz", "b1-trysail.json"]);
    for name in ["b1-results", "b1-itemoperations.json", "b1-volumesnapshots.json"] {
        let text = unzipped(&stored(&installation, &format!("backups/b1/{name}.gz"))?)?;
        assert_eq!(text, fs::read_to_string(golden.join("bucket/b1-plain").join(name))?, "{name}");
    }
    let record = |text: &[u8]| -> Result<Value> {
        let mut record: Value = serde_json::from_slice(text)?;
        let backup = record.as_object_mut().context("an object")?;
        for field in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
            backup["metadata"].as_object_mut().context("metadata")?.remove(field);
        }
        for field in ["expiration", "startTimestamp", "completionTimestamp", "progress"] {
            ensure!(backup["status"].as_object_mut().context("a status")?.remove(field).is_some(), "no {field}");
        }
        backup["metadata"]["annotations"]["velero.io/source-cluster-k8s-gitversion"] = json!("of the moment");
        Ok(record)
    };
    let ours = record(&stored(&installation, "backups/b1/velero-backup.json")?)?;
    assert_eq!(ours, record(&fs::read(golden.join("bucket/b1/velero-backup.json"))?)?);
    let alias = unzipped(&stored(&installation, "backups/b1/b1-backup.json.gz")?)?;
    assert_eq!(record(alias.as_bytes())?, ours);
    Ok(())
}

#[test]
fn the_inventory_is_signed_by_the_location_s_root_key_and_names_every_file_with_its_hash() -> Result<()> {
    let installation = shop(&[])?;
    installation.velero(&["backup", "create", "b1", "--include-namespaces", "app1", "--wait"])?;
    let signed = stored(&installation, "backups/b1/b1-trysail.json")?;
    let location = installation.object("backupstoragelocation", "default")?.context("the location is there")?;
    let root = location["metadata"]["annotations"]["trysail.io/root-key"].as_str().context("its root key is pinned")?;
    let inventory: Value = serde_json::from_slice(&verify_inventory(&signed, root.parse()?)?)?;
    let files = inventory["files"].as_array().context("files")?;
    let mut named: Vec<String> =
        files.iter().filter_map(|file| file["key"].as_str()).map(|key| key.replace("backups/b1/", "")).collect();
    named.sort();
    let there = keys(&installation, "backups/b1/")?;
    let there: Vec<String> = there.into_iter().filter(|key| key != "b1-trysail.json").collect();
    assert_eq!(named, there);
    for file in files {
        let key = file["key"].as_str().context("a key")?;
        let bytes = stored(&installation, key)?;
        let hash = hex::encode(Sha256::digest(&bytes));
        assert_eq!((&file["bytes"], &file["sha256"]), (&json!(bytes.len()), &json!(hash)), "{key}");
    }
    Ok(())
}

#[test]
fn a_description_is_the_one_of_stock_velero() -> Result<()> {
    let Some(golden) = golden() else { return Ok(()) };
    let installation = shop(&AS_RECORDED)?;
    installation.velero(&["backup", "create", "b1", "--include-namespaces", "app1", "--wait"])?;
    for (tool, file) in
        [(Tool::Velero118, "085-backup-describe.cli1.18.txt"), (Tool::Velero113, "086-backup-describe.cli1.13.txt")]
    {
        let ours = velero(tool, installation.api.kubeconfig(), &["backup", "describe", "b1"])?;
        let before_volumes = |text: &str| -> Vec<String> {
            steady(text).into_iter().take_while(|line| !line.contains("Pod Volume Backups")).collect()
        };
        assert_eq!(before_volumes(&ours), before_volumes(&recorded(&golden, file)?), "{}", tool.name());
    }
    Ok(())
}

#[test]
fn phases_follow_each_other_as_in_stock_velero() -> Result<()> {
    let installation = shop(&[])?;
    let mut watch = installation.api.kubectl().command();
    watch.args(["get", "backups.velero.io", "-n", "velero", "--watch", "-o", "jsonpath={.status.phase}{\"\\n\"}"]);
    let log = installation.api.scratch().join("phases");
    let watch = trysail_tests::program::Program::start("kubectl", watch, &log)?;
    let mut installation = installation;
    installation.velero(&["backup", "create", "b1", "--include-namespaces", "app1", "--wait"])?;
    let seen = installation.until("the watch sees the end", |_| {
        let text = fs::read_to_string(&log)?;
        Ok(text.contains("Completed").then_some(text))
    })?;
    drop(watch);
    let mut phases: Vec<&str> = seen.lines().filter(|line| !line.is_empty()).collect();
    phases.dedup();
    // A watch that begins late has missed the first.
    let all = ["Queued", "ReadyToStart", "InProgress", "Finalizing", "Completed"];
    assert!(all.ends_with(&phases) && phases.len() > 1, "{phases:?}");
    Ok(())
}

#[test]
fn a_namespace_that_is_not_there_makes_a_backup_partially_failed_and_a_location_that_is_not_stops_it() -> Result<()> {
    let mut installation = shop(&[])?;
    let said = installation.velero(&["backup", "create", "bmiss", "--include-namespaces", "nosuchns", "--wait"])?;
    assert!(said.contains("Backup completed with status: PartiallyFailed."), "{said}");
    for tool in BOTH {
        let described = velero(tool, installation.api.kubeconfig(), &["backup", "describe", "bmiss"])?;
        let line = "Errors: Velero: namespace nosuchns of spec.includedNamespaces is not there Cluster: <none>";
        assert!(in_one_line(&described).contains(line), "{described}");
    }
    let location = json!({ "storageLocation": "gone" });
    installation.apply(&json!({
        "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": { "name": "blocked", "namespace": "velero" },
        "spec": location,
    }))?;
    let blocked = until_phase(&mut installation, "blocked", "FailedValidation")?;
    assert_eq!(
        blocked["status"]["validationErrors"],
        json!(["storageLocation: there is no BackupStorageLocation gone"])
    );
    Ok(())
}

#[test]
fn bad_backups_are_refused_with_the_name_of_the_field_and_good_ones_go_on() -> Result<()> {
    let mut installation = shop(&[])?;
    let policy = json!({ "rules": "version: v1\nvolumePolicy: []\n" });
    installation.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "policy", "namespace": "velero" }, "data": policy,
    }))?;
    let bad = [
        ("no-spec", Value::Null, "spec: a Backup needs one"),
        ("bad-ttl", json!({ "ttl": "1 week" }), "spec.ttl: time: unknown unit"),
        ("bad-list", json!({ "excludedNamespaces": ["*"] }), "Invalid included/excluded namespace lists: "),
        ("bad-policy", json!({ "resourcePolicy": { "kind": "configmap", "name": "policy" } }), "resourcePolicy: "),
        (
            "no-policy",
            json!({ "resourcePolicy": { "kind": "configmap", "name": "gone" } }),
            "resourcePolicy: there is no",
        ),
    ];
    for (name, spec, _) in &bad {
        let mut backup = json!({
            "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": { "name": name, "namespace": "velero" },
        });
        if !spec.is_null() {
            backup["spec"] = spec.clone();
        }
        installation.apply(&backup)?;
    }
    for (name, _, expected) in &bad {
        let backup = until_phase(&mut installation, name, "FailedValidation")?;
        let problem = backup["status"]["validationErrors"][0].as_str().unwrap_or_default();
        assert!(problem.starts_with(expected), "{name}: {problem}");
    }
    installation.apply(&json!({
        "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": { "name": "good", "namespace": "velero" },
        "spec": { "includedNamespaces": ["app1"] },
    }))?;
    until_phase(&mut installation, "good", "Completed")?;
    Ok(())
}

#[test]
fn a_claim_whose_node_has_no_agent_is_an_error_and_a_backup_of_claims_that_reads_none_says_so() -> Result<()> {
    // Agents would read below this directory, if there were any.
    let mut installation = shop(&["--host-path", "/data"])?;
    claim(&mut installation)?;
    let said = installation.velero(&["backup", "create", "b1", "--include-namespaces", "app1", "--wait"])?;
    assert!(said.contains("Backup completed with status: PartiallyFailed."), "{said}");
    let problem = "claim app1/data is not saved: daemonset pod not found in running state in node node1";
    let log = installation.velero(&["backup", "logs", "b1"])?;
    assert!(log.contains(&format!("level=error msg=\"{problem}\" backup=velero/b1")), "{log}");
    for tool in BOTH {
        let described = velero(tool, installation.api.kubeconfig(), &["backup", "describe", "b1", "--details"])?;
        assert!(in_one_line(&described).contains(&format!("Namespaces: app1: {problem}")), "{described}");
    }
    let said = installation.velero(&[
        "backup",
        "create",
        "b2",
        "--include-namespaces",
        "app1",
        "--default-volumes-to-fs-backup=false",
        "--wait",
    ])?;
    assert!(said.contains("Backup completed with status: Completed."), "{said}");
    let backup = installation.object("backup", "b2")?.context("the backup is there")?;
    assert_eq!(backup["status"]["warnings"], 1);
    let described = installation.velero(&["backup", "describe", "b2"])?;
    let named = "trysail.io/skipped-volumes=claim app1/data is not saved: no annotation backup.velero.io/backup-volumes names it";
    assert!(described.contains(named), "{described}");
    let results: Value = serde_json::from_str(&unzipped(&stored(&installation, "backups/b2/b2-results.gz")?)?)?;
    assert_eq!(results["warnings"]["velero"], json!(["no volume is saved although the backup has 1 claims"]));
    let infos: Value = serde_json::from_str(&unzipped(&stored(&installation, "backups/b2/b2-volumeinfo.json.gz")?)?)?;
    assert_eq!(
        (&infos[0]["pvcName"], &infos[0]["pvName"], &infos[0]["skipped"]),
        (&json!("data"), &json!("pv-data"), &json!(true))
    );
    Ok(())
}

#[test]
fn with_recipients_no_object_of_a_secret_lies_in_the_bucket_in_clear() -> Result<()> {
    let mut installation = shop(&[])?;
    let (identity, recipient) = Identity::ephemeral();
    let annotation = format!("trysail.io/recipients={}", recipient.text());
    installation.api.kubectl().run(&[
        "annotate",
        "backupstoragelocations.velero.io",
        "default",
        "-n",
        "velero",
        &annotation,
    ])?;
    installation.velero(&["backup", "create", "b1", "--include-namespaces", "app1", "--wait"])?;
    until_phase(&mut installation, "b1", "Completed")?;
    let encrypted = stored(&installation, "backups/b1/b1.tar.gz")?;
    assert!(seal::is_age(&encrypted));
    // Secrets are in base64 in their objects.
    let canary = "dGhlLWNhbmFyeS1zaW5ncw==";
    for key in keys(&installation, "backups/b1/")? {
        let bytes = stored(&installation, &format!("backups/b1/{key}"))?;
        let text = unzipped(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned());
        assert!(!text.contains(canary) && !text.contains("the-canary-sings"), "{key}");
    }
    let archive = seal::decrypt(&encrypted, &identity)?;
    let mut plain = Vec::new();
    MultiGzDecoder::new(&archive[..]).read_to_end(&mut plain)?;
    assert!(String::from_utf8_lossy(&plain).contains(canary));
    // The log stays readable for the stock command line.
    assert!(installation.velero(&["backup", "logs", "b1"])?.contains("Backed up a total of"));
    Ok(())
}

#[test]
fn a_backup_that_is_deleted_while_it_runs_leaves_nothing() -> Result<()> {
    let mut installation = shop(&[])?;
    installation.minio.pause()?;
    installation.velero(&["backup", "create", "b1", "--include-namespaces", "app1"])?;
    until_phase(&mut installation, "b1", "InProgress")?;
    installation.api.kubectl().run(&["delete", "backups.velero.io", "b1", "-n", "velero"])?;
    installation.minio.resume()?;
    installation.until_location("default", "Available")?;
    let said = installation.velero(&["backup", "create", "b2", "--include-namespaces", "app1", "--wait"])?;
    assert!(said.contains("Backup completed with status: Completed."), "{said}");
    assert_eq!(keys(&installation, "backups/b1/")?, Vec::<String>::new());
    assert_eq!(installation.object("backup", "b1")?, None);
    Ok(())
}

#[test]
fn a_backup_waits_for_a_store_that_stands_still_and_completes() -> Result<()> {
    let mut installation = shop(&[])?;
    installation.minio.pause()?;
    installation.velero(&["backup", "create", "b1", "--include-namespaces", "app1"])?;
    until_phase(&mut installation, "b1", "InProgress")?;
    installation.minio.resume()?;
    until_phase(&mut installation, "b1", "Completed")?;
    Ok(())
}

#[test]
fn a_backup_of_a_server_that_died_is_failed_by_the_next_one_in_velero_s_words() -> Result<()> {
    let mut installation = shop(&[])?;
    installation.minio.pause()?;
    installation.velero(&["backup", "create", "b1", "--include-namespaces", "app1"])?;
    until_phase(&mut installation, "b1", "InProgress")?;
    installation.kill_first_server();
    installation.minio.resume()?;
    installation.start_server(&[])?;
    let failed = until_phase(&mut installation, "b1", "Failed")?;
    let reason = "found a backup with status \"InProgress\" during the server starting, mark it as \"Failed\"";
    assert_eq!(failed["status"]["failureReason"], reason);
    let said = installation.velero(&["backup", "create", "b2", "--include-namespaces", "app1", "--wait"])?;
    assert!(said.contains("Backup completed with status: Completed."), "{said}");
    Ok(())
}

#[test]
fn a_name_that_lies_in_the_location_is_not_overwritten() -> Result<()> {
    let mut installation = shop(&[])?;
    installation.velero(&["backup", "create", "b1", "--include-namespaces", "app1", "--wait"])?;
    let before = stored(&installation, "backups/b1/velero-backup.json")?;
    // Without the sync, which would bring the Backup back, its name is free in the cluster.
    installation.kill_first_server();
    installation.api.kubectl().run(&["delete", "backups.velero.io", "b1", "-n", "velero"])?;
    installation.start_server(&["--disable-controllers=backup-sync"])?;
    let said = installation.velero(&["backup", "create", "b1", "--include-namespaces", "app1", "--wait"])?;
    assert!(said.contains("Backup completed with status: Failed."), "{said}");
    let failed = installation.object("backup", "b1")?.context("the backup is there")?;
    assert_eq!(failed["status"]["failureReason"], "backup already exists in object storage");
    assert_eq!(stored(&installation, "backups/b1/velero-backup.json")?, before);
    Ok(())
}

#[test]
fn backups_are_counted() -> Result<()> {
    let mut installation = Installation::without_server()?;
    installation.apply(&installation.location("default", BUCKET))?;
    let address = installation.start_server(&[])?;
    installation.until_location("default", "Available")?;
    installation.velero(&["backup", "create", "b1", "--include-namespaces", "default", "--wait"])?;
    installation.velero(&["backup", "create", "b2", "--include-namespaces", "nosuchns", "--wait"])?;
    let text = installation.until("the end of the second is counted", |_| {
        let output = Command::new("curl").args(["-sSf", &format!("http://{address}/metrics")]).output()?;
        let text = String::from_utf8(output.stdout)?;
        Ok(text.contains("velero_backup_partial_failure_total{schedule=\"\"} 1").then_some(text))
    })?;
    for expected in [
        "velero_backup_attempt_total{schedule=\"\"} 2",
        "velero_backup_success_total{schedule=\"\"} 1",
        "velero_backup_failure_total{schedule=\"\"} 0",
        "velero_backup_duration_seconds_count{schedule=\"\"} 2",
        "velero_backup_items_errors{schedule=\"\"} 1",
    ] {
        assert!(text.lines().any(|line| line == expected), "{expected}\n{text}");
    }
    Ok(())
}

#[test]
fn a_backup_whose_definition_is_too_old_fails_and_says_how_it_is_renewed() -> Result<()> {
    let mut installation = shop(&[])?;
    // As Velero 1.13 defines it: Helm installs that with older charts, and never renews it.
    let phases = ["New", "FailedValidation", "InProgress", "Finalizing", "Completed", "PartiallyFailed", "Failed"];
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/phase/enum";
    let change = json!([{ "op": "replace", "path": path, "value": phases }]).to_string();
    installation.api.kubectl().run(&["patch", "crd", "backups.velero.io", "--type=json", "-p", &change])?;
    let backup = |name: &str, status: Value| {
        json!({
            "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": { "name": name, "namespace": "velero" },
            "spec": { "includedNamespaces": ["app1"] }, "status": status,
        })
    };
    installation.until("the older definition counts", |installation| {
        let tried = backup("tried", json!({ "phase": "Queued" })).to_string();
        let arguments = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
        let output = installation.api.kubectl().output(&arguments, &tried)?;
        Ok((!output.status.success()).then_some(()))
    })?;
    installation.apply(&backup("old", json!({})))?;
    let failed = until_phase(&mut installation, "old", "FailedValidation")?;
    let errors = failed["status"]["validationErrors"].as_array().context("errors")?;
    let [error] = errors.as_slice() else { panic!("one thing is wrong: {errors:?}") };
    let error = error.as_str().context("a sentence")?;
    assert!(error.contains(r#"Unsupported value: "Queued""#), "{error}");
    assert!(error.ends_with("`trysail install --crds-only` renews it, and keeps all Backups"), "{error}");
    Ok(())
}
