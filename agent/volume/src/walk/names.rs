//! The names of one directory, sorted, in two allocations. What the names stand for is looked up in `walk`.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use rustix::fs::RawDir;
use rustix::io::Errno;

/// Bytes that one `getdents` call fills: about a thousand usual names, so that the calls do not count.
pub(super) const LISTING_BYTES: usize = 32 * 1024;

/// Memory of one name besides its bytes: its place in the table and its terminator.
const NAME_OVERHEAD: usize = size_of::<Place>() + 1;

/// Where one name lies among the bytes.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: u32,
    length: u16,
}

/// The names of a directory in byte order, and how far the walk has come.
#[derive(Debug, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    places: Vec<Place>,
    next: usize,
}

/// Why names cannot be had.
#[derive(Debug)]
pub(super) enum NamesError {
    /// They need more memory than allowed.
    Budget,
    /// The kernel's answer.
    Kernel(Errno),
}

impl Names {
    /// Lists `directory`, using at most `budget` bytes of memory (below 4 GiB).
    pub(super) fn read(
        directory: impl AsFd,
        buffer: &mut [MaybeUninit<u8>],
        budget: usize,
    ) -> Result<Self, NamesError> {
        let mut names = Self::default();
        let mut listing = RawDir::new(directory, buffer);
        while let Some(entry) = listing.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(NamesError::Kernel(error)),
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if names.memory() + name.len() + NAME_OVERHEAD > budget {
                return Err(NamesError::Budget);
            }
            let start = u32::try_from(names.bytes.len()).map_err(|_| NamesError::Budget)?;
            // A file system may answer with anything; what the system calls cannot name is as good as absent.
            let length = u16::try_from(name.len()).map_err(|_| NamesError::Kernel(Errno::NAMETOOLONG))?;
            names.bytes.extend_from_slice(name);
            names.bytes.push(0);
            names.places.push(Place { start, length });
        }
        let bytes = &names.bytes;
        names.places.sort_unstable_by(|a, b| a.of(bytes).cmp(b.of(bytes)));
        Ok(names)
    }

    /// Memory in use, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.bytes.len() + self.places.len() * size_of::<Place>()
    }

    /// The next name.
    pub(super) fn next(&mut self) -> Option<&CStr> {
        let place = self.places.get(self.next)?;
        self.next += 1;
        let end = place.start as usize + usize::from(place.length);
        CStr::from_bytes_with_nul(&self.bytes[place.start as usize..=end]).ok()
    }

    /// Gives up on all names that are left.
    pub(super) fn skip_rest(&mut self) {
        self.next = self.places.len();
    }
}

impl Place {
    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.start as usize + usize::from(self.length)]
    }
}
