//! Names of sessions: ULIDs, 26 characters that sort by the time of the session's start.

use std::{fmt, str::FromStr};

use jiff::Timestamp;

/// One writer's run; also names what it wrote.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// A new name for a session that starts at `now`, with 80 random bits from the kernel.
    ///
    /// # Errors
    /// When the kernel gives no random bytes.
    pub fn new(now: Timestamp) -> Result<Self, getrandom::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random[6..])?;
        Ok(Self::from_parts(now, random))
    }

    /// The name with this time and the last ten of these bytes: for tests and models that must not depend on chance.
    pub fn from_parts(now: Timestamp, random: [u8; 16]) -> Self {
        let millis = u64::try_from(now.as_millisecond().max(0)).unwrap_or(0).to_be_bytes();
        let mut bytes = random;
        bytes[..6].copy_from_slice(&millis[2..]);
        Self(bytes)
    }

    /// The 16 bytes in which binary objects name it.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The name with these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// When the session says that it started: the writer's own clock, for people only, never for a decision.
    pub fn started(self) -> Timestamp {
        let millis = self.0[..6].iter().fold(0i64, |n, b| n << 8 | i64::from(*b));
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ulid::Ulid::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a ULID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a session: 26 characters of 0-9 A-Z without I, L, O, U")]
pub struct NotASession(pub String);

impl FromStr for SessionId {
    type Err = NotASession;

    fn from_str(text: &str) -> Result<Self, NotASession> {
        let ulid = ulid::Ulid::from_string(text).map_err(|_| NotASession(text.to_owned()))?;
        let id = Self(ulid.to_bytes());
        // Only the canonical spelling names an object: lower case would be another key.
        if id.to_string() == text { Ok(id) } else { Err(NotASession(text.to_owned())) }
    }
}
