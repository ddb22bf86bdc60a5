//! From a BackupStorageLocation to its store: bucket, endpoint, certificates and credentials. What is read there is not
//! known here.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use trysail_api::{
    backup_storage_location::{BackupStorageLocation, BackupStorageLocationSpec},
    reference::SecretKey,
};
use trysail_repository::store::{
    credentials::Credentials,
    s3::{S3, S3Settings, Trust},
};

use crate::{Error, Result, context::Context};

/// Region that is signed for where none is named: what MinIO and most others take.
const DEFAULT_REGION: &str = "us-east-1";

/// Settings of Velero's plugin for AWS that change nothing here: each is about how objects are written.
/// Source: velero-plugin-for-aws, backupstoragelocation.md.
const WITHOUT_EFFECT: [&str; 4] = ["signatureVersion", "checksumAlgorithm", "enableSharedConfig", "bucket"];

/// Those that have one.
const WITH_EFFECT: [&str; 7] =
    ["region", "s3Url", "s3ForcePathStyle", "publicUrl", "insecureSkipTLSVerify", "profile", "caCert"];

/// The store of a location.
pub(crate) struct Place {
    /// Name of the location.
    pub(crate) location: String,
    /// The store under the location's prefix.
    pub(crate) store: S3,
    /// The store as people outside the cluster reach it; like the server does where absent.
    pub(crate) public_url: Option<String>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("location", &self.location).finish_non_exhaustive()
    }
}

/// What the config of a location says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    region: Option<String>,
    endpoint: Option<String>,
    path_style: bool,
    public_url: Option<String>,
    trusts_anybody: bool,
    profile: Option<String>,
    /// Settings that nothing here understands.
    pub(crate) unknown: Vec<String>,
}

impl Config {
    /// Reads a location's config. An unknown setting is no error: whoever wrote it meant another program.
    pub(crate) fn read(config: Option<&BTreeMap<String, String>>) -> Result<Self, String> {
        let empty = BTreeMap::new();
        let config = config.unwrap_or(&empty);
        let text = |name: &str| config.get(name).filter(|value| !value.is_empty()).cloned();
        let flag = |name: &str| match text(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(format!("config.{name} is \"true\" or \"false\", and not {other:?}")),
        };
        let known = |name: &str| WITH_EFFECT.contains(&name) || WITHOUT_EFFECT.contains(&name);
        Ok(Self {
            region: text("region"),
            endpoint: text("s3Url"),
            path_style: flag("s3ForcePathStyle")?,
            public_url: text("publicUrl"),
            trusts_anybody: flag("insecureSkipTLSVerify")?,
            profile: text("profile"),
            unknown: config.keys().filter(|name| !known(name)).cloned().collect(),
        })
    }

    /// Whether what is sent can be read on its way.
    pub(crate) fn is_plaintext(&self) -> bool {
        self.endpoint.as_deref().is_some_and(|url| url.starts_with("http://"))
    }

    /// Whether who answers is believed without proof.
    pub(crate) fn trusts_anybody(&self) -> bool {
        self.trusts_anybody
    }
}

impl Place {
    /// Opens the store of a location. Sends nothing to it.
    ///
    /// # Errors
    /// [`Error::Location`] where the location, its Secret or its credentials say things that cannot be.
    pub(crate) async fn open(location: &BackupStorageLocation, context: &Context) -> Result<Self> {
        let name = location.metadata.name.clone().unwrap_or_default();
        let wrong = |reason: String| Error::Location { location: name.clone(), reason };
        let spec = &location.spec;
        if let Some(problem) = trysail_api::validate::location(spec).into_iter().next() {
            return Err(wrong(problem));
        }
        let config = Config::read(spec.config.as_ref()).map_err(&wrong)?;
        let text = match &spec.credential {
            Some(key) => secret(context, key).await?.map_err(&wrong)?,
            None => credentials_file(context).map_err(&wrong)?,
        };
        let text = String::from_utf8(text).map_err(|_| wrong("the credentials are not text".to_owned()))?;
        let profile = config.profile.as_deref().unwrap_or("default");
        let credentials = Credentials::from_profile(&text, profile).map_err(|error| wrong(error.to_string()))?;
        let trust = trust(spec, &config, context).await?.map_err(&wrong)?;
        let settings = settings(spec, &config, credentials);
        let store = S3::connect_trusting(&settings, &trust);
        let store = store.map_err(|source| Error::Bucket { location: name.clone(), source })?;
        Ok(Self { location: name, store, public_url: config.public_url })
    }

    /// An error of this location's store.
    pub(crate) fn error(&self, source: trysail_repository::store::Error) -> Error {
        Error::Bucket { location: self.location.clone(), source }
    }
}

/// The address of a location's store, as its config says it, or as AWS calls the one of the region.
///
/// Source of the latter: Velero pkg/repository/config/aws.go.
pub(crate) fn endpoint(location: &BackupStorageLocation) -> String {
    let config = Config::read(location.spec.config.as_ref()).unwrap_or_default();
    let region = config.region.as_deref().unwrap_or(DEFAULT_REGION);
    config.endpoint.map_or_else(|| format!("s3-{region}.amazonaws.com"), |url| url.trim_end_matches('/').to_owned())
}

fn settings(spec: &BackupStorageLocationSpec, config: &Config, credentials: Credentials) -> S3Settings {
    S3Settings {
        bucket: spec.object_storage.bucket.clone(),
        prefix: spec.object_storage.prefix.as_deref().unwrap_or_default().trim_matches('/').to_owned(),
        endpoint: config.endpoint.as_deref().map(|url| url.trim_end_matches('/').to_owned()),
        region: config.region.clone().unwrap_or_else(|| DEFAULT_REGION.to_owned()),
        path_style: config.path_style,
        credentials,
        ca_cert: None,
    }
}

/// One key of a Secret; the inner error says what is wrong with it.
async fn secret(context: &Context, key: &SecretKey) -> Result<Result<Vec<u8>, String>> {
    let Some(found) = context.get::<Secret>(&key.name).await? else {
        return Ok(Err(format!("there is no Secret {}", key.name)));
    };
    let value = found.data.and_then(|mut data| data.remove(&key.key));
    Ok(value.map(|value| value.0).ok_or_else(|| format!("Secret {} has no key {}", key.name, key.key)))
}

fn credentials_file(context: &Context) -> Result<Vec<u8>, String> {
    let path = context.settings.credentials_file.as_ref();
    let path = path.ok_or("it names no Secret with credentials, and the server has no AWS_SHARED_CREDENTIALS_FILE")?;
    std::fs::read(path).map_err(|error| format!("the credentials of the server, {}: {error}", path.display()))
}

async fn trust(spec: &BackupStorageLocationSpec, config: &Config, context: &Context) -> Result<Result<Trust, String>> {
    if config.trusts_anybody {
        return Ok(Ok(Trust::Anybody));
    }
    if let Some(reference) = &spec.object_storage.ca_cert_ref {
        return Ok(secret(context, reference).await?.map(Trust::Roots));
    }
    let Some(text) = &spec.object_storage.ca_cert else { return Ok(Ok(Trust::Roots(Vec::new()))) };
    let decoded = STANDARD.decode(&text.0).map(Trust::Roots);
    Ok(decoded.map_err(|error| format!("objectStorage.caCert is not base64: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<Config, String> {
        Config::read(Some(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()))
    }

    #[test]
    fn the_settings_of_velero_s_plugin_for_aws_are_read() {
        let found = config(&[
            ("region", "minio"),
            ("s3Url", "http://minio:9000/"),
            ("s3ForcePathStyle", "true"),
            ("publicUrl", "https://minio.example.org"),
            ("checksumAlgorithm", ""),
            ("kmsKeyId", "k"),
            ("profile", "writer"),
        ]);
        let expected = Config {
            region: Some("minio".to_owned()),
            endpoint: Some("http://minio:9000/".to_owned()),
            path_style: true,
            public_url: Some("https://minio.example.org".to_owned()),
            trusts_anybody: false,
            profile: Some("writer".to_owned()),
            unknown: vec!["kmsKeyId".to_owned()],
        };
        assert_eq!(found, Ok(expected));
    }

    #[test]
    fn a_flag_that_is_neither_true_nor_false_is_refused_by_name() {
        let found = config(&[("s3ForcePathStyle", "yes")]);
        assert_eq!(found, Err("config.s3ForcePathStyle is \"true\" or \"false\", and not \"yes\"".to_owned()));
    }
}
