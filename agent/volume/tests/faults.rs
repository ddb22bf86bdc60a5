//! A store that does not answer, answers after all, or answers wrongly, and a source that cannot be read to its end: one good snapshot,
//! or an error that says what is wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot prepare its files fails here")]

mod lab;
mod tree;

use std::{collections::BTreeMap, fs, os::unix::fs::FileExt as _, thread};

use lab::{Lab, Sealing, noise, numbers, options, scratch, sized, summary, whole};
use rustix::io::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};
use tempfile::TempDir;
use tree::rows;
use trysail_repository::{
    check::{CheckOptions, Subset, check},
    layout,
    store::{ErrorKind, memory::Memory, retry::Retry},
    table::{Kind, Row},
    testing::{Fault, Faulty, Op},
};
use trysail_volume::{backup::BackupOptions, export::export, target::TargetPolicy};

fn source() -> TempDir {
    let source = scratch();
    for n in 0..20_u64 {
        fs::write(source.path().join(format!("small-{n:02}")), noise(n, 3000)).unwrap();
    }
    fs::write(source.path().join("large"), noise(99, 1 << 20)).unwrap();
    source
}

/// Numbers below a bound, the same in every run.
fn chance() -> impl FnMut(u64) -> u64 {
    let mut next = numbers(1);
    move |below| (next() >> 20) % below
}

#[test]
fn calls_that_fail_at_random_are_tried_again_and_leave_one_good_snapshot() {
    let source = source();
    let saved = rows(source.path());
    let mut random = chance();
    let (runs, failures) = (sized(2, 50), 6);
    for sealing in [Sealing::Plain, Sealing::Encrypted] {
        for _ in 0..runs {
            let faulty = Faulty::new(Memory::new());
            for _ in 0..failures {
                let fault = [Fault::Fail(ErrorKind::Transient), Fault::LoseAnswer(ErrorKind::Transient)];
                faulty.at_call(random(25), fault[usize::try_from(random(2)).unwrap()]);
            }
            let lab = Lab::new(Retry::new(faulty), sealing);
            let done = lab.backup(source.path()).unwrap();
            assert_eq!(lab.snapshots(), std::slice::from_ref(&done.id));
            lab.assert_restores(&done.id, &saved);
        }
    }
    summary("transient failures", &format!("{} runs of {failures} failures", 2 * runs));
}

#[test]
fn writes_whose_answers_are_all_lost_once_are_settled_and_leave_one_good_snapshot() {
    let source = source();
    let faulty = Faulty::new(Memory::new());
    // Each key is written once, and its first answer is lost.
    for prefix in ["repo.json", "keys/", ".open", "v1/p/", "v1/m/", ".packs", ".refs", ".recipe", ".json", "v1/ix/"] {
        faulty.on_key(Some(Op::Create), prefix, 1, Fault::LoseAnswer(ErrorKind::Transient));
    }
    let lab = Lab::new(Retry::new(faulty), Sealing::Encrypted);
    let done = lab.backup(source.path()).unwrap();
    assert_eq!(lab.snapshots(), std::slice::from_ref(&done.id));
    lab.assert_restores(&done.id, &rows(source.path()));
}

#[test]
fn a_session_whose_commit_is_stored_without_anybody_knowing_is_the_base_of_the_next_one() {
    let source = source();
    let lab = Lab::new(Faulty::new(Memory::new()), Sealing::Plain);
    lab.store.on_key(Some(Op::Create), ".json", 1, Fault::LoseAnswer(ErrorKind::Invalid));
    lab.backup(source.path()).expect_err("it is not told of its commit");
    let saved = rows(source.path());
    let done = lab.backup(source.path()).unwrap();
    assert_eq!((done.unchanged, done.report.finished.commit.seq), (saved.len() as u64, 2));
    assert_eq!(lab.snapshots().len(), 2);
    lab.snapshots().iter().for_each(|id| lab.assert_restores(id, &saved));
}

/// What a restore made of the files of a snapshot: each as it was saved, or not there.
fn assert_right_or_absent(made: &[Row], saved: &[Row], lost: &BTreeMap<Vec<u8>, String>, when: &str) {
    let made: BTreeMap<_, _> = made.iter().map(|row| (&row.path, row)).collect();
    for row in saved.iter().filter(|row| matches!(row.kind, Kind::File(_))) {
        match made.get(&row.path) {
            Some(found) => assert_eq!((&found.kind, lost.get(&row.path)), (&row.kind, None), "{when}"),
            None => {
                assert!(lost.contains_key(&row.path), "{when}: {} is neither made nor lost", row.path.escape_ascii());
            }
        }
    }
}

#[test]
fn answers_that_are_cut_or_flipped_during_a_restore_are_noticed_and_never_become_contents() {
    let source = source();
    let saved = rows(source.path());
    let mut random = chance();
    let (mut failed, mut lossy, mut harmless) = (0, 0, 0);
    for sealing in [Sealing::Plain, Sealing::Encrypted] {
        let lab = Lab::new(Faulty::new(Memory::new()), sealing);
        let done = lab.backup_as("data", source.path(), &options()).unwrap();
        for _ in 0..sized(60, 2000) {
            let at = usize::try_from(random(1 << 20)).unwrap();
            let fault = if random(2) == 0 { Fault::FlipBit(at) } else { Fault::Truncate(at % 3000) };
            let call = lab.store.calls() + 2 + random(8);
            lab.store.at_call(call, fault);
            let target = scratch();
            let when = format!("{sealing:?}, {fault:?}");
            match lab.restore(&done.id, &lab.identity(), target.path(), &whole(TargetPolicy::Empty)) {
                Err(error) => {
                    assert!(error.to_string().contains("v1/"), "{when}: {error} names no object");
                    failed += 1;
                }
                Ok(report) => {
                    assert_eq!(report.lost.len() as u64, report.lost_count);
                    let lost: BTreeMap<_, _> = report.lost.into_iter().map(|l| (l.path, l.reason)).collect();
                    for reason in lost.values() {
                        assert!(
                            reason.contains(layout::packs_prefix(trysail_repository::table::PackKind::Data))
                                || reason.contains("SHA-256"),
                            "{when}: {reason}"
                        );
                    }
                    assert_right_or_absent(&rows(target.path()), &saved, &lost, &when);
                    if lost.is_empty() { harmless += 1 } else { lossy += 1 }
                }
            }
            lab.store.heal();
        }
    }
    assert!(failed > 0 && lossy > 0, "{failed} failed, {lossy} lossy");
    summary("damaged answers", &format!("{failed} restores failed, {lossy} had losses, {harmless} were not hit"));
}

/// Number of the system call `pread64`. Source: Linux `asm/unistd_64.h` of x86-64, `asm-generic/unistd.h` of others.
const PREAD64: i64 = if cfg!(target_arch = "x86_64") { 17 } else { 67 };

/// Runs work on a thread for which the kernel fails every read at or after an offset with `EIO`, as a disk with bad sectors does.
fn where_reads_fail_from<T: Send>(offset: u64, work: impl FnOnce() -> T + Send) -> T {
    let late = SeccompCondition::new(3, SeccompCmpArgLen::Qword, SeccompCmpOp::Ge, offset).unwrap();
    let rules = [(PREAD64, vec![SeccompRule::new(vec![late]).unwrap()])].into();
    let eio = SeccompAction::Errno(Errno::IO.raw_os_error().unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, eio, arch).unwrap();
    let filter: BpfProgram = filter.try_into().unwrap();
    thread::scope(|scope| {
        let limited = scope.spawn(|| {
            apply_filter(&filter).unwrap();
            work()
        });
        limited.join().unwrap()
    })
}

/// Names and contents of a tar stream that is whole to its end.
fn members(tar_zst: &[u8]) -> Vec<(String, Vec<u8>)> {
    let plain = zstd::decode_all(tar_zst).unwrap();
    let mut archive = tar::Archive::new(plain.as_slice());
    let entry = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        (entry.path().unwrap().display().to_string(), content)
    };
    archive.entries().unwrap().map(entry).collect()
}

#[test]
fn a_file_that_fails_late_is_named_and_no_part_of_it_is_in_the_tar_stream() {
    const LARGE: usize = 8 << 20;
    const READABLE: u64 = 5 << 20;
    let source = scratch();
    fs::write(source.path().join("a"), noise(1, 3000)).unwrap();
    fs::write(source.path().join("large"), noise(2, LARGE)).unwrap();
    fs::write(source.path().join("z"), noise(3, 300 << 10)).unwrap();
    let probe = fs::File::open(source.path().join("large")).unwrap();
    let late = where_reads_fail_from(READABLE, || probe.read_at(&mut [0], READABLE).map_err(|e| e.raw_os_error()));
    assert_eq!(late, Err(Some(Errno::IO.raw_os_error())));
    for (held_pieces_max, gear) in [(usize::MAX, "held back"), (4, "handed over in part")] {
        for sealing in [Sealing::Plain, Sealing::Encrypted] {
            let lab = Lab::new(Memory::new(), sealing);
            let options = BackupOptions { held_pieces_max, ..options() };
            let done = where_reads_fail_from(READABLE, || lab.backup_as("data", source.path(), &options)).unwrap();
            let named: Vec<String> = done.report.problems.errors.iter().map(ToString::to_string).collect();
            assert_eq!(
                (named.as_slice(), done.report.problems.error_count),
                (&["large: file cannot be read".to_owned()][..], 1)
            );
            assert_eq!(done.report.finished.commit.entries.unreadable, 1, "{gear}");

            let repository = lab.open().unwrap();
            let mut tar_zst = Vec::new();
            lab.run(export(&repository, &done.id, &lab.identity(), &mut tar_zst)).unwrap();
            let expected = [
                ("./".to_owned(), Vec::new()),
                ("./a".to_owned(), noise(1, 3000)),
                ("./z".to_owned(), noise(3, 300 << 10)),
            ];
            assert!(members(&tar_zst) == expected, "{gear}: the stream has other members");

            let options =
                CheckOptions { identity: lab.identity(), keys: None, read_data: Some(Subset::ALL), only: None };
            let report = lab.run(check(&repository, &options, &|_| ())).unwrap();
            assert_eq!(report.findings, [], "{gear}");

            let target = scratch();
            let report = lab.restore(&done.id, &lab.identity(), target.path(), &whole(TargetPolicy::Empty)).unwrap();
            assert_eq!((report.lost_count, report.unreadable), (1, 1));
            let mut saved = rows(source.path());
            saved.retain(|row| row.path != b"large");
            tree::assert_same(&rows(target.path()), &saved);

            // What was stored of it is found again when it can be read.
            let healed = lab.backup(source.path()).unwrap();
            lab.assert_restores(&healed.id, &rows(source.path()));
            lab.prune_to_what_is_needed();
        }
    }
}
