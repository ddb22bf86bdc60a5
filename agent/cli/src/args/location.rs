//! `trysail backup-location`: where backups of a cluster lie.

use std::path::PathBuf;

use clap::{Args as Group, Subcommand, ValueEnum};
use trysail_api::duration::Duration;

use super::cluster::{Connection, Deleting, Draft, Listing, pair};

/// Locations of backups.
#[derive(Debug, Subcommand)]
pub(crate) enum Location {
    /// List locations.
    #[command(alias = "list")]
    Get(Listing),
    /// Make a location.
    Create(Box<LocationCreate>),
    /// Change a location.
    Set(LocationSet),
    /// Delete locations, and with them the objects of their backups and repositories. What is stored stays.
    Delete(Deleting),
}

/// Which location is made.
#[derive(Debug, Group)]
pub(crate) struct LocationCreate {
    /// The name.
    pub(crate) name: String,
    /// Who serves the bucket: `aws` for everything that speaks S3.
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: String,
    /// The bucket.
    #[arg(long, value_name = "BUCKET")]
    pub(crate) bucket: String,
    /// What all keys in the bucket begin with.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix: Option<String>,
    /// The Secret with the credentials and its key, as `SECRET=KEY`.
    #[arg(long, value_name = "SECRET=KEY", value_parser = pair)]
    pub(crate) credential: Option<(String, String)>,
    /// Take this location where none is named.
    #[arg(long)]
    pub(crate) default: bool,
    /// How often backups of others are taken over; `0s` for never.
    #[arg(long, value_name = "DURATION")]
    pub(crate) backup_sync_period: Option<Duration>,
    /// How often the location is looked at; `0s` for only once.
    #[arg(long, value_name = "DURATION")]
    pub(crate) validation_frequency: Option<Duration>,
    /// Settings of the provider, as `region=minio,s3Url=http://…`.
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = pair)]
    pub(crate) config: Vec<(String, String)>,
    /// Labels of the location, as `KEY=VALUE` with commas between.
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = pair)]
    pub(crate) labels: Vec<(String, String)>,
    /// File with certificates that are trusted.
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// What may be done there.
    #[arg(long, value_enum, default_value = "ReadWrite", value_name = "MODE")]
    pub(crate) access_mode: Mode,
    #[command(flatten)]
    pub(crate) draft: Draft,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// What may be done in a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(crate) enum Mode {
    /// Backups and restores.
    ReadWrite,
    /// Restores only.
    ReadOnly,
}

/// What is changed of a location.
#[derive(Debug, Group)]
pub(crate) struct LocationSet {
    /// The name.
    pub(crate) name: String,
    /// File with certificates that are trusted. Without it, those of the location are taken away, as Velero does.
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// The Secret with the credentials and its key, as `SECRET=KEY`.
    #[arg(long, value_name = "SECRET=KEY", value_parser = pair)]
    pub(crate) credential: Option<(String, String)>,
    /// Whether this location is taken where none is named.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) default: Option<bool>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}
