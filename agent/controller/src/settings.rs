//! The server's settings: numbers and names, checked; no flag, file or client is known here.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use trysail_api::names;

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
