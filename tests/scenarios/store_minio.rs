//! Promises of the S3 store on a real MinIO (feature `store`; needs Go, and root for the full disk).
#![cfg(feature = "store")]

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};
use bytes::Bytes;
use jiff::SignedDuration;
use trysail_repository::{
    store::{Created, Error, ErrorKind, Key, ObjectStore, credentials::Credentials, retry::Retry, s3::S3},
    testing::{Fault, Faulty, Op, verify_store},
};
use trysail_tests::minio::{ACCESS_KEY, Minio};

const BUCKET: &str = "bucket";
const BODY: Bytes = Bytes::from_static(b"body");

/// Size of the small disk. MinIO refuses to write long before its last byte.
const SMALL_DISK: &str = "size=64m";

/// More objects of 1 MiB than the small disk holds.
const TOO_MANY_OBJECTS: usize = 64;

/// Writes below `p/` and lists, but reads nothing there and deletes nothing.
const WRITER: &str = r#"{"Version":"2012-10-17","Statement":[
 {"Effect":"Allow","Action":["s3:PutObject"],"Resource":["arn:aws:s3:::bucket/p/*"]},
 {"Effect":"Allow","Action":["s3:ListBucket"],"Resource":["arn:aws:s3:::bucket"]}]}"#;

fn key(text: &str) -> Key {
    Key::parse(text).expect("the keys of tests are keys")
}

fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind)
}

fn start() -> Result<Minio> {
    let minio = Minio::start()?;
    minio.make_bucket(BUCKET)?;
    Ok(minio)
}

#[tokio::test(flavor = "multi_thread")]
async fn minio_keeps_the_promises_of_a_store() -> Result<()> {
    let minio = start()?;
    let store = Retry::new(S3::connect(&minio.settings(BUCKET, "deep/prefix")?)?);
    Ok(verify_store(&store).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_told_apart() -> Result<()> {
    let minio = start()?;
    let right = minio.settings(BUCKET, "")?;
    let with = |change: &dyn Fn(&mut trysail_repository::store::s3::S3Settings)| {
        let mut settings = right.clone();
        change(&mut settings);
        S3::connect(&settings)
    };
    let secret = with(&|settings| settings.credentials = Credentials::new(ACCESS_KEY, "hunter2"))?;
    let identity = with(&|settings| settings.credentials = Credentials::new("nobody", "hunter2"))?;
    let bucket = with(&|settings| "absent".clone_into(&mut settings.bucket))?;
    let region = with(&|settings| "eu-west-7".clone_into(&mut settings.region))?;
    let endpoint = with(&|settings| settings.endpoint = Some("http://127.0.0.1:1".to_owned()))?;
    for (store, expected) in [
        (secret, ErrorKind::Denied),
        (identity, ErrorKind::Denied),
        (bucket, ErrorKind::NoBucket),
        (region, ErrorKind::WrongRegion),
        (endpoint, ErrorKind::Transient),
    ] {
        for error in [
            store.get(&key("a")).await.map(|_| ()),
            store.create(&key("a"), BODY).await.map(|_| ()),
            store.list("", None).await.map(|_| ()),
            store.delete(&[key("a")]).await,
        ] {
            let error = error.expect_err("the settings are wrong");
            assert_eq!(error.kind, expected, "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
    Ok(())
}

/// The request is signed with a time that is off, which to the server is the same as a clock that is off.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_off_by_twenty_minutes_is_told_with_the_difference() -> Result<()> {
    let minio = start()?;
    for (minutes, word) in [(20, "ahead of"), (-20, "behind")] {
        let off = SignedDuration::from_mins(minutes);
        let store = S3::connect(&minio.settings(BUCKET, "")?)?.with_clock_error(off);
        let error = store.create(&key("a"), BODY).await.expect_err("MinIO allows fifteen minutes");
        assert_eq!(error.kind, ErrorKind::ClockSkew, "{error}");
        assert!(error.detail.contains(&format!("s {word} the store's")), "{error}");
        let measured = store.clock_difference().unwrap_or_default();
        assert!((measured.as_secs() - off.as_secs()).abs() <= 60, "{measured}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_may_not_read_settles_a_lost_answer_by_listing() -> Result<()> {
    let minio = start()?;
    let mut settings = minio.settings(BUCKET, "")?;
    settings.credentials = minio.make_user("writer", WRITER)?;
    let faulty = Faulty::new(S3::connect(&settings)?);
    faulty.on_key(Some(Op::Create), "", 1, Fault::LoseAnswer(ErrorKind::Transient));
    let store = Retry::new(faulty);
    assert!(matches!(store.create(&key("p/a"), BODY).await?, Created::New { .. }));
    assert_eq!(store.create(&key("p/a"), BODY).await?, Created::AlreadyThere);
    assert_eq!(kind(store.inner().get(&key("p/a")).await), Some(ErrorKind::Denied));
    assert_eq!(kind(store.inner().delete(&[key("p/a")]).await), Some(ErrorKind::Denied));
    assert_eq!(kind(store.inner().create(&key("other/a"), BODY).await), Some(ErrorKind::Denied));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_of_one_key_exactly_one_wins() -> Result<()> {
    let minio = start()?;
    let store = std::sync::Arc::new(Retry::new(S3::connect(&minio.settings(BUCKET, "")?)?));
    let write = |n: usize| {
        let store = std::sync::Arc::clone(&store);
        tokio::spawn(async move { store.create(&key("a"), Bytes::from(n.to_string())).await })
    };
    let writers: Vec<_> = (0..16).map(write).collect();
    let mut winners = Vec::new();
    for (n, writer) in writers.into_iter().enumerate() {
        if matches!(writer.await??, Created::New { .. }) {
            winners.push(Bytes::from(n.to_string()));
        }
    }
    assert_eq!(winners, [store.get(&key("a")).await?]);
    Ok(())
}

/// A tmpfs of a test; unmounted when dropped.
struct SmallDisk<'a>(&'a Path);

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // What cannot be unmounted goes with the machine; a panic here would hide the test's own failure.
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_full_and_deletes_still_work() -> Result<()> {
    let mount = tempfile::tempdir()?;
    let options = ["-t", "tmpfs", "-o", SMALL_DISK, "tmpfs"];
    let mounted = Command::new("mount").args(options).arg(mount.path()).status()?;
    ensure!(mounted.success(), "this test mounts a small tmpfs, for which it needs root");
    let disk = SmallDisk(mount.path());
    let minio = Minio::start_on(disk.0, tempfile::tempdir()?)?;
    minio.make_bucket(BUCKET)?;
    let store = S3::connect(&minio.settings(BUCKET, "")?)?;
    let body = Bytes::from(vec![7; 1 << 20]);
    let mut stored = Vec::new();
    let error = loop {
        let key = key(&format!("a/{}", stored.len()));
        match store.create(&key, body.clone()).await {
            Ok(_) => stored.push(key),
            Err(error) => break error,
        }
        ensure!(stored.len() < TOO_MANY_OBJECTS, "the disk is not full");
    };
    assert_eq!(error.kind, ErrorKind::Full, "{error}");
    ensure!(!stored.is_empty(), "nothing fits on the disk");
    store.delete(&stored).await?;
    assert_eq!(store.list("", None).await?.objects, []);
    drop(minio);
    Ok(())
}
