//! The custom resources that Trysail serves: what users write and read, as types and as rules.
//!
//! Velero's kinds (`velero.io/v1` and `v2alpha1`) and one of our own (`trysail.io/v1alpha1`), one file for each; their
//! definitions ([`crds`]); every name that objects carry ([`names`]); and the small languages in their fields: spans of
//! time ([`duration`]), schedules ([`cron`]), selections ([`selection`], [`selector`]), volume policies ([`policy`]) and changes of objects ([`modifier`]).
//! [`validate`] says what is wrong with a spec. Nothing here reads a clock, a file, a socket or an environment.
//!
//! ```
//! use trysail_api::{backup::{Backup, BackupSpec}, cron::Cadence};
//!
//! let spec = BackupSpec { ttl: "720h".parse().ok(), ..BackupSpec::default() };
//! assert_eq!(serde_json::to_value(Backup::new("daily", spec))?["spec"]["ttl"], "720h");
//!
//! let nightly: Cadence = "CRON_TZ=Europe/Berlin 0 2 * * *".parse()?;
//! assert_eq!(nightly.next("2026-07-01T12:00:00Z".parse()?), Some("2026-07-02T00:00:00Z".parse()?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod backup;
pub mod backup_repository;
pub mod backup_storage_location;
pub mod crds;
pub mod cron;
pub mod data_download;
pub mod data_upload;
pub mod delete_backup_request;
pub mod download_request;
pub mod duration;
pub mod hook;
pub mod modifier;
pub mod names;
pub mod pod_volume_backup;
pub mod pod_volume_restore;
pub mod policy;
pub mod reference;
pub mod restore;
pub mod schedule;
mod schema;
pub mod selection;
pub mod selector;
pub mod server_status_request;
pub mod time;
pub mod transfer;
pub mod validate;
pub mod volume_restore;
pub mod volume_snapshot_location;
mod words;
mod zero;
