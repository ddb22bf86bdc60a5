//! The stock Helm charts of Velero run with our image: what Helm rendered of them, with another store and another image and
//! nothing else changed, backs up and restores a volume (feature `cluster`; the renderings are in `$TRYSAIL_GOLDEN`).
#![cfg(feature = "cluster")]

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use trysail_tests::{
    application, built,
    cluster::Cluster,
    deployment::{BUCKET, Deployment},
    image::{self, Entry, Start},
    minio::{ACCESS_KEY, SECRET_KEY},
    prerequisites::{Rights, are_met, find},
    tools::Tool,
};

/// Our image in the renderings.
const RENDERED_IMAGE: &str = "localhost/trysail:dev";

/// The bucket and the store in them.
const RENDERED_BUCKET: &str = "velero-backups";
const RENDERED_STORE: &str = "https://s3.68cc.io";

/// The image of the plugin that stock Velero needs and ours does not. The chart starts it before the server, to copy a file.
const PLUGIN: &str = "docker.io/velero/velero-plugin-for-aws:v1.9.0";

/// The namespaces of the Schedule in the renderings; the application is in the second.
const NAMESPACES: [&str; 3] = ["monitoring", "database", "network"];

/// A recording; none where there are no recordings and nobody can be blamed for it.
fn recorded(test: &str, file: &str) -> Result<Option<Vec<Value>>> {
    let path = PathBuf::from(env::var_os("TRYSAIL_GOLDEN").unwrap_or_default()).join(file);
    let name = path.to_str().context("a path in UTF-8")?;
    if !(Cluster::can_start(test)? && are_met(test, &[name], Rights::Root)?) {
        return Ok(None);
    }
    let recording = fs::read_to_string(&path).with_context(|| format!("read {name}"))?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&recording).with_context(|| format!("parse {name}"))?;
    Ok(Some(documents.into_iter().filter(|document| !document.is_null()).collect()))
}

/// The objects of a rendering for the store of a cluster.
fn for_store(objects: &[Value], deployment: &Deployment) -> Result<Vec<Value>> {
    let text = serde_json::to_string(objects)?;
    let changes = [
        (RENDERED_IMAGE, image::TRYSAIL),
        (RENDERED_BUCKET, BUCKET),
        (RENDERED_STORE, &deployment.cluster.minio().endpoint()),
    ];
    for (rendered, _) in changes {
        ensure!(text.contains(rendered), "the rendering has no {rendered}");
    }
    let text = changes.iter().fold(text, |text, (rendered, ours)| text.replace(rendered, ours));
    Ok(serde_json::from_str(&text)?)
}

/// Copies a file, as the plugin's image does.
fn plugin() -> Result<image::Image> {
    let busybox = fs::read(find("busybox").context("busybox is installed")?)?;
    let entries = [("cp".to_owned(), Entry::File(busybox, 0o755))];
    image::image(PLUGIN, Start { entrypoint: &["/cp", "/cp", "/target/plugin"], user: "65532:65532" }, &entries)
}

fn is_hook(object: &Value) -> bool {
    object.pointer("/metadata/annotations/helm.sh~1hook").is_some()
}

/// What there is before Helm: namespaces, the Secret of the store, the image of the plugin.
fn prepare() -> Result<Deployment> {
    let deployment = Deployment::bare(1)?;
    deployment.cluster.load_image(&plugin()?.archive)?;
    let kubectl = deployment.cluster.kubectl();
    for name in NAMESPACES.iter().chain(&["velero"]) {
        kubectl.apply_object(&application::namespace(name))?;
    }
    let cloud = format!("[default]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n");
    kubectl.apply_object(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": "velero", "name": "velero-s3-secret" },
        "stringData": { "cloud": cloud },
    }))?;
    Ok(deployment)
}

/// Applies the chart's own objects, waits for its pods, and loses and restores an application by the chart's Schedule.
fn lost_and_restored(deployment: &Deployment, objects: &[Value], tool: Tool) -> Result<()> {
    let kubectl = deployment.cluster.kubectl();
    for object in objects.iter().filter(|object| !is_hook(object)) {
        kubectl.apply_object(object)?;
    }
    deployment.wait_until_ready()?;
    let before = application::start(deployment, NAMESPACES[1])?;
    let create = ["backup", "create", "first", "--from-schedule", "velero-daily-backup", "--wait"];
    deployment.velero(tool, &create)?;
    completed(deployment, tool, "backup")?;
    let label = "velero.io/backup-name=first";
    let volumes = kubectl.get(&["podvolumebackups.velero.io", "-n", "velero", "-l", label])?;
    assert_eq!(volumes["items"].as_array().map(Vec::len), Some(1));
    application::lose(deployment, NAMESPACES[1])?;
    deployment.velero(tool, &["restore", "create", "first", "--from-backup", "first", "--wait"])?;
    completed(deployment, tool, "restore")?;
    assert_eq!(application::restored(deployment, NAMESPACES[1])?, before);
    Ok(())
}

fn completed(deployment: &Deployment, tool: Tool, kind: &str) -> Result<()> {
    let ended = deployment.ended(kind, "first")?;
    let told = || {
        let described = deployment.velero(tool, &[kind, "describe", "first", "--details"]);
        format!("{}\n{described:?}\n{}", ended["status"], deployment.words())
    };
    ensure!(ended["status"]["phase"] == "Completed", "{}", told());
    Ok(())
}

/// What the metrics of the node agent say of its rights.
fn posture(deployment: &Deployment) -> Result<String> {
    let kubectl = deployment.cluster.kubectl();
    let name = ["-n", "velero", "get", "pods", "-l", "name=node-agent", "-o", "jsonpath={.items[0].metadata.name}"];
    let pod = kubectl.run(&name)?;
    let metrics =
        kubectl.run(&["get", "--raw", &format!("/api/v1/namespaces/velero/pods/{pod}:8085/proxy/metrics")])?;
    let is_posture = |line: &&str| line.starts_with("trysail_node_posture") && line.ends_with(" 1");
    Ok(metrics.lines().find(is_posture).context("a posture among the metrics")?.to_owned())
}

#[test]
fn chart_12_runs_with_another_image_and_nothing_else_changed() -> Result<()> {
    let test = "chart_12_runs_with_another_image_and_nothing_else_changed";
    let Some(objects) = recorded(test, "chart/rendered-12.1.0.yaml")? else { return Ok(()) };
    let deployment = prepare()?;
    let objects = for_store(&objects, &deployment)?;
    // Hooks come first. Their Job defines the kinds with our image.
    let kubectl = deployment.cluster.kubectl();
    for object in objects.iter().filter(|object| is_hook(object)) {
        kubectl.apply_object(object)?;
    }
    let job = "job/velero-upgrade-crds";
    let waited = kubectl.run(&["-n", "velero", "wait", "--for=condition=Complete", job, "--timeout=300s"]);
    waited.with_context(|| format!("{:?}", kubectl.run(&["-n", "velero", "logs", job])))?;
    deployment.wait_for_definitions()?;
    lost_and_restored(&deployment, &objects, Tool::Velero118)?;
    assert_eq!(posture(&deployment)?, r#"trysail_node_posture{posture="chart"} 1"#);
    Ok(())
}

#[test]
fn chart_5_4_runs_with_another_image_and_renewed_definitions() -> Result<()> {
    let test = "chart_5_4_runs_with_another_image_and_renewed_definitions";
    let Some(objects) = recorded(test, "chart/rendered-5.4.1.yaml")? else { return Ok(()) };
    // Helm takes these from a directory of the chart and never renews them; `upgradeCRDs` is false, so no hook runs.
    let Some(definitions) = recorded(test, "install/crds-1.13.yaml")? else { return Ok(()) };
    let deployment = prepare()?;
    for list in &definitions {
        deployment.cluster.kubectl().apply_object(list)?;
    }
    let renewed = Command::new(built::trysail()?)
        .args(["install", "--crds-only"])
        .env("KUBECONFIG", deployment.cluster.kubeconfig())
        .output()?;
    ensure!(renewed.status.success(), "{}", String::from_utf8_lossy(&renewed.stderr));
    lost_and_restored(&deployment, &for_store(&objects, &deployment)?, Tool::Velero113)?;
    assert_eq!(posture(&deployment)?, r#"trysail_node_posture{posture="chart"} 1"#);
    Ok(())
}
