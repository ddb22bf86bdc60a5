//! Promises about many things at once on a real cluster (feature `cluster`): two hundred claims, five thousand objects, two nodes.
#![cfg(feature = "cluster")]

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use trysail_tests::{
    application::{back_up, volumes},
    cluster::Cluster,
    deployment::Deployment,
    image::BUSYBOX,
    tools::Tool,
};

/// Claims, and how many of them each pod mounts.
const CLAIMS: usize = 200;
const CLAIMS_OF_A_POD: usize = 20;

const OBJECTS: usize = 5000;

fn list(items: impl Iterator<Item = Value>) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "items": items.collect::<Vec<_>>() })
}

/// A volume that is a directory of the first node, and its claim.
fn volume(number: usize, node: &str) -> [Value; 2] {
    let (name, size) = (format!("data{number:03}"), json!({ "storage": "1Mi" }));
    let here = json!([{ "key": "kubernetes.io/hostname", "operator": "In", "values": [node] }]);
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": name },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": size, "storageClassName": "",
            "claimRef": { "namespace": "many", "name": name }, "local": { "path": format!("/var/lib/volumes/{name}") },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": here }] } },
        },
    });
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "namespace": "many", "name": name },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": size }, "storageClassName": "", "volumeName": name,
        },
    });
    [volume, claim]
}

/// A pod that sleeps, with some of the claims.
fn pod(number: usize) -> Value {
    let claims = (number * CLAIMS_OF_A_POD..(number + 1) * CLAIMS_OF_A_POD).map(|claim| format!("data{claim:03}"));
    let claims: Vec<String> = claims.collect();
    let mounts: Vec<Value> =
        claims.iter().map(|claim| json!({ "name": claim, "mountPath": format!("/{claim}") })).collect();
    let volumes: Vec<Value> =
        claims.iter().map(|claim| json!({ "name": claim, "persistentVolumeClaim": { "claimName": claim } })).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": "many", "name": format!("pod{number}"), "labels": { "app": "many" } },
        "spec": {
            "terminationGracePeriodSeconds": 0, "volumes": volumes,
            "containers": [{
                "name": "main", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sleep", "infinity"],
                "volumeMounts": mounts,
            }],
        },
    })
}

#[test]
fn two_hundred_claims_are_saved_by_one_backup() -> Result<()> {
    if !Cluster::can_start("two_hundred_claims_are_saved_by_one_backup")? {
        return Ok(());
    }
    let deployment = Deployment::start(1)?;
    let kubectl = deployment.cluster.kubectl();
    let machine = deployment.cluster.nodes()[0].machine();
    for number in 0..CLAIMS {
        let directory = machine.volumes().join(format!("data{number:03}"));
        fs::create_dir(&directory)?;
        fs::write(directory.join("file"), format!("of claim {number}\n"))?;
    }
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "many" } });
    kubectl.apply_object(&namespace)?;
    kubectl.apply_object(&list((0..CLAIMS).flat_map(|number| volume(number, machine.name()))))?;
    kubectl.apply_object(&list((0..CLAIMS / CLAIMS_OF_A_POD).map(pod)))?;
    kubectl.run(&["-n", "many", "wait", "--for=condition=Ready", "pod", "-l", "app=many", "--timeout=300s"])?;
    back_up(&deployment, Tool::Velero118, "many", "many")?;
    let saved = volumes(&deployment, "many")?;
    let is_whole = |one: &&Value| one["status"]["phase"] == "Completed" && one["status"]["snapshotID"].is_string();
    assert_eq!(saved.iter().filter(is_whole).count(), CLAIMS);
    // One repository holds them all, and its Leases and objects do not grow with them.
    let repositories = kubectl.get(&["backuprepositories.velero.io", "-n", "velero"])?;
    assert_eq!(repositories["items"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[test]
fn a_namespace_of_five_thousand_objects_is_saved_and_comes_back() -> Result<()> {
    if !Cluster::can_start("a_namespace_of_five_thousand_objects_is_saved_and_comes_back")? {
        return Ok(());
    }
    let deployment = Deployment::start(1)?;
    let kubectl = deployment.cluster.kubectl();
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "large" } });
    kubectl.apply_object(&namespace)?;
    let map = |number: usize| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "namespace": "large", "name": format!("map{number:04}") },
            "data": { "number": number.to_string() },
        })
    };
    let all = list((0..OBJECTS).map(map)).to_string();
    let created = kubectl.output(&["create", "-f", "-"], &all)?;
    ensure!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let backup = back_up(&deployment, Tool::Velero118, "large", "large")?;
    let items = backup["status"]["progress"]["itemsBackedUp"].as_u64().context("progress")?;
    assert!(items >= OBJECTS as u64, "{}", backup["status"]);
    let mapping =
        ["restore", "create", "large", "--from-backup", "large", "--namespace-mappings", "large:again", "--wait"];
    deployment.velero(Tool::Velero118, &mapping)?;
    assert_eq!(deployment.object("restore", "large")?["status"]["phase"], "Completed");
    let names = |namespace: &str| -> Result<usize> {
        let names = kubectl.run(&["-n", namespace, "get", "configmaps", "-o", "name"])?;
        Ok(names.lines().filter(|name| name.starts_with("configmap/map")).count())
    };
    assert_eq!(names("again")?, OBJECTS);
    let one = kubectl.get(&["configmap", "map4321", "-n", "again"])?;
    assert_eq!(one["data"], json!({ "number": "4321" }));
    Ok(())
}

/// A pod on a node, with a claim of the default class.
fn pinned(node: &str) -> [Value; 2] {
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "namespace": "spread", "name": node },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } } },
    });
    let command =
        format!("test -e /data/file || echo on {node} > /data/file; sync; touch /tmp/ready; exec sleep infinity");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": "spread", "name": node, "labels": { "app": "spread" } },
        "spec": {
            "terminationGracePeriodSeconds": 0, "nodeSelector": { "kubernetes.io/hostname": node },
            "containers": [{
                "name": "main", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sh", "-c", command],
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                "readinessProbe": { "exec": { "command": ["test", "-e", "/tmp/ready"] }, "periodSeconds": 1 },
            }],
            "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": node } }],
        },
    });
    [claim, pod]
}

#[test]
fn volumes_of_two_nodes_are_read_and_filled_by_the_agent_of_each() -> Result<()> {
    if !Cluster::can_start("volumes_of_two_nodes_are_read_and_filled_by_the_agent_of_each")? {
        return Ok(());
    }
    let deployment = Deployment::start(2)?;
    let kubectl = deployment.cluster.kubectl();
    let nodes = ["node1", "node2"];
    kubectl.apply_object(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "spread" } }))?;
    kubectl.apply_object(&list(nodes.iter().flat_map(|node| pinned(node))))?;
    let ready = || {
        let wait = ["-n", "spread", "wait", "--for=condition=Ready", "pod", "-l", "app=spread", "--timeout=300s"];
        kubectl.run(&wait).with_context(|| deployment.words())
    };
    ready()?;
    back_up(&deployment, Tool::Velero118, "spread", "spread")?;
    let mut read: Vec<Value> = volumes(&deployment, "spread")?.iter().map(|one| one["spec"]["node"].clone()).collect();
    read.sort_by_key(Value::to_string);
    assert_eq!(read, nodes);
    kubectl.run(&["delete", "namespace", "spread", "--timeout=300s"])?;
    deployment.velero(Tool::Velero118, &["restore", "create", "spread", "--from-backup", "spread", "--wait"])?;
    assert_eq!(deployment.object("restore", "spread")?["status"]["phase"], "Completed", "{}", deployment.words());
    ready()?;
    for node in nodes {
        let held = kubectl.run(&["-n", "spread", "exec", node, "--", "cat", "/data/file"])?;
        assert_eq!(held, format!("on {node}\n"));
    }
    Ok(())
}
