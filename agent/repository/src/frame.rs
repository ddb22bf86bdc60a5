//! Frames: plain bytes to one zstd frame and back, each checked before it is trusted. Source: `FORMAT.md` §3.

use sha2::{Digest, Sha256};
use zstd::zstd_safe::{CParameter, DParameter};

/// Longest decoded frame in bytes. The longest chunk is 1 MiB, the longest bundle below 2.5 MiB, a block below 2 MiB.
pub const FRAME_PLAIN_MAX: u32 = 4 << 20;

/// Largest window that a decoder grants, as a power of two: 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;

/// Index of a frame: what the deduplication compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId(pub [u8; 16]);

/// A frame that could not be made or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes do not decode.
    #[error("a frame does not decode: {0}")]
    Decode(&'static str),
    /// They decode to another length than the table says.
    #[error("a frame decodes to {found} bytes, not {expected}")]
    Length {
        /// The length of the table.
        expected: u32,
        /// The length found.
        found: usize,
    },
    /// They decode to other bytes than were encoded: the memory or the processor of this machine is at fault.
    #[error(
        "a frame that was just compressed does not decode to the same bytes: this machine's memory or processor is faulty"
    )]
    Mismatch,
    /// The plain bytes are more than a frame holds.
    #[error("{0} bytes are more than a frame holds")]
    TooLong(usize),
}

/// SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Makes frames; one for each thread.
pub struct Compressor {
    compress: zstd::bulk::Compressor<'static>,
    decode: Decompressor,
    /// As long as the longest frame so far may become: what is given away is copied to its own, smaller size.
    frame: Vec<u8>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compressor")
    }
}

fn code(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::OutOfMemory => "out of memory",
        _ => "it is damaged",
    }
}

impl Compressor {
    /// A compressor of that zstd level.
    pub fn new(level: i32) -> Result<Self, Error> {
        let mut compress = zstd::bulk::Compressor::new(level).map_err(|e| Error::Decode(code(&e)))?;
        for parameter in [CParameter::ChecksumFlag(true), CParameter::ContentSizeFlag(true)] {
            compress.set_parameter(parameter).map_err(|e| Error::Decode(code(&e)))?;
        }
        Ok(Self { compress, decode: Decompressor::new()?, frame: Vec::new() })
    }

    /// The frame of these bytes (at most [`FRAME_PLAIN_MAX`]), after decoding it again and comparing: what leaves this function
    /// restores.
    pub fn frame(&mut self, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let length = u32::try_from(plain.len()).ok().filter(|n| *n <= FRAME_PLAIN_MAX);
        let length = length.ok_or(Error::TooLong(plain.len()))?;
        self.frame.clear();
        self.frame.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        self.compress.compress_to_buffer(plain, &mut self.frame).map_err(|e| Error::Decode(code(&e)))?;
        if self.decode.decode(&self.frame, length)? != plain {
            return Err(Error::Mismatch);
        }
        Ok(self.frame.as_slice().to_vec())
    }
}

/// Opens frames; one for each thread. Keeps one buffer for the decoded bytes.
pub struct Decompressor {
    decode: zstd::bulk::Decompressor<'static>,
    plain: Vec<u8>,
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decompressor")
    }
}

impl Decompressor {
    /// A decompressor that grants no window above 8 MiB.
    pub fn new() -> Result<Self, Error> {
        let mut decode = zstd::bulk::Decompressor::new().map_err(|e| Error::Decode(code(&e)))?;
        decode.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(|e| Error::Decode(code(&e)))?;
        Ok(Self { decode, plain: Vec::new() })
    }

    /// The decoded bytes of a frame that must decode to `plain` bytes; valid until the next call.
    pub fn decode(&mut self, frame: &[u8], plain: u32) -> Result<&[u8], Error> {
        if plain > FRAME_PLAIN_MAX {
            return Err(Error::TooLong(plain as usize));
        }
        self.plain.clear();
        // `reserve` may give more than asked for; a frame that would use it is longer than the table says.
        self.plain.reserve(plain as usize);
        let found = self.decode.decompress_to_buffer(frame, &mut self.plain).map_err(|e| Error::Decode(code(&e)))?;
        if found != plain as usize {
            return Err(Error::Length { expected: plain, found });
        }
        Ok(&self.plain)
    }

    /// What the last call gave; of a call that failed, nothing that may be used.
    pub fn last(&self) -> &[u8] {
        &self.plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_decodes_to_its_bytes_and_to_no_other_length() {
        let plain: Vec<u8> = (0..100_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let frame = Compressor::new(1).and_then(|mut c| c.frame(&plain)).expect("compresses");
        let mut d = Decompressor::new().expect("starts");
        assert_eq!(d.decode(&frame, 400_000), Ok(plain.as_slice()));
        assert_eq!(d.decode(&frame, 400_001), Err(Error::Length { expected: 400_001, found: 400_000 }));
        assert!(d.decode(&frame, 399_999).is_err());
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_detected() {
        let plain = b"what is stored is what comes back, or an error".repeat(4);
        let mut frame = Compressor::new(1).and_then(|mut c| c.frame(&plain)).expect("compresses");
        let mut d = Decompressor::new().expect("starts");
        for bit in 0..frame.len() * 8 {
            frame[bit / 8] ^= 1 << (bit % 8);
            if let Ok(decoded) = d.decode(&frame, u32::try_from(plain.len()).expect("short")) {
                assert_eq!(decoded, plain, "bit {bit} changed the content unnoticed");
            }
            frame[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
