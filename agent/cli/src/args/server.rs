//! Flags of `server` and `node-agent server`: those of Velero's, so that its charts start ours. What a flag does is not known here.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand, ValueEnum, parser::ValueSource};
use trysail_api::duration::Duration;

/// Flags of Velero's servers and node agents 1.13 and 1.18 that change nothing here: others serve what they are about, or nothing does.
const WITHOUT_EFFECT: [&str; 32] = [
    "add_dir_header",
    "alsologtostderr",
    "alsologtostderrthreshold",
    "backup-repository-configmap",
    "client-burst",
    "client-page-size",
    "client-qps",
    "colorized",
    "data-mover-prepare-timeout",
    "default-repo-maintain-frequency",
    "default-volume-snapshot-locations",
    "disable-informer-cache",
    "features",
    "garbage-collection-frequency",
    "global-backup-volume-policies-configmap",
    "item-block-worker-count",
    "item-operation-sync-frequency",
    "legacy_stderr_threshold_behavior",
    "log_backtrace_at",
    "log_dir",
    "log_file",
    "logtostderr",
    "max-concurrent-k8s-connections",
    "node-agent-configmap",
    "plugin-dir",
    "profiler-address",
    "repo-maintenance-job-configmap",
    "restore-resource-priorities",
    "stderrthreshold",
    "terminating-resource-timeout",
    "vmodule",
    "volume-group-snapshot-label-key",
];

/// Those of them that need no value.
const SWITCHES: [&str; 6] = [
    "add_dir_header",
    "alsologtostderr",
    "colorized",
    "disable-informer-cache",
    "legacy_stderr_threshold_behavior",
    "logtostderr",
];

#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The namespace whose objects are served.
    #[arg(short, long, env = "VELERO_NAMESPACE", default_value = trysail_api::names::DEFAULT_NAMESPACE)]
    pub(crate) namespace: String,
    /// Where `/metrics`, `/livez` and `/readyz` are answered.
    #[arg(long, default_value = ":8085", value_name = "ADDRESS")]
    pub(crate) metrics_address: String,
    /// The location that is taken where none is marked as the default.
    #[arg(long, default_value = trysail_api::names::DEFAULT_LOCATION, value_name = "NAME")]
    pub(crate) default_backup_storage_location: String,
    /// How often backups of others are taken over from a location that does not say; 0 for never.
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    pub(crate) backup_sync_period: Duration,
    /// How often a location is looked at that does not say; 0 for only once.
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    pub(crate) store_validation_frequency: Duration,
    /// Pass over the first time of a schedule that does not say.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) schedule_skip_immediately: bool,
    /// Make no backups and delete none: only restore.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) restore_only: bool,
    /// Delete also the last completed backup of a schedule when its time is over.
    #[arg(long)]
    pub(crate) expire_last_backup: bool,
    #[command(flatten)]
    pub(crate) backups: Backups,
    /// Controllers that do not run, with commas between.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) disable_controllers: Vec<String>,
    /// How log lines are written.
    #[arg(long, value_enum, default_value = "json", value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
    /// From which level on is logged: trace, debug, info, warning or error.
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    pub(crate) log_level: String,
    /// File that says where the API server is; else the variable KUBECONFIG, and in a pod nothing is needed.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of that file.
    #[arg(long, value_name = "NAME")]
    pub(crate) kubecontext: Option<String>,
    #[command(flatten)]
    pub(crate) without_effect: WithoutEffect,
}

/// What runs on a node.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeAgent {
    /// Read the volumes of this node that backups ask for.
    Server(Box<NodeServer>),
    /// Fill the volume of one restored pod: what the server's Jobs run.
    Restore(Box<NodeRestore>),
    /// Do nothing until told to end: what pods run that hold a claim while it is read or filled.
    #[command(hide = true)]
    Hold,
}

/// What a Job of a restore is told.
#[derive(Debug, Args)]
pub(crate) struct NodeRestore {
    /// The name of the restore of a volume.
    pub(crate) name: String,
    /// The namespace whose objects are served.
    #[arg(short, long, env = "VELERO_NAMESPACE", default_value = trysail_api::names::DEFAULT_NAMESPACE)]
    pub(crate) namespace: String,
    /// The directory of the volume.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) target: PathBuf,
    /// A directory of files with age identities.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) identities: Option<PathBuf>,
    /// File that says where the API server is; in a pod nothing is needed.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// How log lines are written.
    #[arg(long, value_enum, default_value = "json", value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
    /// From which level on is logged: trace, debug, info, warning or error.
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    pub(crate) log_level: String,
}

#[derive(Debug, Args)]
pub(crate) struct NodeServer {
    /// The namespace whose objects are served.
    #[arg(short, long, env = "VELERO_NAMESPACE", default_value = trysail_api::names::DEFAULT_NAMESPACE)]
    pub(crate) namespace: String,
    /// The node that it runs on.
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    pub(crate) node_name: String,
    /// Where `/metrics`, `/livez` and `/readyz` are answered.
    #[arg(long, default_value = ":8085", value_name = "ADDRESS")]
    pub(crate) metrics_address: String,
    /// Where the kubelet's directory of pods is mounted.
    #[arg(long, default_value = trysail_controller::node::PODS, value_name = "DIRECTORY")]
    pub(crate) pods: PathBuf,
    /// A directory of the node, mounted at the same path, in which volumes may be read that the kubelet does not mount. May be
    /// given several times.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) host_path: Vec<PathBuf>,
    /// Volumes that are read at once.
    #[arg(long, default_value_t = trysail_controller::node::CONCURRENCY, value_name = "NUMBER")]
    pub(crate) concurrency: usize,
    /// Bytes that are sent in a second at most; 0 for no limit.
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub(crate) upload_rate: u64,
    /// How log lines are written.
    #[arg(long, value_enum, default_value = "json", value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
    /// From which level on is logged: trace, debug, info, warning or error.
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    pub(crate) log_level: String,
    /// File that says where the API server is; else the variable KUBECONFIG, and in a pod nothing is needed.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of that file.
    #[arg(long, value_name = "NAME")]
    pub(crate) kubecontext: Option<String>,
    /// Velero's agents are told how long preparations may take; here nothing is prepared.
    #[arg(long, value_name = "DURATION", hide = true)]
    pub(crate) resource_timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) without_effect: WithoutEffect,
}

/// What Backups get that do not say it.
#[derive(Debug, Args)]
pub(crate) struct Backups {
    /// How long a backup is kept.
    #[arg(long, default_value = "720h", value_name = "DURATION")]
    pub(crate) default_backup_ttl: Duration,
    /// How long the volumes of a backup may take together.
    #[arg(long, default_value = "4h", value_name = "DURATION")]
    pub(crate) fs_backup_timeout: Duration,
    /// Read all volumes but those that pods exclude (true), or those alone that pods name (false). Where this is not said, every
    /// claim is saved unless somebody opted out.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) default_volumes_to_fs_backup: Option<bool>,
    /// Backups that run at once.
    #[arg(long = "concurrent-backups", default_value = "1", value_name = "NUMBER")]
    pub(crate) at_once: NonZeroUsize,
    /// The directory in which new repositories lie.
    #[arg(long, value_enum, default_value = "kopia", value_name = "NAME")]
    pub(crate) uploader_type: Uploader,
    /// How long operations of plugins would be waited for; it is written into backups for others.
    #[arg(long, default_value = "4h", value_name = "DURATION", hide = true)]
    pub(crate) default_item_operation_timeout: Duration,
    /// How long a restore waits for the end of an object that it replaces, and for a kind to be served.
    #[arg(long, default_value = "10m0s", value_name = "DURATION")]
    pub(crate) resource_timeout: Duration,
    /// Whether data of CSI snapshots would be moved; it is written into backups for others.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = ArgAction::Set, hide = true)]
    pub(crate) default_snapshot_move_data: bool,
    /// Directory of nodes below which node agents can read volumes that are directories of the node; may be given again.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) host_path: Vec<PathBuf>,
}

/// Velero's words for the directories of repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Uploader {
    Kopia,
    Restic,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object a line.
    Json,
    /// `key=value` pairs.
    Text,
}

/// Names of flags that were given and change nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct WithoutEffect(pub(crate) Vec<&'static str>);

impl Args for WithoutEffect {
    fn augment_args(command: Command) -> Command {
        WITHOUT_EFFECT.iter().fold(command, |command, name| {
            let arg = Arg::new(*name).long(*name).hide(true).action(ArgAction::Append);
            command.arg(if SWITCHES.contains(name) { arg.num_args(0..=1).require_equals(true) } else { arg })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for WithoutEffect {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_given = |name: &&&str| matches.value_source(name) == Some(ValueSource::CommandLine);
        Ok(Self(WITHOUT_EFFECT.iter().filter(is_given).copied().collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
