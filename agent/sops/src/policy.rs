//! What of a file is encrypted, and for whom.

use regex::Regex;

use crate::{Error, Result, keys::Recipient};

/// The suffix of keys whose values stay readable where no rule says anything. Source: sops, `DefaultUnencryptedSuffix`.
const READABLE_SUFFIX: &str = "_unencrypted";

/// Which values are encrypted: those below a key that matches, or all but those.
#[derive(Debug, Clone)]
pub enum Selection {
    /// Below keys that end so, values are readable; all others are encrypted.
    UnencryptedSuffix(String),
    /// Below keys that end so, values are encrypted.
    EncryptedSuffix(String),
    /// Below keys that match, values are readable; all others are encrypted.
    UnencryptedRegex(Regex),
    /// Below keys that match, values are encrypted.
    EncryptedRegex(Regex),
}

impl Selection {
    /// The selection of a rule or of metadata, of whose four fields one may be set.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub(crate) fn new(fields: &Fields) -> Result<Self, String> {
        let pattern = |text: &str| Regex::new(text).map_err(|_| format!("`{text}` is no regular expression"));
        if fields.comment_regex.is_some() {
            return Err("a selection by comments is not supported".to_owned());
        }
        let Fields { unencrypted_suffix, encrypted_suffix, unencrypted_regex, encrypted_regex, .. } = fields;
        match (unencrypted_suffix, encrypted_suffix, unencrypted_regex, encrypted_regex) {
            (None, None, None, None) => Ok(Self::UnencryptedSuffix(READABLE_SUFFIX.to_owned())),
            (Some(suffix), None, None, None) => Ok(Self::UnencryptedSuffix(suffix.clone())),
            (None, Some(suffix), None, None) => Ok(Self::EncryptedSuffix(suffix.clone())),
            (None, None, Some(text), None) => pattern(text).map(Self::UnencryptedRegex),
            (None, None, None, Some(text)) => pattern(text).map(Self::EncryptedRegex),
            _ => Err("more than one of encrypted_regex and its like is set".to_owned()),
        }
    }

    /// Whether what is below these keys is encrypted.
    pub(crate) fn covers<'k>(&self, mut keys: impl Iterator<Item = &'k str>) -> bool {
        match self {
            Self::UnencryptedSuffix(suffix) => !keys.any(|key| key.ends_with(suffix.as_str())),
            Self::EncryptedSuffix(suffix) => keys.any(|key| key.ends_with(suffix.as_str())),
            Self::UnencryptedRegex(regex) => !keys.any(|key| regex.is_match(key)),
            Self::EncryptedRegex(regex) => keys.any(|key| regex.is_match(key)),
        }
    }

    /// Its name and text in metadata.
    pub(crate) fn field(&self) -> (&'static str, &str) {
        match self {
            Self::UnencryptedSuffix(suffix) => ("unencrypted_suffix", suffix),
            Self::EncryptedSuffix(suffix) => ("encrypted_suffix", suffix),
            Self::UnencryptedRegex(regex) => ("unencrypted_regex", regex.as_str()),
            Self::EncryptedRegex(regex) => ("encrypted_regex", regex.as_str()),
        }
    }
}

impl PartialEq for Selection {
    fn eq(&self, other: &Self) -> bool {
        self.field() == other.field()
    }
}

impl Eq for Selection {}

/// The fields of a selection as rules and metadata have them; empty texts count as absent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields {
    pub(crate) unencrypted_suffix: Option<String>,
    pub(crate) encrypted_suffix: Option<String>,
    pub(crate) unencrypted_regex: Option<String>,
    pub(crate) encrypted_regex: Option<String>,
    /// Either selection by comments.
    pub(crate) comment_regex: Option<String>,
}

/// How a file is to be sealed.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Which values are encrypted.
    pub selection: Selection,
    /// Who can open it.
    pub recipients: Vec<Recipient>,
}

impl Policy {
    /// The texts of the recipients, sorted.
    pub(crate) fn recipient_texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.recipients.iter().map(|recipient| recipient.text().to_owned()).collect();
        texts.sort();
        texts.dedup();
        texts
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.recipients.is_empty() { Err(Error::NoRecipient) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_anywhere_above_a_value_decides() {
        let regex = |text: &str| Some(text.to_owned());
        let secrets = Selection::new(&Fields { encrypted_regex: regex("^(data|stringData)$"), ..Fields::default() });
        let secrets = secrets.unwrap();
        assert!(secrets.covers(["stringData", "a", "b"].into_iter()));
        assert!(!secrets.covers(["metadata", "dataset"].into_iter()));
        let all = Selection::new(&Fields::default()).unwrap();
        assert!(all.covers(["a"].into_iter()) && !all.covers(["a_unencrypted", "b"].into_iter()));
        let two = Fields { encrypted_regex: regex("a"), encrypted_suffix: regex("b"), ..Fields::default() };
        assert_eq!(Selection::new(&two).unwrap_err(), "more than one of encrypted_regex and its like is set");
    }
}
