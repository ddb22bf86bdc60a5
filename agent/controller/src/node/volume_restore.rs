//! Puts the files of one snapshot into one volume: the whole of `trysail node-agent restore`, which runs in a Job with that one
//! directory.
//!
//! Where a pod waits for them, the mark by which it goes on is written last, after everything is on the disk. When the pod has gone
//! on, nothing of ours is left in the volume. A claim that is filled by itself gets no mark. A process that dies is followed by
//! another one, which goes on where that was.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::{Value, json};
use tokio::{
    runtime::Handle,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, sleep},
};
use trysail_api::{
    backup_storage_location::BackupStorageLocation,
    names::{label, own},
    pod_volume_restore::PodVolumeRestore,
    time::Time,
    transfer::{TransferPhase, TransferProgress, UploaderType},
};
use trysail_repository::{Repository, layout::SnapshotId, read::Snapshot, seal::Identity};
use trysail_volume::{
    backup::Counters,
    restore::{self, RestoreOptions, RestoreReport},
    target::{Target, TargetError, TargetPolicy},
};

use crate::{
    Error, Result,
    context::{Context, now},
    metrics::Metrics,
    patch,
    repository::{self, CLAIM, snapshot_id},
    restore::{
        wait::{MARKS, has_ended, waits},
        wish::Wish,
    },
    server, settings,
    volume_restore::directory::{claim_of, mounts},
};

/// How often progress is written.
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);

/// Pause between looks at the pod that waits.
const LOOK: Duration = Duration::from_millis(500);

/// Entries that are named in a message or an annotation; all are counted.
const NAMED_MAX: usize = 100;

/// Modes of the directory of marks and of a mark. Source: Velero `pkg/controller/pod_volume_restore_controller.go`.
const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// What the process is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The namespace whose objects it serves.
    pub namespace: String,
    /// The PodVolumeRestore.
    pub name: String,
    /// The directory of the volume.
    pub target: PathBuf,
    /// A directory of files with identities, for encrypted repositories.
    pub identities: Option<PathBuf>,
    /// The file with credentials of locations that name no Secret.
    pub credentials_file: Option<PathBuf>,
    /// The file that says where the API server is; else what the environment says.
    pub kubeconfig: Option<PathBuf>,
}

/// Fills the volume, and waits until its pod goes on.
///
/// # Errors
/// Where it could not be said how it ended: another process is to try again. That the volume could not be filled is said in
/// the PodVolumeRestore.
pub async fn run(settings: &Settings) -> Result<()> {
    let unused = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let of_context = settings::Settings {
        credentials_file: settings.credentials_file.clone(),
        kubeconfig: settings.kubeconfig.clone(),
        ..settings::Settings::new(settings.namespace.clone(), settings.name.clone(), unused)
    };
    let context =
        Context::new(server::client(of_context.kubeconfig.as_deref(), None).await?, of_context, Metrics::new());
    let Some(transfer) = context.get::<PodVolumeRestore>(&settings.name).await? else { return Ok(()) };
    if phase(&transfer) == TransferPhase::Failed || phase(&transfer) == TransferPhase::Canceled {
        return Ok(());
    }
    let mark = if transfer.spec.pod.kind.as_deref() == Some(CLAIM) { None } else { Some(mark(&transfer)?) };
    if phase(&transfer) != TransferPhase::Completed {
        let filled = match find_room(&transfer, &settings.target) {
            Ok(()) => {
                let status = json!({ "phase": TransferPhase::InProgress, "startTimestamp": Time::new(now()) });
                patch::merge::<PodVolumeRestore>(&context, &settings.name, &json!({ "status": status })).await?;
                fill(&context, &transfer, settings).await
            }
            Err(error) => Err(error),
        };
        let filled = match (filled, &mark) {
            (Ok(filled), Some(mark)) => {
                set_mark(&settings.target, mark).map(|()| filled).map_err(|error| failed(&settings.target, &error))
            }
            (filled, _) => filled,
        };
        let is_filled = filled.is_ok();
        tell_end(&context, &settings.name, end(filled)).await?;
        if !is_filled {
            return Ok(());
        }
    }
    match mark {
        Some(mark) => release(&context, &transfer, &settings.target, &mark).await,
        None => Ok(()),
    }
}

/// Writes how it ended, unless the server has ended it meanwhile: what was cancelled is not Completed after that.
async fn tell_end(context: &Context, name: &str, mut fields: Value) -> Result<()> {
    loop {
        let Some(current) = context.get::<PodVolumeRestore>(name).await? else { return Ok(()) };
        if phase(&current).is_terminal() {
            return Ok(());
        }
        fields["metadata"]["resourceVersion"] = current.resource_version().into();
        if patch::merge_if_unchanged::<PodVolumeRestore>(context, name, &fields).await? {
            return Ok(());
        }
    }
}

/// Looks whether the volume is as empty as it has to be, before the transfer is InProgress: whoever follows upon a process that died
/// finds what that has written.
fn find_room(transfer: &PodVolumeRestore, target: &Path) -> Result<()> {
    remove_marks(target).map_err(|error| failed(target, &error))?;
    Target::open(target, policy(transfer)).map(drop).map_err(|error| match error {
        TargetError::NotEmpty { entry } if transfer.spec.pod.kind.as_deref() == Some(CLAIM) => Error::Object {
            what: "the volume is not empty".to_owned(),
            reason: format!(
                "it holds {}; annotation {}: \"true\" replaces what the snapshot has too, and leaves the rest",
                entry.escape_ascii(),
                own::OVERWRITE
            ),
        },
        other => failed(target, &other),
    })
}

fn phase(transfer: &PodVolumeRestore) -> TransferPhase {
    transfer.status.as_ref().and_then(|status| status.phase).unwrap_or(TransferPhase::New)
}

/// The UID of the Restore, by which its pods know that their volume is filled.
fn mark(transfer: &PodVolumeRestore) -> Result<String> {
    let uid = transfer.labels().get(label::RESTORE_UID).cloned().unwrap_or_default();
    let is_name = !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let wrong = || Error::Object {
        what: format!("PodVolumeRestore {}", transfer.name_any()),
        reason: format!("label {} is no UID: {uid:?}", label::RESTORE_UID),
    };
    if is_name { Ok(uid) } else { Err(wrong()) }
}

/// What was put into a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Filled {
    bytes: u64,
    /// What is not as it was, and why; the volume is used all the same.
    remarks: Vec<String>,
    remark_count: u64,
}

/// Opens the snapshot and writes it into the directory.
async fn fill(context: &Context, transfer: &PodVolumeRestore, settings: &Settings) -> Result<Filled> {
    let spec = &transfer.spec;
    let wrong = |reason: String| Error::Object { what: format!("snapshot {}", spec.snapshot_id), reason };
    let id = snapshot_id(&spec.snapshot_id).ok_or_else(|| wrong("it is none of ours".to_owned()))?;
    let location = context.get::<BackupStorageLocation>(&spec.backup_storage_location).await?;
    let location = location.ok_or_else(|| wrong(format!("there is no location {}", spec.backup_storage_location)))?;
    let uploader = spec.uploader_type.unwrap_or(UploaderType::Unset);
    let opened = repository::open(context, &location, &spec.source_namespace, uploader).await?;
    let opened = opened.ok_or_else(|| wrong(format!("namespace {} has no repository", spec.source_namespace)))?;
    let identity = identities(settings.identities.as_deref())?;
    if !opened.repository.config().recipients.is_empty() && identity.is_empty() {
        return Err(wrong(format!(
            "it is encrypted: name a Secret with an identity in annotation {}",
            own::IDENTITY_SECRET
        )));
    }
    let wish = Wish::of_settings(transfer);
    all_there(&opened.repository, &id, &identity, &wish.paths).await?;
    let target = settings.target.clone();
    let counters = Arc::new(Counters::default());
    let (counted, directory, runtime) = (Arc::clone(&counters), target.clone(), Handle::current());
    let paths = wish.paths.into_iter().map(String::into_bytes).collect();
    let options = RestoreOptions { policy: policy(transfer), paths, threads: threads(), withhold: Vec::new() };
    let work = spawn_blocking(move || {
        restore::restore(&opened.repository, &id, &identity, &directory, &options, &counted, &runtime)
    });
    let done = tokio::select! {
        done = work => done,
        never = show(context, transfer, &counters) => match never {},
    };
    let report = done.map_err(|_| Error::Broken("the restore of a volume"))?;
    let report = report.map_err(|error| failed(&target, &error))?;
    judge(&report, counters.read.get()).map_err(wrong)
}

/// A volume that holds other files than the snapshot's is not mixed with it unless that is asked for. One that a process has begun to
/// fill was empty then. Pure.
fn policy(transfer: &PodVolumeRestore) -> TargetPolicy {
    let is_begun = phase(transfer) == TransferPhase::InProgress;
    if is_begun || Wish::of_settings(transfer).overwrite { TargetPolicy::Delta } else { TargetPolicy::Empty }
}

/// Refuses paths that a snapshot does not have: a restore of them would be a success with nothing in it.
async fn all_there(repository: &Repository, id: &SnapshotId, identity: &Identity, paths: &[String]) -> Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    let wrong = |reason: String| Error::Object { what: format!("snapshot {id}"), reason };
    let mut snapshot = Snapshot::open(repository, id, identity).await.map_err(|error| wrong(error.to_string()))?;
    for path in paths {
        let found = snapshot.find(path.as_bytes()).await.map_err(|error| wrong(error.to_string()))?;
        if found.is_none() {
            return Err(wrong(format!("it has no entry {path:?}, which annotation {} names", own::PATHS)));
        }
    }
    Ok(())
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// What is lost makes the volume incomplete; what differs only in metadata, or could not be read when it was saved, is told.
fn judge(report: &RestoreReport, bytes: u64) -> Result<Filled, String> {
    let lost = report.lost_count.saturating_sub(report.unreadable);
    let mut remarks: Vec<String> =
        report.lost.iter().map(|lost| format!("{}: {}", lost.path.escape_ascii(), lost.reason)).collect();
    if lost > 0 {
        let first = remarks.first().cloned().unwrap_or_default();
        return Err(format!("{lost} entries could not be restored, the first of them {first}"));
    }
    remarks.extend(report.not_set.listed.iter().map(|not_set| format!("{not_set}: {}", not_set.why)));
    let withheld = report.withheld.listed.iter();
    remarks.extend(withheld.map(|withheld| format!("withheld: {}: {}", withheld.path.escape_ascii(), withheld.what)));
    remarks.truncate(NAMED_MAX);
    let remark_count = report.unreadable + report.not_set.count + report.withheld.count;
    Ok(Filled { bytes, remarks, remark_count })
}

/// The fields with which a PodVolumeRestore ends.
fn end(filled: Result<Filled>) -> Value {
    let at = Time::new(now());
    match filled {
        Ok(Filled { bytes, remarks, remark_count }) => {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            let progress = TransferProgress { bytes_done: bytes, total_bytes: bytes };
            let mut fields = json!({
                "status": { "phase": TransferPhase::Completed, "completionTimestamp": at, "progress": progress },
            });
            if remark_count > 0 {
                let told = json!({ "errors": remarks, "errorCount": remark_count, "unstable": [] });
                fields["metadata"] = json!({ "annotations": { own::PROBLEMS: told.to_string() } });
            }
            fields
        }
        Err(error) => json!({
            "status": { "phase": TransferPhase::Failed, "completionTimestamp": at, "message": error.to_string() },
        }),
    }
}

/// Writes progress for ever.
async fn show(context: &Context, transfer: &PodVolumeRestore, counters: &Counters) -> std::convert::Infallible {
    let mut ticks = interval(PROGRESS_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut written = TransferProgress::default();
    loop {
        ticks.tick().await;
        let done = i64::try_from(counters.read.get()).unwrap_or(i64::MAX);
        let total = transfer.spec.snapshot_size.unwrap_or_default().max(done);
        let progress = TransferProgress { bytes_done: done, total_bytes: total };
        if progress == written {
            continue;
        }
        let fields = json!({ "status": { "progress": progress } });
        match patch::merge::<PodVolumeRestore>(context, &transfer.name_any(), &fields).await {
            Ok(()) => written = progress,
            Err(error) => tracing::warn!(%error, "Progress cannot be written"),
        }
    }
}

/// Identities of all files of a directory; a Secret is mounted as one.
fn identities(directory: Option<&Path>) -> Result<Identity> {
    let mut all = Identity::default();
    let Some(directory) = directory else { return Ok(all) };
    let wrong = |path: &Path, reason: &dyn std::fmt::Display| Error::Object {
        what: format!("identity {}", path.display()),
        reason: reason.to_string(),
    };
    for entry in fs::read_dir(directory).map_err(|error| wrong(directory, &error))? {
        let path = entry.map_err(|error| wrong(directory, &error))?.path();
        // The kubelet keeps versions of a Secret in hidden directories beside links to them.
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_hidden || path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| wrong(&path, &error))?;
        all = all.and(&Identity::parse(&text).map_err(|error| wrong(&path, &error))?);
    }
    Ok(all)
}

/// Removes marks of an earlier restore, which the volume may have been saved with.
fn remove_marks(target: &Path) -> io::Result<()> {
    let marks = target.join(MARKS);
    match fs::symlink_metadata(&marks) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(&marks),
        Ok(_) => fs::remove_file(&marks),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes the mark, and has it and its directory on the disk. What the snapshot has in its place goes. The mark keeps the time
/// of the root, which making it changes.
fn set_mark(target: &Path, mark: &str) -> io::Result<()> {
    remove_marks(target)?;
    let modified = fs::metadata(target)?.modified()?;
    let marks = target.join(MARKS);
    fs::DirBuilder::new().mode(DIRECTORY_MODE).create(&marks)?;
    // A mask of the process must not close it to who waits.
    fs::set_permissions(&marks, fs::Permissions::from_mode(DIRECTORY_MODE))?;
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(marks.join(mark))?;
    file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
    file.set_modified(modified)?;
    file.sync_all()?;
    fs::File::open(&marks)?.sync_all()?;
    fs::File::open(target)?.sync_all()
}

/// Removes the mark and gives the root its time back.
fn unset_mark(target: &Path, mark: &str) -> io::Result<()> {
    let modified = fs::symlink_metadata(target.join(MARKS).join(mark)).and_then(|mark| mark.modified());
    remove_marks(target)?;
    let root = fs::File::open(target)?;
    if let Ok(modified) = modified {
        root.set_modified(modified)?;
    }
    root.sync_all()
}

/// Waits until the pod and those that share its claim have gone on, or are gone, and removes the mark.
async fn release(context: &Context, transfer: &PodVolumeRestore, target: &Path, mark: &str) -> Result<()> {
    let namespace = transfer.spec.pod.namespace.clone().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let mut claim = None;
    loop {
        match pods.list(&ListParams::default()).await {
            Ok(found) => {
                claim = claim.or_else(|| claim_in(&found.items, transfer));
                if !found.items.iter().any(|pod| waits_for(pod, transfer, claim.as_deref())) {
                    break;
                }
            }
            Err(error) => tracing::warn!(%error, "The pods that wait cannot be looked at"),
        }
        sleep(LOOK).await;
    }
    unset_mark(target, mark).map_err(|error| failed(target, &error))
}

/// The claim of the volume, while its pod is there.
fn claim_in(pods: &[Pod], transfer: &PodVolumeRestore) -> Option<String> {
    let pod = pods.iter().find(|pod| pod.uid() == transfer.spec.pod.uid)?;
    claim_of(pod, &transfer.spec.volume)
}

/// Whether a pod still waits for the mark: the one for which the volume is filled, or one that mounts the same claim.
fn waits_for(pod: &Pod, transfer: &PodVolumeRestore, claim: Option<&str>) -> bool {
    let is_own = pod.uid() == transfer.spec.pod.uid;
    (is_own || claim.is_some_and(|claim| mounts(pod, claim))) && waits(pod) && !has_ended(pod)
}

fn failed(target: &Path, reason: &dyn std::error::Error) -> Error {
    let cause = reason.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    Error::Object { what: format!("target {}", target.display()), reason: format!("{reason}{cause}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(phase: &str, settings: &Value) -> PodVolumeRestore {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeRestore", "metadata": { "name": "r1-x" },
            "spec": {
                "pod": {}, "volume": "data", "snapshotID": "data/1", "backupStorageLocation": "default", "repoIdentifier": "",
                "sourceNamespace": "app", "uploaderSettings": settings,
            },
            "status": { "phase": phase },
        }))
        .unwrap()
    }

    #[test]
    fn only_an_empty_volume_is_filled_unless_a_process_has_begun_or_overwriting_is_asked_for() {
        let none = json!({});
        assert_eq!(policy(&transfer("New", &none)), TargetPolicy::Empty);
        assert_eq!(policy(&transfer("InProgress", &none)), TargetPolicy::Delta);
        assert_eq!(policy(&transfer("New", &json!({ "trysail.io/overwrite": "true" }))), TargetPolicy::Delta);
    }

    #[test]
    fn marks_of_earlier_restores_do_not_make_a_volume_full_and_files_do() {
        let target = tempfile::tempdir().unwrap();
        set_mark(target.path(), "u0").unwrap();
        find_room(&transfer("New", &json!({})), target.path()).unwrap();
        fs::write(target.path().join("file"), "of another").unwrap();
        let refused = find_room(&transfer("New", &json!({})), target.path()).unwrap_err().to_string();
        assert_eq!(
            refused,
            format!("target {}: target directory is not empty: it holds file", target.path().display())
        );
        let mut into_claim = transfer("New", &json!({}));
        into_claim.spec.pod.kind = Some(CLAIM.to_owned());
        let refused = find_room(&into_claim, target.path()).unwrap_err().to_string();
        let expected = "the volume is not empty: it holds file; annotation trysail.io/overwrite: \"true\" replaces what the snapshot \
                        has too, and leaves the rest";
        assert_eq!(refused, expected);
        find_room(&transfer("InProgress", &json!({})), target.path()).unwrap();
    }
}
