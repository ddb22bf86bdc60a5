//! Archives that are whole, and archives that somebody damaged or made up.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::{
    io::{Cursor, Read as _, Write as _},
    sync::Arc,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::json;
use tar::{EntryType, Header};
use trysail_cluster::{
    Class, Result,
    archive::{Reader, StoredItem, Writer},
    kind::{Item, Kind},
};

fn kind(group: &str, plural: &str, kind: &str, is_namespaced: bool) -> Arc<Kind> {
    Arc::new(Kind {
        group: group.to_owned(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        is_namespaced,
        aliases: Vec::new(),
    })
}

fn items() -> Vec<Item> {
    let settings = json!({"metadata": {"name": "settings", "namespace": "app"}, "data": {"k": "<v>"}});
    let role = json!({"metadata": {"name": "system:node"}});
    // The longest names that Kubernetes has: no ustar header holds this path.
    let long = json!({"metadata": {"name": "n".repeat(253), "namespace": "s".repeat(63)}});
    vec![
        Item::new(kind("", "configmaps", "ConfigMap", true), settings),
        Item::new(kind("rbac.authorization.k8s.io", "clusterroles", "ClusterRole", false), role),
        Item::new(kind("example.org", "things", "Thing", true), long),
    ]
}

fn written() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), 1_795_243_053).unwrap();
    for item in items() {
        writer.append(item).unwrap();
    }
    writer.finish().unwrap().0
}

fn read(bytes: &[u8]) -> Result<Vec<StoredItem>> {
    let mut reader = Reader::new(bytes);
    let mut items = Vec::new();
    while let Some(item) = reader.next_item()? {
        items.push(item);
    }
    Ok(items)
}

fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(tar).unwrap();
    gzip.finish().unwrap()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut tar).unwrap();
    tar
}

#[test]
fn what_is_written_is_read() {
    let expected: Vec<String> = [
        "resources/configmaps/namespaces/app/settings.json".to_owned(),
        "resources/configmaps/v1-preferredversion/namespaces/app/settings.json".to_owned(),
        "resources/clusterroles.rbac.authorization.k8s.io/cluster/system:node.json".to_owned(),
        "resources/clusterroles.rbac.authorization.k8s.io/v1-preferredversion/cluster/system:node.json".to_owned(),
        format!("resources/things.example.org/namespaces/{}/{}.json", "s".repeat(63), "n".repeat(253)),
        format!(
            "resources/things.example.org/v1-preferredversion/namespaces/{}/{}.json",
            "s".repeat(63),
            "n".repeat(253)
        ),
    ]
    .into();
    let found = read(&written()).unwrap();
    assert_eq!(found.iter().map(|item| item.path.text()).collect::<Vec<_>>(), expected);
    let settings = r#"{"apiVersion":"v1","data":{"k":"\u003cv\u003e"},"kind":"ConfigMap","metadata":{"name":"settings","namespace":"app"}}"#;
    assert_eq!(found[0].json, settings.as_bytes());
    assert_eq!(found[1].json, settings.as_bytes());
}

#[test]
fn another_reader_of_tars_finds_the_same_files() {
    let tar = gunzip(&written());
    let mut archive = tar::Archive::new(&tar[..]);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let header = entry.header();
        let facts = (header.entry_type(), header.mode().unwrap(), header.uid().unwrap(), header.mtime().unwrap());
        assert_eq!(facts, (EntryType::Regular, 0o755, 0, 1_795_243_053));
        (entry.path().unwrap().display().to_string(), content)
    });
    let entries: Vec<_> = entries.collect();
    let ours = read(&written()).unwrap();
    assert_eq!(entries[0], ("metadata/version".to_owned(), b"1.1.0\n".to_vec()));
    let expected: Vec<_> = ours.into_iter().map(|item| (item.path.text(), item.json)).collect();
    assert_eq!(entries[1..], expected);
}

#[test]
fn equal_objects_make_equal_bytes() {
    assert_eq!(written(), written());
}

#[test]
fn a_name_that_is_no_part_of_a_path_is_not_stored() {
    for name in ["..", "a/b", "", "../../etc/passwd", "."] {
        let item =
            Item::new(kind("", "configmaps", "ConfigMap", true), json!({"metadata": {"name": name, "namespace": "n"}}));
        let error = Writer::new(Vec::new(), 0).unwrap().append(item).unwrap_err();
        assert_eq!(error.class(), Class::Invalid, "{name:?}: {error}");
    }
}

/// A tar of entries as anyone may write them, without any of our checks.
struct Made(Vec<u8>);

impl Made {
    fn new() -> Self {
        Self(Vec::new()).file("metadata/version", b"1.1.0\n")
    }

    fn file(self, path: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, path, content, content.len() as u64)
    }

    fn entry(mut self, entry_type: EntryType, path: &str, content: &[u8], size: u64) -> Self {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(entry_type);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn unended(self) -> Vec<u8> {
        gzip(&self.0)
    }

    fn ended(mut self, padding: usize) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024 + padding, 0);
        gzip(&self.0)
    }
}

const POD: &str = "resources/pods/namespaces/a/p.json";

#[test]
fn archives_that_other_programs_packed_again_are_read() {
    let packed = Made::new()
        .entry(EntryType::Directory, "./resources/", b"", 0)
        .file(&format!("./{POD}"), b"{}")
        .entry(EntryType::XHeader, "x", b"46 path=resources/pods/namespaces/a/long.json\n", 46)
        .file("short", b"{}")
        .entry(EntryType::GNULongName, "x", b"resources/pods/cluster/gnu.json\0", 32)
        .file("short", b"{}")
        .file("resources/pods/v1/else/p.json", b"{}")
        .ended(8 * 1024);
    let paths: Vec<_> = read(&packed).unwrap().iter().map(|item| item.path.text()).collect();
    assert_eq!(paths, [POD, "resources/pods/namespaces/a/long.json", "resources/pods/cluster/gnu.json"]);
}

#[test]
fn made_up_archives_are_refused_with_the_entry_and_the_reason() {
    let huge = 1 << 40;
    let damage = |mut tar: Vec<u8>, at: usize| {
        tar[at] ^= 1;
        gzip(&tar)
    };
    let whole = Made::new().file(POD, b"{}");
    let plain = whole.0.clone();
    let rows = [
        (
            "leads above",
            Made::new().file("resources/../../x", b"").ended(0),
            "archive: resources/../../x: its path leads elsewhere",
        ),
        (
            "is absolute",
            Made::new().file("/etc/passwd", b"").ended(0),
            "archive: /etc/passwd: its path leads elsewhere",
        ),
        (
            "is there twice",
            Made::new().file(POD, b"{}").file(POD, b"{}").ended(0),
            "archive: resources/pods/namespaces/a/p.json: it is there twice",
        ),
        (
            "is there twice in two spellings",
            Made::new().file(POD, b"{}").file(&format!("./{POD}"), b"{}").ended(0),
            "archive: resources/pods/namespaces/a/p.json: it is there twice",
        ),
        (
            "is a symbolic link",
            Made::new().entry(EntryType::Symlink, POD, b"", 0).ended(0),
            "archive: after metadata/version: an entry that is neither a file nor a directory",
        ),
        (
            "is a link",
            Made::new().entry(EntryType::Link, POD, b"", 0).ended(0),
            "archive: after metadata/version: an entry that is neither a file nor a directory",
        ),
        (
            "is a device",
            Made::new().entry(EntryType::Char, POD, b"", 0).ended(0),
            "archive: after metadata/version: an entry that is neither a file nor a directory",
        ),
        (
            "says that it is huge",
            Made::new().entry(EntryType::Regular, POD, b"", huge).ended(0),
            "archive: resources/pods/namespaces/a/p.json: 1099511627776 bytes are more than 33554432",
        ),
        (
            "has a huge record",
            Made::new().entry(EntryType::XHeader, "x", b"", huge).ended(0),
            "archive: metadata/version: 1099511627776 bytes are more than 4096",
        ),
        (
            "changes its size",
            Made::new().entry(EntryType::XHeader, "x", b"9 size=1\n", 9).file(POD, b"{}").ended(0),
            "archive: after metadata/version: a record that changes a size",
        ),
        (
            "has another version",
            Made(Vec::new()).file("metadata/version", b"2.0.0\n").ended(0),
            "archive: metadata/version: version \"2.0.0\" is not known; 1 is",
        ),
        (
            "goes on behind its end",
            gzip(&[plain.clone(), vec![0; 1024], b"more".to_vec()].concat()),
            "archive: after resources/pods/namespaces/a/p.json: something follows the end",
        ),
        (
            "ends with one empty block and more",
            gzip(&[plain.clone(), vec![0; 512], vec![1; 512]].concat()),
            "archive: after resources/pods/namespaces/a/p.json: something follows the end",
        ),
        ("has a wrong sum", damage(plain, 3), "archive: after the beginning: a header whose sum is wrong"),
        (
            "goes on with zeros for ever",
            whole.ended(4 << 20),
            "archive: after resources/pods/namespaces/a/p.json: too much follows the end",
        ),
    ];
    for (what, bytes, expected) in rows {
        let error = read(&bytes).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.class()), (expected, Class::Corrupt), "{what}");
    }
}

#[test]
fn an_archive_that_ends_too_early_is_damaged_wherever_that_is() {
    let unended = Made::new().file(POD, b"{}").unended();
    assert_eq!(read(&unended).unwrap_err().class(), Class::Corrupt, "without its end");
    let tar = gunzip(&written());
    for length in (0..tar.len() - 512).step_by(64) {
        assert_eq!(read(&gzip(&tar[..length])).unwrap_err().class(), Class::Corrupt, "{length} bytes of the tar");
    }
    let bytes = written();
    for length in 0..bytes.len() {
        assert_eq!(read(&bytes[..length]).unwrap_err().class(), Class::Corrupt, "{length} bytes of the gzip");
    }
}

#[test]
fn a_small_archive_that_unpacks_to_much_takes_little_memory() {
    // 1 GiB of zeros in a file that says so: refused before one of them is read.
    let bomb = Made::new().entry(EntryType::Regular, POD, b"", 1 << 30).ended(1 << 20);
    let mut input = Cursor::new(&bomb);
    let error = loop {
        let mut reader = Reader::new(&mut input);
        if let Err(error) = reader.next_item() {
            break error;
        }
    };
    assert_eq!(error.class(), Class::Corrupt);
}

/// What a mutation does to some bytes.
#[derive(Debug, Clone)]
enum Mutation {
    Set(Index, u8),
    Remove(Index, usize),
    Repeat(Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (any::<Index>(), 1..2000_usize).prop_map(|(at, count)| Mutation::Remove(at, count)),
        (any::<Index>(), 1..2000_usize).prop_map(|(at, count)| Mutation::Repeat(at, count)),
    ]
}

fn mutated(mut bytes: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
    for mutation in mutations {
        if bytes.is_empty() {
            break;
        }
        match mutation {
            Mutation::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Mutation::Remove(at, count) => {
                let at = at.index(bytes.len());
                let end = (at + count).min(bytes.len());
                bytes.drain(at..end);
            }
            Mutation::Repeat(at, count) => {
                let at = at.index(bytes.len());
                let end = (at + count).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// A gzip has a sum: what comes out of changed bytes is an error, or what was put in.
    #[test]
    fn a_damaged_archive_is_an_error_or_what_it_was(mutations in vec(mutation(), 1..4)) {
        let bytes = mutated(written(), &mutations);
        if let Ok(items) = read(&bytes) {
            prop_assert_eq!(items, read(&written()).unwrap());
        }
    }

    /// Under a gzip that is right, any bytes at all: no panic, and nothing with a path that leads elsewhere or comes twice.
    #[test]
    fn a_made_up_tar_gives_clean_paths_once(mutations in vec(mutation(), 1..6)) {
        let bytes = gzip(&mutated(gunzip(&written()), &mutations));
        let mut reader = Reader::new(&bytes[..]);
        let mut paths = std::collections::HashSet::new();
        while let Ok(Some(item)) = reader.next_item() {
            let path = item.path.text();
            prop_assert!(path.starts_with("resources/") && !path.split('/').any(|part| part.is_empty() || part == ".."));
            prop_assert!(paths.insert(path));
        }
    }
}
