//! Extended attributes of one entry, raw as the kernel gives them. Which of them a restore sets is decided in `target`.

use rustix::fs::{getxattr, lgetxattr, listxattr, llistxattr};
use rustix::io::{Errno, Result};

/// Longest list of names and longest value in bytes. Source: Linux `XATTR_LIST_MAX` and `XATTR_SIZE_MAX`.
const XATTR_BYTES_MAX: usize = 65_536;

/// Most entries have no attributes or few short ones: the first try needs no large buffer.
const XATTR_BYTES_USUAL: usize = 1024;

/// Attributes as [`trysail_repository::table::Metadata`] holds them.
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// How the last part of a path is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    /// A name in a directory: a link is the entry itself.
    Name,
    /// What `/proc` gives for an open descriptor: the entry is what it leads to.
    Descriptor,
}

/// Names and values at `path`, in byte order of the names. A file system without attributes has none.
pub(crate) fn read(path: &[u8], last: Last) -> Result<Xattrs> {
    let listed = grow(|buffer| match last {
        Last::Name => llistxattr(path, buffer),
        Last::Descriptor => listxattr(path, buffer),
    });
    let names = match listed {
        Ok(names) => names,
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let value = grow(|buffer| match last {
            Last::Name => lgetxattr(path, name, buffer),
            Last::Descriptor => getxattr(path, name, buffer),
        });
        match value {
            Ok(value) => found.push((name.to_vec(), value)),
            // Removed since the list was made, or listed without being readable by anybody.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Calls `fill` with a small buffer and, if that does not do, with the largest that Linux can need.
fn grow(fill: impl Fn(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut small = [0_u8; XATTR_BYTES_USUAL];
    match fill(&mut small) {
        Ok(length) => Ok(small[..length].to_vec()),
        Err(Errno::RANGE) => {
            let mut large = vec![0_u8; XATTR_BYTES_MAX];
            let length = fill(&mut large)?;
            large.truncate(length);
            large.shrink_to_fit();
            Ok(large)
        }
        Err(error) => Err(error),
    }
}
