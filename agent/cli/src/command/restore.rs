//! `trysail restore`: restores of a cluster, made, looked at and deleted.

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Zoned;
use kube::ResourceExt as _;
use trysail_api::{
    backup::{Backup, BackupPhase},
    download_request::DownloadTargetKind,
    names::{label, label_value},
    restore::{Restore, RestorePhase},
};

use super::{
    backup::span,
    cluster::{self, Chosen, End, Sheet, confirm, view, wait},
    preview,
};
use crate::{
    Outcome,
    args::{
        Shared,
        cluster::{Deleting, Describing, Form, Logs},
        restore::{self as args, RestoreCreate},
    },
    cluster::{Cluster, download::Downloads, typed},
    draft::restore::{self as draft, Source},
    output, program,
    show::restore::{COLUMNS, Picture, describe as described, row},
};

/// Runs the command that was typed.
pub(super) async fn run(shared: &Shared, command: args::Restore) -> Result<Outcome> {
    match command {
        args::Restore::Create(create) => self::create(shared, &create).await,
        args::Restore::Get(listing) => cluster::get(&listing, &Sheet { columns: &COLUMNS, row, order: str::cmp }).await,
        args::Restore::Describe(describing) => describe(&describing).await,
        args::Restore::Logs(logs) => self::logs(&logs).await,
        args::Restore::Delete(deleting) => delete(&deleting).await,
    }
}

async fn create(shared: &Shared, create: &RestoreCreate) -> Result<Outcome> {
    let cluster = Cluster::connect(&create.connection).await?;
    let source = source(&cluster, create).await?;
    let restore = draft::restore(create, &source, &Zoned::now())?;
    if create.dry_run {
        return preview::restore(&cluster, shared, create.draft.form(), &restore).await;
    }
    if let Some(form) = create.draft.form() {
        return cluster::print(form, &restore);
    }
    let name = cluster.create(&restore).await?.name_any();
    output::line(&format!("Restore request \"{name}\" submitted successfully."))?;
    let program = program();
    if !create.waiting.wait {
        output::line(&format!(
            "Run `{program} restore describe {name}` or `{program} restore logs {name}` for more details."
        ))?;
        return Ok(Outcome::Done);
    }
    let is_over = |restore: &Restore| phase(restore).is_terminal();
    let phase = phase(&wait(&cluster, &name, is_over).await?);
    output::line(&format!(
        "Restore completed with status: {phase}. You may check for more information using the commands `{program} restore \
         describe {name}` and `{program} restore logs {name}`."
    ))?;
    let end = match phase {
        RestorePhase::Completed => End::Completed,
        RestorePhase::PartiallyFailed => End::PartiallyFailed,
        _ => End::Failed,
    };
    Ok(end.outcome(program))
}

/// The backup that was named, or the schedule, if it has backups.
async fn source(cluster: &Cluster, create: &RestoreCreate) -> Result<Source> {
    if let Some(name) = &create.from_backup {
        return Ok(Source::Backup(cluster.get::<Backup>(name).await?.name_any()));
    }
    let schedule =
        create.from_schedule.as_ref().context("either a backup or schedule must be specified, but not both")?;
    let labels = format!("{}={}", label::SCHEDULE_NAME, label_value(schedule));
    let backups = cluster.list::<Backup>(Some(&labels)).await?;
    ensure!(!backups.is_empty(), "No backups found for the schedule {schedule}");
    let newest = create.allow_partially_failed.unwrap_or(false).then(|| newest_usable(&backups)).flatten();
    Ok(newest.map_or_else(|| Source::Schedule(schedule.clone()), Source::Backup))
}

/// The backup that began last of those that can be restored, whole or in part.
fn newest_usable(backups: &[Backup]) -> Option<String> {
    let began = |backup: &Backup| backup.status.as_ref().and_then(|status| status.start_timestamp);
    let is_usable = |backup: &&Backup| {
        let phase = backup.status.as_ref().and_then(|status| status.phase);
        matches!(phase, Some(BackupPhase::Completed | BackupPhase::PartiallyFailed))
    };
    backups.iter().filter(is_usable).max_by_key(|backup| began(backup)).map(kube::ResourceExt::name_any)
}

fn phase(restore: &Restore) -> RestorePhase {
    restore.status.as_ref().and_then(|status| status.phase).unwrap_or(RestorePhase::New)
}

/// The backup of a restore, where it is still there: its location says which certificates are trusted.
async fn backup_of(cluster: &Cluster, restore: &Restore) -> Result<Option<Backup>> {
    match restore.spec.backup_name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => cluster.find(name).await,
        None => Ok(None),
    }
}

async fn describe(describing: &Describing) -> Result<Outcome> {
    ensure!(describing.form() != Form::Json, "a restore is described in plain text; restore get -o json prints it");
    let cluster = Cluster::connect(&describing.connection).await?;
    let found = cluster.objects::<Restore>(&describing.names, describing.selector.as_deref()).await?;
    let mut texts = Vec::new();
    for object in found.items {
        texts.push(described(&picture(&cluster, typed(object)?, describing).await?, &view()));
    }
    output::text(&texts.join("\n\n"))?;
    Ok(Outcome::Done)
}

/// Everything that is told of a restore. Of one that never found its backup nothing is stored, and nothing is asked for.
async fn picture(cluster: &Cluster, restore: Restore, describing: &Describing) -> Result<Picture> {
    use crate::show::files::Missing::NotFound;
    let name = restore.name_any();
    let backup = backup_of(cluster, &restore).await?;
    let downloads = Downloads::of(cluster, backup.as_ref(), &describing.trust).await?;
    let status = restore.status.clone().unwrap_or_default();
    let labels = format!("{}={}", label::RESTORE_NAME, label_value(&name));
    let results = match status.warnings + status.errors {
        0 => None,
        _ => Some(downloads.json(DownloadTargetKind::RestoreResults, &name).await),
    };
    let resources = match (describing.details, backup.is_some()) {
        (false, _) => None,
        (true, true) => Some(downloads.json(DownloadTargetKind::RestoreResourceList, &name).await),
        (true, false) => Some(Err(NotFound)),
    };
    let infos = if backup.is_some() {
        downloads.json(DownloadTargetKind::RestoreVolumeInfo, &name).await
    } else {
        Err(NotFound)
    };
    Ok(Picture { volumes: cluster.list(Some(&labels)).await?, results, resources, infos, restore })
}

async fn logs(logs: &Logs) -> Result<Outcome> {
    let (name, cluster) = (&logs.name, Cluster::connect(&logs.connection).await?);
    let restore = cluster.get::<Restore>(name).await?;
    match phase(&restore) {
        RestorePhase::Completed
        | RestorePhase::PartiallyFailed
        | RestorePhase::Failed
        | RestorePhase::WaitingForPluginOperations
        | RestorePhase::WaitingForPluginOperationsPartiallyFailed => {}
        RestorePhase::FailedValidation => {
            bail!("restore {name:?} did not run and has no log; {} restore describe {name} tells why", program())
        }
        _ => bail!(
            "Logs for restore {name:?} are not available until it's finished processing. Please wait until the restore has \
             a phase of Completed or Failed and try again."
        ),
    }
    let backup = backup_of(&cluster, &restore).await?;
    let downloads = Downloads::of(&cluster, backup.as_ref(), &logs.trust).await?;
    let limit = span(&logs.timeout);
    let fetched = downloads.unzipped(DownloadTargetKind::RestoreLog, name, limit, &mut output::Results).await;
    fetched.map_err(|missing| missing.of(&format!("the log of restore {name}")))?;
    Ok(Outcome::Done)
}

async fn delete(deleting: &Deleting) -> Result<Outcome> {
    if !confirm(deleting)? {
        return Ok(Outcome::Done);
    }
    let cluster = Cluster::connect(&deleting.selecting.connection).await?;
    let chosen = Chosen::<Restore>::of(&cluster, &deleting.selecting).await?;
    for restore in &chosen.found {
        let name = restore.name_any();
        cluster.delete::<Restore>(&name).await?;
        output::line(&format!(
            "Request to delete restore \"{name}\" submitted successfully.\nThe restore will be fully deleted after all \
             associated data (restore files in object storage) are removed."
        ))?;
    }
    Ok(chosen.outcome())
}
