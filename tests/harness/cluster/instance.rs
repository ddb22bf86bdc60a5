//! What one cluster has for itself on the machine: a number, and named after it a directory, an interface, control groups
//! and addresses. A keeper holds its namespaces and clears everything away.

use std::{
    fs::{self, File},
    io::ErrorKind,
    net::Ipv4Addr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::FlockOperation;

use super::machine::Machine;
use crate::wait;

/// Clusters at a time on one computer.
const MAX_CLUSTERS: u8 = 8;

/// Locks and the data of running clusters. Not below `/var/lib`, which is each machine's own, nor in memory.
const ROOT: &str = "/var/cache/trysail-clusters";

/// Time until namespaces and their mounts are there, on a busy computer.
const HOLD_TIME: Duration = Duration::from_mins(5);

/// A number that is taken, and a keeper that runs. Dropping it ends everything in its namespaces.
#[derive(Debug)]
pub struct Instance {
    number: u8,
    directory: PathBuf,
    keeper: Child,
    /// Locked as long as the number is taken, by this value or by the keeper.
    _lock: File,
}

impl Drop for Instance {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let kept = self.keeper.wait().is_ok_and(|status| status.success());
        if !kept {
            // A keeper that was killed has cleared nothing; what is left now is cleared by the next cluster too.
            let _ = clear(&self.directory, &name(self.number));
        }
    }
}

impl Instance {
    /// Takes a free number and starts the machines of that many names; each is a set of namespaces of its own.
    pub fn start(machines: &[String]) -> Result<(Self, Vec<Machine>)> {
        let (number, lock) = take_number()?;
        let directory = Path::new(ROOT).join(number.to_string());
        clear(&directory, &name(number))?;
        fs::create_dir_all(directory.join("log")).with_context(|| format!("make {}", directory.display()))?;
        for machine in machines {
            let own = directory.join(machine);
            fs::create_dir(&own)?;
            fs::write(own.join("hosts"), format!("127.0.0.1 localhost {machine}\n"))?;
            fs::write(own.join("resolv.conf"), "")?;
        }
        let keeper = Command::new("bash")
            .arg(script())
            .arg("hold")
            .arg(&directory)
            .arg(name(number))
            .args(machines)
            .stdin(Stdio::piped())
            // See the script: the keeper holds the lock, too.
            .stdout(lock.try_clone()?)
            .stderr(File::create(directory.join("log/keeper.log"))?)
            // What a terminal sends to the test's group is not for the keeper.
            .process_group(0)
            .spawn()
            .context("start the keeper")?;
        let mut instance = Self { number, directory, keeper, _lock: lock };
        let machines = machines.iter().map(|machine| instance.machine(machine)).collect::<Result<_>>()?;
        Ok((instance, machines))
    }

    fn machine(&mut self, name: &str) -> Result<Machine> {
        let file = self.directory.join(name).join("pid");
        let what = format!("the namespaces of {name} are made");
        let pid = wait::until(&what, HOLD_TIME, || {
            if let Some(status) = self.keeper.try_wait()? {
                bail!("the keeper has ended with {status}");
            }
            match fs::read_to_string(&file) {
                Ok(pid) => Ok(Some(pid.trim().parse().with_context(|| format!("{} holds a number", file.display()))?)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
        .with_context(|| fs::read_to_string(self.logs().join(format!("{name}-init.log"))).unwrap_or_default())?;
        Ok(Machine::new(name, pid, &self.directory))
    }

    /// Everything that the cluster writes, by machine.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What its programs say.
    pub fn logs(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// The name of its interface on this computer and of its control groups.
    pub fn name(&self) -> String {
        name(self.number)
    }

    /// The first process outside its namespaces; its death alone ends nothing.
    pub fn keeper(&self) -> u32 {
        self.keeper.id()
    }

    /// An address of its network, a `/24` of the range that RFC 2544 sets apart for tests.
    pub fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.number, host)
    }
}

fn name(number: u8) -> String {
    format!("trysail{number}")
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/cluster/keeper.sh")
}

fn take_number() -> Result<(u8, File)> {
    fs::create_dir_all(ROOT).with_context(|| format!("make {ROOT}"))?;
    for number in 0..MAX_CLUSTERS {
        let path = Path::new(ROOT).join(format!("{number}.lock"));
        let file = File::create(&path).with_context(|| format!("make {}", path.display()))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok((number, file)),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error).with_context(|| format!("lock {}", path.display())),
        }
    }
    bail!("{MAX_CLUSTERS} test clusters run already")
}

/// Removes what is left of a cluster of this number.
fn clear(directory: &Path, name: &str) -> Result<()> {
    let status = Command::new("bash").arg(script()).arg("clear").arg(directory).arg(name).status()?;
    ensure!(status.success(), "clear {}: {status}", directory.display());
    Ok(())
}
