//! An index of ten million entries, without the data that it is of: what a merge costs, and what a session that asks it costs.
//!
//! Each step is a process of its own, so that its memory can be measured: the bench starts itself with the step's name.

use std::{
    env,
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use tokio::runtime::{Builder, Runtime};
use trysail_repository::{
    Repository,
    frame::FrameId,
    index::{DELTA_ENTRIES_MAX, Delta, Index, IndexEntry, Merge},
    keys::{Keys, TaskKeys},
    layout::{self, VolumeName},
    pack_set::PackSet,
    pack_table::PackRow,
    session::SessionId,
    store::{ObjectStore, directory::Directory, list_all},
    table::{Extent, PackId, PackKind},
    write::{Session, SessionPlan},
};
use trysail_volume::{
    backup::{BackupOptions, CHECKPOINT_EVERY, Counters, HELD_PIECES_MAX, backup},
    walk::WalkOptions,
};

use crate::{
    MEMORY_BYTES,
    measure::{Bounded, run_to_end},
    table::mebibytes,
};

/// Entries of the index.
const ENTRIES: u32 = 10_000_000;
/// Frames in a pack: 16 MiB of chunks of 256 KiB.
const FRAMES_PER_PACK: u32 = 64;
/// Frames that are asked for: so many that are stored, and so many that are not.
const QUESTIONS: u32 = 200_000;
/// Bytes of the file that is backed up into the repository of that index.
const FILE_BYTES: usize = 512 << 20;
/// The longest session, as `repo.json` says.
const SESSION_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Objects that are listed at most.
const OBJECTS_MAX: usize = 100_000;

/// The steps, in order.
const STEPS: [&str; 4] = ["index-make", "index-merge", "index-ask", "index-backup"];

/// Measures all steps in that directory.
pub(crate) fn measure(scratch: &Path) -> Result<()> {
    let place = scratch.join("index");
    fs::create_dir(&place)?;
    let program = env::current_exe().context("the bench's own program")?;
    println!("\n## index: {ENTRIES} entries, no data\n");
    println!("In a control group of {:.0} MiB, page cache included:\n", mebibytes(MEMORY_BYTES));
    println!("| step | end | wall s | CPU s | peak RSS MiB | |\n|---|---|--:|--:|--:|---|");
    for step in STEPS {
        let group = Bounded::new(MEMORY_BYTES)?;
        let ended = run_to_end(group.command(&program).arg(step).arg(&place))?;
        let end = match (ended.code, ended.signal) {
            (Some(0), _) => "done".to_owned(),
            (code, signal) => format!("code {code:?}, signal {signal:?}: {}", ended.errors.trim()),
        };
        let (cost, said) = (ended.cost, ended.output.trim());
        let peak = mebibytes(cost.peak_kib << 10);
        println!("| {step} | {end} | {:.1} | {:.1} | {peak:.0} | {said} |", cost.wall, cost.cpu);
    }
    Ok(fs::remove_dir_all(place)?)
}

/// A step of that name; `None` where there is none.
pub(crate) fn step(name: &str, place: &Path) -> Option<Result<()>> {
    let work = match name {
        "index-make" => Place::make,
        "index-merge" => Place::merge,
        "index-ask" => Place::ask,
        "index-backup" => Place::backup,
        _ => return None,
    };
    let said = Place::new(place).and_then(|place| work(&place));
    Some(said.map(|said| println!("{said}")))
}

/// A repository in a directory.
struct Place {
    path: PathBuf,
    store: Arc<dyn ObjectStore>,
    runtime: Runtime,
    keys: Keys,
}

fn volume() -> Result<VolumeName> {
    VolumeName::new("index").context("a name")
}

/// The id of frame n.
fn id(n: u32) -> Result<FrameId> {
    Ok(FrameId(*Sha256::digest(n.to_le_bytes()).first_chunk().context("32 bytes")?))
}

/// A file that does not compress, the same in every run.
fn write_noise(path: &Path) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for n in 0..FILE_BYTES / 32 {
        file.write_all(&Sha256::digest((n as u64).to_be_bytes()))?;
    }
    Ok(file.flush()?)
}

impl Place {
    fn new(path: &Path) -> Result<Self> {
        let directory = path.join("repository");
        let store = if directory.exists() { Directory::open(&directory)? } else { Directory::create(&directory)? };
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Self { path: path.to_owned(), store: Arc::new(store), runtime, keys: Keys::from_parts([1; 32], [2; 32]) })
    }

    fn task_keys(&self) -> Result<TaskKeys> {
        Ok(self.keys.for_volume(&volume()?))
    }

    /// Deltas as full as sessions write them, and a file.
    fn make(&self) -> Result<String> {
        self.runtime.block_on(Repository::init(self.store.clone(), &[], &self.keys, Timestamp::now()))?;
        fs::create_dir(self.path.join("volume"))?;
        write_noise(&self.path.join("volume/file"))?;
        let key = self.task_keys()?.index;
        let each = u32::try_from(DELTA_ENTRIES_MAX)?;
        let mut deltas = 0;
        for from in (0..ENTRIES).step_by(DELTA_ENTRIES_MAX) {
            let session = SessionId::new(Timestamp::now())?;
            let mut delta = Delta::default();
            for n in from..from.saturating_add(each).min(ENTRIES) {
                let within = n - from;
                let pack = PackId { session, number: within / FRAMES_PER_PACK };
                let row = PackRow {
                    stored: 16 << 20,
                    plain: 16 << 20,
                    frames: FRAMES_PER_PACK,
                    decoded: 16 << 20,
                    sha256: [5; 32],
                };
                delta.packs.0.insert(pack.of(PackKind::Data), row);
                let offset = within % FRAMES_PER_PACK * 262_144;
                let extent = Extent { pack, offset, stored: 262_144, plain: 262_144, skip: 0, take: 262_144 };
                delta.entries.push(IndexEntry { id: id(n)?, extent });
            }
            let name = layout::index_delta(session, 0);
            let sealed = delta.seal(&name, &key)?;
            self.runtime.block_on(self.store.create(&name, sealed.into()))?;
            deltas += 1;
        }
        Ok(format!("{deltas} deltas"))
    }

    fn merge(&self) -> Result<String> {
        let (key, excluded, now) = (self.task_keys()?.index, PackSet::default(), Timestamp::now());
        let merge =
            Merge { store: &*self.store, key: &key, excluded: &excluded, opened: now, session_max: SESSION_MAX, now };
        let mut generations = 0;
        while self.runtime.block_on(merge.run())?.is_some() {
            generations += 1;
        }
        let bytes = self.runtime.block_on(list_all(&*self.store, layout::INDEX_GENERATIONS, OBJECTS_MAX))?;
        let bytes = bytes.iter().map(|object| object.size).sum();
        Ok(format!("{generations} generations, {:.0} MiB", mebibytes(bytes)))
    }

    fn ask(&self) -> Result<String> {
        let (key, excluded) = (self.task_keys()?.index, Arc::default());
        let load = Index::load(&self.store, &key, &excluded, SESSION_MAX);
        let (began, index) = (Instant::now(), self.runtime.block_on(load)?);
        let opened = began.elapsed();
        let [known, unknown] = [0, ENTRIES].map(|from| self.find(&index, from));
        let ((known, quick), (unknown, none)) = (known?, unknown?);
        ensure!(
            (known, unknown) == (QUESTIONS, 0),
            "{known} of {QUESTIONS} known frames found, {unknown} unknown ones"
        );
        Ok(format!(
            "opened in {:.2} s; {QUESTIONS} known frames in {:.1} s, {QUESTIONS} unknown ones in {:.2} s",
            opened.as_secs_f64(),
            quick.as_secs_f64(),
            none.as_secs_f64()
        ))
    }

    /// How many of the frames that are strewn from there on are found, and the time that takes.
    fn find(&self, index: &Index, from: u32) -> Result<(u32, Duration)> {
        let began = Instant::now();
        let mut found = 0;
        for n in 0..QUESTIONS {
            let n = from + n.wrapping_mul(2_654_435_761) % ENTRIES;
            found += u32::from(self.runtime.block_on(index.find(id(n)?)).is_some());
        }
        Ok((found, began.elapsed()))
    }

    /// A whole session: all its chunks are asked for in the index, and stored.
    fn backup(&self) -> Result<String> {
        let open = Repository::open(self.store.clone(), Some(self.keys.root().public()));
        let repository = self.runtime.block_on(open)?;
        let now = Timestamp::now();
        let plan = SessionPlan { volume: volume()?, uid: String::new(), keys: self.task_keys()?, now };
        let session = self.runtime.block_on(Session::begin(&repository, plan))?;
        let options = BackupOptions {
            walk: WalkOptions::default(),
            threads: 2,
            now,
            checkpoint_every: CHECKPOINT_EVERY,
            held_pieces_max: HELD_PIECES_MAX,
        };
        let (source, counters) = (self.path.join("volume"), Counters::default());
        let done = backup(&repository, session, &source, &options, &counters, self.runtime.handle())?;
        let stored = done.finished.commit.bytes.stored;
        if stored < FILE_BYTES as u64 {
            bail!("{stored} bytes stored of {FILE_BYTES} that do not compress");
        }
        Ok(format!("{:.0} MiB stored in {} packs", mebibytes(stored), done.finished.packs))
    }
}
