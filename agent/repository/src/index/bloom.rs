//! A blocked Bloom filter over ids: one cache line a question, no request for nearly all frames that are not stored.

use crate::frame::FrameId;

/// Bytes of one block: one cache line.
const BLOCK_BYTES: usize = 64;

/// Bits for each entry: one question in a hundred about an unknown id is answered with a yes.
const BITS_PER_ENTRY: usize = 10;

/// Bits set for each id. All of them come from the 63 low bits of its second half, nine bits for each.
const PROBES: u32 = 7;

/// Longest filter: 16 MiB, ten bits for each of 13 million entries. Above that, wrong answers cost a request each.
const BLOOM_BYTES_MAX: usize = 16 << 20;

/// The filter. Ids are keyed hashes, so their own bits serve as hash functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bloom(Vec<u8>);

impl Bloom {
    /// An empty filter for about that many entries.
    pub(super) fn for_entries(entries: usize) -> Self {
        let blocks = entries.saturating_mul(BITS_PER_ENTRY).div_ceil(8 * BLOCK_BYTES);
        Self(vec![0; blocks.clamp(1, BLOOM_BYTES_MAX / BLOCK_BYTES) * BLOCK_BYTES])
    }

    /// The filter in these bytes; `None` where they are no whole number of blocks.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let fits = !bytes.is_empty() && bytes.len().is_multiple_of(BLOCK_BYTES) && bytes.len() <= BLOOM_BYTES_MAX;
        fits.then_some(Self(bytes))
    }

    /// Its bytes, blocks one after another; bit n of a block is bit n % 8 of its byte n / 8.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds an id.
    pub(super) fn add(&mut self, id: FrameId) {
        let (block, probes) = self.places(id);
        for (byte, mask) in probes {
            self.0[block + byte] |= mask;
        }
    }

    /// Whether the id may have been added; never `false` where it was.
    pub(super) fn may_contain(&self, id: FrameId) -> bool {
        let (block, mut probes) = self.places(id);
        probes.all(|(byte, mask)| self.0[block + byte] & mask != 0)
    }

    /// Offset of the id's block; byte and mask of each of its bits in there.
    fn places(&self, id: FrameId) -> (usize, impl Iterator<Item = (usize, u8)> + use<>) {
        let n = u128::from_be_bytes(id.0);
        let (high, low) = (n >> 64, n & u128::from(u64::MAX));
        let blocks = (self.0.len() / BLOCK_BYTES) as u128;
        let block = usize::try_from((high * blocks) >> 64).unwrap_or_default();
        let probes = (0..PROBES).map(move |i| {
            let bit = usize::try_from((low >> (9 * i)) & 511).unwrap_or_default();
            (bit / 8, 1u8 << (bit % 8))
        });
        (block * BLOCK_BYTES, probes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::sha256;

    fn id(n: u32) -> FrameId {
        FrameId(*sha256(&n.to_le_bytes()).first_chunk().expect("32 bytes"))
    }

    #[test]
    fn what_was_added_is_found_and_one_in_fifty_others_at_most() {
        let mut bloom = Bloom::for_entries(10_000);
        (0..10_000).for_each(|n| bloom.add(id(n)));
        assert!((0..10_000).all(|n| bloom.may_contain(id(n))));
        let wrong = (10_000..30_000).filter(|n| bloom.may_contain(id(*n))).count();
        assert!(wrong < 400, "{wrong} of 20,000 unknown ids");
        assert_eq!(bloom.bytes().len(), 12_544, "ten bits for each entry, in whole blocks");
        assert_eq!(Bloom::from_bytes(bloom.bytes().to_vec()), Some(bloom));
    }

    #[test]
    fn an_id_sets_the_bits_that_the_format_text_says() {
        let mut bloom = Bloom(vec![0; 4 * BLOCK_BYTES]);
        bloom.add(FrameId([[0xc0; 8], [1; 8]].concat().try_into().expect("sixteen bytes")));
        let set = (0..4 * 512).filter(|bit| bloom.0[bit / 8] & 1 << (bit % 8) != 0);
        assert_eq!(set.collect::<Vec<_>>(), [4, 8, 16, 32, 64, 128, 257].map(|bit| 3 * 512 + bit));
    }

    #[test]
    fn its_length_is_bounded_and_no_other_length_is_taken() {
        assert_eq!(Bloom::for_entries(usize::MAX).bytes().len(), BLOOM_BYTES_MAX);
        assert_eq!((Bloom::from_bytes(vec![0; 65]), Bloom::from_bytes(Vec::new())), (None, None));
    }
}
