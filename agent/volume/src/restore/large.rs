//! A large file that several threads restore: each decodes and writes the next frame, and the hash takes the frames in turn.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};
use trysail_repository::{Error, table::Row};

use super::{
    RestoreError,
    fetch::{Decoder, Fetched},
    plan::Wanted,
    write::{FileError, FileWriter, expected},
};
use crate::target::Output;

/// A file whose frames are handed out in order, so that a frame that waits for its turn waits for frames under way.
#[derive(Debug)]
pub(super) struct LargeFile {
    row: Row,
    frames: u32,
    state: Mutex<State>,
    turn: Condvar,
}

#[derive(Debug)]
struct State {
    /// `None` once the file is lost or finished.
    output: Option<Arc<Output>>,
    hash: Sha256,
    next: u32,
    /// Whether it is noted already that the file is not restored.
    lost: bool,
}

impl LargeFile {
    /// Begins a file of so many frames. One that cannot be made is noted, and its frames do nothing.
    pub(super) fn begin(writer: &FileWriter<'_>, row: Row, frames: u32) -> Result<Self, RestoreError> {
        let output = match writer.target.create_file(&row) {
            Ok(output) => Some(Arc::new(output)),
            Err(error) => {
                writer.failed(&row, error.into())?;
                None
            }
        };
        let state = State { lost: output.is_none(), output, hash: Sha256::new(), next: 0 };
        Ok(Self { row, frames, state: Mutex::new(state), turn: Condvar::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Restores the frame of that number, which counts from 0; the last one finishes the file.
    pub(super) fn frame(
        &self,
        writer: &FileWriter<'_>,
        number: u32,
        wanted: &Wanted,
        fetched: &Fetched,
        decoder: &mut Decoder,
    ) -> Result<(), RestoreError> {
        let output = self.state().output.clone();
        let written = output.map_or(Ok(None), |output| write(&output, wanted, fetched, decoder).map(Some));
        let mut state = self.state();
        while state.next != number {
            state = self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let hashed = written.map(|plain| plain.into_iter().for_each(|plain| state.hash.update(plain)));
        let finished = hashed.and_then(|()| self.finish_after(number, &mut state, writer));
        state.next += 1;
        let noted = finished.or_else(|error| {
            state.output = None;
            if std::mem::replace(&mut state.lost, true) { Ok(()) } else { writer.failed(&self.row, error) }
        });
        self.turn.notify_all();
        writer.counters.read.add(wanted.extent.take.into());
        noted
    }

    fn finish_after(&self, number: u32, state: &mut State, writer: &FileWriter<'_>) -> Result<(), FileError> {
        if number + 1 < self.frames {
            return Ok(());
        }
        let Some(output) = state.output.take() else { return Ok(()) };
        if <[u8; 32]>::from(state.hash.clone().finalize()) != expected(&self.row) {
            return Err(FileError::Hash);
        }
        // All other frames are done, and with them their shares of the file.
        let output = Arc::into_inner(output).ok_or(Error::Bug("a finished file is still being written"))?;
        output.finish(&self.row)?;
        writer.counters.entries.add(1);
        Ok(())
    }
}

/// The decoded bytes, written at their place.
fn write<'a>(
    output: &Output,
    wanted: &Wanted,
    fetched: &Fetched,
    decoder: &'a mut Decoder,
) -> Result<&'a [u8], FileError> {
    let plain = fetched.decode(&wanted.extent, decoder)?;
    output.write_at(wanted.at, plain)?;
    Ok(plain)
}
