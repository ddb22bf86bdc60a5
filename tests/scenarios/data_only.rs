//! Restores of data alone on a real cluster, as clusters need them whose objects come from Git: into claims that are there already,
//! once, in part, and never under a pod that writes (feature `cluster`).
#![cfg(feature = "cluster")]

use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use trysail_tests::{cluster::Cluster, deployment::Deployment, image::BUSYBOX, tools::Tool};

/// One deployment for all tests of this file; it goes away with the process.
fn deployment(test: &str) -> Result<Option<&'static Deployment>> {
    static DEPLOYMENT: OnceLock<Result<Deployment>> = OnceLock::new();
    if !Cluster::can_start(test)? {
        return Ok(None);
    }
    let deployment = DEPLOYMENT.get_or_init(|| Deployment::start(1));
    deployment.as_ref().map(Some).map_err(|error| anyhow!("{error:#}"))
}

/// What a volume holds when it is saved.
const WRITE: &str = "cd /data && mkdir -m 0750 dir && echo kept > dir/file && ln -s dir/file soft && mkfifo pipe && \
    chown 1000:2000 dir/file && echo whole > other && touch -t 200102030405 dir && sync";

/// What is in a volume.
const DESCRIBE: &str = "cd /data && find . -path ./lost+found -prune -o -print | sort | while read -r f; do \
    stat -c '%n %F %a %u:%g' \"$f\"; done; stat -c %Y dir; cat soft other";

/// A namespace with an empty claim, as Git brings them.
fn empty_claim(deployment: &Deployment, namespace: &str) -> Result<()> {
    let kubectl = deployment.cluster.kubectl();
    kubectl.apply_object(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } }))?;
    kubectl.apply_object(&json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "namespace": namespace, "name": "data" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    }))
}

/// Starts a pod that mounts the claim, runs a script in it, and stays; what the script printed.
fn start(deployment: &Deployment, namespace: &str, script: &str) -> Result<String> {
    let kubectl = deployment.cluster.kubectl();
    kubectl.apply_object(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "namespace": namespace, "name": "app" },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sleep", "infinity"],
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
            }],
            "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }],
        },
    }))?;
    let waited = kubectl.run(&["-n", namespace, "wait", "--for=condition=Ready", "pod/app", "--timeout=300s"]);
    waited.with_context(|| deployment.words())?;
    kubectl.run(&["-n", namespace, "exec", "app", "--", "sh", "-c", script])
}

fn stop(deployment: &Deployment, namespace: &str) -> Result<()> {
    deployment.cluster.kubectl().run(&["-n", namespace, "delete", "pod", "app", "--timeout=300s"]).map(drop)
}

/// Runs a script with the claim while nothing else does.
fn within(deployment: &Deployment, namespace: &str, script: &str) -> Result<String> {
    let printed = start(deployment, namespace, script)?;
    stop(deployment, namespace)?;
    Ok(printed)
}

/// A namespace whose volume is saved in a backup of its name; what the volume held. No pod runs any more.
fn saved(deployment: &Deployment, namespace: &str) -> Result<String> {
    empty_claim(deployment, namespace)?;
    start(deployment, namespace, WRITE)?;
    let held = start(deployment, namespace, DESCRIBE)?;
    let arguments = ["backup", "create", namespace, "--include-namespaces", namespace, "--wait"];
    let printed = deployment.velero(Tool::Velero118, &arguments)?;
    let backup = deployment.object("backup", namespace)?;
    ensure!(backup["status"]["phase"] == "Completed", "{}\n{printed}\n{}", backup["status"], deployment.words());
    stop(deployment, namespace)?;
    Ok(held)
}

/// A Restore as Git holds one: a name, a backup, annotations beside that of data alone, and more of the spec.
fn apply(deployment: &Deployment, name: &str, backup: &str, annotations: &Value, spec: &Value) -> Result<()> {
    let mut restore = json!({
        "apiVersion": "velero.io/v1", "kind": "Restore",
        "metadata": { "namespace": "velero", "name": name, "annotations": { "trysail.io/data-only": "true" } },
        "spec": { "backupName": backup },
    });
    let merge = |into: &mut Value, from: &Value| {
        for (key, value) in from.as_object().into_iter().flatten() {
            into[key] = value.clone();
        }
    };
    merge(&mut restore["metadata"]["annotations"], annotations);
    merge(&mut restore["spec"], spec);
    deployment.cluster.kubectl().apply_object(&restore)
}

/// Waits for the end of a Restore; its phase, and what the stock command line says of it.
fn ended(deployment: &Deployment, name: &str) -> Result<(String, String)> {
    let phase = deployment.until(&format!("restore {name} has ended"), |deployment| {
        let phase = deployment.object("restore", name)?["status"]["phase"].as_str().unwrap_or_default().to_owned();
        let has_ended = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"].contains(&phase.as_str());
        Ok(has_ended.then_some(phase))
    })?;
    Ok((phase, deployment.velero(Tool::Velero118, &["restore", "describe", name, "--details"])?))
}

fn restore(deployment: &Deployment, name: &str, backup: &str, annotations: &Value) -> Result<(String, String)> {
    apply(deployment, name, backup, annotations, &json!({}))?;
    ended(deployment, name)
}

fn claim(deployment: &Deployment, namespace: &str) -> Result<Value> {
    deployment.cluster.kubectl().get(&["pvc", "data", "-n", namespace])
}

/// Names of what is in a namespace and no cluster put there.
fn objects(deployment: &Deployment, namespace: &str) -> Result<Vec<String>> {
    let kinds = "pods,jobs,persistentvolumeclaims,services,deployments,secrets,configmaps";
    let listed = deployment.cluster.kubectl().run(&["-n", namespace, "get", kinds, "-o", "name"])?;
    Ok(listed.lines().filter(|name| *name != "configmap/kube-root-ca.crt").map(str::to_owned).collect())
}

#[test]
fn an_empty_claim_that_git_made_gets_its_data_once_and_no_object_is_made() -> Result<()> {
    let test = "an_empty_claim_that_git_made_gets_its_data_once_and_no_object_is_made";
    let Some(deployment) = deployment(test)? else { return Ok(()) };
    let held = saved(deployment, "git")?;
    let kubectl = deployment.cluster.kubectl();
    kubectl.run(&["delete", "namespace", "git", "--timeout=300s"])?;
    // The claim is not bound: its class waits for its first consumer. Its namespace lets hardly any pod in.
    empty_claim(deployment, "git")?;
    kubectl.run(&["label", "namespace", "git", "pod-security.kubernetes.io/enforce=restricted"])?;
    let once = json!({ "trysail.io/once": "2026-11" });
    let (phase, said) = restore(deployment, "git-1", "git", &once)?;
    ensure!(phase == "Completed", "{said}\n{}", deployment.words());
    assert_eq!(objects(deployment, "git")?, ["persistentvolumeclaim/data"]);
    let filled = claim(deployment, "git")?;
    assert_eq!(filled["metadata"]["annotations"]["trysail.io/restored-once"], "2026-11");
    assert_eq!(filled["metadata"]["labels"], Value::Null);
    kubectl.run(&["label", "namespace", "git", "pod-security.kubernetes.io/enforce-"])?;
    assert_eq!(within(deployment, "git", DESCRIBE)?, held);

    // The same Restore comes again with the next bootstrap; meanwhile people have worked.
    within(deployment, "git", "echo newer > /data/other; rm /data/soft")?;
    let (phase, said) = restore(deployment, "git-2", "git", &once)?;
    let left = "PersistentVolumeClaim git/data is left alone: it was restored once as \"2026-11\"";
    ensure!(phase == "Completed" && said.contains(left), "{phase}\n{said}");
    assert_eq!(within(deployment, "git", "cat /data/other; ls -A /data")?, "newer\ndir\nother\npipe\n");
    Ok(())
}

#[test]
fn a_claim_that_is_not_empty_is_refused_by_name_and_overwritten_in_part_or_whole_when_that_is_said() -> Result<()> {
    let test = "a_claim_that_is_not_empty_is_refused_by_name_and_overwritten_in_part_or_whole_when_that_is_said";
    let Some(deployment) = deployment(test)? else { return Ok(()) };
    saved(deployment, "full")?;
    within(deployment, "full", "cd /data && echo edited > other && rm -r dir && touch extra")?;
    let look = "cd /data && ls -A; cat dir/file other";

    let (phase, said) = restore(deployment, "full-1", "full", &json!({}))?;
    let refused = "PersistentVolumeClaim full/data: the volume is not empty: it holds ";
    ensure!(phase == "PartiallyFailed" && said.contains(refused), "{phase}\n{said}");
    assert_eq!(within(deployment, "full", "cd /data && ls -A")?, "extra\nother\npipe\nsoft\n");

    let overwrite = json!({ "trysail.io/overwrite": "true", "trysail.io/paths": "dir" });
    let (phase, said) = restore(deployment, "full-2", "full", &overwrite)?;
    ensure!(phase == "Completed", "{phase}\n{said}");
    assert_eq!(within(deployment, "full", look)?, "dir\nextra\nother\npipe\nsoft\nkept\nedited\n");

    let missing = json!({ "trysail.io/overwrite": "true", "trysail.io/paths": "dir/file\ntypo" });
    let (phase, said) = restore(deployment, "full-3", "full", &missing)?;
    ensure!(phase == "PartiallyFailed" && said.contains("it has no entry \"typo\""), "{phase}\n{said}");

    let annotations = "trysail.io/data-only=true,trysail.io/overwrite=true";
    let create = ["restore", "create", "full-4", "--from-backup", "full", "--annotations", annotations, "--wait"];
    deployment.velero(Tool::Velero118, &create)?;
    let (phase, said) = ended(deployment, "full-4")?;
    ensure!(phase == "Completed", "{phase}\n{said}");
    assert_eq!(within(deployment, "full", look)?, "dir\nextra\nother\npipe\nsoft\nkept\nwhole\n");
    Ok(())
}

#[test]
fn under_a_pod_that_writes_nothing_is_written_until_it_is_gone() -> Result<()> {
    let test = "under_a_pod_that_writes_nothing_is_written_until_it_is_gone";
    let Some(deployment) = deployment(test)? else { return Ok(()) };
    let held = saved(deployment, "busy")?;
    let kubectl = deployment.cluster.kubectl();
    empty_claim(deployment, "used")?;
    start(deployment, "used", "true")?;
    let mapped = json!({ "namespaceMapping": { "busy": "used" } });
    let briefly = json!({ "namespaceMapping": { "busy": "used" }, "itemOperationTimeout": "3s" });
    let mounted = "PersistentVolumeClaim used/data is mounted for writing by pod app: scale down what owns it";

    apply(deployment, "busy-1", "busy", &json!({}), &briefly)?;
    let (phase, said) = ended(deployment, "busy-1")?;
    ensure!(phase == "PartiallyFailed" && said.contains(mounted), "{phase}\n{said}");
    assert_eq!(kubectl.run(&["-n", "used", "exec", "app", "--", "ls", "-A", "/data"])?, "");

    apply(deployment, "busy-2", "busy", &json!({}), &mapped)?;
    deployment.until("the Restore says for which pod it waits", |_| {
        let field = "--field-selector=involvedObject.name=busy-2,reason=Waiting";
        let told = kubectl.run(&["-n", "velero", "get", "events", field, "-o", "jsonpath={.items[*].message}"])?;
        Ok(told.contains(mounted).then_some(()))
    })?;
    stop(deployment, "used")?;
    let (phase, said) = ended(deployment, "busy-2")?;
    ensure!(phase == "Completed", "{phase}\n{said}");
    assert_eq!(start(deployment, "used", DESCRIBE)?, held);

    // What is asked for is done: under a pod that goes on.
    kubectl.run(&["-n", "used", "exec", "app", "--", "rm", "/data/other"])?;
    apply(deployment, "busy-3", "busy", &json!({ "trysail.io/overwrite": "true" }), &mapped)?;
    let (phase, said) = ended(deployment, "busy-3")?;
    ensure!(phase == "Completed", "{phase}\n{said}");
    assert_eq!(start(deployment, "used", DESCRIBE)?, held);
    Ok(())
}

#[test]
fn what_cannot_be_restored_is_named_with_what_is_to_be_done() -> Result<()> {
    let Some(deployment) = deployment("what_cannot_be_restored_is_named_with_what_is_to_be_done")? else {
        return Ok(());
    };
    saved(deployment, "named")?;
    let briefly = |to: &str| json!({ "namespaceMapping": { "named": to }, "itemOperationTimeout": "2s" });
    apply(deployment, "named-1", "named", &json!({}), &briefly("nowhere"))?;
    let (phase, said) = ended(deployment, "named-1")?;
    let absent = "PersistentVolumeClaim nowhere/data is not there, and a restore of data alone makes no objects: apply it and restore again";
    ensure!(phase == "PartiallyFailed" && said.contains(absent), "{phase}\n{said}");

    let nothing = json!({ "labelSelector": { "matchLabels": { "kubernetes.io/metadata.name": "typo" } } });
    apply(deployment, "named-2", "named", &json!({}), &nothing)?;
    let (phase, said) = ended(deployment, "named-2")?;
    ensure!(
        phase == "PartiallyFailed" && said.contains("the backup has no claim that this restore selects"),
        "{phase}\n{said}"
    );

    restore(deployment, "named-3", "named", &json!({ "trysail.io/overwrite": "yes" }))?;
    let refused = deployment.object("restore", "named-3")?;
    let problem = "annotation trysail.io/overwrite is \"yes\"; it is \"true\" or \"false\"";
    assert_eq!(
        (&refused["status"]["phase"], &refused["status"]["validationErrors"]),
        (&json!("FailedValidation"), &json!([problem]))
    );
    Ok(())
}
