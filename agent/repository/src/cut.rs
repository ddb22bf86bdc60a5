//! Where large files are cut: `FastCDC` of 2020 with a keyed gear table. Source: `FORMAT.md` §4.

use std::borrow::Cow;

use fastcdc::v2020::{Normalization, cut_gear, get_gear_with_seed, select_masks};

/// Sizes of chunks in bytes: the smallest, the expected and the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSizes {
    /// No cut before this many bytes.
    pub min: u32,
    /// The size that cuts aim at.
    pub avg: u32,
    /// A cut after this many bytes at the latest.
    pub max: u32,
}

/// 256 KiB: a change of 1 % of a database's pages re-uploads a third of the file; chunks of 1 MiB would re-upload five sixths.
pub const DEFAULT_SIZES: ChunkSizes = ChunkSizes { min: 64 << 10, avg: 256 << 10, max: 1 << 20 };

/// Finds cut points. Equal bytes, sizes and seed give equal cuts, whatever the machine.
#[derive(Debug)]
pub struct Cutter {
    sizes: ChunkSizes,
    masks: (u64, u64),
    gear: Cow<'static, [u64]>,
    gear_shifted: Cow<'static, [u64]>,
}

impl Cutter {
    /// A cutter of these sizes whose gear table is keyed with `seed`.
    pub fn new(sizes: ChunkSizes, seed: u64) -> Self {
        let (gear, gear_shifted) = get_gear_with_seed(seed);
        Self { sizes, masks: select_masks(sizes.avg as usize, Normalization::Level2), gear, gear_shifted }
    }

    /// Length of the first chunk of `bytes`, which hold a largest chunk or the whole rest of a file; at least 1 where there is a byte.
    pub fn first(&self, bytes: &[u8]) -> usize {
        let ChunkSizes { min, avg, max } = self.sizes;
        let (small, large) = self.masks;
        let source = &bytes[..bytes.len().min(max as usize)];
        if source.len() <= min as usize {
            return source.len();
        }
        cut_gear(
            source,
            min as usize,
            avg as usize,
            max as usize,
            small,
            large,
            small << 1,
            large << 1,
            &self.gear,
            &self.gear_shifted,
        )
        .1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deterministic bytes without structure (xorshift).
    fn noise(len: usize) -> Vec<u8> {
        let mut x = 0x9e37_79b9_7f4a_7c15u64;
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            bytes.extend_from_slice(&x.to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    fn cuts(seed: u64, mut bytes: &[u8]) -> Vec<usize> {
        let cutter = Cutter::new(DEFAULT_SIZES, seed);
        let mut lengths = Vec::new();
        while !bytes.is_empty() {
            let n = cutter.first(bytes);
            lengths.push(n);
            bytes = &bytes[n..];
        }
        lengths
    }

    /// These numbers are part of the format: other cuts would end the sharing with every snapshot ever made.
    #[test]
    fn cut_points_never_move() {
        let bytes = noise(3 << 20);
        expect_test::expect![
            "[349306, 182844, 342136, 276446, 327931, 264860, 290318, 275049, 312181, 334417, 190240]"
        ]
        .assert_eq(&format!("{:?}", cuts(0, &bytes)));
        expect_test::expect!["[330501, 274825, 337269, 294213, 327257, 327751, 275545, 472030, 327081, 137751, 41505]"]
            .assert_eq(&format!("{:?}", cuts(0x0123_4567_89ab_cdef, &bytes)));
        expect_test::expect!["[1048576, 1048576, 1048576]"].assert_eq(&format!("{:?}", cuts(0, &vec![0; 3 << 20])));
    }

    #[test]
    fn a_cut_looks_only_at_a_largest_chunk_so_reading_in_pieces_changes_nothing() {
        let bytes = noise(4 << 20);
        let cutter = Cutter::new(DEFAULT_SIZES, 7);
        assert_eq!(cutter.first(&bytes), cutter.first(&bytes[..1 << 20]));
        assert_eq!(cutter.first(&bytes[..10]), 10);
        assert_eq!(cutter.first(&[]), 0);
    }
}
