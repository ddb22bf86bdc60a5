//! Reading snapshots: the file table by blocks, and frames of members by ranges of packs. No index is needed.

pub mod meta;
pub mod packs;
pub mod rows;

use std::cmp::Ordering;

use crate::{
    commit::Commit,
    error::Result,
    layout::SnapshotId,
    repository::Repository,
    seal::Identity,
    table::{BlockRef, Extent, MetaRef, StoredRow, order},
};
use meta::MetaReader;

/// An open snapshot: its verified commit and the blocks of its table.
#[derive(Debug)]
pub struct Snapshot {
    commit: Commit,
    blocks: Vec<BlockRef>,
    reader: MetaReader,
}

impl Snapshot {
    /// Opens a snapshot. Verified are the commit's signature and the root of the table.
    pub async fn open(repository: &Repository, id: &SnapshotId, identity: &Identity) -> Result<Self> {
        let (commit, _) = repository.commit(id).await?;
        let mut reader = MetaReader::new(repository.clone(), identity.clone())?;
        let blocks = rows::blocks(&mut reader, &commit).await?;
        Ok(Self { commit, blocks, reader })
    }

    /// What the commit says.
    pub fn commit(&self) -> &Commit {
        &self.commit
    }

    /// The blocks of its table, in order.
    pub fn blocks(&self) -> &[BlockRef] {
        &self.blocks
    }

    /// The row of one path below the volume's root, if the snapshot has it.
    pub async fn find(&mut self, path: &[u8]) -> Result<Option<StoredRow>> {
        let at = self.blocks.partition_point(|block| order::compare(&block.first, path) != Ordering::Greater);
        let Some(block) = at.checked_sub(1).and_then(|at| self.blocks.get(at)).cloned() else { return Ok(None) };
        Ok(self.rows(&block).await?.into_iter().find(|stored| stored.row.path == path))
    }

    /// The rows of one block.
    pub async fn rows(&mut self, block: &BlockRef) -> Result<Vec<StoredRow>> {
        rows::block(&mut self.reader, block).await
    }

    /// The extents of one list of a row.
    pub async fn list(&mut self, frame: &MetaRef) -> Result<Vec<Extent>> {
        rows::list(&mut self.reader, frame).await
    }
}
