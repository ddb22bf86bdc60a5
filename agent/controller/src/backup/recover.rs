//! Backups that ran when their server died. Nobody goes on with them: they are Failed, unless their record says that they had
//! come to their end.
//!
//! Source: Velero `pkg/cmd/server/server.go`, `markInProgressBackupsFailed`.

use kube::ResourceExt as _;
use serde_json::json;
use trysail_api::{
    backup::{Backup, BackupPhase, BackupStatus},
    backup_storage_location::BackupStorageLocation,
    time::Time,
};

use super::{owed::run_named, volumes::cancel_all};
use crate::{
    Result,
    bucket::Place,
    context::{Context, now},
    patch,
};

/// Looks at all Backups before any of them runs here.
pub(super) async fn recover(context: &Context) -> Result<()> {
    let backups: Vec<Backup> = context.list("").await?;
    for backup in backups {
        let Some(phase) = backup.status.as_ref().and_then(|status| status.phase).filter(|phase| is_ours(*phase)) else {
            continue;
        };
        let ended = match phase {
            BackupPhase::InProgress => None,
            // The record is written in this phase.
            _ => stored(context, &backup).await,
        };
        let name = backup.name_any();
        let status = ended.unwrap_or_else(|| failed(&backup, phase));
        tracing::warn!(backup = name, phase = %status.phase.unwrap_or(phase), "A backup was left by a server that is gone");
        patch::persist::<Backup>(context, &name, &json!({ "status": status })).await;
        run_named(context, &backup).await?;
        cancel_all(context, &backup).await?;
    }
    Ok(())
}

/// Whether a Backup of that phase runs in some server.
fn is_ours(phase: BackupPhase) -> bool {
    use BackupPhase as Phase;
    matches!(phase, Phase::InProgress | Phase::Finalizing | Phase::FinalizingPartiallyFailed)
}

/// How a Backup ended, if its record is stored. Where the bucket cannot be asked, nobody knows that it did.
async fn stored(context: &Context, backup: &Backup) -> Option<BackupStatus> {
    let location = backup.spec.storage_location.as_deref().unwrap_or_default();
    let location: BackupStorageLocation = context.get(location).await.ok()??;
    let place = Place::open(&location, context).await.ok()?;
    let record = place.record(&backup.name_any()).await.ok()??;
    let status = record.status.filter(|status| status.phase.is_some_and(BackupPhase::is_terminal))?;
    (record.metadata.uid == backup.metadata.uid).then_some(status)
}

/// In Velero's words.
fn failed(backup: &Backup, phase: BackupPhase) -> BackupStatus {
    let reason = format!("found a backup with status \"{phase}\" during the server starting, mark it as \"Failed\"");
    BackupStatus {
        phase: Some(BackupPhase::Failed),
        failure_reason: Some(reason),
        completion_timestamp: Some(Time::new(now())),
        ..backup.status.clone().unwrap_or_default()
    }
}
