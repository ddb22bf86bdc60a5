//! Promises of the stores: one suite for all of them, then what each adds. The real MinIO is tested in `trysail-tests`.

mod directory;
mod retry;
mod s3;
mod server;

use std::{error::Error, sync::Arc};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use trysail_repository::{
    store::{
        Created, Key, ObjectStore,
        counted::{Counted, RequestCounts},
        directory::Directory,
        memory::Memory,
        retry::Retry,
        s3::S3,
    },
    testing::{Call, Op, Recorded, verify_store},
};

type Outcome = Result<(), Box<dyn Error>>;

fn key(text: &str) -> Key {
    Key::parse(text).expect("the keys of tests are keys")
}

#[tokio::test]
async fn memory_keeps_the_promises_of_a_store() -> Outcome {
    Ok(verify_store(&Memory::new()).await?)
}

#[tokio::test]
async fn a_directory_keeps_the_promises_of_a_store() -> Outcome {
    let scratch = tempfile::tempdir()?;
    verify_store(&Directory::create(&scratch.path().join("base"))?).await?;
    assert_eq!(std::fs::read_dir(scratch.path().join("base"))?.count(), 0, "empty directories are removed");
    Ok(())
}

/// s3s-fs checks `If-None-Match` before it writes and not while it does: the suite, which never races two writers on
/// one key, passes; atomicity is MinIO's test.
#[tokio::test(flavor = "multi_thread")]
async fn s3_keeps_the_promises_of_a_store() -> Outcome {
    let server = server::Server::start().await?;
    let store = Retry::new(S3::connect(&server.settings("deep/prefix"))?);
    Ok(verify_store(&store).await?)
}

#[tokio::test]
async fn memory_stamps_objects_with_the_time_that_was_set() -> Outcome {
    let store = Memory::new();
    let start = store.now();
    store.advance(SignedDuration::from_hours(1));
    let at = start + SignedDuration::from_hours(1);
    assert_eq!(store.create(&key("a"), Bytes::new()).await?, Created::New { at });
    let later: Timestamp = "2030-01-01T00:00:00Z".parse()?;
    store.set_now(later);
    assert_eq!(store.create(&key("b"), Bytes::new()).await?, Created::New { at: later });
    let times: Vec<Timestamp> = store.list("", None).await?.objects.iter().map(|object| object.modified).collect();
    assert_eq!(times, [at, later]);
    Ok(())
}

#[tokio::test]
async fn calls_are_counted_and_recorded() -> Outcome {
    let store = Counted::new(Recorded::new(Arc::new(Memory::new())));
    let counts = store.counts();
    store.create(&key("a/b"), Bytes::from_static(b"12345")).await?;
    store.get(&key("a/b")).await?;
    store.get_range(&key("a/b"), 1..3).await?;
    store.list("a/", None).await?;
    store.delete(&[key("a/b"), key("a/c")]).await?;
    assert_eq!(counts.read(), RequestCounts { get: 2, put: 1, list: 1, delete: 1, head: 0 });
    let recorded = Recorded::new(Memory::new());
    recorded.create(&key("a"), Bytes::from_static(b"12345")).await?;
    recorded.delete(&[key("a"), key("b")]).await?;
    let expected = [
        Call { op: Op::Create, key: "a".to_owned(), bytes: 5 },
        Call { op: Op::Delete, key: "a b".to_owned(), bytes: 0 },
    ];
    assert_eq!(recorded.take(), expected);
    assert_eq!(recorded.calls(), []);
    Ok(())
}
