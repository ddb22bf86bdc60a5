//! The backups in a location: which there are, and what their records say.

use std::io::Read as _;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use trysail_api::{backup::Backup, pod_volume_backup::PodVolumeBackup};
use trysail_repository::store::{ErrorKind, ObjectStore as _};

use super::{Place, layout};
use crate::{Error, Result, inventory::Expected};

/// Most backups in one location: a name is held for each.
const BACKUPS_MAX: usize = 100_000;

/// Largest unpacked list of PodVolumeBackups: some ten thousand volumes.
const LIST_BYTES_MAX: u64 = 64 << 20;

impl Place {
    /// Names of the directories of backups, in order.
    pub(crate) async fn backups(&self) -> Result<Vec<String>> {
        self.store.directories(layout::BACKUPS, BACKUPS_MAX).await.map_err(|error| self.error(error))
    }

    /// The record of a backup; none where it is not written yet.
    pub(crate) async fn record(&self, backup: &str) -> Result<Option<Backup>> {
        let key = layout::backup_record(backup);
        let Some(body) = self.read(&key).await? else { return Ok(None) };
        self.parse(&key, &body).map(Some)
    }

    /// The inventory of a backup as it lies there; none where there is none.
    pub(crate) async fn inventory(&self, backup: &str) -> Result<Option<Bytes>> {
        self.read(&layout::backup_inventory(backup)).await
    }

    /// The PodVolumeBackups of a backup; none where there is no list of them.
    pub(crate) async fn pod_volume_backups(&self, backup: &str) -> Result<Vec<PodVolumeBackup>> {
        let key = layout::pod_volume_backups(backup);
        match self.read(&key).await? {
            Some(body) => self.unpack_list(&key, &body),
            None => Ok(Vec::new()),
        }
    }

    /// The same of a backup whose inventory says what that list must be.
    ///
    /// # Errors
    /// As above, and where the list is another one or is not there.
    pub(crate) async fn proved_pod_volume_backups(
        &self,
        backup: &str,
        expected: &Expected,
    ) -> Result<Vec<PodVolumeBackup>> {
        let key = layout::pod_volume_backups(backup);
        let body = self.read(&key).await?.unwrap_or_default();
        expected.compare(&body).map_err(|error| self.damaged(&key, &error))?;
        self.unpack_list(&key, &body)
    }

    fn unpack_list(&self, key: &str, body: &[u8]) -> Result<Vec<PodVolumeBackup>> {
        let mut plain = Vec::new();
        let unpacked = flate2::read::MultiGzDecoder::new(body).take(LIST_BYTES_MAX).read_to_end(&mut plain);
        unpacked.map_err(|error| self.damaged(key, &error))?;
        let list: Option<Vec<PodVolumeBackup>> = self.parse(key, &plain)?;
        Ok(list.unwrap_or_default())
    }

    async fn read(&self, name: &str) -> Result<Option<Bytes>> {
        // A directory whose name is no key of ours holds no backup of Velero's either.
        let Some(key) = layout::key(name) else { return Ok(None) };
        match self.store.get(&key).await {
            Ok(body) => Ok(Some(body)),
            Err(error) if error.kind == ErrorKind::Missing => Ok(None),
            Err(error) => Err(self.error(error)),
        }
    }

    fn parse<T: DeserializeOwned>(&self, key: &str, body: &[u8]) -> Result<T> {
        serde_json::from_slice(body).map_err(|error| self.damaged(key, &error))
    }

    fn damaged(&self, key: &str, reason: &dyn std::error::Error) -> Error {
        Error::Record { location: self.location.clone(), key: key.to_owned(), reason: reason.to_string() }
    }
}
