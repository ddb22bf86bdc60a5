//! A deduplicating, verifiable object repository.
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
