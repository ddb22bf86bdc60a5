//! A store in a map, with a clock that the caller moves: for tests and models. Nothing survives it.

use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use super::{Created, Error, ErrorKind, Key, Listed, ObjectStore, PAGE_KEYS_MAX, Page, Result, limits};

/// The second at which a new store's clock stands: 2026-01-01T00:00:00Z. Any fixed time serves; it differs from zero so
/// that a time which nobody set shows.
const START_SECOND: i64 = 1_767_225_600;

/// Objects in memory. Its clock stands still until [`Memory::set_now`] or [`Memory::advance`] moves it.
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: Timestamp,
    objects: BTreeMap<String, Object>,
}

#[derive(Debug, Clone)]
struct Object {
    body: Bytes,
    modified: Timestamp,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty store; its clock stands at 2026-01-01T00:00:00Z.
    pub fn new() -> Self {
        let now = Timestamp::from_second(START_SECOND).unwrap_or(Timestamp::UNIX_EPOCH);
        Self { state: Mutex::new(State { now, objects: BTreeMap::new() }) }
    }

    /// The store's time.
    pub fn now(&self) -> Timestamp {
        self.state().now
    }

    /// Sets the store's time, also backwards.
    pub fn set_now(&self, now: Timestamp) {
        self.state().now = now;
    }

    /// Moves the store's time; it stops at the ends of what a [`Timestamp`] holds.
    pub fn advance(&self, by: SignedDuration) {
        let mut state = self.state();
        state.now = state.now.saturating_add(by).unwrap_or(state.now);
    }

    /// Damages a stored object behind the back of its users: `change` gets its bytes. Whether there was such an object.
    pub fn damage(&self, key: &Key, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut state = self.state();
        let Some(object) = state.objects.get_mut(key.as_str()) else { return false };
        let mut bytes = object.body.to_vec();
        change(&mut bytes);
        object.body = bytes.into();
        true
    }

    /// The map stays whole when a thread dies while it holds the lock: each change is a single insert or remove.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn body(&self, key: &Key) -> Result<Bytes> {
        let state = self.state();
        let object = state.objects.get(key.as_str());
        object.map(|object| object.body.clone()).ok_or_else(|| Error::new(ErrorKind::Missing, key, "not in memory"))
    }

    fn part(&self, key: &Key, range: &Range<u64>) -> Result<Bytes> {
        limits::check_range(key, range)?;
        let body = self.body(key)?;
        let size = body.len() as u64;
        match (usize::try_from(range.start), usize::try_from(range.end)) {
            (Ok(start), Ok(end)) if end <= body.len() => Ok(body.slice(start..end)),
            _ => Err(limits::beyond_end(key, range, size)),
        }
    }

    fn insert(&self, key: &Key, body: Bytes) -> Result<Created> {
        limits::check_body(key, &body)?;
        let mut state = self.state();
        let at = state.now;
        if state.objects.contains_key(key.as_str()) {
            return Ok(Created::AlreadyThere);
        }
        state.objects.insert(key.to_string(), Object { body, modified: at });
        Ok(Created::New { at })
    }

    fn page(&self, prefix: &str, after: Option<&Key>) -> Page {
        let state = self.state();
        let start = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        let mut objects = Vec::new();
        for (text, object) in state.objects.range::<str, _>((start, Bound::Unbounded)) {
            if !text.starts_with(prefix) {
                break;
            }
            if objects.len() == PAGE_KEYS_MAX {
                return Page { objects, more: true };
            }
            if let Some(key) = Key::parse(text) {
                objects.push(Listed { key, size: object.body.len() as u64, modified: object.modified });
            }
        }
        Page { objects, more: false }
    }

    fn remove(&self, keys: &[Key]) -> Result<()> {
        limits::check_batch(keys)?;
        let mut state = self.state();
        for key in keys {
            state.objects.remove(key.as_str());
        }
        Ok(())
    }
}

impl ObjectStore for Memory {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(async move { self.body(key) })
    }

    fn get_range<'a>(&'a self, key: &'a Key, range: Range<u64>) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(async move { self.part(key, &range) })
    }

    fn create<'a>(&'a self, key: &'a Key, body: Bytes) -> BoxFuture<'a, Result<Created>> {
        Box::pin(async move { self.insert(key, body) })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Result<Page>> {
        Box::pin(async move { Ok(self.page(prefix, after)) })
    }

    fn delete<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.remove(keys) })
    }
}
