//! Objects of a real API server become an archive: of one namespace, and of the whole cluster (feature `api`; needs Go).
#![cfg(feature = "api")]

use std::{collections::BTreeSet, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::mpsc};
use trysail_api::{backup::BackupSpec, hook::OnError};
use trysail_cluster::{
    archive::{Reader, ResourceList, Writer},
    collect::{Collected, Request, collect},
    discover::discover,
    hooks::{self, Stage},
    kind::Item,
    volumes::{self, Seen, Settings, Source},
};
use trysail_tests::{api_server::ApiServer, kubectl::Kubectl, wait};

/// Time until a controller has done its work, on a busy computer.
const LIMIT: Duration = Duration::from_mins(5);

/// Objects that wait for the archive.
const WAITING: usize = 16;

/// What a backup is made of.
struct Made {
    collected: Collected,
    archive: Vec<u8>,
    list: ResourceList,
    seen: Seen,
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &options).await?;
    Ok(Client::try_from(config)?)
}

/// Collects and archives as the server does: objects go through a bounded channel to a thread that writes.
fn backup(server: &ApiServer, spec: BackupSpec) -> Result<Made> {
    let kubeconfig = server.kubeconfig().to_owned();
    Runtime::new()?.block_on(async move {
        let client = client(&kubeconfig).await?;
        let (sender, mut receiver) = mpsc::channel::<Item>(WAITING);
        let writing = tokio::task::spawn_blocking(move || -> Result<_> {
            let (mut writer, mut seen) = (Writer::new(Vec::new(), 0)?, Seen::default());
            while let Some(item) = receiver.blocking_recv() {
                seen.observe(&item);
                writer.append(item)?;
            }
            let (archive, list) = writer.finish()?;
            Ok((archive, list, seen))
        });
        let request = Request { backup: "b1".to_owned(), spec };
        let collected = collect(&client, &request, sender).await?;
        let (archive, list, seen) = writing.await??;
        Ok(Made { collected, archive, list, seen })
    })
}

fn objects(archive: &[u8]) -> Result<Vec<(String, Value)>> {
    let mut reader = Reader::new(archive);
    let mut objects = Vec::new();
    while let Some(item) = reader.next_item()? {
        if item.path.version.is_none() {
            objects.push((item.path.text(), serde_json::from_slice(&item.json)?));
        }
    }
    Ok(objects)
}

fn names(list: &ResourceList, kind: &str) -> Vec<String> {
    list.get(kind).into_iter().flatten().cloned().collect()
}

fn messages(problems: &trysail_cluster::problem::Problems) -> Vec<&str> {
    problems.kept().iter().map(|problem| problem.message.as_str()).collect()
}

fn words(list: &str) -> Vec<String> {
    list.split(' ').map(str::to_owned).collect()
}

/// A shop with a pod, its claim and volume, a custom kind, an account with cluster-wide rights, and things to leave out.
fn fill(kubectl: &Kubectl) -> Result<()> {
    let metadata = |name: &str| json!({"name": name, "namespace": "shop", "labels": {"app": "shop"}});
    let plain = |name: &str| json!({"name": name});
    for name in ["shop", "other", "out"] {
        kubectl.apply_object(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": plain(name)}))?;
    }
    kubectl.run(&["label", "namespace", "out", "velero.io/exclude-from-backup=true"])?;
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    kubectl.apply_object(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": plain("things.example.org"),
        "spec": {
            "group": "example.org", "scope": "Namespaced", "versions": [version],
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "shortNames": ["th"]},
        },
    }))?;
    let volume = json!({
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
        "local": {"path": "/data"}, "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": "shop", "name": "data"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node1"]},
        ]}]}},
    });
    kubectl.apply_object(
        &json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": plain("pv-data"), "spec": volume}),
    )?;
    let claim = json!({
        "accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "volumeName": "pv-data",
        "resources": {"requests": {"storage": "1Gi"}},
    });
    let claim =
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata("data"), "spec": claim});
    kubectl.apply_object(&claim)?;
    kubectl.apply_object(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata("till")}))?;
    let mount = json!([{"name": "data", "mountPath": "/data"}]);
    let pod = json!({
        "serviceAccountName": "till", "automountServiceAccountToken": false,
        "containers": [{"name": "main", "image": "shop", "volumeMounts": mount}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    });
    kubectl.apply_object(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata("till"), "spec": pod}))?;
    let subjects = json!([{"kind": "ServiceAccount", "namespace": "shop", "name": "till"}]);
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"});
    kubectl.apply_object(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": plain("till-view"), "subjects": subjects, "roleRef": role,
    }))?;
    for namespace in ["shop", "other", "out"] {
        let metadata = json!({"name": "prices", "namespace": namespace});
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"apple": "<2> & more"}});
        kubectl.apply_object(&object)?;
    }
    let mut secret = metadata("left-out");
    secret["labels"] = json!({"velero.io/exclude-from-backup": "true"});
    kubectl.apply_object(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": secret}))?;
    wait::until_true("the server knows the custom kind", LIMIT, || {
        let thing = json!({
            "apiVersion": "example.org/v1", "kind": "Thing", "metadata": metadata("one"),
            "spec": {"nobody knows": [1, 2.5, 9_007_199_254_740_993_u64, null, {"deep": "<>"}]},
        });
        Ok(kubectl.apply_object(&thing).is_ok())
    })?;
    wait::until_true("the claim is bound", LIMIT, || {
        Ok(kubectl.get(&["persistentvolumeclaim", "data", "-n", "shop"])?["status"]["phase"] == "Bound")
    })
}

#[test]
fn a_namespace_becomes_an_archive_with_what_its_objects_need() -> Result<()> {
    let server = ApiServer::start()?;
    fill(server.kubectl())?;
    let made = backup(&server, BackupSpec { included_namespaces: Some(words("shop")), ..BackupSpec::default() })?;
    assert_eq!(messages(&made.collected.report.errors), Vec::<&str>::new());
    let list = &made.list;
    let expected = [
        ("v1/Pod", "shop/till"),
        ("v1/PersistentVolumeClaim", "shop/data"),
        ("v1/PersistentVolume", "pv-data"),
        ("v1/Namespace", "shop"),
        ("example.org/v1/Thing", "shop/one"),
        ("apiextensions.k8s.io/v1/CustomResourceDefinition", "things.example.org"),
        ("rbac.authorization.k8s.io/v1/ClusterRoleBinding", "till-view"),
        ("rbac.authorization.k8s.io/v1/ClusterRole", "view"),
    ];
    for (kind, name) in expected {
        assert_eq!(names(list, kind), [name], "{kind}");
    }
    assert_eq!(names(list, "v1/ServiceAccount"), ["shop/default", "shop/till"]);
    assert!(names(list, "v1/ConfigMap").contains(&"shop/prices".to_owned()));
    assert_eq!(names(list, "v1/Secret"), Vec::<String>::new());
    let places: BTreeSet<&str> = list.values().flatten().filter_map(|name| name.split_once('/')).map(|p| p.0).collect();
    assert_eq!(places, BTreeSet::from(["shop"]));
    let count: usize = list.values().map(BTreeSet::len).sum();
    assert_eq!((made.collected.count, objects(&made.archive)?.len()), (count, count));
    Ok(())
}

#[test]
fn a_stored_object_is_the_object_of_the_server_with_all_its_fields() -> Result<()> {
    let server = ApiServer::start()?;
    fill(server.kubectl())?;
    let made = backup(&server, BackupSpec { included_namespaces: Some(words("shop")), ..BackupSpec::default() })?;
    let stored = objects(&made.archive)?;
    let get =
        |path: &str| stored.iter().find(|(found, _)| found == path).map(|(_, object)| object).context("not stored");
    let live = |arguments: &[&str]| server.kubectl().get(&[arguments, &["--show-managed-fields"]].concat());
    let rows = [
        ("resources/things.example.org/namespaces/shop/one.json", ["things", "one", "-n", "shop"]),
        ("resources/configmaps/namespaces/shop/prices.json", ["configmap", "prices", "-n", "shop"]),
        ("resources/persistentvolumeclaims/namespaces/shop/data.json", ["pvc", "data", "-n", "shop"]),
    ];
    for (path, arguments) in rows {
        assert_eq!(get(path)?, &live(&arguments)?, "{path}");
    }
    Ok(())
}

#[test]
fn the_whole_cluster_becomes_an_archive_without_what_is_excluded() -> Result<()> {
    let server = ApiServer::start()?;
    fill(server.kubectl())?;
    let spec = BackupSpec { include_cluster_resources: Some(true), ..BackupSpec::default() };
    let made = backup(&server, spec)?;
    assert_eq!(messages(&made.collected.report.errors), Vec::<&str>::new());
    let list = &made.list;
    let namespaces = names(list, "v1/Namespace");
    for name in ["default", "kube-system", "other", "shop"] {
        assert!(namespaces.contains(&name.to_owned()), "{name}: {namespaces:?}");
    }
    assert!(!namespaces.contains(&"out".to_owned()), "{namespaces:?}");
    let prices: Vec<String> =
        names(list, "v1/ConfigMap").into_iter().filter(|name| name.ends_with("/prices")).collect();
    assert_eq!(prices, ["other/prices", "shop/prices"]);
    assert!(names(list, "rbac.authorization.k8s.io/v1/ClusterRole").len() > 20);
    assert!(names(list, "apiregistration.k8s.io/v1/APIService").len() > 5);
    assert!(!list.contains_key("events.k8s.io/v1/Event"), "events are stored once, as those of the core group");
    Ok(())
}

#[test]
fn labels_choose_objects_and_bring_what_these_need() -> Result<()> {
    let server = ApiServer::start()?;
    fill(server.kubectl())?;
    // As in Velero, a namespace that is kept out by its label makes all others named ones.
    server.kubectl().run(&["label", "namespace", "out", "velero.io/exclude-from-backup-"])?;
    let selectors = json!([{"matchLabels": {"app": "shop"}}, {"matchLabels": {"app": "none"}}]);
    let spec = BackupSpec { or_label_selectors: serde_json::from_value(selectors)?, ..BackupSpec::default() };
    let made = backup(&server, spec)?;
    assert_eq!(messages(&made.collected.report.errors), Vec::<&str>::new());
    let found: Vec<String> =
        made.list.iter().flat_map(|(kind, names)| names.iter().map(move |name| format!("{kind} {name}"))).collect();
    let expected = [
        "apiextensions.k8s.io/v1/CustomResourceDefinition things.example.org",
        "example.org/v1/Thing shop/one",
        "rbac.authorization.k8s.io/v1/ClusterRole view",
        "rbac.authorization.k8s.io/v1/ClusterRoleBinding till-view",
        "v1/Namespace shop",
        "v1/PersistentVolume pv-data",
        "v1/PersistentVolumeClaim shop/data",
        "v1/Pod shop/till",
        "v1/ServiceAccount shop/till",
    ];
    assert_eq!(found, expected);
    Ok(())
}

#[test]
fn what_a_spec_asks_for_in_vain_is_told() -> Result<()> {
    let server = ApiServer::start()?;
    fill(server.kubectl())?;
    let order = [("pods", "shop/till,shop/gone,till")].map(|(kind, names)| (kind.to_owned(), names.to_owned()));
    let spec = BackupSpec {
        included_namespaces: Some(words("shop nowhere")),
        ordered_resources: Some(order.into()),
        ..BackupSpec::default()
    };
    let made = backup(&server, spec)?;
    assert_eq!(messages(&made.collected.report.errors), ["namespace nowhere of spec.includedNamespaces is not there"]);
    let warnings = messages(&made.collected.report.warnings);
    for expected in
        ["spec.orderedResources: \"till\" is no name of pods", "spec.orderedResources: pods shop/gone is not there"]
    {
        assert!(warnings.contains(&expected), "{warnings:?}");
    }
    let first = objects(&made.archive)?.into_iter().next().map(|(path, _)| path);
    assert_eq!(first.as_deref(), Some("resources/pods/namespaces/shop/till.json"));
    Ok(())
}

#[test]
fn a_list_of_many_pages_is_read_to_its_end() -> Result<()> {
    const MANY: usize = 1203;
    let server = ApiServer::start()?;
    let kubectl = server.kubectl();
    kubectl.apply_object(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "many"}}))?;
    let one = |number: usize| {
        let metadata = json!({"name": format!("m{number}"), "namespace": "many"});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    };
    let items: Vec<Value> = (0..MANY).map(one).collect();
    kubectl
        .run_with(&["create", "-f", "-"], &json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
    let made = backup(&server, BackupSpec { included_namespaces: Some(words("many")), ..BackupSpec::default() })?;
    let maps = names(&made.list, "v1/ConfigMap");
    assert_eq!(maps.iter().filter(|name| name.starts_with("many/m")).count(), MANY);
    Ok(())
}

#[test]
fn a_claim_whose_pod_waits_is_read_by_itself_and_a_hook_in_that_pod_fails() -> Result<()> {
    let server = ApiServer::start()?;
    fill(server.kubectl())?;
    let made = backup(&server, BackupSpec { included_namespaces: Some(words("shop")), ..BackupSpec::default() })?;
    let selected = volumes::select(&made.seen, &Settings::default());
    let sources: Vec<_> = selected.tasks.iter().map(|task| (task.volume.as_str(), task.source.clone())).collect();
    assert_eq!(sources, [("data", Source::Held)]);
    let stored = objects(&made.archive)?;
    let pod = stored.into_iter().find(|(path, _)| path.contains("/pods/")).context("the pod is stored")?.1;
    let kubeconfig = server.kubeconfig().to_owned();
    Runtime::new()?.block_on(async move {
        let client = client(&kubeconfig).await?;
        let (catalog, _) = discover(&client).await?;
        let pod = Item::new(catalog.kind("pods").context("pods")?.clone(), pod);
        let hook = json!([{"name": "freeze", "pre": [{"exec": {"command": ["true"], "onError": "Fail"}}]}]);
        let plan = hooks::of_pod(&pod, &serde_json::from_value::<Vec<_>>(hook)?, Stage::Pre)?;
        assert_eq!(plan.hooks.iter().flatten().map(|hook| hook.on_error).collect::<Vec<_>>(), [Some(OnError::Fail)]);
        let outcome = hooks::exec::run_all(&client, &pod, &plan).await;
        assert_eq!((outcome.attempted, outcome.failed.len(), outcome.is_stopped), (1, 1, true));
        let said = outcome.failed[0].sentence();
        assert!(said.starts_with("hook freeze in container main of pod shop/till cannot be started: "), "{said}");
        Ok(())
    })
}
