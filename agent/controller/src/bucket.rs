//! The bucket of a location: where what lies (`layout`), how it is opened (`open`), what backups it holds (`records`),
//! and how one is written (`write`).
//! When any of this happens is for the controllers.

pub(crate) mod layout;
pub(crate) mod open;
pub(crate) mod records;
pub(crate) mod write;

pub(crate) use open::Place;
