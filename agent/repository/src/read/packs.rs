//! Frames of data packs: what is known of the packs that a snapshot needs, and ranges of them, decrypted.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use crate::{
    commit::{Commit, Sidecar},
    error::{Error, Result},
    frame::sha256,
    layout::{self, Beside},
    pack_set::PackSet,
    pack_table::{PackRow, PackTable},
    repository::Repository,
    seal::{HEADER_GUESS, Identity, Opened, is_age},
    session::SessionId,
    store::{self, ErrorKind, Key},
    table::{PackId, PackKind, PackRef},
};

/// The signed set of packs that a snapshot needs.
pub async fn refs(repository: &Repository, commit: &Commit) -> Result<PackSet> {
    let key = layout::beside(&commit.id(), Beside::Refs);
    let object = sidecar(repository, &key, &commit.refs).await?;
    PackSet::decode(&object).map_err(|source| Error::Malformed { key, source })
}

/// An object that a commit names, compared with its hash.
pub async fn sidecar(repository: &Repository, key: &Key, named: &Sidecar) -> Result<Bytes> {
    let object = repository.store().get(key).await?;
    if sha256(&object) == named.sha256.0 {
        Ok(object)
    } else {
        Err(Error::Damaged { key: key.clone(), what: "its hash is not the one in the commit".to_owned() })
    }
}

/// The table of the packs that a snapshot's own session wrote or adopted; empty where it did neither.
pub async fn own_table(repository: &Repository, commit: &Commit) -> Result<PackTable> {
    let Some(packs) = &commit.packs else { return Ok(PackTable::default()) };
    let key = layout::session_packs(commit.session);
    let object = sidecar(repository, &key, &packs.sidecar()).await?;
    PackTable::decode(&object).map_err(|source| Error::Malformed { key, source })
}

/// What is known of all packs in `refs`: from the snapshot's own table, then from those of the sessions that wrote them.
pub async fn table(repository: &Repository, commit: &Commit, refs: &PackSet) -> Result<PackTable> {
    let mut table = own_table(repository, commit).await?;
    let mut asked: Option<SessionId> = None;
    for (pack, _) in refs.iter() {
        if table.0.contains_key(&pack) || asked == Some(pack.session) {
            continue;
        }
        asked = Some(pack.session);
        let key = layout::session_packs(pack.session);
        match repository.store().get(&key).await {
            Ok(object) => {
                let found = PackTable::decode(&object).map_err(|source| Error::Malformed { key, source })?;
                for (pack, row) in found.0 {
                    table.0.entry(pack).or_insert(row);
                }
            }
            Err(store::Error { kind: ErrorKind::Missing, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    table.0.retain(|pack, _| refs.contains(*pack));
    match refs.iter().find(|(pack, _)| !table.0.contains_key(pack)) {
        None => Ok(table),
        Some((pack, _)) => {
            Err(Error::Damaged { key: layout::pack(pack), what: "no pack table of a session names it".to_owned() })
        }
    }
}

/// Age headers that are kept open: a restore goes through packs in order, several at once.
const HEADERS_HELD_MAX: usize = 64;

/// Fetches ranges of plain packs. May be used from several tasks.
#[derive(Debug, Clone)]
pub struct PackReader {
    repository: Repository,
    identity: Identity,
    table: Arc<PackTable>,
    headers: Arc<Mutex<HashMap<PackId, Opened>>>,
}

impl PackReader {
    /// A reader of the packs in that table.
    pub fn new(repository: Repository, identity: Identity, table: Arc<PackTable>) -> Self {
        Self { repository, identity, table, headers: Arc::default() }
    }

    fn row(&self, pack: PackRef) -> Result<PackRow> {
        let missing = || Error::Damaged { key: layout::pack(pack), what: "the pack table does not name it".to_owned() };
        self.table.0.get(&pack).copied().ok_or_else(missing)
    }

    /// Plain length of a pack in bytes.
    pub fn length(&self, pack: PackId) -> Result<u32> {
        Ok(self.row(pack.of(PackKind::Data))?.plain)
    }

    /// A range of a plain data pack. A range that is all of the pack is compared with the pack's hash.
    pub async fn range(&self, pack: PackId, range: Range<u32>) -> Result<Bytes> {
        let named = pack.of(PackKind::Data);
        let (key, row) = (layout::pack(named), self.row(named)?);
        if range.start >= range.end || range.end > row.plain {
            return Err(Error::Damaged { key, what: format!("it has no bytes {}..{}", range.start, range.end) });
        }
        if range.start == 0 && range.end == row.plain {
            return self.whole(&key, &row).await;
        }
        if self.repository.config().recipients.is_empty() {
            return Ok(self.repository.store().get_range(&key, range.start.into()..range.end.into()).await?);
        }
        let opened = self.open(pack, &key, &row).await?;
        let plain = u64::from(range.start)..u64::from(range.end);
        let stored = opened.stored_range(plain.clone(), row.stored.into());
        let ciphertext = self.repository.store().get_range(&key, stored).await?;
        let opened = opened.decrypt(plain, &ciphertext, row.plain.into());
        opened.map(Bytes::from).map_err(|source| Error::Seal { key, source })
    }

    async fn whole(&self, key: &Key, row: &PackRow) -> Result<Bytes> {
        let object = self.repository.store().get(key).await?;
        if object.len() != row.stored as usize || sha256(&object) != row.sha256 {
            return Err(Error::Damaged {
                key: key.clone(),
                what: "its hash is not the one in the pack table".to_owned(),
            });
        }
        if is_age(&object) {
            return Ok(Bytes::from(self.repository.open_object(key, &object, &self.identity)?));
        }
        Ok(object)
    }

    async fn open(&self, pack: PackId, key: &Key, row: &PackRow) -> Result<Opened> {
        let held = || self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = held().get(&pack) {
            return Ok(opened.clone());
        }
        let mut guess = HEADER_GUESS;
        loop {
            let first = self.repository.store().get_range(key, 0..guess.min(row.stored.into())).await?;
            match Opened::new(&first, &self.identity) {
                Ok(opened) => {
                    let mut headers = held();
                    if headers.len() >= HEADERS_HELD_MAX {
                        headers.clear();
                    }
                    headers.insert(pack, opened.clone());
                    return Ok(opened);
                }
                // A header with very many recipients: ask for more of it.
                Err(crate::seal::Error::Damaged(_)) if guess < (64 << 10) => guess *= 4,
                Err(source) => return Err(self.repository.explain(key, source, &self.identity)),
            }
        }
    }
}
