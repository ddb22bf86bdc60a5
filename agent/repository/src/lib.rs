//! A deduplicating, verifiable object repository.
pub mod store;
