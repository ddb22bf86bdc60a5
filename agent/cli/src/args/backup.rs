//! `trysail backup` and `trysail schedule`: both say what is backed up.

use std::path::PathBuf;

use clap::{Args as Group, Subcommand};
use trysail_api::{duration::Duration, selector::LabelSelector};

use super::cluster::{
    Alternatives, Connection, Deleting, Describing, Draft, Listing, Logs, Selecting, Trust, Waiting, alternatives,
    ordered, pair,
};

/// Backups of a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum Backup {
    /// Make a backup.
    Create(Box<BackupCreate>),
    /// List backups.
    #[command(alias = "list")]
    Get(Listing),
    /// Tell all that is known of backups.
    Describe(Describing),
    /// Print the log of a backup that has ended.
    Logs(Logs),
    /// Fetch the objects of a backup, as a tarball.
    Download(BackupDownload),
    /// Delete backups and all that is stored of them.
    Delete(Deleting),
}

/// Which backup is made.
#[derive(Debug, Group)]
pub(crate) struct BackupCreate {
    /// The name; of a backup from a schedule it may be absent.
    #[arg(required_unless_present = "from_schedule")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// Annotations of the backup, as `KEY=VALUE` with commas between.
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = pair)]
    pub(crate) annotations: Vec<(String, String)>,
    /// Make the backup that a schedule would make. All other flags but those for the name, labels and annotations are ignored.
    #[arg(long, value_name = "SCHEDULE")]
    pub(crate) from_schedule: Option<String>,
    /// Tell which objects and volumes would be taken, which volumes not and why, and make nothing.
    #[arg(long, conflicts_with = "wait")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) draft: Draft,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// What is backed up, where to, and how long it is kept.
#[derive(Debug, Clone, Default, Group)]
pub(crate) struct Choice {
    /// Namespaces, with commas between; `*` for all.
    #[arg(long, value_delimiter = ',', default_value = "*", value_name = "NAMESPACES")]
    pub(crate) include_namespaces: Vec<String>,
    /// Namespaces that are left out.
    #[arg(long, value_delimiter = ',', value_name = "NAMESPACES")]
    pub(crate) exclude_namespaces: Vec<String>,
    /// Kinds, as `deployments.apps`; `*` for all. Not together with the scoped lists.
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    pub(crate) include_resources: Vec<String>,
    /// Kinds that are left out. Not together with the scoped lists.
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    pub(crate) exclude_resources: Vec<String>,
    /// Kinds without a namespace; `*` for all.
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    pub(crate) include_cluster_scoped_resources: Vec<String>,
    /// Kinds without a namespace that are left out.
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    pub(crate) exclude_cluster_scoped_resources: Vec<String>,
    /// Kinds in namespaces; `*` for all.
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    pub(crate) include_namespace_scoped_resources: Vec<String>,
    /// Kinds in namespaces that are left out.
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    pub(crate) exclude_namespace_scoped_resources: Vec<String>,
    /// Whether objects without a namespace are taken. Not together with the scoped lists.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) include_cluster_resources: Option<bool>,
    /// Only objects with these labels.
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "or_selector")]
    pub(crate) selector: Option<LabelSelector>,
    /// Only objects with one of these sets of labels, with ` or ` between.
    #[arg(long, value_name = "SELECTORS", value_parser = alternatives)]
    pub(crate) or_selector: Option<Alternatives>,
    /// Labels of the backup, as `KEY=VALUE` with commas between.
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = pair)]
    pub(crate) labels: Vec<(String, String)>,
    /// How long it is kept; what the server says where absent.
    #[arg(long, value_name = "DURATION")]
    pub(crate) ttl: Option<Duration>,
    /// The location in which it is stored; the default one where absent.
    #[arg(long, value_name = "NAME")]
    pub(crate) storage_location: Option<String>,
    /// Locations of snapshots of volumes.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) volume_snapshot_locations: Vec<String>,
    /// Whether snapshots of volumes are taken.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) snapshot_volumes: Option<bool>,
    /// Whether the data of snapshots is moved to the location.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) snapshot_move_data: Option<bool>,
    /// Whether the files of all volumes of pods are read, but for those that their pod excludes.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) default_volumes_to_fs_backup: Option<bool>,
    /// The order of objects of a kind: `pods=ns1/a,ns1/b;persistentvolumes=x`.
    #[arg(long, value_name = "ORDER", value_delimiter = ';', value_parser = ordered)]
    pub(crate) ordered_resources: Vec<(String, String)>,
    /// The longest time until a CSI snapshot is taken.
    #[arg(long, value_name = "DURATION")]
    pub(crate) csi_snapshot_timeout: Option<Duration>,
    /// The longest time for operations of plugins.
    #[arg(long, value_name = "DURATION")]
    pub(crate) item_operation_timeout: Option<Duration>,
    /// The `ConfigMap` with rules for volumes.
    #[arg(long, value_name = "NAME")]
    pub(crate) resource_policies_configmap: Option<String>,
    /// What moves the data of snapshots.
    #[arg(long, value_name = "NAME")]
    pub(crate) data_mover: Option<String>,
    /// How many files are read at once.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) parallel_files_upload: Option<i32>,
}

/// Where the objects of a backup go.
#[derive(Debug, Group)]
pub(crate) struct BackupDownload {
    /// The backup.
    pub(crate) name: String,
    // Its name is that of the `-o` of all commands, in whose place it is.
    /// The file; `NAME-data.tar.gz` here where absent.
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
    /// Replace a file that is there.
    #[arg(long)]
    pub(crate) force: bool,
    /// The longest time to wait for the server's answer.
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) trust: Trust,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

impl BackupDownload {
    /// The file.
    pub(crate) fn target(&self) -> PathBuf {
        self.output.as_ref().map_or_else(|| format!("{}-data.tar.gz", self.name).into(), PathBuf::from)
    }
}

/// Backups that are made again and again.
#[derive(Debug, Subcommand)]
pub(crate) enum Schedule {
    /// Make a schedule.
    Create(Box<ScheduleCreate>),
    /// List schedules.
    #[command(alias = "list")]
    Get(Listing),
    /// Tell all that is known of schedules.
    Describe(Describing),
    /// Delete schedules; their backups stay.
    Delete(Deleting),
    /// Make no backups until they are unpaused.
    Pause(Pausing),
    /// Make backups again.
    Unpause(Pausing),
}

/// Which schedule is made.
#[derive(Debug, Group)]
pub(crate) struct ScheduleCreate {
    /// The name.
    pub(crate) name: String,
    /// When: five fields, `@daily` or `@every 6h`, also with `CRON_TZ=Zone` before.
    #[arg(long, value_name = "CRON")]
    pub(crate) schedule: String,
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// Delete the backups together with the schedule.
    #[arg(long)]
    pub(crate) use_owner_references_in_backup: bool,
    /// Make no backups for now.
    #[arg(long)]
    pub(crate) paused: bool,
    /// Pass over the time that is due at once.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) skip_immediately: Option<bool>,
    #[command(flatten)]
    pub(crate) draft: Draft,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Which schedules are paused or go on.
#[derive(Debug, Group)]
pub(crate) struct Pausing {
    #[command(flatten)]
    pub(crate) selecting: Selecting,
    /// Pass over the time that is due at once.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) skip_immediately: Option<bool>,
}
