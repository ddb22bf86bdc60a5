//! A store behind an `Arc` is a store, so that wrappers and their tests can hold the same one. Nothing else.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;

use super::{Created, Key, ObjectStore, Page, Result};

impl<S: ObjectStore + ?Sized> ObjectStore for Arc<S> {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Bytes>> {
        (**self).get(key)
    }

    fn get_range<'a>(&'a self, key: &'a Key, range: Range<u64>) -> BoxFuture<'a, Result<Bytes>> {
        (**self).get_range(key, range)
    }

    fn create<'a>(&'a self, key: &'a Key, body: Bytes) -> BoxFuture<'a, Result<Created>> {
        (**self).create(key, body)
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Result<Page>> {
        (**self).list(prefix, after)
    }

    fn delete<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<()>> {
        (**self).delete(keys)
    }
}
