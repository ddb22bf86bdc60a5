//! What the tests of more than one room share: foreign programs, built and run. No promises are tested here.

pub mod minio;
pub mod tools;
