//! What makes of nodes a cluster that applications expect: names of services and volumes on demand.
//!
//! CoreDNS and local-path-provisioner run as programs on the first node, not as pods: there is no image to load, and they
//! are ready as soon as the node is.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde_json::json;

use super::machine::Machine;
use crate::{image::BUSYBOX, kubectl::Kubectl, pki::Pki, program::Program};

/// The address of the name server, for pods.
pub const DNS: &str = "10.96.0.10";

/// The class of volumes that a claim gets which names none.
pub const STORAGE_CLASS: &str = "local-path";

/// The service of names, and the rights that CoreDNS needs.
fn names(server: Ipv4Addr) -> String {
    format!(
        r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: "system:coredns"}}
rules:
- {{apiGroups: [""], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]}}
- {{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: "system:coredns"}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:coredns"}}
subjects: [{{kind: User, name: coredns}}]
---
apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system}}
spec: {{clusterIP: {DNS}, ports: [{{name: dns, port: 53, protocol: UDP}}, {{name: dns-tcp, port: 53, protocol: TCP}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: kube-dns, namespace: kube-system, labels: {{kubernetes.io/service-name: kube-dns}}}}
addressType: IPv4
endpoints: [{{addresses: [{server}]}}]
ports: [{{name: dns, port: 53, protocol: UDP}}, {{name: dns-tcp, port: 53, protocol: TCP}}]
"#
    )
}

/// The default class. A volume of type `local` is mounted below `/var/lib/kubelet/pods`, where its files can be backed up;
/// one of type `hostPath`, which the provisioner makes without the annotation, is not.
fn volumes() -> String {
    format!(
        r#"
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: {STORAGE_CLASS}
  annotations: {{defaultVolumeType: local, storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: rancher.io/local-path
volumeBindingMode: WaitForFirstConsumer
reclaimPolicy: Delete
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: local-path-config, namespace: kube-system}}
data:
  setup: |
    #!/bin/sh
    set -eu
    mkdir -m 0777 -p "$VOL_DIR"
  teardown: |
    #!/bin/sh
    set -eu
    rm -rf "$VOL_DIR"
"#
    )
}

/// The pod that makes or removes a volume's directory.
fn volume_pod() -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "volume-pod" },
        "spec": { "containers": [{ "name": "volume-pod", "image": BUSYBOX, "imagePullPolicy": "Never" }] },
    })
    .to_string()
}

/// Starts both on a node. `provisioner` is the program of `Tool::LocalPathProvisioner`.
pub fn start(
    node: &Machine,
    address: Ipv4Addr,
    kubectl: &Kubectl,
    pki: &Pki,
    url: &str,
    [kubernetes, provisioner, logs]: [&Path; 3],
) -> Result<[Program; 2]> {
    kubectl.apply(&format!("{}---{}", names(address), volumes()))?;
    let write = |file: &str, text: &str| -> Result<PathBuf> {
        let path = node.directory().join(file);
        fs::write(&path, text)?;
        Ok(path)
    };
    let kubeconfig = pki.kubeconfig("coredns", "coredns", "", url)?;
    let corefile = format!(
        ".:53 {{\n errors\n kubernetes cluster.local in-addr.arpa {{\n kubeconfig {} test\n }}\n cache 5\n}}\n",
        kubeconfig.display()
    );
    let mut dns = node.command(kubernetes);
    dns.arg("coredns").arg("-conf").arg(write("Corefile", &corefile)?);
    let paths =
        json!({ "nodePathMap": [{ "node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": ["/var/lib/volumes"] }] });
    let mut volumes = node.command(provisioner);
    volumes
        .arg("start")
        .arg("--kubeconfig")
        .arg(kubectl.kubeconfig())
        .arg("--config")
        .arg(write("volumes.json", &paths.to_string())?)
        .arg("--helper-pod-file")
        .arg(write("volume-pod.json", &volume_pod())?)
        .args(["--helper-image", BUSYBOX, "--namespace", "kube-system"])
        .args(["--configmap-name", "local-path-config", "--service-account-name", "default"]);
    Ok([
        Program::start("coredns", dns, &logs.join("coredns.log"))?,
        Program::start("local-path-provisioner", volumes, &logs.join("local-path-provisioner.log"))?,
    ])
}
