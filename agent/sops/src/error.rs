//! What can go wrong with a SOPS file: which path in it, and what the caller can do about it. No error quotes a value.

/// Result of an operation on a SOPS file.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation on a SOPS file that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not YAML or JSON.
    #[error("line {line}: {what}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// The text has a form that sops does not keep.
    #[error("line {line}: {what}, which a SOPS file cannot have; write the value out")]
    Form {
        /// The line, from 1.
        line: usize,
        /// The form.
        what: &'static str,
    },
    /// The file has no `sops` block.
    #[error("it has no `sops` block: it is not sealed")]
    NotSealed,
    /// The file that is to be sealed is sealed already.
    #[error("it has a `sops` block: it is sealed already; change it with `sops edit`")]
    Sealed,
    /// The `sops` block cannot be used.
    #[error("its `sops` block: {0}")]
    Metadata(String),
    /// None of the identities opens the data key.
    #[error("no identity opens it ({given} tried); its recipients are {}", recipients.join(", "))]
    NoIdentity {
        /// How many identities there were.
        given: usize,
        /// Who can open it.
        recipients: Vec<String>,
    },
    /// A value that must be ciphertext is none, or does not open.
    #[error("{path}: {what}")]
    Value {
        /// Where the value stands, keys joined with `.`.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The values are not those that were sealed.
    #[error(
        "its values are not those that were sealed (MAC mismatch): it was changed without sops, or its keys were put into another order"
    )]
    Mac,
    /// The text is not a recipient.
    #[error("`{0}` is not an age recipient (age1… or an ssh-ed25519 or ssh-rsa public key)")]
    Recipient(String),
    /// There is nobody to seal for.
    #[error("there is no recipient to seal for; name one in .sops.yaml (`age: age1…`)")]
    NoRecipient,
    /// The text holds no identity that can be used.
    #[error("no age identity: {0}")]
    Identity(String),
    /// `.sops.yaml` cannot be used.
    #[error(".sops.yaml: {0}")]
    Rules(String),
    /// A reference cannot be replaced by its value.
    #[error("{path}: {reference}: {what}")]
    Reference {
        /// Where the reference stands.
        path: String,
        /// The reference, which is no secret.
        reference: String,
        /// Why not.
        what: String,
    },
    /// The value of a reference would stand in the file readably.
    #[error("{path}: a reference stands where the rule encrypts nothing, so its value would be readable")]
    Exposed {
        /// Where the reference stands.
        path: String,
    },
    /// A file cannot be read or written.
    #[error("{path}: {what}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        what: String,
    },
    /// The kernel gave no random bytes, or a cipher refused its work.
    #[error("encryption failed: {0}")]
    Encrypt(String),
}

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Try again later.
    Transient,
    /// No identity fits.
    Denied,
    /// What was asked for is not there.
    Missing,
    /// The text, the rule or the reference is not right.
    Invalid,
    /// The sealed bytes are not what they were.
    Corrupt,
}

impl Error {
    /// What the caller can do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Syntax { .. }
            | Self::Form { .. }
            | Self::Sealed
            | Self::Recipient(_)
            | Self::NoRecipient
            | Self::Identity(_)
            | Self::Rules(_)
            | Self::Exposed { .. } => Class::Invalid,
            Self::NotSealed | Self::Reference { .. } | Self::File { .. } => Class::Missing,
            Self::NoIdentity { .. } => Class::Denied,
            Self::Metadata(_) | Self::Value { .. } | Self::Mac => Class::Corrupt,
            Self::Encrypt(_) => Class::Transient,
        }
    }
}
