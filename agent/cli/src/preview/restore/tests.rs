//! A forecast of a small archive.

use std::sync::Arc;

use expect_test::expect;
use serde_json::{Value, json};
use trysail_cluster::{
    archive::{Reader, Writer},
    discover::Catalog,
    kind::{Item, Kind},
    restore::{
        order::Order,
        plan::{self, Trust},
    },
};

use super::{super::CLAIM, *};

fn kind(plural: &str, kind: &str, group: &str, is_namespaced: bool) -> Arc<Kind> {
    Arc::new(Kind {
        group: group.to_owned(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        is_namespaced,
        aliases: Vec::new(),
    })
}

fn saved(name: &str, spec: &Value, status: &Value, claim: Option<&str>) -> PodVolumeBackup {
    let mut spec = spec.clone();
    for (field, value) in [("backupStorageLocation", "default"), ("node", "n"), ("repoIdentifier", "")] {
        spec[field] = json!(value);
    }
    let annotations = claim.map(|claim| json!({ "velero.io/pvc-name": claim }));
    serde_json::from_value(json!({
        "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup",
        "metadata": { "name": name, "annotations": annotations }, "spec": spec, "status": status,
    }))
    .unwrap()
}

/// The text without spaces at the ends of lines, which no line of this file may have.
fn without_ends(text: &str) -> String {
    text.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

#[test]
fn each_object_and_volume_is_told_with_what_becomes_of_it_and_why() {
    let kinds = [
        kind("namespaces", "Namespace", "", false),
        kind("pods", "Pod", "", true),
        kind("configmaps", "ConfigMap", "", true),
        kind("persistentvolumeclaims", "PersistentVolumeClaim", "", true),
        kind("clusterroles", "ClusterRole", "rbac.authorization.k8s.io", false),
    ];
    let [namespaces, pods, maps, claims, cluster_roles] = kinds.clone();
    let volumes = json!([
        { "name": "d", "persistentVolumeClaim": { "claimName": "data" } }, { "name": "scratch", "emptyDir": {} },
    ]);
    let objects = [
        (namespaces, json!({ "metadata": { "name": "app" } })),
        (
            Arc::clone(&pods),
            json!({ "metadata": { "name": "web", "namespace": "app" }, "spec": { "volumes": volumes } }),
        ),
        (pods, json!({ "metadata": { "name": "job", "namespace": "app" }, "status": { "phase": "Succeeded" } })),
        (Arc::clone(&maps), json!({ "metadata": { "name": "settings", "namespace": "app" } })),
        (maps, json!({ "metadata": { "name": "kept", "namespace": "app" } })),
        (claims, json!({ "metadata": { "name": "data", "namespace": "app" } })),
        (cluster_roles, json!({ "metadata": { "name": "admin" } })),
    ];
    let mut writer = Writer::new(Vec::new(), 0).unwrap();
    for (kind, mut object) in objects {
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        writer.append(Item::new(kind, object)).unwrap();
    }
    let archive = writer.finish().unwrap().0;
    let catalog = Catalog::new(kinds.into());
    let spec = serde_json::from_value(json!({ "namespaceMapping": { "app": "app2" } })).unwrap();
    let rules = Rules::new(&spec, &catalog).unwrap();
    let contents = Contents::read(Reader::new(&archive[..]), &rules).unwrap();
    let of_pod =
        |volume: &str| json!({ "pod": { "kind": "Pod", "namespace": "app", "name": "web" }, "volume": volume });
    let alone = json!({ "pod": { "kind": CLAIM, "namespace": "app", "name": "alone" }, "volume": "alone" });
    let done =
        |bytes: i64| json!({ "phase": "Completed", "snapshotID": "data/01", "progress": { "totalBytes": bytes } });
    let saved = [
        saved("1", &of_pod("d"), &done(3 << 20), Some("data")),
        saved("2", &of_pod("scratch"), &json!({ "phase": "Completed" }), None),
        saved("3", &alone, &done(5), None),
        saved("4", &of_pod("gone"), &json!({ "phase": "Failed", "message": "no node" }), None),
    ];
    let claims: BTreeSet<(String, String)> = [("app".to_owned(), "data".to_owned())].into();
    let order = Order::default();
    let of = |trust| plan::Grounds {
        contents: &contents,
        rules: &rules,
        catalog: &catalog,
        order: &order,
        saved: &claims,
        trust,
    };
    let (plan, unsigned) = (Plan::new(of(Trust::Whole)), Plan::new(of(Trust::Unsigned)));
    let existing = [ItemName::namespaced("configmaps", "app2", "kept")].into();
    let grounds = Grounds {
        contents: &contents,
        rules: &rules,
        plan: &plan,
        unsigned: &unsigned,
        saved: &saved,
        existing: &existing,
    };
    expect![[r"
        ACTION   KIND                                       NAME            WHY
        create   v1/Namespace                               app2
        create   v1/PersistentVolumeClaim                   app2/data
        create   rbac.authorization.k8s.io/v1/ClusterRole   admin
        keep     v1/ConfigMap                               app2/kept       it is there; --existing-resource-policy=update changes it
        create   v1/ConfigMap                               app2/settings
        skip     v1/Pod                                     app2/job        is complete - skipping
        create   v1/Pod                                     app2/web

        ACTION   SNAPSHOT   VOLUME              WHY
        skip     data/01    app2/alone          5 B stay in the backup: no pod that mounts it comes back
        fill     data/01    app2/data           3.0 MiB, with pod app2/web
        skip                app2/web: gone      its files are not in the backup: Failed: no node
        skip                app2/web: scratch   it was empty

        1 objects give rights: they come back only if a trusted key has signed the backup, or with the annotation trysail.io/allow-unsigned=true
        5 objects to create, 0 to update, 1 stay as they are, 1 do not come back; 1 of 4 volumes get their files. Nothing was changed.
    "]].assert_eq(&without_ends(&Forecast::of(&grounds).table()));
}
