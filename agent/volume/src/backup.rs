//! A directory becomes a snapshot: the threads of a backup and what they report.
//!
//! One thread walks and reads, some compress, one writes; uploads are tasks of the runtime. What is between them is bounded by bytes.

mod budget;
mod bundle;
mod content;
mod frames;
mod packer;
mod reader;

use std::{
    path::Path,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::sync_channel,
    },
    thread,
    time::Duration,
};

use jiff::Timestamp;
use tokio::runtime::Handle;
use trysail_repository::{
    Error, Repository,
    cut::{ChunkSizes, Cutter},
    table::{PackKind, Time},
    write::{Finished, Session},
};

use crate::walk::{Problem, Walk, WalkOptions};
use budget::Budget;
use packer::Packer;
use reader::{Reader, Sizes, State, Stop};

/// Items between reader and packer; most of them are rows of some hundred bytes.
const ITEMS_WAITING_MAX: usize = 1024;

/// Problems that are kept with their paths; all are counted.
pub const PROBLEMS_MAX: usize = 1000;

/// Time between checkpoints: what a killed session uploads again at most.
pub const CHECKPOINT_EVERY: Duration = Duration::from_mins(1);

/// How a backup is made.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// What is walked.
    pub walk: WalkOptions,
    /// Compressing threads, one at least.
    pub threads: usize,
    /// The clock at the beginning of the walk: what changed just before it is read again next time.
    pub now: Timestamp,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
}

/// A number that one thread changes and others look at.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How far a backup or restore is.
#[derive(Debug, Default)]
pub struct Counters {
    /// Entries met.
    pub entries: Counter,
    /// Entries taken from the base without being opened.
    pub unchanged: Counter,
    /// Bytes read from the volume.
    pub read: Counter,
    /// Bytes of full packs.
    pub stored: Counter,
}

/// What went wrong with single entries.
#[derive(Debug, Default)]
pub struct Problems {
    /// The first of those that keep something out of the snapshot.
    pub errors: Vec<Problem>,
    /// All of those.
    pub error_count: u64,
    /// The first of those that only inform.
    pub notices: Vec<Problem>,
    /// Entries that vanished during the walk.
    pub vanished: u64,
    /// Paths of the first files that changed while they were read.
    pub unstable: Vec<Vec<u8>>,
}

impl Problems {
    fn add(&mut self, problem: Problem) {
        match problem {
            Problem::Vanished { .. } => self.vanished += 1,
            notice if notice.is_notice() => {
                if self.notices.len() < PROBLEMS_MAX {
                    self.notices.push(notice);
                }
            }
            error => {
                self.error_count += 1;
                if self.errors.len() < PROBLEMS_MAX {
                    self.errors.push(error);
                }
            }
        }
    }

    fn unstable(&mut self, path: &[u8]) {
        if self.unstable.len() < PROBLEMS_MAX {
            self.unstable.push(path.to_vec());
        }
    }
}

/// A finished backup.
#[derive(Debug)]
pub struct Report {
    /// The snapshot.
    pub finished: Finished,
    /// Problems with single entries.
    pub problems: Problems,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The source cannot be walked.
    #[error(transparent)]
    Source(Problem),
    /// The repository failed.
    #[error(transparent)]
    Repository(#[from] Error),
}

/// Backs up `source` as the session's volume. Blocks; to be called on a plain thread or a blocking one of the runtime.
///
/// # Errors
/// [`BackupError::Source`] where the root cannot be opened, [`BackupError::Repository`] where the store fails. Problems of single
/// entries are no errors: they are in the report, and the snapshot says which they are.
pub fn backup(
    repository: &Repository,
    session: Session,
    source: &Path,
    options: &BackupOptions,
    counters: &Counters,
    runtime: &Handle,
) -> Result<Report, BackupError> {
    let walk = Walk::open(source, options.walk.clone()).map_err(BackupError::Source)?;
    let config = repository.config();
    let sizes = Sizes {
        small_max: config.small_max.into(),
        bundle: config.bundle as usize,
        chunk_max: config.chunk.max as usize,
    };
    let chunk = ChunkSizes { min: config.chunk.min, avg: config.chunk.avg, max: config.chunk.max };
    let cutter = Cutter::new(chunk, session.gear_seed());
    let (known, base, excluded) = (session.known(), session.base_rows()?, session.excluded());
    let time_limit = session.time_limit().unsigned_abs();
    let writer = runtime.block_on(async { session.writer() })?;
    let (budget, mut problems) = (Budget::default(), Problems::default());
    let (jobs, queue) = frames::queue();
    let (items, received) = sync_channel(ITEMS_WAITING_MAX);
    let (spent, buffers) = sync_channel(frames::BUFFERS_MAX);
    let level = config.zstd;
    let (walked, packed) = thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            let (queue, known, spent) = (&queue, &known, spent.clone());
            scope.spawn(move || queue.work(level, known, &spent));
        }
        let packer = Packer { writer, budget: &budget, counters, checkpoint_every: options.checkpoint_every };
        let (budget, received) = (&budget, received);
        let packing = scope.spawn(move || {
            let outcome = packer.run(&received);
            // A reader that waits for room must not wait for a packer that has failed.
            budget.close();
            outcome
        });
        let reader = Reader {
            base,
            runtime: runtime.clone(),
            known: known.clone(),
            may_refer_to: &|extent| !excluded.contains(reader::pack_of(extent)),
            may_refer_to_list: &|list| !excluded.contains(list.pack.of(PackKind::Meta)),
            cutter,
            sizes,
            jobs,
            buffers,
            items,
            budget,
            counters,
            problems: &mut problems,
            began: time(options.now),
            time_limit,
            state: State::default(),
        };
        let walked = reader.run(walk);
        (walked, packing.join())
    });
    let writer = packed.map_err(|_| Error::Bug("the writing thread panicked"))?;
    let kind = match walked {
        Ok(kind) => kind,
        Err(Stop::Failed(error)) => return Err(error.into()),
        Err(Stop::Gone) => {
            let gone = Error::Bug("the writing thread ended early without an error");
            return Err(writer.err().unwrap_or(gone).into());
        }
    };
    let finished = writer?.finish(kind, counters.read.get())?;
    Ok(Report { finished, problems })
}

fn time(at: Timestamp) -> Time {
    let nanoseconds = at.as_nanosecond();
    let seconds = nanoseconds.div_euclid(1_000_000_000);
    let rest = nanoseconds.rem_euclid(1_000_000_000);
    Time { seconds: i64::try_from(seconds).unwrap_or(0), nanoseconds: u32::try_from(rest).unwrap_or(0) }
}
