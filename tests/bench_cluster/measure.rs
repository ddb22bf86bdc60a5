//! What the processes of a program in a cluster use: processor time and memory, looked at again and again while something goes on.

use std::{
    collections::HashMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Result, anyhow};

/// Pause between two looks. What a process uses after the last of them is not seen.
const POLL: Duration = Duration::from_millis(20);

/// Ticks of processor time a second in `/proc`; the same on all Linux machines.
const TICKS: f64 = 100.0;

/// How the command lines of both programs begin, those of their Jobs, helpers and plugins included.
const PROGRAMS: [&str; 2] = ["/velero", "/plugins/"];

/// Looks on until it is stopped.
pub(crate) struct Meter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Used>,
}

/// What was used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    /// Seconds of user and system time of all processes.
    pub(crate) cpu: f64,
    /// The greatest sum of their resident memory, in MiB.
    pub(crate) peak_mib: f64,
}

/// A process at one look.
#[derive(Debug, Clone, Copy)]
struct Seen {
    ticks: u64,
    pages: u64,
}

impl Meter {
    /// No other cluster may run on this machine: processes are known by how they were started.
    pub(crate) fn start() -> Self {
        let before = look();
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let thread = thread::spawn(move || watch(&before, &is_over));
        Self { stop, thread }
    }

    pub(crate) fn stop(self) -> Result<Used> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the watching of processes panicked"))
    }
}

#[expect(clippy::cast_precision_loss, reason = "ticks of some hours and pages of some gigabytes")]
fn watch(before: &HashMap<String, Seen>, is_over: &AtomicBool) -> Used {
    let mut last: HashMap<String, u64> = HashMap::new();
    let mut peak = 0;
    loop {
        let is_last = is_over.load(Ordering::Relaxed);
        let seen = look();
        peak = peak.max(seen.values().map(|one| one.pages).sum());
        last.extend(seen.into_iter().map(|(process, one)| (process, one.ticks)));
        if is_last {
            break;
        }
        thread::sleep(POLL);
    }
    let used = last.iter().map(|(process, ticks)| ticks - before.get(process).map_or(0, |one| one.ticks.min(*ticks)));
    Used { cpu: used.sum::<u64>() as f64 / TICKS, peak_mib: peak as f64 * 4.0 / 1024.0 }
}

/// All processes of the program, by number and start.
fn look() -> HashMap<String, Seen> {
    let mut found = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let command = fs::read(format!("/proc/{name}/cmdline")).unwrap_or_default();
        if !PROGRAMS.iter().any(|program| command.starts_with(program.as_bytes())) {
            continue;
        }
        let Ok(stat) = fs::read_to_string(format!("/proc/{name}/stat")) else { continue };
        // Behind the name, which may hold anything.
        let Some((_, fields)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = fields.split(' ').collect();
        let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        let began = fields.get(19).copied().unwrap_or_default();
        found.insert(format!("{name}-{began}"), Seen { ticks: number(11) + number(12), pages: number(21) });
    }
    found
}
