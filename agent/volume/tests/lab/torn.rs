//! A store whose crash finds several calls in flight, of which any may have taken effect: a network does not say which.

use std::{
    collections::BTreeSet,
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use trysail_repository::{
    layout,
    store::{Created, Error, ErrorKind, Key, ObjectStore, Page, Result, memory::Memory},
    table::PackKind,
};

use super::Behind;

const DATA_PACKS: &str = layout::packs_prefix(PackKind::Data);
const META_PACKS: &str = layout::packs_prefix(PackKind::Meta);

#[derive(Debug, Default)]
struct Flight {
    calls: u64,
    /// The call that is the crash, and which of those in flight take effect then, a bit each.
    crash: Option<(u64, u64)>,
    crashed: bool,
    pending: Vec<(u64, Effect)>,
    /// Sessions that began to store a meta pack.
    described: BTreeSet<String>,
    most: usize,
}

#[derive(Debug, Clone)]
enum Effect {
    Create(Key, Bytes),
    Delete(Vec<Key>),
}

/// A memory that is cut off in the middle of calls.
#[derive(Debug, Default)]
pub(crate) struct Torn {
    inner: Memory,
    flight: Mutex<Flight>,
}

impl Behind for Torn {
    fn memory(&self) -> &Memory {
        &self.inner
    }
}

fn cut_off(key: &str) -> Error {
    Error::new(ErrorKind::Invalid, key, "cut off")
}

impl Torn {
    fn flight(&self) -> MutexGuard<'_, Flight> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `calls`-th call from now is the crash; of the writes in flight then, those take effect whose bit is set.
    pub(crate) fn crash_after(&self, calls: u64, taking_effect: u64) {
        let mut flight = self.flight();
        flight.crash = Some((flight.calls + calls, taking_effect));
    }

    /// Works again.
    pub(crate) fn heal(&self) {
        let mut flight = self.flight();
        (flight.crash, flight.crashed) = (None, false);
        flight.pending.clear();
    }

    /// The most writes that were in flight at a crash.
    pub(crate) fn most(&self) -> usize {
        self.flight().most
    }

    /// Whether the session of a data pack has yet to store the meta pack that it stores with it.
    fn awaits_meta_pack(&self, key: &Key) -> bool {
        let flight = self.flight();
        let session = key.as_str().strip_prefix(DATA_PACKS).and_then(|rest| rest.split('/').next());
        !flight.crashed && session.is_some_and(|session| !flight.described.contains(session))
    }

    /// Begins a call; at the crash, decides what becomes of the writes in flight.
    async fn begin(&self, key: &str, effect: Option<Effect>) -> Result<u64> {
        let (number, survivors) = {
            let mut flight = self.flight();
            let number = flight.calls;
            flight.calls += 1;
            flight
                .described
                .extend(key.strip_prefix(META_PACKS).and_then(|rest| rest.split('/').next()).map(str::to_owned));
            flight.pending.extend(effect.map(|effect| (number, effect)));
            let mut survivors = Vec::new();
            if let Some((_, bits)) = flight.crash.filter(|(at, _)| !flight.crashed && number >= *at) {
                flight.crashed = true;
                flight.most = flight.most.max(flight.pending.len());
                let pending = std::mem::take(&mut flight.pending);
                let kept = pending.into_iter().enumerate().filter(|(n, _)| bits >> (n % 64) & 1 == 1);
                survivors = kept.map(|(_, (_, effect))| effect).collect();
            }
            (number, survivors)
        };
        for effect in survivors {
            match effect {
                Effect::Create(key, body) => drop(self.inner.create(&key, body).await?),
                Effect::Delete(keys) => self.inner.delete(&keys).await?,
            }
        }
        if self.flight().crashed { Err(cut_off(key)) } else { Ok(number) }
    }

    /// Ends a write: takes it from those in flight, unless the crash came before.
    fn end(&self, number: u64, key: &str) -> Result<()> {
        let mut flight = self.flight();
        flight.pending.retain(|(n, _)| *n != number);
        if flight.crashed { Err(cut_off(key)) } else { Ok(()) }
    }
}

impl ObjectStore for Torn {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(async move {
            self.begin(key.as_str(), None).await?;
            self.inner.get(key).await
        })
    }

    fn get_range<'a>(&'a self, key: &'a Key, range: Range<u64>) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(async move {
            self.begin(key.as_str(), None).await?;
            self.inner.get_range(key, range).await
        })
    }

    fn create<'a>(&'a self, key: &'a Key, body: Bytes) -> BoxFuture<'a, Result<Created>> {
        Box::pin(async move {
            let number = self.begin(key.as_str(), Some(Effect::Create(key.clone(), body.clone()))).await?;
            // The sessions of these tests store one of each, and do not wait for the first before the second.
            while self.awaits_meta_pack(key) {
                tokio::task::yield_now().await;
            }
            self.end(number, key.as_str())?;
            self.inner.create(key, body).await
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Result<Page>> {
        Box::pin(async move {
            self.begin(prefix, None).await?;
            self.inner.list(prefix, after).await
        })
    }

    fn delete<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let first = keys.first().map_or("", Key::as_str);
            let number = self.begin(first, Some(Effect::Delete(keys.to_vec()))).await?;
            self.end(number, first)?;
            self.inner.delete(keys).await
        })
    }
}
