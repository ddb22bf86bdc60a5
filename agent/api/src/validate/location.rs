//! What is wrong with the spec of a `BackupStorageLocation`, as far as it says so itself.

use crate::backup_storage_location::BackupStorageLocationSpec;

/// All problems of a location's spec, each beginning with the field.
///
/// Velero has no such step: its plugin refuses, and the message of the location says so.
/// Source of the rule for buckets: Velero `pkg/persistence/object_store.go` (a bucket has no `/`, unless it is an ARN).
pub fn location(spec: &BackupStorageLocationSpec) -> Vec<String> {
    let mut problems = Vec::new();
    let bucket = &spec.object_storage.bucket;
    if bucket.is_empty() {
        problems.push("objectStorage.bucket: no bucket is named".to_owned());
    } else if bucket.contains('/') && !bucket.starts_with("arn:") {
        problems.push(format!(
            "objectStorage.bucket: {bucket:?} contains a slash; what keys begin with belongs into objectStorage.prefix"
        ));
    }
    let config = spec.config.iter().flatten();
    problems.extend(config.filter(|(key, _)| *key == "prefix").map(|(_, prefix)| {
        format!("config.prefix: {prefix:?} has no effect here; it belongs into objectStorage.prefix")
    }));
    if spec.provider.is_empty() {
        problems.push("provider: none is named".to_owned());
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_prefix_in_the_wrong_place_is_named() {
        let spec = json!({
            "provider": "aws",
            "objectStorage": { "bucket": "backups/cluster" },
            "config": { "prefix": "cluster", "region": "eu" },
        });
        let found = location(&serde_json::from_value(spec).unwrap());
        assert_eq!(
            found,
            [
                "objectStorage.bucket: \"backups/cluster\" contains a slash; what keys begin with belongs into objectStorage.prefix",
                "config.prefix: \"cluster\" has no effect here; it belongs into objectStorage.prefix",
            ],
        );
    }
}
