//! Storing objects from a plain thread while it goes on working: a bounded number at once, and the first failure ends it all.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::{runtime::Handle, sync::Semaphore};

use crate::{
    error::{Error, Result},
    store::{Created, Key, ObjectStore},
};

/// Packs in flight: with one being filled they are 48 MiB, and S3 copies the bodies in flight once.
pub(crate) const UPLOADS_MAX: u32 = 2;

/// Objects on their way to the store.
#[derive(Debug, Clone)]
pub(crate) struct Uploads {
    runtime: Handle,
    store: Arc<dyn ObjectStore>,
    slots: Arc<Semaphore>,
    failed: Arc<Mutex<Option<Error>>>,
}

impl Uploads {
    /// Uploads to a store by the tasks of that runtime.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, runtime: Handle) -> Self {
        Self { runtime, store, slots: Arc::new(Semaphore::new(UPLOADS_MAX as usize)), failed: Arc::default() }
    }

    /// Begins to store an object under a new key; waits while too many are in flight. Must not be called on a runtime's thread.
    pub(crate) fn begin(&self, key: Key, body: Bytes) -> Result<()> {
        let slot =
            self.runtime.block_on(self.slots.clone().acquire_owned()).map_err(|_| Error::Bug("uploads were closed"))?;
        self.failure()?;
        let (store, failed) = (self.store.clone(), self.failed.clone());
        self.runtime.spawn(async move {
            if let Err(error) = create(&*store, &key, body).await {
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
            drop(slot);
        });
        Ok(())
    }

    /// Waits until everything begun is stored.
    pub(crate) fn drain(&self) -> Result<()> {
        let all = self.runtime.block_on(self.slots.acquire_many(UPLOADS_MAX));
        drop(all.map_err(|_| Error::Bug("uploads were closed"))?);
        self.failure()
    }

    /// Stores an object now.
    pub(crate) fn store(&self, key: &Key, body: Bytes) -> Result<Timestamp> {
        self.runtime.block_on(create(&*self.store, key, body))
    }

    /// Waits for something else of the store. Must not be called on a runtime's thread.
    pub(crate) fn run<T>(&self, task: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(task)
    }

    fn failure(&self) -> Result<()> {
        match &*self.failed.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

/// Stores an object under a name that this session alone uses.
pub(crate) async fn create(store: &dyn ObjectStore, key: &Key, body: Bytes) -> Result<Timestamp> {
    match store.create(key, body).await? {
        Created::New { at } => Ok(at),
        Created::AlreadyThere => Err(Error::AlreadyThere(key.clone())),
    }
}
