//! The keys of all repositories: one Secret of our namespace, with an entry for each. Who may read that Secret can write every
//! repository, and read those without recipients; the node agent cannot.
//!
//! An entry is written before its repository exists, and each write names the version of the Secret that it replaces: of two
//! writers none is lost.

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    ResourceExt as _,
    api::{ObjectMeta, PostParams},
};
use trysail_api::{backup_storage_location::BackupStorageLocation, names::label, transfer::UploaderType};
use trysail_repository::{Error as RepositoryError, Repository, keys::Keys, seal::Identity, signature::PublicKey};

use super::{failed, place};
use crate::{
    Error, Result,
    bucket::Place,
    context::Context,
    error::{code, unless},
    restore::identity::identity,
};

/// Name of the Secret.
pub(crate) const SECRET: &str = "trysail-keys";

/// Tries of a write that others' writes overtake.
const TRIES_MAX: usize = 20;

/// Namespaces of a location whose repositories are looked at for the root key of a location that nobody here knows.
const REPOSITORIES_MAX: usize = 100_000;

/// Of these, how many are opened.
const LOOKS_MAX: usize = 16;

/// Name of the entry of a repository. Namespaces and uploaders have no dot, so it can be taken apart from its end.
pub(crate) fn entry(location: &str, uploader: UploaderType, namespace: &str) -> String {
    format!("{location}.{}.{namespace}", uploader.directory())
}

/// The location that an entry's name says.
fn location_of(entry: &str) -> Option<&str> {
    entry.rsplitn(3, '.').nth(2)
}

/// The keys of a repository, if the Secret has them.
pub(crate) async fn stored(context: &Context, entry: &str) -> Result<Option<Keys>> {
    let Some(secret) = context.get::<Secret>(SECRET).await? else { return Ok(None) };
    parse(&secret, entry)
}

/// The keys that a repository itself holds; none where they are encrypted, and not for this identity.
pub(super) async fn in_itself(repository: &Repository, identity: &Identity) -> Result<Option<Keys>, RepositoryError> {
    match repository.keys(identity).await {
        Ok(keys) => Ok(Some(keys)),
        Err(RepositoryError::NoIdentity { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The keys for a repository that does not exist yet: those that were kept for it before, else new ones of the location's root key.
/// They are in the Secret when this returns.
///
/// # Errors
/// [`Error::RepositoryKeyMissing`] where the location has repositories of a root key that is not here.
pub(super) async fn for_new(
    context: &Context,
    place: &Place,
    location: &BackupStorageLocation,
    namespace: &str,
    uploader: UploaderType,
    pinned: Option<PublicKey>,
) -> Result<Keys> {
    let name = location.name_any();
    let wanted = entry(&name, uploader, namespace);
    let mut root = None;
    for _ in 0..TRIES_MAX {
        let secret = context.get::<Secret>(SECRET).await?;
        let here = secret.as_ref().map(|secret| sibling(secret, &name, &wanted, pinned)).transpose()?.flatten();
        let keys = match here {
            Some(Here::Same(keys)) => return Ok(keys),
            Some(Here::Sibling(keys)) => keys.with_new_domain().map_err(random)?,
            None => {
                if root.is_none() {
                    let identity = identity_of(context, location).await?;
                    root = Some(root_of(place, &name, pinned, &identity).await?);
                }
                root.as_ref()
                    .and_then(Option::as_ref)
                    .map_or_else(Keys::generate, Keys::with_new_domain)
                    .map_err(random)?
            }
        };
        if write(context, secret, &wanted, &keys).await? {
            return Ok(keys);
        }
    }
    Err(contended(&wanted))
}

/// Keys of any repository of a location, for their root key; none where the Secret has none that is trusted.
pub(super) async fn of_location(context: &Context, location: &str, pinned: Option<PublicKey>) -> Result<Option<Keys>> {
    let Some(secret) = context.get::<Secret>(SECRET).await? else { return Ok(None) };
    // No repository has an empty name.
    Ok(match sibling(&secret, location, "", pinned)? {
        Some(Here::Same(keys) | Here::Sibling(keys)) => Some(keys),
        None => None,
    })
}

/// Puts the keys of a repository into the Secret, in the place of others.
pub(super) async fn replace(context: &Context, entry: &str, keys: &Keys) -> Result<()> {
    for _ in 0..TRIES_MAX {
        let secret = context.get::<Secret>(SECRET).await?;
        if write(context, secret, entry, keys).await? {
            return Ok(());
        }
    }
    Err(contended(entry))
}

/// What the Secret holds for a repository that is to be made.
#[derive(Debug)]
enum Here {
    /// Keys that were made for it.
    Same(Keys),
    /// Keys of another repository of the location.
    Sibling(Keys),
}

/// Looks for keys of a location whose root key is the pinned one, if one is pinned.
fn sibling(secret: &Secret, location: &str, wanted: &str, pinned: Option<PublicKey>) -> Result<Option<Here>> {
    let is_trusted = |keys: &Keys| pinned.is_none_or(|pinned| pinned == keys.root().public());
    if let Some(keys) = parse(secret, wanted)?.filter(is_trusted) {
        return Ok(Some(Here::Same(keys)));
    }
    for name in secret.data.iter().flatten().map(|(name, _)| name).filter(|name| location_of(name) == Some(location)) {
        if let Some(keys) = parse(secret, name)?.filter(is_trusted) {
            return Ok(Some(Here::Sibling(keys)));
        }
    }
    Ok(None)
}

/// The identity that a location names, for taking over the repositories of an installation that is gone; empty where it names none.
pub(super) async fn identity_of(context: &Context, location: &BackupStorageLocation) -> Result<Identity> {
    let found = identity(location.annotations(), context).await?;
    let wrong = |reason| Error::Location { location: location.name_any(), reason };
    Ok(found.map_err(wrong)?.unwrap_or_default())
}

/// Keys with the root key of a location of which this cluster knows nothing: from one of its repositories that holds them in clear or
/// for the identity. None where the location has no repository and trusts nobody: the first one makes the root key.
async fn root_of(
    place: &Place,
    location: &str,
    pinned: Option<PublicKey>,
    identity: &Identity,
) -> Result<Option<Keys>> {
    let mut found = pinned;
    let mut looks = 0;
    for uploader in [UploaderType::Kopia, UploaderType::Restic] {
        let prefix = format!("{}/", uploader.directory());
        let directories = place.store.directories(&prefix, REPOSITORIES_MAX).await;
        for namespace in directories.map_err(|error| place.error(error))? {
            if looks == LOOKS_MAX {
                break;
            }
            let Ok(store) = place::store(place, uploader, &namespace) else { continue };
            let repository = match Repository::open(store, pinned).await {
                Ok(repository) => repository,
                Err(RepositoryError::Store(error)) => return Err(place.error(error)),
                // Another program's, or another installation's.
                Err(_) => continue,
            };
            looks += 1;
            found = found.or(Some(repository.config().root));
            let name = entry(location, uploader, &namespace);
            if let Some(keys) = in_itself(&repository, identity).await.map_err(|source| failed(&name, source))? {
                return Ok(Some(keys));
            }
        }
    }
    match found {
        Some(root) => Err(Error::RepositoryKeyMissing { name: location.to_owned(), root: root.to_string() }),
        None => Ok(None),
    }
}

fn parse(secret: &Secret, entry: &str) -> Result<Option<Keys>> {
    let Some(ByteString(bytes)) = secret.data.as_ref().and_then(|data| data.get(entry)) else { return Ok(None) };
    let keys = Keys::from_json(bytes);
    keys.map(Some)
        .map_err(|error| Error::Object { what: format!("Secret {SECRET}, {entry}"), reason: error.to_string() })
}

/// Writes the Secret with one more entry; false where another one has written it meanwhile.
async fn write(context: &Context, secret: Option<Secret>, entry: &str, keys: &Keys) -> Result<bool> {
    let api = context.api::<Secret>();
    let parameters = PostParams::default();
    let value = ByteString(keys.to_json().to_vec());
    let written = if let Some(mut secret) = secret {
        secret.data.get_or_insert_default().insert(entry.to_owned(), value);
        api.replace(SECRET, &parameters, &secret).await
    } else {
        let labels = [(label::COMPONENT, "velero"), (label::EXCLUDE_FROM_BACKUP, "true")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(SECRET.to_owned()),
                labels: Some(labels.into()),
                ..ObjectMeta::default()
            },
            data: Some([(entry.to_owned(), value)].into()),
            ..Secret::default()
        };
        api.create(&parameters, &secret).await
    };
    let overtaken = written.as_ref().err().is_some_and(|error| matches!(code(error), Some(404 | 409)));
    unless(&[404, 409], written).map_err(Error::kubernetes(format!("write secret {SECRET}")))?;
    Ok(!overtaken)
}

fn random(error: impl std::fmt::Display) -> Error {
    let source = RepositoryError::Random(error.to_string());
    Error::Repository { name: SECRET.to_owned(), source: Box::new(source) }
}

fn contended(entry: &str) -> Error {
    let reason = format!("{TRIES_MAX} writes were overtaken by others'");
    Error::Object { what: format!("Secret {SECRET}, {entry}"), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(entries: &[(&str, &Keys)]) -> Secret {
        let data = entries.iter().map(|(name, keys)| ((*name).to_owned(), ByteString(keys.to_json().to_vec())));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    fn told(here: Option<Here>) -> Option<(&'static str, PublicKey)> {
        here.map(|here| match here {
            Here::Same(keys) => ("same", keys.signer().public()),
            Here::Sibling(keys) => ("sibling", keys.signer().public()),
        })
    }

    #[test]
    fn the_root_key_of_a_location_is_that_of_its_other_repositories() {
        let (a, b) = (Keys::from_parts([1; 32], [2; 32]), Keys::from_parts([3; 32], [4; 32]));
        let secret = secret(&[("nas.kopia.app1", &a), ("nas.site.kopia.app1", &b)]);
        let look = |location: &str, wanted: &str, pinned| told(sibling(&secret, location, wanted, pinned).unwrap());
        assert_eq!(look("nas", "nas.kopia.app1", None), Some(("same", a.signer().public())));
        assert_eq!(look("nas", "nas.kopia.app2", None), Some(("sibling", a.signer().public())));
        assert_eq!(look("nas.site", "nas.site.restic.x", None), Some(("sibling", b.signer().public())));
        assert_eq!(look("other", "other.kopia.app1", None), None);
    }

    #[test]
    fn keys_of_a_root_key_that_is_not_trusted_do_not_count() {
        let (a, b) = (Keys::from_parts([1; 32], [2; 32]), Keys::from_parts([3; 32], [4; 32]));
        let secret = secret(&[("nas.kopia.app1", &a), ("nas.kopia.app2", &b)]);
        let found = sibling(&secret, "nas", "nas.kopia.app1", Some(b.root().public())).unwrap();
        assert_eq!(told(found), Some(("sibling", b.signer().public())));
    }

    #[test]
    fn an_entry_that_holds_no_keys_is_named() {
        let data = [("nas.kopia.app1".to_owned(), ByteString(b"{}".to_vec()))];
        let secret = Secret { data: Some(data.into()), ..Secret::default() };
        let error = parse(&secret, "nas.kopia.app1").unwrap_err().to_string();
        assert!(error.starts_with("Secret trysail-keys, nas.kopia.app1: "), "{error}");
    }
}
