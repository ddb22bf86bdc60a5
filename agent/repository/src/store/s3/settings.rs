//! Where an S3 store is and who we are there: the settings, and their reading from a URL and the AWS variables.

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::store::{Error, ErrorKind, Key, Result, credentials::Credentials};

/// Region that is signed for where none is named: what MinIO and most others take.
const DEFAULT_REGION: &str = "us-east-1";

/// What to do where no credentials are found.
const NO_CREDENTIALS: &str =
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SHARED_CREDENTIALS_FILE to a file with them";

/// Where an S3 store is and who we are there. `Debug` hides the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// Name of the bucket.
    pub bucket: String,
    /// What all keys start with inside the bucket, without `/` at its ends; empty for the whole bucket.
    pub prefix: String,
    /// `http://host:port` or `https://host` of the store; AWS where it is absent.
    pub endpoint: Option<String>,
    /// Region for which requests are signed.
    pub region: String,
    /// Whether the bucket stands in the path instead of the host name.
    pub path_style: bool,
    /// The identity.
    pub credentials: Credentials,
    /// A PEM file with further certificate roots, for a store with a private authority.
    pub ca_cert: Option<PathBuf>,
}

/// The parameters of a URL.
#[derive(Default)]
struct Parameters {
    endpoint: Option<String>,
    region: Option<String>,
    path_style: Option<bool>,
    ca_cert: Option<PathBuf>,
    profile: Option<String>,
}

impl S3Settings {
    /// Reads `s3://bucket/prefix?endpoint=…&region=…&path_style=true|false&ca_cert=PATH&profile=NAME`.
    ///
    /// What the URL does not say comes from the variables that `env` looks up: `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, else the profile `AWS_PROFILE` (`default`) of the file
    /// `AWS_SHARED_CREDENTIALS_FILE` (`$HOME/.aws/credentials`); `AWS_REGION`, `AWS_DEFAULT_REGION`. A profile in the
    /// URL goes before keys in variables. Errors are [`ErrorKind::Invalid`], and [`ErrorKind::Denied`] where there are no
    /// credentials; none repeats a value that may be secret.
    pub fn from_url(url: &str, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let url = reqwest::Url::parse(url).map_err(|error| invalid("the URL", error))?;
        if url.scheme() != "s3" || !url.username().is_empty() || url.password().is_some() || url.port().is_some() {
            return Err(invalid("the URL", "it has the form s3://bucket/prefix, without credentials and port"));
        }
        let bucket = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| invalid("the URL", "no bucket"))?;
        let prefix = url.path().trim_matches('/').to_owned();
        if !prefix.is_empty() && Key::parse(&prefix).is_none() {
            return Err(invalid("the prefix of the URL", "its parts have only A-Z a-z 0-9 . _ ~ -"));
        }
        let parameters = Parameters::read(&url)?;
        let region = parameters.region.or_else(|| env("AWS_REGION")).or_else(|| env("AWS_DEFAULT_REGION"));
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix,
            path_style: parameters.path_style.unwrap_or(parameters.endpoint.is_some()),
            endpoint: parameters.endpoint,
            region: region.unwrap_or_else(|| DEFAULT_REGION.to_owned()),
            credentials: credentials(parameters.profile, &env)?,
            ca_cert: parameters.ca_cert,
        })
    }
}

impl Parameters {
    fn read(url: &reqwest::Url) -> Result<Self> {
        let mut parameters = Self::default();
        for (name, value) in url.query_pairs() {
            match &*name {
                "endpoint" => parameters.endpoint = Some(endpoint(&value)?),
                "region" => parameters.region = Some(value.into_owned()),
                "path_style" => {
                    let style = value.parse().map_err(|_| invalid("path_style", "it is true or false"))?;
                    parameters.path_style = Some(style);
                }
                "ca_cert" => parameters.ca_cert = Some(PathBuf::from(&*value)),
                "profile" => parameters.profile = Some(value.into_owned()),
                _ => return Err(invalid("the URL", "it knows endpoint, region, path_style, ca_cert and profile")),
            }
        }
        Ok(parameters)
    }
}

/// An endpoint without a `/` at its end. One with credentials, a query or another scheme is refused.
pub(super) fn endpoint(text: &str) -> Result<String> {
    let refused = || invalid("endpoint", "it has the form http://host:port or https://host");
    let url = reqwest::Url::parse(text).map_err(|_| refused())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !plain || url.fragment().is_some() || !matches!(url.scheme(), "http" | "https") {
        return Err(refused());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn credentials(profile: Option<String>, env: &impl Fn(&str) -> Option<String>) -> Result<Credentials> {
    let pair = (env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY"));
    if let (None, (Some(access_key), Some(secret_key))) = (&profile, pair) {
        let session_token = env("AWS_SESSION_TOKEN").map(Zeroizing::new);
        return Ok(Credentials { session_token, ..Credentials::new(access_key, secret_key) });
    }
    let path = env("AWS_SHARED_CREDENTIALS_FILE").or_else(|| Some(env("HOME")? + "/.aws/credentials"));
    let Some(path) = path else {
        return Err(Error::new(ErrorKind::Denied, "credentials", NO_CREDENTIALS));
    };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Error::new(ErrorKind::Denied, &path, format!("{}; {NO_CREDENTIALS}", error.kind())))?;
    let profile = profile.or_else(|| env("AWS_PROFILE")).unwrap_or_else(|| "default".to_owned());
    Credentials::from_profile(&Zeroizing::new(text), &profile)
        .map_err(|error| Error::new(ErrorKind::Denied, path, error))
}

fn invalid(what: &str, detail: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Invalid, what, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "AWS_ACCESS_KEY_ID" => Some("id".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("hunter2".to_owned()),
            "AWS_DEFAULT_REGION" => Some("eu-west-1".to_owned()),
            _ => None,
        }
    }

    fn refused(url: &str) -> String {
        S3Settings::from_url(url, env).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_url_with_an_endpoint_is_path_style() {
        let url = "s3://bucket/a/b/?endpoint=http://127.0.0.1:9000/&region=us-east-1";
        let expected = S3Settings {
            bucket: "bucket".to_owned(),
            prefix: "a/b".to_owned(),
            endpoint: Some("http://127.0.0.1:9000".to_owned()),
            region: "us-east-1".to_owned(),
            path_style: true,
            credentials: Credentials::new("id", "hunter2"),
            ca_cert: None,
        };
        assert_eq!(S3Settings::from_url(url, env), Ok(expected));
    }

    #[test]
    fn a_url_without_an_endpoint_is_aws_in_the_region_of_the_environment() {
        let expected = S3Settings {
            bucket: "bucket".to_owned(),
            prefix: String::new(),
            endpoint: None,
            region: "eu-west-1".to_owned(),
            path_style: false,
            credentials: Credentials::new("id", "hunter2"),
            ca_cert: None,
        };
        assert_eq!(S3Settings::from_url("s3://bucket", env), Ok(expected));
    }

    #[test]
    fn a_profile_comes_from_the_named_file_and_goes_before_the_variables() {
        let scratch = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&scratch, "[w]\naws_access_key_id=file\naws_secret_access_key=s\n").unwrap();
        let path = scratch.path().to_str().unwrap().to_owned();
        let with_file =
            |name: &str| (name == "AWS_SHARED_CREDENTIALS_FILE").then(|| path.clone()).or_else(|| env(name));
        let settings = S3Settings::from_url("s3://b?profile=w", with_file).unwrap();
        assert_eq!(settings.credentials, Credentials::new("file", "s"));
    }

    #[test]
    fn a_url_that_cannot_be_meant_is_refused_without_repeating_a_secret() {
        let form = "it has the form s3://bucket/prefix, without credentials and port";
        assert_eq!(refused("s3://id:hunter2@bucket/p"), format!("invalid request: the URL: {form}"));
        assert_eq!(refused("https://bucket/p"), format!("invalid request: the URL: {form}"));
        let known = "it knows endpoint, region, path_style, ca_cert and profile";
        assert_eq!(refused("s3://b?secret=hunter2"), format!("invalid request: the URL: {known}"));
        let endpoint = "it has the form http://host:port or https://host";
        assert_eq!(refused("s3://b?endpoint=http://a:hunter2@h"), format!("invalid request: endpoint: {endpoint}"));
        let parts = "its parts have only A-Z a-z 0-9 . _ ~ -";
        assert_eq!(refused("s3://b/a%20b"), format!("invalid request: the prefix of the URL: {parts}"));
    }
}
