//! The HTTP client of an S3 store: certificate roots, time limits, whole bodies, and failures below HTTP. Nothing of S3.

use std::{error::Error as _, fmt::Write as _, path::Path, time::Duration};

use bytes::{Bytes, BytesMut};

use super::S3Settings;
use crate::{
    buffer::capacity,
    store::{Error, ErrorKind, Result},
};

/// Time to reach the host: several lost SYNs on a slow line.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Shortest time for one request. rust-s3's own default.
const REQUEST_TIME_MIN: Duration = Duration::from_mins(1);

/// Slowest line that a request must still pass, in bytes per second: a pack of 16 MiB on 0.5 Mbit/s.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;

/// Longest pause between two pieces of an answer's body.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// Whose certificates count, besides those that the system and the settings trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// What these PEM certificates signed; none where there are no bytes.
    Roots(Vec<u8>),
    /// Everybody's: the traffic is hidden from listeners and open to whoever stands between.
    Anybody,
}

/// Our HTTP client: certificate roots of the system (where it has none, the Web's), of the settings and of `trust`, no redirects (a signature is for one
/// host).
pub(super) fn client(settings: &S3Settings, trust: &Trust) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIME)
        .tls_built_in_webpki_certs(!has_system_roots());
    if let Some(path) = &settings.ca_cert {
        let name = path.display().to_string();
        let pem = std::fs::read(path).map_err(|error| Error::new(ErrorKind::Invalid, &name, error))?;
        builder = roots(&name, &pem)?.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
    }
    builder = match trust {
        Trust::Roots(pem) if pem.is_empty() => builder,
        Trust::Roots(pem) => {
            roots("caCert", pem)?.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate)
        }
        Trust::Anybody => builder.danger_accept_invalid_certs(true),
    };
    builder.build().map_err(|error| Error::new(ErrorKind::Invalid, &settings.bucket, error))
}

/// Whether this machine says whom to trust; an image from scratch does not. Source: the places where OpenSSL looks.
fn has_system_roots() -> bool {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
    named || ["/etc/ssl", "/etc/pki"].iter().any(|path| Path::new(path).exists())
}

/// The certificates of a PEM text, at least one.
fn roots(name: &str, pem: &[u8]) -> Result<Vec<reqwest::Certificate>> {
    let invalid = |detail: String| Error::new(ErrorKind::Invalid, name, detail);
    let roots = reqwest::Certificate::from_pem_bundle(pem).map_err(|error| invalid(error.to_string()))?;
    if roots.is_empty() {
        return Err(invalid("no certificate in PEM form".to_owned()));
    }
    Ok(roots)
}

/// The time that a transfer of so many bytes may take.
pub(super) fn request_time(bytes: u64) -> Duration {
    REQUEST_TIME_MIN.max(Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND))
}

/// Waits for a step of a request. Silence and broken connections are transient.
pub(super) async fn within<T>(
    name: &str,
    limit: Duration,
    step: impl Future<Output = reqwest::Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(limit, step).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(transport(name, error)),
        Err(_) => Err(Error::new(ErrorKind::Transient, name, format!("no answer within {} s", limit.as_secs()))),
    }
}

/// A failure below HTTP, with its causes and without the URL.
fn transport(name: &str, error: reqwest::Error) -> Error {
    if let Some(untrusted) = certificate(&error) {
        return untrusted;
    }
    let kind = if error.is_builder() { ErrorKind::Invalid } else { ErrorKind::Transient };
    let error = error.without_url();
    let mut detail = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a `String` cannot fail.
        let _ = write!(detail, ": {cause}");
        source = cause.source();
    }
    Error::new(kind, name, detail)
}

/// The error of a certificate that was refused, with what to do about it: it will be refused the next time too.
fn certificate(error: &reqwest::Error) -> Option<Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(at) = cause {
        if let Some(rustls::Error::InvalidCertificate(reason)) = at.downcast_ref() {
            let origin = error.url().map_or_else(|| "the store".to_owned(), |url| url.origin().ascii_serialization());
            return Some(Error::new(ErrorKind::Untrusted, origin, format!("its certificate {}", refusal(reason))));
        }
        // The source of an I/O error is that of the error which it wraps.
        let wrapped = at.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = wrapped.map_or_else(|| at.source(), |wrapped| Some(wrapped));
    }
    None
}

/// What is wrong with a certificate, and what mends it.
fn refusal(reason: &rustls::CertificateError) -> String {
    use rustls::CertificateError as Reason;
    match reason {
        // A bad signature is that of another authority of the same name.
        Reason::UnknownIssuer | Reason::BadSignature => {
            "is of an authority that this machine does not know; name its PEM file with ca_cert=FILE in the URL, or with SSL_CERT_FILE"
                .to_owned()
        }
        Reason::Expired | Reason::ExpiredContext { .. } => {
            format!("is out of date ({reason}); renew it, or set the clock of this machine")
        }
        Reason::NotValidYet | Reason::NotValidYetContext { .. } => {
            format!("is not valid yet ({reason}); set the clock of this machine or of the authority")
        }
        Reason::NotValidForName | Reason::NotValidForNameContext { .. } => {
            format!("is for another name ({reason}); use a name that it holds in endpoint, or have the name added to it")
        }
        other => format!("is refused ({other}); replace it, or name its authority with ca_cert=FILE in the URL"),
    }
}

/// The whole body of an answer, at most `most` bytes.
pub(super) async fn read(name: &str, mut response: reqwest::Response, most: u64) -> Result<Bytes> {
    let expected = response.content_length();
    let too_long = || Error::new(ErrorKind::Corrupt, name, format!("a body of more than {most} bytes"));
    if expected.is_some_and(|length| length > most) {
        return Err(too_long());
    }
    let end = tokio::time::Instant::now() + request_time(expected.unwrap_or(most));
    let mut body =
        BytesMut::with_capacity(capacity(expected.and_then(|length| usize::try_from(length).ok()).unwrap_or_default()));
    loop {
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        let Some(piece) = within(name, IDLE_TIME.min(left), response.chunk()).await? else { return Ok(body.freeze()) };
        body.extend_from_slice(&piece);
        if body.len() as u64 > most {
            return Err(too_long());
        }
    }
}
