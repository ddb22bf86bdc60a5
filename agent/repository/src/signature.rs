//! Signed JSON objects: the signature is the last field, and covers all bytes before it. Source: `FORMAT.md` §8, §9.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};
use serde::Serialize;

use crate::keys::Signer;

const FIELD: &str = ",\"sig\":\"";

/// An Ed25519 public key; as text, standard base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for PublicKey {
    type Err = Unsigned;

    fn from_str(text: &str) -> Result<Self, Unsigned> {
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| Unsigned::Shape)?;
        Ok(Self(bytes.try_into().map_err(|_| Unsigned::Shape)?))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(|_| serde::de::Error::custom("a public key is 32 bytes in base64"))
    }
}

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// There is no signature, key or JSON object where the format has one.
    #[error("it is not a signed object of this format")]
    Shape,
    /// The signature is another message's or another key's.
    #[error("its signature is wrong: it was damaged, or forged")]
    Wrong,
}

/// What a signature is for; part of the signed message, so that one kind never passes for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A commit.
    Commit,
    /// `repo.json`.
    Repo,
    /// What lies of a backup of a cluster's objects.
    Inventory,
}

impl Purpose {
    fn prefix(self) -> &'static [u8] {
        match self {
            Self::Commit => b"tarext/1 commit\0",
            Self::Repo => b"tarext/1 repo\0",
            Self::Inventory => b"trysail-backup/1\0",
        }
    }
}

fn message(purpose: Purpose, unsigned: &[u8]) -> Vec<u8> {
    [purpose.prefix(), unsigned, b"}"].concat()
}

/// The value as compact JSON with its signature as the last field.
pub(crate) fn sign<T: Serialize>(purpose: Purpose, value: &T, signer: &Signer) -> Vec<u8> {
    let mut json = serde_json::to_vec(value).expect("stored structs are JSON objects");
    json.pop();
    let signature = BASE64_STANDARD.encode(signer.sign(&message(purpose, &json)));
    json.extend_from_slice(FIELD.as_bytes());
    json.extend_from_slice(signature.as_bytes());
    json.extend_from_slice(b"\"}");
    json
}

/// The inventory of a backup, signed by a location's root key: compact JSON with the signature as its last field.
pub fn sign_inventory<T: Serialize>(inventory: &T, root: &Signer) -> Vec<u8> {
    sign(Purpose::Inventory, inventory, root)
}

/// Verifies an inventory by the root key that is trusted; gives its JSON without the signature.
///
/// # Errors
/// It is not signed, or not by that key.
pub fn verify_inventory(object: &[u8], root: PublicKey) -> Result<Vec<u8>, Unsigned> {
    verify(Purpose::Inventory, object, root)
}

/// Verifies the object's signature by that key; gives the JSON without the signature, which is what was signed.
pub(crate) fn verify(purpose: Purpose, object: &[u8], key: PublicKey) -> Result<Vec<u8>, Unsigned> {
    let (mut unsigned, signature) = split(object)?;
    let key = VerifyingKey::from_bytes(&key.0).map_err(|_| Unsigned::Wrong)?;
    key.verify_strict(&message(purpose, &unsigned), &signature).map_err(|_| Unsigned::Wrong)?;
    unsigned.push(b'}');
    Ok(unsigned)
}

/// The object's JSON without its signature, unverified: only to learn which key it names.
pub(crate) fn unverified(object: &[u8]) -> Result<Vec<u8>, Unsigned> {
    let (mut unsigned, _) = split(object)?;
    unsigned.push(b'}');
    Ok(unsigned)
}

fn split(object: &[u8]) -> Result<(Vec<u8>, Signature), Unsigned> {
    let text = std::str::from_utf8(object).map_err(|_| Unsigned::Shape)?;
    let (unsigned, rest) = text.rsplit_once(FIELD).ok_or(Unsigned::Shape)?;
    let signature = rest.strip_suffix("\"}").ok_or(Unsigned::Shape)?;
    let signature = BASE64_STANDARD.decode(signature).map_err(|_| Unsigned::Shape)?;
    let signature = Signature::from_slice(&signature).map_err(|_| Unsigned::Shape)?;
    Ok((unsigned.as_bytes().to_vec(), signature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    #[test]
    fn every_flipped_bit_of_a_signed_object_is_detected() {
        let signer = Keys::from_parts([1; 32], [2; 32]).signer();
        let mut object = sign(Purpose::Commit, &serde_json::json!({"format": "tarext/1", "n": 1}), &signer);
        assert_eq!(verify(Purpose::Commit, &object, signer.public()), Ok(br#"{"format":"tarext/1","n":1}"#.to_vec()));
        assert_eq!(verify(Purpose::Repo, &object, signer.public()), Err(Unsigned::Wrong));
        assert_eq!(verify_inventory(&object, signer.public()), Err(Unsigned::Wrong));
        let inventory = sign_inventory(&serde_json::json!({"n": 1}), &signer);
        assert_eq!(verify_inventory(&inventory, signer.public()), Ok(br#"{"n":1}"#.to_vec()));
        for bit in 0..object.len() * 8 {
            object[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(Purpose::Commit, &object, signer.public()).is_err(), "bit {bit}");
            object[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
