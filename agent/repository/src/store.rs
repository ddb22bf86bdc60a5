//! The one door to remote bytes: the `ObjectStore` trait, its keys, pages and errors.
//!
//! Implementations live below: `memory`, `directory`, `s3`; `retry` and `counted` wrap any of them. Nothing here knows
//! what an object means. All implementations pass `testing::verify_store`.

pub mod counted;
pub mod credentials;
pub mod directory;
mod limits;
pub mod memory;
pub mod retry;
pub mod s3;
mod shared;

use std::{fmt, ops::Range};

use bytes::Bytes;
use futures::future::BoxFuture;
use jiff::Timestamp;

/// Largest body that a store takes or gives, in bytes. Packs are 16 MiB; 64 MiB leaves room for larger profiles and
/// stays far below the 5 GiB limit of a single S3 PUT.
pub const OBJECT_BYTES_MAX: u64 = 64 << 20;

/// Most keys in one page of a listing and in one batch of deletes. Source: S3 `ListObjectsV2`, `DeleteObjects`.
pub const PAGE_KEYS_MAX: usize = 1000;

/// Name of an object: `/`-separated parts of `A-Z a-z 0-9 . _ ~ -`, none of them empty, `.` or `..`.
///
/// The alphabet is the unreserved set of RFC 3986, so that a key is the same text in a URL, in a signature and on disk.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The key of that text, or `None` where a character or a part is not allowed.
    pub fn parse(text: &str) -> Option<Self> {
        let part = |part: &str| {
            !matches!(part, "" | "." | "..") && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b))
        };
        (text.len() <= 1024 && text.split('/').all(part)).then(|| Self(text.to_owned()))
    }

    /// The text of the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: Key,
    /// Its stored length in bytes.
    pub size: u64,
    /// When the store says it was written. Keys are never overwritten, so this is the time of creation.
    pub modified: Timestamp,
}

/// Up to [`PAGE_KEYS_MAX`] objects in ascending byte order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The objects.
    pub objects: Vec<Listed>,
    /// Whether more follow after the last one.
    pub more: bool,
}

/// What became of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The object is stored, by this call; `at` is the store's clock.
    New {
        /// The store's time of the write (S3: the `Date` of the answer; a directory: the file's mtime).
        at: Timestamp,
    },
    /// An object of that key was there before and is unchanged.
    AlreadyThere,
}

/// Remote bytes under immutable keys.
///
/// Bodies are whole and at most [`OBJECT_BYTES_MAX`] long. A `get` that follows a finished `create` or `put` sees it, and so does
/// a `list` (strong consistency, as S3 and MinIO give it). Every method may be called again after an error.
pub trait ObjectStore: fmt::Debug + Send + Sync {
    /// The whole object.
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Bytes>>;

    /// Exactly the bytes `range`, or [`ErrorKind::Invalid`] where the object is shorter or the range is empty (S3 has no
    /// way to ask for nothing).
    fn get_range<'a>(&'a self, key: &'a Key, range: Range<u64>) -> BoxFuture<'a, Result<Bytes>>;

    /// Stores the object unless one of that key exists (`If-None-Match: *`).
    fn create<'a>(&'a self, key: &'a Key, body: Bytes) -> BoxFuture<'a, Result<Created>>;

    /// One page of the keys that start with `prefix` and come after `after`. The prefix is plain text and may end inside a part.
    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Result<Page>>;

    /// Removes up to [`PAGE_KEYS_MAX`] objects; an absent one is a success.
    fn delete<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<()>>;
}

/// All objects under a prefix, page after page, at most `limit` of them (then [`ErrorKind::TooMany`]).
pub async fn list_all(store: &dyn ObjectStore, prefix: &str, limit: usize) -> Result<Vec<Listed>> {
    let mut objects: Vec<Listed> = Vec::new();
    loop {
        let page = store.list(prefix, objects.last().map(|o| &o.key).cloned().as_ref()).await?;
        objects.extend(page.objects);
        if objects.len() > limit {
            return Err(Error::new(ErrorKind::TooMany, prefix, format!("more than {limit} objects")));
        }
        if !page.more {
            return Ok(objects);
        }
    }
}

/// Hands over all objects under a prefix, in order; no more than a page is held.
pub async fn each(store: &dyn ObjectStore, prefix: &str, mut take: impl FnMut(&Listed)) -> Result<()> {
    let mut after: Option<Key> = None;
    loop {
        let page = store.list(prefix, after.as_ref()).await?;
        page.objects.iter().for_each(&mut take);
        match page.objects.into_iter().last() {
            Some(last) if page.more => after = Some(last.key),
            _ => return Ok(()),
        }
    }
}

/// Result of a store operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A store operation that failed: what kind of failure, on which key, in the store's own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {key}: {detail}")]
pub struct Error {
    /// What the caller can do about it.
    pub kind: ErrorKind,
    /// The key, prefix, bucket or path.
    pub key: String,
    /// Status, code and message of the store, without credentials or URLs' query strings.
    pub detail: String,
}

impl Error {
    /// An error of that kind on that key.
    pub fn new(kind: ErrorKind, key: impl fmt::Display, detail: impl fmt::Display) -> Self {
        Self { kind, key: key.to_string(), detail: detail.to_string() }
    }
}

/// Kinds of store failures: a new one only where a caller acts differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No such object.
    Missing,
    /// No such bucket or base directory.
    NoBucket,
    /// The credentials are wrong, expired or lack the right.
    Denied,
    /// Our clock and the store's differ too much for a signature.
    ClockSkew,
    /// The bucket is in another region than the one named.
    WrongRegion,
    /// The store has no room left.
    Full,
    /// The request did not reach the store or the store was busy; whether a write took effect is unknown.
    Transient,
    /// The store answered with something that is not what was asked for (short body, wrong length, malformed listing).
    Corrupt,
    /// The request itself is not valid (key, size or range).
    Invalid,
    /// More objects than the caller is ready to hold.
    TooMany,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no such object",
            Self::NoBucket => "no such bucket or directory",
            Self::Denied => "access denied",
            Self::ClockSkew => "clocks differ",
            Self::WrongRegion => "wrong region",
            Self::Full => "the store is full",
            Self::Transient => "the store did not answer",
            Self::Corrupt => "the store's answer is damaged",
            Self::Invalid => "invalid request",
            Self::TooMany => "too many objects",
        })
    }
}
