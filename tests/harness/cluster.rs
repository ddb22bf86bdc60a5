//! Whole Kubernetes clusters on one computer, for as long as a test needs them.
//!
//! A cluster is one machine `lan` with MinIO, and nodes `node1`, `node2`, each a set of namespaces; the control plane runs on
//! the first node. Programs are children of this process that have entered the namespaces. The namespaces are held by a
//! keeper outside, which clears everything away when this process ends, however that happens.

pub mod addons;
pub mod instance;
pub mod machine;
pub mod network;
pub mod node;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result, ensure};

use self::{instance::Instance, network::Network, node::Node};
use crate::{
    control_plane::{ControlPlane, wait_until},
    image,
    kubectl::Kubectl,
    minio::Minio,
    pki::Pki,
    prerequisites::{Rights, are_met, find},
    program::Program,
    tools::Tool,
};

/// Nodes of one cluster at most.
const MAX_NODES: u8 = 4;

/// MinIO's port.
const MINIO_PORT: u16 = 9000;

/// The API server's.
const API_PORT: u16 = 6443;

/// etcd's, for clients and peers.
const ETCD_PORTS: [u16; 2] = [2379, 2380];

/// Programs that a cluster is made of and that are not built, and the Debian packages that bring them: `containerd`,
/// `runc`, `containernetworking-plugins`, `nftables`, `iproute2`, `procps`, `util-linux`, `mount`, `busybox-static`.
const PROGRAMS: [&str; 11] =
    ["bash", "busybox", "containerd", "ctr", "ip", "mount", "nft", "nsenter", "runc", "sysctl", node::BRIDGE];

/// What a test wants.
#[derive(Debug, Clone, Copy)]
pub struct ClusterOptions {
    /// How many nodes, from 1.
    pub nodes: u8,
}

/// A running cluster. Dropping it ends it, and nothing of it stays.
#[derive(Debug)]
pub struct Cluster {
    // Fields are dropped in this order: after the instance no process of the others is left.
    instance: Instance,
    _programs: Vec<Program>,
    minio: Minio,
    kubectl: Kubectl,
    nodes: Vec<Node>,
    network: Network,
    programs: PathBuf,
}

impl Cluster {
    /// Whether this computer can run clusters; see `prerequisites`.
    pub fn can_start(what: &str) -> Result<bool> {
        are_met(what, &PROGRAMS, Rights::Root)
    }

    /// Starts a cluster and waits until its nodes are Ready and take pods.
    pub fn start(options: ClusterOptions) -> Result<Self> {
        ensure!((1..=MAX_NODES).contains(&options.nodes), "a cluster has 1 to {MAX_NODES} nodes");
        let kubernetes = Tool::Kubernetes.path()?;
        let provisioner = Tool::LocalPathProvisioner.path()?;
        let names = (1..=options.nodes).map(|index| format!("node{index}"));
        let names: Vec<String> = ["lan".to_owned()].into_iter().chain(names).collect();
        let (instance, mut nodes) = Instance::start(&names)?;
        let lan = nodes.remove(0);
        let network = Network::make(&instance, &lan, &nodes)?;
        let nodes: Vec<Node> =
            (1..).zip(nodes).map(|(index, machine)| Node::new(machine, index, network.node(index))).collect();
        let logs = instance.logs();
        let images = thread::spawn(images);
        let first = nodes.first().context("a cluster has a node")?;
        let pki = Pki::new(instance.directory().join("pki"))?;
        let control_plane = ControlPlane {
            address: first.address(),
            bind: Ipv4Addr::UNSPECIFIED,
            port: API_PORT,
            etcd: ETCD_PORTS,
            data: Path::new("/run/etcd"),
            logs: &logs,
            pki: &pki,
            kubernetes: &kubernetes,
        };
        let kubectl = control_plane.issue()?;
        let containerds: Vec<_> = nodes.iter().map(|node| node.start_containerd(&logs)).collect::<Result<_>>()?;
        let mut programs = control_plane.start(&kubectl, |program| first.machine().command(program))?;
        programs.extend(containerds);
        for node in &nodes {
            programs.extend(node.start_kubelet(&kubernetes, &pki, &control_plane.url(), &logs)?);
        }
        let paths = [kubernetes.as_path(), provisioner.as_path(), logs.as_path()];
        let url = control_plane.url();
        programs.extend(addons::start(first.machine(), first.address(), &kubectl, &pki, &url, paths)?);
        let minio = start_minio(network.lan, &lan)?;
        let images = images.join().map_err(|_| anyhow::anyhow!("the making of images panicked"))??;
        for (node, image) in nodes.iter().flat_map(|node| images.iter().map(move |image| (node, image))) {
            node.load_image(image)?;
        }
        wait_until_ready(&kubectl, &mut programs, &nodes)?;
        let bin = instance.directory().join("bin");
        Ok(Self { instance, _programs: programs, minio, kubectl, nodes, network, programs: bin })
    }

    /// An administrator's client.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Which server, and as administrator; good on this computer and in the cluster's namespaces.
    pub fn kubeconfig(&self) -> &Path {
        self.kubectl.kubeconfig()
    }

    /// Its nodes, the first of which carries the control plane.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The S3 server on the cluster's network: its address is good in pods, on nodes and on this computer.
    pub fn minio(&self) -> &Minio {
        &self.minio
    }

    /// Addresses.
    pub fn network(&self) -> Network {
        self.network
    }

    /// What the cluster has on this computer.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// One file for each program that writes a log.
    pub fn logs(&self) -> PathBuf {
        self.instance.logs()
    }

    /// Makes an image known to all nodes, from an archive as `docker save` writes it or of OCI. Pods name it with
    /// `imagePullPolicy: Never`.
    pub fn load_image(&self, archive: &[u8]) -> Result<()> {
        self.nodes.iter().try_for_each(|node| node.load_image(archive))
    }

    /// Makes a directory for `PATH` with `kubectl` and these tools by name.
    pub fn make_programs(&self, tools: &[Tool]) -> Result<&Path> {
        fs::create_dir_all(&self.programs)?;
        symlink(Tool::Kubernetes.path()?, self.programs.join("kubectl"))?;
        for tool in tools {
            symlink(tool.path()?, self.programs.join(tool.name()))?;
        }
        Ok(&self.programs)
    }
}

/// The images that every node has.
fn images() -> Result<Vec<Vec<u8>>> {
    let busybox = find("busybox").context("busybox is installed")?;
    Ok(vec![image::of_program(image::PAUSE, &Tool::Pause.path()?)?.archive, image::of_busybox(&busybox)?.archive])
}

fn start_minio(address: Ipv4Addr, lan: &machine::Machine) -> Result<Minio> {
    let scratch = tempfile::tempdir_in(lan.directory())?;
    let data = scratch.path().join("data");
    fs::create_dir(&data)?;
    Minio::start_at(SocketAddr::from((address, MINIO_PORT)), &data, scratch, |program| lan.command(program))
}

fn wait_until_ready(kubectl: &Kubectl, programs: &mut [Program], nodes: &[Node]) -> Result<()> {
    let ready = "jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
    wait_until(programs, "all nodes are Ready", || {
        let ready = kubectl.run(&["get", "nodes", "-o", ready])?;
        Ok(ready.split_whitespace().filter(|status| *status == "True").count() == nodes.len())
    })
}
