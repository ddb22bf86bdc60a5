//! The server's settings: numbers and names, checked; no flag, file or client is known here.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use trysail_api::{duration::Duration as Span, names, transfer::UploaderType};

/// How often a location is looked at. Source: Velero `--store-validation-frequency`.
pub const VALIDATION_FREQUENCY: Duration = Duration::from_mins(1);

/// How often backups of others are taken over. Source: Velero `--backup-sync-period`.
pub const SYNC_PERIOD: Duration = Duration::from_mins(1);

/// Version that `velero version` is told: the line of Velero whose contract is kept, since the command line compares it
/// with its own. Our own version stands in the build metadata.
pub const SERVER_VERSION: &str = concat!("v1.18.3+trysail.", env!("CARGO_PKG_VERSION"));

/// What the server is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The namespace whose objects it serves.
    pub namespace: String,
    /// Who it is among its replicas: the name of its pod.
    pub identity: String,
    /// Where metrics and health are told.
    pub metrics_address: SocketAddr,
    /// The location that is taken where none is marked as the default.
    pub default_location: String,
    /// How often a location is looked at that does not say; zero for only once.
    pub validation_frequency: Duration,
    /// How often backups of others are taken over from a location that does not say; zero for never.
    pub sync_period: Duration,
    /// Whether a Schedule that does not say passes over its first time.
    pub skip_immediately: bool,
    /// Whether the newest completed backup of a Schedule that still exists is kept beyond its time.
    pub keep_newest: bool,
    /// Controllers that do not run, by Velero's names.
    pub disabled: Vec<String>,
    /// What Backups get.
    pub backups: BackupSettings,
    /// The file with credentials of locations that name no Secret.
    pub credentials_file: Option<PathBuf>,
    /// The file that says where the API server is; else what the environment says.
    pub kubeconfig: Option<PathBuf>,
    /// The context of that file; its current one where absent.
    pub kube_context: Option<String>,
}

impl Settings {
    /// Those of a server that is told nothing but its place.
    pub fn new(namespace: String, identity: String, metrics_address: SocketAddr) -> Self {
        Self {
            namespace,
            identity,
            metrics_address,
            default_location: names::DEFAULT_LOCATION.to_owned(),
            validation_frequency: VALIDATION_FREQUENCY,
            sync_period: SYNC_PERIOD,
            skip_immediately: false,
            keep_newest: true,
            disabled: Vec::new(),
            backups: BackupSettings::default(),
            credentials_file: None,
            kubeconfig: None,
            kube_context: None,
        }
    }

    /// Whether a controller runs.
    pub(crate) fn runs(&self, controller: &str) -> bool {
        !self.disabled.iter().any(|disabled| disabled == controller)
    }
}

/// What a Backup gets that does not say it, and what is the same for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSettings {
    /// How long a Backup is kept. Source: Velero `--default-backup-ttl`.
    pub ttl: Span,
    /// How long a Backup waits for operations of plugins, of which we have none. Source: `--default-item-operation-timeout`.
    pub item_operation_timeout: Span,
    /// How long a change of an object may take, for who reads it. Source: `--resource-timeout`.
    pub resource_timeout: Span,
    /// How long the volumes of a Backup may take together. Source: `--fs-backup-timeout`.
    pub volumes_timeout: Span,
    /// Backups that run at once. Source: `--concurrent-backups`.
    pub at_once: NonZeroUsize,
    /// Whether the files of all volumes are read. Where nobody says, a claim is saved unless somebody opted out.
    pub all_volumes: Option<bool>,
    /// Whether data of CSI snapshots would be moved. Source: `--default-snapshot-move-data`.
    pub move_snapshots: bool,
    /// The directory in which new repositories lie. Source: `--uploader-type`.
    pub uploader: UploaderType,
    /// Directories of nodes below which node agents can read volumes that are directories of the node.
    pub host_paths: Vec<PathBuf>,
}

impl Default for BackupSettings {
    fn default() -> Self {
        Self {
            ttl: Span::from_hours(720),
            item_operation_timeout: Span::from_hours(4),
            resource_timeout: Span::from_nanoseconds(600_000_000_000),
            volumes_timeout: Span::from_hours(4),
            at_once: NonZeroUsize::MIN,
            all_volumes: None,
            move_snapshots: false,
            uploader: UploaderType::Kopia,
            host_paths: Vec::new(),
        }
    }
}
