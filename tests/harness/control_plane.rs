//! etcd, the API server, the controller manager and the scheduler: their arguments, the same with nodes and without.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    audit,
    kubectl::Kubectl,
    pki::{ADMINISTRATORS, Pki, Subject},
    program::Program,
    wait,
};

/// Addresses of services.
pub const SERVICES: &str = "10.96.0.0/16";

/// The first of them, which is the API server's.
const API_SERVICE: &str = "10.96.0.1";

/// Time from start to readiness on a computer that is busy with more than this.
const START_TIME: Duration = Duration::from_mins(5);

/// Where a control plane runs.
#[derive(Debug)]
pub struct ControlPlane<'a> {
    /// Where clients reach the API server. The other programs are reached on loopback alone.
    pub address: Ipv4Addr,
    /// Where the API server listens.
    pub bind: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// etcd's ports for clients and peers.
    pub etcd: [u16; 2],
    /// Where etcd keeps its data.
    pub data: &'a Path,
    /// Where logs go.
    pub logs: &'a Path,
    /// Where certificates are.
    pub pki: &'a Pki,
    /// The program of `Tool::Kubernetes`.
    pub kubernetes: &'a Path,
}

impl ControlPlane<'_> {
    /// `https://address:port`.
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.address, self.port)
    }

    /// Makes the certificates of the API server and the kubeconfig files of the other programs and of the administrator.
    pub fn issue(&self) -> Result<Kubectl> {
        let address = self.address.to_string();
        let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        let hosts = [&[address.as_str(), "127.0.0.1", API_SERVICE, "localhost"][..], &names].concat();
        self.pki.issue("api-server", Subject { user: "kube-apiserver", group: "", hosts: &hosts })?;
        let client = Subject { user: "kube-apiserver-kubelet-client", group: ADMINISTRATORS, hosts: &[] };
        self.pki.issue("kubelet-client", client)?;
        for program in ["kube-controller-manager", "kube-scheduler"] {
            self.pki.kubeconfig(program, &format!("system:{program}"), "", &self.url())?;
        }
        let kubeconfig = self.pki.kubeconfig("administrator", "administrator", ADMINISTRATORS, &self.url())?;
        Ok(Kubectl::new(self.kubernetes.to_owned(), kubeconfig))
    }

    /// Starts all four programs, and returns when the server is ready and pods are admitted. `command` makes a command of
    /// the program's path.
    pub fn start(&self, kubectl: &Kubectl, command: impl Fn(&Path) -> Command) -> Result<Vec<Program>> {
        let start = |name: &str, arguments: Vec<String>| {
            let mut command = command(self.kubernetes);
            command.arg(name).args(arguments);
            Program::start(name, command, &self.logs.join(format!("{name}.log")))
        };
        audit::write_policy(self.logs)?;
        let mut programs = vec![start("etcd", self.etcd())?, start("kube-apiserver", self.api_server())?];
        wait_until(&mut programs, "the API server is ready", || {
            Ok(kubectl.output(&["get", "--raw", "/readyz"], "")?.status.success())
        })?;
        programs.push(start("kube-controller-manager", self.controller_manager())?);
        programs.push(start("kube-scheduler", self.client("kube-scheduler"))?);
        wait_until(&mut programs, "there is a default service account", || {
            Ok(kubectl.output(&["get", "serviceaccount", "default"], "")?.status.success())
        })?;
        Ok(programs)
    }

    fn file(&self, name: &str) -> String {
        self.pki.path(name).display().to_string()
    }

    /// What is written is gone with the test, so nothing is synced to the disk.
    fn etcd(&self) -> Vec<String> {
        let [clients, peers] = self.etcd.map(|port| format!("http://127.0.0.1:{port}"));
        vec![
            format!("--data-dir={}", self.data.display()),
            format!("--listen-client-urls={clients}"),
            format!("--advertise-client-urls={clients}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ]
    }

    fn api_server(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd[0]),
            format!("--advertise-address={}", self.address),
            format!("--bind-address={}", self.bind),
            format!("--secure-port={}", self.port),
            format!("--service-cluster-ip-range={SERVICES}"),
            // kubelets are reached by address: no name server knows the nodes.
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
        ];
        arguments.extend(audit::flags(self.logs));
        if self.address.is_loopback() {
            // No pod asks for the service `kubernetes`, and its endpoint must not be a loopback address.
            arguments.push("--endpoint-reconciler-type=none".to_owned());
        }
        let files = [
            ("client-ca-file", "authority.crt"),
            ("tls-cert-file", "api-server.crt"),
            ("tls-private-key-file", "api-server.key"),
            ("kubelet-certificate-authority", "authority.crt"),
            ("kubelet-client-certificate", "kubelet-client.crt"),
            ("kubelet-client-key", "kubelet-client.key"),
            ("service-account-key-file", "service-accounts.pub"),
            ("service-account-signing-key-file", "service-accounts.key"),
        ];
        arguments.extend(files.map(|(flag, file)| format!("--{flag}={}", self.file(file))));
        arguments
    }

    fn controller_manager(&self) -> Vec<String> {
        let files = [
            ("root-ca-file", "authority.crt"),
            ("service-account-private-key-file", "service-accounts.key"),
            ("cluster-signing-cert-file", "authority.crt"),
            ("cluster-signing-key-file", "authority.key"),
        ];
        let mut arguments = self.client("kube-controller-manager");
        arguments.push("--use-service-account-credentials".to_owned());
        arguments.extend(files.map(|(flag, file)| format!("--{flag}={}", self.file(file))));
        arguments
    }

    /// What the programs that watch the API server share. At the usual 20 requests a second the first service account
    /// would come five seconds late. Their own ports serve nobody here.
    fn client(&self, program: &str) -> Vec<String> {
        vec![
            format!("--kubeconfig={}", self.file(&format!("{program}.kubeconfig"))),
            "--leader-elect=false".to_owned(),
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
            "--secure-port=0".to_owned(),
        ]
    }
}

/// Waits while all programs run. The error quotes their logs, which go with them.
pub fn wait_until(programs: &mut [Program], what: &str, mut is_met: impl FnMut() -> Result<bool>) -> Result<()> {
    let waited = wait::until_true(what, START_TIME, || {
        programs.iter_mut().try_for_each(Program::check)?;
        is_met()
    });
    waited.with_context(|| programs.iter().map(Program::last_words).collect::<Vec<_>>().join("\n\n"))
}

/// Where a control plane's files lie in a directory of its own: etcd's data, certificates, logs.
pub fn directories(root: &Path) -> [PathBuf; 3] {
    ["etcd", "pki", "log"].map(|name| root.join(name))
}
