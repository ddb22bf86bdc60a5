//! Directories of the target that are held open, so that entries of one directory do not walk its whole path each time.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Directories held open: half of the usual limit of 1,024 descriptors.
const OPEN_MAX: usize = 512;

/// Longest path in bytes that is remembered; directories below are reached from the root each time. Bounds the table to 2 MiB.
const PATH_MAX: usize = 4095;

/// The directories used last.
#[derive(Debug, Default)]
pub(super) struct Directories {
    open: HashMap<Vec<u8>, (Arc<OwnedFd>, u64)>,
    clock: u64,
}

impl Directories {
    pub(super) fn get(&mut self, path: &[u8]) -> Option<Arc<OwnedFd>> {
        self.clock += 1;
        let (fd, used) = self.open.get_mut(path)?;
        *used = self.clock;
        Some(fd.clone())
    }

    pub(super) fn put(&mut self, path: &[u8], fd: Arc<OwnedFd>) {
        if path.len() > PATH_MAX {
            return;
        }
        if self.open.len() >= OPEN_MAX {
            let oldest = self.open.iter().min_by_key(|(_, (_, used))| *used).map(|(path, _)| path.clone());
            if let Some(oldest) = oldest {
                self.open.remove(&oldest);
            }
        }
        self.open.insert(path.to_vec(), (fd, self.clock));
    }
}
