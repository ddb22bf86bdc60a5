//! The rows of a snapshot's file table, in path order.

use super::meta::MetaReader;
use crate::{
    commit::Commit,
    error::{Error, Result},
    layout::{self, Beside},
    table::{BlockRef, Extent, MetaRef, PackKind, StoredRow, decode, order},
};

/// All blocks of a snapshot's table.
pub async fn blocks(reader: &mut MetaReader, commit: &Commit) -> Result<Vec<BlockRef>> {
    let mut blocks: Vec<BlockRef> = Vec::new();
    for root in &commit.table.root {
        let frame = MetaRef::from(*root);
        let plain = reader.frame(&frame).await?;
        blocks.extend(decode::root(&plain).map_err(|source| malformed(&frame, source))?);
    }
    let in_order = blocks.is_sorted_by(|a, b| order::compare(&a.first, &b.first).is_lt());
    let rows: u64 = blocks.iter().map(|b| u64::from(b.rows)).sum();
    if in_order && rows == commit.table.rows && blocks.len() as u64 == commit.table.blocks {
        return Ok(blocks);
    }
    let key = layout::beside(&commit.id(), Beside::Commit);
    Err(Error::Damaged { key, what: "its file table has not the rows and blocks that it says".to_owned() })
}

fn malformed(frame: &MetaRef, source: crate::wire::Malformed) -> Error {
    Error::Malformed { key: layout::pack(frame.pack.of(PackKind::Meta)), source }
}

/// The rows of one block.
pub async fn block(reader: &mut MetaReader, block: &BlockRef) -> Result<Vec<StoredRow>> {
    let plain = reader.frame(&block.frame).await?;
    let rows = decode::block(&plain).map_err(|source| malformed(&block.frame, source))?;
    let as_named = rows.first().is_some_and(|r| r.row.path == block.first) && rows.len() == block.rows as usize;
    if as_named {
        Ok(rows)
    } else {
        let key = layout::pack(block.frame.pack.of(PackKind::Meta));
        Err(Error::Damaged { key, what: format!("the block at byte {} is another one", block.frame.offset) })
    }
}

/// The extents of one list frame.
pub async fn list(reader: &mut MetaReader, frame: &MetaRef) -> Result<Vec<Extent>> {
    let plain = reader.frame(frame).await?;
    decode::list(&plain).map_err(|source| malformed(frame, source))
}
