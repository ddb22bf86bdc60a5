//! Who can open a file: recipients, identities, and the data key that is encrypted for each of them.

use std::{
    fmt,
    io::{Read as _, Write as _},
    str::FromStr as _,
    sync::Arc,
};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{Error, Result};

/// Bytes of a data key. Source: sops, AES-256.
pub(crate) const KEY: usize = 32;

/// The key of the values of one file.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DataKey(pub(crate) [u8; KEY]);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

impl Drop for DataKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl DataKey {
    pub(crate) fn generate() -> Result<Self> {
        let mut key = Self([0; KEY]);
        getrandom::fill(&mut key.0).map_err(|e| Error::Encrypt(e.to_string()))?;
        Ok(key)
    }

    /// The key as an armoured age file for one recipient, as sops stores it.
    pub(crate) fn wrap(&self, recipient: &Recipient) -> Result<String> {
        let failed = |e: &dyn fmt::Display| Error::Encrypt(e.to_string());
        let keys = std::iter::once(&*recipient.key as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(keys).map_err(|e| failed(&e))?;
        let armour = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).map_err(|e| failed(&e))?;
        let mut writer = encryptor.wrap_output(armour).map_err(|e| failed(&e))?;
        writer.write_all(&self.0).map_err(|e| failed(&e))?;
        let armour = writer.finish().and_then(ArmoredWriter::finish).map_err(|e| failed(&e))?;
        String::from_utf8(armour).map_err(|e| failed(&e))
    }

    /// The key in an armoured age file; none if no identity opens it.
    pub(crate) fn unwrap(armour: &str, identities: &Identities) -> Result<Option<Self>> {
        let bad = || Error::Metadata("an encrypted data key is no age file".to_owned());
        let file = age::Decryptor::new_buffered(ArmoredReader::new(armour.as_bytes())).map_err(|_| bad())?;
        let keys = identities.keys.iter().map(|key| &**key as &dyn age::Identity);
        let mut reader = match file.decrypt(keys) {
            Ok(reader) => reader,
            Err(age::DecryptError::NoMatchingKeys) => return Ok(None),
            Err(_) => return Err(bad()),
        };
        // One byte more than a key: a longer content is no key.
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEY + 1));
        reader.by_ref().take(KEY as u64 + 1).read_to_end(&mut bytes).map_err(|_| bad())?;
        let key = bytes.as_slice().try_into().map_err(|_| Error::Metadata("a data key has 32 bytes".to_owned()))?;
        Ok(Some(Self(key)))
    }
}

/// Someone who can open what is sealed for them.
#[derive(Clone)]
pub struct Recipient {
    text: String,
    key: Arc<dyn age::Recipient + Send + Sync>,
}

impl Recipient {
    /// The recipient of that text: `age1…`, `ssh-ed25519 …`, `ssh-rsa …`.
    ///
    /// # Errors
    /// [`Error::Recipient`] for other texts.
    pub fn parse(text: &str) -> Result<Self> {
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

/// What opens sealed files: any number of identities.
#[derive(Clone, Default)]
pub struct Identities {
    keys: Vec<Arc<dyn age::Identity + Send + Sync>>,
}

impl Identities {
    /// Adds the identities of a file as `age -i` takes it: `AGE-SECRET-KEY-1…` lines, or an unencrypted SSH private key.
    ///
    /// # Errors
    /// [`Error::Identity`] if there is none in it, or one that cannot be used.
    pub fn add(&mut self, text: &str) -> Result<()> {
        let refused = |what: &str| Err(Error::Identity(what.to_owned()));
        if text.trim_start().starts_with("-----BEGIN") {
            let Ok(key) = age::ssh::Identity::from_buffer(text.as_bytes(), None) else {
                return refused("the SSH key cannot be read");
            };
            match key {
                age::ssh::Identity::Unencrypted(_) => self.keys.push(Arc::new(key)),
                age::ssh::Identity::Encrypted(_) => {
                    return refused("the SSH key has a passphrase; give one without");
                }
                age::ssh::Identity::Unsupported(_) => return refused("this kind of SSH key cannot open age files"),
            }
            return Ok(());
        }
        let Ok(file) = age::IdentityFile::from_buffer(text.as_bytes()) else {
            return refused("there is a line that is neither a key nor a comment");
        };
        let keys = file.into_identities().map_err(|e| Error::Identity(e.to_string()))?;
        if keys.is_empty() {
            return refused("there is no AGE-SECRET-KEY");
        }
        self.keys.extend(keys.into_iter().map(Arc::from));
        Ok(())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.keys.len()
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identities({} secret)", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_data_key_comes_back_to_its_recipient_and_to_nobody_else() {
        let (mine, other) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
        let identities = |key: &age::x25519::Identity| {
            let mut identities = Identities::default();
            identities.add(key.to_string().expose_secret()).unwrap();
            identities
        };
        let key = DataKey::generate().unwrap();
        let armour = key.wrap(&Recipient::parse(&mine.to_public().to_string()).unwrap()).unwrap();
        assert_eq!(DataKey::unwrap(&armour, &identities(&mine)), Ok(Some(key)));
        assert_eq!(DataKey::unwrap(&armour, &identities(&other)), Ok(None));
        assert!(DataKey::unwrap("no age file", &identities(&mine)).is_err());
    }

    #[test]
    fn texts_that_are_no_keys_are_refused_and_not_repeated() {
        assert_eq!(Recipient::parse("age1nobody").unwrap_err(), Error::Recipient("age1nobody".to_owned()));
        let refused = Identities::default().add("AGE-SECRET-KEY-1BAD").unwrap_err().to_string();
        assert_eq!(refused, "no age identity: there is a line that is neither a key nor a comment");
    }
}
