//! Extended attributes of one entry, raw as the kernel gives them. Which of them a restore sets is decided in `target`.

use rustix::fs::{lgetxattr, llistxattr};
use rustix::io::{Errno, Result};

/// Longest list of names and longest value in bytes. Source: Linux `XATTR_LIST_MAX` and `XATTR_SIZE_MAX`.
const XATTR_BYTES_MAX: usize = 65_536;

/// Most entries have no attributes or few short ones: the first try needs no large buffer.
const XATTR_BYTES_USUAL: usize = 1024;

/// Attributes as [`trysail_repository::table::Metadata`] holds them.
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Names and values at `path` (its last part is not followed), in byte order of the names. A file system without attributes has none.
pub(crate) fn read(path: &[u8]) -> Result<Xattrs> {
    let names = match grow(|buffer| llistxattr(path, buffer)) {
        Ok(names) => names,
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match grow(|buffer| lgetxattr(path, name, buffer)) {
            Ok(value) => found.push((name.to_vec(), value)),
            // Removed since the list was made, or listed but not ours to see (`trusted.` in some kernels).
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
