//! The bytes of tar members: golden, and as the `tar` crate reads them.

#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fmt::Write;
use std::io::Read;

use expect_test::expect;
use trysail_repository::table::{Content, Flags, Inode, Kind, Metadata, Row, Segment, Time};
use trysail_volume::member::{END, content_length, header, padding};

fn row(path: &[u8], kind: Kind) -> Row {
    let mtime = Time { seconds: 1_000_000_000, nanoseconds: 0 };
    Row {
        path: path.to_vec(),
        kind,
        metadata: Metadata { mode: 0o644, uid: 1000, gid: 50, mtime, xattrs: Vec::new() },
        inode: Inode::default(),
        flags: Flags::default(),
        member: Vec::new(),
    }
}

fn file(path: &[u8], size: u64) -> Row {
    row(path, Kind::File(Content { size, ..Content::default() }))
}

/// Header bytes as text, runs of zeros shortened.
fn text(row: &Row) -> String {
    let bytes = header(row).unwrap();
    assert_eq!(bytes.len() % 512, 0);
    let mut text = String::new();
    for block in bytes.chunks(512) {
        let mut rest = block;
        while let Some(first) = rest.first() {
            let run = rest.iter().take_while(|byte| *byte == first).count();
            if *first == 0 && run > 3 {
                write!(text, "<{run}>").unwrap();
                rest = &rest[run..];
            } else {
                text.push_str(&rest[..1].escape_ascii().to_string());
                rest = &rest[1..];
            }
        }
        text.push('\n');
    }
    text
}

#[test]
fn an_ordinary_file_is_one_ustar_block() {
    expect![[r#"
        ./a/b<95>0000644\x000001750\x000000062\x0000000000007\x0007346545000\x000010012\x000<100>ustar\x0000<64>0000000\x000000000<168>
    "#]].assert_eq(&text(&file(b"a/b", 7)));
}

#[test]
fn the_root_and_directories_end_with_a_slash() {
    expect![[r#"
        ./<98>0000644\x000001750\x000000062\x0000000000000\x0007346545000\x000007426\x005<100>ustar\x0000<64>0000000\x000000000<168>
    "#]].assert_eq(&text(&row(b"", Kind::Directory)));
    expect![[r#"
        ./d/<96>0000644\x000001750\x000000062\x0000000000000\x0007346545000\x000007651\x005<100>ustar\x0000<64>0000000\x000000000<168>
    "#]].assert_eq(&text(&row(b"d", Kind::Directory)));
}

#[test]
fn links_and_devices_have_their_fields() {
    expect![[r#"
        ./s<97>0000644\x000001750\x000000062\x0000000000000\x0007346545000\x000010055\x002/x<98>ustar\x0000<64>0000000\x000000000<168>
    "#]].assert_eq(&text(&row(b"s", Kind::Symlink { target: b"/x".to_vec() })));
    expect![[r#"
        ./h<97>0000644\x000001750\x000000062\x0000000000000\x0007346545000\x000010311\x001./a/b<95>ustar\x0000<64>0000000\x000000000<168>
    "#]].assert_eq(&text(&row(b"h", Kind::Hardlink { target: b"a/b".to_vec() })));
    expect![[r#"
        ./c<97>0000644\x000001750\x000000062\x0000000000000\x0007346545000\x000007700\x003<100>ustar\x0000<64>0007777\x003777777<168>
    "#]].assert_eq(&text(&row(b"c", Kind::CharDevice { major: 4095, minor: 1_048_575 })));
    expect![[r#"
        ./p<97>0000644\x000001750\x000000062\x0000000000000\x0007346545000\x000007607\x006<100>ustar\x0000<64>0000000\x000000000<168>
    "#]].assert_eq(&text(&row(b"p", Kind::Fifo)));
    assert_eq!(header(&row(b"x", Kind::Socket)), None);
}

#[test]
fn what_the_fields_cannot_say_stands_in_a_pax_header_in_fixed_order() {
    let mut extreme = row(&[b'n'; 120], Kind::File(Content { size: 1 << 33, ..Content::default() }));
    extreme.metadata.uid = 2_097_152;
    extreme.metadata.gid = u32::MAX - 1;
    extreme.metadata.mtime = Time { seconds: -2, nanoseconds: 750_000_000 };
    extreme.metadata.xattrs = vec![(b"user.a=b".to_vec(), b"\0\n".to_vec())];
    expect![[r#"
        ./PaxHeaders/x<86>0000644\x000000000\x000000000\x0000000000345\x0000000000000\x000010432\x00x<100>ustar\x0000<247>
        132 path=./nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\n19 size=8589934592\n15 uid=2097152\n18 gid=4294967294\n15 mtime=-1.25\n30 SCHILY.xattr.user.a%3Db=\x00\n\n<283>
        ./nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn0000644\x00\x80<4> \x00\x00\x80\x00\x00\x00\xff\xff\xff\xfe\x80<6>\x02<4>00000000000\x000034743\x000<100>ustar\x0000<64>0000000\x000000000<168>
    "#]].assert_eq(&text(&extreme));
    expect![[r#"
        ./PaxHeaders/x<86>0000644\x000000000\x000000000\x0000000000177\x0000000000000\x000010435\x00x<100>ustar\x0000<247>
        12 path=./\xff\n115 linkpath=ttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt\n<385>
        ./\xff<97>0000644\x000001750\x000000062\x0000000000000\x0007346545000\x000036542\x002ttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttustar\x0000<64>0000000\x000000000<168>
    "#]].assert_eq(&text(&row(b"\xff", Kind::Symlink { target: vec![b't'; 101] })));
}

#[test]
fn a_sparse_file_has_its_map_before_the_content() {
    let segments = vec![Segment { offset: 4096, length: 4096 }, Segment { offset: 1 << 20, length: 10 }];
    let sparse = row(b"d/s", Kind::File(Content { size: 1 << 21, segments: Some(segments), ..Content::default() }));
    assert_eq!((content_length(&sparse), padding(content_length(&sparse))), (4106, 502));
    expect![[r#"
        ./PaxHeaders/x<86>0000644\x000000000\x000000000\x0000000000144\x0000000000000\x000010427\x00x<100>ustar\x0000<247>
        22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n25 GNU.sparse.name=./d/s\n31 GNU.sparse.realsize=2097152\n<412>
        ./GNUSparseFile.0/s<81>0000644\x000001750\x000000062\x0000000011012\x0007346545000\x000012356\x000<100>ustar\x0000<64>0000000\x000000000<168>
        3\n4096\n4096\n1048576\n10\n2097152\n0\n<479>
    "#]].assert_eq(&text(&sparse));
    let hole = row(b"h", Kind::File(Content { size: 5, segments: Some(Vec::new()), ..Content::default() }));
    assert_eq!(content_length(&hole), 0);
    expect![[r#"
        ./PaxHeaders/x<86>0000644\x000000000\x000000000\x0000000000134\x0000000000000\x000010426\x00x<100>ustar\x0000<247>
        22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n23 GNU.sparse.name=./h\n25 GNU.sparse.realsize=5\n<420>
        ./GNUSparseFile.0/h<81>0000644\x000001750\x000000062\x0000000001000\x0007346545000\x000012337\x000<100>ustar\x0000<64>0000000\x000000000<168>
        1\n5\n0\n<506>
    "#]].assert_eq(&text(&hole));
}

#[test]
fn padding_fills_the_last_block() {
    assert_eq!([0, 1, 511, 512, 513, u64::MAX].map(padding), [0, 511, 1, 0, 511, 1]);
}

#[test]
fn the_tar_crate_reads_names_owners_times_and_contents() {
    let mut long = file(&[[b'd'; 200].as_slice(), b"/\xffname"].concat(), 600);
    long.metadata.uid = 3_000_000;
    let rows = [row(b"", Kind::Directory), file(b"a", 1), long, row(b"l", Kind::Symlink { target: vec![b'x'; 300] })];
    let mut stream = Vec::new();
    for row in &rows {
        let length = content_length(row);
        stream.extend(header(row).unwrap());
        stream.extend(vec![b'c'; usize::try_from(length).unwrap()]);
        stream.extend(vec![0; padding(length)]);
    }
    stream.extend(END);
    let mut archive = tar::Archive::new(&stream[..]);
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert!(content.iter().all(|byte| *byte == b'c'));
        let link = entry.link_name_bytes().map_or(0, |link| link.len());
        found.push((entry.path_bytes().into_owned(), content.len(), entry.header().uid().unwrap(), link));
    }
    let expected = rows.iter().zip([0, 0, 0, 300]).map(|(row, link)| {
        (
            [b"./", &row.path[..]].concat(),
            usize::try_from(content_length(row)).unwrap(),
            u64::from(row.metadata.uid),
            link,
        )
    });
    assert_eq!(found, expected.collect::<Vec<_>>());
}
