//! A deduplicating, verifiable object repository.
pub mod session;
pub mod store;
pub mod table;
