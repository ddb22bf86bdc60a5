//! Removing single snapshots, and the filler that gives a full store room to prune.

use bytes::Bytes;

use super::error::Result;
use crate::{
    layout::{self, Beside, SnapshotId},
    store::{Created, Key, ObjectStore},
};

/// Length of the ballast in bytes: several condemned sets of large repositories.
pub const BALLAST_BYTES: usize = 1 << 20;

/// Forgets a snapshot: its commit first, then what lies beside it. A snapshot that is not there, or not wholly, is forgotten as well.
///
/// Its packs stay until a prune finds that nothing else needs them.
pub async fn forget(store: &dyn ObjectStore, snapshot: &SnapshotId) -> Result<()> {
    store.delete(&[layout::beside(snapshot, Beside::Commit)]).await?;
    let prefix = format!("{}{snapshot}.", layout::SNAPSHOTS);
    loop {
        // Each round deletes a page, so the first page of the next round is another one.
        let page = store.list(&prefix, None).await?;
        let keys: Vec<Key> = page.objects.into_iter().map(|object| object.key).collect();
        if !keys.is_empty() {
            store.delete(&keys).await?;
        }
        if !page.more {
            return Ok(());
        }
    }
}

/// Stores the filler that a prune deletes when the store is full. Nothing happens where there is one.
pub async fn create_ballast(store: &dyn ObjectStore) -> Result<Created> {
    // Random, because zeros would take no room on a disk that compresses.
    let mut filler = vec![0; BALLAST_BYTES];
    getrandom::fill(&mut filler)?;
    Ok(store.create(&layout::ballast(), Bytes::from(filler)).await?)
}
