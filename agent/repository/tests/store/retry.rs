//! What is tried again, for how long, and how a write whose answer was lost is settled. Time is tokio's, paused.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;
use trysail_repository::{
    store::{
        Created, Error, ErrorKind, Key, ObjectStore,
        memory::Memory,
        retry::{RETRY_AFTER_MAX, Retry},
    },
    testing::{Fault, Faulty, Op, Stop},
};

use crate::{Outcome, key};

const BODY: Bytes = Bytes::from_static(b"body");
const PATIENCE: Duration = Duration::from_mins(1);

/// A store with a script, and the same store behind retries.
fn stores() -> (Arc<Faulty<Memory>>, Retry<Arc<Faulty<Memory>>>) {
    let faulty = Arc::new(Faulty::new(Memory::new()));
    (Arc::clone(&faulty), Retry::new(faulty).with_patience(PATIENCE))
}

fn name() -> Key {
    key("p/object")
}

#[tokio::test(start_paused = true)]
async fn a_store_that_comes_back_is_not_noticed() -> Outcome {
    let (faulty, store) = stores();
    faulty.on_key(None, "", 5, Fault::Fail(ErrorKind::Transient));
    let at = faulty.inner().now();
    assert_eq!(store.create(&name(), BODY).await?, Created::New { at });
    faulty.on_key(None, "", 5, Fault::Fail(ErrorKind::Transient));
    assert_eq!(store.get(&name()).await?, BODY);
    faulty.on_key(None, "", 5, Fault::LoseAnswer(ErrorKind::Transient));
    store.delete(&[name()]).await?;
    assert_eq!(faulty.calls(), 18);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_is_our_own() -> Outcome {
    let (faulty, store) = stores();
    faulty.on_key(Some(Op::Create), "", 1, Fault::LoseAnswer(ErrorKind::Transient));
    let at = faulty.inner().now();
    assert_eq!(store.create(&name(), BODY).await?, Created::New { at });
    assert_eq!(faulty.calls(), 4, "two creates, a listing, a read");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn another_writers_object_is_not_taken_for_our_own() -> Outcome {
    for theirs in [Bytes::from_static(b"mine"), Bytes::from_static(b"longer")] {
        let (faulty, store) = stores();
        faulty.inner().create(&name(), theirs.clone()).await?;
        faulty.on_key(Some(Op::Create), "", 1, Fault::Fail(ErrorKind::Transient));
        assert_eq!(store.create(&name(), BODY).await?, Created::AlreadyThere);
        assert_eq!(store.get(&name()).await?, theirs);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_taken_from_the_start_costs_one_call() -> Outcome {
    let (faulty, store) = stores();
    faulty.inner().create(&name(), BODY).await?;
    assert_eq!(store.create(&name(), BODY).await?, Created::AlreadyThere);
    assert_eq!(faulty.calls(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_may_not_read_settles_a_lost_answer_by_size() -> Outcome {
    let (faulty, store) = stores();
    let at = faulty.inner().now();
    faulty.on_key(Some(Op::Create), "", 1, Fault::LoseAnswer(ErrorKind::Transient));
    faulty.on_key(Some(Op::Get), "", u32::MAX, Fault::Fail(ErrorKind::Denied));
    assert_eq!(store.create(&name(), BODY).await?, Created::New { at });
    assert_eq!(faulty.calls(), 4, "a denied read is an answer, so it is asked once");
    let (faulty, store) = stores();
    faulty.inner().create(&name(), Bytes::from_static(b"longer")).await?;
    faulty.on_key(Some(Op::Create), "", 1, Fault::Fail(ErrorKind::Transient));
    faulty.on_key(Some(Op::Get), "", u32::MAX, Fault::Fail(ErrorKind::Denied));
    assert_eq!(store.create(&name(), BODY).await?, Created::AlreadyThere);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_neighbour_with_a_longer_key_settles_nothing() -> Outcome {
    let (faulty, store) = stores();
    faulty.inner().create(&key("p/object-2"), BODY).await?;
    let at = faulty.inner().now();
    faulty.on_key(Some(Op::Create), "", 2, Fault::LoseAnswer(ErrorKind::Transient));
    assert_eq!(store.create(&name(), BODY).await?, Created::New { at });
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn patience_ends_with_the_stores_own_words() -> Outcome {
    let (faulty, store) = stores();
    faulty.on_key(None, "", u32::MAX, Fault::Fail(ErrorKind::Transient));
    let start = Instant::now();
    let detail = "scripted fault; gave up after 60 s";
    assert_eq!(store.get(&name()).await, Err(Error::new(ErrorKind::Transient, name(), detail)));
    assert!(start.elapsed() <= PATIENCE);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_ends_ends_with_patience() -> Outcome {
    let (faulty, store) = stores();
    faulty.at_call(0, Fault::Delay(Duration::from_hours(1)));
    let detail = "no answer; gave up after 60 s";
    assert_eq!(store.get(&name()).await, Err(Error::new(ErrorKind::Transient, name(), detail)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn refusals_are_tried_three_times_and_answers_once() -> Outcome {
    for (kind, calls) in [
        (ErrorKind::Denied, 3),
        (ErrorKind::ClockSkew, 3),
        (ErrorKind::Missing, 1),
        (ErrorKind::Full, 1),
        (ErrorKind::WrongRegion, 1),
        (ErrorKind::Untrusted, 1),
        (ErrorKind::Corrupt, 1),
        (ErrorKind::Invalid, 1),
    ] {
        let (faulty, store) = stores();
        faulty.on_key(None, "", u32::MAX, Fault::Fail(kind));
        assert_eq!(store.create(&name(), BODY).await, Err(Error::new(kind, name(), "scripted fault")));
        assert_eq!(faulty.calls(), calls, "{kind:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_stopped_store_stays_stopped_and_the_last_call_took_effect_or_not() -> Outcome {
    for (stop, there) in [(Stop::BeforeEffect, false), (Stop::AfterEffect, true)] {
        let (faulty, store) = stores();
        faulty.stop_after(1, stop);
        store.create(&key("first"), BODY).await?;
        for text in ["second", "third"] {
            let error = Error::new(ErrorKind::Invalid, text, "scripted fault");
            assert_eq!(store.create(&key(text), BODY).await, Err(error));
        }
        faulty.heal();
        assert_eq!(store.get(&key("second")).await.is_ok(), there);
        assert_eq!(store.get(&key("third")).await.map_err(|error| error.kind), Err(ErrorKind::Missing));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn damaged_reads_come_as_the_script_says() -> Outcome {
    let (faulty, store) = stores();
    store.create(&name(), BODY).await?;
    faulty.on_key(Some(Op::Get), "object", 1, Fault::Truncate(2));
    faulty.on_key(Some(Op::Get), "object", 1, Fault::FlipBit(5));
    assert_eq!(store.get(&name()).await?, "bo");
    assert_eq!(store.get(&name()).await?, "bndy");
    assert_eq!(store.get(&name()).await?, BODY);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_store_that_names_a_time_is_left_alone_for_so_long_but_not_for_longer_than_the_maximum() -> Outcome {
    for (asked, waited) in
        [(Duration::from_secs(20), Duration::from_secs(20)), (Duration::from_hours(3), RETRY_AFTER_MAX)]
    {
        let faulty = Arc::new(Faulty::new(Memory::new()));
        faulty.on_key(None, "", 1, Fault::Busy(asked));
        let start = Instant::now();
        let store = Retry::new(Arc::clone(&faulty));
        store.create(&name(), BODY).await?;
        let past = start.elapsed();
        assert!(past >= waited && past < waited + Duration::from_secs(1), "{asked:?}: {past:?} by the paused clock");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_store_that_asks_for_more_than_patience_is_not_waited_for() -> Outcome {
    let (faulty, store) = stores();
    faulty.on_key(None, "", u32::MAX, Fault::Busy(Duration::from_secs(90)));
    let start = Instant::now();
    let detail = "scripted fault; it asks to wait 90 s, which is longer than is left of 60 s";
    let asked = Some(Duration::from_secs(90));
    let expected = Error { retry_after: asked, ..Error::new(ErrorKind::Transient, name(), detail) };
    assert_eq!((store.get(&name()).await, start.elapsed()), (Err(expected), Duration::ZERO));
    Ok(())
}
