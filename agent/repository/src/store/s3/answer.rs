//! What an S3 store answered: the XML of listings and batch deletes, and the one translation of refusals into
//! [`ErrorKind`]s. Source of codes: the S3 API reference, "Error responses", and MinIO's `cmd/api-errors.go`.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimeParser};
use serde::{Deserialize, de::DeserializeOwned};

use crate::store::{Error, ErrorKind};

/// Most characters of a store's message that an error repeats: a sentence, not a page.
const MESSAGE_CHARS_MAX: usize = 200;

/// What MinIO puts into the message of its `InternalError` where the disk fills up in the middle of a write: the text of
/// ENOSPC in Go. Trying again for half an hour does not make room.
const NO_SPACE: &str = "no space left on device";

/// An answer whose body has arrived whole.
#[derive(Debug)]
pub(super) struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The time of our clock when the request was signed.
    pub signed_at: Timestamp,
}

/// One page of `ListObjectsV2`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listing {
    /// Whether more pages follow. Not optional, so that a listing without it (or another document) is damage.
    pub is_truncated: bool,
    /// The token that asks for the next page.
    pub next_continuation_token: Option<String>,
    /// The objects.
    #[serde(default)]
    pub contents: Vec<Entry>,
}

/// One object of a listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry {
    /// The whole key in the bucket.
    pub key: String,
    /// Length in bytes.
    pub size: u64,
    /// Time of writing, RFC 3339.
    pub last_modified: Timestamp,
}

/// The answer to a quiet `DeleteObjects`: only what failed.
#[derive(Debug, Deserialize)]
struct Deleted {
    #[serde(default, rename = "Error")]
    errors: Vec<Refusal>,
}

/// An error document, or one failed key of a batch delete.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Refusal {
    code: String,
    message: String,
    key: Option<String>,
}

impl Answer {
    /// The store's clock: the `Date` header (RFC 9110 §6.6.1).
    pub(super) fn date(&self) -> Option<Timestamp> {
        let text = self.headers.get(header::DATE)?.to_str().ok()?;
        DateTimeParser::new().parse_timestamp(text).ok()
    }

    /// How long a busy store asks to be left alone: seconds, or a time by its own clock (RFC 9110 §10.2.3).
    fn retry_after(&self) -> Option<Duration> {
        if !matches!(self.status, 429 | 503) {
            return None;
        }
        let text = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let until = DateTimeParser::new().parse_timestamp(text).ok()?;
        until.duration_since(self.date()?).try_into().ok()
    }

    /// How far our clock is ahead of the store's.
    pub(super) fn clock_difference(&self) -> Option<SignedDuration> {
        Some(self.signed_at.duration_since(self.date()?))
    }

    /// The document of that root element; anything else, such as an error sent with status 200, is an error.
    pub(super) fn document<T: DeserializeOwned>(&self, name: &str, root: &str) -> Result<T, Error> {
        let damaged = |detail: &str| Error::new(ErrorKind::Corrupt, name, format!("HTTP {}: {detail}", self.status));
        let text = std::str::from_utf8(&self.body).map_err(|_| damaged("a body that is not UTF-8"))?;
        if !text.contains(&format!("<{root}")) {
            let refusal: Refusal = quick_xml::de::from_str(text).unwrap_or_default();
            let known = !refusal.code.is_empty();
            return Err(if known { self.refused(name, &refusal) } else { damaged(&format!("no {root} in the body")) });
        }
        quick_xml::de::from_str(text).map_err(|error| damaged(&error.to_string()))
    }

    /// The body as a page of a listing.
    pub(super) fn listing(&self, name: &str) -> Result<Listing, Error> {
        self.document(name, "ListBucketResult")
    }

    /// The first failure of a batch delete, if any; an absent key is none.
    pub(super) fn check_deleted(&self, name: &str) -> Result<(), Error> {
        let deleted: Deleted = self.document(name, "DeleteResult")?;
        match deleted.errors.iter().find(|refusal| refusal.code != "NoSuchKey") {
            Some(refusal) => Err(self.refused(refusal.key.as_deref().unwrap_or(name), refusal)),
            None => Ok(()),
        }
    }

    /// The error document; empty where the body is none (HEAD, proxies).
    fn refusal(&self) -> Refusal {
        std::str::from_utf8(&self.body).ok().and_then(|text| quick_xml::de::from_str(text).ok()).unwrap_or_default()
    }

    /// The code of the error document; empty where there is none.
    pub(super) fn code(&self) -> String {
        self.refusal().code
    }

    /// The error that a refusal means.
    pub(super) fn error(&self, name: &str) -> Error {
        self.refused(name, &self.refusal())
    }

    fn refused(&self, name: &str, refusal: &Refusal) -> Error {
        let full = refusal.message.contains(NO_SPACE);
        let kind = if full { ErrorKind::Full } else { kind(self.status, &refusal.code) };
        let mut detail = format!("HTTP {}", self.status);
        for part in [&refusal.code, &refusal.message].into_iter().filter(|part| !part.is_empty()) {
            let plain = part.chars().filter(|character| !character.is_control()).take(MESSAGE_CHARS_MAX);
            detail.extend(": ".chars().chain(plain));
        }
        if kind == ErrorKind::ClockSkew {
            detail.push_str(&self.skew());
        }
        Error { retry_after: self.retry_after(), ..Error::new(kind, name, detail) }
    }

    fn skew(&self) -> String {
        match self.clock_difference().map(|difference| difference.as_secs()) {
            Some(seconds) if seconds < 0 => format!("; our clock is {} s behind the store's", -seconds),
            Some(seconds) => format!("; our clock is {seconds} s ahead of the store's"),
            None => String::new(),
        }
    }
}

/// What a status and a code mean to a caller. The code is more precise; HEAD and proxies give only the status.
fn kind(status: u16, code: &str) -> ErrorKind {
    match code {
        "NoSuchKey" => ErrorKind::Missing,
        "NoSuchBucket" | "InvalidBucketName" => ErrorKind::NoBucket,
        "RequestTimeTooSkewed" => ErrorKind::ClockSkew,
        "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException"
        | "IllegalLocationConstraint"
        | "PermanentRedirect"
        | "TemporaryRedirect"
        | "InvalidRegion"
        | "XMinioInvalidRegion" => ErrorKind::WrongRegion,
        // AWS sends these with status 400.
        "AccessDenied" | "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => ErrorKind::Denied,
        "XMinioStorageFull" | "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded" => ErrorKind::Full,
        // The bytes were damaged or cut on their way to the store: the next try sends them again.
        "BadDigest"
        | "XAmzContentSHA256Mismatch"
        | "IncompleteBody"
        | "RequestTimeout"
        | "InternalError"
        | "SlowDown"
        | "ServiceUnavailable" => ErrorKind::Transient,
        _ => match status {
            301 | 302 | 307 | 308 => ErrorKind::WrongRegion,
            401 | 403 => ErrorKind::Denied,
            404 => ErrorKind::Missing,
            507 => ErrorKind::Full,
            501 => ErrorKind::Invalid,
            408 | 409 | 429 | 500..=599 => ErrorKind::Transient,
            _ => ErrorKind::Invalid,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, "Fri, 09 Sep 2022 12:00:00 GMT".parse().unwrap());
        let signed_at = "2022-09-09T12:20:00Z".parse().unwrap();
        Answer { status, headers, body: Bytes::copy_from_slice(body.as_bytes()), signed_at }
    }

    #[test]
    fn each_refusal_has_the_kind_that_its_caller_acts_on() {
        for (status, code, expected) in [
            (404, "NoSuchKey", ErrorKind::Missing),
            (404, "", ErrorKind::Missing),
            (404, "NoSuchBucket", ErrorKind::NoBucket),
            (403, "AccessDenied", ErrorKind::Denied),
            (403, "InvalidAccessKeyId", ErrorKind::Denied),
            (403, "SignatureDoesNotMatch", ErrorKind::Denied),
            (400, "ExpiredToken", ErrorKind::Denied),
            (403, "RequestTimeTooSkewed", ErrorKind::ClockSkew),
            (301, "PermanentRedirect", ErrorKind::WrongRegion),
            (301, "", ErrorKind::WrongRegion),
            (400, "AuthorizationHeaderMalformed", ErrorKind::WrongRegion),
            (507, "", ErrorKind::Full),
            (500, "XMinioStorageFull", ErrorKind::Full),
            (400, "QuotaExceeded", ErrorKind::Full),
            (408, "", ErrorKind::Transient),
            (409, "ConditionalRequestConflict", ErrorKind::Transient),
            (429, "", ErrorKind::Transient),
            (503, "SlowDown", ErrorKind::Transient),
            (502, "", ErrorKind::Transient),
            (400, "BadDigest", ErrorKind::Transient),
            (501, "NotImplemented", ErrorKind::Invalid),
            (416, "InvalidRange", ErrorKind::Invalid),
        ] {
            assert_eq!(kind(status, code), expected, "{status} {code}");
        }
    }

    #[test]
    fn a_skewed_clock_is_told_by_how_many_seconds() {
        let body = "<Error><Code>RequestTimeTooSkewed</Code><Message>Too far.</Message></Error>";
        let detail = "HTTP 403: RequestTimeTooSkewed: Too far.; our clock is 1200 s ahead of the store's";
        assert_eq!(answer(403, body).error("k"), Error::new(ErrorKind::ClockSkew, "k", detail));
    }

    #[test]
    fn a_busy_store_is_left_alone_for_as_long_as_it_asks() {
        let asked = |status, text: &str| {
            let mut answer = answer(status, "");
            answer.headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            answer.error("k").retry_after
        };
        assert_eq!(asked(503, "17"), Some(Duration::from_secs(17)));
        assert_eq!(asked(429, " 0 "), Some(Duration::ZERO));
        // By the store's own clock, which is 12:00 in these answers.
        assert_eq!(asked(503, "Fri, 09 Sep 2022 12:02:00 GMT"), Some(Duration::from_mins(2)));
        assert_eq!(asked(503, "Fri, 09 Sep 2022 11:00:00 GMT"), None);
        assert_eq!(asked(503, "soon"), None);
        assert_eq!(asked(500, "17"), None);
    }

    #[test]
    fn an_internal_error_for_want_of_space_is_a_full_store() {
        let body = "<Error><Code>InternalError</Code><Message>cause(no space left on device)</Message></Error>";
        let detail = "HTTP 500: InternalError: cause(no space left on device)";
        assert_eq!(answer(500, body).error("k"), Error::new(ErrorKind::Full, "k", detail));
    }

    #[test]
    fn an_error_document_with_status_200_is_an_error() {
        let body = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Later.</Message></Error>";
        let expected = Error::new(ErrorKind::Transient, "p", "HTTP 200: SlowDown: Later.");
        assert_eq!(answer(200, body).listing("p").unwrap_err(), expected);
        assert_eq!(answer(200, body).check_deleted("p"), Err(expected));
        let html = Error::new(ErrorKind::Corrupt, "p", "HTTP 200: no DeleteResult in the body");
        assert_eq!(answer(200, "<html>hello</html>").check_deleted("p"), Err(html));
    }

    #[test]
    fn a_batch_delete_tells_the_first_key_that_failed_and_forgives_absent_ones() {
        let failed = "<DeleteResult><Error><Key>a</Key><Code>NoSuchKey</Code></Error>\
                      <Error><Key>b</Key><Code>AccessDenied</Code><Message>No.</Message></Error></DeleteResult>";
        let expected = Error::new(ErrorKind::Denied, "b", "HTTP 200: AccessDenied: No.");
        assert_eq!(answer(200, failed).check_deleted("p"), Err(expected));
        assert_eq!(answer(200, "<DeleteResult xmlns=\"x\"/>").check_deleted("p"), Ok(()));
    }
}
