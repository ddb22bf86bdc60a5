//! Which packs one run reads: a part of all of them that depends on their names alone, so that T runs read every pack once.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use crate::{frame::sha256, layout, table::PackRef};

/// Most parts: a pack an hour over a year is less.
const PARTS_MAX: u32 = 100_000;

/// Part `part` of `of`, counted from 1. As text `3/30`.
///
/// A pack belongs to the part whose number, less one, is SHA-256 of its key's text modulo `of`; of the hash, the first 8 bytes count, as a
/// little-endian integer. So new packs change no old pack's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subset {
    part: u32,
    of: u32,
}

/// The text does not name a part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no part of the packs: N/T with N from 1 to T, T at most {PARTS_MAX}, such as 3/30 (1/1 reads all)")]
pub struct NotASubset(pub String);

impl Subset {
    /// All packs.
    pub const ALL: Self = Self { part: 1, of: 1 };

    /// Part `part` of `of`.
    pub fn new(part: u32, of: u32) -> Result<Self, NotASubset> {
        if (1..=of).contains(&part) && of <= PARTS_MAX {
            Ok(Self { part, of })
        } else {
            Err(NotASubset(format!("{part}/{of}")))
        }
    }

    /// Whether this part has the pack.
    pub fn contains(self, pack: PackRef) -> bool {
        let hash = sha256(layout::pack(pack).as_str().as_bytes());
        let first = hash.iter().take(8).rev().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        first % u64::from(self.of) == u64::from(self.part - 1)
    }
}

impl FromStr for Subset {
    type Err = NotASubset;

    fn from_str(text: &str) -> Result<Self, NotASubset> {
        let parsed = text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
        let (part, of) = parsed.ok_or_else(|| NotASubset(text.chars().take(40).collect()))?;
        Self::new(part, of)
    }
}

impl fmt::Display for Subset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.of)
    }
}

impl Serialize for Subset {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{session::SessionId, table::PackKind};

    #[test]
    fn the_parts_have_each_pack_exactly_once() {
        for number in 0..200 {
            let pack = PackRef { session: SessionId::from_bytes([7; 16]), kind: PackKind::Data, number };
            let parts: Vec<u32> = (1..=7).filter(|n| Subset { part: *n, of: 7 }.contains(pack)).collect();
            assert_eq!(parts.len(), 1, "pack {number} is in {parts:?}");
        }
    }

    #[test]
    fn a_part_reads_as_it_is_written_and_nothing_else_is_one() {
        assert_eq!("3/30".parse(), Ok(Subset { part: 3, of: 30 }));
        assert_eq!(Subset::ALL.to_string().parse(), Ok(Subset::ALL));
        for text in ["", "3", "0/3", "4/3", "1/0", "-1/3", "1/2/3", "1/100001"] {
            assert!(text.parse::<Subset>().is_err(), "{text}");
        }
    }
}
