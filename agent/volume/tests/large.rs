//! Files so large that several threads restore one, each its own frames of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot prepare its files fails here")]

mod lab;
mod tree;

use std::{collections::BTreeMap, fs};

use lab::{Lab, Sealing, noise, options, scratch, whole};
use tempfile::TempDir;
use tree::rows;
use trysail_repository::{
    store::{Key, ObjectStore as _, memory::Memory},
    table::Kind,
};
use trysail_volume::{restore::RestoreOptions, target::TargetPolicy};

/// Noise does not compress: five windows and a few frames more.
const LARGE: usize = (41 << 20) + 12_345;

fn source() -> TempDir {
    let source = TempDir::new().unwrap();
    fs::write(source.path().join("large"), noise(7, LARGE)).unwrap();
    fs::write(source.path().join("small"), b"small").unwrap();
    source
}

#[test]
fn a_file_of_several_windows_comes_back_whatever_the_number_of_threads() {
    let source = source();
    let saved = rows(source.path());
    for (sealing, threads) in [(Sealing::Plain, 1), (Sealing::Plain, 5), (Sealing::Encrypted, 2)] {
        let lab = Lab::new(Memory::new(), sealing);
        let done = lab.backup_as("data", source.path(), &options()).unwrap();
        let target = scratch();
        let options = RestoreOptions { threads, ..whole(TargetPolicy::Empty) };
        let report = lab.restore(&done.id, &lab.identity(), target.path(), &options).unwrap();
        assert_eq!((report.lost, report.lost_count), (Vec::new(), 0), "{sealing:?}, {threads} threads");
        tree::assert_same(&rows(target.path()), &saved);
    }
}

#[test]
fn a_large_file_with_a_lost_pack_is_lost_once_and_nothing_of_it_is_left() {
    let source = source();
    let saved = rows(source.path());
    let lab = Lab::new(Memory::new(), Sealing::Plain);
    let done = lab.backup_as("data", source.path(), &options()).unwrap();
    let packs = lab.stored(&format!("v1/p/{}/", done.id.session));
    assert_eq!(packs.len(), 3, "the file is in more than the pack that is lost");
    let key = &packs[1];
    lab.run(lab.store.delete(&[Key::parse(key).unwrap()])).unwrap();
    for threads in [1, 2, 5] {
        let target = scratch();
        let options = RestoreOptions { threads, ..whole(TargetPolicy::Empty) };
        let report = lab.restore(&done.id, &lab.identity(), target.path(), &options).unwrap();
        let lost: Vec<_> = report.lost.iter().map(|lost| (lost.path.as_slice(), lost.reason.contains(key))).collect();
        assert_eq!((lost, report.lost_count), (vec![(b"large".as_slice(), true)], 1), "{threads} threads");
        let files = |rows: &[trysail_repository::table::Row]| -> BTreeMap<Vec<u8>, Kind> {
            rows.iter().filter(|r| matches!(r.kind, Kind::File(_))).map(|r| (r.path.clone(), r.kind.clone())).collect()
        };
        let mut kept = files(&saved);
        kept.remove(b"large".as_slice());
        assert_eq!(files(&rows(target.path())), kept, "{threads} threads");
    }
}
