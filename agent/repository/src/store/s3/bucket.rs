//! What a bucket tells beyond its objects: the directories under the prefix and the lifecycle rules; and signed URLs by
//! which others fetch one object. Objects themselves are read and written in `s3`.

use ::s3::{Region, command::Command};
use serde::Deserialize;

use super::{Ask, DOCUMENT_BYTES_MAX, FOREIGN_PAGES_MAX, S3, settings};
use crate::store::{Error, ErrorKind, Key, PAGE_KEYS_MAX, Result, counted::Verb};

/// What a bucket does by itself to the objects in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifecycle {
    /// These rules; none where the bucket has no lifecycle.
    Rules(Vec<LifecycleRule>),
    /// The store does not tell us (it denies the question, or does not know it); in its words.
    Untold(String),
}

/// One lifecycle rule, as far as it can remove the current version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifecycleRule {
    /// Its name, by which it can be removed.
    pub id: String,
    /// Whether it is in force.
    pub is_enabled: bool,
    /// What the full keys start with to which it applies; empty for all.
    pub prefix: String,
    /// Whether it asks for tags, which no object of ours has.
    pub asks_for_tags: bool,
    /// Days or a date after which current versions are removed; none where the rule does not remove them.
    pub expires: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Directories {
    is_truncated: bool,
    next_continuation_token: Option<String>,
    #[serde(default)]
    common_prefixes: Vec<Directory>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Directory {
    prefix: String,
}

#[derive(Debug, Deserialize)]
struct Configuration {
    #[serde(default, rename = "Rule")]
    rules: Vec<Rule>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Rule {
    #[serde(rename = "ID")]
    id: String,
    status: String,
    prefix: Option<String>,
    filter: Option<Filter>,
    expiration: Option<Expiration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Filter {
    prefix: Option<String>,
    tag: Option<Tag>,
    and: Option<All>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct All {
    prefix: Option<String>,
    tag: Vec<Tag>,
}

/// A tag; which one does not matter.
#[derive(Debug, Deserialize)]
struct Tag {}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Expiration {
    days: Option<u32>,
    date: Option<String>,
}

impl Rule {
    fn read(self) -> LifecycleRule {
        let filter = self.filter.unwrap_or_default();
        let all = filter.and.unwrap_or_default();
        let expiration = self.expiration.unwrap_or_default();
        let days = expiration.days.filter(|days| *days > 0).map(|days| format!("{days} days"));
        LifecycleRule {
            id: self.id,
            is_enabled: self.status == "Enabled",
            prefix: [filter.prefix, all.prefix, self.prefix].into_iter().flatten().next().unwrap_or_default(),
            asks_for_tags: filter.tag.is_some() || !all.tag.is_empty(),
            expires: days.or(expiration.date),
        }
    }
}

impl S3 {
    /// Names of the directories directly below `prefix` (empty, or ending in `/`) within the store's own prefix, in order.
    ///
    /// # Errors
    /// [`ErrorKind::TooMany`] beyond `limit` names, and those of a listing.
    pub async fn directories(&self, prefix: &str, limit: usize) -> Result<Vec<String>> {
        let full = format!("{}{prefix}", self.prefix);
        let mut names = Vec::new();
        let mut token = None;
        for _ in 0..FOREIGN_PAGES_MAX {
            let command = Command::ListObjectsV2 {
                prefix: full.clone(),
                delimiter: Some("/".to_owned()),
                start_after: None,
                continuation_token: token,
                max_keys: Some(PAGE_KEYS_MAX),
            };
            let answer = self.send(Ask::new(Verb::List, prefix, "/", command)).await?;
            if answer.status != 200 {
                return Err(answer.error(prefix));
            }
            let page: Directories = answer.document(prefix, "ListBucketResult")?;
            let found = page.common_prefixes.iter().filter_map(|d| d.prefix.strip_prefix(&full)?.strip_suffix('/'));
            names.extend(found.map(str::to_owned));
            if names.len() > limit {
                return Err(Error::new(ErrorKind::TooMany, prefix, format!("more than {limit} directories")));
            }
            token = page.next_continuation_token.filter(|_| page.is_truncated);
            if token.is_none() {
                return Ok(names);
            }
        }
        Err(Error::new(ErrorKind::TooMany, prefix, format!("more than {FOREIGN_PAGES_MAX} pages")))
    }

    /// The bucket's lifecycle rules. That the store does not tell them is no error, since no right of ours depends on it.
    ///
    /// Source: S3 `GetBucketLifecycleConfiguration`.
    pub async fn lifecycle(&self) -> Result<Lifecycle> {
        let ask = Ask::new(Verb::Get, "lifecycle", "/", Command::GetBucketLifecycle);
        let answer = self.send(ask.answered_by(DOCUMENT_BYTES_MAX)).await?;
        if answer.status == 200 {
            let read: Configuration = answer.document("lifecycle", "LifecycleConfiguration")?;
            return Ok(Lifecycle::Rules(read.rules.into_iter().map(Rule::read).collect()));
        }
        let error = answer.error("lifecycle");
        match answer.status {
            404 if answer.code() == "NoSuchLifecycleConfiguration" => Ok(Lifecycle::Rules(Vec::new())),
            401 | 403 | 405 | 501 => Ok(Lifecycle::Untold(error.detail)),
            _ => Err(error),
        }
    }

    /// A URL by which anybody may fetch one object for so many seconds. `endpoint` is the store as the reader reaches it; its
    /// own endpoint where absent. Sends nothing, and does not look whether the object exists.
    ///
    /// Source: S3, "Authenticating Requests: Using Query Parameters".
    pub async fn presigned_get(&self, key: &Key, seconds: u32, endpoint: Option<&str>) -> Result<String> {
        let unsigned = |error| Error::new(ErrorKind::Invalid, key, format!("cannot be signed: {error}"));
        let mut bucket = self.bucket.clone();
        if let (Some(public), Region::Custom { endpoint, .. }) = (endpoint, &mut bucket.region) {
            *endpoint = settings::endpoint(public)?;
        }
        bucket.presign_get(format!("/{}", self.full(key)), seconds, None).await.map_err(unsigned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<LifecycleRule> {
        let read: Configuration = quick_xml::de::from_str(text).unwrap();
        read.rules.into_iter().map(Rule::read).collect()
    }

    #[test]
    fn a_rule_says_what_it_removes_and_where() {
        let text = "<LifecycleConfiguration><Rule><Expiration><Days>14</Days></Expiration><ID>a</ID>\
            <Status>Enabled</Status></Rule>\
            <Rule><ID>b</ID><Status>Disabled</Status><Filter><Prefix>x/</Prefix></Filter>\
            <Expiration><Date>2027-01-01T00:00:00Z</Date></Expiration></Rule>\
            <Rule><ID>c</ID><Status>Enabled</Status><Filter><And><Prefix>y</Prefix>\
            <Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>\
            <Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration></Rule>\
            <Rule><ID>d</ID><Status>Enabled</Status><Prefix>old</Prefix>\
            <NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays></NoncurrentVersionExpiration></Rule>\
            </LifecycleConfiguration>";
        let rule = |id: &str, is_enabled, prefix: &str, asks_for_tags, expires: Option<&str>| LifecycleRule {
            id: id.to_owned(),
            is_enabled,
            prefix: prefix.to_owned(),
            asks_for_tags,
            expires: expires.map(str::to_owned),
        };
        let expected = [
            rule("a", true, "", false, Some("14 days")),
            rule("b", false, "x/", false, Some("2027-01-01T00:00:00Z")),
            rule("c", true, "y", true, None),
            rule("d", true, "old", false, None),
        ];
        assert_eq!(rules(text), expected);
    }
}
