//! The BackupRepository of a repository: made when its namespace is first backed up, and told whether it can be used.

use jiff::Timestamp;
use kube::{
    ResourceExt as _,
    api::{ObjectMeta, PostParams},
};
use serde_json::{Value, json};
use trysail_api::{
    backup_repository::{BackupRepository, BackupRepositoryPhase, BackupRepositorySpec},
    backup_storage_location::BackupStorageLocation,
    duration::Duration,
    names::{self, label, label_value},
    time::Time,
    transfer::UploaderType,
};

use super::place;
use crate::{
    Error, Result,
    context::{Context, now},
    error::unless,
    patch,
};

/// How often a repository is pruned whose object does not say otherwise, in hours.
const MAINTENANCE_HOURS: u32 = 24;

/// Makes the object where there is none, and writes whether the repository can be used where that is not yet so.
pub(super) async fn report(
    context: &Context,
    location: &BackupStorageLocation,
    namespace: &str,
    uploader: UploaderType,
    made: Result<(), &Error>,
) -> Result<()> {
    let name = names::backup_repository(namespace, &location.name_any(), uploader.directory());
    let there = if let Some(there) = context.get::<BackupRepository>(&name).await? {
        there
    } else {
        let new = new(location, namespace, uploader);
        let created = context.api().create(&PostParams::default(), &new).await;
        unless(&[409], created).map_err(Error::kubernetes(format!("create BackupRepository {name}")))?;
        new
    };
    match decide(&there, made, now()) {
        Value::Null => Ok(()),
        status => patch::merge::<BackupRepository>(context, &name, &json!({ "status": status })).await,
    }
}

/// The object of a repository of which nothing is known.
fn new(location: &BackupStorageLocation, namespace: &str, uploader: UploaderType) -> BackupRepository {
    let (name, directory) = (location.name_any(), uploader.directory());
    let labels =
        [(label::VOLUME_NAMESPACE, namespace), (label::STORAGE_LOCATION, &name), (label::REPOSITORY_TYPE, directory)];
    let labels = labels.map(|(key, value)| (key.to_owned(), label_value(value)));
    let spec = BackupRepositorySpec {
        backup_storage_location: name.clone(),
        maintenance_frequency: Duration::from_hours(MAINTENANCE_HOURS),
        repository_config: None,
        repository_type: Some(if uploader == UploaderType::Restic { uploader } else { UploaderType::Kopia }),
        restic_identifier: Some(place::url(location, namespace)),
        volume_namespace: namespace.to_owned(),
    };
    BackupRepository {
        metadata: ObjectMeta {
            name: Some(names::backup_repository(namespace, &name, directory)),
            labels: Some(labels.into()),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

/// The fields of the status that are to be written; null for none. A new repository counts as cared for. Pure.
fn decide(there: &BackupRepository, made: Result<(), &Error>, now: Timestamp) -> Value {
    let status = there.status.clone().unwrap_or_default();
    let (phase, message) = match made {
        Ok(()) => (BackupRepositoryPhase::Ready, None),
        Err(error) => (BackupRepositoryPhase::NotReady, Some(error.to_string())),
    };
    if status.phase == Some(phase) && status.message == message {
        return Value::Null;
    }
    let mut fields = json!({ "phase": phase, "message": message });
    if phase == BackupRepositoryPhase::Ready && status.last_maintenance_time.is_none() {
        fields["lastMaintenanceTime"] = json!(Time::new(now));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location() -> BackupStorageLocation {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": { "name": "default" },
            "spec": {
                "provider": "aws", "objectStorage": { "bucket": "velero" },
                "config": { "s3Url": "http://minio:9000" },
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_repository_has_the_object_that_velero_would_make() {
        let expected = json!({
            "apiVersion": "velero.io/v1", "kind": "BackupRepository",
            "metadata": {
                "name": "app1-default-kopia",
                "labels": {
                    "velero.io/repository-type": "kopia", "velero.io/storage-location": "default",
                    "velero.io/volume-namespace": "app1",
                },
            },
            "spec": {
                "backupStorageLocation": "default", "maintenanceFrequency": "24h0m0s", "repositoryType": "kopia",
                "resticIdentifier": "s3:http://minio:9000/velero/restic/app1", "volumeNamespace": "app1",
            },
        });
        assert_eq!(serde_json::to_value(new(&location(), "app1", UploaderType::Unset)).unwrap(), expected);
    }

    #[test]
    fn a_status_is_written_when_it_says_something_else() {
        let now: Timestamp = "2026-11-21T06:00:00Z".parse().unwrap();
        let mut object = new(&location(), "app1", UploaderType::Kopia);
        let mut told = |made: Result<(), &Error>| {
            let fields = decide(&object, made, now);
            if !fields.is_null() {
                object.status = Some(serde_json::from_value(fields.clone()).unwrap());
            }
            fields
        };
        let missing = Error::RepositoryKeyMissing { name: "app1-default-kopia".to_owned(), root: "r".to_owned() };
        let ready = json!({ "phase": "Ready", "message": null, "lastMaintenanceTime": "2026-11-21T06:00:00Z" });
        assert_eq!(told(Ok(())), ready);
        assert_eq!(told(Ok(())), Value::Null);
        assert_eq!(told(Err(&missing)), json!({ "phase": "NotReady", "message": missing.to_string() }));
        assert_eq!(told(Err(&missing)), Value::Null);
    }
}
