//! A session that dies leaves what it had finished, and the next one goes on from there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot prepare its files fails here")]

mod lab;
mod tree;

use std::{fs, path::Path, time::Duration};

use lab::{Done, Lab, Sealing, options, scratch, summary};
use tempfile::TempDir;
use tree::rows;
use trysail_repository::{
    layout::{self, Beside, SnapshotId},
    prune,
    read::packs,
    store::{ErrorKind, memory::Memory},
    table::{Kind, Row},
    testing::{Fault, Faulty, Op},
};
use trysail_volume::backup::{BackupError, BackupOptions};

/// Enough for several blocks of rows and several bundles.
const FILES: usize = 1200;

/// Many files, of which the index names none, because they are too small.
fn source() -> TempDir {
    let source = scratch();
    for n in 0..FILES {
        fs::write(source.path().join(format!("file-{n:05}")), format!("content of {n}").repeat(10)).unwrap();
    }
    source
}

fn lab() -> Lab<Faulty<Memory>> {
    Lab::new(Faulty::new(Memory::new()), Sealing::Encrypted)
}

/// A backup that tells after every item what is finished.
fn telling(lab: &Lab<Faulty<Memory>>, source: &Path) -> Result<Done, BackupError> {
    lab.backup_as("data", source, &BackupOptions { checkpoint_every: Duration::ZERO, ..options() })
}

/// Runs a session that dies when it has stored that part of its table.
fn die_at_part(lab: &Lab<Faulty<Memory>>, source: &Path, part: u32) {
    let fault = Fault::LoseAnswer(ErrorKind::Invalid);
    lab.store.on_key(Some(Op::Create), &format!(".{part}.part"), 1, fault);
    telling(lab, source).expect_err("it dies");
    lab.store.heal();
}

/// Asserts that the pack tables that a snapshot's readers ask name all of its packs, by reading them as a restore does.
fn assert_vouched(lab: &Lab<Faulty<Memory>>, id: &SnapshotId) {
    let repository = lab.open().unwrap();
    let (commit, _) = lab.run(repository.commit(id)).unwrap();
    let refs = lab.run(packs::refs(&repository, &commit)).unwrap();
    let table = lab.run(packs::table(&repository, &commit, &refs)).unwrap();
    let named: Vec<_> = table.0.keys().copied().collect();
    assert_eq!(named, refs.iter().map(|(pack, _)| pack).collect::<Vec<_>>());
}

/// Asserts that a snapshot that took over from the dead restores, that the next one does, and that both still do without leftovers.
fn assert_goes_on(lab: &Lab<Faulty<Memory>>, taken_over: &Done, source: &Path, saved: &[Row]) {
    assert_vouched(lab, &taken_over.id);
    let next = lab.backup(source).unwrap();
    assert_eq!((next.unchanged, next.read), (saved.len() as u64, 0));
    lab.prune_to_what_is_needed();
    assert_vouched(lab, &next.id);
    lab.assert_restores(&taken_over.id, saved);
    // The one that took over may go: the next one stands by itself.
    lab.run(prune::forget(&*lab.store, &taken_over.id)).unwrap();
    lab.prune_to_what_is_needed();
    assert_vouched(lab, &next.id);
    let last = lab.backup(source).unwrap();
    assert_vouched(lab, &last.id);
    lab.assert_restores(&last.id, saved);
}

#[test]
fn what_a_dead_session_had_finished_is_neither_read_nor_stored_again() {
    let source = source();
    let saved = rows(source.path());
    let (lab, undisturbed) = (lab(), lab());
    let whole = telling(&undisturbed, source.path()).unwrap();
    die_at_part(&lab, source.path(), 1);
    assert_eq!(lab.snapshots(), []);
    let stored = lab.stored("v1/p/").len();
    let second = telling(&lab, source.path()).unwrap();
    let commit = &second.report.finished.commit;
    assert!(second.unchanged > 200, "{} of {FILES} files were finished", second.unchanged);
    let contents =
        |rows: &[Row]| rows.iter().map(|row| if let Kind::File(c) = &row.kind { c.size } else { 0 }).sum::<u64>();
    let adopted = usize::try_from(second.unchanged).unwrap();
    assert_eq!((whole.read, second.read), (contents(&saved), contents(&saved[adopted..])));
    assert!(commit.packs.is_some_and(|packs| packs.adopted > 0), "{:?}", commit.packs);
    assert!(stored > 0);
    assert_goes_on(&lab, &second, source.path(), &saved);
    summary("resume", &format!("{} of {} entries adopted", second.unchanged, saved.len()));
}

#[test]
fn a_session_takes_over_what_several_dead_ones_had_finished_one_after_another() {
    let source = source();
    let saved = rows(source.path());
    let lab = lab();
    for part in [0, 1, 0] {
        die_at_part(&lab, source.path(), part);
    }
    let done = telling(&lab, source.path()).unwrap();
    assert_goes_on(&lab, &done, source.path(), &saved);
}

#[test]
fn a_dead_session_on_top_of_a_snapshot_is_taken_over_with_what_it_took_from_the_snapshot() {
    let source = source();
    let lab = lab();
    let first = telling(&lab, source.path()).unwrap();
    let before = rows(source.path());
    for n in (0..FILES).step_by(7) {
        fs::write(source.path().join(format!("file-{n:05}")), format!("other content of {n}")).unwrap();
    }
    let saved = rows(source.path());
    die_at_part(&lab, source.path(), 1);
    let second = telling(&lab, source.path()).unwrap();
    assert_eq!(second.report.finished.commit.base, Some(first.id.session));
    lab.assert_restores(&first.id, &before);
    assert_goes_on(&lab, &second, source.path(), &saved);
}

#[test]
fn a_part_that_is_damaged_or_gone_costs_reading_again_and_nothing_else() {
    type Harm = fn(&Lab<Faulty<Memory>>, &trysail_repository::store::Key);
    let source = source();
    let saved = rows(source.path());
    let harms: [Harm; 2] = [
        |lab, key| assert!(lab.store.inner().damage(key, |bytes| bytes[40] ^= 1)),
        |lab, key| lab.store.on_key(Some(Op::Get), key.as_str(), 1, Fault::Fail(ErrorKind::Missing)),
    ];
    for harm in harms {
        let lab = lab();
        die_at_part(&lab, source.path(), 1);
        let dead = lab.stored(layout::SESSIONS).pop().unwrap();
        let session = dead.trim_start_matches(layout::SESSIONS).trim_end_matches(".open").parse().unwrap();
        let volume = trysail_repository::layout::VolumeName::new("data").unwrap();
        harm(&lab, &layout::beside(&SnapshotId { volume, session }, Beside::Part(0)));
        let done = telling(&lab, source.path()).unwrap();
        assert_eq!(done.unchanged, 0);
        lab.store.heal();
        assert_goes_on(&lab, &done, source.path(), &saved);
    }
}
