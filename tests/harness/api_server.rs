//! A real API server without nodes: etcd, kube-apiserver, kube-controller-manager and kube-scheduler on loopback, as any user.
//!
//! Objects live, namespaces end, owned objects go with their owners; pods stay pending.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::Path,
};

use anyhow::Result;
use tempfile::TempDir;

use crate::{
    control_plane::{ControlPlane, directories},
    kubectl::Kubectl,
    pki::Pki,
    program::{Program, guarded},
    tools::Tool,
};

/// A running API server. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct ApiServer {
    kubectl: Kubectl,
    programs: Vec<Program>,
    scratch: TempDir,
}

impl ApiServer {
    /// Starts on free ports and waits until it is ready. Call it on the test's own thread: it ends with it.
    pub fn start() -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        let kubernetes = Tool::Kubernetes.path()?;
        let [data, pki, logs] = directories(scratch.path());
        fs::create_dir(&logs)?;
        let pki = Pki::new(pki)?;
        let [port, clients, peers] = free_ports()?;
        let control_plane = ControlPlane {
            address: Ipv4Addr::LOCALHOST,
            bind: Ipv4Addr::LOCALHOST,
            port,
            etcd: [clients, peers],
            data: &data,
            logs: &logs,
            pki: &pki,
            kubernetes: &kubernetes,
        };
        let kubectl = control_plane.issue()?;
        let programs = control_plane.start(&kubectl, guarded)?;
        Ok(Self { kubectl, programs, scratch })
    }

    /// An administrator's client.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Which server, and as administrator.
    pub fn kubeconfig(&self) -> &Path {
        self.kubectl.kubeconfig()
    }

    /// A directory that goes with the server.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// An error with its last words if a program has ended.
    pub fn check(&mut self) -> Result<()> {
        self.programs.iter_mut().try_for_each(Program::check)
    }
}

/// Ports that nobody listens on; they are free until somebody else takes them.
fn free_ports() -> Result<[u16; 3]> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners = [listen()?, listen()?, listen()?];
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
