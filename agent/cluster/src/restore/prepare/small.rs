//! Kinds with one or two rules of their own.

use serde_json::{Value, json};

use crate::{
    kind::text,
    restore::edit::{each, remove, remove_empty, set},
};

/// Labels by which a job finds its pods; each job gets its own.
///
/// Source: Velero `pkg/restore/actions/job_action.go`.
const OF_JOB: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];

/// On secrets with a token: the account.
const ACCOUNT: &str = "kubernetes.io/service-account.name";

/// On secrets with a token: the UID of the account, which is another one here.
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// On services of an API that the aggregator makes itself.
const AUTOMANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

pub(super) fn job(job: &mut Value) {
    remove(job, "/spec/selector/matchLabels", &OF_JOB);
    remove_empty(job, "/spec/selector", "matchLabels");
    remove_empty(job, "/spec", "selector");
    remove(job, "/spec/template/metadata/labels", &OF_JOB);
}

/// A token is worthless in another cluster: one that Kubernetes made for an account is left out, one that a person asked for
/// is made anew.
///
/// Source: Velero `pkg/restore/actions/secret_action.go`.
pub(super) fn secret(secret: &mut Value) -> Option<&'static str> {
    if text(&secret["type"]) != "kubernetes.io/service-account-token" {
        return None;
    }
    let account = text(&secret["metadata"]["annotations"][ACCOUNT]);
    if text(&secret["metadata"]["name"]).starts_with(&format!("{account}-token-")) {
        return Some("not restored because Kubernetes makes tokens of accounts itself");
    }
    remove(secret, "/metadata/annotations", &[ACCOUNT_UID]);
    remove(secret, "/data", &["token", "ca.crt", "namespace"]);
    remove_empty(secret, "", "data");
    None
}

/// An account gets new tokens. Source: Velero `pkg/restore/actions/service_account_action.go`.
pub(super) fn account(account: &mut Value) {
    let token = format!("{}-token-", text(&account["metadata"]["name"]));
    if let Some(secrets) = account.pointer_mut("/secrets").and_then(Value::as_array_mut) {
        secrets.retain(|secret| !text(&secret["name"]).starts_with(&token));
    }
    remove_empty(account, "", "secrets");
}

/// In version v1 a definition may not keep unknown fields by this switch; its schemas say the same.
///
/// Source: Velero `pkg/restore/actions/crd_v1_preserve_unknown_fields_action.go`.
pub(super) fn definition(definition: &mut Value) {
    let is_v1 = text(&definition["apiVersion"]).ends_with("/v1");
    if !is_v1 || definition["spec"]["preserveUnknownFields"] != true {
        return;
    }
    set(definition, "/spec", "preserveUnknownFields", json!(false));
    for version in each(definition, "/spec/versions") {
        set(version, "/schema/openAPIV3Schema", "x-kubernetes-preserve-unknown-fields", json!(true));
    }
}

/// Source: Velero `pkg/restore/actions/apiservice_action.go`.
pub(super) fn api_service(service: &Value) -> Option<&'static str> {
    let is_automatic = !service["metadata"]["labels"][AUTOMANAGED].is_null();
    is_automatic.then_some("not restored because the API server makes it itself")
}

/// The spec of the pods that an object makes, or of the pod that it is. Source: Velero
/// `pkg/restore/actions/change_image_name_action.go`.
pub(super) fn pod_template<'a>(resource: &str, object: &'a mut Value) -> Option<&'a mut Value> {
    let spec = object.get_mut("spec")?;
    match resource {
        "pods" => Some(spec),
        "deployments.apps"
        | "statefulsets.apps"
        | "daemonsets.apps"
        | "replicasets.apps"
        | "replicationcontrollers"
        | "jobs.batch" => spec.get_mut("template")?.get_mut("spec"),
        "cronjobs.batch" => spec.get_mut("jobTemplate")?.get_mut("spec")?.get_mut("template")?.get_mut("spec"),
        _ => None,
    }
}
