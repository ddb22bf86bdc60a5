//! A regular file that is being restored. Where its bytes come from, and whether they are right, is decided by the caller.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{AtFlags, fsync, renameat, unlinkat};
use trysail_repository::table::{Content, Row, Segment};

use super::Shared;
use super::error::{Step, TargetError};
use super::metadata::Setter;
use crate::beneath::split;

/// Aligned runs of zeros of this length in bytes are left out: a new file reads as zeros where nothing was written.
const ZERO_RUN: usize = 64 * 1024;

static ZEROS: [u8; ZERO_RUN] = [0; ZERO_RUN];

/// A file under construction: mode 0600 and, where it replaces another, under a temporary name. Dropped unfinished, it is deleted.
#[derive(Debug)]
pub struct Output {
    file: File,
    shared: Arc<Shared>,
    parent: Arc<OwnedFd>,
    path: Vec<u8>,
    /// The name it has until it is finished, if that is not its own.
    temporary: Option<Vec<u8>>,
    /// Of a sparse file, where in the content stream each segment begins.
    segments: Option<Starts>,
    /// Length of the content stream in bytes.
    length: u64,
    finished: bool,
}

/// Segments, each with the place in the content stream where it begins.
type Starts = Vec<(u64, Segment)>;

/// Where a new file is made.
pub(super) struct Place {
    pub(super) file: File,
    pub(super) parent: Arc<OwnedFd>,
    pub(super) temporary: Option<Vec<u8>>,
}

/// The content stream of a row: where its segments begin, and its length. `None` for segments that do not fit the size.
fn layout(content: &Content) -> Option<(Option<Starts>, u64)> {
    let Some(segments) = &content.segments else { return Some((None, content.size)) };
    let (mut stream, mut end) = (0_u64, None);
    let mut starts = Vec::with_capacity(segments.len());
    for segment in segments {
        let after = segment.offset.checked_add(segment.length)?;
        if segment.length == 0 || after > content.size || end.is_some_and(|end| segment.offset <= end) {
            return None;
        }
        starts.push((stream, *segment));
        stream += segment.length;
        end = Some(after);
    }
    Some((Some(starts), stream))
}

impl Output {
    pub(super) fn new(shared: Arc<Shared>, row: &Row, content: &Content, place: Place) -> Result<Self, TargetError> {
        let Place { file, parent, temporary } = place;
        let path = row.path.clone();
        let layout = layout(content);
        let (segments, length) = layout.clone().unwrap_or_default();
        let output = Self { file, shared, parent, path, temporary, segments, length, finished: false };
        if layout.is_none() {
            return Err(TargetError::BadSegments { path: row.path.clone() });
        }
        output.file.set_len(content.size).map_err(|error| TargetError::failed(&output.path, Step::Write, error))?;
        Ok(output)
    }

    /// Writes `bytes` at `offset` of the content stream, which of a sparse file is its segments one after another.
    ///
    /// Each byte is to be written once, with its final value: zeros may be left out.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), TargetError> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= self.length);
        if end.is_none() {
            return Err(TargetError::Beyond { path: self.path.clone(), length: self.length });
        }
        let Some(segments) = &self.segments else { return self.write_run(offset, bytes) };
        let first = segments.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
        let (mut offset, mut rest) = (offset, bytes);
        for (start, segment) in &segments[first.min(segments.len())..] {
            if rest.is_empty() {
                break;
            }
            let inside = offset - start;
            let here = usize::try_from(segment.length - inside).unwrap_or(usize::MAX).min(rest.len());
            self.write_run(segment.offset + inside, &rest[..here])?;
            offset += here as u64;
            rest = &rest[here..];
        }
        Ok(())
    }

    fn write_run(&self, at: u64, bytes: &[u8]) -> Result<(), TargetError> {
        let write = |from: usize, to: usize| {
            let written = self.file.write_all_at(&bytes[from..to], at + from as u64);
            written.map_err(|error| TargetError::failed(&self.path, Step::Write, error))
        };
        let (mut from, mut position) = (0, 0);
        while position < bytes.len() {
            let into_block = usize::try_from((at + position as u64) % ZERO_RUN as u64).expect("a rest of 64 KiB fits");
            let end = bytes.len().min(position + ZERO_RUN - into_block);
            if bytes[position..end] == ZEROS {
                write(from, position)?;
                from = end;
            }
            position = end;
        }
        write(from, bytes.len())
    }

    /// Sets the metadata of `row` and gives the file its name.
    pub fn finish(mut self, row: &Row) -> Result<(), TargetError> {
        let path = self.path.clone();
        let setter = Setter::new(&self.shared, &self.file, &path, &row.metadata)?;
        setter.apply()?;
        let (device, number) = (setter.found().st_dev, setter.found().st_ino);
        if device != self.shared.device {
            // `Target::sync` reaches only the file system of the root.
            fsync(&self.file).map_err(|error| TargetError::failed(&path, Step::Sync, error))?;
        }
        if let Some(temporary) = &self.temporary {
            renameat(&self.parent, temporary.as_slice(), &self.parent, split(&path).1)
                .map_err(|error| TargetError::failed(&path, Step::Rename, error))?;
        }
        self.shared.made(device, number);
        self.finished = true;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.finished {
            let name = self.temporary.as_deref().unwrap_or(split(&self.path).1);
            // Nothing can be done about a failure, and the caller knows that this file is not restored.
            let _ = unlinkat(&self.parent, name, AtFlags::empty());
        }
    }
}
