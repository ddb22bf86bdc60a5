//! Which inodes a restore made or kept: only those may get further names.

use sha2::{Digest, Sha256};

/// Bits of the table. 2 MiB, however many files there are; up to a million inodes fewer than one in a thousand others is taken for
/// one of them. That is enough: the directory walk, not this table, keeps links inside the target, and whoever can make a wrong link
/// here can write the same file by its own row.
const BITS: usize = 1 << 24;

/// Bits set for each inode.
const HASHES: usize = 4;

/// A set of inodes that may contain some it was not given, and never lacks one it was.
#[derive(Debug)]
pub(super) struct Made {
    words: Box<[u64]>,
}

impl Default for Made {
    fn default() -> Self {
        Self { words: vec![0; BITS / 64].into_boxed_slice() }
    }
}

impl Made {
    pub(super) fn add(&mut self, device: u64, number: u64) {
        for bit in bits(device, number) {
            self.words[bit / 64] |= 1 << (bit % 64);
        }
    }

    pub(super) fn contains(&self, device: u64, number: u64) -> bool {
        bits(device, number).iter().all(|bit| self.words[bit / 64] & (1 << (bit % 64)) != 0)
    }
}

fn bits(device: u64, number: u64) -> [usize; HASHES] {
    let mut hash = Sha256::new();
    hash.update(device.to_le_bytes());
    hash.update(number.to_le_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut bits = [0; HASHES];
    for (bit, bytes) in bits.iter_mut().zip(digest.chunks_exact(4)) {
        *bit = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize % BITS;
    }
    bits
}
