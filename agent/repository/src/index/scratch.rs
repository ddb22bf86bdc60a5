//! Temporary data that would not fit in memory: one file without a name, mode 0600, gone when its owner is, even by a crash.
//!
//! It is made in `TMPDIR`, or `/tmp`. Who writes seals: an unlinked file's bytes may stay on the disk until they are overwritten.

use std::{env, fs::File, os::unix::fs::FileExt as _};

use rustix::fs::{Mode, OFlags};
use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// A file without a name that grows at its end.
#[derive(Debug)]
pub(super) struct Scratch {
    file: File,
    /// Its length in bytes.
    end: u64,
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Scratch { directory: env::temp_dir().display().to_string(), detail: error.to_string() }
}

impl Scratch {
    /// An empty one. Where the file system has no files without names (overlays of old kernels), it has one for a moment: a crash
    /// right then leaves an empty file.
    pub(super) fn new() -> Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = match rustix::fs::open(env::temp_dir(), flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => File::from(file),
            Err(_) => Self::unlinked()?,
        };
        Ok(Self { file, end: 0 })
    }

    fn unlinked() -> Result<File> {
        let (file, path) = NamedTempFile::new().map_err(failed)?.into_parts();
        path.close().map_err(failed)?;
        Ok(file)
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
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn it_has_no_name_and_nobody_else_may_open_it() {
        let files = [Scratch::new().map(|scratch| scratch.file), Scratch::unlinked()];
        for file in files {
            let metadata = file.expect("a directory for temporary files").metadata().expect("it is open");
            assert_eq!((metadata.nlink(), metadata.permissions().mode() & 0o777), (0, 0o600));
        }
    }

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
