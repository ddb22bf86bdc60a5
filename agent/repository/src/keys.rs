//! Keys: the root and domain key of a repository, and what is derived from them. Source: `FORMAT.md` §9.
//!
//! Wrapping for recipients is in `seal`; where keys are kept outside the repository is the caller's affair.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    frame::FrameId,
    layout::VolumeName,
    seal::{self, Identity},
    signature::PublicKey,
};

/// The secrets of a repository. `Debug` shows nothing of them.
#[derive(Clone)]
pub struct Keys {
    root: Zeroizing<[u8; 32]>,
    domain: Zeroizing<[u8; 32]>,
    epoch: u32,
}

/// The content of `keys/<n>`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    root: Zeroizing<String>,
    domain: Zeroizing<String>,
    epoch: u32,
}

/// The text is not that of a `keys` object. Says nothing of what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it does not hold the keys of a repository")]
pub struct NotKeys;

impl Keys {
    /// New keys from the kernel's random bytes.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut keys = Self { root: Zeroizing::new([0; 32]), domain: Zeroizing::new([0; 32]), epoch: 1 };
        getrandom::fill(keys.root.as_mut())?;
        getrandom::fill(keys.domain.as_mut())?;
        Ok(keys)
    }

    /// New keys of another repository whose `repo.json` the same root key signs.
    pub fn with_new_domain(&self) -> Result<Self, getrandom::Error> {
        let mut domain = Zeroizing::new([0; 32]);
        getrandom::fill(domain.as_mut())?;
        Ok(Self { root: self.root.clone(), domain, epoch: 1 })
    }

    /// These keys, for tests that must not depend on chance.
    pub fn from_parts(root: [u8; 32], domain: [u8; 32]) -> Self {
        Self { root: Zeroizing::new(root), domain: Zeroizing::new(domain), epoch: 1 }
    }

    /// The JSON that is stored in `keys/<n>` (wrapped, where there are recipients) and in a state directory.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let stored = Stored {
            root: Zeroizing::new(hex::encode(*self.root)),
            domain: Zeroizing::new(hex::encode(*self.domain)),
            epoch: self.epoch,
        };
        Zeroizing::new(serde_json::to_vec(&stored).expect("two texts and a number are JSON"))
    }

    /// The keys in that JSON.
    pub fn from_json(bytes: &[u8]) -> Result<Self, NotKeys> {
        let stored: Stored = serde_json::from_slice(bytes).map_err(|_| NotKeys)?;
        let mut keys = Self { root: Zeroizing::new([0; 32]), domain: Zeroizing::new([0; 32]), epoch: stored.epoch };
        hex::decode_to_slice(stored.root.as_bytes(), keys.root.as_mut()).map_err(|_| NotKeys)?;
        hex::decode_to_slice(stored.domain.as_bytes(), keys.domain.as_mut()).map_err(|_| NotKeys)?;
        Ok(keys)
    }

    fn derive<const N: usize>(&self, info: &[&[u8]]) -> Zeroizing<[u8; N]> {
        let mut key = Zeroizing::new([0; N]);
        Hkdf::<Sha256>::new(None, self.domain.as_ref())
            .expand_multi_info(info, key.as_mut())
            .expect("HKDF-SHA-256 gives up to 8160 bytes");
        key
    }

    /// The key that signs `repo.json`.
    pub fn root(&self) -> Signer {
        Signer(SigningKey::from_bytes(&self.root))
    }

    /// What one session needs to write this volume; the root key is not in it.
    pub fn for_volume(&self, volume: &VolumeName) -> TaskKeys {
        let escaped = volume.escaped();
        TaskKeys {
            dedup: self.derive(&[b"tarext/1 dedup"]),
            gear: u64::from_le_bytes(*self.derive(&[b"tarext/1 gear"])),
            index: SealKey(self.derive(&[b"tarext/1 index"])),
            part: SealKey(self.derive(&[b"tarext/1 part\0", escaped.as_bytes()])),
            state: StateKey(self.derive(&[b"tarext/1 state\0", escaped.as_bytes()])),
            signer: self.signer(),
        }
    }

    /// Epoch of the domain key.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The key that signs commits.
    pub fn signer(&self) -> Signer {
        Signer(SigningKey::from_bytes(&self.derive(&[b"tarext/1 signer"])))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys {{ root: {:?}, .. }}", self.root().public())
    }
}

/// The derived keys of one session: enough to write one volume, not enough to read any content.
#[derive(Debug, Clone)]
pub struct TaskKeys {
    dedup: Zeroizing<[u8; 32]>,
    /// Seed of the cut.
    pub gear: u64,
    /// Seal of index objects.
    pub index: SealKey,
    /// Seal of partial tables of this volume.
    pub part: SealKey,
    /// Opens the meta packs of this volume.
    pub state: StateKey,
    /// Signs the commit.
    pub signer: Signer,
}

/// Task keys on their way to whoever writes the volume.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HandedOver {
    dedup: Zeroizing<String>,
    gear: u64,
    index: Zeroizing<String>,
    part: Zeroizing<String>,
    state: Zeroizing<String>,
    signer: Zeroizing<String>,
}

impl TaskKeys {
    /// The JSON in which they are handed over. It holds secrets: whoever sends it encrypts it.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let text = |key: &[u8; 32]| Zeroizing::new(hex::encode(key));
        let json = HandedOver {
            dedup: text(&self.dedup),
            gear: self.gear,
            index: text(&self.index.0),
            part: text(&self.part.0),
            state: text(&self.state.0),
            signer: text(&Zeroizing::new(self.signer.0.to_bytes())),
        };
        Zeroizing::new(serde_json::to_vec(&json).expect("texts and a number are JSON"))
    }

    /// The keys in that JSON.
    pub fn from_json(bytes: &[u8]) -> Result<Self, NotKeys> {
        let json: HandedOver = serde_json::from_slice(bytes).map_err(|_| NotKeys)?;
        let key = |text: &str| {
            let mut key = Zeroizing::new([0; 32]);
            hex::decode_to_slice(text.as_bytes(), key.as_mut()).map_err(|_| NotKeys)?;
            Ok(key)
        };
        Ok(Self {
            dedup: key(&json.dedup)?,
            gear: json.gear,
            index: SealKey(key(&json.index)?),
            part: SealKey(key(&json.part)?),
            state: StateKey(key(&json.state)?),
            signer: Signer(SigningKey::from_bytes(&*key(&json.signer)?)),
        })
    }

    /// What opens the volume's file tables, and nothing else.
    pub fn table_identity(&self) -> Result<Identity, seal::Error> {
        Ok(Identity::of_state(&self.state)?.0)
    }

    /// The id of a frame whose decoded bytes have this SHA-256.
    pub fn frame_id(&self, sha256: &[u8; 32]) -> FrameId {
        self.id(sha256, &[])
    }

    /// The id of the content of a small file with this SHA-256; what is found by it is the content with its padding.
    pub fn content_id(&self, sha256: &[u8; 32]) -> FrameId {
        self.id(sha256, &[1])
    }

    fn id(&self, sha256: &[u8; 32], suffix: &[u8]) -> FrameId {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.dedup.as_ref()).expect("HMAC takes a key of any length");
        mac.update(sha256);
        mac.update(suffix);
        let tag = mac.finalize().into_bytes();
        let mut id = [0; 16];
        id.copy_from_slice(&tag[..16]);
        FrameId(id)
    }
}

/// A symmetric key of sealed objects.
#[derive(Clone)]
pub struct SealKey(pub(crate) Zeroizing<[u8; 32]>);

impl SealKey {
    /// A key that nothing is derived from and nobody keeps: for data that only this process reads.
    pub(crate) fn ephemeral() -> Result<Self, getrandom::Error> {
        let mut key = Self(Zeroizing::default());
        getrandom::fill(key.0.as_mut())?;
        Ok(key)
    }
}

/// The X25519 secret that opens the meta packs of one volume.
#[derive(Clone)]
pub struct StateKey(pub(crate) Zeroizing<[u8; 32]>);

/// A signing key.
#[derive(Clone)]
pub struct Signer(SigningKey);

impl Signer {
    /// What verifies its signatures.
    pub fn public(&self) -> PublicKey {
        PublicKey(VerifyingKey::from(&self.0).to_bytes())
    }

    /// The Ed25519 signature of a message.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

macro_rules! silent_debug {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    )*};
}
silent_debug!(SealKey, StateKey, Signer);

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::from_parts([1; 32], [2; 32])
    }

    #[test]
    fn derived_keys_never_change() {
        let task = keys().for_volume(&VolumeName::new("db/data").expect("a name"));
        let text = format!(
            "dedup {}\ngear {:016x}\nindex {}\npart {}\nstate {}\nsigner {:?}\nroot {:?}\nid {}\ncontent {}",
            hex::encode(*task.dedup),
            task.gear,
            hex::encode(*task.index.0),
            hex::encode(*task.part.0),
            hex::encode(*task.state.0),
            task.signer.public(),
            keys().root().public(),
            hex::encode(task.frame_id(&[3; 32]).0),
            hex::encode(task.content_id(&[3; 32]).0),
        );
        expect_test::expect![[r"
            dedup 965e0c8f41380fd4ead1bc546c3363c918acb89c5c92df2595ee1d240d934cd9
            gear c931fcb90d94ba33
            index a5a654aee54b2d903c55433f2a9213b3a182e140a50b8b11d2d154c27017f273
            part 32080180ed3214f75508958dfbc84651bec10f65b4eccbdb1a794d62bee9c97a
            state 7fda096990e751752881c1c1dc5de8e9c9bbe4ef40cff36f0d065953a7b3e8a5
            signer EzSem20Ws2lKlTPVriHP2EAg6/OVVz7pOcaO3HACYRY=
            root iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=
            id 792e51907ca7d6fb5c7fc9cce17f5658
            content 7493b728e63387a5c66b7d069d8ffbc8"]]
        .assert_eq(&text);
    }

    #[test]
    fn keys_survive_their_json_and_debug_shows_none_of_them() {
        let json = keys().to_json();
        let back = Keys::from_json(&json).expect("its own JSON");
        assert_eq!(*back.to_json(), *json);
        let task = keys().for_volume(&VolumeName::new("v").expect("a name"));
        let shown = format!("{:?} {:?} {:?}", keys(), task.index, task.signer);
        assert!(!shown.contains(&"01".repeat(16)) && !shown.contains(&"02".repeat(16)), "{shown}");
        assert_eq!(Keys::from_json(b"{}").err(), Some(NotKeys));
    }

    #[test]
    fn task_keys_survive_their_json() {
        let task = keys().for_volume(&VolumeName::new("v").expect("a name"));
        let json = task.to_json();
        let back = TaskKeys::from_json(&json).expect("its own JSON");
        assert_eq!(*back.to_json(), *json);
        assert_eq!((back.frame_id(&[3; 32]), back.signer.public()), (task.frame_id(&[3; 32]), task.signer.public()));
        assert_eq!(TaskKeys::from_json(&keys().to_json()).err(), Some(NotKeys));
    }

    #[test]
    fn repositories_of_one_root_key_share_nothing_else() {
        let other = keys().with_new_domain().expect("random bytes");
        assert_eq!(other.root().public(), keys().root().public());
        assert_ne!(other.signer().public(), keys().signer().public());
    }
}
