//! A bound on the bytes that are between threads: who adds waits while there are too many.

use std::sync::{Condvar, Mutex, PoisonError};

/// Plain bytes between reader and packer: eight of the longest chunks, enough for two threads to be busy.
pub(super) const BYTES_IN_FLIGHT_MAX: usize = 8 << 20;

/// A counting semaphore of bytes.
#[derive(Debug, Default)]
pub(super) struct Budget {
    used: Mutex<Used>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Used {
    bytes: usize,
    closed: bool,
}

impl Budget {
    /// Takes `bytes`, when there is room or nobody gives any back any more; one item alone always has room.
    pub(super) fn take(&self, bytes: usize) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while !used.closed && used.bytes > 0 && used.bytes + bytes > BYTES_IN_FLIGHT_MAX {
            used = self.freed.wait(used).unwrap_or_else(PoisonError::into_inner);
        }
        used.bytes += bytes;
    }

    /// Gives `bytes` back.
    pub(super) fn give(&self, bytes: usize) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.bytes = used.bytes.saturating_sub(bytes);
        self.freed.notify_one();
    }

    /// Lets everybody through from now on.
    pub(super) fn close(&self) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.freed.notify_all();
    }
}
