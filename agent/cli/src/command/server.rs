//! `trysail server`: from what was typed and the environment to the settings of the server, and its start.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};
use trysail_api::{duration, transfer::UploaderType};
use trysail_controller::{
    log, server,
    settings::{BackupSettings, Settings},
};

use crate::{
    Outcome,
    args::{LogFormat, Server, Uploader, WithoutEffect},
};

/// Controllers that `--restore-only` turns off. Source: Velero pkg/cmd/server/server.go.
const NOT_RESTORE: [&str; 3] = ["backup", "schedule", "gc"];

/// Serves until the process is told to end.
pub(crate) async fn serve(server: Server) -> Result<Outcome> {
    start_log(server.log_format, &server.log_level, &server.without_effect);
    Box::pin(server::run(settings(server, variable)?, end()?)).await?;
    Ok(Outcome::Done)
}

/// A variable of the environment that says something.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Logs from now on, and tells flags that change nothing.
pub(super) fn start_log(format: LogFormat, word: &str, without_effect: &WithoutEffect) {
    let format = match format {
        LogFormat::Json => log::Format::Json,
        LogFormat::Text => log::Format::Text,
    };
    log::start(format, level(word));
    for flag in &without_effect.0 {
        tracing::warn!(flag, "A flag of Velero that has no effect here");
    }
}

/// Resolves when the process is told to end.
pub(super) fn end() -> Result<impl Future<Output = ()>> {
    let mut end = signal(SignalKind::terminate()).context("listen to SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = end.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    })
}

/// A level of logrus in our words.
fn level(word: &str) -> &str {
    match word {
        "warning" => "warn",
        "fatal" | "panic" => "error",
        other => other,
    }
}

fn settings(server: Server, env: impl Fn(&str) -> Option<String>) -> Result<Settings> {
    let identity = identity(&env);
    let metrics_address = address(&server.metrics_address)?;
    let mut disabled = server.disable_controllers;
    if server.restore_only {
        disabled.extend(NOT_RESTORE.map(str::to_owned));
    }
    Ok(Settings {
        default_location: server.default_backup_storage_location,
        validation_frequency: span(&server.store_validation_frequency),
        sync_period: span(&server.backup_sync_period),
        skip_immediately: server.schedule_skip_immediately,
        keep_newest: !server.expire_last_backup,
        disabled,
        backups: BackupSettings {
            ttl: spelt(&server.backups.default_backup_ttl),
            item_operation_timeout: spelt(&server.backups.default_item_operation_timeout),
            volumes_timeout: spelt(&server.backups.fs_backup_timeout),
            at_once: server.backups.at_once,
            all_volumes: server.backups.default_volumes_to_fs_backup,
            move_snapshots: server.backups.default_snapshot_move_data,
            uploader: match server.backups.uploader_type {
                Uploader::Kopia => UploaderType::Kopia,
                Uploader::Restic => UploaderType::Restic,
            },
            host_paths: server.backups.host_path,
            resource_timeout: spelt(&server.backups.resource_timeout),
        },
        credentials_file: env("AWS_SHARED_CREDENTIALS_FILE").map(Into::into),
        kubeconfig: server.kubeconfig,
        kube_context: server.kubecontext,
        ..Settings::new(server.namespace, identity, metrics_address)
    })
}

/// Who this process is among others: its pod and its number.
pub(super) fn identity(env: &impl Fn(&str) -> Option<String>) -> String {
    let host = env("POD_NAME").or_else(|| env("HOSTNAME")).unwrap_or_else(|| "localhost".to_owned());
    format!("{host}_{}", std::process::id())
}

/// A span as Go spells it: so it comes into objects.
fn spelt(duration: &duration::Duration) -> duration::Duration {
    duration::Duration::from_nanoseconds(duration.nanoseconds())
}

/// A span that is not negative; a negative one is none.
fn span(duration: &duration::Duration) -> Duration {
    Duration::from_nanos(u64::try_from(duration.nanoseconds()).unwrap_or(0))
}

/// An address as Go writes it: without a host, all are meant.
pub(super) fn address(text: &str) -> Result<SocketAddr> {
    let whole = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.replace("localhost", "127.0.0.1") };
    whole.parse().with_context(|| format!("--metrics-address {text}: host:port, with a number as host"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn parsed(arguments: &[&str]) -> Server {
        let all = [&["velero", "server"], arguments].concat();
        match Args::parse_from(all).command {
            Command::Server(server) => *server,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_arguments_of_velero_s_chart_start_the_server() {
        // Chart 12.1.0 with defaults, and flags of 1.13 besides.
        let given = parsed(&[
            "--uploader-type=kopia",
            "--features=",
            "--default-backup-ttl=720h",
            "--fs-backup-timeout",
            "4h",
            "--default-volumes-to-fs-backup",
            "--metrics-address=:9000",
            "--store-validation-frequency=30s",
            "--disable-controllers=gc,backup-sync",
            "--restore-only=false",
            "--log-format=text",
        ]);
        assert_eq!(given.without_effect.0, ["features"]);
        let settings = settings(given, |name| (name == "POD_NAME").then(|| "velero-0".to_owned())).unwrap();
        let base = Settings::new(
            "velero".to_owned(),
            format!("velero-0_{}", std::process::id()),
            "0.0.0.0:9000".parse().unwrap(),
        );
        let expected = Settings {
            validation_frequency: Duration::from_secs(30),
            disabled: vec!["gc".to_owned(), "backup-sync".to_owned()],
            backups: BackupSettings { all_volumes: Some(true), ..BackupSettings::default() },
            ..base
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn a_server_for_restores_makes_and_deletes_no_backups() {
        let settings = settings(parsed(&["--restore-only"]), |_| None).unwrap();
        assert_eq!(settings.disabled, NOT_RESTORE);
    }
}
