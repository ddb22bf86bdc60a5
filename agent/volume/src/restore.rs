//! A snapshot becomes a directory again: rows make entries, frames make contents, and every content is compared with its hash.
//!
//! Three passes over the file table, none of which holds more than a batch: directories, files and specials; hard links; and the
//! metadata of directories, deepest first.

mod ahead;
mod fetch;
mod large;
mod plan;
mod withhold;
mod write;

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc::sync_channel},
    thread,
};

use tokio::runtime::Handle;
use trysail_repository::{
    Error, Repository,
    layout::SnapshotId,
    read::{
        Snapshot,
        packs::{self, PackReader},
    },
    seal::Identity,
    table::{Kind, Row, StoredRow, order},
};

use crate::{
    backup::Counters,
    target::{NotSetList, Same, Target, TargetError, TargetPolicy},
};
use ahead::{Ahead, Job};
pub use fetch::ExtentReader;
use fetch::{Decoder, can_open};
use large::LargeFile;
use plan::{FilePlan, Wanted, windows};
pub use withhold::{WITHHELD_MAX, Withheld, WithheldList, Withhold};
use write::FileWriter;
pub use write::RestoreError;

/// Memory of the rows and extents of one batch, in bytes (estimated).
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Windows that are being fetched or worked on: 32 MiB of stored bytes.
const WINDOWS_MAX: usize = 4;

/// Jobs that wait for a thread.
const JOBS_WAITING_MAX: usize = 64;

/// Entries that are listed as lost with their paths; all are counted.
pub const LOST_MAX: usize = 1000;

/// Hard links whose first path is not restored, and which are restored as files of their own.
const ORPHANS_MAX: usize = 100_000;

/// What is restored, and how.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// What may be in the target.
    pub policy: TargetPolicy,
    /// Paths below the volume's root that are restored with everything below them; none means all.
    pub paths: Vec<Vec<u8>>,
    /// Threads that decode and write.
    pub threads: usize,
    /// What is left out.
    pub withhold: Vec<Withhold>,
}

/// An entry that could not be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Its path below the volume's root.
    pub path: Vec<u8>,
    /// Why.
    pub reason: String,
}

/// What could not be restored so far.
#[derive(Debug, Default)]
pub(crate) struct Losses(Mutex<(Vec<Lost>, u64)>);

impl Losses {
    fn add(&self, lost: Lost) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.1 += 1;
        if noted.0.len() < LOST_MAX {
            noted.0.push(lost);
        }
    }
}

/// A finished restore.
#[derive(Debug)]
pub struct RestoreReport {
    /// Entries that could not be restored: the first of them.
    pub lost: Vec<Lost>,
    /// All of those.
    pub lost_count: u64,
    /// Files that the snapshot has without content, because they could not be read when it was made.
    pub unreadable: u64,
    /// Metadata that could not be set.
    pub not_set: NotSetList,
    /// What was left out because the options say so.
    pub withheld: WithheldList,
    /// Entries that were there already as the snapshot has them.
    pub unchanged: u64,
}

/// A restore under way.
struct Restore<'a> {
    snapshot: Snapshot,
    target: Target,
    options: &'a RestoreOptions,
    reader: Arc<PackReader>,
    runtime: &'a Handle,
    counters: &'a Counters,
    losses: Losses,
    withheld: WithheldList,
    unreadable: u64,
    unchanged: u64,
}

/// Restores a snapshot into a directory. Blocks; to be called on a plain thread or a blocking one of the runtime.
///
/// # Errors
/// [`RestoreError`] where nothing more can be restored. Single entries that are lost are in the report.
pub fn restore(
    repository: &Repository,
    id: &SnapshotId,
    identity: &Identity,
    target: &Path,
    options: &RestoreOptions,
    counters: &Counters,
    runtime: &Handle,
) -> Result<RestoreReport, RestoreError> {
    let (mut snapshot, reader) = runtime.block_on(open(repository, id, identity))?;
    if !repository.config().recipients.is_empty() {
        runtime.block_on(can_open(&mut snapshot, &reader))?;
    }
    let target = Target::open(target, options.policy).map_err(RestoreError::Target)?;
    let mut restore = Restore {
        snapshot,
        target,
        options,
        reader,
        runtime,
        counters,
        losses: Losses::default(),
        withheld: WithheldList::default(),
        unreadable: 0,
        unchanged: 0,
    };
    restore.contents()?;
    restore.links()?;
    restore.directories()?;
    restore.target.sync().map_err(RestoreError::Target)?;
    let (lost, lost_count) = restore.losses.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(RestoreReport {
        lost,
        lost_count,
        unreadable: restore.unreadable,
        not_set: restore.target.take_not_set(),
        withheld: restore.withheld,
        unchanged: restore.unchanged,
    })
}

/// Opens a snapshot and its packs for reading.
pub async fn open(
    repository: &Repository,
    id: &SnapshotId,
    identity: &Identity,
) -> Result<(Snapshot, Arc<PackReader>), Error> {
    let snapshot = Snapshot::open(repository, id, identity).await?;
    let refs = packs::refs(repository, snapshot.commit()).await?;
    let table = packs::table(repository, snapshot.commit(), &refs).await?;
    let reader = PackReader::new(repository.clone(), identity.clone(), Arc::new(table));
    Ok((snapshot, Arc::new(reader)))
}

impl Restore<'_> {
    /// The rows of a block with all their extents.
    fn rows(&mut self, block: usize) -> Result<Vec<Row>, RestoreError> {
        let Some(block) = self.snapshot.blocks().get(block).cloned() else { return Ok(Vec::new()) };
        let rows = self.runtime.block_on(self.snapshot.rows(&block))?;
        let mut whole = Vec::with_capacity(rows.len());
        for StoredRow { mut row, lists } in rows {
            if self.is_wanted(&row) {
                for list in &lists {
                    row.member.extend(self.runtime.block_on(self.snapshot.list(list))?);
                }
                whole.push(row);
            }
        }
        Ok(whole)
    }

    /// Whether an entry is asked for: it, or what it is in, or, of a directory, something below it.
    fn is_wanted(&self, row: &Row) -> bool {
        let paths = &self.options.paths;
        let leads_there = |path: &Vec<u8>| row.kind == Kind::Directory && order::is_within(path, &row.path);
        paths.is_empty() || paths.iter().any(|path| order::is_within(&row.path, path) || leads_there(path))
    }

    /// First pass: directories, specials, symbolic links, and files with their contents.
    fn contents(&mut self) -> Result<(), RestoreError> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for block in 0..self.snapshot.blocks().len() {
            for row in self.rows(block)? {
                if let Some(plan) = self.entry(row)? {
                    bytes += 400 + plan.row.path.len() + plan.wanted.len() * size_of::<Wanted>();
                    batch.push(plan);
                }
                if bytes > BATCH_BYTES_MAX {
                    bytes = 0;
                    self.batch(std::mem::take(&mut batch))?;
                }
            }
        }
        self.batch(batch)
    }

    /// Makes an entry that has no content; plans one that has.
    fn entry(&mut self, mut row: Row) -> Result<Option<FilePlan>, RestoreError> {
        if !self.withheld.pass(&mut row, &self.options.withhold) {
            return Ok(None);
        }
        if self.options.policy == TargetPolicy::Delta && !matches!(row.kind, Kind::Directory | Kind::Hardlink { .. }) {
            match self.target.same(&row) {
                Ok(Same::Unchanged) => {
                    self.unchanged += 1;
                    return Ok(None);
                }
                Ok(Same::MetadataOnly) => {
                    let adjusted = self.target.adjust(&row);
                    return self.note(&row, adjusted).map(|()| None);
                }
                Ok(Same::Different) => {}
                Err(error) => return self.note(&row, Err(error)).map(|()| None),
            }
        }
        let made = match &row.kind {
            Kind::Directory => self.target.make_directory(&row),
            Kind::Symlink { .. } => self.target.make_symlink(&row),
            Kind::Fifo | Kind::Socket | Kind::CharDevice { .. } | Kind::BlockDevice { .. } => {
                self.target.make_special(&row)
            }
            Kind::Hardlink { .. } => return Ok(None),
            Kind::File(_) if row.flags.unreadable => {
                self.unreadable += 1;
                let reason = "it could not be read when the snapshot was made".to_owned();
                self.losses.add(Lost { path: row.path, reason });
                return Ok(None);
            }
            Kind::File(_) => {
                let Some(wanted) = plan::content(&row) else {
                    let reason = "its member in the file table is shorter than its content".to_owned();
                    self.losses.add(Lost { path: row.path, reason });
                    return Ok(None);
                };
                row.member = Vec::new();
                return Ok(Some(FilePlan { row, wanted }));
            }
        };
        self.counters.entries.add(1);
        self.note(&row, made).map(|()| None)
    }

    /// Notes an entry that could not be made; errors that every entry would meet end the restore.
    fn note(&self, row: &Row, made: Result<(), TargetError>) -> Result<(), RestoreError> {
        match made {
            Ok(()) => Ok(()),
            Err(error) if error.is_fatal() => Err(RestoreError::Target(error)),
            Err(error) => {
                self.losses.add(Lost { path: row.path.clone(), reason: error.to_string() });
                Ok(())
            }
        }
    }

    /// Restores the contents of a batch of files: fetches windows ahead, several threads make files of them.
    fn batch(&self, files: Vec<FilePlan>) -> Result<(), RestoreError> {
        let writer = FileWriter { target: &self.target, losses: &self.losses, counters: self.counters };
        let (windows, large) = windows(files);
        let begin = |(row, frames)| LargeFile::begin(&writer, row, frames);
        let large = large.into_iter().map(begin).collect::<Result<Vec<_>, _>>()?;
        let (sender, receiver) = sync_channel::<Job>(JOBS_WAITING_MAX);
        let receiver = Mutex::new(receiver);
        let next = || receiver.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
        let decoders = (0..self.options.threads.max(1)).map(|_| Decoder::new()).collect::<Result<Vec<_>, _>>()?;
        let failed = Mutex::new(None);
        let failure = || failed.lock().unwrap_or_else(PoisonError::into_inner);
        let work = |mut decoder: Decoder| {
            while let Some(job) = next() {
                // After a failure jobs are still taken, without their bytes: others wait for their frames' turn, and for room.
                let fetched = if failure().is_some() { Arc::default() } else { job.fetched(self.runtime) };
                if let Err(error) = job.run(&writer, &large, &fetched, &mut decoder) {
                    failure().get_or_insert(error);
                }
            }
        };
        thread::scope(|scope| {
            for decoder in decoders {
                scope.spawn(move || work(decoder));
            }
            let ahead = Ahead::new(self.runtime, &self.reader, WINDOWS_MAX);
            for window in windows {
                if failure().is_some() || ahead.jobs(window).into_iter().any(|job| sender.send(job).is_err()) {
                    break;
                }
            }
            // The threads take jobs until the sender is dropped.
            drop(sender);
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// Second pass: further names of files. Where the first name is not restored, one of the others becomes the file.
    fn links(&mut self) -> Result<(), RestoreError> {
        if self.snapshot.commit().entries.hardlinks == 0 {
            return Ok(());
        }
        let mut orphans: BTreeMap<Vec<u8>, Vec<Row>> = BTreeMap::new();
        for block in 0..self.snapshot.blocks().len() {
            for row in self.rows(block)? {
                let Kind::Hardlink { target } = &row.kind else { continue };
                if self.withheld.has(target) {
                    continue;
                }
                if self.is_wanted_path(target) {
                    self.counters.entries.add(1);
                    self.note(&row, self.target.make_hardlink(&row))?;
                } else if orphans.len() < ORPHANS_MAX {
                    orphans.entry(target.clone()).or_default().push(row);
                }
            }
        }
        if orphans.is_empty() { Ok(()) } else { self.orphans(orphans) }
    }

    fn is_wanted_path(&self, path: &[u8]) -> bool {
        self.options.paths.is_empty() || self.options.paths.iter().any(|p| order::is_within(path, p))
    }

    fn orphans(&mut self, mut orphans: BTreeMap<Vec<u8>, Vec<Row>>) -> Result<(), RestoreError> {
        for block in 0..self.snapshot.blocks().len() {
            let Some(place) = self.snapshot.blocks().get(block).cloned() else { continue };
            for StoredRow { mut row, lists } in self.runtime.block_on(self.snapshot.rows(&place))? {
                let Some(names) = orphans.remove(&row.path) else { continue };
                for list in &lists {
                    row.member.extend(self.runtime.block_on(self.snapshot.list(list))?);
                }
                let mut names = VecDeque::from(names);
                let Some(first) = names.pop_front() else { continue };
                row.path.clone_from(&first.path);
                if let Some(plan) = self.entry(row)? {
                    self.batch(vec![plan])?;
                }
                for mut name in names {
                    name.kind = Kind::Hardlink { target: first.path.clone() };
                    if !self.withheld.pass(&mut name, &self.options.withhold) {
                        continue;
                    }
                    self.note(&name, self.target.make_hardlink(&name))?;
                }
            }
        }
        Ok(())
    }

    /// Third pass: metadata of directories, deepest first, when nothing changes in them any more.
    fn directories(&mut self) -> Result<(), RestoreError> {
        for block in (0..self.snapshot.blocks().len()).rev() {
            for row in self.rows(block)?.into_iter().rev() {
                if row.kind == Kind::Directory {
                    self.note(&row, self.target.finish_directory(&row))?;
                }
            }
        }
        Ok(())
    }
}

/// The content of a member as extents, each with its place in the content: for reading one file.
pub fn content(row: &Row) -> Option<Vec<trysail_repository::table::Extent>> {
    Some(plan::content(row)?.into_iter().map(|wanted| wanted.extent).collect())
}
