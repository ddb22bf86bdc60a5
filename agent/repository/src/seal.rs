//! Encryption: age files for recipients, whole or by range, and sealed objects under a symmetric key.
//!
//! Writing goes through the `age` crate. Reading parses the header with that crate's own parser and opens any range of the payload,
//! so that a restore need not fetch the rest of a pack. Source: the age v1 specification; `FORMAT.md` §3, §10.

use std::{fmt, io::Write as _, ops::Range, str::FromStr as _, sync::Arc};

use age_core::{
    format::{FileKey, Stanza, read::age_stanza},
    secrecy::ExposeSecret as _,
};
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use bytes::Bytes;
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit as _, XChaCha20Poly1305,
    aead::{Aead as _, AeadInOut as _, Payload},
};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::{
    buffer::capacity,
    keys::{SealKey, StateKey},
};

const VERSION: &[u8] = b"age-encryption.org/v1\n";
/// Plain bytes of one chunk of an age payload. Source: age v1, STREAM.
const CHUNK: u64 = 64 << 10;
/// Bytes that encryption adds to each chunk.
const TAG: u64 = 16;
/// Length of the payload's nonce in bytes.
const NONCE: u64 = 16;
/// Longest header that is parsed, in bytes: some hundred recipients.
const HEADER_MAX: usize = 64 << 10;

/// How many bytes to fetch first in order to have the header in nearly every case.
pub const HEADER_GUESS: u64 = 2048;

/// Encryption or decryption failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not a recipient.
    #[error("`{0}` is not an age recipient (age1… or an ssh-ed25519 or ssh-rsa public key)")]
    Recipient(String),
    /// The text holds no identity that can be used.
    #[error("no age identity: {0}")]
    Identity(String),
    /// None of the identities opens the file.
    #[error("none of the given identities opens it")]
    NoMatch,
    /// The bytes are not an age file, or were changed.
    #[error("the age file is damaged: {0}")]
    Damaged(&'static str),
    /// The sealed object is another kind's, or was changed, or sealed under another key.
    #[error("the sealed object is damaged or of another key")]
    Sealed,
    /// No random bytes, or no memory.
    #[error("encryption failed: {0}")]
    Encrypt(String),
}

/// Someone who can open what is encrypted for them.
#[derive(Clone)]
pub struct Recipient {
    text: String,
    key: Arc<dyn age::Recipient + Send + Sync>,
}

impl Recipient {
    /// The recipient of that text: `age1…`, `ssh-ed25519 …`, `ssh-rsa …`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let key: Arc<dyn age::Recipient + Send + Sync> = if let Ok(key) = age::x25519::Recipient::from_str(text) {
            Arc::new(key)
        } else if let Ok(key) = age::ssh::Recipient::from_str(text) {
            Arc::new(key)
        } else {
            return Err(Error::Recipient(text.chars().take(80).collect()));
        };
        Ok(Self { text: text.to_owned(), key })
    }

    /// The recipients of a file as `age -R` takes it: one a line, `#` begins a comment line.
    pub fn parse_file(text: &str) -> Result<Vec<Self>, Error> {
        text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).map(Self::parse).collect()
    }

    /// The recipient that the volume's state key opens.
    pub(crate) fn of_state(key: &StateKey) -> Result<Self, Error> {
        let recipient = Identity::of_state(key)?.1.to_public();
        Ok(Self { text: recipient.to_string(), key: Arc::new(recipient) })
    }

    /// Its text, as given.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What opens age files: one or several identities.
#[derive(Clone, Default)]
pub struct Identity {
    keys: Vec<Arc<dyn age::Identity + Send + Sync>>,
    /// Whether a person gave one of them: state keys are derived.
    given: bool,
}

impl Identity {
    /// The identities of a file as `age -i` takes it: `AGE-SECRET-KEY-1…` lines, or an unencrypted SSH private key.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.trim_start().starts_with("-----BEGIN") {
            let key = age::ssh::Identity::from_buffer(text.as_bytes(), None)
                .map_err(|_| Error::Identity("the SSH key cannot be read".to_owned()))?;
            return match key {
                age::ssh::Identity::Unencrypted(_) => Ok(Self { keys: vec![Arc::new(key)], given: true }),
                age::ssh::Identity::Encrypted(_) => {
                    Err(Error::Identity("the SSH key has a passphrase; give one without".to_owned()))
                }
                age::ssh::Identity::Unsupported(_) => {
                    Err(Error::Identity("this kind of SSH key cannot open age files".to_owned()))
                }
            };
        }
        let file = age::IdentityFile::from_buffer(text.as_bytes())
            .map_err(|_| Error::Identity("the file has a line that is neither a key nor a comment".to_owned()))?;
        let keys = file.into_identities().map_err(|e| Error::Identity(e.to_string()))?;
        if keys.is_empty() {
            return Err(Error::Identity("the file holds no AGE-SECRET-KEY".to_owned()));
        }
        Ok(Self { keys: keys.into_iter().map(Arc::from).collect(), given: true })
    }

    /// A new X25519 identity that nobody keeps, and its recipient.
    pub fn ephemeral() -> (Self, Recipient) {
        let key = age::x25519::Identity::generate();
        let recipient = key.to_public();
        let recipient = Recipient { text: recipient.to_string(), key: Arc::new(recipient) };
        (Self { keys: vec![Arc::new(key)], given: true }, recipient)
    }

    pub(crate) fn of_state(key: &StateKey) -> Result<(Self, age::x25519::Identity), Error> {
        let hrp = bech32::Hrp::parse_unchecked("age-secret-key-");
        let text = bech32::encode::<bech32::Bech32>(hrp, key.0.as_ref())
            .map_err(|_| Error::Identity("a state key is 32 bytes".to_owned()))?;
        let key = age::x25519::Identity::from_str(&text.to_uppercase()).map_err(|e| Error::Identity(e.to_owned()))?;
        Ok((Self { keys: vec![Arc::new(key.clone())], given: false }, key))
    }

    /// All of both.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.keys.extend(other.keys.iter().cloned());
        self.given |= other.given;
        self
    }

    /// Whether a person gave none; what is derived from the repository's own keys opens file tables only.
    pub fn is_empty(&self) -> bool {
        !self.given
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} secret)", self.keys.len())
    }
}

/// A writer into memory that encrypts for recipients, or passes bytes through where there are none.
pub(crate) enum Sink {
    Plain(Vec<u8>),
    Age(Box<age::stream::StreamWriter<Vec<u8>>>),
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

impl Sink {
    pub(crate) fn new(recipients: &[Recipient], capacity: usize) -> Result<Self, Error> {
        let buffer = Vec::with_capacity(capacity);
        if recipients.is_empty() {
            return Ok(Self::Plain(buffer));
        }
        let failed = |e: &dyn fmt::Display| Error::Encrypt(e.to_string());
        let keys = recipients.iter().map(|r| &*r.key as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(keys).map_err(|e| failed(&e))?;
        Ok(Self::Age(Box::new(encryptor.wrap_output(buffer).map_err(|e| failed(&e))?)))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Self::Plain(buffer) => buffer.extend_from_slice(bytes),
            Self::Age(writer) => writer.write_all(bytes).map_err(|e| Error::Encrypt(e.to_string()))?,
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Plain(buffer) => Ok(buffer),
            Self::Age(writer) => writer.finish().map_err(|e| Error::Encrypt(e.to_string())),
        }
    }
}

/// The bytes as an age file for these recipients, or as they are where there are none.
pub fn encrypt(plain: &[u8], recipients: &[Recipient]) -> Result<Vec<u8>, Error> {
    let mut sink = Sink::new(recipients, plain.len() + 1024)?;
    sink.write(plain)?;
    sink.finish()
}

/// Whether these first bytes are those of an age file.
pub fn is_age(first: &[u8]) -> bool {
    first.starts_with(VERSION)
}

/// The content of a whole object that is an age file, or the object itself where it is none.
pub fn decrypt(object: &[u8], identity: &Identity) -> Result<Bytes, Error> {
    if !is_age(object) {
        return Ok(Bytes::copy_from_slice(object));
    }
    let opened = Opened::new(object, identity)?;
    let plain = opened.plain_length(object.len() as u64)?;
    let ciphertext = usize::try_from(opened.stored_range(0..plain, object.len() as u64).start)
        .ok()
        .and_then(|start| object.get(start..))
        .ok_or(Error::Damaged("it is cut short"))?;
    opened.decrypt(0..plain, ciphertext, plain)
}

/// An age file whose header is open: any range of its payload can be decrypted.
#[derive(Clone)]
pub struct Opened {
    header: u64,
    cipher: ChaCha20Poly1305,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened {{ header: {} }}", self.header)
    }
}

impl Opened {
    /// Opens the header in the first bytes of an age file. [`Error::Damaged`] with `the header is longer` asks for more bytes.
    pub fn new(first: &[u8], identity: &Identity) -> Result<Self, Error> {
        let (stanzas, signed, mac, header) = parse_header(first)?;
        let mut found = None;
        for key in &identity.keys {
            if let Some(result) = key.unwrap_stanzas(&stanzas) {
                found = Some(result.map_err(|_| Error::Damaged("its header does not open"))?);
                break;
            }
        }
        let file_key: FileKey = found.ok_or(Error::NoMatch)?;
        let secret = file_key.expose_secret();
        let mac_key = age_core::primitives::hkdf(&[], b"header", secret);
        let mut hmac = Hmac::<Sha256>::new_from_slice(&mac_key).expect("HMAC takes a key of any length");
        hmac.update(&first[..signed]);
        hmac.verify_slice(&mac).map_err(|_| Error::Damaged("its header was changed"))?;
        let nonce = first.get(header..header + usize::try_from(NONCE).unwrap_or(16)).ok_or(TOO_SHORT)?;
        let key = age_core::primitives::hkdf(nonce, b"payload", secret);
        Ok(Self { header: header as u64, cipher: ChaCha20Poly1305::new(&key.into()) })
    }

    /// Plain length of a file that is stored in `stored` bytes.
    pub fn plain_length(&self, stored: u64) -> Result<u64, Error> {
        let payload = stored.checked_sub(self.header + NONCE).ok_or(Error::Damaged("it is cut short"))?;
        let chunks = payload.div_ceil(CHUNK + TAG);
        payload.checked_sub(chunks * TAG).filter(|_| chunks > 0).ok_or(Error::Damaged("it is cut short"))
    }

    /// The stored bytes that hold a range of plain bytes.
    pub fn stored_range(&self, plain: Range<u64>, stored: u64) -> Range<u64> {
        let base = self.header + NONCE;
        let end = plain.end.max(plain.start + 1).div_ceil(CHUNK);
        base + plain.start / CHUNK * (CHUNK + TAG)..(base + end * (CHUNK + TAG)).min(stored)
    }

    /// Decrypts the range from the bytes of its [`Self::stored_range`]; `total` is the plain length of the file.
    pub fn decrypt(&self, plain: Range<u64>, ciphertext: &[u8], total: u64) -> Result<Bytes, Error> {
        let first = plain.start / CHUNK;
        let last = total.saturating_sub(1) / CHUNK;
        let mut bytes = Vec::with_capacity(capacity(ciphertext.len()));
        for (number, chunk) in (first..).zip(ciphertext.chunks(usize::try_from(CHUNK + TAG).unwrap_or(usize::MAX))) {
            let (chunk, tag) = chunk.split_last_chunk::<16>().ok_or(Error::Damaged("it is cut short"))?;
            let mut nonce = [0; 12];
            nonce[3..11].copy_from_slice(&number.to_be_bytes());
            nonce[11] = u8::from(number == last);
            let from = bytes.len();
            bytes.extend_from_slice(chunk);
            let opened =
                self.cipher.decrypt_inout_detached(&nonce.into(), &[], bytes[from..].as_mut().into(), tag.into());
            opened.map_err(|_| Error::Damaged("a chunk of it was changed"))?;
        }
        let skip = usize::try_from(plain.start - first * CHUNK).unwrap_or(usize::MAX);
        let take = usize::try_from(plain.end - plain.start).unwrap_or(usize::MAX);
        let end = skip.checked_add(take).filter(|end| *end <= bytes.len()).ok_or(Error::Damaged("it is cut short"))?;
        Ok(Bytes::from(bytes).slice(skip..end))
    }
}

const TOO_SHORT: Error = Error::Damaged("the header is longer");

/// Stanzas, length of the signed part, MAC and length of the header.
fn parse_header(bytes: &[u8]) -> Result<(Vec<Stanza>, usize, Vec<u8>, usize), Error> {
    let limit = &bytes[..bytes.len().min(HEADER_MAX)];
    let mut rest = limit.strip_prefix(VERSION).ok_or(Error::Damaged("it is no age file"))?;
    let mut stanzas = Vec::new();
    while !rest.starts_with(b"---") {
        if rest.len() < 3 {
            return Err(TOO_SHORT);
        }
        let (after, stanza) = age_stanza(rest).map_err(|_| TOO_SHORT)?;
        stanzas.push(stanza.into());
        rest = after;
    }
    let signed = limit.len() - rest.len() + 3;
    let line_end = rest.iter().position(|b| *b == b'\n').ok_or(TOO_SHORT)?;
    let mac = rest[3..line_end].strip_prefix(b" ").ok_or(Error::Damaged("its header has no MAC"))?;
    let mac = BASE64_STANDARD_NO_PAD.decode(mac).map_err(|_| Error::Damaged("its header has no MAC"))?;
    Ok((stanzas, signed, mac, limit.len() - rest.len() + line_end + 1))
}

/// Seals bytes under a symmetric key, bound to the object's kind and key.
pub(crate) fn seal(magic: [u8; 8], object: &str, plain: &[u8], key: &SealKey) -> Result<Vec<u8>, Error> {
    let mut nonce = [0; 24];
    getrandom::fill(&mut nonce).map_err(|e| Error::Encrypt(e.to_string()))?;
    let sealed = XChaCha20Poly1305::new((&*key.0).into())
        .encrypt(&nonce.into(), Payload { msg: plain, aad: object.as_bytes() })
        .map_err(|_| Error::Encrypt("too long".to_owned()))?;
    Ok([magic.as_slice(), &nonce, &sealed].concat())
}

/// Opens what [`seal`] made for that kind, object and key.
pub(crate) fn unseal(magic: [u8; 8], object: &str, sealed: &[u8], key: &SealKey) -> Result<Vec<u8>, Error> {
    let rest = sealed.strip_prefix(magic.as_slice()).ok_or(Error::Sealed)?;
    let (nonce, ciphertext) = rest.split_first_chunk::<24>().ok_or(Error::Sealed)?;
    XChaCha20Poly1305::new((&*key.0).into())
        .decrypt(nonce.into(), Payload { msg: ciphertext, aad: object.as_bytes() })
        .map_err(|_| Error::Sealed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{keys::Keys, layout::VolumeName};

    fn state() -> StateKey {
        Keys::from_parts([1; 32], [2; 32]).for_volume(&VolumeName::new("v").expect("a name")).state
    }

    fn noise(len: usize) -> Vec<u8> {
        (0..len).map(|i| u8::try_from((i * i + i / 7) % 251).expect("below 251")).collect()
    }

    #[test]
    fn every_range_of_an_age_file_opens_to_the_same_bytes_as_the_whole() {
        let at = |n: u64| usize::try_from(n).expect("it is short");
        let recipient = Recipient::of_state(&state()).expect("a key");
        let identity = Identity::of_state(&state()).expect("a key").0;
        for len in [1, 65_535, 65_536, 65_537, 200_000] {
            let plain = noise(len);
            let object = encrypt(&plain, std::slice::from_ref(&recipient)).expect("encrypts");
            assert_eq!(decrypt(&object, &identity).as_deref(), Ok(plain.as_slice()));
            let opened = Opened::new(&object[..object.len().min(2048)], &identity).expect("opens");
            let (stored, total) = (object.len() as u64, len as u64);
            assert_eq!(opened.plain_length(stored), Ok(total));
            for start in [0, 1, 65_535, 65_536, 100_000] {
                for end in [start + 1, start + 70_000, total] {
                    if start < end && end <= total {
                        let range = opened.stored_range(start..end, stored);
                        let part = &object[at(range.start)..at(range.end)];
                        let want = &plain[at(start)..at(end)];
                        assert_eq!(
                            opened.decrypt(start..end, part, total).as_deref(),
                            Ok(want),
                            "{len}: {start}..{end}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_stock_age_reader_opens_it_and_a_wrong_identity_does_not() {
        let recipient = Recipient::of_state(&state()).expect("a key");
        let object = encrypt(b"plain", &[recipient]).expect("encrypts");
        let theirs = Identity::of_state(&state()).expect("a key").1;
        assert_eq!(age::decrypt(&theirs, &object).ok().as_deref(), Some(b"plain".as_slice()));
        let other = Identity::parse(age::x25519::Identity::generate().to_string().expose_secret());
        assert_eq!(decrypt(&object, &other.expect("an identity")), Err(Error::NoMatch));
    }

    #[test]
    fn every_changed_byte_and_every_cut_of_an_age_file_is_detected() {
        let recipient = Recipient::of_state(&state()).expect("a key");
        let identity = Identity::of_state(&state()).expect("a key").0;
        let object = encrypt(&noise(300), &[recipient]).expect("encrypts");
        for at in 0..object.len() {
            let mut changed = object.clone();
            changed[at] ^= 1;
            // A changed version line makes it no age file at all: the frame's own checks meet it then.
            if is_age(&changed) {
                assert!(decrypt(&changed, &identity).is_err(), "byte {at}");
                assert!(decrypt(&object[..at.max(VERSION.len())], &identity).is_err(), "cut to {at}");
            }
        }
    }

    #[test]
    fn a_sealed_object_opens_only_as_itself() {
        let key = SealKey(zeroize::Zeroizing::new([5; 32]));
        let sealed = seal(*b"TSIXDEL1", "v1/ix/0/a-0", b"entries", &key).expect("seals");
        assert_eq!(unseal(*b"TSIXDEL1", "v1/ix/0/a-0", &sealed, &key), Ok(b"entries".to_vec()));
        assert_eq!(unseal(*b"TSIXDEL1", "v1/ix/0/a-1", &sealed, &key), Err(Error::Sealed));
        assert_eq!(unseal(*b"TSPART01", "v1/ix/0/a-0", &sealed, &key), Err(Error::Sealed));
    }
}
