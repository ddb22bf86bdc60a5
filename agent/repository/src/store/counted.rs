//! Counts of requests by verb, for budgets: `Counts` is the tally, `Counted` a wrapper that keeps it for any store.
//! The S3 store keeps a tally of its own, because one call of it can take several requests.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::future::BoxFuture;

use super::{Created, Key, ObjectStore, Page, Result};

/// What a request does, as a bill names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Reads an object or a range of it.
    Get,
    /// Writes an object.
    Put,
    /// Reads one page of keys.
    List,
    /// Removes up to a page of objects.
    Delete,
    /// Asks whether an object exists.
    Head,
}

/// How many requests were sent, by verb; failed ones count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestCounts {
    /// Reads of objects and of ranges.
    pub get: u64,
    /// Writes.
    pub put: u64,
    /// Pages of listings.
    pub list: u64,
    /// Batches of deletes.
    pub delete: u64,
    /// Questions for existence.
    pub head: u64,
}

impl RequestCounts {
    /// All requests together.
    pub fn total(&self) -> u64 {
        self.get + self.put + self.list + self.delete + self.head
    }
}

/// A running tally, shared between threads.
#[derive(Debug, Default)]
pub struct Counts {
    get: AtomicU64,
    put: AtomicU64,
    list: AtomicU64,
    delete: AtomicU64,
    head: AtomicU64,
}

impl Counts {
    /// Counts one request.
    pub fn add(&self, verb: Verb) {
        let count = match verb {
            Verb::Get => &self.get,
            Verb::Put => &self.put,
            Verb::List => &self.list,
            Verb::Delete => &self.delete,
            Verb::Head => &self.head,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts so far.
    pub fn read(&self) -> RequestCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RequestCounts {
            get: read(&self.get),
            put: read(&self.put),
            list: read(&self.list),
            delete: read(&self.delete),
            head: read(&self.head),
        }
    }
}

/// Counts the calls that reach the store inside it: one call, one request.
#[derive(Debug)]
pub struct Counted<S> {
    inner: S,
    counts: Arc<Counts>,
}

impl<S> Counted<S> {
    /// Wraps a store; all counts are zero.
    pub fn new(inner: S) -> Self {
        Self { inner, counts: Arc::default() }
    }

    /// The counts so far.
    pub fn requests(&self) -> RequestCounts {
        self.counts.read()
    }

    /// The tally itself, readable after the store has moved into another wrapper.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }
}

impl<S: ObjectStore> ObjectStore for Counted<S> {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Bytes>> {
        self.counts.add(Verb::Get);
        self.inner.get(key)
    }

    fn get_range<'a>(&'a self, key: &'a Key, range: Range<u64>) -> BoxFuture<'a, Result<Bytes>> {
        self.counts.add(Verb::Get);
        self.inner.get_range(key, range)
    }

    fn create<'a>(&'a self, key: &'a Key, body: Bytes) -> BoxFuture<'a, Result<Created>> {
        self.counts.add(Verb::Put);
        self.inner.create(key, body)
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Result<Page>> {
        self.counts.add(Verb::List);
        self.inner.list(prefix, after)
    }

    fn delete<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<()>> {
        self.counts.add(Verb::Delete);
        self.inner.delete(keys)
    }
}
