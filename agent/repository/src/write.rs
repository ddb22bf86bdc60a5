//! Writing a snapshot: a session begins, frames and rows go in, one commit makes them a snapshot.
//!
//! Where rows and bytes come from is the `volume` crate's work. The order of writes is the promise: packs, then what names them, and
//! the commit last.

mod base;
mod part;
mod series;
mod session;
mod snapshot;
#[cfg(test)]
mod tests;
mod uploads;

pub use base::BaseRows;
pub use session::{Known, Session, SessionPlan};
pub use snapshot::{Finished, NewFrame, SnapshotWriter};
