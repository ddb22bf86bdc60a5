//! Prunes that meet each other, or writers, between any two requests.

use std::{
    ops::Range,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures::future::{self, BoxFuture};
use trysail_repository::{
    layout,
    prune::{self, Error, Report},
    store::{self, Created, Key, ObjectStore, Page, memory::Memory},
};

use crate::repository::{
    assert_whole, hours, keys, pack, put_commit, put_open, put_packs, repository, run, settled, state, wait,
};

/// Waits once before every request, so that a test decides what happens between two requests.
#[derive(Debug)]
pub(crate) struct Stepped<'a>(pub(crate) &'a Memory);

async fn step() {
    let mut waited = false;
    let once = |context: &mut Context<'_>| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        // Requests in flight together are polled again only when they are woken.
        context.waker().wake_by_ref();
        Poll::Pending
    };
    future::poll_fn(once).await;
}

impl ObjectStore for Stepped<'_> {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, store::Result<Bytes>> {
        Box::pin(async move {
            step().await;
            self.0.get(key).await
        })
    }

    fn get_range<'a>(&'a self, key: &'a Key, range: Range<u64>) -> BoxFuture<'a, store::Result<Bytes>> {
        Box::pin(async move {
            step().await;
            self.0.get_range(key, range).await
        })
    }

    fn create<'a>(&'a self, key: &'a Key, body: Bytes) -> BoxFuture<'a, store::Result<Created>> {
        Box::pin(async move {
            step().await;
            self.0.create(key, body).await
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, store::Result<Page>> {
        Box::pin(async move {
            step().await;
            self.0.list(prefix, after).await
        })
    }

    fn delete<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, store::Result<()>> {
        Box::pin(async move {
            step().await;
            self.0.delete(keys).await
        })
    }
}

/// Runs a prune up to a request, lets `meanwhile` happen, and runs it to its end. `None` where it ended before that request.
fn interrupted(store: &Memory, requests: usize, meanwhile: impl FnOnce()) -> Option<prune::Result<Report>> {
    let stepped = Stepped(store);
    let mut slow = pin!(run(&stepped, store.now()));
    for _ in 0..requests {
        if slow.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return None;
        }
    }
    meanwhile();
    Some(wait(slow))
}

#[test]
fn two_prunes_interleaved_at_any_request_lose_nothing() {
    for requests in 0.. {
        let store = repository();
        let second = || assert!(wait(run(&store, store.now())).is_ok(), "the second prune");
        let Some(first) = interrupted(&store, requests, second) else { break };
        first.expect("the first prune");
        assert_whole(&store, &format!("after a second prune at request {requests}"));
        wait(run(&store, store.now())).expect("a last prune");
        assert_eq!(state(&store), state(&settled()), "after a second prune at request {requests}");
    }
}

#[test]
fn a_prune_that_stalls_for_weeks_at_any_request_while_others_prune_and_write_loses_nothing() {
    for requests in 0.. {
        let store = repository();
        let others = || {
            // A new session refers to what is not condemned, and commits in time.
            put_open(&store, 9);
            put_packs(&store, &[pack(9, 0)]);
            put_commit(&store, 9, &[pack(9, 0), pack(3, 0), pack(4, 0), pack(1, 0)]);
            for _ in 0..5 {
                store.advance(hours(100));
                wait(run(&store, store.now())).expect("another prune");
            }
        };
        let Some(slow) = interrupted(&store, requests, others) else { break };
        // One that stalls while it asks for the time finds that its own time is an old one.
        assert!(matches!(slow, Ok(_) | Err(Error::Clocks { .. })), "{slow:?}");
        wait(run(&store, store.now())).expect("a last prune");
        assert_whole(&store, &format!("after weeks at request {requests}"));
        assert!(keys(&store, "v1/p/").contains(&layout::pack(pack(9, 0)).to_string()), "at request {requests}");
    }
}
