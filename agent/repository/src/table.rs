//! The file table: one row for each entry of a volume, in path order, in blocks that are stored and shared like data.
//!
//! Rows and their bytes live here; reading a file system into rows, and making files of rows, is the `volume` crate's work.
//! Normative text: `FORMAT.md` §7.

pub mod block;
pub mod decode;
mod encode;
pub mod merkle;
pub mod order;
pub mod row;

pub use decode::{BlockRef, StoredRow};
pub use row::{
    Content, Extent, Flags, Inode, Kind, MetaRef, Metadata, PackId, PackKind, PackRef, Row, Segment, Time, Xattrs,
};

#[cfg(test)]
mod tests;
