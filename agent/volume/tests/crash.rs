//! A life of a repository that ends at any store call: whatever was committed is there, and everything goes on without repair.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot prepare its files fails here")]

mod lab;
mod tree;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
};

use lab::{Behind, LONG, Lab, Sealing, noise, scratch, sized, summary, torn::Torn};
use tempfile::TempDir;
use tree::{assert_same, rows, set_mtime};
use trysail_repository::{
    layout::SnapshotId,
    prune,
    store::memory::Memory,
    table::Row,
    testing::{Faulty, Stop},
};

/// A volume with two states, so that the second backup finds most of the first again.
struct Volume {
    directory: TempDir,
    states: [Vec<Row>; 2],
}

impl Volume {
    fn new() -> Self {
        let directory = scratch();
        fs::write(directory.path().join("constant"), noise(1, 5000)).unwrap();
        fs::write(directory.path().join("large"), noise(2, 600 << 10)).unwrap();
        fs::write(directory.path().join("moves-0"), noise(3, 4096)).unwrap();
        fs::hard_link(directory.path().join("constant"), directory.path().join("link")).unwrap();
        let volume = Self { directory, states: [Vec::new(), Vec::new()] };
        volume.set(1);
        let second = rows(volume.path());
        volume.set(0);
        let first = rows(volume.path());
        Self { states: [first, second], ..volume }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Brings the volume to a state, whichever it was in.
    fn set(&self, state: usize) {
        let at = |title: &str| self.path().join(title);
        let large = File::options().write(true).open(at("large")).unwrap();
        large.write_all_at(&[u8::try_from(state).unwrap()], 300_000).unwrap();
        fs::write(at("small"), ["first", "second state"][state]).unwrap();
        if at(&format!("moves-{}", 1 - state)).exists() {
            fs::rename(at(&format!("moves-{}", 1 - state)), at(&format!("moves-{state}"))).unwrap();
        }
        for title in ["large", "small", ""] {
            set_mtime(&at(title), 1_000_000_000 + i64::try_from(state).unwrap(), 5);
        }
    }
}

/// What the caller of a life was told.
#[derive(Default)]
struct Told {
    /// The states of the backups that were begun, in order.
    begun: Vec<usize>,
    /// Snapshots that the caller was told to be committed, and their states.
    committed: BTreeMap<SnapshotId, usize>,
    /// Those that it asked to be forgotten.
    forgotten: Vec<SnapshotId>,
}

/// A first backup, one after changes, the first one forgotten, and two prunes. `None` where it was cut off.
fn live<S: Behind>(lab: &Lab<S>, volume: &Volume, told: &mut Told) -> Option<()> {
    lab.init().ok()?;
    for state in [0, 1] {
        volume.set(state);
        told.begun.push(state);
        let done = lab.backup(volume.path()).ok()?;
        told.committed.insert(done.id, state);
    }
    lab.advance(LONG);
    let first = told.committed.keys().next()?.clone();
    told.forgotten.push(first.clone());
    lab.run(prune::forget(&*lab.store, &first)).ok()?;
    lab.prune().ok()?;
    lab.advance(LONG);
    lab.prune().ok()?;
    Some(())
}

/// Asserts that a repository that was cut off is whole and goes on.
fn assert_whole<S: Behind>(lab: &Lab<S>, volume: &Volume, told: &Told, when: &str) {
    if lab.open().is_err() {
        assert!(told.committed.is_empty(), "{when}: the repository is gone");
        lab.init().unwrap_or_else(|error| panic!("{when}: {error}"));
    }
    let there = lab.snapshots();
    for id in told.committed.keys().filter(|id| !told.forgotten.contains(id)) {
        assert!(there.contains(id), "{when}: {id} is gone");
    }
    let mut states = Vec::new();
    for id in there {
        // Of a snapshot that its caller was not told of, only the last backup that was begun can be the maker.
        let state = told.committed.get(&id).copied().or(told.begun.last().copied()).unwrap();
        assert_same(&lab.restored(&id), &volume.states[state]);
        states.push((id, state));
    }
    volume.set(1);
    let done = lab.backup(volume.path()).unwrap_or_else(|error| panic!("{when}: {error}"));
    states.push((done.id, 1));
    lab.prune_to_what_is_needed();
    let there = lab.snapshots();
    assert_eq!(there, states.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), "{when}");
    for (id, state) in states {
        assert_same(&lab.restored(&id), &volume.states[state]);
    }
}

#[test]
fn a_life_that_ends_at_any_call_before_or_after_its_effect_loses_nothing_committed() {
    let volume = Volume::new();
    let sealings: &[Sealing] = sized(&[Sealing::Plain], &[Sealing::Plain, Sealing::Encrypted]);
    let mut points = 0;
    for sealing in sealings {
        for stop in [Stop::BeforeEffect, Stop::AfterEffect] {
            for calls in 0.. {
                let lab = Lab::empty(Faulty::new(Memory::new()), *sealing);
                lab.store.stop_after(calls, stop);
                let mut told = Told::default();
                let lived = live(&lab, &volume, &mut told);
                lab.store.heal();
                assert_whole(&lab, &volume, &told, &format!("{sealing:?}, {stop:?} at call {calls}"));
                if lived.is_some() {
                    break;
                }
                points += 1;
            }
        }
    }
    assert!(points > 100, "{points} points");
    summary("crash at each call", &format!("{points} points"));
}

#[test]
fn a_life_that_is_cut_off_with_any_of_its_writes_in_flight_loses_nothing_committed() {
    let volume = Volume::new();
    let subsets: &[u64] = sized(&[0b01, 0b10], &[0, 1, 2, 3, 4, 5, 6, 7]);
    let (mut points, mut most) = (0, 0);
    for taking_effect in subsets {
        for calls in 0.. {
            let lab = Lab::empty(Torn::default(), Sealing::Plain);
            lab.store.crash_after(calls, *taking_effect);
            let mut told = Told::default();
            let lived = live(&lab, &volume, &mut told);
            lab.store.heal();
            most = most.max(lab.store.most());
            assert_whole(&lab, &volume, &told, &format!("{taking_effect:b} of those in flight at call {calls}"));
            if lived.is_some() {
                break;
            }
            points += 1;
        }
    }
    assert!(points > 100 && most == 2, "{points} points, up to {most} in flight");
    summary("crash with writes in flight", &format!("{points} points, up to {most} in flight"));
}
