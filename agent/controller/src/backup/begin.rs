//! The beginning of a Backup whose turn it is: what there is to know is gathered, and it becomes InProgress or FailedValidation.

use std::{sync::OnceLock, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{Api, ResourceExt as _, api::ListParams, runtime::wait::await_condition};
use tokio::time::timeout;
use trysail_api::{
    backup::{Backup, BackupPhase},
    backup_storage_location::BackupStorageLocation,
    names::label,
    policy::Policy,
};

use super::{
    owed::Owed,
    prepare::{Prepared, World, find_location, prepare},
    run::run,
};
use crate::{
    Error, Result,
    context::{Context, now},
    patch,
};

/// How long a Backup waits for a location that nobody has looked at yet.
const LOCATION_PATIENCE: Duration = Duration::from_mins(1);

/// A Backup that has begun, for who must clear up after it.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) backup: Backup,
    pub(super) location: BackupStorageLocation,
    pub(super) policy: Option<Policy>,
    pub(super) owed: Owed,
    pub(super) began: Timestamp,
}

/// Runs a Backup whose turn it is.
///
/// # Errors
/// It could not be begun; it is still ReadyToStart.
pub(super) async fn begin(context: &Context, name: &str, begun: &OnceLock<Begun>) -> Result<()> {
    let Some(backup) = context.get::<Backup>(name).await? else { return Ok(()) };
    let phase = backup.status.as_ref().and_then(|status| status.phase);
    if phase != Some(BackupPhase::ReadyToStart) {
        return Ok(());
    }
    let schedule = schedule_of(&backup);
    let world = look(context, &backup).await?;
    let start = now();
    let Prepared { backup, fields, problems, location, policy } =
        prepare(backup, &world, &context.settings.backups, start);
    patch::merge::<Backup>(context, name, &fields).await?;
    let Some(location) = location.filter(|_| problems.is_empty()) else {
        tracing::warn!(backup = name, problems = problems.join("; "), "A backup asks for what cannot be");
        context.metrics.backup_refused(&schedule);
        return Ok(());
    };
    context.metrics.backup_started(&schedule);
    let begun = begun.get_or_init(|| Begun { backup, location, policy, owed: Owed::default(), began: start });
    let end = Box::pin(run(context, begun)).await;
    context.metrics.backup_ended(&schedule, &end);
    Ok(())
}

/// The label's value is the name, or for a long one what stands for it.
fn schedule_of(backup: &Backup) -> String {
    backup.labels().get(label::SCHEDULE_NAME).cloned().unwrap_or_default()
}

async fn look(context: &Context, backup: &Backup) -> Result<World> {
    let default_location = context.settings.default_location.clone();
    let mut locations: Vec<BackupStorageLocation> = context.list("").await?;
    let is_judged = |location: Option<&BackupStorageLocation>| {
        location.is_none_or(|location| location.status.as_ref().is_some_and(|status| status.phase.is_some()))
    };
    let location = find_location(&backup.spec, &locations, &default_location);
    if let Some(new) = location.filter(|location| !is_judged(Some(location))) {
        // One that is still not judged then is refused.
        let _ = timeout(LOCATION_PATIENCE, await_condition(context.api(), &new.name_any(), is_judged)).await;
        locations = context.list("").await?;
    }
    let policy = match &backup.spec.resource_policy {
        Some(reference) => context.get::<ConfigMap>(&reference.name).await?,
        None => None,
    };
    let labelled = ListParams::default().labels(&format!("{}=true", label::EXCLUDE_FROM_BACKUP));
    let namespaces = Api::<Namespace>::all(context.client.clone()).list_metadata(&labelled).await;
    let namespaces = namespaces.map_err(Error::kubernetes("list namespaces"))?;
    let version = context.client.apiserver_version().await.map_err(Error::kubernetes("get version"))?;
    Ok(World {
        locations,
        default_location,
        version,
        policy,
        labelled_out: namespaces.items.iter().map(kube::ResourceExt::name_any).collect(),
    })
}
