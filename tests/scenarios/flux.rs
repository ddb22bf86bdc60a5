//! Flux makes a cluster of the tree that our modules render: it opens the sealed Secret, follows changes and their reverts, and
//! removes what leaves the tree but no backup (feature `cluster`).
//!
//! The story is played once, in a cluster of its own; each test looks at one thing that it promises.
#![cfg(feature = "cluster")]

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use trysail_tests::{
    application, built,
    cluster::Cluster,
    deployment::{BUCKET, Deployment},
    flux::{self, Flux, SYSTEM},
    minio::{ACCESS_KEY, SECRET_KEY},
    nix,
    prerequisites::{Rights, are_met},
    tools::Tool,
};

/// The namespace that is backed up.
const APPLICATION: &str = "app";

/// A backup of the Schedule `daily`.
const BACKUP: &str = "kept";

/// The key of Flux, made for tests.
const RECIPIENT: &str = "age125a2xzja2mg5p9rc72gmlsp55676x0tp9jc5zmaswlfpp6e89fcqrys9td";
const IDENTITY: &str = "AGE-SECRET-KEY-17P77WNTE5495TT87HHVCYK05L2R2XFVRKWW49K5WT77CWH842YCQZGERWL";

/// Files of the home: values that are sealed, the Secret that is made of them, and what leads Flux to the tree.
const VALUES: &str = "secrets/k8s-secrets.enc.yaml";
const SECRET: &str = "velero-s3-secret.sops.yaml";
const ENTRY: &str = "kubernetes/kustomization.yaml";

/// What Flux applies: all, and what that brings.
const KUSTOMIZATIONS: [&str; 4] = [SYSTEM, "velero-crds", "velero", "velero-config"];

/// What was seen.
#[derive(Debug)]
struct Story {
    /// The key of the Secret, as pods see it.
    credentials: String,
    /// What the cluster has of things that nobody but Flux changes, and after Flux applied another commit of the same tree.
    versions: [String; 2],
    /// Arguments of the server: as it was, changed, and reverted.
    arguments: [String; 3],
    /// Names of Schedules and of Backups, before and after a Schedule left the tree.
    schedules: [String; 2],
    backups: [String; 2],
    /// What the volume held before it was lost, and after.
    volume: [String; 2],
}

fn story(test: &str) -> Result<Option<&'static Story>> {
    static STORY: OnceLock<Result<Story>> = OnceLock::new();
    let programs = [nix::PROGRAMS.as_slice(), &flux::PROGRAMS].concat();
    if !(Cluster::can_start(test)? && are_met(test, &programs, Rights::Any)?) {
        return Ok(None);
    }
    let story = STORY.get_or_init(play);
    story.as_ref().map(Some).map_err(|error| anyhow!("{error:#}"))
}

/// The settings of a home, with the places of secrets alone.
fn settings(endpoint: &str, home: &Path) -> Value {
    let reference = |key: &str| format!("ref+sops://{VALUES}#{key}");
    let schedule = |time: &str| json!({ "schedule": time, "includedNamespaces": [APPLICATION] });
    json!({ "trysail": {
        "enable": true,
        "image": { "repository": "localhost/trysail", "tag": "test", "pullPolicy": "Never" },
        "locations": { "default": { "bucket": BUCKET, "endpoint": endpoint, "allowInsecure": true } },
        "schedules": { "daily": schedule("0 3 * * *"), "weekly": schedule("0 4 * * 0") },
        "credentials": {
            "accessKeyId": reference("access_key_id"),
            "secretAccessKey": reference("secret_access_key"),
            "sopsFiles": [home.join(SECRET)],
        },
        "flux": { "enable": true, "decryptionSecret": "sops-age" },
    }})
}

fn play() -> Result<Story> {
    let deployment = Deployment::bare(1)?;
    let flux = Flux::start(&deployment.cluster)?;
    let home = flux.checkout();
    let mut settings = settings(&deployment.cluster.minio().endpoint(), home);
    prepare(&deployment, home, &settings)?;
    let publish = |settings: &Value, message: &str| -> Result<()> {
        nix::write_tree(settings, home)?;
        flux.reconcile(&flux.push(message)?, &KUSTOMIZATIONS)
    };
    publish(&settings, "Trysail")?;
    let credentials = credentials(&deployment)?;
    let before = versions(&deployment)?;
    fs::write(home.join("README"), "A home.\n")?;
    publish(&settings, "Words")?;
    let versions = [before, versions(&deployment)?];

    let held = application::start(&deployment, APPLICATION)?;
    let create = ["backup", "create", BACKUP, "--from-schedule", "daily", "--wait"];
    deployment.velero(Tool::Velero118, &create)?;
    completed(&deployment, "backup")?;

    let usual = arguments(&deployment)?;
    settings["trysail"]["server"] = json!({ "logLevel": "debug" });
    publish(&settings, "More words of the server")?;
    let changed = arguments(&deployment)?;
    flux.reconcile(&flux.revert()?, &KUSTOMIZATIONS)?;
    let arguments = [usual, changed, arguments(&deployment)?];

    let list = |kind: &str| {
        let names = ["-n", "velero", "get", kind, "-o", "jsonpath={.items[*].metadata.name}"];
        deployment.cluster.kubectl().run(&names)
    };
    let (schedules, backups) = (list("schedules.velero.io")?, list("backups.velero.io")?);
    let fields = settings["trysail"].as_object_mut().context("settings")?;
    fields.remove("server");
    fields["schedules"].as_object_mut().context("schedules")?.remove("daily");
    publish(&settings, "No daily backups")?;
    let (schedules, backups) = ([schedules, list("schedules.velero.io")?], [backups, list("backups.velero.io")?]);

    application::lose(&deployment, APPLICATION)?;
    deployment.velero(Tool::Velero118, &["restore", "create", BACKUP, "--from-backup", BACKUP, "--wait"])?;
    completed(&deployment, "restore")?;
    let volume = [held, application::restored(&deployment, APPLICATION)?];
    Ok(Story { credentials, versions, arguments, schedules, backups, volume })
}

/// What a home has before the first commit: sealed files, the identity in the cluster, and the Kustomization of all.
fn prepare(deployment: &Deployment, home: &Path, settings: &Value) -> Result<()> {
    let rules = format!(
        "creation_rules:\n- path_regex: ^secrets/\n  age: {RECIPIENT}\n- path_regex: \\.sops\\.yaml$\n  age: {RECIPIENT}\n  \
         encrypted_regex: ^(data|stringData)$\n  mac_only_encrypted: true\n"
    );
    fs::write(home.join(".sops.yaml"), rules)?;
    fs::create_dir_all(home.join("secrets"))?;
    seal(home, VALUES, &format!("access_key_id: {ACCESS_KEY}\nsecret_access_key: {SECRET_KEY}\n"))?;
    seal(home, SECRET, &nix::secret(settings)?)?;
    fs::create_dir_all(home.join("kubernetes"))?;
    fs::write(home.join(ENTRY), "resources: [./apps/velero/ks.yaml]\n")?;
    let kubectl = deployment.cluster.kubectl();
    kubectl.apply_object(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": SYSTEM, "name": "sops-age" },
        "stringData": { "age.agekey": IDENTITY },
    }))?;
    kubectl.apply_object(&json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": { "namespace": SYSTEM, "name": SYSTEM },
        "spec": {
            "interval": "1h", "path": "./kubernetes", "prune": true,
            "sourceRef": { "kind": "GitRepository", "name": SYSTEM },
        },
    }))
}

/// Seals a text as a file of the home.
fn seal(home: &Path, file: &str, text: &str) -> Result<()> {
    let mut sealing = Command::new(built::static_trysail()?)
        .current_dir(home)
        .args(["secrets", "seal", "-", file])
        .env("SOPS_AGE_KEY", IDENTITY)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start trysail")?;
    sealing.stdin.take().context("it reads")?.write_all(text.as_bytes())?;
    let output = sealing.wait_with_output()?;
    ensure!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The Secret of the store, decoded.
fn credentials(deployment: &Deployment) -> Result<String> {
    let secret =
        ["-n", "velero", "get", "secret", "velero-s3-secret", "-o", "go-template={{.data.cloud | base64decode}}"];
    deployment.cluster.kubectl().run(&secret)
}

/// Versions of rights, and generations of workloads, whose status others write.
fn versions(deployment: &Deployment) -> Result<String> {
    let kubectl = deployment.cluster.kubectl();
    let get = |kinds: &str, field: &str| {
        let told =
            format!("jsonpath={{range .items[*]}}{{.kind}} {{.metadata.name}} {{.metadata.{field}}}{{\"\\n\"}}{{end}}");
        kubectl.run(&["-n", "velero", "get", kinds, "-l", "app.kubernetes.io/name=trysail", "-o", &told])
    };
    let rights = get("clusterroles,clusterrolebindings,roles,rolebindings,serviceaccounts", "resourceVersion")?;
    Ok(rights + &get("deployments,daemonsets", "generation")?)
}

/// Arguments of the server, which has been rolled out.
fn arguments(deployment: &Deployment) -> Result<String> {
    let kubectl = deployment.cluster.kubectl();
    kubectl.run(&["-n", "velero", "rollout", "status", "deployment/velero", "--timeout=300s"])?;
    let told = "jsonpath={.spec.template.spec.containers[0].args}";
    kubectl.run(&["-n", "velero", "get", "deployment", "velero", "-o", told])
}

fn completed(deployment: &Deployment, kind: &str) -> Result<()> {
    let ended = deployment.ended(kind, BACKUP)?;
    let told = || {
        let described = deployment.velero(Tool::Velero118, &[kind, "describe", BACKUP, "--details"]);
        format!("{}\n{described:?}\n{}", ended["status"], deployment.words())
    };
    ensure!(ended["status"]["phase"] == "Completed", "{}", told());
    Ok(())
}

#[test]
fn flux_makes_a_cluster_of_the_rendered_tree_and_opens_its_secret() -> Result<()> {
    let test = "flux_makes_a_cluster_of_the_rendered_tree_and_opens_its_secret";
    let Some(story) = story(test)? else { return Ok(()) };
    let expected = format!("[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n");
    assert_eq!(story.credentials, expected);
    Ok(())
}

#[test]
fn a_tree_that_stays_the_same_changes_nothing() -> Result<()> {
    let Some(story) = story("a_tree_that_stays_the_same_changes_nothing")? else { return Ok(()) };
    let [before, after] = &story.versions;
    assert_eq!(before.lines().count(), 12, "{before}");
    assert_eq!(after, before);
    Ok(())
}

#[test]
fn a_changed_value_rolls_out_and_its_revert_takes_it_back() -> Result<()> {
    let Some(story) = story("a_changed_value_rolls_out_and_its_revert_takes_it_back")? else { return Ok(()) };
    let usual = r#"["server"]"#;
    assert_eq!(story.arguments, [usual, r#"["server","--log-level=debug"]"#, usual]);
    Ok(())
}

#[test]
fn a_schedule_that_leaves_the_tree_leaves_the_cluster_and_its_backup_stays_and_restores() -> Result<()> {
    let test = "a_schedule_that_leaves_the_tree_leaves_the_cluster_and_its_backup_stays_and_restores";
    let Some(story) = story(test)? else { return Ok(()) };
    assert_eq!(story.schedules, ["daily weekly", "weekly"]);
    assert_eq!(story.backups, [BACKUP; 2]);
    let [before, after] = &story.volume;
    assert_eq!(after, before);
    Ok(())
}
