//! Running a program and measuring it: wall time, processor time of it and its children, and the peak of their memory.

use std::{
    collections::HashMap,
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// Pause between two looks at the memory of running processes.
const POLL: Duration = Duration::from_millis(3);
/// Ticks of processor time a second in `/proc`; the same on all Linux machines.
const TICKS: f64 = 100.0;

/// What a run cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// Seconds from start to end.
    pub(crate) wall: f64,
    /// Seconds of user and system time.
    pub(crate) cpu: f64,
    /// Peak resident memory of its processes, added, in KiB.
    pub(crate) peak_kib: u64,
}

/// Runs a program to its end. It must succeed. Gives its cost and what it printed.
pub(crate) fn run(command: &mut Command) -> Result<(Cost, String)> {
    let ended = run_to_end(command)?;
    if ended.code != Some(0) {
        bail!("{command:?} ended with {:?}: {}", ended.code, ended.errors);
    }
    Ok((ended.cost, ended.output))
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What it cost.
    pub(crate) cost: Cost,
    /// What it printed.
    pub(crate) output: String,
    /// What it complained of.
    pub(crate) errors: String,
    /// Its exit code, unless a signal ended it.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
}

/// Runs a program to its end, whatever that is.
pub(crate) fn run_to_end(command: &mut Command) -> Result<Ended> {
    let scratch = tempfile::tempdir()?;
    let (out, err) = (scratch.path().join("out"), scratch.path().join("err"));
    command.stdin(Stdio::null()).stdout(fs::File::create(&out)?).stderr(fs::File::create(&err)?);
    let before = children_ticks()?;
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
    let mut peaks = HashMap::new();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        look(child.id(), &mut peaks);
        thread::sleep(POLL);
    };
    let wall = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "ticks of some hours")]
    let cpu = (children_ticks()? - before) as f64 / TICKS;
    Ok(Ended {
        cost: Cost { wall, cpu, peak_kib: peaks.values().sum() },
        output: fs::read_to_string(out)?,
        errors: fs::read_to_string(err)?,
        code: status.code(),
        signal: status.signal(),
    })
}

/// User and system time of all children that have ended and been waited for, with their children.
fn children_ticks() -> Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').context("/proc/self/stat has a name")?.1;
    let mut ticks = fields.split_whitespace().skip(13).map(str::parse::<u64>);
    let (user, system) = (ticks.next().context("cutime")??, ticks.next().context("cstime")??);
    Ok(user + system)
}

/// Notes the peak so far of a process and of those that it started.
fn look(pid: u32, peaks: &mut HashMap<u32, u64>) {
    if let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) {
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peaks.extend(peak.map(|peak| (pid, peak)));
    }
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        look(child, peaks);
    }
}

/// A control group that bounds the memory of a program, page cache included.
#[derive(Debug)]
pub(crate) struct Bounded(PathBuf);

impl Drop for Bounded {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

impl Bounded {
    /// A group of that many bytes. An error where this machine or user cannot make one.
    pub(crate) fn new(bytes: u64) -> Result<Self> {
        let first = Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists();
        let (root, limit) =
            if first { ("/sys/fs/cgroup/memory", "memory.limit_in_bytes") } else { ("/sys/fs/cgroup", "memory.max") };
        let group = Self(Path::new(root).join(format!("trysail-bench-{}", std::process::id())));
        fs::create_dir(&group.0).with_context(|| format!("make {}", group.0.display()))?;
        fs::write(group.0.join(limit), bytes.to_string()).with_context(|| format!("limit {}", group.0.display()))?;
        Ok(group)
    }

    /// That command, run in the group.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#]).arg(&self.0).arg(program);
        command
    }
}
