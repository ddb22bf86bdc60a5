//! The commands on a cluster with the verb first, as `velero get backups`: the same commands again.

use clap::Subcommand;

use super::{
    Command,
    backup::{Backup, BackupCreate, Schedule, ScheduleCreate},
    cluster::{Deleting, Describing, Listing},
    location::{Location, LocationCreate},
    restore::{Restore, RestoreCreate},
};

/// What is done.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// The same as `… get`.
    #[command(subcommand, hide = true)]
    Get(Get),
    /// The same as `… create`.
    #[command(subcommand, hide = true)]
    Create(Create),
    /// The same as `… describe`.
    #[command(subcommand, hide = true)]
    Describe(Describe),
    /// The same as `… delete`.
    #[command(subcommand, hide = true)]
    Delete(Delete),
}

/// What is listed.
#[derive(Debug, Subcommand)]
pub(crate) enum Get {
    /// Backups.
    #[command(alias = "backup")]
    Backups(Listing),
    /// Restores.
    #[command(alias = "restore")]
    Restores(Listing),
    /// Schedules.
    #[command(alias = "schedule")]
    Schedules(Listing),
    /// Locations.
    #[command(alias = "backup-location")]
    BackupLocations(Listing),
}

/// What is made.
#[derive(Debug, Subcommand)]
pub(crate) enum Create {
    /// A backup.
    Backup(Box<BackupCreate>),
    /// A restore.
    Restore(Box<RestoreCreate>),
    /// A schedule.
    Schedule(Box<ScheduleCreate>),
    /// A location.
    BackupLocation(Box<LocationCreate>),
}

/// What is described.
#[derive(Debug, Subcommand)]
pub(crate) enum Describe {
    /// Backups.
    #[command(alias = "backup")]
    Backups(Describing),
    /// Restores.
    #[command(alias = "restore")]
    Restores(Describing),
    /// Schedules.
    #[command(alias = "schedule")]
    Schedules(Describing),
}

/// What is deleted.
#[derive(Debug, Subcommand)]
pub(crate) enum Delete {
    /// Backups.
    #[command(alias = "backups")]
    Backup(Deleting),
    /// Restores.
    #[command(alias = "restores")]
    Restore(Deleting),
    /// Schedules.
    #[command(alias = "schedules")]
    Schedule(Deleting),
    /// Locations.
    #[command(alias = "backup-locations")]
    BackupLocation(Deleting),
}

impl Verb {
    /// The command with the noun first.
    pub(crate) fn noun_first(self) -> Command {
        match self {
            Self::Get(Get::Backups(listing)) => Command::Backup(Backup::Get(listing)),
            Self::Get(Get::Restores(listing)) => Command::Restore(Restore::Get(listing)),
            Self::Get(Get::Schedules(listing)) => Command::Schedule(Schedule::Get(listing)),
            Self::Get(Get::BackupLocations(listing)) => Command::BackupLocation(Location::Get(listing)),
            Self::Create(Create::Backup(create)) => Command::Backup(Backup::Create(create)),
            Self::Create(Create::Restore(create)) => Command::Restore(Restore::Create(create)),
            Self::Create(Create::Schedule(create)) => Command::Schedule(Schedule::Create(create)),
            Self::Create(Create::BackupLocation(create)) => Command::BackupLocation(Location::Create(create)),
            Self::Describe(Describe::Backups(describing)) => Command::Backup(Backup::Describe(describing)),
            Self::Describe(Describe::Restores(describing)) => Command::Restore(Restore::Describe(describing)),
            Self::Describe(Describe::Schedules(describing)) => Command::Schedule(Schedule::Describe(describing)),
            Self::Delete(Delete::Backup(deleting)) => Command::Backup(Backup::Delete(deleting)),
            Self::Delete(Delete::Restore(deleting)) => Command::Restore(Restore::Delete(deleting)),
            Self::Delete(Delete::Schedule(deleting)) => Command::Schedule(Schedule::Delete(deleting)),
            Self::Delete(Delete::BackupLocation(deleting)) => Command::BackupLocation(Location::Delete(deleting)),
        }
    }
}
