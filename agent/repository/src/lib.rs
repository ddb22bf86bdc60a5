//! A deduplicating, verifiable object repository.
pub mod layout;
pub mod pack_set;
pub mod pack_table;
pub mod prune;
pub mod session;
pub mod store;
pub mod table;
mod wire;
