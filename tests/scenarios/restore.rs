//! Promises of restores to the stock command lines, on a real API server and a real MinIO (feature `api`; needs Go): objects
//! of backups that stock Velero made come back, and what could not be restored is said.
#![cfg(feature = "api")]

use std::{fs, io::Write as _, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use trysail_tests::{
    installation::{BUCKET, Installation},
    tools::Tool,
    velero::velero,
};

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

/// Puts a recorded backup of stock Velero into the bucket and waits until it is listed.
fn take_over(installation: &mut Installation, recording: &str, golden: &std::path::Path) -> Result<()> {
    let copy = installation.api.scratch().join("b1");
    fs::create_dir(&copy)?;
    for entry in fs::read_dir(golden.join("bucket").join(recording))? {
        let entry = entry?;
        fs::copy(entry.path(), copy.join(entry.file_name()))?;
    }
    // The recorded one would expire.
    let record = copy.join("velero-backup.json");
    let mut backup: Value = serde_json::from_str(&fs::read_to_string(&record)?)?;
    backup["status"]["expiration"] = json!("2126-01-01T00:00:00Z");
    fs::write(&record, backup.to_string())?;
    let target = format!("t/{BUCKET}/backups/");
    installation.minio.mc(&["cp", "--recursive", copy.to_str().context("UTF-8")?, &target])?;
    installation.until("the backup is taken over", |installation| Ok(installation.object("backup", "b1")?.map(drop)))
}

/// Restores with the newest stock command line and waits as a user waits; the Restore as it ended.
fn restore(installation: &Installation, name: &str, arguments: &[&str]) -> Result<Value> {
    let create = ["restore", "create", name, "--from-backup", "b1", "--wait"];
    let said = installation.velero(&[&create[..], arguments].concat())?;
    ensure!(said.contains("Restore completed with status: "), "{said}");
    installation.object("restore", name)?.context("the Restore is there")
}

/// A file of a Restore, as the bucket has it.
fn stored(installation: &Installation, restore: &str, file: &str) -> Result<Value> {
    let path = format!("t/{BUCKET}/restores/{restore}/{file}");
    let local = installation.api.scratch().join(file);
    installation.minio.mc(&["cp", &path, local.to_str().context("UTF-8")?])?;
    let plain = std::process::Command::new("gzip").arg("-dc").arg(&local).output()?;
    Ok(serde_json::from_slice(&plain.stdout)?)
}

fn get(installation: &Installation, namespace: &str, kind: &str, name: &str) -> Result<Value> {
    installation.api.kubectl().get(&[kind, name, "-n", namespace])
}

/// What an object is beside what a cluster writes into it.
fn content(mut object: Value) -> Value {
    for key in
        ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "ownerReferences", "namespace"]
    {
        object["metadata"].as_object_mut().map(|metadata| metadata.remove(key));
    }
    object.as_object_mut().map(|object| object.remove("status"));
    object
}

const NO_FILES: &str = "was written by kopia of another program; restore it with the Velero that made it";

#[test]
fn objects_of_a_stock_backup_come_back_under_another_name_and_its_volumes_are_told() -> Result<()> {
    let Some(golden) = golden() else { return Ok(()) };
    let mut installation = Installation::start()?;
    take_over(&mut installation, "b1", &golden)?;
    let ended = restore(&installation, "r1", &["--namespace-mappings", "app1:app1r"])?;
    let status = &ended["status"];
    assert_eq!(
        (&status["phase"], &status["errors"], status.get("warnings")),
        (&json!("PartiallyFailed"), &json!(2), None)
    );
    let secret = content(get(&installation, "app1r", "secret", "token")?);
    let labels = json!({ "app": "web", "velero.io/backup-name": "b1", "velero.io/restore-name": "r1" });
    assert_eq!((&secret["metadata"]["labels"], &secret["data"]), (&labels, &json!({ "password": "aHVudGVyMg==" })));
    let pod = get(&installation, "app1r", "pod", "web-59d45d4f88-757s7")?;
    assert_eq!(pod["spec"]["serviceAccountName"], "web");
    let owner = installation.until("the set of replicas adopts its pod", |installation| {
        let pod = get(installation, "app1r", "pod", "web-59d45d4f88-757s7")?;
        Ok(pod["metadata"]["ownerReferences"].get(0).cloned())
    })?;
    assert_eq!((&owner["kind"], &owner["name"]), (&json!("ReplicaSet"), &json!("web-59d45d4f88")));
    let claim = get(&installation, "app1r", "pvc", "data")?;
    assert_eq!(claim["spec"].get("volumeName"), None);
    let pods = installation.api.kubectl().get(&["pods", "-n", "app1r"])?;
    assert_eq!(pods["items"].as_array().map(Vec::len), Some(1));
    // The list is the recorded one, but for the certificates that the new namespace has of its own cluster.
    let mut expected: Value =
        serde_json::from_str(&fs::read_to_string(golden.join("bucket/r1-plain/restore-r1-resource-list.json"))?)?;
    expected["v1/ConfigMap"] = json!(["app1r/kube-root-ca.crt(skipped)", "app1r/settings(created)"]);
    assert_eq!(stored(&installation, "r1", "restore-r1-resource-list.json.gz")?, expected);
    let results = stored(&installation, "r1", "restore-r1-results.gz")?;
    let volume = |name: &str, snapshot: &str| {
        format!("volume {name} of pod app1r/web-59d45d4f88-757s7 is restored empty: snapshot {snapshot} {NO_FILES}")
    };
    let errors = &results["errors"]["namespaces"]["app1r"];
    assert_eq!(errors.as_array().map(Vec::len), Some(2), "{results}");
    assert_eq!(errors[0], volume("data", "a322e5386086ec03e413d76d6e9cfa6e"));
    for tool in [Tool::Velero118, Tool::Velero113] {
        let stock = |arguments: &[&str]| velero(tool, installation.api.kubeconfig(), arguments);
        let described = stock(&["restore", "describe", "r1", "--details"])?;
        assert!(
            described.contains("PartiallyFailed") && described.contains("    - app1r/web-59d45d4f88-757s7(created)"),
            "{described}"
        );
        assert!(described.contains(NO_FILES), "{described}");
        let log = stock(&["restore", "logs", "r1"])?;
        assert!(log.contains("msg=\"starting restore\"") && log.contains("restore=velero/r1"), "{log}");
        let table = stock(&["restore", "get", "r1"])?;
        let row: Vec<&str> = table.lines().nth(1).unwrap_or_default().split_whitespace().collect();
        assert_eq!(row[..3], ["r1", "b1", "PartiallyFailed"], "{table}");
    }
    Ok(())
}

#[test]
fn restoring_twice_changes_nothing_and_existing_objects_follow_the_policy() -> Result<()> {
    let Some(golden) = golden() else { return Ok(()) };
    let mut installation = Installation::start()?;
    take_over(&mut installation, "server-1.13.0-b1", &golden)?;
    let without =
        ["--exclude-resources", "pods,replicasets.apps,deployments.apps,endpoints,endpointslices.discovery.k8s.io"];
    let ended = restore(&installation, "first", &without)?;
    // The claim comes without its pod, and so without its files.
    assert_eq!((&ended["status"]["phase"], &ended["status"]["warnings"]), (&json!("Completed"), &json!(1)));
    let kinds = "configmaps,secrets,serviceaccounts,services,persistentvolumeclaims";
    let all = |installation: &Installation| -> Result<Value> {
        Ok(installation.api.kubectl().get(&[kinds, "-n", "app1"])?["items"].clone())
    };
    let before = all(&installation)?;
    let ended = restore(&installation, "second", &without)?;
    assert_eq!((&ended["status"]["phase"], ended["status"].get("warnings")), (&json!("Completed"), None));
    assert_eq!(all(&installation)?, before);
    let changed = json!({ "data": { "colour": "red", "new": "x" } }).to_string();
    installation.api.kubectl().run(&[
        "patch",
        "configmap",
        "settings",
        "-n",
        "app1",
        "--type=merge",
        "-p",
        &changed,
    ])?;
    restore(&installation, "third", &without)?;
    let results = stored(&installation, "third", "restore-third-results.gz")?;
    let kept = "could not restore, ConfigMap:settings already exists. \
                Warning: the in-cluster version is different than the backed-up version";
    let warnings = results["warnings"]["namespaces"]["app1"].as_array().cloned().unwrap_or_default();
    assert!(warnings.contains(&json!(kept)), "{results}");
    assert_eq!(get(&installation, "app1", "configmap", "settings")?["data"]["colour"], "red");
    let update = [&without[..], &["--existing-resource-policy", "update"]].concat();
    restore(&installation, "fourth", &update)?;
    let settings = get(&installation, "app1", "configmap", "settings")?;
    assert_eq!(settings["data"], json!({ "a": "1", "colour": "blue" }));
    assert_eq!(settings["metadata"]["labels"]["velero.io/restore-name"], "fourth");
    let list = stored(&installation, "fourth", "restore-fourth-resource-list.json.gz")?;
    assert_eq!(list["v1/ConfigMap"], json!(["app1/kube-root-ca.crt(skipped)", "app1/settings(updated)"]));
    Ok(())
}

#[test]
fn a_restore_of_what_is_not_there_says_so_and_a_deleted_one_leaves_no_files() -> Result<()> {
    let Some(golden) = golden() else { return Ok(()) };
    let mut installation = Installation::start()?;
    take_over(&mut installation, "b1", &golden)?;
    let refused = |name: &str, spec: Value| {
        json!({
            "apiVersion": "velero.io/v1", "kind": "Restore", "metadata": { "name": name, "namespace": "velero" }, "spec": spec,
        })
    };
    let rows = [
        (
            "missing",
            json!({ "backupName": "nosuch" }),
            "Error retrieving backup: backup.velero.io \"nosuch\" not found",
        ),
        ("none", json!({ "scheduleName": "daily" }), "No completed backups found for schedule"),
        (
            "unreadable",
            json!({ "backupName": "b1", "resourceModifier": { "kind": "ConfigMap", "name": "m" } }),
            "failed to get resource modifiers configmap velero/m: it is not there",
        ),
    ];
    for (name, spec, expected) in rows {
        installation.apply(&refused(name, spec))?;
        let ended = installation.until("the restore is refused", |installation| {
            let restore = installation.object("restore", name)?;
            Ok(restore.filter(|restore| restore["status"]["phase"] == "FailedValidation"))
        })?;
        assert_eq!(ended["status"]["validationErrors"], json!([expected]));
    }
    restore(&installation, "r1", &["--include-resources", "configmaps"])?;
    let files = |installation: &Installation| installation.minio.mc(&["ls", "-r", &format!("t/{BUCKET}/restores/")]);
    assert_eq!(files(&installation)?.lines().count(), 5);
    installation.velero(&["restore", "delete", "r1", "--confirm"])?;
    installation.until("the restore is gone", |installation| {
        Ok(installation.object("restore", "r1")?.is_none().then_some(()))
    })?;
    assert_eq!(files(&installation)?, "");
    Ok(())
}

#[test]
fn objects_are_changed_on_their_way_as_config_maps_say() -> Result<()> {
    let Some(golden) = golden() else { return Ok(()) };
    let mut installation = Installation::start()?;
    take_over(&mut installation, "b1", &golden)?;
    let class = |name: &str| {
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": { "name": name },
            "provisioner": "example.org/none", "volumeBindingMode": "WaitForFirstConsumer",
        })
    };
    installation.apply(&class("fast"))?;
    let map = |name: &str, labels: Value, data: Value| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name, "namespace": "velero", "labels": labels }, "data": data,
        })
    };
    let labels = json!({ "velero.io/plugin-config": "", "velero.io/change-storage-class": "RestoreItemAction" });
    installation.apply(&map("classes", labels, json!({ "local-path": "fast" })))?;
    let rules = "version: v1\nresourceModifierRules:\n- conditions: {groupResource: configmaps, resourceNameRegex: ^settings$}\n  \
                 mergePatches:\n  - patchData: '{\"data\": {\"colour\": \"green\"}}'\n";
    installation.apply(&map("rules", json!({}), json!({ "rules": rules })))?;
    let arguments =
        ["--include-resources", "configmaps,persistentvolumeclaims", "--resource-modifier-configmap", "rules"];
    let ended = restore(&installation, "r1", &arguments)?;
    assert_eq!(ended["status"]["phase"], "Completed");
    assert_eq!(get(&installation, "app1", "pvc", "data")?["spec"]["storageClassName"], "fast");
    assert_eq!(get(&installation, "app1", "configmap", "settings")?["data"], json!({ "a": "1", "colour": "green" }));
    Ok(())
}
