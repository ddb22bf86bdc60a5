//! A store in an S3 bucket. The only file that knows rust-s3, which signs requests; `settings` says where the bucket is,
//! `transport` moves bytes, `answer` says what the answers mean.
//!
//! rust-s3 offers no certificate roots of our own, no answer headers of a refusal and no way to refuse redirects, so a
//! client of ours sends what it has signed. Each call here is one attempt; `retry` repeats. Used are GET, PUT, HEAD,
//! `ListObjectsV2` and `DeleteObjects`: no multipart, tags, ACLs or checksum trailers, which stores differ in.

mod answer;
mod bucket;
mod settings;
mod transport;

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use ::s3::{
    Bucket, Region,
    command::Command,
    creds,
    request::{Request as _, tokio_backend::ReqwestRequest},
    serde_types::{DeleteObjectsRequest, ObjectIdentifier},
};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, header};
use jiff::{SignedDuration, Timestamp};

use self::answer::Answer;
pub use self::{
    bucket::{Lifecycle, LifecycleRule},
    settings::S3Settings,
    transport::Trust,
};
use super::{
    Created, Error, ErrorKind, Key, Listed, OBJECT_BYTES_MAX, ObjectStore, PAGE_KEYS_MAX, Page, Result,
    counted::{Counts, RequestCounts, Verb},
    limits,
};

/// Largest XML answer in bytes: 1000 keys of 1024 characters, each escaped up to sixfold, with their attributes.
const DOCUMENT_BYTES_MAX: u64 = 8 << 20;

/// Pages without a single key of ours that one call to `list` passes over: a million foreign objects.
const FOREIGN_PAGES_MAX: usize = 1000;

/// A store in a bucket under a prefix.
#[derive(Debug)]
pub struct S3 {
    bucket: Bucket,
    client: reqwest::Client,
    /// What all full keys start with: empty, or a prefix that ends with `/`.
    prefix: String,
    counts: Arc<Counts>,
    /// Set where the store answers that it does not implement `If-None-Match`.
    no_condition: AtomicBool,
    /// How far our clock is ahead of the store's, by the last answer.
    clock_difference: Mutex<Option<SignedDuration>>,
    /// Added to our clock for signatures. Zero except in tests of a clock that is off.
    clock_error: SignedDuration,
}

/// One request before it is signed.
struct Ask<'a> {
    verb: Verb,
    /// The key or prefix, for errors.
    name: &'a str,
    /// The full key, or `/` for the bucket.
    path: &'a str,
    command: Command<'a>,
    body: Bytes,
    answer_bytes_max: u64,
}

impl S3 {
    /// A client for the bucket. Sends nothing; whether the bucket exists shows with the first call.
    pub fn connect(settings: &S3Settings) -> Result<Self> {
        Self::connect_trusting(settings, &Trust::Roots(Vec::new()))
    }

    /// The same, with a say in whose certificates count.
    pub fn connect_trusting(settings: &S3Settings, trust: &Trust) -> Result<Self> {
        let invalid = |detail: String| Error::new(ErrorKind::Invalid, &settings.bucket, detail);
        let endpoint = match &settings.endpoint {
            Some(endpoint) => settings::endpoint(endpoint)?,
            None => aws_endpoint(&settings.region),
        };
        let credentials = creds::Credentials::new(
            Some(&settings.credentials.access_key),
            Some(&settings.credentials.secret_key),
            None,
            settings.credentials.session_token.as_ref().map(|token| token.as_str()),
            None,
        );
        let credentials = credentials.map_err(|error| Error::new(ErrorKind::Denied, &settings.bucket, error))?;
        let region = Region::Custom { region: settings.region.clone(), endpoint };
        let bucket = Bucket::new(&settings.bucket, region, credentials).map_err(|error| invalid(error.to_string()))?;
        let prefix = match settings.prefix.trim_matches('/') {
            "" => String::new(),
            prefix if Key::parse(prefix).is_some() => format!("{prefix}/"),
            _ => return Err(invalid("the prefix is not made of key parts".to_owned())),
        };
        Ok(Self {
            bucket: if settings.path_style { *bucket.with_path_style() } else { *bucket },
            client: transport::client(settings, trust)?,
            prefix,
            counts: Arc::default(),
            no_condition: AtomicBool::new(false),
            clock_difference: Mutex::new(None),
            clock_error: SignedDuration::ZERO,
        })
    }

    /// The part of this store below a directory (`a/b`), through the same connections and with the same counts.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where the directory is not made of key parts.
    pub fn below(&self, directory: &str) -> Result<Self> {
        let invalid = || Error::new(ErrorKind::Invalid, directory, "the directory is not made of key parts");
        let directory = Key::parse(directory).ok_or_else(invalid)?;
        Ok(Self {
            bucket: self.bucket.clone(),
            client: self.client.clone(),
            prefix: format!("{}{directory}/", self.prefix),
            counts: Arc::clone(&self.counts),
            no_condition: AtomicBool::new(self.no_condition.load(Ordering::Relaxed)),
            clock_difference: Mutex::new(self.clock_difference()),
            clock_error: self.clock_error,
        })
    }

    /// Signs as if our clock were ahead (or, negative, behind) by that much.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn with_clock_error(self, clock_error: SignedDuration) -> Self {
        Self { clock_error, ..self }
    }

    /// How many requests were sent.
    pub fn requests(&self) -> RequestCounts {
        self.counts.read()
    }

    /// The tally of requests, readable after the store has moved into a wrapper.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// How far our clock is ahead of the store's by its last answer, to the second; `None` before the first answer.
    pub fn clock_difference(&self) -> Option<SignedDuration> {
        *self.clock_difference.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn full(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Signs and sends one request; the answer, whatever its status.
    async fn send(&self, ask: Ask<'_>) -> Result<Answer> {
        let unsigned = |error| Error::new(ErrorKind::Invalid, ask.name, format!("cannot be signed: {error}"));
        let mut request = ReqwestRequest::new(&self.bucket, ask.path, ask.command).await.map_err(unsigned)?;
        if self.clock_error.is_negative() {
            request.datetime -= self.clock_error.unsigned_abs();
        } else {
            request.datetime += self.clock_error.unsigned_abs();
        }
        let signed_at = Timestamp::now().saturating_add(self.clock_error).unwrap_or(Timestamp::MAX);
        let headers = request.headers().await.map_err(unsigned)?;
        let url = request.url().map_err(unsigned)?;
        let method = match ask.verb {
            Verb::Get | Verb::List => Method::GET,
            Verb::Put => Method::PUT,
            Verb::Delete => Method::POST,
            Verb::Head => Method::HEAD,
        };
        self.counts.add(ask.verb);
        let limit = transport::request_time(ask.body.len() as u64);
        let sending = self.client.request(method, url.as_str()).headers(headers).body(ask.body).send();
        let response = transport::within(ask.name, limit, sending).await?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body = match ask.verb {
            Verb::Head => Bytes::new(),
            _ => transport::read(ask.name, response, ask.answer_bytes_max).await?,
        };
        let answer = Answer { status, headers, body, signed_at };
        *self.clock_difference.lock().unwrap_or_else(PoisonError::into_inner) = answer.clock_difference();
        Ok(answer)
    }

    async fn get_whole(&self, key: &Key) -> Result<Bytes> {
        let path = self.full(key);
        let ask = Ask::new(Verb::Get, key.as_str(), &path, Command::GetObject).answered_by(OBJECT_BYTES_MAX);
        let answer = self.send(ask).await?;
        if answer.status != 200 {
            return Err(answer.error(key.as_str()));
        }
        check_length(key, &answer, None)?;
        Ok(answer.body)
    }

    async fn get_part(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        let length = limits::check_range(key, &range)?;
        let path = self.full(key);
        let command = Command::GetObjectRange { start: range.start, end: Some(range.end - 1) };
        let ask = Ask::new(Verb::Get, key.as_str(), &path, command).answered_by(OBJECT_BYTES_MAX);
        let answer = self.send(ask).await?;
        match answer.status {
            206 => {}
            200 => return Err(Error::new(ErrorKind::Corrupt, key, "HTTP 200: the range was ignored")),
            _ => return Err(answer.error(key.as_str())),
        }
        match object_size(&answer.headers) {
            Some(size) if size < range.end => Err(limits::beyond_end(key, &range, size)),
            _ => check_length(key, &answer, Some(length)).map(|()| answer.body),
        }
    }

    async fn create_new(&self, key: &Key, body: Bytes) -> Result<Created> {
        limits::check_body(key, &body)?;
        if !self.no_condition.load(Ordering::Relaxed) {
            let answer = self.put(key, body.clone(), true).await?;
            match answer.status {
                412 => return Ok(Created::AlreadyThere),
                // The status alone does not say what is not implemented; without the condition it shows.
                501 => {}
                _ => return written(key, &answer),
            }
        }
        if self.exists(key).await? {
            return Ok(Created::AlreadyThere);
        }
        let answer = self.put(key, body, false).await?;
        let created = written(key, &answer)?;
        if !self.no_condition.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                bucket = self.bucket.name,
                "the store does not implement If-None-Match: two writers can race"
            );
        }
        Ok(created)
    }

    async fn put(&self, key: &Key, body: Bytes, only_if_absent: bool) -> Result<Answer> {
        let path = self.full(key);
        let condition = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static("*"))]);
        let content = body.clone();
        let command = Command::PutObject {
            content: &content,
            content_type: "application/octet-stream",
            custom_headers: only_if_absent.then_some(condition),
            multipart: None,
        };
        self.send(Ask { body, ..Ask::new(Verb::Put, key.as_str(), &path, command) }).await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        let path = self.full(key);
        let answer = self.send(Ask::new(Verb::Head, key.as_str(), &path, Command::HeadObject)).await?;
        match answer.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(answer.error(key.as_str())),
        }
    }

    async fn list_page(&self, prefix: &str, after: Option<&Key>) -> Result<Page> {
        let mut token = None;
        for _ in 0..FOREIGN_PAGES_MAX {
            let command = Command::ListObjectsV2 {
                prefix: format!("{}{prefix}", self.prefix),
                delimiter: None,
                // The token carries the place; some stores take only one of the two.
                start_after: after.filter(|_| token.is_none()).map(|after| self.full(after)),
                continuation_token: token,
                max_keys: Some(PAGE_KEYS_MAX),
            };
            let answer = self.send(Ask::new(Verb::List, prefix, "/", command)).await?;
            if answer.status != 200 {
                return Err(answer.error(prefix));
            }
            let listing = answer.listing(prefix)?;
            let objects: Vec<Listed> = listing.contents.iter().filter_map(|entry| self.ours(entry)).collect();
            let sorted = objects.is_sorted_by(|a, b| a.key < b.key);
            if !sorted || objects.first().is_some_and(|first| after.is_some_and(|after| first.key <= *after)) {
                return Err(Error::new(ErrorKind::Corrupt, prefix, "the listing is not in ascending order"));
            }
            // A page of foreign names gives a caller no key to go on from.
            if !objects.is_empty() || !listing.is_truncated {
                return Ok(Page { objects, more: listing.is_truncated });
            }
            token = listing.next_continuation_token;
            if token.is_none() {
                return Err(Error::new(ErrorKind::Corrupt, prefix, "a listing that goes on without a token"));
            }
        }
        let detail = format!("{FOREIGN_PAGES_MAX} pages of names that are not ours");
        Err(Error::new(ErrorKind::TooMany, prefix, detail))
    }

    /// The object as we name it; `None` for a foreign one.
    fn ours(&self, entry: &answer::Entry) -> Option<Listed> {
        let key = Key::parse(entry.key.strip_prefix(&self.prefix)?)?;
        Some(Listed { key, size: entry.size, modified: entry.last_modified })
    }

    async fn delete_batch(&self, keys: &[Key]) -> Result<()> {
        limits::check_batch(keys)?;
        let Some(first) = keys.first() else { return Ok(()) };
        let objects = keys.iter().map(|key| ObjectIdentifier::new(self.full(key))).collect();
        let data = DeleteObjectsRequest { objects, quiet: true };
        let body = Bytes::from(data.to_string());
        let command = Command::DeleteObjects { data };
        let answer = self.send(Ask { body, ..Ask::new(Verb::Delete, first.as_str(), "/", command) }).await?;
        if answer.status != 200 {
            return Err(answer.error(first.as_str()));
        }
        answer.check_deleted(first.as_str())
    }
}

impl<'a> Ask<'a> {
    fn new(verb: Verb, name: &'a str, path: &'a str, command: Command<'a>) -> Self {
        Self { verb, name, path, command, body: Bytes::new(), answer_bytes_max: DOCUMENT_BYTES_MAX }
    }

    fn answered_by(self, answer_bytes_max: u64) -> Self {
        Self { answer_bytes_max, ..self }
    }
}

/// AWS's endpoint of a region. Source: AWS General Reference, "Amazon S3 endpoints and quotas".
fn aws_endpoint(region: &str) -> String {
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://s3.{region}.amazonaws.com{suffix}")
}

/// The whole object's size by `Content-Range: bytes first-last/size`.
fn object_size(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_RANGE)?.to_str().ok()?.rsplit_once('/')?.1.parse().ok()
}

/// Compares the body with the length that the store announced and, for a range, with the one that was asked for.
fn check_length(key: &Key, answer: &Answer, wanted: Option<u64>) -> Result<()> {
    let got = answer.body.len() as u64;
    let announced = answer.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced == Some(got) && wanted.is_none_or(|wanted| wanted == got) {
        return Ok(());
    }
    let announced = announced.map_or_else(|| "no length".to_owned(), |length: u64| format!("{length} bytes"));
    Err(Error::new(ErrorKind::Corrupt, key, format!("{announced} announced, {got} bytes received")))
}

/// What became of a PUT that was not refused for the condition.
fn written(key: &Key, answer: &Answer) -> Result<Created> {
    if answer.status != 200 {
        return Err(answer.error(key.as_str()));
    }
    match answer.date() {
        Some(at) => Ok(Created::New { at }),
        None => Err(Error::new(ErrorKind::Corrupt, key, "the answer to the write has no Date")),
    }
}

impl ObjectStore for S3 {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(self.get_whole(key))
    }

    fn get_range<'a>(&'a self, key: &'a Key, range: Range<u64>) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(self.get_part(key, range))
    }

    fn create<'a>(&'a self, key: &'a Key, body: Bytes) -> BoxFuture<'a, Result<Created>> {
        Box::pin(self.create_new(key, body))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Result<Page>> {
        Box::pin(self.list_page(prefix, after))
    }

    fn delete<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.delete_batch(keys))
    }
}
