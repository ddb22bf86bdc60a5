//! The credentials of an S3 store and the strict reader of the file they come in. No network, no files, no environment.
//!
//! The file is the shared credentials file of the AWS command line (`[profile]`, then `name = value`), which is also the
//! `cloud` file of Velero. Errors name the line and never what is in it.

use std::fmt;

use zeroize::Zeroizing;

/// Longest text that is read, in bytes: a credentials file has a few lines per profile.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// An access key and its secret. `Debug` shows neither the secret nor the token.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name of the identity (`AWS_ACCESS_KEY_ID`).
    pub access_key: String,
    /// Its secret (`AWS_SECRET_ACCESS_KEY`).
    pub secret_key: Zeroizing<String>,
    /// The token of temporary credentials (`AWS_SESSION_TOKEN`).
    pub session_token: Option<Zeroizing<String>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &"…").finish_non_exhaustive()
    }
}

/// What is wrong with a credentials file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The text is longer than any credentials file.
    #[error("the credentials file has more than {TEXT_BYTES_MAX} bytes")]
    TooLong,
    /// A line, counted from 1, that cannot be read.
    #[error("line {line} of the credentials file: {reason}")]
    Line {
        /// Its number.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No section of that name.
    #[error("the credentials file has no profile [{0}]")]
    NoProfile(String),
    /// The section lacks a value.
    #[error("profile [{profile}] of the credentials file has no {name}")]
    NoValue {
        /// The section.
        profile: String,
        /// The name that is absent or empty.
        name: &'static str,
    },
}

/// The values of one profile while it is read.
#[derive(Default)]
struct Profile {
    seen: bool,
    access_key: Option<Zeroizing<String>>,
    secret_key: Option<Zeroizing<String>>,
    session_token: Option<Zeroizing<String>>,
}

impl Profile {
    /// The place of a value that we use; other names belong to other programs.
    fn place(&mut self, name: &str) -> Option<&mut Option<Zeroizing<String>>> {
        match name {
            "aws_access_key_id" => Some(&mut self.access_key),
            "aws_secret_access_key" => Some(&mut self.secret_key),
            "aws_session_token" | "aws_security_token" => Some(&mut self.session_token),
            _ => None,
        }
    }
}

impl Credentials {
    /// Credentials that do not expire.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        let secret_key = Zeroizing::new(secret_key.into());
        Self { access_key: access_key.into(), secret_key, session_token: None }
    }

    /// Reads one profile of a shared credentials file.
    ///
    /// Accepts a byte order mark, CRLF, lines that start with `#` or `;`, values in one pair of `"` or `'`, any other
    /// section and any other name. A value is taken as it is: `%`, `=`, `#` in it have no meaning.
    pub fn from_profile(text: &str, profile: &str) -> Result<Self, ProfileError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(ProfileError::TooLong);
        }
        let found = read(text.strip_prefix('\u{feff}').unwrap_or(text), profile)?;
        if !found.seen {
            return Err(ProfileError::NoProfile(profile.to_owned()));
        }
        let missing = |name| ProfileError::NoValue { profile: profile.to_owned(), name };
        Ok(Self {
            access_key: found.access_key.ok_or_else(|| missing("aws_access_key_id"))?.to_string(),
            secret_key: found.secret_key.ok_or_else(|| missing("aws_secret_access_key"))?,
            session_token: found.session_token,
        })
    }
}

fn read(text: &str, wanted: &str) -> Result<Profile, ProfileError> {
    let mut profile = Profile::default();
    let mut section: Option<&str> = None;
    // Indented lines below a name without a value are settings of the AWS command line.
    let mut nested = false;
    for (index, raw) in text.lines().enumerate() {
        let wrong = |reason| ProfileError::Line { line: index + 1, reason };
        let line = raw.trim();
        if line.is_empty() || line.starts_with(['#', ';']) || (nested && raw.starts_with([' ', '\t'])) {
            continue;
        }
        nested = false;
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.strip_suffix(']').ok_or_else(|| wrong("a section without ]"))?.trim();
            profile.seen |= name == wanted;
            section = Some(name);
            continue;
        }
        let (name, value) = line.split_once('=').ok_or_else(|| wrong("neither [section] nor name = value"))?;
        let section = section.ok_or_else(|| wrong("a value before the first [section]"))?;
        let value = unquoted(value.trim()).ok_or_else(|| wrong("a quote that does not end"))?;
        nested = value.is_empty();
        if section != wanted || value.is_empty() {
            continue;
        }
        if value.chars().any(char::is_control) {
            return Err(wrong("a control character in a value"));
        }
        let place = profile.place(&name.trim().to_ascii_lowercase());
        if place.is_some_and(|place| place.replace(Zeroizing::new(value.to_owned())).is_some()) {
            return Err(wrong("a name that stood in this profile before"));
        }
    }
    Ok(profile)
}

/// The value without one pair of quotes around it; `None` where a quote opens and does not close.
fn unquoted(value: &str) -> Option<&str> {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return rest.strip_suffix(quote);
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_from_windows_with_quotes_comments_and_foreign_sections_is_read() {
        let text = "\u{feff}# ours\r\n; theirs\r\n[other]\r\nregion = x\r\ns3 =\r\n  max_queue = 1\r\n[ velero ]\r\n\
                    AWS_Access_Key_Id=\"AKIA\"\r\naws_secret_access_key = 'a%b=c#d/+'\r\noutput = json\r\n";
        assert_eq!(Credentials::from_profile(text, "velero"), Ok(Credentials::new("AKIA", "a%b=c#d/+")));
    }

    #[test]
    fn a_session_token_is_read() {
        let text = "[default]\naws_access_key_id=a\naws_secret_access_key=b\naws_session_token=c==\n";
        let mut expected = Credentials::new("a", "b");
        expected.session_token = Some(Zeroizing::new("c==".to_owned()));
        assert_eq!(Credentials::from_profile(text, "default"), Ok(expected));
    }

    #[test]
    fn an_error_names_the_line_and_never_what_is_in_it() {
        let message = |text| Credentials::from_profile(text, "default").map_err(|error| error.to_string());
        let line = |number: usize, reason: &str| Err(format!("line {number} of the credentials file: {reason}"));
        assert_eq!(message("[default]\nhunter2\n"), line(2, "neither [section] nor name = value"));
        assert_eq!(message("[default\n"), line(1, "a section without ]"));
        assert_eq!(message("a=hunter2\n"), line(1, "a value before the first [section]"));
        assert_eq!(message("[default]\na = \"hunter2\n"), line(2, "a quote that does not end"));
        let twice = "[default]\naws_access_key_id=a\naws_access_key_id=b\n";
        assert_eq!(message(twice), line(3, "a name that stood in this profile before"));
    }

    #[test]
    fn an_absent_profile_and_an_absent_value_are_told_apart() {
        assert_eq!(Credentials::from_profile("[a]\n", "b"), Err(ProfileError::NoProfile("b".to_owned())));
        let error = ProfileError::NoValue { profile: "a".to_owned(), name: "aws_secret_access_key" };
        assert_eq!(Credentials::from_profile("[a]\naws_access_key_id=x\naws_secret_access_key=\n", "a"), Err(error));
    }

    #[test]
    fn debug_output_shows_no_part_of_a_credential() {
        let text = format!("{:?}", Credentials::new("AKIA", "hunter2"));
        assert_eq!(text, "Credentials { access_key: \"…\", .. }");
    }
}
