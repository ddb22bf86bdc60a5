//! What became of the volumes of a backup or restore: snapshots from the stored list, files from the objects in the cluster.

use std::collections::BTreeMap;

use trysail_api::{
    backup::BackupStatus,
    pod_volume_backup::PodVolumeBackup,
    transfer::{TransferPhase, TransferProgress, UploaderType},
};

use crate::show::{
    files::{Fetched, Missing, ResourceList, VolumeInfo},
    page::Page,
};

/// How much is told of volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// How many there are.
    Counts,
    /// Each of them.
    Single,
}

impl Depth {
    /// Volumes are told one by one where objects are.
    pub(crate) fn of(resources: Option<&Fetched<ResourceList>>) -> Self {
        if resources.is_some() { Self::Single } else { Self::Counts }
    }

    /// What stands behind a heading.
    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::Counts => " (specify --details for more information)",
            Self::Single => "",
        }
    }
}

/// One volume of a pod, and how far it is.
#[derive(Debug, Clone)]
pub(crate) struct PodVolume<'a> {
    /// Namespace and name of the pod.
    pub(crate) pod: String,
    /// Its name in the pod.
    pub(crate) volume: &'a str,
    /// How far it is.
    pub(crate) phase: Option<TransferPhase>,
    /// Bytes that were moved.
    pub(crate) progress: TransferProgress,
    /// Bytes that no earlier snapshot held.
    pub(crate) new_bytes: i64,
}

impl<'a> PodVolume<'a> {
    pub(crate) fn of_backup(volume: &'a PodVolumeBackup) -> Self {
        let status = volume.status.clone().unwrap_or_default();
        let pod = &volume.spec.pod;
        Self {
            pod: format!(
                "{}/{}",
                pod.namespace.as_deref().unwrap_or_default(),
                pod.name.as_deref().unwrap_or_default()
            ),
            volume: &volume.spec.volume,
            phase: status.phase,
            progress: status.progress.unwrap_or_default(),
            new_bytes: status.incremental_bytes,
        }
    }

    /// The heading under which it is told.
    pub(crate) fn group(&self) -> &'static str {
        match self.phase.unwrap_or(TransferPhase::New) {
            TransferPhase::InProgress => "In Progress",
            other => other.as_str(),
        }
    }

    /// Its name, and how much of it is done.
    pub(crate) fn label(&self) -> String {
        let (volume, done, total) = (self.volume, self.progress.bytes_done, self.progress.total_bytes);
        match self.phase {
            Some(TransferPhase::InProgress) if total != 0 => format!("{volume} ({}%)", percent(done, total)),
            Some(TransferPhase::Completed) if self.new_bytes > 0 => {
                format!("{volume} (size: {total}, incremental size: {})", self.new_bytes)
            }
            Some(TransferPhase::Completed) if total > 0 => format!("{volume} (size: {total})"),
            _ => volume.to_owned(),
        }
    }
}

/// A part of a whole in percent, with two digits after the point.
fn percent(done: i64, total: i64) -> String {
    let hundredths = i128::from(done) * 10_000 / i128::from(total);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// The order in which groups are told. Source: Velero `pkg/cmd/util/output/backup_describer.go`.
pub(crate) const GROUPS: [&str; 8] =
    ["Completed", "Failed", "Canceled", "In Progress", "Canceling", "Prepared", "Accepted", "New"];

/// Labels of volumes by pod.
pub(crate) fn by_pod(volumes: &[&PodVolume<'_>]) -> BTreeMap<String, Vec<String>> {
    let mut pods: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for volume in volumes {
        pods.entry(volume.pod.clone()).or_default().push(volume.label());
    }
    for volumes in pods.values_mut() {
        volumes.sort();
    }
    pods
}

/// Tells volumes by group: how many there are, or with details which.
pub(crate) fn describe_groups(page: &mut Page, tabs: &str, volumes: &[PodVolume<'_>], depth: Depth) {
    for group in GROUPS {
        let of_group: Vec<&PodVolume<'_>> = volumes.iter().filter(|volume| volume.group() == group).collect();
        if of_group.is_empty() {
            continue;
        }
        if depth == Depth::Counts {
            page.line(format!("{tabs}{group}:\t{}", of_group.len()));
            continue;
        }
        page.line(format!("{tabs}{group}:"));
        for (pod, volumes) in by_pod(&of_group) {
            page.line(format!("{tabs}\t{pod}: {}", volumes.join(", ")));
        }
    }
}

/// The word for who reads files.
pub(crate) fn uploader(volumes: &[PodVolumeBackup]) -> UploaderType {
    volumes.first().and_then(|volume| volume.spec.uploader_type).unwrap_or(UploaderType::Unset)
}

/// Tells what became of the volumes of a backup.
pub(crate) fn describe(
    page: &mut Page,
    status: &BackupStatus,
    infos: &Fetched<Vec<VolumeInfo>>,
    volumes: &[PodVolumeBackup],
    depth: Depth,
) {
    page.line("Backup Volumes:");
    let (infos, is_known) = match infos {
        Ok(infos) => (infos.as_slice(), true),
        Err(Missing::NotFound) => (&[][..], false),
        Err(missing) => return page.line(format!("\t<error getting backup volume info: {missing}>")),
    };
    snapshots(page, status, infos, is_known);
    page.blank();
    if volumes.is_empty() {
        return page.line("\tPod Volume Backups: <none included>");
    }
    let hint = depth.hint();
    page.line(format!("\tPod Volume Backups - {}{hint}:", uploader(volumes).as_str()));
    let volumes: Vec<PodVolume<'_>> = volumes.iter().map(PodVolume::of_backup).collect();
    describe_groups(page, "\t\t", &volumes, depth);
}

/// Snapshots that stock Velero took: Trysail takes none, but shows its backups.
fn snapshots(page: &mut Page, status: &BackupStatus, infos: &[VolumeInfo], is_known: bool) {
    let of = |method: &str| infos.iter().filter(|info| info.backup_method == method).collect::<Vec<_>>();
    let (native, csi) = (of("NativeSnapshot"), of("CSISnapshot"));
    match native[..] {
        [] if !is_known && status.volume_snapshots_attempted > 0 => {
            page.line(format!("\tVelero-Native Snapshots: {} attempted", status.volume_snapshots_attempted));
        }
        [] => page.line("\tVelero-Native Snapshots: <none included>"),
        _ => {
            page.line("\tVelero-Native Snapshots:");
            for info in &native {
                page.line(format!("\t\t{}", info.pv_name));
            }
        }
    }
    page.blank();
    match csi[..] {
        [] if !is_known => page.line("\tCSI Snapshots: <none included or not detectable>"),
        [] => page.line("\tCSI Snapshots: <none included>"),
        _ => {
            page.line("\tCSI Snapshots:");
            for info in &csi {
                page.line(format!("\t\t{}: {}", info.claim(), kept(info)));
            }
        }
    }
}

/// Where a snapshot is.
pub(crate) fn kept(info: &VolumeInfo) -> &'static str {
    match (info.preserve_local_snapshot, info.snapshot_data_moved) {
        (true, true) => "in the cluster, and its data moved to the location",
        (false, true) => "its data moved to the location",
        (_, false) => "in the cluster",
    }
}
