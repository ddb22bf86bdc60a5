//! A deduplicating, verifiable object repository.
pub mod cut;
pub mod frame;
pub mod keys;
pub mod layout;
pub mod pack;
pub mod pack_set;
pub mod pack_table;
pub mod seal;
pub mod session;
pub mod signature;
pub mod store;
pub mod table;
mod wire;
