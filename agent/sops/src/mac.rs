//! The hash over all encrypted values, in the order of the file. Sealed with the data key it is the MAC of a file.

use sha2::{Digest as _, Sha256, Sha512};

use crate::value::Value;

/// A running hash. Source: sops, `sops.go` (`Tree.Encrypt`).
#[derive(Debug)]
pub(crate) struct Hash {
    hash: Sha512,
    only_encrypted: bool,
}

impl Hash {
    /// Begins. With `mac_only_encrypted` readable values are not hashed, and the hash begins with that of the word `sops`.
    pub(crate) fn new(mac_only_encrypted: bool) -> Self {
        let mut hash = Sha512::new();
        if mac_only_encrypted {
            hash.update(Sha256::digest(b"sops"));
        }
        Self { hash, only_encrypted: mac_only_encrypted }
    }

    /// Takes in the next value of the file.
    pub(crate) fn add(&mut self, value: &Value, is_encrypted: bool) {
        if is_encrypted || !self.only_encrypted {
            self.hash.update(&*value.bytes());
        }
    }

    /// The hash as sops seals it.
    pub(crate) fn finish(self) -> String {
        hex::encode_upper(self.hash.finalize())
    }
}
