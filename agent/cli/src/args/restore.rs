//! `trysail restore`: what comes back from a backup of a cluster.

use clap::{Args as Group, Subcommand};
use trysail_api::{duration::Duration, selector::LabelSelector};

use super::cluster::{
    Alternatives, Connection, Deleting, Describing, Draft, Existing, Listing, Logs, Waiting, alternatives, mapping,
    pair,
};

/// Restores of a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum Restore {
    /// Restore a backup.
    Create(Box<RestoreCreate>),
    /// List restores.
    #[command(alias = "list")]
    Get(Listing),
    /// Tell all that is known of restores.
    Describe(Describing),
    /// Print the log of a restore that has ended.
    Logs(Logs),
    /// Delete restores: what they brought back stays.
    Delete(Deleting),
}

/// Which restore is made.
#[derive(Debug, Group)]
pub(crate) struct RestoreCreate {
    /// The name; that of the backup or schedule with the time where absent.
    pub(crate) name: Option<String>,
    /// The backup.
    #[arg(long, value_name = "BACKUP", required_unless_present = "from_schedule", conflicts_with = "from_schedule")]
    pub(crate) from_backup: Option<String>,
    /// The schedule whose newest Completed backup is restored.
    #[arg(long, value_name = "SCHEDULE")]
    pub(crate) from_schedule: Option<String>,
    /// Of a schedule, take the newest backup that is Completed or `PartiallyFailed`.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) allow_partially_failed: Option<bool>,
    /// Namespaces of the backup, with commas between; `*` for all.
    #[arg(long, value_delimiter = ',', default_value = "*", value_name = "NAMESPACES")]
    pub(crate) include_namespaces: Vec<String>,
    /// Namespaces that are left out.
    #[arg(long, value_delimiter = ',', value_name = "NAMESPACES")]
    pub(crate) exclude_namespaces: Vec<String>,
    /// Kinds, as `deployments.apps`; `*` for all.
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    pub(crate) include_resources: Vec<String>,
    /// Kinds that are left out.
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    pub(crate) exclude_resources: Vec<String>,
    /// Namespaces that are restored into others: `FROM:TO`, with commas between.
    #[arg(long, value_name = "FROM:TO", value_delimiter = ',', value_parser = mapping)]
    pub(crate) namespace_mappings: Vec<(String, String)>,
    /// Labels of the restore, as `KEY=VALUE` with commas between.
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = pair)]
    pub(crate) labels: Vec<(String, String)>,
    /// Annotations of the restore, as `KEY=VALUE` with commas between.
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = pair)]
    pub(crate) annotations: Vec<(String, String)>,
    /// Kinds whose status is restored.
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    pub(crate) status_include_resources: Vec<String>,
    /// Kinds whose status is not restored.
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    pub(crate) status_exclude_resources: Vec<String>,
    /// What happens to objects that exist already.
    #[arg(long, value_enum, value_name = "POLICY")]
    pub(crate) existing_resource_policy: Option<Existing>,
    /// Only objects with these labels.
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "or_selector")]
    pub(crate) selector: Option<LabelSelector>,
    /// Only objects with one of these sets of labels, with ` or ` between.
    #[arg(long, value_name = "SELECTORS", value_parser = alternatives)]
    pub(crate) or_selector: Option<Alternatives>,
    /// The longest time for operations of plugins.
    #[arg(long, value_name = "DURATION")]
    pub(crate) item_operation_timeout: Option<Duration>,
    /// Whether volumes are restored.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) restore_volumes: Option<bool>,
    /// Whether Services keep their node ports.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) preserve_nodeports: Option<bool>,
    /// Whether objects without a namespace are restored.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) include_cluster_resources: Option<bool>,
    /// The `ConfigMap` with changes to make to restored objects.
    #[arg(long, value_name = "NAME")]
    pub(crate) resource_modifier_configmap: Option<String>,
    /// The `ConfigMap` with rules for restored objects.
    #[arg(long, value_name = "NAME")]
    pub(crate) resource_policies_configmap: Option<String>,
    /// Whether holes of files stay holes.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) write_sparse_files: Option<bool>,
    /// How many files are written at once.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    pub(crate) parallel_files_download: Option<i32>,
    /// Tell what would be created, kept, skipped and filled, and why, and change nothing. An encrypted backup needs --identity.
    #[arg(long, conflicts_with = "wait")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) draft: Draft,
    #[command(flatten)]
    pub(crate) connection: Connection,
}
