//! How far a transfer is, told now and then in its PodVolumeBackup.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, MissedTickBehavior, interval_at},
};
use trysail_api::{pod_volume_backup::PodVolumeBackup, transfer::TransferProgress};
use trysail_repository::{Repository, layout::VolumeName};
use trysail_volume::backup::{BackupError, Counters, Report};

use crate::{
    Error, Result,
    error::code,
    node::{agent::Agent, door::End},
};

/// Pause between two words. Source: Velero `pkg/uploader`.
const PERIOD: Duration = Duration::from_secs(10);

/// What the thread that reads a volume says at its end.
pub(super) type Done = oneshot::Receiver<Result<Report, BackupError>>;

/// A transfer that is watched.
pub(super) struct Progress<'a> {
    pub(super) agent: &'a Agent,
    pub(super) name: &'a str,
    pub(super) counters: &'a Counters,
    pub(super) repository: &'a Repository,
    pub(super) volume: &'a VolumeName,
}

impl Progress<'_> {
    /// Waits for the thread. Where the object is gone, the transfer is told to end.
    ///
    /// A word is never under way when this returns: it would come after the last one.
    pub(super) async fn watch(&self, mut done: Done, end: &watch::Sender<Option<End>>) -> Result<Report> {
        let wrong = |reason: String| Error::Object { what: "the volume".to_owned(), reason };
        let mut ticks = interval_at(Instant::now() + PERIOD, PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut told, mut expected) = (None, None);
        loop {
            tokio::select! {
                report = &mut done => {
                    let report = report.map_err(|_| wrong("the thread that reads it panicked".to_owned()))?;
                    return report.map_err(|error| wrong(error.to_string()));
                }
                _ = ticks.tick() => {}
            }
            let total = match expected {
                Some(total) => total,
                None => *expected.insert(self.length_before().await),
            };
            let read = self.counters.read.get();
            if told == Some(read) {
                continue;
            }
            match self.tell(&fields(read, total)).await {
                Ok(true) => told = Some(read),
                Ok(false) => {
                    end.send_replace(Some(End::Gone));
                }
                Err(error) => tracing::warn!(%error, name = self.name, "How far a transfer is could not be told"),
            }
        }
    }

    /// How long the volume was when it was last saved; 0 where it never was. Asked only of transfers that take a while.
    async fn length_before(&self) -> u64 {
        let latest = format!("{}@latest", self.volume);
        let Ok(found) = self.repository.find(&latest).await else { return 0 };
        self.repository.commit(&found.id).await.map_or(0, |(commit, _)| commit.bytes.logical)
    }

    /// False where the object is gone.
    async fn tell(&self, fields: &Value) -> Result<bool> {
        let api = self.agent.context.api::<PodVolumeBackup>();
        match api.patch(self.name, &PatchParams::default(), &Patch::Merge(fields)).await {
            Err(error) if code(&error) == Some(404) => Ok(false),
            other => other.map(|_| true).map_err(Error::kubernetes(format!("patch PodVolumeBackup {}", self.name))),
        }
    }
}

/// The fields that are written. A volume that has grown is as long as what was read of it; of one that was never saved, the length
/// shows at the end. Pure.
fn fields(read: u64, expected: u64) -> Value {
    let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let total = if expected == 0 { 0 } else { expected.max(read) };
    json!({ "status": { "progress": TransferProgress { bytes_done: number(read), total_bytes: number(total) } } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_the_last_snapshot_is_what_is_expected() {
        let told = |read, expected| fields(read, expected)["status"]["progress"].clone();
        assert_eq!(told(10, 30), json!({ "bytesDone": 10, "totalBytes": 30 }));
        assert_eq!(told(40, 30), json!({ "bytesDone": 40, "totalBytes": 40 }));
        assert_eq!(told(10, 0), json!({ "bytesDone": 10 }));
    }
}
