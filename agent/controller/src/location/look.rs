//! Looking at the bucket of a location: what there is to see, without a judgement.

use bytes::Bytes;
use trysail_api::backup_storage_location::{AccessMode, BackupStorageLocation};
use trysail_repository::store::{Error as StoreError, ErrorKind, Key, ObjectStore as _};

use super::judge::{Finding, Sight};
use crate::{
    Error, Result,
    bucket::{Place, open::Config},
};

/// Most directories at the root of a location; six may be there.
const DIRECTORIES_MAX: usize = 1000;

/// What a probe of writing is called. It lies in a directory that Velero tolerates, and is deleted at once.
const PROBE: &str = "metadata/trysail-write-probe";

/// Looks at a location. `tries_writing` also puts a small object and deletes it, unless the location is read-only.
///
/// # Errors
/// Only those of the API server: what is wrong with a location is what was found.
pub(super) async fn look(
    location: &BackupStorageLocation,
    place: Result<Place>,
    tries_writing: bool,
) -> Result<Finding> {
    let place = match place {
        Ok(place) => place,
        Err(Error::Location { reason, .. }) => return Ok(Finding::Wrong(reason)),
        Err(Error::Bucket { source, .. }) => return Ok(Finding::Broken(source)),
        Err(other) => return Err(other),
    };
    Ok(see(location, &place, tries_writing).await.map_or_else(Finding::Broken, Finding::Seen))
}

async fn see(location: &BackupStorageLocation, place: &Place, tries_writing: bool) -> Result<Sight, StoreError> {
    let directories = place.store.directories("", DIRECTORIES_MAX).await?;
    let lifecycle = place.store.lifecycle().await?;
    let is_read_only = location.spec.access_mode == Some(AccessMode::ReadOnly);
    let refused_write = if tries_writing && !is_read_only { write(place).await.err() } else { None };
    let config = Config::read(location.spec.config.as_ref()).unwrap_or_default();
    Ok(Sight {
        directories,
        lifecycle,
        refused_write,
        clock_difference: place.store.clock_difference(),
        is_plaintext: config.is_plaintext(),
        trusts_anybody: config.trusts_anybody(),
        unknown_settings: config.unknown,
    })
}

/// Puts the probe and deletes it. One that is left of an earlier try shows as well that writing works.
async fn write(place: &Place) -> Result<(), StoreError> {
    let invalid = || StoreError::new(ErrorKind::Invalid, PROBE, "not a key");
    let key = Key::parse(PROBE).ok_or_else(invalid)?;
    place.store.create(&key, Bytes::from_static(b"This object can be deleted.\n")).await?;
    place.store.delete(std::slice::from_ref(&key)).await
}
