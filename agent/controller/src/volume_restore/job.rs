//! The Job that fills one volume: on one node, with one directory of it, and with no more rights than that takes. Pure.

use std::path::Path;

use k8s_openapi::api::batch::v1::Job;
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};
use trysail_api::{names::label, pod_volume_restore::PodVolumeRestore};

use crate::{Error, Result};

/// Where the directory of the volume is in the Job's container.
const TARGET: &str = "/volume";

/// Where the identities are.
const IDENTITIES: &str = "/identity";

/// How often a pod that dies is followed by another.
const TRIES: i32 = 6;

/// How long an ended Job is kept, for who reads its log.
const KEPT_SECONDS: i32 = 600;

/// What files can have: owners, modes, devices, capabilities. Nothing else is needed to make them.
const CAPABILITIES: [&str; 6] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP"];

/// What a Job is made of besides the transfer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// The server's image.
    pub(super) image: String,
    /// The account under which the server runs.
    pub(super) account: Option<String>,
    /// Names of Secrets with which the image is pulled.
    pub(super) pull_secrets: Vec<String>,
    /// The Secret with identities.
    pub(super) identity: Option<String>,
    /// The Secret and the path of credentials of locations that name none.
    pub(super) credentials: Option<(String, String)>,
}

/// Makes the Job of a transfer, which bears its name.
///
/// # Errors
/// None that is known: what is written here is a Job.
pub(super) fn job(transfer: &PodVolumeRestore, node: &str, directory: &Path, frame: &Frame) -> Result<Job> {
    let name = transfer.name_any();
    let namespace = transfer.namespace().unwrap_or_default();
    let mut volumes = vec![json!({ "name": "volume", "hostPath": { "path": directory, "type": "Directory" } })];
    let mut mounts = vec![json!({ "name": "volume", "mountPath": TARGET })];
    let mut arguments = vec!["node-agent".to_owned(), "restore".to_owned(), name.clone()];
    arguments.extend([format!("--namespace={namespace}"), format!("--target={TARGET}")]);
    let mut environment = Vec::new();
    if let Some(secret) = &frame.identity {
        volumes.push(json!({ "name": "identity", "secret": { "secretName": secret, "defaultMode": 0o400 } }));
        mounts.push(json!({ "name": "identity", "mountPath": IDENTITIES, "readOnly": true }));
        arguments.push(format!("--identities={IDENTITIES}"));
    }
    if let Some((secret, path)) = &frame.credentials {
        let directory = Path::new(path).parent().unwrap_or(Path::new("/credentials"));
        volumes.push(json!({ "name": "credentials", "secret": { "secretName": secret, "defaultMode": 0o400 } }));
        mounts.push(json!({ "name": "credentials", "mountPath": directory, "readOnly": true }));
        environment.push(json!({ "name": "AWS_SHARED_CREDENTIALS_FILE", "value": path }));
    }
    let labels = json!({ "component": "velero", label::POD_VOLUME_RESTORE: trysail_api::names::label_value(&name) });
    let container = json!({
        "name": "restore", "image": frame.image, "imagePullPolicy": "IfNotPresent",
        "command": ["/velero"], "args": arguments, "env": environment, "volumeMounts": mounts,
        "resources": { "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "memory": "512Mi" } },
        "securityContext": {
            "runAsUser": 0, "runAsNonRoot": false, "privileged": false, "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"], "add": CAPABILITIES },
            "seccompProfile": { "type": "RuntimeDefault" },
        },
    });
    let pull_secrets: Vec<Value> = frame.pull_secrets.iter().map(|name| json!({ "name": name })).collect();
    let written = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": name, "namespace": namespace, "labels": labels,
            "ownerReferences": [{
                "apiVersion": PodVolumeRestore::api_version(&()), "kind": PodVolumeRestore::kind(&()),
                "name": name, "uid": transfer.uid(), "controller": true,
            }],
        },
        "spec": {
            "backoffLimit": TRIES, "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    // The scheduler is not asked: the volume is on this node and on no other.
                    "nodeName": node, "restartPolicy": "OnFailure", "tolerations": [{ "operator": "Exists" }],
                    "serviceAccountName": frame.account, "imagePullSecrets": pull_secrets,
                    "hostNetwork": false, "hostPID": false, "hostIPC": false, "enableServiceLinks": false,
                    "containers": [container], "volumes": volumes,
                },
            },
        },
    });
    serde_json::from_value(written).map_err(|_| Error::Broken("the making of a Job"))
}
