//! The Merkle root over a snapshot's rows: what a directory must hold, whoever stored it how. Source: `FORMAT.md` §7.

use sha2::{Digest, Sha256};

use super::{Row, encode};
use crate::wire::Encoder;

/// Children of one node.
const FAN_OUT: usize = 256;

/// Takes rows in path order and gives the root; holds at most 256 hashes a level.
#[derive(Debug, Default)]
pub struct Merkle {
    levels: Vec<Vec<[u8; 32]>>,
    scratch: Vec<u8>,
}

impl Merkle {
    /// Adds the next row.
    pub fn add(&mut self, row: &Row) {
        let mut e = Encoder(std::mem::take(&mut self.scratch));
        e.0.clear();
        e.u8(0);
        encode::leaf(&mut e, row);
        let leaf = Sha256::digest(&e.0).into();
        self.scratch = e.0;
        self.push(0, leaf);
    }

    fn push(&mut self, level: usize, hash: [u8; 32]) {
        if self.levels.len() == level {
            self.levels.push(Vec::with_capacity(FAN_OUT));
        }
        self.levels[level].push(hash);
        // A full level waits for its next child: only then is it certain that the level above is needed.
        if self.levels[level].len() > FAN_OUT {
            let rest = self.levels[level].split_off(FAN_OUT);
            let full = std::mem::replace(&mut self.levels[level], rest);
            self.push(level + 1, node(&full));
        }
    }

    /// The root.
    pub fn finish(mut self) -> [u8; 32] {
        let mut level = 0;
        loop {
            let children = self.levels.get(level).map(Vec::as_slice).unwrap_or_default();
            let hash = node(children);
            level += 1;
            if self.levels.len() == level {
                return hash;
            }
            self.push(level, hash);
        }
    }
}

fn node(children: &[[u8; 32]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update([1]);
    for child in children {
        hash.update(child);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_of(leaves: usize) -> [u8; 32] {
        let mut merkle = Merkle::default();
        for i in 0..leaves {
            merkle.push(0, Sha256::digest(i.to_le_bytes()).into());
        }
        merkle.finish()
    }

    fn by_levels(leaves: usize) -> [u8; 32] {
        let mut level: Vec<[u8; 32]> = (0..leaves).map(|i| Sha256::digest(i.to_le_bytes()).into()).collect();
        loop {
            level = level.chunks(FAN_OUT).map(node).collect();
            if level.len() <= 1 {
                return level.first().copied().unwrap_or_else(|| node(&[]));
            }
        }
    }

    #[test]
    fn streaming_gives_the_root_that_building_level_by_level_gives() {
        for leaves in [1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 70_000] {
            assert_eq!(root_of(leaves), by_levels(leaves), "{leaves} leaves");
        }
    }
}
