//! A laboratory for whole backups: a repository in a store that a test may break, and the calls that a program makes on it.
//! Assertions about a subject live in its tests; what every restore must be is asserted here.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

pub(crate) mod torn;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use jiff::{SignedDuration, Timestamp};
use rustix::fs::{XattrFlags, lremovexattr, lsetxattr};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use trysail_repository::{
    Repository, Result,
    keys::Keys,
    layout::{self, SnapshotId, VolumeName},
    pack_set::PackSet,
    prune::{self, Prune},
    read::packs,
    seal::{Identity, Recipient},
    store::{ObjectStore, list_all, memory::Memory},
    table::Row,
    testing::Faulty,
    write::{Session, SessionPlan},
};
use trysail_volume::{
    backup::{BackupError, BackupOptions, CHECKPOINT_EVERY, Counters, HELD_PIECES_MAX, Report, backup},
    restore::{RestoreError, RestoreOptions, RestoreReport, restore},
    target::TargetPolicy,
    walk::WalkOptions,
};

use crate::tree::{assert_same, rows};

/// Made with `age-keygen` for these tests; it opens nothing else.
pub(crate) const RECIPIENT: &str = "age1vlmpkzya5v05qtf4r5tvuj3dxuhysn2f0f4uqx62ntmuufr6dy6ssddgls";
const SECRET: &str = "AGE-SECRET-KEY-1CNG58P85ND4XZWXDDH4MEKY3QS5VCP6K5ULURN80JTYDGJMDLVLQXWH7JJ";
/// The identity of somebody else.
pub(crate) const STRANGER: &str = "AGE-SECRET-KEY-1SD5J9FF68WE76QPK4ZTUHPKH55KP2GD9GH8DMY3RDV5D7A6QXQVQTW8ER9";

/// Longer than a session and the grace together, so that two prunes this far apart condemn and sweep everything that nobody needs.
pub(crate) const LONG: SignedDuration = SignedDuration::from_hours(100);

/// Objects that these tests list at most.
pub(crate) const ALL: usize = 100_000;

/// The second of 2100-01-01: seen from there, no file of a test is racy.
const SETTLED: i64 = 4_102_444_800;

/// The second at which the first session begins: as good as any; sessions are a millisecond apart.
const FIRST_SESSION: i64 = 1_767_225_600;

/// A directory in memory, where the machine has one with attributes: a restore syncs its file system, which takes long on a busy disk.
pub(crate) fn scratch() -> TempDir {
    let in_memory = TempDir::new_in("/dev/shm").ok().filter(|directory| {
        lsetxattr(directory.path(), "user.trysail", b"", XattrFlags::empty()).is_ok()
            && lremovexattr(directory.path(), "user.trysail").is_ok()
    });
    in_memory.unwrap_or_else(|| TempDir::new().unwrap())
}

/// The number for this run: small, or large where `TRYSAIL_TORTURE` is `large`.
pub(crate) fn sized<T>(small: T, large: T) -> T {
    if std::env::var("TRYSAIL_TORTURE").is_ok_and(|size| size == "large") { large } else { small }
}

/// The line of the table at the end of a run that says what a test did.
#[expect(clippy::print_stdout, reason = "the harness shows it with --nocapture and where a test fails")]
pub(crate) fn summary(test: &str, did: &str) {
    println!("TORTURE | {test:<40} | {did}");
}

/// Whether packs are age files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sealing {
    Plain,
    Encrypted,
}

/// A store with a memory behind it, which a test can look at and whose clock it moves.
pub(crate) trait Behind: ObjectStore + 'static {
    fn memory(&self) -> &Memory;
}

impl Behind for Memory {
    fn memory(&self) -> &Memory {
        self
    }
}

impl Behind for Faulty<Memory> {
    fn memory(&self) -> &Memory {
        self.inner()
    }
}

/// A finished backup, and what it cost.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) id: SnapshotId,
    pub(crate) report: Report,
    pub(crate) entries: u64,
    pub(crate) unchanged: u64,
    pub(crate) read: u64,
}

/// A store, the keys of the repository in it, and a runtime.
pub(crate) struct Lab<S> {
    pub(crate) store: Arc<S>,
    pub(crate) keys: Keys,
    pub(crate) sealing: Sealing,
    runtime: Runtime,
    sessions: AtomicI64,
}

/// How the tests back up, where they say nothing else.
pub(crate) fn options() -> BackupOptions {
    BackupOptions {
        walk: WalkOptions::default(),
        threads: 2,
        now: Timestamp::from_second(SETTLED).unwrap(),
        checkpoint_every: CHECKPOINT_EVERY,
        held_pieces_max: HELD_PIECES_MAX,
    }
}

/// All of a snapshot.
pub(crate) fn whole(policy: TargetPolicy) -> RestoreOptions {
    RestoreOptions { policy, paths: Vec::new(), threads: 2, withhold: Vec::new() }
}

impl<S: ObjectStore + 'static> Lab<S> {
    /// A laboratory without a repository.
    pub(crate) fn empty(store: S, sealing: Sealing) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let keys = Keys::from_parts([1; 32], [2; 32]);
        Self { store: Arc::new(store), keys, sealing, runtime, sessions: AtomicI64::new(0) }
    }

    /// A laboratory with a new repository.
    pub(crate) fn new(store: S, sealing: Sealing) -> Self {
        let lab = Self::empty(store, sealing);
        lab.init().unwrap();
        lab
    }

    fn next_session(&self) -> Timestamp {
        let n = self.sessions.fetch_add(1, Ordering::Relaxed);
        Timestamp::from_second(FIRST_SESSION).unwrap() + SignedDuration::from_millis(n)
    }

    pub(crate) fn run<T>(&self, task: impl Future<Output = T>) -> T {
        self.runtime.block_on(task)
    }

    pub(crate) fn identity(&self) -> Identity {
        match self.sealing {
            Sealing::Plain => Identity::default(),
            Sealing::Encrypted => Identity::parse(SECRET).unwrap(),
        }
    }

    pub(crate) fn init(&self) -> Result<Repository> {
        let recipients = match self.sealing {
            Sealing::Plain => Vec::new(),
            Sealing::Encrypted => vec![Recipient::parse(RECIPIENT).unwrap()],
        };
        self.run(Repository::init(self.store.clone(), &recipients, &self.keys, self.next_session()))
    }

    pub(crate) fn open(&self) -> Result<Repository> {
        self.run(Repository::open(self.store.clone(), Some(self.keys.root().public())))
    }

    /// Backs up a directory as the volume `data`.
    pub(crate) fn backup(&self, source: &Path) -> Result<Done, BackupError> {
        self.backup_as("data", source, &options())
    }

    pub(crate) fn backup_as(&self, volume: &str, source: &Path, options: &BackupOptions) -> Result<Done, BackupError> {
        let repository = self.open()?;
        let volume = VolumeName::new(volume).unwrap();
        let keys = self.keys.for_volume(&volume);
        let plan = SessionPlan { volume, uid: String::new(), keys, now: self.next_session() };
        let session = self.run(Session::begin(&repository, plan))?;
        let counters = Counters::default();
        let report = backup(&repository, session, source, options, &counters, self.runtime.handle())?;
        let Counters { entries, unchanged, read, .. } = counters;
        let id = report.finished.id.clone();
        Ok(Done { id, report, entries: entries.get(), unchanged: unchanged.get(), read: read.get() })
    }

    pub(crate) fn restore(
        &self,
        id: &SnapshotId,
        identity: &Identity,
        target: &Path,
        options: &RestoreOptions,
    ) -> Result<RestoreReport, RestoreError> {
        let repository = self.open()?;
        let counters = Counters::default();
        restore(&repository, id, identity, target, options, &counters, self.runtime.handle())
    }

    /// The rows of a snapshot, restored into an empty directory without any loss.
    pub(crate) fn restored(&self, id: &SnapshotId) -> Vec<Row> {
        let target = scratch();
        let report = self.restore(id, &self.identity(), target.path(), &whole(TargetPolicy::Empty));
        assert_nothing_lost(&report.unwrap_or_else(|error| panic!("{id}: {error}")));
        rows(target.path())
    }

    /// Restores a snapshot and compares it with what was saved.
    pub(crate) fn assert_restores(&self, id: &SnapshotId, saved: &[Row]) {
        assert_same(&self.restored(id), saved);
    }

    pub(crate) fn snapshots(&self) -> Vec<SnapshotId> {
        let repository = self.open().unwrap();
        self.run(repository.snapshots(None)).unwrap().into_iter().map(|s| s.id).collect()
    }

    /// The packs that some snapshot needs.
    pub(crate) fn needed(&self) -> PackSet {
        let repository = self.open().unwrap();
        let mut needed = PackSet::default();
        for id in self.snapshots() {
            let (commit, _) = self.run(repository.commit(&id)).unwrap();
            needed.merge(&self.run(packs::refs(&repository, &commit)).unwrap());
        }
        needed
    }

    /// The keys that begin with a prefix.
    pub(crate) fn stored(&self, prefix: &str) -> Vec<String> {
        let listed = self.run(list_all(&*self.store, prefix, ALL)).unwrap();
        listed.into_iter().map(|object| object.key.to_string()).collect()
    }
}

impl<S: Behind> Lab<S> {
    /// Prunes with a machine whose clock is the store's.
    pub(crate) fn prune(&self) -> prune::Result<prune::Report> {
        let repository = self.open().map_err(|error| prune::Error::Unreadable(Box::new(error)))?;
        let prune = Prune::of(&repository)?;
        self.run(async {
            let plan = prune.plan(self.store.memory().now()).await?;
            prune.execute(&plan).await
        })
    }

    pub(crate) fn advance(&self, by: SignedDuration) {
        self.store.memory().advance(by);
    }

    /// Prunes until all that nobody needs is gone, and checks that it is just that.
    pub(crate) fn prune_to_what_is_needed(&self) {
        for _ in 0..2 {
            self.advance(LONG);
            self.prune().unwrap();
        }
        let needed: Vec<String> = self.needed().iter().map(|(pack, _)| layout::pack(pack).to_string()).collect();
        let mut stored = [self.stored("v1/p/"), self.stored("v1/m/")].concat();
        let mut needed = needed;
        stored.sort();
        needed.sort();
        assert_eq!(stored, needed, "the packs that are stored are those that a snapshot needs");
    }
}

/// Asserts that a restore made everything and set everything.
pub(crate) fn assert_nothing_lost(report: &RestoreReport) {
    assert_eq!((&report.lost, report.lost_count, report.unreadable), (&Vec::new(), 0, 0));
    assert_eq!(format!("{:?}", report.not_set.listed), "[]");
}

/// Numbers that look like chance, the same for the same seed (xorshift).
pub(crate) fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// Bytes that do not compress and repeat nowhere, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let words = std::iter::repeat_with(numbers(seed)).map(u64::to_le_bytes);
    words.take(length.div_ceil(8)).flatten().take(length).collect()
}
