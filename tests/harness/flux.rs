//! Flux beside a test cluster: its controllers as programs on the first node, and a Git server from which they fetch.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    cluster::{Cluster, machine::Machine},
    deployment::LIMIT,
    kubectl::Kubectl,
    prerequisites::find,
    program::Program,
    tools::Tool,
    wait,
};

/// The programs that this takes besides those of clusters, for `prerequisites`.
pub const PROGRAMS: [&str; 1] = ["git"];

/// The namespace of Flux's objects, and the name of the source and of the Kustomization of all.
pub const SYSTEM: &str = "flux-system";

/// The Git server's port.
const GIT_PORT: u16 = 8010;

/// Where the source-controller offers what it fetched, on loopback of its node.
const STORAGE: &str = "127.0.0.1:9790";

/// Running controllers, and a repository with one branch, `main`. Dropping it ends them.
#[derive(Debug)]
pub struct Flux {
    kubectl: Kubectl,
    bare: PathBuf,
    checkout: TempDir,
    _programs: Vec<Program>,
}

impl Flux {
    /// Starts an empty repository and the controllers, and defines their kinds.
    pub fn start(cluster: &Cluster) -> Result<Self> {
        let node = cluster.nodes().first().context("a node")?;
        let own = node.machine().directory().join("flux");
        let (bare, pages, storage) = (own.join("home.git"), own.join("www"), own.join("storage"));
        fs::create_dir_all(pages.join("cgi-bin"))?;
        fs::create_dir_all(&storage)?;
        let checkout = tempfile::tempdir()?;
        git(&own, &["init", "--quiet", "--bare", "--initial-branch=main", "home.git"])?;
        git(checkout.path(), &["init", "--quiet", "--initial-branch=main"])?;
        serve(&pages, &own)?;
        let kubectl = cluster.kubectl().clone();
        for tool in [Tool::SourceController, Tool::KustomizeController] {
            for file in tool.definitions()? {
                kubectl.apply(&fs::read_to_string(file)?)?;
            }
        }
        kubectl.run(&["wait", "crd", "--all", "--for=condition=Established", "--timeout=300s"])?;
        kubectl.apply_object(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": SYSTEM } }))?;
        let address = format!("{}:{GIT_PORT}", node.address());
        kubectl.apply_object(&source(&address))?;
        let logs = cluster.logs();
        let start = |name: &str, command| Program::start(name, command, &logs.join(format!("{name}.log")));
        let mut server = node.machine().command(find("busybox").context("busybox is installed")?);
        server.args(["httpd", "-f", "-p", &address, "-h"]).arg(&pages);
        let mut fetch = controller(node.machine(), Tool::SourceController, 9791, cluster.kubeconfig())?;
        fetch.args(["--storage-addr", STORAGE, "--storage-adv-addr", STORAGE, "--storage-path"]).arg(&storage);
        let mut apply = controller(node.machine(), Tool::KustomizeController, 9793, cluster.kubeconfig())?;
        apply.args(["--requeue-dependency", "2s"]);
        let programs =
            vec![start("git", server)?, start("source-controller", fetch)?, start("kustomize-controller", apply)?];
        Ok(Self { kubectl, bare, checkout, _programs: programs })
    }

    /// The checkout, in which files are changed and then pushed.
    pub fn checkout(&self) -> &Path {
        self.checkout.path()
    }

    /// Commits all files of the checkout and pushes them; the commit.
    pub fn push(&self, message: &str) -> Result<String> {
        git(self.checkout(), &["add", "--all"])?;
        git(self.checkout(), &["commit", "--quiet", "--message", message])?;
        self.publish()
    }

    /// Takes the last commit back by another one; that commit.
    pub fn revert(&self) -> Result<String> {
        git(self.checkout(), &["revert", "--no-edit", "HEAD"])?;
        self.publish()
    }

    fn publish(&self) -> Result<String> {
        git(self.checkout(), &["push", "--quiet", self.bare.to_str().context("a path in UTF-8")?, "main"])?;
        Ok(git(self.checkout(), &["rev-parse", "HEAD"])?.trim().to_owned())
    }

    /// Asks for the newest commit, as `flux reconcile source git` does, and waits until these Kustomizations have applied it
    /// and say that they are ready.
    pub fn reconcile(&self, commit: &str, kustomizations: &[&str]) -> Result<()> {
        let asked = format!("reconcile.fluxcd.io/requestedAt={commit}");
        let source = format!("gitrepository/{SYSTEM}");
        self.kubectl.run(&["-n", SYSTEM, "annotate", "--overwrite", &source, &asked])?;
        let mut last = Value::Null;
        let waited = wait::until("Flux has applied the commit", LIMIT, || {
            last = self.kubectl.get(&["kustomizations.kustomize.toolkit.fluxcd.io", "-n", SYSTEM])?;
            let items = last["items"].as_array().context("a list")?;
            let is_done =
                |name: &&str| items.iter().any(|item| item["metadata"]["name"] == **name && has_applied(item, commit));
            Ok(kustomizations.iter().all(is_done).then_some(()))
        });
        waited.with_context(|| {
            let source = self.kubectl.run(&["-n", SYSTEM, "get", &source, "-o", "jsonpath={.status}"]);
            let told = |item: &Value| format!("{}: {}", item["metadata"]["name"], item["status"]["conditions"]);
            let items = last["items"].as_array().map(|items| items.iter().map(told).collect::<Vec<_>>().join("\n"));
            format!("{source:?}\n{}", items.unwrap_or_default())
        })
    }
}

/// Whether a Kustomization is ready with a commit.
fn has_applied(kustomization: &Value, commit: &str) -> bool {
    let status = &kustomization["status"];
    let ready = status["conditions"].as_array().and_then(|all| all.iter().find(|one| one["type"] == "Ready"));
    status["lastAppliedRevision"].as_str().is_some_and(|revision| revision.ends_with(commit))
        && status["observedGeneration"] == kustomization["metadata"]["generation"]
        && ready.is_some_and(|ready| ready["status"] == "True")
}

/// The repository as Flux knows it.
fn source(address: &str) -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": { "namespace": SYSTEM, "name": SYSTEM },
        "spec": { "interval": "1h", "url": format!("http://{address}/cgi-bin/git/home.git"), "ref": { "branch": "main" } },
    })
}

/// Makes the program that answers requests of Git, for a web server that starts it.
fn serve(pages: &Path, repositories: &Path) -> Result<()> {
    let program = pages.join("cgi-bin/git");
    let script = format!(
        "#!/bin/sh\nexport GIT_PROJECT_ROOT={} GIT_HTTP_EXPORT_ALL=1\nexec git http-backend\n",
        repositories.display()
    );
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).context("make a program of it")
}

/// A controller that serves metrics and health on this port and the next.
fn controller(machine: &Machine, tool: Tool, port: u16, kubeconfig: &Path) -> Result<Command> {
    let mut command = machine.command(tool.path()?);
    command.env("KUBECONFIG", kubeconfig).env("RUNTIME_NAMESPACE", SYSTEM).args([
        "--metrics-addr",
        &format!("127.0.0.1:{port}"),
        "--health-addr",
        &format!("127.0.0.1:{}", port + 1),
    ]);
    Ok(command)
}

/// Runs Git without settings of this computer; what it prints.
fn git(directory: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .current_dir(directory)
        .args(arguments)
        .stdin(Stdio::null())
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_SYSTEM", "/dev/null")])
        .envs([("GIT_AUTHOR_NAME", "home"), ("GIT_AUTHOR_EMAIL", "home@localhost")])
        .envs([("GIT_COMMITTER_NAME", "home"), ("GIT_COMMITTER_EMAIL", "home@localhost")])
        .output()
        .context("start git")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git {}: {error}", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
