//! Writing what lies of a backup in a bucket. What it is, and in which order, is known to who makes it.

use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use trysail_repository::store::{
    Created, Error as StoreError, ErrorKind, Key, ObjectStore, list_all, retry::Retry, s3::S3,
};

use super::{Place, layout};
use crate::{Error, Result};

/// Files of one backup: a dozen, and some of other programs.
const FILES_MAX: usize = 1000;

/// Stores the files of one backup, and remembers them.
pub(crate) struct Files {
    location: String,
    store: Retry<S3>,
    /// What is stored, in the order in which it was.
    pub(crate) stored: Vec<StoredFile>,
}

/// A file that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredFile {
    /// Its key below the location's prefix.
    pub(crate) key: String,
    pub(crate) bytes: usize,
    pub(crate) sha256: [u8; 32],
}

impl StoredFile {
    /// What a file will be when it is stored.
    pub(crate) fn of(key: &str, body: &[u8]) -> Self {
        Self { key: key.to_owned(), bytes: body.len(), sha256: Sha256::digest(body).into() }
    }
}

impl Files {
    /// In a location; a store that is down for a while is waited for.
    pub(crate) fn new(place: Place) -> Self {
        Self { location: place.location, store: Retry::new(place.store), stored: Vec::new() }
    }

    /// The same for a store that is asked in vain as long as that at most.
    pub(crate) fn with_patience(self, patience: Duration) -> Self {
        Self { store: self.store.with_patience(patience), ..self }
    }

    /// Whether a backup of that name lies here.
    pub(crate) async fn has_record(&self, backup: &str) -> Result<bool> {
        let record = layout::backup_record(backup);
        let page = self.store.list(&record, None).await.map_err(|error| self.error(error))?;
        Ok(page.objects.iter().any(|object| object.key.as_str() == record))
    }

    /// Stores a file, in the place of one that an earlier attempt left.
    pub(crate) async fn put(&mut self, name: &str, body: impl Into<Bytes>) -> Result<()> {
        let body = body.into();
        let file = StoredFile::of(name, &body);
        self.replace(name, body).await.map_err(|error| self.error(error))?;
        self.stored.push(file);
        Ok(())
    }

    async fn replace(&self, name: &str, body: Bytes) -> Result<(), StoreError> {
        let invalid = || StoreError::new(ErrorKind::Invalid, name, "not a key");
        let key = layout::key(name).ok_or_else(invalid)?;
        while self.store.create(&key, body.clone()).await? == Created::AlreadyThere {
            self.store.delete(std::slice::from_ref(&key)).await?;
        }
        Ok(())
    }

    /// Removes what lies of a backup, unless its record does: then it is somebody's backup.
    pub(crate) async fn discard(&self, backup: &str) -> Result<()> {
        let directory = layout::backup_directory(backup);
        let record = layout::backup_record(backup);
        let found = list_all(&self.store, &directory, FILES_MAX).await.map_err(|error| self.error(error))?;
        let keys: Vec<Key> = found.into_iter().map(|file| file.key).collect();
        if keys.is_empty() || keys.iter().any(|key| key.as_str() == record) {
            return Ok(());
        }
        self.store.delete(&keys).await.map_err(|error| self.error(error))
    }

    fn error(&self, source: StoreError) -> Error {
        Error::Bucket { location: self.location.clone(), source }
    }
}
