//! Our archive against those that stock Velero 1.13 and 1.18 wrote, byte by byte. `TRYSAIL_GOLDEN` points to the recordings.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test may stop at the first surprise")]

use std::{
    env, fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::read::GzDecoder;
use serde_json::Value;
use trysail_cluster::{
    archive::{Reader, ResourceList, StoredItem, Writer},
    kind::{Item, Kind},
    strip,
};

/// A block of a tar.
const BLOCK: usize = 512;

/// Where a header has its time and its sum: ours is one time for all entries.
const TIME_AND_SUM: std::ops::Range<usize> = 136..156;

/// Directories with an archive of backup `b1`.
const ARCHIVES: [&str; 2] = ["bucket/b1", "bucket/server-1.13.0-b1"];

/// The recordings. Without them a test prints a `SKIPPED` line, which CI counts; in CI itself it fails.
fn golden() -> Option<PathBuf> {
    let place = env::var_os("TRYSAIL_GOLDEN").map(PathBuf::from);
    if place.is_none() {
        assert!(env::var_os("CI").is_none(), "TRYSAIL_GOLDEN must point to the recordings of stock Velero");
        println!("SKIPPED: comparison with archives of stock Velero: TRYSAIL_GOLDEN is not set");
    }
    place
}

fn gunzip(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

fn stored(path: &Path) -> (Vec<StoredItem>, String) {
    let mut reader = Reader::new(fs::File::open(path).unwrap());
    let mut items = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        items.push(item);
    }
    assert_eq!(reader.ignored(), 0);
    (items, reader.version().unwrap().to_owned())
}

/// The object of a stored item, with a kind as its path and its text say it.
fn item(stored: &StoredItem) -> Item {
    let object: Value = serde_json::from_slice(&stored.json).unwrap();
    let name = &stored.path.item;
    let (plural, group) = name.resource.split_once('.').unwrap_or((&name.resource, ""));
    let api_version = object["apiVersion"].as_str().unwrap();
    let kind = Kind {
        group: group.to_owned(),
        version: api_version.rsplit('/').next().unwrap().to_owned(),
        kind: object["kind"].as_str().unwrap().to_owned(),
        plural: plural.to_owned(),
        is_namespaced: name.namespace.is_some(),
        aliases: Vec::new(),
    };
    Item::new(Arc::new(kind), object)
}

fn rewritten(items: &[StoredItem]) -> (Vec<u8>, ResourceList) {
    let mut writer = Writer::new(Vec::new(), 0).unwrap();
    for stored in items.iter().filter(|stored| stored.path.version.is_none()) {
        writer.append(strip::stored_copy(item(stored), "b1")).unwrap();
    }
    writer.finish().unwrap()
}

/// The bytes of a tar with zeros for times and sums.
fn without_times(mut tar: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while at + BLOCK <= tar.len() && tar[at] != 0 {
        let size = std::str::from_utf8(&tar[at + 124..at + 135]).unwrap();
        let size = usize::from_str_radix(size, 8).unwrap();
        tar[at + TIME_AND_SUM.start..at + TIME_AND_SUM.end].fill(0);
        at += BLOCK + size.next_multiple_of(BLOCK);
    }
    tar
}

#[test]
fn what_stock_velero_stored_is_read_and_written_again_to_the_byte() {
    let Some(golden) = golden() else { return };
    for directory in ARCHIVES {
        let path = golden.join(directory).join("b1.tar.gz");
        let (items, version) = stored(&path);
        assert_eq!(version, "1.1.0", "{directory}");
        assert!(items.len() > 40, "{directory}: {} paths", items.len());
        let (ours, _) = rewritten(&items);
        let mut tar = Vec::new();
        GzDecoder::new(&ours[..]).read_to_end(&mut tar).unwrap();
        let (ours, theirs) = (without_times(tar), without_times(gunzip(&path)));
        let first = ours.iter().zip(&theirs).position(|(a, b)| a != b);
        assert_eq!((ours.len(), first), (theirs.len(), None), "{directory}: length, and first byte that differs");
    }
}

#[test]
fn our_list_of_objects_is_that_of_stock_velero() {
    let Some(golden) = golden() else { return };
    for directory in ARCHIVES {
        let (_, list) = rewritten(&stored(&golden.join(directory).join("b1.tar.gz")).0);
        let theirs = gunzip(&golden.join(directory).join("b1-resource-list.json.gz"));
        let theirs = String::from_utf8(theirs).unwrap();
        assert_eq!(serde_json::to_string(&list).unwrap(), theirs.trim(), "{directory}");
    }
}

#[test]
fn every_object_of_stock_velero_is_there_twice_with_the_same_bytes() {
    let Some(golden) = golden() else { return };
    for directory in ARCHIVES {
        let (items, _) = stored(&golden.join(directory).join("b1.tar.gz"));
        for pair in items.chunks(2) {
            let [classic, versioned] = pair else { panic!("{directory}: an odd number of paths") };
            let version = versioned.path.version.as_ref().unwrap();
            assert_eq!((&classic.path.item, &classic.json), (&versioned.path.item, &versioned.json));
            assert_eq!((&classic.path.version, version.is_preferred), (&None, true), "{}", classic.path.text());
        }
    }
}
