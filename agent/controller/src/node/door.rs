//! A store that can be closed: every request under way and every later one fails at once. So a transfer ends soon after it is
//! cancelled, even while it waits for a store that does not answer. What is stored waits for its turn.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::watch;
use trysail_repository::store::{Created, Error, ErrorKind, Key, ObjectStore, Page, Result};

use super::bandwidth::Bandwidth;

/// Why a transfer ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Somebody asked for it.
    Cancelled,
    /// The agent is stopped.
    Stopped,
    /// Its object is gone.
    Gone,
}

/// Whether a transfer is to end: nothing while it may go on.
pub(super) type Ending = watch::Receiver<Option<End>>;

/// Waits until a transfer is to end.
pub(super) async fn ended(mut ending: Ending) -> End {
    match ending.wait_for(Option::is_some).await {
        Ok(end) => end.unwrap_or(End::Gone),
        // Nobody is left who waits for the transfer.
        Err(_) => End::Gone,
    }
}

/// The store of one transfer.
#[derive(Debug)]
pub(super) struct Door {
    store: Arc<dyn ObjectStore>,
    ending: Ending,
    bandwidth: Arc<Bandwidth>,
}

impl Door {
    pub(super) fn new(store: Arc<dyn ObjectStore>, ending: Ending, bandwidth: Arc<Bandwidth>) -> Self {
        Self { store, ending, bandwidth }
    }

    fn pass<'a, T: 'a>(&'a self, name: &'a str, call: BoxFuture<'a, Result<T>>) -> BoxFuture<'a, Result<T>> {
        Box::pin(async move {
            tokio::select! {
                biased;
                _ = ended(self.ending.clone()) => Err(Error::new(ErrorKind::Invalid, name, "the transfer was ended")),
                done = call => done,
            }
        })
    }
}

impl ObjectStore for Door {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Bytes>> {
        self.pass(key.as_str(), self.store.get(key))
    }

    fn get_range<'a>(&'a self, key: &'a Key, range: Range<u64>) -> BoxFuture<'a, Result<Bytes>> {
        self.pass(key.as_str(), self.store.get_range(key, range))
    }

    fn create<'a>(&'a self, key: &'a Key, body: Bytes) -> BoxFuture<'a, Result<Created>> {
        let bytes = body.len();
        let create = self.store.create(key, body);
        let turn = Box::pin(async move {
            self.bandwidth.take(bytes).await;
            create.await
        });
        self.pass(key.as_str(), turn)
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Result<Page>> {
        self.pass(prefix, self.store.list(prefix, after))
    }

    fn delete<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<()>> {
        self.pass("a batch of deletes", self.store.delete(keys))
    }
}

#[cfg(test)]
mod tests {
    use trysail_repository::store::memory::Memory;

    use super::*;

    #[tokio::test]
    async fn a_closed_door_lets_nothing_through() {
        let (sender, ending) = watch::channel(None);
        let door = Door::new(Arc::new(Memory::default()), ending, Arc::new(Bandwidth::new(0)));
        let key = Key::parse("a").unwrap();
        door.create(&key, Bytes::from_static(b"x")).await.unwrap();
        sender.send_replace(Some(End::Cancelled));
        let kinds = [
            door.get(&key).await.map(|_| ()).map_err(|error| error.kind),
            door.create(&key, Bytes::new()).await.map(|_| ()).map_err(|error| error.kind),
            door.list("", None).await.map(|_| ()).map_err(|error| error.kind),
        ];
        assert_eq!(kinds, [Err(ErrorKind::Invalid); 3]);
    }
}
