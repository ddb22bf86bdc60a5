//! `trysail backup`: backups of a cluster, made, looked at and deleted.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use kube::{ResourceExt as _, api::ObjectMeta};
use trysail_api::{
    backup::{Backup, BackupPhase},
    backup_storage_location::BackupStorageLocation,
    delete_backup_request::{DeleteBackupRequest, DeleteBackupRequestSpec},
    download_request::DownloadTargetKind,
    names::{label, label_value},
    schedule::Schedule,
    volume_snapshot_location::VolumeSnapshotLocation,
};
use trysail_repository::seal;

use super::{
    cluster::{self, Chosen, End, Sheet, confirm, view, wait},
    preview,
};
use crate::{
    Outcome,
    args::{
        backup::{self as args, BackupCreate, BackupDownload},
        cluster::{Deleting, Describing, Form, Logs},
    },
    cluster::{Cluster, download::Downloads, typed},
    draft::backup as draft,
    output, program,
    show::{
        backup::{COLUMNS, describe, order, row, structured},
        files::Missing,
    },
};

/// Runs the command that was typed.
pub(super) async fn run(command: args::Backup) -> Result<Outcome> {
    match command {
        args::Backup::Create(create) => self::create(&create).await,
        args::Backup::Get(listing) => cluster::get(&listing, &Sheet { columns: &COLUMNS, row, order }).await,
        args::Backup::Describe(describing) => self::describe(&describing).await,
        args::Backup::Logs(logs) => self::logs(&logs).await,
        args::Backup::Download(download) => self::download(&download).await,
        args::Backup::Delete(deleting) => delete(&deleting).await,
    }
}

async fn create(create: &BackupCreate) -> Result<Outcome> {
    let backup = match &create.from_schedule {
        None => draft::backup(create)?,
        Some(schedule) => {
            if create.draft.form().is_none() {
                output::line("Creating backup from schedule, all other filters are ignored.")?;
            }
            let cluster = Cluster::connect(&create.connection).await?;
            draft::from_schedule(create, &cluster.get::<Schedule>(schedule.trim()).await?, Timestamp::now())
        }
    };
    if create.dry_run {
        let cluster = Cluster::connect(&create.connection).await?;
        return preview::backup(&cluster, create.draft.form(), &backup).await;
    }
    if let Some(form) = create.draft.form() {
        return cluster::print(form, &backup);
    }
    let cluster = Cluster::connect(&create.connection).await?;
    check_locations(&cluster, &backup).await?;
    let made = cluster.create(&backup).await?;
    let name = made.name_any();
    output::line(&format!("Backup request \"{name}\" submitted successfully."))?;
    let program = program();
    if !create.waiting.wait {
        output::line(&format!(
            "Run `{program} backup describe {name}` or `{program} backup logs {name}` for more details."
        ))?;
        return Ok(Outcome::Done);
    }
    let is_over = |backup: &Backup| phase(backup).is_terminal();
    let phase = phase(&wait(&cluster, &name, is_over).await?);
    output::line(&format!(
        "Backup completed with status: {phase}. You may check for more information using the commands `{program} backup \
         describe {name}` and `{program} backup logs {name}`."
    ))?;
    let end = match phase {
        BackupPhase::Completed => End::Completed,
        BackupPhase::PartiallyFailed => End::PartiallyFailed,
        _ => End::Failed,
    };
    Ok(end.outcome(program))
}

/// A location that is not there is told now: the server would say it later, and elsewhere.
async fn check_locations(cluster: &Cluster, backup: &Backup) -> Result<()> {
    if let Some(name) = &backup.spec.storage_location {
        cluster.get::<BackupStorageLocation>(name).await?;
    }
    for name in backup.spec.volume_snapshot_locations.iter().flatten() {
        cluster.get::<VolumeSnapshotLocation>(name).await?;
    }
    Ok(())
}

fn phase(backup: &Backup) -> BackupPhase {
    backup.status.as_ref().and_then(|status| status.phase).unwrap_or(BackupPhase::New)
}

async fn describe(describing: &Describing) -> Result<Outcome> {
    let cluster = Cluster::connect(&describing.connection).await?;
    let found = cluster.objects::<Backup>(&describing.names, describing.selector.as_deref()).await?;
    let (mut texts, mut values) = (Vec::new(), Vec::new());
    for object in found.items {
        let picture = picture(&cluster, typed(object)?, describing).await?;
        match describing.form() {
            Form::Json => values.push(structured::describe(&picture, &view())),
            _ => texts.push(describe::describe(&picture, &view())),
        }
    }
    values.iter().try_for_each(output::indented)?;
    output::text(&texts.join("\n\n"))?;
    Ok(Outcome::Done)
}

/// Everything that is told of a backup.
async fn picture(cluster: &Cluster, backup: Backup, describing: &Describing) -> Result<describe::Picture> {
    let name = backup.name_any();
    let downloads = Downloads::of(cluster, Some(&backup), &describing.trust).await?;
    let status = backup.status.clone().unwrap_or_default();
    let labels = format!("{}={}", label::BACKUP_NAME, label_value(&name));
    let uid = format!("{labels},{}={}", label::BACKUP_UID, backup.uid().unwrap_or_default());
    let results = match status.warnings + status.errors {
        0 => None,
        _ => Some(downloads.json(DownloadTargetKind::BackupResults, &name).await),
    };
    let resources = if describing.details {
        Some(downloads.json(DownloadTargetKind::BackupResourceList, &name).await)
    } else {
        None
    };
    Ok(describe::Picture {
        deletions: cluster.list::<DeleteBackupRequest>(Some(&uid)).await?,
        volumes: cluster.list(Some(&labels)).await?,
        results,
        resources,
        infos: downloads.json(DownloadTargetKind::BackupVolumeInfos, &name).await,
        backup,
    })
}

async fn logs(logs: &Logs) -> Result<Outcome> {
    let (name, cluster) = (&logs.name, Cluster::connect(&logs.connection).await?);
    let backup = cluster.get::<Backup>(name).await?;
    match phase(&backup) {
        BackupPhase::Completed
        | BackupPhase::PartiallyFailed
        | BackupPhase::Failed
        | BackupPhase::WaitingForPluginOperations
        | BackupPhase::WaitingForPluginOperationsPartiallyFailed => {}
        BackupPhase::FailedValidation => {
            bail!("backup {name:?} did not run and has no log; {} backup describe {name} tells why", program())
        }
        _ => bail!(
            "logs for backup {name:?} are not available until it's finished processing, please wait until the backup has \
             a phase of Completed or Failed and try again"
        ),
    }
    let downloads = Downloads::of(&cluster, Some(&backup), &logs.trust).await?;
    let limit = span(&logs.timeout);
    let fetched = downloads.unzipped(DownloadTargetKind::BackupLog, name, limit, &mut output::Results).await;
    fetched.map_err(|missing| missing.of(&format!("the log of backup {name}")))?;
    Ok(Outcome::Done)
}

/// A span that is not negative; a negative one is none.
pub(super) fn span(duration: &trysail_api::duration::Duration) -> Duration {
    Duration::from_nanos(u64::try_from(duration.nanoseconds()).unwrap_or(0))
}

async fn download(download: &BackupDownload) -> Result<Outcome> {
    let (name, target) = (&download.name, download.target());
    let cluster = Cluster::connect(&download.connection).await?;
    let backup = cluster.get::<Backup>(name).await?;
    let downloads = Downloads::of(&cluster, Some(&backup), &download.trust).await?;
    let mut options = OpenOptions::new();
    options.write(true).truncate(true);
    let options = if download.force { options.create(true) } else { options.create_new(true) };
    let mut file = options.open(&target).with_context(|| format!("{}: --force replaces it", target.display()))?;
    let fetched = downloads.raw(DownloadTargetKind::BackupContents, name, span(&download.timeout), &mut file).await;
    let fetched = fetched.and_then(|()| file.flush().map_err(|error| Missing::Failed(error.to_string())));
    if let Err(missing) = fetched {
        drop(file);
        // A part of it would look like all of it.
        fs::remove_file(&target).with_context(|| format!("{}: remove what is not whole", target.display()))?;
        return Err(missing.of(&format!("the objects of backup {name}")));
    }
    output::line(&format!("Backup {name} has been successfully downloaded to {}", target.display()))?;
    if is_encrypted(&target)? {
        output::note(&format!("It is encrypted: age -d -i IDENTITY {} | tar -tz lists it", target.display()));
    }
    Ok(Outcome::Done)
}

/// Bytes by which an encrypted file is known.
const HEAD: u64 = 64;

fn is_encrypted(path: &Path) -> Result<bool> {
    let mut head = Vec::new();
    let file = File::open(path).with_context(|| path.display().to_string())?;
    file.take(HEAD).read_to_end(&mut head).with_context(|| path.display().to_string())?;
    Ok(seal::is_age(&head))
}

async fn delete(deleting: &Deleting) -> Result<Outcome> {
    if !confirm(deleting)? {
        return Ok(Outcome::Done);
    }
    let cluster = Cluster::connect(&deleting.selecting.connection).await?;
    let chosen = Chosen::<Backup>::of(&cluster, &deleting.selecting).await?;
    for backup in &chosen.found {
        let name = backup.name_any();
        let mut request = DeleteBackupRequest::new("", DeleteBackupRequestSpec { backup_name: name.clone() });
        let labels = [(label::BACKUP_NAME, label_value(&name)), (label::BACKUP_UID, backup.uid().unwrap_or_default())];
        request.metadata = ObjectMeta {
            generate_name: Some(format!("{name}-")),
            labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ..ObjectMeta::default()
        };
        cluster.create(&request).await?;
        output::line(&format!(
            "Request to delete backup \"{name}\" submitted successfully.\nThe backup will be fully deleted after all \
             associated data (disk snapshots, backup files, restores) are removed."
        ))?;
    }
    Ok(chosen.outcome())
}
