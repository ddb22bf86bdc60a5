//! `make cluster`: a shell on a new test cluster, which goes away with the shell.
//!
//! `cluster [--nodes N] [COMMAND [ARGUMENT]…]` runs a command instead, and ends as that ends.

use std::{
    env,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use trysail_tests::{
    cluster::{Cluster, ClusterOptions},
    minio::{ACCESS_KEY, SECRET_KEY},
    program::guarded,
    tools::Tool,
};

/// What is on the `PATH` beside `kubectl`.
const TOOLS: [Tool; 3] = [Tool::Mc, Tool::Velero113, Tool::Velero118];

fn main() -> Result<ExitCode> {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let mut nodes = 1;
    if arguments.first().is_some_and(|first| first == "--nodes") {
        nodes = arguments.get(1).context("--nodes takes a number")?.parse().context("--nodes takes a number")?;
        arguments.drain(..2);
    }
    if !Cluster::can_start("a cluster")? {
        bail!("this computer cannot run a cluster");
    }
    let cluster = Cluster::start(ClusterOptions { nodes })?;
    let code = run(&cluster, &arguments)?;
    drop(cluster);
    Ok(ExitCode::from(code))
}

fn run(cluster: &Cluster, arguments: &[String]) -> Result<u8> {
    let mut command = if let Some((program, rest)) = arguments.split_first() {
        let mut command = guarded(Path::new(program));
        command.args(rest);
        command
    } else {
        let shell = env::var_os("SHELL").map_or_else(|| PathBuf::from("bash"), PathBuf::from);
        introduce(cluster)?;
        guarded(&shell)
    };
    let tools: &[Tool] = if arguments.is_empty() { &TOOLS } else { &[] };
    let path = env::var_os("PATH").unwrap_or_default();
    let path = [cluster.make_programs(tools)?.to_owned()].into_iter().chain(env::split_paths(&path));
    let endpoint = cluster.minio().endpoint();
    let status = command
        .env("PATH", env::join_paths(path)?)
        .env("KUBECONFIG", cluster.kubeconfig())
        .env("MC_HOST_t", endpoint.replace("://", &format!("://{ACCESS_KEY}:{SECRET_KEY}@")))
        .env("TRYSAIL_CLUSTER", cluster.instance().directory())
        .status()
        .context("start the command")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn introduce(cluster: &Cluster) -> Result<()> {
    let mut out = std::io::stderr();
    writeln!(out, "kubectl, mc (alias t), velero-1.13 and velero-1.18 are on the PATH.")?;
    writeln!(out, "MinIO  {}  {ACCESS_KEY} {SECRET_KEY}", cluster.minio().endpoint())?;
    writeln!(out, "logs   {}", cluster.logs().display())?;
    for node in cluster.nodes() {
        let (name, pid) = (node.machine().name(), node.machine().pid());
        writeln!(out, "{name}  {}  nsenter -t {pid} -m -n -p -i -u", node.address())?;
    }
    writeln!(out, "The cluster goes away with this shell.")?;
    Ok(())
}
