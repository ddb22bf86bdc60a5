//! The rules of `.sops.yaml`: which files are sealed, what of them, and for whom.
//!
//! Source: sops, `config/config.go`. The first rule whose pattern matches the path below the directory of `.sops.yaml` counts; one
//! without a pattern matches every path.

use regex::Regex;
use serde::Deserialize;

use crate::{
    Error, Result,
    keys::Recipient,
    policy::{Fields, Policy, Selection},
};

/// The name of the file that holds them. Source: sops.
pub const RULES: &str = ".sops.yaml";

/// How a rule for all files is called.
const WITHOUT_PATTERN: &str = "the rule without path_regex";

/// All rules, in their order.
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);

/// One rule.
#[derive(Debug)]
pub struct Rule {
    path: Option<Regex>,
    selection: Selection,
    /// Texts of age recipients.
    pub(crate) recipients: Vec<String>,
    /// Whether it names keys that are no age recipients.
    has_other_keys: bool,
}

#[derive(Debug, Deserialize)]
struct File {
    #[serde(default)]
    creation_rules: Vec<RuleText>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RuleText {
    path_regex: Option<String>,
    age: Option<Recipients>,
    key_groups: Vec<Group>,
    unencrypted_suffix: Option<String>,
    encrypted_suffix: Option<String>,
    unencrypted_regex: Option<String>,
    encrypted_regex: Option<String>,
    unencrypted_comment_regex: Option<String>,
    encrypted_comment_regex: Option<String>,
    #[serde(flatten)]
    others: Others,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Group {
    age: Option<Recipients>,
    #[serde(flatten)]
    others: Others,
}

/// Keys that this program cannot seal for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Others {
    pgp: Option<serde::de::IgnoredAny>,
    kms: Option<serde::de::IgnoredAny>,
    gcp_kms: Option<serde::de::IgnoredAny>,
    hckms: Option<serde::de::IgnoredAny>,
    azure_keyvault: Option<serde::de::IgnoredAny>,
    hc_vault: Option<serde::de::IgnoredAny>,
    hc_vault_transit_uri: Option<serde::de::IgnoredAny>,
}

impl Others {
    fn is_there(&self) -> bool {
        let Self { pgp, kms, gcp_kms, hckms, azure_keyvault, hc_vault, hc_vault_transit_uri } = self;
        [pgp, kms, gcp_kms, hckms, azure_keyvault, hc_vault, hc_vault_transit_uri].iter().any(|key| key.is_some())
    }
}

/// A list, or one text with commas.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Recipients {
    One(String),
    Many(Vec<String>),
}

impl Recipients {
    fn list(self) -> Vec<String> {
        let texts = match self {
            Self::One(text) => text.split(',').map(ToOwned::to_owned).collect(),
            Self::Many(texts) => texts,
        };
        texts.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
    }
}

impl Rules {
    /// The rules of the text of a `.sops.yaml`.
    ///
    /// # Errors
    /// [`Error::Rules`] if it is not YAML of that form, or a rule contradicts itself.
    pub fn parse(text: &str) -> Result<Self> {
        let file: File = serde_saphyr::from_str(text).map_err(|e| Error::Rules(e.to_string()))?;
        file.creation_rules.into_iter().map(Rule::new).collect::<Result<_>>().map(Self)
    }

    /// The rule of a file, by its path below the directory of `.sops.yaml`.
    pub fn rule(&self, path: &str) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.path.as_ref().is_none_or(|regex| regex.is_match(path)))
    }
}

impl Rule {
    fn new(text: RuleText) -> Result<Self> {
        let path = text.path_regex.filter(|text| !text.is_empty());
        let named = path.clone().unwrap_or_else(|| WITHOUT_PATTERN.to_owned());
        let wrong = |what: String| Error::Rules(format!("{named}: {what}"));
        let path =
            path.map(|text| Regex::new(&text)).transpose().map_err(|_| wrong("no regular expression".to_owned()))?;
        let set = |text: Option<String>| text.filter(|text| !text.is_empty());
        let fields = Fields {
            unencrypted_suffix: set(text.unencrypted_suffix),
            encrypted_suffix: set(text.encrypted_suffix),
            unencrypted_regex: set(text.unencrypted_regex),
            encrypted_regex: set(text.encrypted_regex),
            comment_regex: set(text.encrypted_comment_regex).or(set(text.unencrypted_comment_regex)),
        };
        let selection = Selection::new(&fields).map_err(wrong)?;
        if text.key_groups.len() > 1 {
            return Err(wrong("more than one key group is not supported".to_owned()));
        }
        let mut recipients = text.age.map(Recipients::list).unwrap_or_default();
        let mut has_other_keys = text.others.is_there();
        for group in text.key_groups {
            // As sops does: a group counts instead of the keys beside it.
            recipients = group.age.map(Recipients::list).unwrap_or_default();
            has_other_keys = group.others.is_there();
        }
        Ok(Self { path, selection, recipients, has_other_keys })
    }

    /// Whether it says which files are sealed, and not only how.
    pub(crate) fn names_files(&self) -> bool {
        self.path.is_some()
    }

    /// Its pattern, for people.
    pub(crate) fn pattern(&self) -> &str {
        self.path.as_ref().map_or(WITHOUT_PATTERN, Regex::as_str)
    }

    pub(crate) fn selection(&self) -> &Selection {
        &self.selection
    }

    /// How a file that it matches is sealed.
    ///
    /// # Errors
    /// [`Error::Rules`] if it names other keys than age recipients, [`Error::Recipient`] for a text that is none.
    pub fn policy(&self) -> Result<Policy> {
        if self.has_other_keys {
            let what = "it names keys other than age recipients, for which only sops can seal";
            return Err(Error::Rules(format!("{}: {what}", self.pattern())));
        }
        let recipients = self.recipients.iter().map(|text| Recipient::parse(text)).collect::<Result<_>>()?;
        Ok(Policy { selection: self.selection.clone(), recipients })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
keys:
  - &ada age1ada
creation_rules:
  - path_regex: ^secrets/.*\\.enc\\.ya?ml$
    age: age1ada, age1bob
  - path_regex: \\.sops\\.yaml$
    encrypted_regex: ^(data|stringData)$
    mac_only_encrypted: true
    key_groups:
      - age: [*ada]
  - pgp: ABCD
stores:
  yaml: {indent: 2}
";

    #[test]
    fn the_first_rule_that_matches_counts() {
        let rules = Rules::parse(TEXT).unwrap();
        let of = |path: &str| rules.rule(path).map(|rule| (rule.pattern(), rule.recipients.join(" ")));
        assert_eq!(of("secrets/a.enc.yaml"), Some(("^secrets/.*\\.enc\\.ya?ml$", "age1ada age1bob".to_owned())));
        assert_eq!(of("apps/a.sops.yaml"), Some(("\\.sops\\.yaml$", "age1ada".to_owned())));
        assert_eq!(of("README.md"), Some((WITHOUT_PATTERN, String::new())));
        let refused = rules.rule("README.md").unwrap().policy().unwrap_err().to_string();
        let what = "it names keys other than age recipients, for which only sops can seal";
        assert_eq!(refused, format!(".sops.yaml: {WITHOUT_PATTERN}: {what}"));
    }

    #[test]
    fn rules_that_cannot_be_used_are_refused() {
        for text in [
            "creation_rules: 1",
            "creation_rules: [{path_regex: '('}]",
            "creation_rules: [{encrypted_suffix: a, encrypted_regex: b}]",
        ] {
            assert_eq!(Rules::parse(text).unwrap_err().class(), crate::Class::Invalid, "{text}");
        }
    }
}
