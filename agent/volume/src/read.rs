//! What is asked of an open file besides its bytes: where its data lie, and whether it changed. Cutting and storing are not done here.

use std::fs::File;

use rustix::fs::{SeekFrom, fstat, seek};
use rustix::io::Errno;
use trysail_repository::table::{Segment, Time};

/// Segments of one sparse file: a row with more would not fit into a block of the file table, and the map in front of the content
/// would be longer than usual contents.
pub const SEGMENTS_MAX: usize = 65_536;

/// Holes below this length in bytes are stored as zeros. No file system in use has smaller blocks with holes between them.
const HOLE_MIN: u64 = 4096;

/// What changes when a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Length in bytes.
    pub size: u64,
    /// Time of last change of the content.
    pub mtime: Time,
    /// Time of last change of the inode.
    pub ctime: Time,
    /// Inode number.
    pub number: u64,
}

impl Stamp {
    /// Takes the stamp of an open file. Equal stamps before and after reading mean that what was read is one state of the file.
    pub fn of(file: &File) -> std::io::Result<Self> {
        let stat = fstat(file)?;
        Ok(Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: time(stat.st_mtime, stat.st_mtime_nsec)?,
            ctime: time(stat.st_ctime, stat.st_ctime_nsec)?,
            number: stat.st_ino,
        })
    }
}

/// A time of `struct stat`, whose nanoseconds are never negative.
fn time(seconds: i64, nanoseconds: impl TryInto<u32>) -> std::io::Result<Time> {
    let nanoseconds = nanoseconds.try_into().map_err(|_| std::io::Error::from(Errno::OVERFLOW))?;
    Ok(Time { seconds, nanoseconds })
}

/// The data segments of a file of `size` bytes that has `blocks` units of 512 bytes allocated; `None` if it has no holes.
///
/// Holes are not looked for where the allocation covers the size: that costs no call for nearly all files. At most
/// [`SEGMENTS_MAX`] segments: beyond, holes count as data, short ones first.
pub fn segments(file: &File, size: u64, blocks: u64) -> std::io::Result<Option<Vec<Segment>>> {
    if size == 0 || blocks.saturating_mul(512) >= size {
        return Ok(None);
    }
    let mut map = Map { segments: Vec::new(), hole_min: HOLE_MIN };
    let mut at = 0;
    while at < size {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start.min(size),
            // Only a hole up to the end.
            Err(Errno::NXIO) => size,
            // A file system that knows no holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if start == size {
            break;
        }
        let end = match seek(file, SeekFrom::Hole(start)) {
            Ok(end) => end.min(size),
            // Cut off meanwhile; the stamp tells.
            Err(Errno::NXIO) => size,
            Err(error) => return Err(error.into()),
        };
        if end <= start {
            break;
        }
        map.add(start, end);
        at = end;
    }
    let whole = [Segment { offset: 0, length: size }];
    Ok(if map.segments == whole { None } else { Some(map.segments) })
}

/// Segments found so far.
struct Map {
    segments: Vec<Segment>,
    hole_min: u64,
}

impl Map {
    fn add(&mut self, start: u64, end: u64) {
        match self.segments.last_mut() {
            Some(last) if start - (last.offset + last.length) < self.hole_min => last.length = end - last.offset,
            _ => self.segments.push(Segment { offset: start, length: end - start }),
        }
        while self.segments.len() > SEGMENTS_MAX {
            self.hole_min *= 2;
            self.close_holes();
        }
    }

    fn close_holes(&mut self) {
        let found = std::mem::take(&mut self.segments);
        for segment in found {
            match self.segments.last_mut() {
                Some(last) if segment.offset - (last.offset + last.length) < self.hole_min => {
                    last.length = segment.offset + segment.length - last.offset;
                }
                _ => self.segments.push(segment),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    fn map_of(file: &File) -> Option<Vec<Segment>> {
        let metadata = file.metadata().unwrap();
        segments(file, metadata.len(), metadata.blocks()).unwrap()
    }

    #[test]
    fn holes_at_both_ends_are_found_and_a_full_file_has_none() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 40).unwrap();
        assert_eq!(map_of(&file), Some(vec![]));
        file.write_all_at(&[1; 4096], 1 << 30).unwrap();
        assert_eq!(map_of(&file), Some(vec![Segment { offset: 1 << 30, length: 4096 }]));
        file.set_len(0).unwrap();
        assert_eq!(map_of(&file), None);
        file.write_all_at(&[1; 5000], 0).unwrap();
        assert_eq!(map_of(&file), None);
    }

    #[test]
    fn beyond_the_bound_the_shortest_holes_become_data() {
        let mut map = Map { segments: Vec::new(), hole_min: HOLE_MIN };
        let pages = 2 * SEGMENTS_MAX as u64;
        // Every eighth hole is longer than the others.
        let mut at = 0;
        for page in 0..pages {
            map.add(at, at + 4096);
            at += if page % 8 == 7 { 4 * 4096 } else { 2 * 4096 };
        }
        assert_eq!(map.hole_min, 2 * HOLE_MIN);
        assert_eq!(map.segments.len(), SEGMENTS_MAX / 4);
        assert_eq!(map.segments[1], Segment { offset: 18 * 4096, length: 15 * 4096 });
    }

    #[test]
    fn a_stamp_tells_a_change_of_the_size() {
        let file = tempfile::tempfile().unwrap();
        let before = Stamp::of(&file).unwrap();
        assert_eq!(Stamp::of(&file).unwrap(), before);
        file.set_len(7).unwrap();
        assert_eq!(Stamp::of(&file).unwrap().size, 7);
        assert_ne!(Stamp::of(&file).unwrap(), before);
    }
}
