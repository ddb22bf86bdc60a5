//! Promises about the beginning and the end of clusters: several at a time, and nothing stays, whatever ends them (feature
//! `cluster`; needs root, containerd, runc, CNI plugins, nftables and Go).
#![cfg(feature = "cluster")]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use trysail_tests::{
    cluster::{Cluster, ClusterOptions, instance::Instance},
    image::BUSYBOX,
    wait,
};

/// Time until a killed cluster is gone, on a busy computer.
const END_TIME: Duration = Duration::from_mins(5);

/// One test at a time: the last one expects that nobody else takes the number of the cluster that it killed.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a running cluster has on this computer.
#[derive(Debug)]
struct Footprint {
    directory: PathBuf,
    name: String,
    /// Its pid, network and mount namespaces, as links of `/proc/PID/ns` name them.
    namespaces: BTreeSet<PathBuf>,
}

/// What can stay of a cluster.
#[derive(Debug, PartialEq, Eq, Default)]
struct Traces {
    processes: Vec<String>,
    mounts: Vec<String>,
    interface: bool,
    groups: Vec<PathBuf>,
    directory: bool,
}

impl Footprint {
    /// `directory` is that of a running cluster.
    fn of(directory: &Path) -> Result<Self> {
        let number = directory.file_name().context("the directory of a cluster has a name")?.to_string_lossy();
        let mut namespaces = BTreeSet::new();
        for entry in fs::read_dir(directory)? {
            let Ok(pid) = fs::read_to_string(entry?.path().join("pid")) else { continue };
            namespaces.extend(namespaces_of(pid.trim()));
        }
        Ok(Self { directory: directory.to_owned(), name: format!("trysail{number}"), namespaces })
    }

    fn traces(&self) -> Result<Traces> {
        let directory = self.directory.to_str().context("the path is UTF-8")?;
        // This process and its children name the directory, too.
        let own = std::process::id().to_string();
        let mut processes = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let pid = entry?.file_name().to_string_lossy().into_owned();
            let is_in = namespaces_of(&pid).iter().any(|namespace| self.namespaces.contains(namespace));
            let is_about = ["cmdline", "environ"].iter().any(|file| {
                // A process that has just ended says nothing.
                let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                String::from_utf8_lossy(&text).contains(directory)
            });
            if pid != own && (is_in || is_about) {
                processes.push(pid);
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let mut groups = Vec::new();
        for entry in fs::read_dir("/sys/fs/cgroup")? {
            groups.extend(Some(entry?.path().join(&self.name)).filter(|group| group.is_dir()));
        }
        Ok(Traces {
            processes,
            mounts: mounts.lines().filter(|line| line.contains(directory)).map(str::to_owned).collect(),
            interface: Path::new("/sys/class/net").join(&self.name).exists(),
            groups,
            directory: self.directory.exists(),
        })
    }
}

/// Empty for a process that is gone, and for what is no process.
fn namespaces_of(pid: &str) -> Vec<PathBuf> {
    let link = |kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    ["pid", "net", "mnt"].iter().filter_map(|kind| link(kind)).collect()
}

fn parent_of(pid: &str) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    Ok(parent.context("a process has a parent")?.trim().to_owned())
}

fn kill(pid: &str) -> Result<()> {
    let status = Command::new("kill").args(["-KILL", pid]).status()?;
    ensure!(status.success(), "kill {pid}: {status}");
    Ok(())
}

/// A process of its own that runs a cluster with a pod; its directory.
fn start_runner() -> Result<(Child, PathBuf)> {
    let script = "kubectl run pod --image $0 --image-pull-policy Never --command -- sleep infinity >&2 \
                  && kubectl wait --for=condition=Ready pod/pod --timeout=300s >&2 \
                  && echo \"$TRYSAIL_CLUSTER\" && exec sleep infinity";
    let mut runner = Command::new(env!("CARGO_BIN_EXE_cluster"))
        .args(["--nodes", "2", "sh", "-c", script, BUSYBOX])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(runner.stdout.take().context("the runner prints")?).read_line(&mut line)?;
    ensure!(!line.trim().is_empty(), "the cluster did not start");
    Ok((runner, PathBuf::from(line.trim())))
}

#[test]
fn two_clusters_at_once_know_nothing_of_each_other() -> Result<()> {
    if !Cluster::can_start("two_clusters_at_once_know_nothing_of_each_other")? {
        return Ok(());
    }
    let _turn = turn();
    let options = ClusterOptions { nodes: 1 };
    let clusters = [Cluster::start(options)?, Cluster::start(options)?];
    let [one, other] = &clusters;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "only-here" } });
    one.kubectl().apply_object(&namespace)?;
    one.minio().make_bucket("only-here")?;
    let seen = |cluster: &Cluster| -> Result<(String, bool)> {
        let name = cluster.kubectl().run(&["get", "namespace", "only-here", "--ignore-not-found", "-o", "name"])?;
        Ok((name, cluster.minio().mc(&["ls", "t/only-here"]).is_ok()))
    };
    assert_eq!([seen(one)?, seen(other)?], [("namespace/only-here\n".to_owned(), true), (String::new(), false)]);
    let footprints = [Footprint::of(one.instance().directory())?, Footprint::of(other.instance().directory())?];
    drop(clusters);
    for footprint in footprints {
        wait_until_gone(&footprint)?;
    }
    Ok(())
}

/// The kernel removes network namespaces a moment after their last process, so this waits.
fn wait_until_gone(footprint: &Footprint) -> Result<()> {
    let mut last = Traces::default();
    let gone = wait::until_true("the cluster is gone", END_TIME, || {
        last = footprint.traces()?;
        Ok(last == Traces::default())
    });
    gone.with_context(|| format!("{last:?}"))
}

#[test]
fn a_killed_test_leaves_no_process_mount_interface_or_group_behind() -> Result<()> {
    if !Cluster::can_start("a_killed_test_leaves_no_process_mount_interface_or_group_behind")? {
        return Ok(());
    }
    let _turn = turn();
    let (mut runner, directory) = start_runner()?;
    let footprint = Footprint::of(&directory)?;
    let before = footprint.traces()?;
    ensure!(before.processes.len() > 10 && before.interface && before.directory, "nothing to look for: {before:?}");
    ensure!(!before.groups.is_empty(), "nothing to look for: {before:?}");
    runner.kill()?;
    runner.wait()?;
    wait_until_gone(&footprint)
}

#[test]
fn a_test_that_is_killed_with_its_keeper_leaves_only_what_the_next_cluster_clears() -> Result<()> {
    if !Cluster::can_start("a_test_that_is_killed_with_its_keeper_leaves_only_what_the_next_cluster_clears")? {
        return Ok(());
    }
    let _turn = turn();
    let (mut runner, directory) = start_runner()?;
    let footprint = Footprint::of(&directory)?;
    let first = fs::read_to_string(directory.join("node1/pid"))?;
    let unshare = parent_of(first.trim())?;
    kill(&parent_of(&unshare)?)?;
    runner.kill()?;
    runner.wait()?;
    let mut last = Traces::default();
    wait::until_true("no process, mount or interface is left", END_TIME, || {
        last = footprint.traces()?;
        Ok(last.processes.is_empty() && last.mounts.is_empty() && !last.interface)
    })
    .with_context(|| format!("{last:?}"))?;
    // The lowest free number is taken first, so the number of the killed cluster comes within few.
    let mut instances = Vec::new();
    while footprint.directory.exists() && !instances.iter().any(|i: &Instance| i.directory() == footprint.directory) {
        instances.push(Instance::start(&["lan".to_owned()])?.0);
    }
    drop(instances);
    wait_until_gone(&footprint)
}
