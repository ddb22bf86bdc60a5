//! Rows, blocks and roots: their bytes, and that what is written is what is read.

use proptest::prelude::*;

use super::{block::*, decode, *};
use crate::session::SessionId;

fn session(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

fn extent(number: u32, offset: u32, skip: u32, take: u32) -> Extent {
    Extent { pack: PackId { session: session(1), number }, offset, stored: 50, plain: 100, skip, take }
}

fn row(path: &str, kind: Kind) -> Row {
    Row {
        path: path.into(),
        kind,
        metadata: Metadata {
            mode: 0o644,
            uid: 1000,
            gid: 100,
            mtime: Time { seconds: -2, nanoseconds: 5 },
            xattrs: vec![],
        },
        inode: Inode { number: 12, ctime: Time { seconds: 3, nanoseconds: 4 } },
        flags: Flags::default(),
        member: vec![extent(0, 0, 0, 100)],
    }
}

fn sparse() -> Kind {
    let segments = vec![Segment { offset: 0, length: 1 }, Segment { offset: 4096, length: 10 }];
    Kind::File(Content { size: 9000, sha256: [0xcc; 32], segments: Some(segments) })
}

fn one_of_each() -> Vec<Row> {
    let mut rows = vec![
        row("", Kind::Directory),
        row("a", sparse()),
        row("b", Kind::Symlink { target: b"\xff/x".to_vec() }),
        row("c", Kind::Hardlink { target: b"a".to_vec() }),
        row("d", Kind::Fifo),
        row("e", Kind::CharDevice { major: 1, minor: 300 }),
        row("f", Kind::BlockDevice { major: 7, minor: 0 }),
        row("g", Kind::Socket),
        row("h", Kind::File(Content { size: 5, sha256: [0; 32], segments: None })),
    ];
    rows[1].metadata.xattrs = vec![(b"user.a".to_vec(), b"1\0".to_vec())];
    rows[1].flags = Flags { racy: true, unstable: true, unreadable: false };
    rows[1].member = vec![extent(0, 0, 10, 20), extent(0, 0, 30, 70), extent(0, 50, 0, 100), extent(2, 8, 1, 1)];
    rows[7].member.clear();
    rows[8].flags.unreadable = true;
    rows[8].member.clear();
    rows
}

fn blocks_of(rows: &[Row]) -> Vec<Block> {
    let mut builder = BlockBuilder::default();
    let mut blocks: Vec<Block> = rows.iter().filter_map(|r| builder.add(r, &[])).collect();
    blocks.extend(builder.finish());
    blocks
}

fn rows_of(blocks: &[Block]) -> Vec<Row> {
    blocks.iter().flat_map(|b| decode::block(&b.plain).expect("its own bytes")).map(|r| r.row).collect()
}

#[test]
fn the_bytes_of_a_block_are_those_of_the_format_text() {
    let blocks = blocks_of(&one_of_each());
    assert_eq!(blocks.len(), 1);
    expect_test::expect!["0101010101010101010101010101010101010900000000a403e8076403050c060400010100003264000161010ba403e8076403050c06040106757365722e61023100a846cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc020001ff1f0a040c0a1414460032640b000208326401010001620200a403e8076403050c06040003ff2f780101000032640001630300a403e8076403050c060400016101040001640400a403e8076403050c06040001040001650500a403e8076403050c06040001ac0201040001660600a403e8076403050c060400070001040001670700a403e8076403050c060400000001680104a403e8076403050c06040005000000000000000000000000000000000000000000000000000000000000000000"].assert_eq(&hex::encode(&blocks[0].plain));
    assert_eq!(rows_of(&blocks), one_of_each());
}

#[test]
fn a_root_and_a_list_read_as_they_were_written() {
    let frame =
        MetaRef { pack: PackId { session: session(3), number: 1 }, offset: 2, stored: 3, plain: 4, sha256: [5; 32] };
    let blocks = [
        BlockRef { first: Vec::new(), rows: 7, frame },
        BlockRef { first: b"x/y".to_vec(), rows: 1, frame: MetaRef { offset: 9, ..frame } },
    ];
    let plain = roots(&blocks);
    expect_test::expect!["0101030303030303030303030303030303030200070001020304050505050505050505050505050505050505050505050505050505050505050503782f790100010903040505050505050505050505050505050505050505050505050505050505050505"].assert_eq(&hex::encode(&plain[0]));
    assert_eq!(decode::root(&plain[0]), Ok(blocks.to_vec()));

    let member: Vec<Extent> = (0..20_000).map(|n| extent(n / 100, n % 100 * 50, 0, 100)).collect();
    let back: Vec<Extent> = lists(&member).flat_map(|l| decode::list(&l).expect("its own bytes")).collect();
    assert_eq!(back, member);
}

#[test]
fn a_file_that_repeats_itself_reads_as_it_was_written() {
    let mut rows = vec![row("", Kind::Directory), row("zeros", Kind::File(Content::default()))];
    rows[1].member = vec![extent(0, 50, 0, 100); INLINE_EXTENTS_MAX];
    assert_eq!(rows_of(&blocks_of(&rows)), rows);
    let same = vec![extent(0, 50, 0, 100); LIST_EXTENTS_MAX];
    let read: Vec<_> = lists(&same).map(|list| decode::list(&list)).collect();
    assert_eq!(read, [Ok(same)]);
}

#[test]
fn a_row_with_lists_names_their_frames() {
    let frame =
        MetaRef { pack: PackId { session: session(3), number: 1 }, offset: 2, stored: 3, plain: 4, sha256: [5; 32] };
    let mut big = row("big", Kind::File(Content::default()));
    big.member.clear();
    let mut builder = BlockBuilder::default();
    assert_eq!(builder.add(&big, &[frame, frame]), None);
    let block = builder.finish().expect("one row");
    assert_eq!(decode::block(&block.plain), Ok(vec![StoredRow { row: big, lists: vec![frame, frame] }]));
}

#[test]
fn a_change_in_one_place_leaves_the_blocks_elsewhere_as_they_were() {
    let rows: Vec<Row> = (0..20_000).map(|n| row(&format!("d{:03}/f{n:05}", n / 100), Kind::Fifo)).collect();
    let before = blocks_of(&rows);
    let mut changed = rows;
    changed.remove(10_000);
    changed[5].metadata.mode = 0o600;
    let after = blocks_of(&changed);
    let new = after.iter().filter(|b| !before.contains(b)).count();
    assert!(before.len() > 40 && new <= 4, "{new} of {} blocks are new", after.len());
}

#[test]
fn hostile_rows_are_refused() {
    for path in ["..", "a/..", "/a", "a//b", "a/", "./a", &"n".repeat(256), "a\0"] {
        let blocks = blocks_of(&[row(path, Kind::Fifo)]);
        assert!(decode::block(&blocks[0].plain).is_err(), "{path:?}");
    }
    let twice = blocks_of(&[row("a", Kind::Fifo), row("a", Kind::Fifo)]);
    assert!(decode::block(&twice[0].plain).is_err(), "one path twice");
    let forward = blocks_of(&[row("a", Kind::Hardlink { target: b"b".to_vec() })]);
    assert!(decode::block(&forward[0].plain).is_err(), "a link to what comes later");
}

proptest! {
    #[test]
    fn any_bytes_decode_to_rows_or_an_error(tail: Vec<u8>) {
        let bytes = [&[1], tail.as_slice()].concat();
        let _ = decode::block(&bytes);
        let _ = decode::list(&bytes);
        let _ = decode::root(&bytes);
    }

    #[test]
    fn every_changed_byte_of_a_block_gives_other_rows_or_an_error(at: prop::sample::Index, flip in 1u8..) {
        let block = &blocks_of(&one_of_each())[0];
        let mut bytes = block.plain.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(rows) = decode::block(&bytes) {
            prop_assert_ne!(rows.into_iter().map(|r| r.row).collect::<Vec<_>>(), one_of_each());
        }
    }

    #[test]
    fn extents_read_as_they_were_written(
        list in prop::collection::vec((0u8..3, 0u32..3, 0u32..200, 1u32..100, 0u32..4, 0u32..4, any::<bool>()), 0..60)
    ) {
        let member: Vec<Extent> = list.into_iter().map(|(s, number, offset, stored, skip, take, whole)| {
            let plain = 8;
            let (skip, take) = if whole { (0, plain) } else { (skip, take) };
            Extent { pack: PackId { session: session(s), number }, offset, stored, plain, skip, take }
        }).collect();
        let back: Vec<Extent> = lists(&member).flat_map(|l| decode::list(&l).expect("its own bytes")).collect();
        prop_assert_eq!(back, member);
    }
}
