//! Making whole files of fetched bytes: decode, write, hash, compare, finish. Files that several threads share are in `large`.

use sha2::{Digest as _, Sha256};
use trysail_repository::{
    Class, Error,
    table::{Kind, Row},
};

use super::{
    Losses, Lost,
    fetch::{Decoder, Fetched},
    plan::{FilePlan, Wanted},
};
use crate::{
    backup::Counters,
    target::{Target, TargetError},
};

/// What ends a restore.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The repository failed.
    #[error(transparent)]
    Repository(#[from] Error),
    /// The target is full, read-only or failing, or not what a restore may write into.
    #[error(transparent)]
    Target(TargetError),
}

/// Writes files into a target and notes what is lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileWriter<'a> {
    pub(super) target: &'a Target,
    pub(super) losses: &'a Losses,
    pub(super) counters: &'a Counters,
}

/// The SHA-256 that the file table says.
pub(super) fn expected(row: &Row) -> [u8; 32] {
    match &row.kind {
        Kind::File(content) => content.sha256,
        _ => [0; 32],
    }
}

impl FileWriter<'_> {
    /// Notes a failure of one file; errors that every file would meet end the restore.
    pub(super) fn failed(&self, row: &Row, error: FileError) -> Result<(), RestoreError> {
        match error {
            FileError::Target(error) if error.is_fatal() => Err(RestoreError::Target(error)),
            FileError::Target(error) => {
                self.losses.add(Lost { path: row.path.clone(), reason: error.to_string() });
                Ok(())
            }
            FileError::Repository(error) => match error.class() {
                Class::Corrupt | Class::Missing => {
                    self.losses.add(Lost { path: row.path.clone(), reason: error.to_string() });
                    Ok(())
                }
                Class::Transient | Class::Denied | Class::Invalid | Class::Bug => Err(error.into()),
            },
            FileError::Hash => {
                let reason = "its content has another SHA-256 than the file table says".to_owned();
                self.losses.add(Lost { path: row.path.clone(), reason });
                Ok(())
            }
        }
    }

    /// Makes whole files.
    pub(super) fn files(
        &self,
        files: &[FilePlan],
        fetched: &Fetched,
        decoder: &mut Decoder,
    ) -> Result<(), RestoreError> {
        for FilePlan { row, wanted } in files {
            if let Err(error) = self.file(row, wanted, fetched, decoder) {
                self.failed(row, error)?;
            }
        }
        Ok(())
    }

    fn file(&self, row: &Row, wanted: &[Wanted], fetched: &Fetched, decoder: &mut Decoder) -> Result<(), FileError> {
        let output = self.target.create_file(row)?;
        let mut hash = Sha256::new();
        for Wanted { extent, at } in wanted {
            let plain = fetched.decode(extent, decoder)?;
            hash.update(plain);
            output.write_at(*at, plain)?;
            self.counters.read.add(plain.len() as u64);
        }
        if <[u8; 32]>::from(hash.finalize()) != expected(row) {
            return Err(FileError::Hash);
        }
        output.finish(row)?;
        self.counters.entries.add(1);
        Ok(())
    }
}

/// Why one file is not restored.
#[derive(Debug)]
pub(super) enum FileError {
    Target(TargetError),
    Repository(Error),
    Hash,
}

impl From<TargetError> for FileError {
    fn from(error: TargetError) -> Self {
        Self::Target(error)
    }
}

impl From<Error> for FileError {
    fn from(error: Error) -> Self {
        Self::Repository(error)
    }
}
