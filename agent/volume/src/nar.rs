//! The NAR hash of a directory: the content proof that Nix users know. Owners, times, modes other than executable and attributes are not
//! in it.

use std::{io::Read as _, path::Path};

use sha2::{Digest as _, Sha256};

/// Bytes of the archive that are hashed at once.
const BUFFER_BYTES: usize = 256 << 10;

/// A tree that has no NAR hash: it holds devices, pipes or sockets, or names that are not UTF-8.
#[derive(Debug, thiserror::Error)]
#[error("{path} has no NAR hash: {reason}")]
pub struct NarError {
    path: String,
    reason: String,
}

/// The SHA-256 of the NAR of the tree at `path`, as `nix hash path` computes it.
pub fn hash(path: &Path) -> Result<[u8; 32], NarError> {
    let failed = |reason: String| NarError { path: path.display().to_string(), reason };
    let mut encoder = nix_nar::Encoder::new(path).map_err(|e| failed(e.to_string()))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; BUFFER_BYTES]);
    loop {
        match encoder.read(&mut buffer).map_err(|e| failed(e.to_string()))? {
            0 => return Ok(hash.finalize().into()),
            n => hash.update(&buffer[..n]),
        }
    }
}
