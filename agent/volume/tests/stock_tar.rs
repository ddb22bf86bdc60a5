//! GNU tar restores the members exactly; other readers agree on names and sizes. Needs the tools, so it is behind a feature.

#![cfg(feature = "stock-tools")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod tree;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use tempfile::tempdir;
use trysail_repository::table::{Kind, Row};
use trysail_volume::member::{END, content_length, header, padding};
use trysail_volume::walk::{Walk, WalkOptions};

/// Writes the tar stream of a tree and gives its rows.
fn archive(root: &Path, to: &Path) -> Vec<Row> {
    let mut out = std::io::BufWriter::new(File::create(to).unwrap());
    let mut rows = Vec::new();
    for visit in Walk::open(root, WalkOptions::default()).unwrap() {
        let visit = visit.unwrap();
        let row = tree::complete(&visit).unwrap();
        if let Some(header) = header(&row) {
            out.write_all(&header).unwrap();
            if matches!(row.kind, Kind::File(_)) {
                tree::pieces(&visit.open().unwrap(), &row, |_, bytes| out.write_all(bytes).unwrap());
            }
            out.write_all(&vec![0; padding(content_length(&row))]).unwrap();
        }
        rows.push(row);
    }
    out.write_all(&END).unwrap();
    out.into_inner().unwrap();
    rows
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command:?}");
    output.stdout
}

#[test]
fn privileged_gnu_tar_restores_a_hostile_tree_as_it_was() {
    if !tree::is_root("privileged_gnu_tar_restores_a_hostile_tree_as_it_was") {
        return;
    }
    let (from, to, file) = (tempdir().unwrap(), tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    tree::build(from.path());
    tree::build_privileged(from.path());
    let _ = archive(from.path(), file.path());
    // Some times are far in the past or future on purpose, which GNU tar remarks.
    let options = [
        "--warning=no-timestamp",
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
        "--acls",
        "--delay-directory-restore",
        "-xpf",
    ];
    run(Command::new("tar").arg("-C").arg(to.path()).args(options).arg(file.path()));
    // The one kind that tar cannot express.
    let expected: Vec<Row> = tree::rows(from.path()).into_iter().filter(|row| row.kind != Kind::Socket).collect();
    tree::assert_same(&tree::rows(to.path()), &expected);
}

#[test]
fn python_reads_the_names_and_sizes_of_the_rows() {
    const LIST: &str = "import sys,tarfile\n\
        for m in tarfile.open(sys.argv[1], errors='surrogateescape'):\n \
        sys.stdout.buffer.write(m.name.encode('utf-8','surrogateescape').hex().encode()+b' %d\\n' % (m.size if m.isreg() else 0))";
    let (from, file) = (tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    tree::build(from.path());
    let rows = archive(from.path(), file.path());
    let found = run(Command::new("python3").args(["-c", LIST]).arg(file.path()));
    let expected: Vec<String> = rows.iter().filter(|row| row.kind != Kind::Socket).map(expected_line).collect();
    let found = String::from_utf8(found).unwrap();
    for (found, expected) in found.lines().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.lines().count(), expected.len());
}

fn expected_line(row: &Row) -> String {
    let name = if row.path.is_empty() { b".".to_vec() } else { [b"./", &row.path[..]].concat() };
    let size = if let Kind::File(content) = &row.kind { content.size } else { 0 };
    let hex: Vec<String> = name.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} {size}", hex.concat())
}

#[test]
fn bsdtar_and_busybox_list_every_member_where_they_are_present() {
    let (from, file) = (tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    std::fs::create_dir(from.path().join("d")).unwrap();
    std::fs::write(from.path().join("d/f"), b"content").unwrap();
    std::os::unix::fs::symlink("f", from.path().join("d/l")).unwrap();
    let _ = archive(from.path(), file.path());
    for (program, arguments) in [("bsdtar", &["-tf"][..]), ("busybox", &["tar", "-tf"])] {
        if Command::new(program).arg("--help").output().is_err() {
            tree::skipped("not present", program);
            continue;
        }
        let listed = String::from_utf8(run(Command::new(program).args(arguments).arg(file.path()))).unwrap();
        assert_eq!(listed.lines().collect::<Vec<_>>(), ["./", "./d/", "./d/f", "./d/l"], "{program}");
    }
}
