//! Stores for tests of this and other crates (feature `testing`): the conformance suite that every store passes, a store
//! that fails by script, and one that records its calls. Nothing here is in a release.

mod conformance;
mod faulty;
mod recorded;

pub use conformance::verify_store;
pub use faulty::{Fault, Faulty, Stop};
pub use recorded::{Call, Recorded};

/// The operations of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// `get`
    Get,
    /// `get_range`
    GetRange,
    /// `create`
    Create,
    /// `list`
    List,
    /// `delete`
    Delete,
}

/// What an operation is about, as text: the key, the prefix, or the keys of a delete joined by a space.
fn subject(keys: &[crate::store::Key]) -> String {
    keys.iter().map(crate::store::Key::as_str).collect::<Vec<_>>().join(" ")
}
