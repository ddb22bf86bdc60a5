//! The server: its parts are put together here, and started on the replica that holds the Lease.

use std::{path::Path, sync::Arc, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::time::{MissedTickBehavior, interval};
use trysail_api::{
    backup::Backup, backup_storage_location::BackupStorageLocation, pod_volume_backup::PodVolumeBackup,
    restore::Restore, schedule::Schedule,
};

use crate::{
    Error, Result, backup,
    context::Context,
    deletion, download_request, drill, expiry, http,
    leader::Election,
    location,
    metrics::Metrics,
    repository::care,
    restore, schedule, server_status_request,
    settings::{SERVER_VERSION, Settings},
    sync, volume_restore,
};

/// Name of the Lease.
const LEASE: &str = "trysail-server";

/// How often what follows from all objects is counted. Source: Velero `pkg/controller/backup_controller.go`.
const COUNT_PERIOD: Duration = Duration::from_mins(1);

/// Serves until `stop` resolves, or an error that time does not heal.
///
/// # Errors
/// Where no API server is named, or the address of the metrics cannot be listened on.
pub async fn run(settings: Settings, stop: impl Future<Output = ()>) -> Result<()> {
    tracing::info!(version = SERVER_VERSION, namespace = settings.namespace, "Starting the server");
    let client = client(settings.kubeconfig.as_deref(), settings.kube_context.as_deref()).await?;
    let api: Api<Lease> = Api::namespaced(client.clone(), &settings.namespace);
    let election = Election::new(api, LEASE, &settings.identity);
    let address = settings.metrics_address;
    let context = Arc::new(Context::new(client, settings, Metrics::new()));
    let told = Arc::clone(&context);
    let ended = tokio::select! {
        ended = http::serve(address, move || told.metrics.text()) => ended,
        () = lead(&election, &context) => Ok(()),
        () = stop => Ok(()),
    };
    tracing::info!("Stopping the server");
    election.release().await;
    ended
}

/// A client of the API server that a file names, or the environment.
///
/// # Errors
/// Where no API server is named, or the file that names it cannot be read.
pub async fn client(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Client> {
    Client::try_from(config(kubeconfig, context).await?).map_err(|error| Error::NoKubernetes(error.to_string()))
}

/// The same with the rights of a ServiceAccount, which ours must be allowed to impersonate.
pub(crate) async fn client_as(settings: &Settings, namespace: &str, account: &str) -> Result<Client> {
    let mut config = config(settings.kubeconfig.as_deref(), settings.kube_context.as_deref()).await?;
    config.auth_info.impersonate = Some(format!("system:serviceaccount:{namespace}:{account}"));
    Client::try_from(config).map_err(|error| Error::NoKubernetes(error.to_string()))
}

async fn config(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Config> {
    let none = |error: &dyn std::error::Error| Error::NoKubernetes(error.to_string());
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| none(&error))?;
            Config::from_custom_kubeconfig(file, &options).await.map_err(|error| none(&error))
        }
        None if context.is_some() => Config::from_kubeconfig(&options).await.map_err(|error| none(&error)),
        None => Config::infer().await.map_err(|error| none(&error)),
    }
}

/// Acts while the Lease is ours, for ever. When it is lost, everything that goes on is dropped where it stands: every write
/// is safe to be made again by another one.
async fn lead(election: &Election, context: &Arc<Context>) {
    loop {
        let since = election.acquire().await;
        tracing::info!(identity = context.settings.identity, "Holds the Lease and acts");
        tokio::select! {
            () = act(context) => {}
            () = election.keep(since) => {}
        }
        tracing::warn!("The Lease is lost: nothing goes on until it is held again");
    }
}

/// All controllers.
async fn act(context: &Arc<Context>) {
    let own = || Arc::clone(context);
    tokio::join!(
        location::run(own()),
        sync::run(own()),
        schedule::run(own()),
        backup::run(own()),
        restore::run(own()),
        volume_restore::run(own()),
        expiry::run(own()),
        deletion::run(own()),
        care::run(own()),
        drill::run(own()),
        download_request::run(own()),
        server_status_request::run(own()),
        count(own()),
    );
}

/// Keeps gauges of objects right.
async fn count(context: Arc<Context>) {
    let mut ticks = interval(COUNT_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = count_once(&context).await {
            tracing::warn!(%error, "Objects could not be counted");
        }
    }
}

async fn count_once(context: &Context) -> Result<()> {
    let backups: Vec<Backup> = context.list("").await?;
    let restores: Vec<Restore> = context.list("").await?;
    let schedules: Vec<Schedule> = context.list("").await?;
    context.metrics.count(&backups, &restores, &schedules);
    let volumes: Vec<PodVolumeBackup> = context.list("").await?;
    context.metrics.count_volumes(&volumes);
    let locations: Vec<BackupStorageLocation> = context.list("").await?;
    location::forget(&locations, context);
    Ok(())
}
