//! Prune: finds packs that no snapshot needs, condemns them, and deletes them once nobody can still want them.
//! Source: `FORMAT.md` §11.
//!
//! `inventory` is what was listed, `plan` decides (pure), `gather` reads the store into an inventory, `execute` carries a plan out,
//! `forget` removes snapshots. Which snapshots are old enough to be forgotten is decided elsewhere. No key is needed, no lock is
//! taken, and the only clock that decides is the store's.
//!
//! Why no lock is needed: a session that may refer to a pack did not find it condemned when it began, so it began before the pack
//! was condemned, and it commits within S of that. The sweep lists the commits after G, which is longer than S, and therefore finds
//! that commit. Nobody refers to a condemned pack anew, and no name is used twice: so a pruner that stalls for days between its
//! listing and its deletes is still right. `model` plays this against the code of `plan`.

mod error;
pub mod execute;
pub mod forget;
pub mod gather;
mod generations;
pub mod inventory;
pub mod leftovers;
#[cfg(test)]
mod model;
pub mod plan;
pub mod summary;
#[cfg(test)]
mod tests;

pub use error::{Error, Result};
pub use execute::{Prune, Report};
pub use forget::{create_ballast, forget};
pub use gather::gather;
pub use inventory::{CondemnedSet, Generation, Inventory, ListedPacks, Published, Session, SnapshotObjects};
pub use leftovers::Leftovers;
pub use plan::{Limits, Plan, Waiting};
pub use summary::Summary;
