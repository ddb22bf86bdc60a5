//! A repository as a place: making one, opening one, its keys, and finding snapshots in it.
//!
//! Writing a snapshot is in `write`, reading one in `read`, care in `check` and `prune`.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    commit::{Commit, CommitKind},
    config::RepoConfig,
    error::{Error, Result},
    frame::sha256,
    keys::Keys,
    layout::{self, Beside, SnapshotId, VolumeName},
    seal::{self, Identity, Recipient},
    session::SessionId,
    signature::PublicKey,
    store::{self, Created, ErrorKind, Key, ObjectStore, list_all},
};

/// Most objects beside snapshots that are listed at once: some 30,000 snapshots of a volume.
const SNAPSHOT_OBJECTS_MAX: usize = 100_000;
/// Most states of `repo.json`.
const REPO_STATES_MAX: usize = 1000;
/// Tries to find a free number for the keys object while others make the same repository.
const KEYS_TRIES_MAX: u32 = 100;

/// Objects by which repositories of other programs are known.
const FOREIGN: [(&str, &str); 2] = [("config", "restic, rustic or borg"), ("kopia.repository.f", "kopia")];

/// An open repository.
#[derive(Debug, Clone)]
pub struct Repository {
    store: Arc<dyn ObjectStore>,
    config: Arc<RepoConfig>,
}

/// A snapshot as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// Its name.
    pub id: SnapshotId,
    /// The store's time of its commit.
    pub committed: Timestamp,
}

impl Repository {
    /// Makes a repository: its text and script, then its keys, and last `repo.json`, which makes it exist.
    ///
    /// # Errors
    /// [`Error::AlreadyThere`] where a `repo.json` exists, before or by a race.
    pub async fn init(
        store: Arc<dyn ObjectStore>,
        recipients: &[Recipient],
        keys: &Keys,
        now: Timestamp,
    ) -> Result<Self> {
        if !store.list(layout::REPO_JSON, None).await?.objects.is_empty() {
            return Err(Error::AlreadyThere(layout::repo_json(0)));
        }
        for (key, text) in
            [(layout::format_text(), crate::FORMAT_TEXT), (layout::rescue_script(), crate::RESCUE_SCRIPT)]
        {
            store.create(&key, Bytes::from_static(text.as_bytes())).await?;
        }
        let id = SessionId::new(now).map_err(|e| Error::Random(e.to_string()))?.to_string();
        let texts = recipients.iter().map(|r| r.text().to_owned()).collect();
        let mut config = RepoConfig::new(id, now, texts, keys.root().public(), keys.signer().public());
        config.keys = store_keys(&*store, recipients, keys).await?;
        let key = layout::repo_json(0);
        match store.create(&key, Bytes::from(config.sign(&keys.root()))).await? {
            Created::New { .. } => Ok(Self { store, config: Arc::new(config) }),
            Created::AlreadyThere => Err(Error::AlreadyThere(key)),
        }
    }

    /// Opens the repository of a store. `pinned` is the root key that was trusted before; without it the key found is taken, and it is for the
    /// caller to pin it.
    ///
    /// # Errors
    /// [`Error::NoRepository`], [`Error::Config`] where it is another program's or a newer one's, [`Error::RootChanged`].
    pub async fn open(store: Arc<dyn ObjectStore>, pinned: Option<PublicKey>) -> Result<Self> {
        let states = list_all(&*store, layout::REPO_JSON, REPO_STATES_MAX).await?;
        let Some(newest) = states.iter().filter_map(|o| layout::parse_repo_json(&o.key)).max() else {
            return Err(no_repository(&*store).await?);
        };
        let key = layout::repo_json(newest);
        let object = store.get(&key).await?;
        let config = RepoConfig::parse(&object).map_err(|source| Error::Config { key: key.clone(), source })?;
        match pinned {
            Some(pinned) if pinned != config.root => Err(Error::RootChanged { key, pinned, found: config.root }),
            _ => Ok(Self { store, config: Arc::new(config) }),
        }
    }

    /// The same repository through another store: one with another patience, say.
    #[must_use]
    pub fn with_store(self, store: Arc<dyn ObjectStore>) -> Self {
        Self { store, ..self }
    }

    /// Its parameters.
    pub fn config(&self) -> &RepoConfig {
        &self.config
    }

    /// Its store.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Its recipients; empty where nothing is encrypted.
    pub fn recipients(&self) -> Result<Vec<Recipient>> {
        let parse =
            |text: &String| Recipient::parse(text).map_err(|source| Error::Seal { key: layout::repo_json(0), source });
        self.config.recipients.iter().map(parse).collect()
    }

    /// Its keys, from the repository itself: with the identity of a recipient, or in clear where there are none.
    pub async fn keys(&self, identity: &Identity) -> Result<Keys> {
        let key = layout::wrapped_keys(self.config.keys);
        let object = self.store.get(&key).await?;
        let json = self.open_object(&key, &object, identity)?;
        let keys = Keys::from_json(&json).map_err(|source| Error::Keys { key: key.clone(), source })?;
        if keys.root().public() == self.config.root {
            Ok(keys)
        } else {
            Err(Error::Damaged { key, what: "it holds another root key than repo.json is signed with".to_owned() })
        }
    }

    /// The content of an object that may be an age file.
    pub fn open_object(&self, key: &Key, object: &[u8], identity: &Identity) -> Result<Vec<u8>> {
        seal::decrypt(object, identity).map_err(|source| self.explain(key, source, identity))
    }

    /// A failed decryption as an error that says who could open the object.
    pub(crate) fn explain(&self, key: &Key, source: seal::Error, identity: &Identity) -> Error {
        match source {
            seal::Error::NoMatch => Error::NoIdentity {
                key: key.clone(),
                given: if identity.is_empty() {
                    "no identity was given (--identity FILE)"
                } else {
                    "the identity given does not open it"
                },
                recipients: self.config.recipients.clone(),
            },
            source => Error::Seal { key: key.clone(), source },
        }
    }

    /// All snapshots, or those of one volume, oldest first; void ones left out.
    pub async fn snapshots(&self, volume: Option<&VolumeName>) -> Result<Vec<SnapshotEntry>> {
        let prefix = volume.map_or_else(|| layout::SNAPSHOTS.to_owned(), layout::snapshots_of);
        let objects = list_all(&*self.store, &prefix, SNAPSHOT_OBJECTS_MAX).await?;
        Ok(snapshots_in(&objects))
    }

    /// The snapshot of that name: `VOLUME/SESSION`, a session or its beginning, `latest`, `VOLUME@latest`.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`], [`Error::Ambiguous`].
    pub async fn find(&self, name: &str) -> Result<SnapshotEntry> {
        let missing = || Error::NoSnapshot(name.to_owned());
        let (volume, session) = match (name.split_once('@'), name.rsplit_once('/')) {
            (Some((volume, "latest")), _) => (Some(VolumeName::new(volume).map_err(|_| missing())?), "latest"),
            (_, Some((volume, session))) => {
                (VolumeName::from_escaped(volume).or(VolumeName::new(volume).ok()), session)
            }
            _ => (None, name),
        };
        let mut found = self.snapshots(volume.as_ref()).await?;
        if session == "latest" {
            let mut volumes: Vec<_> = found.iter().map(|s| s.id.volume.escaped()).collect();
            volumes.dedup();
            if volumes.len() > 1 {
                return Err(Error::SeveralVolumes(volumes.iter().take(10).map(|v| format!("{v}@latest")).collect()));
            }
            // A partial snapshot is only the first part of its volume: whoever wants that names it.
            while let Some(newest) = found.pop() {
                if self.commit(&newest.id).await?.0.kind == CommitKind::Complete {
                    return Ok(newest);
                }
            }
            return Err(missing());
        }
        found.retain(|s| !session.is_empty() && s.id.session.to_string().starts_with(&session.to_uppercase()));
        match found.len() {
            0 => Err(missing()),
            1 => found.pop().ok_or_else(missing),
            _ => {
                let matches = found.iter().take(10).map(|s| s.id.to_string()).collect();
                Err(Error::Ambiguous { name: name.to_owned(), matches })
            }
        }
    }

    /// A snapshot's commit, verified, and the SHA-256 of its object.
    pub async fn commit(&self, id: &SnapshotId) -> Result<(Commit, [u8; 32])> {
        let key = layout::beside(id, Beside::Commit);
        let object = match self.store.get(&key).await {
            Err(store::Error { kind: ErrorKind::Missing, .. }) => return Err(Error::NoSnapshot(id.to_string())),
            other => other?,
        };
        let commit =
            Commit::parse(&object, id, &self.config.signers).map_err(|source| Error::Commit { key, source })?;
        Ok((commit, sha256(&object)))
    }
}

/// Why there is no repository in a store: nothing is there, or another program's.
async fn no_repository(store: &dyn ObjectStore) -> Result<Error> {
    for (name, programs) in FOREIGN {
        let objects = store.list(name, None).await?.objects;
        if objects.iter().any(|o| o.key.as_str() == name) {
            return Ok(Error::Foreign { key: name, programs });
        }
    }
    Ok(Error::NoRepository)
}

/// The snapshots among listed objects, in order of volume and session.
pub(crate) fn snapshots_in(objects: &[store::Listed]) -> Vec<SnapshotEntry> {
    let parsed: Vec<_> = objects.iter().filter_map(|o| Some((layout::parse_beside(&o.key)?, o.modified))).collect();
    let void: Vec<_> = parsed.iter().filter(|((_, what), _)| *what == Beside::Void).map(|((id, _), _)| id).collect();
    let commits = parsed.iter().filter(|((id, what), _)| *what == Beside::Commit && !void.contains(&id));
    commits.map(|((id, _), at)| SnapshotEntry { id: id.clone(), committed: *at }).collect()
}

/// Stores the keys under the first free number. An earlier, unfinished attempt's object is left where it is: nothing refers to it.
async fn store_keys(store: &dyn ObjectStore, recipients: &[Recipient], keys: &Keys) -> Result<u32> {
    for n in 1..=KEYS_TRIES_MAX {
        let key = layout::wrapped_keys(n);
        let wrapped =
            seal::encrypt(&keys.to_json(), recipients).map_err(|source| Error::Seal { key: key.clone(), source })?;
        if let Created::New { .. } = store.create(&key, Bytes::from(wrapped)).await? {
            return Ok(n);
        }
    }
    Err(Error::AlreadyThere(layout::wrapped_keys(KEYS_TRIES_MAX)))
}
