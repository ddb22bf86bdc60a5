//! Cutting rows into blocks, and blocks into roots: what the writer of a file table needs. Source: `FORMAT.md` §7.

use super::{
    BlockRef, Extent, MetaRef, Row,
    encode::{self, Extents, Member, Sessions},
};
use crate::wire::Encoder;

/// Rows below which no block is cut: a block has a header of its own.
const BLOCK_ROWS_MIN: u32 = 64;
/// Rows at which a block is cut wherever it stands.
const BLOCK_ROWS_MAX: u32 = 1024;
/// Encoded bytes at which a block is cut: with the largest row it stays below a frame's 4 MiB.
const BLOCK_BYTES_MAX: usize = 192 << 10;
/// Extents that a row holds itself: a file of 256 MiB at 256 KiB a chunk. More of them go to list frames.
pub const INLINE_EXTENTS_MAX: usize = 1024;
/// Extents of one list frame: at most some 200 KiB.
pub const LIST_EXTENTS_MAX: usize = 8192;
/// Blocks of one root frame: some 600 KiB.
const ROOT_BLOCKS_MAX: usize = 8192;

/// A block whose rows are complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Path of its first row.
    pub first: Vec<u8>,
    /// Number of its rows.
    pub rows: u32,
    /// The frame's plain bytes.
    pub plain: Vec<u8>,
}

/// Collects rows and cuts blocks. Where a cut falls depends on the paths near it only, so that an unchanged directory gives the same
/// blocks again.
#[derive(Debug, Default)]
pub struct BlockBuilder {
    body: Encoder,
    sessions: Sessions,
    extents: Extents,
    first: Vec<u8>,
    last: Vec<u8>,
    rows: u32,
}

impl BlockBuilder {
    /// Adds a row; its extents are in it, or in `lists`. Gives the block before it where one ends here.
    pub fn add(&mut self, row: &Row, lists: &[MetaRef]) -> Option<Block> {
        let cut = (self.rows >= BLOCK_ROWS_MIN && falls_here(&row.path))
            || self.rows >= BLOCK_ROWS_MAX
            || self.body.0.len() >= BLOCK_BYTES_MAX;
        let block = if cut { self.finish() } else { None };
        if self.rows == 0 {
            self.first.clone_from(&row.path);
            self.last.clear();
        }
        let shared = self.last.iter().zip(&row.path).take_while(|(a, b)| a == b).count();
        let member = if lists.is_empty() { Member::Inline(&row.member) } else { Member::Lists(lists) };
        encode::row(&mut self.body, &mut self.sessions, &mut self.extents, row, shared, member);
        self.last.clone_from(&row.path);
        self.rows += 1;
        block
    }

    /// The block of the rows so far, if there are any.
    pub fn finish(&mut self) -> Option<Block> {
        let done = std::mem::take(self);
        (done.rows > 0).then(|| Block {
            plain: encode::framed(&done.sessions, done.rows as usize, &done.body),
            first: done.first,
            rows: done.rows,
        })
    }
}

/// One path in 256, by a hash of the path (FNV-1a).
fn falls_here(path: &[u8]) -> bool {
    let hash = path.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> 32)).trailing_zeros() >= 8
}

/// The plain bytes of the list frames of a row with many extents.
pub fn lists(member: &[Extent]) -> impl Iterator<Item = Vec<u8>> + '_ {
    member.chunks(LIST_EXTENTS_MAX).map(encode::list)
}

/// The plain bytes of the root frames over these blocks; one at least.
pub fn roots(blocks: &[BlockRef]) -> Vec<Vec<u8>> {
    let frame = |part: &[BlockRef]| {
        let (mut body, mut sessions) = (Encoder::default(), Sessions::default());
        for block in part {
            body.bytes(&block.first);
            body.varint(block.rows.into());
            encode::metaref(&mut body, &mut sessions, &block.frame);
        }
        encode::framed(&sessions, part.len(), &body)
    };
    if blocks.is_empty() { vec![frame(&[])] } else { blocks.chunks(ROOT_BLOCKS_MAX).map(frame).collect() }
}
