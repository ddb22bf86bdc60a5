//! Buffers for whole objects, whose memory the system has back as soon as they are dropped.

/// Objects of this length and more are seldom and large: packs that are read whole.
const LARGE_BYTES: usize = 12 << 20;

/// glibc gives a block of this size and more back when it is freed. Smaller ones it keeps, for each thread, once it has seen some:
/// a check then holds several packs that nobody reads any more. Pages that are never touched cost nothing. Source: mallopt(3),
/// `M_MMAP_THRESHOLD`, whose dynamic value ends at 32 MiB.
const MAPPED_BYTES: usize = (32 << 20) + 4096;

/// The capacity to ask for where `bytes` are to be held, in bytes.
pub(crate) fn capacity(bytes: usize) -> usize {
    if bytes < LARGE_BYTES { bytes } else { bytes.max(MAPPED_BYTES) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_packs_get_a_block_that_is_given_back() {
        let asked = [0, 4096, 8 << 20, 16 << 20, 40 << 20];
        assert_eq!(asked.map(capacity), [0, 4096, 8 << 20, (32 << 20) + 4096, 40 << 20]);
    }
}
