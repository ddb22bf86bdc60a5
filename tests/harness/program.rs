//! A program that runs beside a test, writes into a log, and ends with its value or with the test.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Lines at the end of a log that an error quotes.
const QUOTED_LINES: usize = 15;

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    name: String,
    process: Child,
    log: PathBuf,
}

impl Drop for Program {
    fn drop(&mut self) {
        // A program that has ended by itself is as gone as a killed one.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Program {
    /// Starts a command that reads nothing and writes into the file `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("make the log {}", log.display()))?;
        let process = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        Ok(Self { name: name.to_owned(), process, log: log.to_owned() })
    }

    /// Stops it where it stands, until it is resumed.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// A program in another namespace of processes is a child of the one that started it there, which stops and goes on with it.
    fn signal(&self, signal: Signal) -> Result<()> {
        let own = self.process.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?));
        let mut targets: Vec<Pid> = children.collect();
        if targets.is_empty() || signal == Signal::CONT {
            targets.push(Pid::from_child(&self.process));
        }
        targets.into_iter().try_for_each(|id| kill_process(id, signal)).with_context(|| format!("signal {}", self.name))
    }

    /// An error with the end of its log if it runs no more.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.process.try_wait().with_context(|| format!("ask for {}", self.name))? {
            bail!("{} has ended with {status}\n{}", self.name, self.last_words());
        }
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    pub fn end(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.process.wait().with_context(|| format!("wait for {}", self.name))
    }

    /// Its name and the end of its log.
    pub fn last_words(&self) -> String {
        // A log that cannot be read has nothing to say.
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("{}:\n{}", self.name, lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n"))
    }
}

/// A command that also ends where the test is killed, if the machine has `setpriv`.
///
/// The signal comes with the death of the thread that starts it, so start it on the test's own thread.
pub fn guarded(program: &Path) -> Command {
    let found = Command::new("setpriv").arg("--version").stdout(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}
