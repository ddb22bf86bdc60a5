//! Watches the custom resources and moves them forward: the server's controllers, one file or folder for each kind.
//!
//! Each has the same four steps: gather (read), decide (pure, takes the time), act (write elsewhere), report (write the
//! status). [`server::run`] starts them on the one replica that holds the Lease. Nothing here parses arguments or prints.

mod backup;
mod bucket;
mod condition;
mod context;
mod deletion;
mod download_request;
mod drill;
mod drive;
mod error;
mod expiry;
mod holder;
mod http;
pub mod install;
mod inventory;
mod leader;
mod location;
pub mod log;
mod metrics;
pub mod node;
mod patch;
mod repository;
mod restore;
mod results;
mod run_log;
mod schedule;
pub mod server;
mod server_status_request;
pub mod settings;
mod sync;
mod task_keys;
mod volume_restore;

pub use error::{Error, Result};
