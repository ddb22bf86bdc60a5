//! SOPS files: ciphertext that Git may hold.
//!
//! [`seal`](seal()) makes of a text of YAML or JSON one whose values are encrypted for age recipients, [`open`](open()) the reverse,
//! and [`guard`] finds what ought to be sealed and is not. [`reference`](mod@reference) says what `ref+sops://FILE#KEY` means, and
//! [`rules`] reads `.sops.yaml`. Files are those of sops 3.13, in both directions; its source is where each rule of the form comes
//! from. All is pure but [`file`](mod@file), which replaces a file in one step.
//!
//! ```
//! use trysail_sops::{Format, Identities, Policy, Recipient, Rules, Sealed, open, seal};
//!
//! let rules = Rules::parse("creation_rules: [{encrypted_regex: ^stringData$, \
//!     age: age125a2xzja2mg5p9rc72gmlsp55676x0tp9jc5zmaswlfpp6e89fcqrys9td}]")?;
//! let policy = rules.rule("secret.yaml").unwrap().policy()?;
//! let secret = "kind: Secret\nstringData:\n    user: backup\n";
//! let none = &mut |_: &_| Err("no references here".to_owned());
//! let Sealed::Changed(sealed) = seal(secret, Format::Yaml, &policy, None, none, "2026-11-21T04:15:20Z".parse()?)? else {
//!     panic!("there was no file before")
//! };
//! assert!(sealed.starts_with("kind: Secret\nstringData:\n    user: ENC[AES256_GCM,data:"));
//!
//! let mut identities = Identities::default();
//! identities.add("AGE-SECRET-KEY-17P77WNTE5495TT87HHVCYK05L2R2XFVRKWW49K5WT77CWH842YCQZGERWL")?;
//! assert_eq!(open(&sealed, Format::Yaml, &identities)?.text(), secret);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cipher;
mod document;
mod emit;
mod error;
pub mod file;
pub mod guard;
mod keys;
mod mac;
mod metadata;
mod open;
mod order;
mod policy;
pub mod reference;
pub mod rules;
mod seal;
mod timestamp;
mod value;

pub use document::Format;
pub use error::{Class, Error, Result};
pub use keys::{Identities, Recipient};
pub use open::{Opened, open};
pub use policy::{Policy, Selection};
pub use rules::Rules;
pub use seal::{Sealed, seal};
pub use value::Value;
