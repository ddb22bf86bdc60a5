//! Any sequence of changes, backups, crashes, restores, expiry and prunes leaves each snapshot that lives equal to a plain copy.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot prepare its files fails here")]

mod lab;
mod tree;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use jiff::SignedDuration;
use lab::{Lab, Sealing, noise, scratch, sized, summary};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use tempfile::TempDir;
use tree::{assert_same, rows, set_mtime};
use trysail_repository::{
    layout::SnapshotId,
    prune,
    store::memory::Memory,
    table::Row,
    testing::{Faulty, Stop},
};

/// Volumes of a world.
const VOLUMES: usize = 2;

/// Contents of files: nothing, a little, shared in a bundle, one chunk, several.
const SIZES: [usize; 5] = [0, 100, 5000, 300 << 10, 900 << 10];

#[derive(Debug, Clone)]
enum Step {
    Write { volume: usize, file: u8, size: usize, seed: u64 },
    Remove { volume: usize, file: u8 },
    Rename { volume: usize, from: u8, to: u8 },
    Link { volume: usize, from: u8, to: u8 },
    Chmod { volume: usize, file: u8, bits: u32 },
    Backup { volume: usize },
    CrashBackup { volume: usize, calls: u64, stop: bool },
    Restore { which: usize },
    Forget { which: usize },
    Advance { hours: i64 },
    Prune,
    CrashPrune { calls: u64, stop: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let (volume, file, calls) = (0..VOLUMES, 0..8_u8, 0..24_u64);
    prop_oneof![
        6 => (volume.clone(), file.clone(), 0..SIZES.len(), 0..4_u64)
            .prop_map(|(volume, file, size, seed)| Step::Write { volume, file, size: SIZES[size], seed }),
        1 => (volume.clone(), file.clone()).prop_map(|(volume, file)| Step::Remove { volume, file }),
        1 => (volume.clone(), file.clone(), file.clone()).prop_map(|(volume, from, to)| Step::Rename { volume, from, to }),
        1 => (volume.clone(), file.clone(), file.clone()).prop_map(|(volume, from, to)| Step::Link { volume, from, to }),
        1 => (volume.clone(), file, 0..8_u32).prop_map(|(volume, file, bits)| Step::Chmod { volume, file, bits }),
        4 => volume.clone().prop_map(|volume| Step::Backup { volume }),
        3 => (volume, calls.clone(), any::<bool>())
            .prop_map(|(volume, calls, stop)| Step::CrashBackup { volume, calls, stop }),
        1 => any::<usize>().prop_map(|which| Step::Restore { which }),
        2 => any::<usize>().prop_map(|which| Step::Forget { which }),
        3 => (1..120_i64).prop_map(|hours| Step::Advance { hours }),
        3 => Just(Step::Prune),
        2 => (calls, any::<bool>()).prop_map(|(calls, stop)| Step::CrashPrune { calls, stop }),
    ]
}

fn stop(after: bool) -> Stop {
    if after { Stop::AfterEffect } else { Stop::BeforeEffect }
}

/// Volumes, a repository, and plain copies of what the repository is to hold.
struct World {
    lab: Lab<Faulty<Memory>>,
    volumes: Vec<TempDir>,
    copies: BTreeMap<SnapshotId, Vec<Row>>,
    /// Times of files: each change has its own, because two in one tick of the kernel's clock are not told apart.
    clock: i64,
}

impl World {
    fn new(sealing: Sealing) -> Self {
        let volumes = (0..VOLUMES).map(|_| scratch()).collect();
        let lab = Lab::new(Faulty::new(Memory::new()), sealing);
        Self { lab, volumes, copies: BTreeMap::new(), clock: 1_000_000_000 }
    }

    fn path(&self, volume: usize, file: u8) -> PathBuf {
        let directory = self.volumes[volume].path().join(format!("d{}", file % 2));
        fs::create_dir_all(&directory).unwrap();
        directory.join(format!("f{file}"))
    }

    /// Gives what was changed, and the directories above it, a time of their own.
    fn touch(&mut self, path: &Path) {
        for path in path.ancestors().take(3) {
            if path.symlink_metadata().is_ok() {
                self.clock += 1;
                set_mtime(path, self.clock, 0);
            }
        }
    }

    fn restored_as_copied(&self, which: usize) {
        if let Some((id, copy)) = self.copies.iter().nth(which % self.copies.len().max(1)) {
            assert_same(&self.lab.restored(id), copy);
        }
    }

    fn backup(&mut self, volume: usize) -> bool {
        let source = self.volumes[volume].path().to_owned();
        let copy = rows(&source);
        let known: Vec<SnapshotId> = self.copies.keys().cloned().collect();
        let done = self.lab.backup_as(&format!("volume {volume}"), &source, &lab::options());
        self.lab.store.heal();
        // A crash may have come after the commit: then the snapshot is there, and must be this one.
        let new = self.lab.snapshots().into_iter().find(|id| !known.contains(id));
        assert!(done.is_err() || new.is_some());
        self.copies.extend(new.map(|id| (id, copy)));
        done.is_ok()
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Write { volume, file, size, seed } => {
                let path = self.path(volume, file);
                fs::write(&path, noise(seed, size)).unwrap();
                self.touch(&path);
            }
            Step::Remove { volume, file } => {
                let path = self.path(volume, file);
                let _ = fs::remove_file(&path);
                self.touch(&path);
            }
            Step::Rename { volume, from, to } => {
                let (from, to) = (self.path(volume, from), self.path(volume, to));
                let _ = fs::rename(&from, &to);
                self.touch(&to);
                self.touch(&from);
            }
            Step::Link { volume, from, to } => {
                let (from, to) = (self.path(volume, from), self.path(volume, to));
                let _ = fs::hard_link(&from, &to);
                self.touch(&to);
            }
            Step::Chmod { volume, file, bits } => {
                use std::os::unix::fs::PermissionsExt as _;
                let path = self.path(volume, file);
                if path.exists() {
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o600 | bits)).unwrap();
                }
                self.touch(&path);
            }
            Step::Backup { volume } => assert!(self.backup(volume)),
            Step::CrashBackup { volume, calls, stop: after } => {
                self.lab.store.stop_after(calls, stop(after));
                self.backup(volume);
            }
            Step::Restore { which } => self.restored_as_copied(which),
            Step::Forget { which } => {
                let id = self.copies.keys().nth(which % self.copies.len().max(1)).cloned();
                if let Some(id) = id {
                    self.lab.run(prune::forget(&*self.lab.store, &id)).unwrap();
                    self.copies.remove(&id);
                }
            }
            Step::Advance { hours } => self.lab.advance(SignedDuration::from_hours(hours)),
            Step::Prune => drop(self.lab.prune().unwrap()),
            Step::CrashPrune { calls, stop: after } => {
                self.lab.store.stop_after(calls, stop(after));
                let _ = self.lab.prune();
                self.lab.store.heal();
            }
        }
    }

    fn assert_whole(&self) {
        assert_eq!(self.lab.snapshots(), self.copies.keys().cloned().collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: sized(12, 2000),
        max_shrink_iters: 2000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/model.proptest-regressions"),
        ))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn each_snapshot_that_lives_equals_its_plain_copy(
        steps in prop::collection::vec(step(), 1..sized(30, 60)),
        encrypted in any::<bool>(),
    ) {
        let mut world = World::new(if encrypted { Sealing::Encrypted } else { Sealing::Plain });
        for (n, step) in steps.iter().enumerate() {
            world.take(step);
            world.assert_whole();
            if matches!(step, Step::Backup { .. } | Step::CrashBackup { .. } | Step::Prune | Step::CrashPrune { .. }) {
                world.restored_as_copied(n);
            }
        }
        for volume in 0..VOLUMES {
            world.take(&Step::Backup { volume });
        }
        world.lab.prune_to_what_is_needed();
        world.assert_whole();
        (0..world.copies.len()).for_each(|which| world.restored_as_copied(which));
        summary("model", &format!("{} steps, {} snapshots live", steps.len(), world.copies.len()));
    }
}
