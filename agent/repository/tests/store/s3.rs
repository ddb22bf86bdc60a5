//! What the S3 store makes of wrong settings and of answers that a well-behaved server does not give.

use bytes::Bytes;
use jiff::SignedDuration;
use trysail_repository::store::{
    Created, Error, ErrorKind, ObjectStore, counted::RequestCounts, credentials::Credentials, s3::S3,
};

use crate::{
    Outcome, key,
    server::{Server, response},
};

const DATE: &str = "Date: Fri, 09 Sep 2022 12:00:00 GMT\r\n";

fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_denied_and_not_repeated_in_the_error() -> Outcome {
    let server = Server::start().await?;
    for credentials in [Credentials::new("writer", "hunter2"), Credentials::new("nobody", "hunter2")] {
        let mut settings = server.settings("");
        settings.credentials = credentials;
        let error = S3::connect(&settings)?.get(&key("a")).await.expect_err("the server knows another identity");
        assert_eq!((error.kind, error.to_string().contains("hunter2")), (ErrorKind::Denied, false), "{error}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_told_from_an_object_that_is_not_there() -> Outcome {
    let server = Server::start().await?;
    let mut settings = server.settings("");
    assert_eq!(kind(S3::connect(&settings)?.get(&key("a")).await), Some(ErrorKind::Missing));
    settings.bucket = "other".to_owned();
    assert_eq!(kind(S3::connect(&settings)?.list("", None).await), Some(ErrorKind::NoBucket));
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_transient() -> Outcome {
    let server = Server::scripted(Vec::new()).await?;
    let settings = server.settings("");
    drop(server);
    tokio::task::yield_now().await;
    let error = S3::connect(&settings)?.get(&key("a")).await.expect_err("nobody listens");
    assert_eq!((error.kind, error.key.as_str()), (ErrorKind::Transient, "a"));
    assert!(error.detail.contains("refused"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_names_in_the_bucket_are_in_no_listing() -> Outcome {
    let server = Server::start().await?;
    let store = S3::connect(&server.settings("ours"))?;
    let beside = S3::connect(&server.settings(""))?;
    store.create(&key("a"), Bytes::new()).await?;
    beside.create(&key("theirs/b"), Bytes::new()).await?;
    let keys: Vec<String> = store.list("", None).await?.objects.iter().map(|object| object.key.to_string()).collect();
    assert_eq!(keys, ["a"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_is_one_request() -> Outcome {
    let server = Server::start().await?;
    let store = S3::connect(&server.settings(""))?;
    store.create(&key("a"), Bytes::from_static(b"12")).await?;
    store.create(&key("a"), Bytes::from_static(b"12")).await?;
    store.get(&key("a")).await?;
    store.get_range(&key("a"), 0..1).await?;
    store.list("", None).await?;
    store.delete(&[key("a"), key("b")]).await?;
    assert_eq!(store.requests(), RequestCounts { get: 2, put: 2, list: 1, delete: 1, head: 0 });
    Ok(())
}

#[tokio::test]
async fn a_store_without_conditions_is_asked_first_and_then_written() -> Outcome {
    let refusal = "<Error><Code>NotImplemented</Code><Message>No.</Message></Error>";
    let server = Server::scripted(vec![
        response("501 Not Implemented", DATE, refusal),
        "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 9\r\n\r\n".to_owned(),
        response("200 OK", DATE, ""),
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\n".to_owned(),
    ])
    .await?;
    let store = S3::connect(&server.settings(""))?;
    let at = "2022-09-09T12:00:00Z".parse()?;
    assert_eq!(store.create(&key("a"), Bytes::new()).await?, Created::New { at });
    assert_eq!(store.create(&key("a"), Bytes::new()).await?, Created::AlreadyThere);
    assert_eq!(store.requests(), RequestCounts { put: 2, head: 2, ..RequestCounts::default() });
    Ok(())
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_with_the_difference() -> Outcome {
    let body = "<Error><Code>RequestTimeTooSkewed</Code><Message>Too far.</Message></Error>";
    let server = Server::scripted(vec![response("403 Forbidden", DATE, body)]).await?;
    let store = S3::connect(&server.settings(""))?;
    assert_eq!(store.clock_difference(), None);
    let error = store.get(&key("a")).await.expect_err("the script refuses");
    let seconds = store.clock_difference().map(|difference| difference.as_secs()).unwrap_or_default();
    let detail = format!("HTTP 403: RequestTimeTooSkewed: Too far.; our clock is {seconds} s ahead of the store's");
    assert_eq!(error, Error::new(ErrorKind::ClockSkew, "a", detail));
    assert!(seconds > SignedDuration::from_hours(24).as_secs());
    Ok(())
}

#[tokio::test]
async fn a_redirect_is_a_wrong_region_and_is_not_followed() -> Outcome {
    let server =
        Server::scripted(vec![response("307 Temporary Redirect", "Location: http://127.0.0.1:1/\r\n", "")]).await?;
    let error = S3::connect(&server.settings(""))?.get(&key("a")).await.expect_err("the script redirects");
    assert_eq!(error, Error::new(ErrorKind::WrongRegion, "a", "HTTP 307"));
    Ok(())
}

#[tokio::test]
async fn a_body_that_ends_early_is_never_taken_for_the_object() -> Outcome {
    let short = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\n12345".to_owned();
    let unknown = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n12345".to_owned();
    let other = response("206 Partial Content", "Content-Range: bytes 0-1/100\r\n", "12");
    let server = Server::scripted(vec![short, unknown, other]).await?;
    let store = S3::connect(&server.settings(""))?;
    assert_eq!(kind(store.get(&key("a")).await), Some(ErrorKind::Transient));
    let detail = "no length announced, 5 bytes received";
    assert_eq!(store.get(&key("a")).await, Err(Error::new(ErrorKind::Corrupt, "a", detail)));
    let detail = "2 bytes announced, 2 bytes received";
    assert_eq!(store.get_range(&key("a"), 0..5).await, Err(Error::new(ErrorKind::Corrupt, "a", detail)));
    Ok(())
}

#[tokio::test]
async fn a_full_store_and_a_conflict_are_told_apart() -> Outcome {
    let full = "<Error><Code>XMinioStorageFull</Code><Message>Full.</Message></Error>";
    let conflict = "<Error><Code>ConditionalRequestConflict</Code><Message>Two.</Message></Error>";
    let server = Server::scripted(vec![
        response("507 Insufficient Storage", DATE, full),
        response("409 Conflict", DATE, conflict),
        response("412 Precondition Failed", DATE, ""),
    ])
    .await?;
    let store = S3::connect(&server.settings(""))?;
    assert_eq!(kind(store.create(&key("a"), Bytes::new()).await), Some(ErrorKind::Full));
    assert_eq!(kind(store.create(&key("a"), Bytes::new()).await), Some(ErrorKind::Transient));
    assert_eq!(store.create(&key("a"), Bytes::new()).await, Ok(Created::AlreadyThere));
    Ok(())
}
