//! The threads that make files of fetched bytes: decode, write, hash, compare, finish.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

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
    target::{Output, Target, TargetError},
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

/// A large file of which several threads write pieces. Its hash takes them in order.
#[derive(Debug)]
pub(super) struct LargeFile {
    row: Row,
    pieces: u32,
    state: Mutex<LargeState>,
    turn: Condvar,
}

#[derive(Debug)]
struct LargeState {
    output: Option<Output>,
    hash: Sha256,
    next: u32,
    lost: Option<String>,
}

/// Writes files into a target and notes what is lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileWriter<'a> {
    pub(super) target: &'a Target,
    pub(super) losses: &'a Losses,
    pub(super) counters: &'a Counters,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn expected(row: &Row) -> [u8; 32] {
    match &row.kind {
        Kind::File(content) => content.sha256,
        _ => [0; 32],
    }
}

impl FileWriter<'_> {
    /// Notes a failure of one file; errors that every file would meet end the restore.
    fn failed(&self, row: &Row, error: FileError) -> Result<(), RestoreError> {
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

    /// Begins a large file.
    pub(super) fn begin(&self, row: Row, pieces: u32) -> Result<LargeFile, RestoreError> {
        let (output, lost) = match self.target.create_file(&row) {
            Ok(output) => (Some(output), None),
            Err(error) => {
                self.failed(&row, error.into())?;
                (None, Some(String::new()))
            }
        };
        let state = LargeState { output, hash: Sha256::new(), next: 0, lost };
        Ok(LargeFile { row, pieces, state: Mutex::new(state), turn: Condvar::new() })
    }

    /// Writes a piece of a large file; the last one finishes it. Pieces are handed out in order, so the ones waited for are under way.
    pub(super) fn piece(
        &self,
        file: &LargeFile,
        number: u32,
        wanted: &[Wanted],
        fetched: &Fetched,
        decoder: &mut Decoder,
    ) -> Result<(), RestoreError> {
        let mut state = lock(&file.state);
        while state.next != number {
            state = file.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let written = write_piece(&mut state, wanted, fetched, decoder);
        self.counters.read.add(wanted.iter().map(|w| u64::from(w.extent.take)).sum());
        state.next += 1;
        let last = state.next == file.pieces;
        let finished = match written {
            Ok(()) if last && state.lost.is_none() => self.finish(file, &mut state),
            other => other,
        };
        let result = finished.or_else(|error| {
            let known = state.lost.replace(String::new()).is_some();
            state.output = None;
            if known { Ok(()) } else { self.failed(&file.row, error) }
        });
        file.turn.notify_all();
        result
    }

    fn finish(&self, file: &LargeFile, state: &mut LargeState) -> Result<(), FileError> {
        if <[u8; 32]>::from(state.hash.clone().finalize()) != expected(&file.row) {
            return Err(FileError::Hash);
        }
        if let Some(output) = state.output.take() {
            output.finish(&file.row)?;
            self.counters.entries.add(1);
        }
        Ok(())
    }
}

fn write_piece(
    state: &mut LargeState,
    wanted: &[Wanted],
    fetched: &Fetched,
    decoder: &mut Decoder,
) -> Result<(), FileError> {
    let LargeState { output: Some(output), hash, lost: None, .. } = state else { return Ok(()) };
    for Wanted { extent, at } in wanted {
        let plain = fetched.decode(extent, decoder)?;
        hash.update(plain);
        output.write_at(*at, plain)?;
    }
    Ok(())
}

/// Why one file is not restored.
#[derive(Debug)]
enum FileError {
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
