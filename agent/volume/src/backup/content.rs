//! Reading the content of one file in such a way that it is known whether it is one state of the file.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use trysail_repository::table::{Content, Row, Segment};

use crate::{
    read::{Stamp, segments},
    walk::{Action, Problem, Visit},
};

/// Times a file is read again when it changes meanwhile.
pub(super) const RETRIES_MAX: usize = 2;

/// An open file, its row as the open file says, and what tells a change.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) row: Row,
    before: Stamp,
    runs: Vec<Segment>,
}

impl Opened {
    /// Opens the file of a visit. Its row takes size and times from the open file: they are from the moment that reading begins.
    pub(super) fn new(visit: &Visit, xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<Self, Problem> {
        let file = visit.open()?;
        let failed = |error: io::Error| Problem::refused(&visit.row.path, Action::Read, error);
        let before = Stamp::of(&file).map_err(failed)?;
        let segments = segments(&file, before.size, visit.blocks).map_err(failed)?;
        let runs = match &segments {
            Some(segments) => segments.clone(),
            None if before.size == 0 => Vec::new(),
            None => vec![Segment { offset: 0, length: before.size }],
        };
        let mut row = visit.row.clone();
        row.kind = trysail_repository::table::Kind::File(Content { size: before.size, sha256: [0; 32], segments });
        row.metadata.mtime = before.mtime;
        row.metadata.xattrs = xattrs.to_vec();
        row.inode.ctime = before.ctime;
        Ok(Self { file, row, before, runs })
    }

    /// Length of what is to be read: of a sparse file, of its data segments.
    pub(super) fn length(&self) -> u64 {
        self.runs.iter().map(|r| r.length).sum()
    }

    /// Whether what was read is one state of the file.
    pub(super) fn is_stable(&self) -> bool {
        Stamp::of(&self.file).is_ok_and(|now| now == self.before)
    }

    /// A reader of the content stream. A file that became shorter gives zeros up to its length: the member's length is fixed.
    pub(super) fn reader(&self) -> ContentReader<'_> {
        ContentReader { file: &self.file, runs: self.runs.iter().copied().collect(), short: false }
    }
}

/// Reads the content stream of a file from its beginning.
#[derive(Debug)]
pub(super) struct ContentReader<'a> {
    file: &'a File,
    runs: std::collections::VecDeque<Segment>,
    /// Whether the file ended early.
    pub(super) short: bool,
}

impl ContentReader<'_> {
    /// Appends up to `wanted` bytes of the stream; fewer only at its end. Gives how many.
    pub(super) fn fill(&mut self, buffer: &mut Vec<u8>, wanted: usize) -> io::Result<usize> {
        let start = buffer.len();
        while buffer.len() < start + wanted {
            let Some(run) = self.runs.front_mut() else { break };
            let here = usize::try_from(run.length).unwrap_or(usize::MAX).min(start + wanted - buffer.len());
            let from = buffer.len();
            buffer.resize(from + here, 0);
            let mut got = 0;
            while got < here {
                match self.file.read_at(&mut buffer[from + got..], run.offset + got as u64) {
                    Ok(0) => {
                        self.short = true;
                        break;
                    }
                    Ok(n) => got += n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            run.offset += here as u64;
            run.length -= here as u64;
            if run.length == 0 {
                self.runs.pop_front();
            }
        }
        Ok(buffer.len() - start)
    }
}
