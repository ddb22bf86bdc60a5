//! A snapshot as one plain `.tar.zst`: frames are copied as they are stored, parts of frames are compressed again.

use std::io::Write;

use trysail_repository::{
    Error, Repository, Result,
    commit::Sidecar,
    frame::{Compressor, Decompressor, FRAME_PLAIN_MAX},
    layout::{self, Beside, SnapshotId},
    read::packs,
    recipe::{self, Line},
    seal::Identity,
};

use crate::{member::END, restore::open};

/// zstd level of the parts that are compressed again.
const LEVEL: i32 = 1;

/// Longest decoded recipe in bytes: some ten million lines.
const RECIPE_BYTES_MAX: u64 = 1 << 30;

/// Why an export stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The repository failed.
    #[error(transparent)]
    Repository(#[from] Error),
    /// The output takes no more.
    #[error("the output cannot be written: {0}")]
    Output(#[source] std::io::Error),
}

/// Writes the snapshot's tar stream, compressed. Runs on the caller's task and blocks it while it writes.
pub async fn export(
    repository: &Repository,
    id: &SnapshotId,
    identity: &Identity,
    output: &mut (impl Write + Send),
) -> Result<u64, ExportError> {
    let (snapshot, reader) = open(repository, id, identity).await?;
    let lines = recipe(repository, &snapshot, id, identity).await?;
    let mut compressor = Compressor::new(LEVEL).map_err(Error::Compress)?;
    let mut decompressor = Decompressor::new().map_err(Error::Compress)?;
    let mut written = 0;
    let mut put = |bytes: &[u8]| {
        written += bytes.len() as u64;
        output.write_all(bytes).map_err(ExportError::Output)
    };
    for Line { pack, offset, stored, part } in lines {
        let bytes = reader.range(pack, offset..offset.saturating_add(stored)).await?;
        let Some((skip, take)) = part else {
            put(&bytes)?;
            continue;
        };
        let key = || layout::pack(pack.of(trysail_repository::table::PackKind::Data));
        let length = content_size(&bytes).unwrap_or(u32::MAX);
        let plain = decompressor.decode(&bytes, length);
        let plain = plain.map_err(|source| Error::Frame { key: key(), offset, source })?;
        let range = skip as usize..(skip as usize).saturating_add(take as usize);
        let part =
            plain.get(range).ok_or_else(|| Error::Damaged { key: key(), what: "a frame is too short".to_owned() })?;
        put(&compressor.frame(part).map_err(Error::Compress)?)?;
    }
    put(&compressor.frame(&END).map_err(Error::Compress)?)?;
    output.flush().map_err(ExportError::Output)?;
    Ok(written)
}

/// The decoded length that a frame states.
fn content_size(frame: &[u8]) -> Option<u32> {
    let size = zstd::zstd_safe::get_frame_content_size(frame).ok()??;
    u32::try_from(size).ok().filter(|n| *n <= FRAME_PLAIN_MAX)
}

async fn recipe(
    repository: &Repository,
    snapshot: &trysail_repository::read::Snapshot,
    id: &SnapshotId,
    identity: &Identity,
) -> Result<Vec<Line>> {
    let key = layout::beside(id, Beside::Recipe);
    let named = snapshot.commit().recipe;
    let object = packs::sidecar(repository, &key, &Sidecar { bytes: named.bytes, sha256: named.sha256 }).await?;
    let text = repository.open_object(&key, &object, identity)?;
    let damaged = |what: &str| Error::Damaged { key: key.clone(), what: what.to_owned() };
    let decoder = zstd::stream::read::Decoder::new(text.as_slice()).map_err(|_| damaged("it is no zstd frame"))?;
    let mut plain = String::new();
    std::io::Read::read_to_string(&mut std::io::Read::take(decoder, RECIPE_BYTES_MAX), &mut plain)
        .map_err(|_| damaged("it does not decode to text"))?;
    recipe::parse(&plain)
        .filter(|lines| lines.len() as u64 == named.lines)
        .ok_or_else(|| damaged("a line of it is not valid"))
}
