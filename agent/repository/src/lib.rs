//! A deduplicating, verifiable object repository.
mod buffer;
pub mod check;
pub mod commit;
pub mod config;
pub mod cut;
pub mod error;
pub mod frame;
pub mod index;
pub mod keys;
pub mod layout;
pub mod pack;
pub mod pack_set;
pub mod pack_table;
pub mod prune;
pub mod read;
pub mod recipe;
pub mod repository;
pub mod seal;
pub mod session;
pub mod signature;
pub mod store;
pub mod table;
#[cfg(feature = "testing")]
pub mod testing;
mod wire;
pub mod write;

pub use error::{Class, Error, Result};
pub use repository::{Repository, SnapshotEntry};

/// The normative text of the format; lies in each repository.
pub const FORMAT_TEXT: &str = include_str!("../FORMAT.md");

/// The recovery script; lies in each repository.
pub const RESCUE_SCRIPT: &str = include_str!("../rescue.sh");
