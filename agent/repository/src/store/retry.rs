//! Trying again: which failures, how often, how long, and what an ambiguous write did. The only place that waits.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::{Created, Error, ErrorKind, Key, Listed, ObjectStore, Page, Result};

/// How long one call may go on trying: a store that restarts or moves is back within half an hour, and a volume that
/// waits longer holds up the others.
pub const PATIENCE: Duration = Duration::from_mins(30);

/// Upper bound of the first pause; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Upper bound of every pause, so that a store which is back is noticed soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Longest pause that a store can ask for: a proxy in maintenance may name hours, and one that comes back earlier should be noticed.
pub const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);

/// Tries of a call that is denied or off in time: a rotated credential needs a moment to be known everywhere, a wrong
/// one stays wrong.
const REFUSED_TRIES: u32 = 3;

/// Tries again what may work the next time. One call to it takes up to [`PATIENCE`]. A store that names a time (`Retry-After`) is left
/// alone for that long, at most [`RETRY_AFTER_MAX`].
///
/// A `create` whose answer was lost and that then finds the key taken reads back what is there: the same bytes mean that
/// the lost call stored them.
#[derive(Debug)]
pub struct Retry<S> {
    inner: S,
    patience: Duration,
}

impl<S> Retry<S> {
    /// Wraps a store, with [`PATIENCE`].
    pub fn new(inner: S) -> Self {
        Self { inner, patience: PATIENCE }
    }

    /// Sets how long one call may go on trying.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The store inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

/// The tries of one call.
struct Tries {
    end: Instant,
    patience: Duration,
    pauses: u32,
    refused: u32,
}

impl Tries {
    fn new(patience: Duration) -> Self {
        Self { end: Instant::now() + patience, patience, pauses: 0, refused: 0 }
    }

    /// Waits for one attempt, but not beyond the end of patience.
    async fn attempt<T>(&self, key: &str, call: BoxFuture<'_, Result<T>>) -> Result<T> {
        match tokio::time::timeout_at(self.end, call).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(ErrorKind::Transient, key, "no answer")),
        }
    }

    /// Pauses before the next try, or gives the error back where there is none.
    async fn pause(&mut self, error: Error) -> Result<()> {
        let again = match error.kind {
            ErrorKind::Transient => true,
            ErrorKind::Denied | ErrorKind::ClockSkew => {
                self.refused += 1;
                self.refused < REFUSED_TRIES
            }
            _ => false,
        };
        if !again {
            return Err(error);
        }
        let asked = error.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        let pause = asked + jittered(self.pauses);
        if Instant::now() + pause >= self.end {
            let patience = self.patience.as_secs();
            let why = match asked.as_secs() {
                0 => format!("gave up after {patience} s"),
                asked => format!("it asks to wait {asked} s, which is longer than is left of {patience} s"),
            };
            return Err(Error { detail: format!("{}; {why}", error.detail), ..error });
        }
        tracing::warn!(error = %error, pause_ms = pause.as_millis(), "store call is tried again");
        self.pauses = self.pauses.saturating_add(1);
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// A pause between nothing and the doubled bound ("full jitter"): many writers that fail together come back apart.
fn jittered(pauses: u32) -> Duration {
    let bound = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(pauses)).min(LONGEST_PAUSE);
    // Without randomness the pause is the longest one: late is harmless, all at once is not.
    let share = getrandom::u32().unwrap_or(u32::MAX);
    bound.mul_f64(f64::from(share) / f64::from(u32::MAX))
}

impl<S: ObjectStore> Retry<S> {
    /// Repeats a call that has no effect or the same effect twice.
    async fn repeat<'a, T>(&self, key: &str, call: impl Fn() -> BoxFuture<'a, Result<T>> + Send) -> Result<T> {
        let mut tries = Tries::new(self.patience);
        loop {
            match tries.attempt(key, call()).await {
                Err(error) => tries.pause(error).await?,
                done => return done,
            }
        }
    }

    /// Repeats a call within the tries of another; only silence is repeated, a refusal is an answer.
    async fn ask<'a, T>(tries: &mut Tries, key: &str, call: impl Fn() -> BoxFuture<'a, Result<T>> + Send) -> Result<T> {
        loop {
            match tries.attempt(key, call()).await {
                Err(error) if error.kind == ErrorKind::Transient => tries.pause(error).await?,
                done => return done,
            }
        }
    }

    async fn create_once(&self, key: &Key, body: Bytes) -> Result<Created> {
        let mut tries = Tries::new(self.patience);
        let mut answer_lost = false;
        loop {
            match tries.attempt(key.as_str(), self.inner.create(key, body.clone())).await {
                Ok(Created::AlreadyThere) if answer_lost => {
                    if let Some(created) = self.settle(&mut tries, key, &body).await? {
                        return Ok(created);
                    }
                    // Deleted meanwhile: the next create finds the key free, unless it is out of patience.
                    tries.pause(Error::new(ErrorKind::Transient, key, "removed while it was read back")).await?;
                }
                Err(error) => {
                    answer_lost |= error.kind == ErrorKind::Transient;
                    tries.pause(error).await?;
                }
                done => return done,
            }
        }
    }

    /// Finds out whose object is under a key after an answer was lost; `None` where there is none any more.
    async fn settle(&self, tries: &mut Tries, key: &Key, body: &Bytes) -> Result<Option<Created>> {
        let page = Self::ask(tries, key.as_str(), || self.inner.list(key.as_str(), None)).await?;
        // The key itself is the first of all keys that start with it.
        let Some(Listed { size, modified, .. }) = page.objects.into_iter().find(|object| object.key == *key) else {
            return Ok(None);
        };
        let ours = if size == body.len() as u64 {
            match Self::ask(tries, key.as_str(), || self.inner.get(key)).await {
                Ok(there) => there == *body,
                // Who may write but not read goes by the size; names of large objects carry their hash.
                Err(error) if error.kind == ErrorKind::Denied => true,
                Err(error) if error.kind == ErrorKind::Missing => return Ok(None),
                Err(error) => return Err(error),
            }
        } else {
            false
        };
        Ok(Some(if ours { Created::New { at: modified } } else { Created::AlreadyThere }))
    }
}

impl<S: ObjectStore> ObjectStore for Retry<S> {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(self.repeat(key.as_str(), || self.inner.get(key)))
    }

    fn get_range<'a>(&'a self, key: &'a Key, range: Range<u64>) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(self.repeat(key.as_str(), move || self.inner.get_range(key, range.clone())))
    }

    fn create<'a>(&'a self, key: &'a Key, body: Bytes) -> BoxFuture<'a, Result<Created>> {
        Box::pin(self.create_once(key, body))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Result<Page>> {
        Box::pin(self.repeat(prefix, move || self.inner.list(prefix, after)))
    }

    fn delete<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<()>> {
        let first = keys.first().map_or("", Key::as_str);
        Box::pin(self.repeat(first, move || self.inner.delete(keys)))
    }
}
