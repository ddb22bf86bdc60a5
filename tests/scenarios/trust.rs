//! Promises of what a restore believes, on a real API server and a real MinIO (feature `api`; needs Go): what gives rights comes
//! back from a backup that we signed, and from no other; files that are not those that were stored are refused; and a
//! service account's rights bound a restore.
#![cfg(feature = "api")]

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use trysail_tests::installation::{BUCKET, Installation};

const INVENTORY: &str = "backups/b1/b1-trysail.json";
const ARCHIVE: &str = "backups/b1/b1.tar.gz";

/// A namespace with a role, and a backup of it.
fn backed_up() -> Result<Installation> {
    let mut installation = Installation::start()?;
    installation.until_location("default", "Available")?;
    installation.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "app" } }))?;
    installation.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "reader", "namespace": "app" },
        "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }],
    }))?;
    installation.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings", "namespace": "app" }, "data": { "a": "1" },
    }))?;
    let said = installation.velero(&["backup", "create", "b1", "--include-namespaces", "app", "--wait"])?;
    ensure!(said.contains("completed with status: Completed"), "{said}");
    installation.api.kubectl().run(&["delete", "namespace", "app"])?;
    Ok(installation)
}

fn restore(name: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "velero.io/v1", "kind": "Restore",
        "metadata": { "name": name, "namespace": "velero", "annotations": annotations },
        "spec": { "backupName": "b1", "excludedResources": ["namespaces"], "namespaceMapping": { "app": name } },
    })
}

/// Restores into a namespace of the Restore's name; the Restore as it ended.
fn restored(installation: &mut Installation, name: &str, annotations: &Value) -> Result<Value> {
    installation.apply(&restore(name, annotations))?;
    installation.until("the restore ends", |installation| {
        let restore = installation.object("restore", name)?;
        let ended = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"];
        Ok(restore.filter(|restore| restore["status"]["phase"].as_str().is_some_and(|phase| ended.contains(&phase))))
    })
}

/// Phase, roles and config maps of our own in the Restore's namespace.
fn outcome(installation: &Installation, ended: &Value) -> Result<(Value, Vec<String>)> {
    let name = ended["metadata"]["name"].as_str().context("a name")?;
    let found = installation.api.kubectl().run(&["get", "role,configmap", "-n", name, "-o", "name"])?;
    let names = found.lines().filter(|line| !line.ends_with("kube-root-ca.crt")).map(str::to_owned).collect();
    Ok((ended["status"]["phase"].clone(), names))
}

const BOTH: [&str; 2] = ["role.rbac.authorization.k8s.io/reader", "configmap/settings"];

fn change(installation: &Installation, key: &str, edit: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
    let local = installation.api.scratch().join("changed");
    let (local, remote) = (local.to_str().context("UTF-8")?.to_owned(), format!("t/{BUCKET}/{key}"));
    installation.minio.mc(&["cp", &remote, &local])?;
    let mut bytes = fs::read(&local)?;
    edit(&mut bytes);
    fs::write(&local, bytes)?;
    installation.minio.mc(&["cp", &local, &remote]).map(drop)
}

#[test]
fn what_gives_rights_comes_back_from_a_backup_that_we_signed_and_from_no_other() -> Result<()> {
    let mut installation = backed_up()?;
    let ended = restored(&mut installation, "signed", &json!({}))?;
    assert_eq!(outcome(&installation, &ended)?, (json!("Completed"), BOTH.map(str::to_owned).to_vec()));
    assert_eq!(ended["status"].get("warnings"), None, "{ended}");
    // Somebody who can write the bucket takes the signature away.
    change(&installation, INVENTORY, |bytes| {
        let at = bytes.windows(8).rposition(|window| window == b",\"sig\":\"").expect("a signature");
        bytes.truncate(at);
        bytes.push(b'}');
    })?;
    let ended = restored(&mut installation, "stripped", &json!({}))?;
    assert_eq!(outcome(&installation, &ended)?, (json!("Completed"), vec![BOTH[1].to_owned()]));
    assert_eq!(ended["status"]["warnings"], 2);
    let described = installation.velero(&["restore", "describe", "stripped"])?;
    let reason = "objects that give rights are not restored: the signature of its inventory is wrong";
    assert!(described.contains(reason), "{described}");
    let ended = restored(&mut installation, "allowed", &json!({ "trysail.io/allow-unsigned": "true" }))?;
    assert_eq!(outcome(&installation, &ended)?, (json!("Completed"), BOTH.map(str::to_owned).to_vec()));
    installation.minio.mc(&["rm", &format!("t/{BUCKET}/{INVENTORY}")])?;
    let ended = restored(&mut installation, "bare", &json!({}))?;
    assert_eq!(outcome(&installation, &ended)?, (json!("Completed"), vec![BOTH[1].to_owned()]));
    Ok(())
}

#[test]
fn a_location_that_trusts_another_key_restores_no_rights_and_one_that_trusts_none_says_which_key_it_was() -> Result<()>
{
    let mut installation = backed_up()?;
    let location = installation.object("backupstoragelocation", "default")?.context("the location")?;
    let key = location["metadata"]["annotations"]["trysail.io/root-key"].as_str().context("a root key")?.to_owned();
    let annotate = |installation: &Installation, value: &str| {
        let arguments = ["annotate", "backupstoragelocation", "default", "-n", "velero", "--overwrite", value];
        installation.api.kubectl().run(&arguments).map(drop)
    };
    annotate(&installation, "trysail.io/root-key-")?;
    let ended = restored(&mut installation, "fresh", &json!({}))?;
    assert_eq!(outcome(&installation, &ended)?, (json!("Completed"), vec![BOTH[1].to_owned()]));
    let described = installation.velero(&["restore", "describe", "fresh"])?;
    let fix = format!("kubectl annotate backupstoragelocation default trysail.io/root-key={key}");
    assert!(described.contains(&fix), "{described}");
    annotate(&installation, &format!("trysail.io/root-key={key}"))?;
    let ended = restored(&mut installation, "again", &json!({}))?;
    assert_eq!(outcome(&installation, &ended)?, (json!("Completed"), BOTH.map(str::to_owned).to_vec()));
    Ok(())
}

#[test]
fn an_archive_that_is_not_the_one_that_was_stored_is_refused_by_its_name() -> Result<()> {
    let mut installation = backed_up()?;
    change(&installation, ARCHIVE, |bytes| *bytes.last_mut().expect("bytes") ^= 1)?;
    let ended = restored(&mut installation, "changed", &json!({}))?;
    let expected = "location default: backups/b1/b1.tar.gz is damaged: it is not what the backup stored there: ";
    let problem = ended["status"]["validationErrors"][0].as_str().unwrap_or_default().to_owned();
    assert!(ended["status"]["phase"] == "FailedValidation" && problem.starts_with(expected), "{ended}");
    change(&installation, ARCHIVE, Vec::clear)?;
    let ended = restored(&mut installation, "emptied", &json!({}))?;
    let problem = ended["status"]["validationErrors"][0].as_str().unwrap_or_default().to_owned();
    assert!(problem.starts_with(expected), "{ended}");
    Ok(())
}

#[test]
fn a_restore_in_the_name_of_a_service_account_makes_what_that_account_may_make() -> Result<()> {
    let mut installation = backed_up()?;
    installation.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "scoped" } }))?;
    let account = json!({ "name": "restorer", "namespace": "velero" });
    installation.apply(&json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": account }))?;
    installation.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "maps", "namespace": "scoped" },
        "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "patch"] }],
    }))?;
    installation.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "maps", "namespace": "scoped" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "maps" },
        "subjects": [{ "kind": "ServiceAccount", "name": "restorer", "namespace": "velero" }],
    }))?;
    let ended = restored(&mut installation, "scoped", &json!({ "trysail.io/service-account": "restorer" }))?;
    let names = ["role.rbac.authorization.k8s.io/maps", "configmap/settings"].map(str::to_owned).to_vec();
    assert_eq!(outcome(&installation, &ended)?, (json!("PartiallyFailed"), names));
    let described = installation.velero(&["restore", "describe", "scoped"])?;
    let refused = "User \"system:serviceaccount:velero:restorer\" cannot create resource \"roles\"";
    assert!(described.contains(refused), "{described}");
    let ended = restored(&mut installation, "wrong", &json!({ "trysail.io/service-account": "a/b/c" }))?;
    assert_eq!(ended["status"]["phase"], "FailedValidation");
    Ok(())
}
