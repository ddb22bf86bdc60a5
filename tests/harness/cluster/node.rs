//! containerd, kubelet and kube-proxy of one node, and their configuration.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    addons::DNS,
    machine::{Machine, feed},
    network::{PODS, pods},
};
use crate::{
    image::PAUSE,
    pki::{Pki, Subject},
    program::Program,
    wait,
};

/// containerd's socket, on each node.
const SOCKET: &str = "/run/containerd/containerd.sock";

/// Where Debian puts the CNI plugins.
const CNI_PLUGINS: &str = "/usr/lib/cni";

/// The only one that is used.
pub const BRIDGE: &str = "/usr/lib/cni/bridge";

/// Time until containerd takes images, on a busy computer.
const CONTAINERD_TIME: Duration = Duration::from_mins(5);

/// One node of a cluster.
#[derive(Debug)]
pub struct Node {
    machine: Machine,
    index: u8,
    address: Ipv4Addr,
}

impl Node {
    /// The n-th machine, counted from 1, as a node.
    pub fn new(machine: Machine, index: u8, address: Ipv4Addr) -> Self {
        Self { machine, index, address }
    }

    /// Its namespaces.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Its address on the cluster's network.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Starts containerd and returns when it takes images.
    pub fn start_containerd(&self, logs: &Path) -> Result<Program> {
        let configuration = self.write("containerd.toml", &self.containerd())?;
        let network = self.machine.directory().join("cni");
        fs::create_dir_all(&network)?;
        fs::write(network.join("10-pods.conflist"), self.network().to_string())?;
        let mut command = self.machine.command("containerd");
        command.arg("--config").arg(configuration);
        let mut program = self.start("containerd", command, logs)?;
        wait::until_true("containerd answers", CONTAINERD_TIME, || {
            program.check()?;
            Ok(self.ctr().args(["version"]).output()?.status.success())
        })?;
        Ok(program)
    }

    /// Starts kubelet and kube-proxy, which register the node at the server at `url`.
    pub fn start_kubelet(&self, kubernetes: &Path, pki: &Pki, url: &str, logs: &Path) -> Result<[Program; 2]> {
        let (name, address) = (self.machine.name(), self.address.to_string());
        let user = format!("system:node:{name}");
        let server = format!("{name}-server");
        pki.issue(&server, Subject { user: &user, group: "system:nodes", hosts: &[&address, name] })?;
        let node = pki.kubeconfig(name, &user, "system:nodes", url)?;
        let proxy = pki.kubeconfig(&format!("{name}-proxy"), "system:kube-proxy", "", url)?;
        let mut kubelet = self.machine.command(kubernetes);
        kubelet
            .arg("kubelet")
            .arg("--config")
            .arg(self.write("kubelet.json", &self.kubelet(pki, &server).to_string())?)
            .arg("--kubeconfig")
            .arg(node)
            .arg(format!("--hostname-override={name}"))
            .arg(format!("--node-ip={address}"));
        let mut kube_proxy = self.machine.command(kubernetes);
        kube_proxy
            .arg("kube-proxy")
            .arg("--config")
            .arg(self.write("kube-proxy.json", &self.proxy(&proxy).to_string())?);
        Ok([self.start("kubelet", kubelet, logs)?, self.start("kube-proxy", kube_proxy, logs)?])
    }

    /// Makes an image known to the node, from an archive as `docker save` writes it or of OCI.
    pub fn load_image(&self, archive: &[u8]) -> Result<()> {
        let mut command = self.ctr();
        command.args(["images", "import", "-"]);
        feed(command, archive, "import an image")
    }

    fn ctr(&self) -> std::process::Command {
        let mut command = self.machine.command("ctr");
        command.args(["--address", SOCKET, "--namespace", "k8s.io"]);
        command
    }

    fn start(&self, name: &str, command: std::process::Command, logs: &Path) -> Result<Program> {
        let name = format!("{}-{name}", self.machine.name());
        Program::start(&name, command, &logs.join(format!("{name}.log")))
    }

    fn write(&self, file: &str, text: &str) -> Result<PathBuf> {
        let path = self.machine.directory().join(file);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Without `CAP_SYS_RESOURCE` runc cannot give pods the score of the memory killer that Kubernetes wants:
    /// `restrict_oom_score_adj`.
    fn containerd(&self) -> String {
        let directory = self.machine.directory();
        format!(
            r#"version = 2
root = "{root}"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{network}"
"#,
            root = directory.join("containerd").display(),
            network = directory.join("cni").display(),
        )
    }

    /// Pods have addresses that no packet changes, so a pod sees who asks it.
    fn network(&self) -> Value {
        json!({
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [{
                "type": "bridge",
                "bridge": "pods",
                "isGateway": true,
                "isDefaultGateway": true,
                "hairpinMode": true,
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": pods(self.index) }]],
                    "dataDir": "/var/lib/cni/networks",
                },
            }],
        })
    }

    /// A computer that is full otherwise does not evict the pods of tests, and images stay.
    fn kubelet(&self, pki: &Pki, server: &str) -> Value {
        let group = self.machine.directory();
        let cluster = group.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": { "enabled": false },
                "webhook": { "enabled": true },
                "x509": { "clientCAFile": pki.path("authority.crt") },
            },
            "authorization": { "mode": "Webhook" },
            "tlsCertFile": pki.path(&format!("{server}.crt")),
            "tlsPrivateKeyFile": pki.path(&format!("{server}.key")),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/trysail{cluster}/{}", self.machine.name()),
            "failCgroupV1": false,
            "failSwapOn": false,
            "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
            "clusterDomain": "cluster.local",
            "clusterDNS": [DNS],
            "resolvConf": self.machine.directory().join("resolv.conf"),
            "volumePluginDir": "/var/lib/kubelet/plugins",
            "enforceNodeAllocatable": ["pods"],
            "evictionHard": {
                "memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%",
            },
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "syncFrequency": "5s",
            "nodeStatusUpdateFrequency": "4s",
            "kubeAPIQPS": 500,
            "kubeAPIBurst": 1000,
            "eventRecordQPS": 0,
        })
    }

    /// The limits of connections are the computer's own, which is not ours to change: 0 leaves them.
    fn proxy(&self, kubeconfig: &Path) -> Value {
        json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clusterCIDR": PODS,
            "hostnameOverride": self.machine.name(),
            "clientConnection": { "kubeconfig": kubeconfig },
            "conntrack": { "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
        })
    }
}
