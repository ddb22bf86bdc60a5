//! Every label, annotation, finalizer and group that objects carry, each once, and the rules by which names are made.

use sha2::{Digest as _, Sha256};

/// Labels of Velero. Values that are names go through [`label_value`].
pub mod label {
    /// On all that belongs to a Backup, and on all restored objects: its name.
    pub const BACKUP_NAME: &str = "velero.io/backup-name";
    /// On `PodVolumeBackups` and `DeleteBackupRequests`: UID of the Backup.
    pub const BACKUP_UID: &str = "velero.io/backup-uid";
    /// On `PodVolumeRestores` and all restored objects: name of the Restore.
    pub const RESTORE_NAME: &str = "velero.io/restore-name";
    /// On `PodVolumeRestores`: UID of the Restore.
    pub const RESTORE_UID: &str = "velero.io/restore-uid";
    /// On Backups: the Schedule that made them.
    pub const SCHEDULE_NAME: &str = "velero.io/schedule-name";
    /// On Backups and `BackupRepositories`: the `BackupStorageLocation`.
    pub const STORAGE_LOCATION: &str = "velero.io/storage-location";
    /// On `PodVolumeRestores`: UID of the restored pod.
    pub const POD_UID: &str = "velero.io/pod-uid";
    /// On `PodVolumeBackups` and `PodVolumeRestores`: UID of the claim.
    pub const PVC_UID: &str = "velero.io/pvc-uid";
    /// On `BackupRepositories`: the namespace whose volumes it holds.
    pub const VOLUME_NAMESPACE: &str = "velero.io/volume-namespace";
    /// On `BackupRepositories`: the directory in which it lies.
    pub const REPOSITORY_TYPE: &str = "velero.io/repository-type";
    /// On maintenance Jobs: the `BackupRepository`.
    pub const REPOSITORY_NAME: &str = "velero.io/repo-name";
    /// On hosting pods: the `PodVolumeBackup`.
    pub const POD_VOLUME_BACKUP: &str = "velero.io/pod-volume-backup";
    /// On hosting pods, and on the `ConfigMap` of the restore helper: the `PodVolumeRestore`.
    pub const POD_VOLUME_RESTORE: &str = "velero.io/pod-volume-restore";
    /// On transfers whose hosting pod is on its way.
    pub const EXPOSE_ON_GOING: &str = "velero.io/expose-on-going";
    /// On any object, with the value `true`: it is left out of Backups.
    pub const EXCLUDE_FROM_BACKUP: &str = "velero.io/exclude-from-backup";
    /// On expired Backups that cannot be deleted: why, in one word.
    pub const GC_FAILURE: &str = "velero.io/gc-failure";
    /// On `ConfigMaps` with settings of the server.
    pub const PLUGIN_CONFIG: &str = "velero.io/plugin-config";
    /// On `ConfigMaps` that map storage classes.
    pub const CHANGE_STORAGE_CLASS: &str = "velero.io/change-storage-class";
    /// On `ConfigMaps` that map images.
    pub const CHANGE_IMAGE_NAME: &str = "velero.io/change-image-name";
    /// On claims: those with equal values are snapshotted together.
    pub const VOLUME_GROUP: &str = "velero.io/volume-group";
    /// On what belongs to the installation, with the value `velero`.
    pub const COMPONENT: &str = "component";
}

/// Annotations of Velero.
pub mod annotation {
    /// On pods: volumes whose files are read, with commas between.
    pub const BACKUP_VOLUMES: &str = "backup.velero.io/backup-volumes";
    /// On pods: volumes whose files are not read, with commas between.
    pub const BACKUP_VOLUMES_EXCLUDES: &str = "backup.velero.io/backup-volumes-excludes";
    /// On `PodVolumeBackups`: name of the claim.
    pub const PVC_NAME: &str = "velero.io/pvc-name";
    /// On Backups: the longest time for the files of all volumes.
    pub const POD_VOLUME_TIMEOUT: &str = "velero.io/pod-volume-timeout";
    /// On Backups: version of the cluster, as `v1.34.4`.
    pub const SOURCE_CLUSTER_GIT_VERSION: &str = "velero.io/source-cluster-k8s-gitversion";
    /// On Backups: major version of the cluster.
    pub const SOURCE_CLUSTER_MAJOR_VERSION: &str = "velero.io/source-cluster-k8s-major-version";
    /// On Backups: minor version of the cluster.
    pub const SOURCE_CLUSTER_MINOR_VERSION: &str = "velero.io/source-cluster-k8s-minor-version";
    /// On Backups: the longest time to wait for a change of an object.
    pub const RESOURCE_TIMEOUT: &str = "velero.io/resource-timeout";
    /// On any object, with the value `true`: its status is restored.
    pub const RESTORE_STATUS: &str = "velero.io/restore-status";
    /// On restored volumes: the name in the Backup.
    pub const ORIGINAL_PV_NAME: &str = "velero.io/original-pv-name";
    /// On objects of CSI: left out of Backups.
    pub const SKIP_FROM_BACKUP: &str = "velero.io/skip-from-backup";
    /// On pods, before the name of a volume: the snapshot that Velero 1.4 took.
    pub const LEGACY_SNAPSHOT_PREFIX: &str = "snapshot.velero.io/";
    /// On pods, before `container`, `command`, `on-error`, `timeout`: a hook before volumes are read.
    pub const PRE_BACKUP_HOOK_PREFIX: &str = "pre.hook.backup.velero.io/";
    /// The same, as it was written before there were hooks after.
    pub const BACKUP_HOOK_PREFIX: &str = "hook.backup.velero.io/";
    /// On pods: a hook after volumes are read.
    pub const POST_BACKUP_HOOK_PREFIX: &str = "post.hook.backup.velero.io/";
    /// On pods: a hook in a container of the restored pod.
    pub const POST_RESTORE_HOOK_PREFIX: &str = "post.hook.restore.velero.io/";
    /// On pods: a container that runs first in the restored pod.
    pub const INIT_RESTORE_HOOK_PREFIX: &str = "init.hook.restore.velero.io/";
}

/// Annotations of Trysail, all of them.
pub mod own {
    /// On any kind of Velero: what a condition would say.
    pub const CONDITION: &str = "trysail.io/condition";
    /// On Restores: the Secret with the age identity.
    pub const IDENTITY_SECRET: &str = "trysail.io/identity-secret";
    /// On Restores, with the value `true`: data of volumes alone.
    pub const DATA_ONLY: &str = "trysail.io/data-only";
    /// On Restores, with the value `true`: what is in the way is replaced.
    pub const OVERWRITE: &str = "trysail.io/overwrite";
    /// On Restores: an id; claims that bear it already are left alone.
    pub const ONCE: &str = "trysail.io/once";
    /// On claims: the id of the Restore that filled them.
    pub const RESTORED_ONCE: &str = "trysail.io/restored-once";
    /// On Restores, with the value `true`: a Backup without a trusted signature is restored whole.
    pub const ALLOW_UNSIGNED: &str = "trysail.io/allow-unsigned";
    /// On Restores: the `ServiceAccount` in whose name objects are made.
    pub const SERVICE_ACCOUNT: &str = "trysail.io/service-account";
    /// On Restores: the paths to restore.
    pub const PATHS: &str = "trysail.io/paths";
    /// On Schedules: when a restore is tried, in the grammar of `spec.schedule`.
    pub const DRILL: &str = "trysail.io/drill";
    /// On Schedules: what the last such try came to, as JSON.
    pub const DRILLED: &str = "trysail.io/drilled";
    /// On Schedules: the time zone of `spec.schedule` and of the drill.
    pub const TIME_ZONE: &str = "trysail.io/time-zone";
    /// On Schedules: the longest time by which a Backup may be late on purpose.
    pub const JITTER: &str = "trysail.io/jitter";
    /// On `BackupStorageLocations`: the root key that is trusted.
    pub const ROOT_KEY: &str = "trysail.io/root-key";
    /// On `BackupStorageLocations`: for whom new repositories are encrypted.
    pub const RECIPIENTS: &str = "trysail.io/recipients";
    /// On claims and pods: patterns of files that are not read.
    pub const EXCLUDE: &str = "trysail.io/exclude";
    /// On Backups: volumes that are left out, with why.
    pub const SKIPPED_VOLUMES: &str = "trysail.io/skipped-volumes";
    /// On Backups that run: pods of which hooks are still to run, with commas between.
    pub const OWED_HOOKS: &str = "trysail.io/owed-hooks";
    /// On `PodVolumeBackups`: the keys for this volume, sealed for the node agent.
    pub const TASK_KEYS: &str = "trysail.io/task-keys";
    /// On `PodVolumeBackups`: what could not be saved file by file, as JSON.
    pub const PROBLEMS: &str = "trysail.io/problems";
    /// A label of pods that hold a claim: the UID of the Backup for which they do.
    pub const HOLDS_FOR: &str = "trysail.io/holds-for";
    /// On the Lease of a node agent: for whom its task keys are encrypted.
    pub const RECIPIENT: &str = "trysail.io/recipient";
}

/// Finalizers.
pub mod finalizer {
    /// On Restores, until their files in the bucket are gone.
    pub const RESTORE: &str = "restores.velero.io/external-resources-finalizer";
    /// On `PodVolumeBackups` and `PodVolumeRestores`, while they run.
    pub const POD_VOLUME: &str = "velero.io/pod-volume-finalizer";
}

/// Where the server looks for its objects if nobody says otherwise.
pub const DEFAULT_NAMESPACE: &str = "velero";

/// The location that is taken where none is marked as the default.
pub const DEFAULT_LOCATION: &str = "default";

/// The longest value of a label. Source: Kubernetes, DNS label of RFC 1035.
const LABEL_LENGTH: usize = 63;

/// Hexadecimal digits of the hash that tell long names apart.
const HASH_DIGITS: usize = 6;

/// A name as the value of a label: itself, or its first 57 bytes and six digits of its SHA-256.
///
/// Names of Kubernetes objects are ASCII; in other text the cut moves back to the start of a character.
///
/// Source: Velero pkg/label/label.go, `GetValidName`.
pub fn label_value(name: &str) -> String {
    if name.len() <= LABEL_LENGTH {
        return name.to_owned();
    }
    let hash = hex::encode(Sha256::digest(name));
    let kept = name.floor_char_boundary(LABEL_LENGTH - HASH_DIGITS);
    format!("{}{}", &name[..kept], &hash[..HASH_DIGITS])
}

/// Name of the `BackupRepository` of a namespace in a location: `<namespace>-<location>-<type>`.
///
/// Source: Velero `pkg/repository/backup_repo_op.go`.
pub fn backup_repository(namespace: &str, location: &str, directory: &str) -> String {
    format!("{namespace}-{location}-{directory}")
}

/// Name of the Backup that a Schedule makes: `<schedule>-<yyyymmddhhmmss>` in UTC.
///
/// Source: Velero `pkg/apis/velero/v1/schedule_types.go`.
pub fn scheduled_backup(schedule: &str, at: jiff::Timestamp) -> String {
    format!("{schedule}-{}", at.strftime("%Y%m%d%H%M%S"))
}

/// The longest name of a namespace. Source: Kubernetes, DNS label of RFC 1123.
const NAMESPACE_LENGTH: usize = 63;

/// What is wrong with the name of a namespace, in Kubernetes' words.
///
/// Source: k8s.io/apimachinery `IsDNS1123Label`.
pub fn namespace_problems(name: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if name.len() > NAMESPACE_LENGTH {
        problems.push(format!("must be no more than {NAMESPACE_LENGTH} bytes"));
    }
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [name.bytes().next(), name.bytes().next_back()];
    let is_label = ends.iter().all(|end| end.is_some_and(is_alphanumeric))
        && name.bytes().all(|byte| byte == b'-' || is_alphanumeric(byte));
    if !is_label {
        problems.push(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end \
             with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
                .to_owned(),
        );
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_its_beginning_and_gets_a_hash() {
        let names = ["a".repeat(63), "a".repeat(64), "the-short-one".to_owned()];
        // printf %064d | tr 0 a | sha256sum begins with ffe054.
        let expected = ["a".repeat(63), format!("{}ffe054", "a".repeat(57)), "the-short-one".to_owned()];
        assert_eq!(names.map(|name| label_value(&name)), expected);
    }

    #[test]
    fn a_long_name_is_never_cut_within_a_character() {
        let value = label_value(&"\u{fc}".repeat(40));
        assert_eq!((value.len(), value.chars().filter(|c| *c == '\u{fc}').count()), (62, 28));
    }

    #[test]
    fn made_names_are_those_of_velero() {
        assert_eq!(backup_repository("app1", "default", "kopia"), "app1-default-kopia");
        assert_eq!(scheduled_backup("daily", "2026-11-21T06:05:04.9Z".parse().unwrap()), "daily-20261121060504");
    }

    #[test]
    fn names_of_namespaces_are_labels() {
        let bad = ["", "-a", "a-", "A", "a.b", "a_b", &"a".repeat(64)];
        let good = ["a", "a-b", "123-abc", "0", &"a".repeat(63)];
        assert_eq!(bad.map(|name| namespace_problems(name).len()), [1; 7]);
        assert_eq!(good.map(|name| namespace_problems(name).len()), [0; 5]);
    }
}
