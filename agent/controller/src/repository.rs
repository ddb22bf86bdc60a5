//! The repository of a namespace in a location: where it lies (`place`), its keys (`keys`), its BackupRepository (`object`), and
//! how it is made ready to be written and opened to be read, and its daily prune (`care`). What is written into it is the node agent's
//! work.

pub(crate) mod care;
pub(crate) mod keys;
mod object;
pub(crate) mod place;

use std::sync::Arc;

use kube::ResourceExt as _;
use trysail_api::{
    backup_storage_location::BackupStorageLocation,
    names::{self, own},
    pod_volume_backup::PodVolumeBackup,
    transfer::UploaderType,
};
use trysail_repository::{
    Error as RepositoryError, Repository,
    keys::{Keys, Signer},
    layout::{NotAVolumeName, SnapshotId, VolumeName},
    seal::{Identity, Recipient},
    signature::PublicKey,
    store::ObjectStore,
};

use crate::{
    Error, Result,
    bucket::Place,
    context::{Context, now},
    patch,
};

/// Longest escaped name of a volume: stores keep it as the name of a directory. Source: Linux, `NAME_MAX`.
const VOLUME_LENGTH: usize = 255;

/// The kind of the object that a PodVolumeBackup names where no pod mounts the volume.
pub(crate) const CLAIM: &str = "PersistentVolumeClaim";

/// The repository of a namespace, open.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) repository: Repository,
    /// Its keys, as far as this cluster has them: without them nothing can be written.
    pub(crate) keys: Option<Keys>,
    /// Name of the BackupRepository.
    pub(crate) name: String,
    /// What stands in `spec.repoIdentifier` of PodVolumeBackups.
    pub(crate) identifier: String,
}

/// Makes sure that a namespace has a repository in a location and its BackupRepository says so, and opens it to be written.
///
/// The keys lie in the Secret before the repository exists: the other way round, a crash would leave one that nobody can write.
/// The root key of the location is trusted on first use and pinned in its annotation.
///
/// # Errors
/// [`Error::RepositoryForeign`], [`Error::RepositoryKeyMissing`], and those of the store and of the API server. The first two
/// also stand in the BackupRepository.
pub(crate) async fn ready(
    context: &Context,
    location: &BackupStorageLocation,
    namespace: &str,
    uploader: UploaderType,
) -> Result<Opened> {
    let name = names::backup_repository(namespace, &location.name_any(), uploader.directory());
    let made = prepare(context, location, namespace, uploader, &name).await;
    object::report(context, location, namespace, uploader, made.as_ref().map(|_| ())).await?;
    made
}

async fn prepare(
    context: &Context,
    location: &BackupStorageLocation,
    namespace: &str,
    uploader: UploaderType,
    name: &str,
) -> Result<Opened> {
    let place = Place::open(location, context).await?;
    let store = place::store(&place, uploader, namespace)?;
    let pinned = pinned(location)?;
    let failed = |source| failed(name, source);
    let opened = match Repository::open(store.clone(), pinned).await {
        // Files of other programs beside ours are left alone.
        Err(RepositoryError::NoRepository | RepositoryError::Foreign { .. }) => None,
        other => Some(other.map_err(failed)?),
    };
    let (repository, keys) = if let Some(repository) = opened {
        let keys = keys_of(context, location, namespace, uploader, &repository).await?;
        let missing =
            || Error::RepositoryKeyMissing { name: name.to_owned(), root: repository.config().root.to_string() };
        let keys = keys.ok_or_else(missing)?;
        (repository, keys)
    } else {
        let keys = keys::for_new(context, &place, location, namespace, uploader, pinned).await?;
        let repository = make(store, &recipients(location)?, &keys).await.map_err(failed)?;
        tracing::info!(repository = name, "Made a repository");
        (repository, keys)
    };
    pin(context, location, repository.config().root).await?;
    let identifier = place::identifier(location, uploader, namespace);
    Ok(Opened { repository, keys: Some(keys), name: name.to_owned(), identifier })
}

/// What stands for no namespace where a location has a root key and no repository yet.
const NO_NAMESPACE: &str = "";

/// The root key of a location, which signs what lies there outside of repositories; made and pinned where there is none.
///
/// # Errors
/// [`Error::RepositoryKeyMissing`] where the location has a root key that is not here, and those of the store and of the API
/// server.
pub(crate) async fn root(
    context: &Context,
    location: &BackupStorageLocation,
    uploader: UploaderType,
) -> Result<Signer> {
    let pinned = pinned(location)?;
    if let Some(keys) = keys::of_location(context, &location.name_any(), pinned).await? {
        return Ok(keys.root());
    }
    let place = Place::open(location, context).await?;
    let keys = keys::for_new(context, &place, location, NO_NAMESPACE, uploader, pinned).await?;
    pin(context, location, keys.root().public()).await?;
    Ok(keys.root())
}

async fn make(
    store: Arc<dyn ObjectStore>,
    recipients: &[Recipient],
    keys: &Keys,
) -> Result<Repository, RepositoryError> {
    match Repository::init(Arc::clone(&store), recipients, keys, now()).await {
        // Another one was faster, with the same keys: those in the Secret.
        Err(RepositoryError::AlreadyThere(_)) => Repository::open(store, Some(keys.root().public())).await,
        other => other,
    }
}

/// Opens the repository of a namespace to be read, where there is one.
///
/// # Errors
/// [`Error::RepositoryForeign`], and those of the store and of the API server.
pub(crate) async fn open(
    context: &Context,
    location: &BackupStorageLocation,
    namespace: &str,
    uploader: UploaderType,
) -> Result<Option<Opened>> {
    let name = names::backup_repository(namespace, &location.name_any(), uploader.directory());
    let place = Place::open(location, context).await?;
    let store = place::store(&place, uploader, namespace)?;
    let repository = match Repository::open(store, pinned(location)?).await {
        Err(RepositoryError::NoRepository | RepositoryError::Foreign { .. }) => return Ok(None),
        other => other.map_err(|source| failed(&name, source))?,
    };
    let entry = keys::entry(&location.name_any(), uploader, namespace);
    let stored = keys::stored(context, &entry).await?;
    let keys = match stored.filter(|keys| keys.root().public() == repository.config().root) {
        Some(keys) => Some(keys),
        None => keys::in_itself(&repository, &Identity::default()).await.map_err(|source| failed(&name, source))?,
    };
    let identifier = place::identifier(location, uploader, namespace);
    Ok(Some(Opened { repository, keys, name, identifier }))
}

/// The keys of a repository that exists: from the Secret, or from itself where it holds them in clear or for the identity that the
/// location names; then they are kept.
async fn keys_of(
    context: &Context,
    location: &BackupStorageLocation,
    namespace: &str,
    uploader: UploaderType,
    repository: &Repository,
) -> Result<Option<Keys>> {
    let entry = keys::entry(&location.name_any(), uploader, namespace);
    let stored = keys::stored(context, &entry).await?;
    if let Some(keys) = stored.filter(|keys| keys.root().public() == repository.config().root) {
        return Ok(Some(keys));
    }
    let identity = keys::identity_of(context, location).await?;
    let Some(found) = keys::in_itself(repository, &identity).await.map_err(|source| failed(&entry, source))? else {
        return Ok(None);
    };
    keys::replace(context, &entry, &found).await?;
    Ok(Some(found))
}

/// An error of a repository, as one of the controllers.
pub(crate) fn failed(name: &str, source: RepositoryError) -> Error {
    let name = name.to_owned();
    match source {
        RepositoryError::RootChanged { pinned, found, .. } => {
            Error::RepositoryForeign { name, pinned: pinned.to_string(), found: found.to_string() }
        }
        source => Error::Repository { name, source: Box::new(source) },
    }
}

/// The root key that a location trusts.
pub(crate) fn pinned(location: &BackupStorageLocation) -> Result<Option<PublicKey>> {
    let Some(text) = location.annotations().get(own::ROOT_KEY) else { return Ok(None) };
    let wrong = |_| Error::Location {
        location: location.name_any(),
        reason: format!("annotation {} is not a root key: {text:?}", own::ROOT_KEY),
    };
    text.trim().parse().map(Some).map_err(wrong)
}

/// For whom new repositories of a location are encrypted: recipients with commas or white space between, or a line for each SSH
/// key. None means that they are not.
pub(crate) fn recipients(location: &BackupStorageLocation) -> Result<Vec<Recipient>> {
    let text = location.annotations().get(own::RECIPIENTS).map_or("", String::as_str);
    let wrong = |error: trysail_repository::seal::Error| Error::Location {
        location: location.name_any(),
        reason: format!("annotation {}: {error}", own::RECIPIENTS),
    };
    let each = text.split([',', '\n']).flat_map(|part| {
        let part = part.trim();
        // The key of SSH has spaces within.
        if part.starts_with("ssh-") { vec![part] } else { part.split_whitespace().collect() }
    });
    each.map(|one| Recipient::parse(one).map_err(wrong)).collect()
}

/// Remembers the root key of a location, where none is remembered.
async fn pin(context: &Context, location: &BackupStorageLocation, root: PublicKey) -> Result<()> {
    if location.annotations().contains_key(own::ROOT_KEY) {
        return Ok(());
    }
    let fields = serde_json::json!({ "metadata": { "annotations": { own::ROOT_KEY: root.to_string() } } });
    patch::merge::<BackupStorageLocation>(context, &location.name_any(), &fields).await
}

/// The snapshot that a status or a spec names, where it is one of ours: `<volume>/<session>`.
pub(crate) fn snapshot_id(text: &str) -> Option<SnapshotId> {
    let (volume, session) = text.rsplit_once('/')?;
    Some(SnapshotId { volume: VolumeName::from_escaped(volume)?, session: session.parse().ok()? })
}

/// The volume of a repository that holds a claim, or a volume of a pod without one.
///
/// A name that a store could not keep is shortened, with a hash.
///
/// # Errors
/// Where no volume can have that name.
pub(crate) fn volume_name(claim: Option<&str>, pod: &str, volume: &str) -> Result<VolumeName, NotAVolumeName> {
    let name = match claim.filter(|claim| !claim.is_empty()) {
        Some(claim) => VolumeName::new(claim)?,
        None => match VolumeName::new(&format!("{pod}/{volume}")) {
            Ok(name) if name.escaped().len() <= VOLUME_LENGTH => name,
            _ => VolumeName::new(&format!("{}/{volume}", names::label_value(pod)))?,
        },
    };
    if name.escaped().len() <= VOLUME_LENGTH { Ok(name) } else { Err(NotAVolumeName(name.plain().to_owned())) }
}

/// The pod that mounts a claim for a backup where no other pod does, in the claim's namespace.
pub(crate) fn holder_name(claim: &str) -> String {
    names::label_value(&format!("trysail-holder-{claim}")).replace('.', "-")
}

/// The volume of a repository that a PodVolumeBackup writes.
///
/// # Errors
/// As [`volume_name`].
pub(crate) fn volume_of(transfer: &PodVolumeBackup) -> Result<VolumeName, NotAVolumeName> {
    let spec = &transfer.spec;
    let owner = spec.pod.name.as_deref().unwrap_or_default();
    let claim = if spec.pod.kind.as_deref() == Some(CLAIM) {
        Some(owner)
    } else {
        transfer.annotations().get(names::annotation::PVC_NAME).map(String::as_str)
    };
    volume_name(claim, owner, &spec.volume)
}

#[cfg(test)]
mod tests;
