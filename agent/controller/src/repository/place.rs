//! Where the repository of a namespace lies in a location. Names and a store; nothing is asked.

use std::{sync::Arc, time::Duration};

use trysail_api::{backup_storage_location::BackupStorageLocation, transfer::UploaderType};
use trysail_repository::store::{ObjectStore, retry::Retry};

use crate::{
    Result,
    bucket::{Place, open::endpoint},
};

/// How long one request of the server to a repository is tried again. Whoever waits for it is a reconciliation, which comes
/// again by itself.
const PATIENCE: Duration = Duration::from_mins(1);

/// The directory of a namespace's repository, below the prefix of the location.
pub(crate) fn directory(uploader: UploaderType, namespace: &str) -> String {
    format!("{}/{namespace}", uploader.directory())
}

/// The store of a namespace's repository, for the server.
pub(crate) fn store(place: &Place, uploader: UploaderType, namespace: &str) -> Result<Arc<dyn ObjectStore>> {
    let below = place.store.below(&directory(uploader, namespace)).map_err(|error| place.error(error))?;
    Ok(Arc::new(Retry::new(below).with_patience(PATIENCE)))
}

/// The URL by which restic would know the repository: empty where restic was not chosen, as Velero has it.
///
/// Source: Velero pkg/repository/config/config.go.
pub(crate) fn identifier(location: &BackupStorageLocation, uploader: UploaderType, namespace: &str) -> String {
    match uploader {
        UploaderType::Restic => url(location, namespace),
        UploaderType::Kopia | UploaderType::Unset => String::new(),
    }
}

/// The same where it must not be empty: the schema of Velero 1.13 requires it of each BackupRepository.
pub(super) fn url(location: &BackupStorageLocation, namespace: &str) -> String {
    let storage = &location.spec.object_storage;
    let prefix = storage.prefix.as_deref().unwrap_or_default().trim_matches('/');
    let parts = [&*endpoint(location), &*storage.bucket, prefix, UploaderType::Restic.directory(), namespace];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("s3:{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn location(config: &serde_json::Value) -> BackupStorageLocation {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": { "name": "default" },
            "spec": { "provider": "aws", "objectStorage": { "bucket": "velero", "prefix": "/a/" }, "config": config },
        }))
        .unwrap()
    }

    #[test]
    fn a_repository_is_named_as_restic_would() {
        let minio = location(&json!({ "region": "minio", "s3Url": "http://minio.minio.svc:9000/" }));
        let aws = location(&json!({ "region": "eu-central-1" }));
        assert_eq!(url(&minio, "app1"), "s3:http://minio.minio.svc:9000/velero/a/restic/app1");
        assert_eq!(url(&aws, "app1"), "s3:s3-eu-central-1.amazonaws.com/velero/a/restic/app1");
        assert_eq!(identifier(&minio, UploaderType::Kopia, "app1"), "");
    }
}
