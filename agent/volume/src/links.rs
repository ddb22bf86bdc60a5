//! Which path of an inode with several names comes first. Only the walk's table lives here; making links is done in `target`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Inodes that are followed at the same time: with [`LINK_BYTES_MAX`] the table stays below 64 MiB in the worst case, and ordinary
/// volumes hold a few thousand.
pub const LINKS_MAX: usize = 500_000;

/// Bytes of first paths that are kept at the same time.
pub const LINK_BYTES_MAX: usize = 16 << 20;

/// First paths of inodes whose other names have not all been seen.
#[derive(Debug, Default)]
pub struct Links {
    first: HashMap<(u64, u64), First>,
    bytes: usize,
    untracked: u64,
}

#[derive(Debug)]
struct First {
    path: Vec<u8>,
    /// Names not seen yet.
    left: u32,
}

impl Links {
    /// Takes note of one name of an inode (`device`, `number`) with `names` names (at least two).
    ///
    /// Gives the first path if this is a further one. Where the table is full, every name counts as a first one, and is counted.
    pub fn see(&mut self, device: u64, number: u64, names: u32, path: &[u8]) -> Option<Vec<u8>> {
        let full = self.first.len() >= LINKS_MAX || self.bytes + path.len() > LINK_BYTES_MAX;
        match self.first.entry((device, number)) {
            Entry::Occupied(mut entry) => {
                let first = entry.get_mut();
                first.left = first.left.saturating_sub(1);
                if first.left > 0 {
                    return Some(first.path.clone());
                }
                let first = entry.remove();
                self.bytes -= first.path.len();
                Some(first.path)
            }
            Entry::Vacant(_) if full => {
                self.untracked += 1;
                None
            }
            Entry::Vacant(entry) => {
                entry.insert(First { path: path.to_vec(), left: names.saturating_sub(1) });
                self.bytes += path.len();
                None
            }
        }
    }

    /// Forgets an inode, so that its next name is a first one: its first path could not be read.
    pub fn forget(&mut self, device: u64, number: u64) {
        if let Some(first) = self.first.remove(&(device, number)) {
            self.bytes -= first.path.len();
        }
    }

    /// Names that were taken for separate files because the table was full.
    pub fn untracked(&self) -> u64 {
        self.untracked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_is_forgotten_with_its_last_name() {
        let mut links = Links::default();
        assert_eq!(links.see(1, 7, 3, b"a"), None);
        assert_eq!(links.see(1, 7, 3, b"b"), Some(b"a".to_vec()));
        assert_eq!(links.see(2, 7, 3, b"other device"), None);
        assert_eq!(links.see(1, 7, 3, b"c"), Some(b"a".to_vec()));
        assert_eq!((links.first.len(), links.bytes), (1, 12));
        links.forget(2, 7);
        assert_eq!((links.first.len(), links.bytes, links.untracked()), (0, 0, 0));
    }

    #[test]
    fn beyond_the_bound_names_are_separate_files_and_counted() {
        let mut links = Links::default();
        let long = vec![b'x'; LINK_BYTES_MAX];
        assert_eq!(links.see(1, 1, 2, &long), None);
        assert_eq!(links.see(1, 2, 2, b"a"), None);
        assert_eq!(links.see(1, 2, 2, b"b"), None);
        assert_eq!(links.untracked(), 2);
        assert_eq!(links.see(1, 1, 2, b"z"), Some(long));
        assert_eq!(links.bytes, 0);
    }
}
