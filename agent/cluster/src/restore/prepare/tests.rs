//! Each special case in a sentence.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    super::{
        mapping::Mappings,
        modify::Modify,
        plan::{Plan, Step},
        rules::tests::rules,
        wait::RestoreWait,
    },
    *,
};
use crate::kind::{Item, tests::kind};

/// What a Restore is told besides the object.
struct World {
    spec: Value,
    mappings: Mappings,
    plan: Plan,
    volumes: BTreeMap<(String, String), Vec<String>>,
    hooks: Value,
}

impl Default for World {
    fn default() -> Self {
        Self {
            spec: json!({}),
            mappings: Mappings::default(),
            plan: Plan::default(),
            volumes: BTreeMap::new(),
            hooks: json!([]),
        }
    }
}

impl World {
    fn moved() -> Self {
        Self { spec: json!({"namespaceMapping": {"app": "app2"}}), ..Self::default() }
    }

    fn outcome(&self, of: &str, object: Value) -> Outcome {
        let rules = rules(self.spec.clone());
        let item = Item::new(kind(of), object);
        let target = item.namespace().map(|namespace| rules.target(namespace).to_owned());
        let step = Step { item: item.full_name(), kind: item.kind.clone(), target, bytes: 0, skip: None };
        let hooks: Vec<_> = serde_json::from_value(self.hooks.clone()).unwrap();
        let preparation = Preparation {
            rules: &rules,
            plan: &self.plan,
            mappings: &self.mappings,
            modify: &Modify::default(),
            hooks: &hooks,
            wait: &RestoreWait::new("trysail:1"),
            volumes: &self.volumes,
            backup: "b1",
            restore: "r1",
            restore_uid: "uid-1",
        };
        preparation.prepare(&step, item)
    }

    fn prepared(&self, of: &str, object: Value) -> Prepared {
        match self.outcome(of, object) {
            Outcome::Make(prepared) => *prepared,
            Outcome::Leave(why) => panic!("left out: {why}"),
        }
    }

    /// What is made of an object, without what is true of all of them.
    fn made(&self, of: &str, mut object: Value) -> Value {
        json_patch::merge(&mut object, &json!({"metadata": {"name": "a"}}));
        if !of.starts_with('*') {
            json_patch::merge(&mut object, &json!({"metadata": {"namespace": "app"}}));
        }
        let mut made = self.prepared(of, object).item.object;
        let labels = made["metadata"]["labels"].as_object_mut().unwrap();
        labels.retain(|key, _| !key.starts_with("velero.io/"));
        for key in ["apiVersion", "kind"] {
            made.as_object_mut().unwrap().shift_remove(key);
        }
        let metadata = made["metadata"].as_object_mut().unwrap();
        for key in ["name", "namespace"] {
            metadata.shift_remove(key);
        }
        if metadata["labels"] == json!({}) {
            metadata.shift_remove("labels");
        }
        if made["metadata"] == json!({}) {
            made.as_object_mut().unwrap().shift_remove("metadata");
        }
        made
    }
}

#[test]
fn what_the_old_cluster_wrote_goes_and_the_rest_stays() {
    let fields = json!([{"manager": "kubectl", "operation": "Update"}]);
    let stored = json!({
        "metadata": {
            "name": "a", "namespace": "app", "uid": "u", "resourceVersion": "1", "generation": 2, "generateName": "a-",
            "selfLink": "/x", "creationTimestamp": "t", "deletionTimestamp": "t", "deletionGracePeriodSeconds": 1,
            "ownerReferences": [{"uid": "o"}], "managedFields": fields, "finalizers": ["example.org/f"],
            "labels": {"x": "1", "velero.io/restore-name": "old"}, "annotations": {"y": "2"},
        },
        "data": {"k": "v"}, "status": {"z": 1},
    });
    let prepared = World::moved().prepared("configmaps v1 ConfigMap", stored);
    let expected = json!({
        "metadata": {
            "name": "a", "namespace": "app2", "finalizers": ["example.org/f"],
            "labels": {"x": "1", "velero.io/restore-name": "r1", "velero.io/backup-name": "b1"}, "annotations": {"y": "2"},
        },
        "data": {"k": "v"}, "apiVersion": "v1", "kind": "ConfigMap",
    });
    assert_eq!((prepared.item.object, prepared.status, prepared.managed_fields), (expected, None, Some(fields)));
}

#[test]
fn a_status_comes_back_where_it_is_asked_for() {
    let world = World { spec: json!({"restoreStatus": {"includedResources": ["deployments"]}}), ..World::default() };
    let object = || json!({"metadata": {"name": "a", "namespace": "app"}, "status": {"replicas": 1}});
    let of = "deployments apps/v1 Deployment";
    let prepared = world.prepared(of, object());
    assert_eq!((prepared.status, prepared.item.object.get("status")), (Some(json!({"replicas": 1})), None));
    assert_eq!(World::default().prepared(of, object()).status, None);
}

#[test]
fn a_pod_is_free_of_its_node_and_of_its_tokens() {
    let token = || json!({"name": "runner-token-x1"});
    let spec = json!({
        "nodeName": "n1", "priority": 5, "priorityClassName": "high", "serviceAccountName": "runner",
        "ephemeralContainers": [{"name": "debug"}],
        "volumes": [token(), {"name": "data"}],
        "containers": [{"name": "c", "volumeMounts": [token(), {"name": "data"}]}],
        "initContainers": [{"name": "i", "volumeMounts": [token()]}, {"name": "restic-wait"}],
    });
    let expected = json!({"spec": {
        "priorityClassName": "high", "serviceAccountName": "runner",
        "volumes": [{"name": "data"}],
        "containers": [{"name": "c", "volumeMounts": [{"name": "data"}]}],
        "initContainers": [{"name": "i", "volumeMounts": []}, {"name": "restic-wait"}],
    }});
    assert_eq!(World::default().made("pods v1 Pod", json!({"spec": spec})), expected);
}

#[test]
fn a_pod_waits_for_its_volumes_before_anything_else_runs() {
    let mut world = World::default();
    world.volumes.insert(("app".to_owned(), "a".to_owned()), vec!["data".to_owned()]);
    world.hooks = json!([{"name": "h", "postHooks": [
        {"init": {"initContainers": [{"name": "hook", "image": "x"}]}}, {"exec": {"command": ["sync"]}},
    ]}]);
    let spec = json!({
        "containers": [{"name": "c", "volumeMounts": [{"name": "data"}]}],
        "initContainers": [{"name": "restore-wait", "image": "old"}, {"name": "own"}, {"name": "hook", "image": "old"}],
    });
    let prepared = world.prepared("pods v1 Pod", json!({"metadata": {"name": "a", "namespace": "app"}, "spec": spec}));
    let init = prepared.item.object["spec"]["initContainers"].as_array().unwrap().clone();
    let names: Vec<&Value> = init.iter().map(|container| &container["name"]).collect();
    assert_eq!(names, ["restore-wait", "hook", "own"]);
    let wait = json!({
        "name": "restore-wait", "image": "trysail:1", "imagePullPolicy": "IfNotPresent",
        "command": ["/velero-restore-helper"], "args": ["uid-1"],
        "env": [
            {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "100m", "memory": "128Mi"}},
        "volumeMounts": [{"name": "data", "mountPath": "/restores/data"}],
        "securityContext": {
            "runAsUser": 0, "capabilities": {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]},
            "allowPrivilegeEscalation": false, "seccompProfile": {"type": "RuntimeDefault"},
        },
    });
    assert_eq!(init[0], wait);
    assert_eq!(prepared.hooks.len(), 1);
}

#[test]
fn a_claim_keeps_its_volume_only_where_that_comes_back() {
    let claim = || {
        let annotations = json!({
            "pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes",
            "volume.kubernetes.io/storage-provisioner": "p", "volume.beta.kubernetes.io/storage-provisioner": "p",
            "volume.kubernetes.io/selected-node": "n1", "own": "1",
        });
        json!({"metadata": {"annotations": annotations}, "spec": {"volumeName": "pv", "storageClassName": "slow"}})
    };
    let of = "persistentvolumeclaims v1 PersistentVolumeClaim";
    let annotations = json!({"annotations": {"own": "1"}});
    let anew = json!({"metadata": annotations, "spec": {"storageClassName": "slow"}});
    assert_eq!(World::default().made(of, claim()), anew);
    let mut world = World::default();
    world.plan.kept.insert("pv".to_owned());
    let kept = json!({"metadata": annotations, "spec": {"volumeName": "pv", "storageClassName": "slow"}});
    assert_eq!(world.made(of, claim()), kept);
    let mut world = World::default();
    world.mappings.classes.insert("slow".to_owned(), "fast".to_owned());
    world.mappings.nodes.insert("n1".to_owned(), "m1".to_owned());
    let mapped = json!({
        "metadata": {"annotations": {"own": "1", "volume.kubernetes.io/selected-node": "m1"}},
        "spec": {"storageClassName": "fast"},
    });
    assert_eq!(world.made(of, claim()), mapped);
}

#[test]
fn a_volume_waits_for_its_claim_in_the_new_namespace() {
    let claim = json!({"namespace": "app", "name": "c", "uid": "u", "resourceVersion": "5"});
    let stored = json!({
        "metadata": {"annotations": {"pv.kubernetes.io/bound-by-controller": "yes", "pv.kubernetes.io/provisioned-by": "p"}},
        "spec": {"claimRef": claim, "persistentVolumeReclaimPolicy": "Retain"},
    });
    let expected = json!({
        "metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": "p"}},
        "spec": {"claimRef": {"namespace": "app2", "name": "c"}, "persistentVolumeReclaimPolicy": "Retain"},
    });
    assert_eq!(World::moved().made("*persistentvolumes v1 PersistentVolume", stored), expected);
}

#[test]
fn classes_in_the_templates_of_a_stateful_set_are_mapped() {
    let mut world = World::default();
    world.mappings.classes.insert("slow".to_owned(), "fast".to_owned());
    let set =
        |class: &str| json!({"spec": {"volumeClaimTemplates": [{"spec": {"storageClassName": class}}, {"spec": {}}]}});
    assert_eq!(world.made("statefulsets apps/v1 StatefulSet", set("slow")), set("fast"));
}

#[test]
fn images_are_mapped_in_pods_and_in_what_makes_pods() {
    let mut world = World::default();
    world.mappings.images.insert("m".to_owned(), "old.example.org,new.example.org".to_owned());
    let pod = |image: &str| json!({"containers": [{"name": "c", "image": image}]});
    let rows = [
        ("pods v1 Pod", "", ""),
        ("deployments apps/v1 Deployment", "/template/spec", ""),
        ("cronjobs batch/v1 CronJob", "/jobTemplate/spec/template/spec", ""),
    ];
    for (of, path, _) in rows {
        let at = |image: &str| {
            path.rsplit('/').filter(|key| !key.is_empty()).fold(pod(image), |inner, key| json!({ key: inner }))
        };
        let (stored, expected) =
            (json!({"spec": at("old.example.org/a:1")}), json!({"spec": at("new.example.org/a:1")}));
        assert_eq!(world.made(of, stored), expected, "{of}");
    }
}

#[test]
fn addresses_and_ports_that_the_cluster_gave_to_a_service_go() {
    let service = |spec: Value, metadata: Value| json!({"metadata": metadata, "spec": spec});
    let of = "services v1 Service";
    let port = |rest: Value| {
        let mut port = json!({"port": 80, "protocol": "TCP"});
        json_patch::merge(&mut port, &rest);
        port
    };
    let given = json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "healthCheckNodePort": 30001, "ports": [port(json!({"nodePort": 30002}))]});
    let spec = |world: &World, object: Value| world.made(of, object)["spec"].take();
    assert_eq!(spec(&World::default(), service(given.clone(), json!({}))), json!({"ports": [port(json!({}))]}));
    let headless = json!({"clusterIP": "None", "clusterIPs": ["None"]});
    assert_eq!(spec(&World::default(), service(headless.clone(), json!({}))), headless);
    let keeps = World { spec: json!({"preserveNodePorts": true}), ..World::default() };
    let kept = json!({"healthCheckNodePort": 30001, "ports": [port(json!({"nodePort": 30002}))]});
    assert_eq!(spec(&keeps, service(given.clone(), json!({}))), kept);
    let applied = |ports: Value| {
        let text = json!({"spec": {"ports": ports, "healthCheckNodePort": 30001}}).to_string();
        json!({"annotations": {"kubectl.kubernetes.io/last-applied-configuration": text}})
    };
    assert_eq!(
        spec(&World::default(), service(given.clone(), applied(json!([{"port": 80, "nodePort": 30002}])))),
        kept
    );
    let named = json!({"ports": [port(json!({"name": "a", "nodePort": 30002})), port(json!({"name": "b", "nodePort": 30003}))]});
    let expected = json!({"ports": [port(json!({"name": "a", "nodePort": 30002})), port(json!({"name": "b"}))]});
    let applied = applied(json!([{"name": "a", "nodePort": 30002}, {"name": "b"}]));
    assert_eq!(spec(&World::default(), service(named, applied)), expected);
    let set =
        json!([{"fieldsV1": {"f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {"f:nodePort": {}}}}}}]);
    let owned = json!({"ports": [port(json!({"nodePort": 30002}))]});
    assert_eq!(spec(&World::default(), service(given, json!({"managedFields": set}))), owned);
}

#[test]
fn a_job_finds_its_pods_by_a_new_label() {
    let labels = || json!({"controller-uid": "u", "batch.kubernetes.io/controller-uid": "u", "app": "x"});
    let stored = json!({"spec": {
        "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}, "template": {"metadata": {"labels": labels()}},
    }});
    let expected = json!({"spec": {"template": {"metadata": {"labels": {"app": "x"}}}}});
    assert_eq!(World::default().made("jobs batch/v1 Job", stored), expected);
}

#[test]
fn tokens_are_left_to_kubernetes() {
    let secret = |name: &str| {
        json!({
            "metadata": {
                "name": name, "namespace": "app",
                "annotations": {"kubernetes.io/service-account.name": "runner", "kubernetes.io/service-account.uid": "u"},
            },
            "type": "kubernetes.io/service-account-token", "data": {"token": "x", "ca.crt": "x", "namespace": "x"},
        })
    };
    let left = World::default().outcome("secrets v1 Secret", secret("runner-token-abc"));
    assert_eq!(left, Outcome::Leave("not restored because Kubernetes makes tokens of accounts itself"));
    let asked = World::default().prepared("secrets v1 Secret", secret("mine")).item.object;
    assert_eq!(asked["metadata"]["annotations"], json!({"kubernetes.io/service-account.name": "runner"}));
    assert_eq!(asked.get("data"), None);
    let opaque = json!({"metadata": {"name": "s", "namespace": "app"}, "type": "Opaque", "data": {"token": "x"}});
    assert_eq!(World::default().prepared("secrets v1 Secret", opaque).item.object["data"], json!({"token": "x"}));
}

#[test]
fn an_account_forgets_its_tokens() {
    let stored = json!({"secrets": [{"name": "a-token-x"}, {"name": "registry"}]});
    assert_eq!(
        World::default().made("serviceaccounts v1 ServiceAccount", stored),
        json!({"secrets": [{"name": "registry"}]})
    );
    let stored = json!({"secrets": [{"name": "a-token-x"}]});
    assert_eq!(World::default().made("serviceaccounts v1 ServiceAccount", stored), json!({}));
}

#[test]
fn subjects_of_bindings_follow_their_namespaces() {
    let binding = |namespace: &str| json!({"subjects": [{"kind": "ServiceAccount", "name": "s", "namespace": namespace}, {"kind": "User", "name": "u"}]});
    for of in [
        "rolebindings rbac.authorization.k8s.io/v1 RoleBinding",
        "*clusterrolebindings rbac.authorization.k8s.io/v1 ClusterRoleBinding",
    ] {
        assert_eq!(World::moved().made(of, binding("app")), binding("app2"));
    }
}

#[test]
fn definitions_webhooks_and_services_of_apis_are_made_fit_for_v1() {
    let of = "*customresourcedefinitions apiextensions.k8s.io/v1 CustomResourceDefinition";
    let stored = json!({"spec": {"preserveUnknownFields": true, "versions": [{"schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let expected =
        json!({"spec": {"preserveUnknownFields": false, "versions": [{"schema": {"openAPIV3Schema": schema}}]}});
    assert_eq!(World::default().made(of, stored), expected);
    let of = "*mutatingwebhookconfigurations admissionregistration.k8s.io/v1 MutatingWebhookConfiguration";
    let hooks = |effects: &str| json!({"webhooks": [{"name": "w", "sideEffects": effects}]});
    assert_eq!(World::default().made(of, hooks("Unknown")), hooks("None"));
    assert_eq!(World::default().made(of, hooks("NoneOnDryRun")), hooks("NoneOnDryRun"));
    let of = "*apiservices apiregistration.k8s.io/v1 APIService";
    let automatic =
        json!({"metadata": {"name": "v1.", "labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"}}});
    let left = Outcome::Leave("not restored because the API server makes it itself");
    assert_eq!(World::default().outcome(of, automatic), left);
}

#[test]
fn an_object_of_any_shape_is_left_as_it_is_and_nothing_breaks() {
    let kinds = [
        "pods v1 Pod",
        "persistentvolumeclaims v1 PersistentVolumeClaim",
        "*persistentvolumes v1 PersistentVolume",
        "services v1 Service",
        "jobs batch/v1 Job",
        "secrets v1 Secret",
        "serviceaccounts v1 ServiceAccount",
        "statefulsets apps/v1 StatefulSet",
        "rolebindings rbac.authorization.k8s.io/v1 RoleBinding",
        "*customresourcedefinitions apiextensions.k8s.io/v1 CustomResourceDefinition",
        "*mutatingwebhookconfigurations admissionregistration.k8s.io/v1 MutatingWebhookConfiguration",
    ];
    let shapes = [
        json!("text"),
        json!(1),
        json!([1, "a", null]),
        json!({"ports": "x", "template": 1, "claimRef": []}),
        json!(null),
    ];
    for of in kinds {
        for shape in &shapes {
            let stored = json!({"metadata": {"annotations": shape}, "spec": shape, "subjects": shape, "webhooks": shape, "data": shape});
            let made = World::default().made(of, stored.clone());
            assert_eq!(made.get("spec"), stored.get("spec"), "{of} {shape}");
        }
    }
}
