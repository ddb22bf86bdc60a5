//! A cluster in which everything is wrong, and one in which nothing is.

use serde_json::{Value, json};

use super::*;

fn objects<T: serde::de::DeserializeOwned>(objects: &Value) -> Vec<T> {
    serde_json::from_value(objects.clone()).unwrap()
}

fn location(annotations: &Value, phase: &str, message: &str) -> Value {
    json!([{
        "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
        "metadata": { "name": "default", "annotations": annotations },
        "spec": { "provider": "aws", "default": true, "objectStorage": { "bucket": "b" } },
        "status": { "phase": phase, "message": message },
    }])
}

fn schedule(name: &str, more: &Value, template: &Value) -> Value {
    let mut spec = json!({ "schedule": "@daily", "template": template });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({ "apiVersion": "velero.io/v1", "kind": "Schedule", "metadata": { "name": name }, "spec": spec })
}

fn claim(namespace: &str, name: &str, labels: &Value) -> Value {
    json!({ "metadata": { "namespace": namespace, "name": name, "labels": labels } })
}

fn told(cluster: &Cluster) -> Vec<String> {
    let line =
        |hazard: Hazard| format!("{:?} {}: {} -> {}", hazard.weight, hazard.object, hazard.finding, hazard.remedy);
    hazards(cluster).into_iter().map(line).collect()
}

#[test]
fn each_hazard_is_one_line_with_one_remedy_and_the_worst_come_first() {
    let message = "LifecycleUnsafe: rule a deletes objects; remove it: mc ilm rule rm --id a ALIAS/b; PlaintextTransport: it is http";
    let condition = json!({ "trysail.io/condition": "LifecycleUnsafe,PlaintextTransport" });
    let repository = json!([{
        "apiVersion": "velero.io/v1", "kind": "BackupRepository", "metadata": { "name": "app-default-kopia" },
        "spec": { "backupStorageLocation": "default", "maintenanceFrequency": "1h", "volumeNamespace": "app" },
        "status": { "phase": "NotReady", "message": "RepositoryKeyMissing: no key" },
    }]);
    let backup = json!([{
        "apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": { "name": "nightly-1", "labels": { "velero.io/schedule-name": "nightly" } },
        "spec": {}, "status": { "phase": "PartiallyFailed" },
    }]);
    let template = json!({ "includedNamespaces": ["app"], "labelSelector": { "matchLabels": { "tier": "db" } } });
    let cluster = Cluster {
        namespace: "velero".to_owned(),
        locations: objects(&location(&condition, "Unavailable", message)),
        repositories: objects(&repository),
        schedules: objects(&json!([
            schedule("nightly", &json!({}), &template),
            schedule("resting", &json!({ "paused": true }), &json!({})),
        ])),
        backups: objects(&backup),
        nodes: objects(&json!([{ "metadata": { "name": "n1" } }, { "metadata": { "name": "n2" } }])),
        agents: objects(&json!([
            { "metadata": { "name": "a" }, "spec": { "containers": [], "nodeName": "n1" }, "status": { "phase": "Running" } },
            { "metadata": { "name": "b" }, "spec": { "containers": [], "nodeName": "n2" }, "status": { "phase": "Pending" } },
        ])),
        claims: objects(&json!([
            claim("app", "db", &json!({ "tier": "db" })),
            claim("app", "web", &json!({})),
            claim("other", "x", &json!({})),
            claim("other", "cache", &json!({ "velero.io/exclude-from-backup": "true" })),
        ])),
    };
    expect_test::expect![[r"
        Unsafe backup-location/default: LifecycleUnsafe: rule a deletes objects; remove it: mc ilm rule rm --id a ALIAS/b -> as it says
        Unsafe backup-location/default: PlaintextTransport: it is http -> set config.s3Url of default to https, with caCert where the authority is your own
        Unsafe repo/app-default-kopia: RepositoryKeyMissing: no key -> trysail repo adopt --repo URL --identity FILE, with the identity of one of its recipients
        Unsafe schedule/nightly: its last backup nightly-1 is PartiallyFailed -> trysail backup describe nightly-1
        Unsafe node/n2: no node agent runs there: its volumes are not backed up -> kubectl -n velero describe daemonset node-agent
        Unsafe namespace/app: no schedule takes these claims: web -> trysail schedule create app --schedule @daily --include-namespaces app
        Unsafe namespace/other: no schedule takes these claims: x -> trysail schedule create other --schedule @daily --include-namespaces other
        Advice backup-location/default: no recipients: whoever reads the bucket reads all files and Secrets -> kubectl -n velero annotate bsl default trysail.io/recipients=age1…
        Advice schedule/resting: it is paused and makes no backups -> trysail schedule unpause resting
    "]]
    .assert_eq(&(told(&cluster).join("\n") + "\n"));
}

#[test]
fn where_all_is_well_nothing_is_said_and_without_a_location_that_is_all() {
    let recipients = json!({ "trysail.io/recipients": "age1x" });
    let well = Cluster {
        namespace: "velero".to_owned(),
        locations: objects(&location(&recipients, "Available", "")),
        schedules: objects(&json!([schedule("all", &json!({}), &json!({}))])),
        claims: objects(&json!([claim("app", "db", &json!({}))])),
        ..Cluster::default()
    };
    assert_eq!(told(&well), Vec::<String>::new());
    let bare = told(&Cluster::default());
    let expected = "Unsafe backup-location: there is no location: nothing can be backed up -> trysail backup-location create NAME --default …";
    assert_eq!(bare, [expected]);
}
