//! What a directory store adds: crash safety, modes, races with deletes, and the meaning of its errors.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use trysail_repository::store::{Created, ErrorKind, ObjectStore, directory::Directory};

use crate::{Outcome, key};

/// Rounds of the race between creates and deletes: enough that a directory vanishes under a writer many times.
const RACE_ROUNDS: usize = 200;

#[tokio::test]
async fn what_a_killed_writer_left_is_invisible_and_in_nobodys_way() -> Outcome {
    let scratch = tempfile::tempdir()?;
    let store = Directory::open(scratch.path())?;
    fs::create_dir(scratch.path().join("a"))?;
    let (fresh, stale) = (scratch.path().join("a/.tmp+0001"), scratch.path().join("a/.tmp+0002"));
    fs::write(&fresh, "half an obj")?;
    fs::File::create(&stale)?.set_modified(SystemTime::now() - Duration::from_hours(25))?;
    assert_eq!(store.list("", None).await?.objects, []);
    assert_eq!((fresh.exists(), stale.exists()), (true, false), "only what is older than a day is removed");
    assert!(matches!(store.create(&key("a/b"), Bytes::from_static(b"object")).await?, Created::New { .. }));
    assert_eq!(store.get(&key("a/b")).await?, "object");
    assert_eq!(store.list("", None).await?.objects.len(), 1);
    store.delete(&[key("a/b")]).await?;
    assert!(fresh.exists());
    Ok(())
}

#[tokio::test]
async fn a_create_leaves_only_the_object_readable_by_its_owner() -> Outcome {
    let scratch = tempfile::tempdir()?;
    let base = scratch.path().join("base");
    let store = Directory::create(&base)?;
    store.create(&key("a/b"), Bytes::from_static(b"1")).await?;
    store.create(&key("a/b"), Bytes::from_static(b"2")).await?;
    let names: Vec<_> =
        fs::read_dir(base.join("a"))?.map(|entry| Ok(entry?.file_name())).collect::<Result<_, std::io::Error>>()?;
    assert_eq!(names, ["b"]);
    let mode = |path: &str| fs::metadata(base.join(path)).map(|metadata| metadata.permissions().mode() & 0o777);
    assert_eq!((mode("")?, mode("a")?, mode("a/b")?), (0o700, 0o700, 0o600));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_beside_a_create_never_loses_the_new_object() -> Outcome {
    let scratch = tempfile::tempdir()?;
    let store = Arc::new(Directory::open(scratch.path())?);
    for _ in 0..RACE_ROUNDS {
        store.create(&key("d/e/old"), Bytes::new()).await?;
        let other = Arc::clone(&store);
        let delete = tokio::spawn(async move { other.delete(&[key("d/e/old")]).await });
        store.create(&key("d/e/new"), Bytes::from_static(b"new")).await?;
        delete.await??;
        assert_eq!(store.get(&key("d/e/new")).await?, "new");
        store.delete(&[key("d/e/new")]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_of_one_key_exactly_one_wins() -> Outcome {
    let scratch = tempfile::tempdir()?;
    let store = Arc::new(Directory::open(scratch.path())?);
    let write = |n: usize| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.create(&key("a/b"), Bytes::from(n.to_string())).await })
    };
    let writers: Vec<_> = (0..16).map(write).collect();
    let mut winners = Vec::new();
    for (n, writer) in writers.into_iter().enumerate() {
        if matches!(writer.await??, Created::New { .. }) {
            winners.push(Bytes::from(n.to_string()));
        }
    }
    assert_eq!(winners, [store.get(&key("a/b")).await?]);
    Ok(())
}

#[tokio::test]
async fn a_base_that_is_absent_or_removed_is_no_bucket() -> Outcome {
    let scratch = tempfile::tempdir()?;
    let base = scratch.path().join("base");
    assert_eq!(Directory::open(&base).map_err(|error| error.kind).err(), Some(ErrorKind::NoBucket));
    let store = Directory::create(&base)?;
    fs::remove_dir(&base)?;
    let kinds = [
        store.get(&key("a")).await.map(|_| ()).map_err(|error| error.kind),
        store.create(&key("a/b"), Bytes::new()).await.map(|_| ()).map_err(|error| error.kind),
        store.list("", None).await.map(|_| ()).map_err(|error| error.kind),
    ];
    assert_eq!(kinds, [Err(ErrorKind::NoBucket); 3]);
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_a_part_of_another_key_is_refused() -> Outcome {
    let scratch = tempfile::tempdir()?;
    let store = Directory::open(scratch.path())?;
    store.create(&key("a/b"), Bytes::new()).await?;
    for text in ["a", "a/b/c"] {
        let error = store.create(&key(text), Bytes::new()).await.expect_err("a name is a file or a directory");
        assert_eq!((error.kind, error.key.as_str()), (ErrorKind::Invalid, text));
    }
    store.delete(&[key("a"), key("a/b/c")]).await?;
    assert_eq!(store.list("", None).await?.objects.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_part_too_long_for_the_disk_is_invalid() -> Outcome {
    let scratch = tempfile::tempdir()?;
    let store = Directory::open(scratch.path())?;
    let error = store.create(&key(&"x".repeat(300)), Bytes::new()).await.expect_err("names have 255 bytes at most");
    assert_eq!(error.kind, ErrorKind::Invalid);
    Ok(())
}
