//! Which requests are valid at all, the same for every store. What a store then makes of them lives in its own module.

use std::ops::Range;

use bytes::Bytes;

use super::{Error, ErrorKind, Key, OBJECT_BYTES_MAX, PAGE_KEYS_MAX, Result};

/// Refuses a body that is longer than [`OBJECT_BYTES_MAX`].
pub(super) fn check_body(key: &Key, body: &Bytes) -> Result<()> {
    let length = body.len() as u64;
    if length <= OBJECT_BYTES_MAX {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, key, format!("a body of {length} bytes; the most is {OBJECT_BYTES_MAX}")))
}

/// The length of a range in bytes. Refuses one that is empty, reversed or longer than [`OBJECT_BYTES_MAX`].
pub(super) fn check_range(key: &Key, range: &Range<u64>) -> Result<u64> {
    let length = range.end.saturating_sub(range.start);
    if (1..=OBJECT_BYTES_MAX).contains(&length) {
        return Ok(length);
    }
    let detail = format!("the range {}..{}; it has 1 to {OBJECT_BYTES_MAX} bytes", range.start, range.end);
    Err(Error::new(ErrorKind::Invalid, key, detail))
}

/// The error for a range that ends after the object's last byte.
pub(super) fn beyond_end(key: &Key, range: &Range<u64>, size: u64) -> Error {
    let detail = format!("the range {}..{} of an object of {size} bytes", range.start, range.end);
    Error::new(ErrorKind::Invalid, key, detail)
}

/// Refuses a batch of more than [`PAGE_KEYS_MAX`] keys.
pub(super) fn check_batch(keys: &[Key]) -> Result<()> {
    match keys.first() {
        Some(first) if keys.len() > PAGE_KEYS_MAX => {
            let detail = format!("first of {} keys to delete; the most is {PAGE_KEYS_MAX}", keys.len());
            Err(Error::new(ErrorKind::Invalid, first, detail))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_at_least_one_byte_and_at_most_an_objects_worth() {
        let key = Key::parse("k").unwrap();
        let kind = |start, end| check_range(&key, &Range { start, end }).map_err(|error| error.kind);
        assert_eq!(kind(0, 1), Ok(1));
        assert_eq!(kind(5, 5), Err(ErrorKind::Invalid));
        assert_eq!(kind(6, 5), Err(ErrorKind::Invalid));
        assert_eq!(kind(7, 7 + OBJECT_BYTES_MAX), Ok(OBJECT_BYTES_MAX));
        assert_eq!(kind(7, 8 + OBJECT_BYTES_MAX), Err(ErrorKind::Invalid));
    }

    #[test]
    fn a_batch_of_deletes_is_one_page_at_most() {
        let keys = vec![Key::parse("k").unwrap(); PAGE_KEYS_MAX + 1];
        assert_eq!(check_batch(&keys[..PAGE_KEYS_MAX]), Ok(()));
        assert_eq!(check_batch(&keys).map_err(|error| error.kind), Err(ErrorKind::Invalid));
    }
}
