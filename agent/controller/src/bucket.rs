//! The bucket of a location: where what lies (`layout`), how it is opened (`open`), and what backups it holds (`records`).
//! When any of this happens is for the controllers.

pub(crate) mod layout;
pub(crate) mod open;
pub(crate) mod records;

pub(crate) use open::Place;
