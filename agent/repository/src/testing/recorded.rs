//! A store that writes down each call, so that tests can say which requests a piece of work sends.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use futures::future::BoxFuture;

use super::{Op, subject};
use crate::store::{Created, Key, ObjectStore, Page, Result};

/// One finished call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What was called.
    pub op: Op,
    /// The key, the prefix, or the keys of a delete joined by a space.
    pub key: String,
    /// Length of the body that was sent or received; 0 for lists, deletes and failures.
    pub bytes: u64,
}

/// Passes every call on and logs it when it ends, failed or not. The log grows without bound: it is for tests.
#[derive(Debug)]
pub struct Recorded<S> {
    inner: S,
    calls: Mutex<Vec<Call>>,
}

impl<S> Recorded<S> {
    /// Wraps a store; the log is empty.
    pub fn new(inner: S) -> Self {
        Self { inner, calls: Mutex::default() }
    }

    /// The calls so far, in the order in which they ended.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The calls so far; the log is empty afterwards.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn log(&self, op: Op, key: impl Into<String>, bytes: usize) {
        let call = Call { op, key: key.into(), bytes: bytes as u64 };
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }
}

impl<S: ObjectStore> ObjectStore for Recorded<S> {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(async move {
            let result = self.inner.get(key).await;
            self.log(Op::Get, key.as_str(), result.as_ref().map_or(0, Bytes::len));
            result
        })
    }

    fn get_range<'a>(&'a self, key: &'a Key, range: Range<u64>) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(async move {
            let result = self.inner.get_range(key, range).await;
            self.log(Op::GetRange, key.as_str(), result.as_ref().map_or(0, Bytes::len));
            result
        })
    }

    fn create<'a>(&'a self, key: &'a Key, body: Bytes) -> BoxFuture<'a, Result<Created>> {
        Box::pin(async move {
            let length = body.len();
            let result = self.inner.create(key, body).await;
            self.log(Op::Create, key.as_str(), if result.is_ok() { length } else { 0 });
            result
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Result<Page>> {
        Box::pin(async move {
            let result = self.inner.list(prefix, after).await;
            self.log(Op::List, prefix, 0);
            result
        })
    }

    fn delete<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let result = self.inner.delete(keys).await;
            self.log(Op::Delete, subject(keys), 0);
            result
        })
    }
}
