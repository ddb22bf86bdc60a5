//! Temporary data that would not fit in memory: one file without a name, gone when its owner is, even by a crash.

use std::{fs::File, os::unix::fs::FileExt as _};

use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};

/// A file without a name that grows at its end.
#[derive(Debug)]
pub(super) struct Scratch {
    file: File,
    /// Its length in bytes.
    end: u64,
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Scratch { directory: std::env::temp_dir().display().to_string(), detail: error.to_string() }
}

impl Scratch {
    /// An empty one in the system's directory for temporary files.
    pub(super) fn new() -> Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::open(std::env::temp_dir(), flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        Ok(Self { file: File::from(file), end: 0 })
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.end
    }

    /// Adds bytes at its end; gives their offset.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let at = self.end;
        self.file.write_all_at(bytes, at).map_err(failed)?;
        self.end = at + bytes.len() as u64;
        Ok(at)
    }

    /// Fills the buffer with what lies at that offset.
    pub(super) fn read(&self, at: u64, buffer: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buffer, at).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_appended_is_read_back_from_its_offset() {
        let mut scratch = Scratch::new().expect("a directory for temporary files");
        let offsets = [b"one".as_slice(), b"three"].map(|bytes| scratch.append(bytes).expect("room"));
        let mut buffer = [0; 5];
        scratch.read(offsets[1], &mut buffer).expect("it was written");
        assert_eq!((offsets, scratch.len(), &buffer), ([0, 3], 8, b"three"));
        assert!(matches!(scratch.read(4, &mut buffer), Err(Error::Scratch { .. })), "beyond its end");
    }
}
