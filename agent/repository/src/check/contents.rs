//! What is in one pack, against its row and its own table of contents; of a damaged pack, which ranges are lost. No store here.

use std::ops::Range;

use zstd::zstd_safe;

use super::findings::{Broken, Harm};
use crate::{
    error::{Error, Result},
    frame::{Decompressor, FRAME_PLAIN_MAX, sha256},
    pack::{TocRow, read_toc},
    pack_table::PackRow,
    seal::{self, Identity, Opened, is_age},
};

/// Plain bytes of one chunk of an age payload: what is lost at least where a byte of it was changed. Source: age v1, STREAM.
const AGE_CHUNK: u64 = 64 << 10;
/// Bytes that encryption adds to each chunk.
const AGE_TAG: u64 = 16;
/// First byte and mask of zstd's skippable magics, which tables have.
const SKIPPABLE: u32 = 0x184D_2A50;
const SKIPPABLE_MASK: u32 = 0xFFFF_FFF0;

/// What became of a pack.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is as it was written, and opens.
    Sound,
    /// It is as it was written; no identity opens it.
    Unopened,
    /// It is not what it was.
    Broken(Broken),
    /// Its own tables and frames agree; the row, which nothing signs, says otherwise.
    RowWrong,
}

/// How much a row is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Witness {
    /// A commit signs the table it is in.
    Signed(PackRow),
    /// Its session's commit expired.
    Unsigned(PackRow),
    /// No table names the pack.
    None,
}

impl Witness {
    fn row(&self) -> Option<&PackRow> {
        match self {
            Self::Signed(row) | Self::Unsigned(row) => Some(row),
            Self::None => None,
        }
    }
}

/// Whether an object is what its row says.
pub(super) fn is_as_written(object: &[u8], row: &PackRow) -> bool {
    object.len() == row.stored as usize && sha256(object) == row.sha256
}

/// Judges a stored pack.
pub(super) fn judge(object: &[u8], witness: Witness, identity: &Identity) -> Result<Verdict> {
    let as_written = witness.row().map(|row| is_as_written(object, row));
    let mut frames = Frames { decompress: Decompressor::new().map_err(Error::Compress)?, as_written };
    let plain = if is_age(object) {
        match seal::decrypt(object, identity) {
            Ok(plain) => Some(plain),
            Err(seal::Error::NoMatch) if as_written == Some(true) => return Ok(Verdict::Unopened),
            Err(_) => None,
        }
    } else {
        None
    };
    let found = match &plain {
        None if is_age(object) => {
            let total = witness.row().map(|row| u64::from(row.plain));
            Found { what: "its encryption is damaged".to_owned(), harm: age_harm(object, total, identity) }
        }
        plain => match frames.check(plain.as_deref().unwrap_or(object), witness.row()) {
            None if as_written == Some(false) && matches!(witness, Witness::Unsigned(_)) => {
                return Ok(Verdict::RowWrong);
            }
            None if as_written == Some(false) => Found { what: String::new(), harm: Harm::of(Vec::new()) },
            None => return Ok(Verdict::Sound),
            Some(found) => found,
        },
    };
    let Found { what, harm } = found;
    let hash = "its hash is not the one in the pack table";
    Ok(Verdict::Broken(match (as_written, what.is_empty()) {
        (Some(false), true) => Broken::new(hash, harm),
        (Some(false), false) => Broken::new(format!("{hash}: {what}"), harm),
        _ => Broken::new(what, harm),
    }))
}

/// What is wrong with a plain pack.
struct Found {
    what: String,
    harm: Harm,
}

struct Frames {
    decompress: Decompressor,
    /// Whether the pack has the hash of its row; `None` without a row.
    as_written: Option<bool>,
}

impl Frames {
    /// What is wrong with a plain pack; `None` where nothing is.
    fn check(&mut self, plain: &[u8], row: Option<&PackRow>) -> Option<Found> {
        let toc = match read_toc(plain) {
            Ok(toc) => toc,
            Err(error) => {
                let what = format!("its table of contents is damaged: {error}");
                return Some(Found { what, harm: Harm::of(self.walk(plain)) });
            }
        };
        let (mut lost, mut other) = (Vec::new(), 0u32);
        for (offset, frame) in &toc {
            match self.frame(plain, *offset, frame) {
                Ok(true) => {}
                // Its checksum holds: where the pack was changed, it is the table of contents that was.
                Ok(false) if self.as_written == Some(false) => other += 1,
                Ok(false) | Err(()) => lost.push(*offset..offset.saturating_add(frame.stored)),
            }
        }
        if let (Some(first), n) = (lost.first(), lost.len()) {
            let what = format!("{n} of {} frames are damaged, the first at byte {}", toc.len(), first.start);
            return Some(Found { what, harm: Harm::of(lost) });
        }
        let decoded: u64 = toc.iter().map(|(_, frame)| u64::from(frame.plain)).sum();
        let as_told = row.is_none_or(|row| {
            row.plain as usize == plain.len() && row.frames as usize == toc.len() && row.decoded == decoded
        });
        let what = match (other, as_told) {
            (0, true) => return None,
            (0, false) => "it has other frames than the pack table says".to_owned(),
            (n, _) => format!("its table of contents has wrong hashes for {n} frames"),
        };
        Some(Found { what, harm: Harm::of(Vec::new()) })
    }

    /// Whether a frame has the hash of its row; an error where it does not decode.
    fn frame(&mut self, plain: &[u8], offset: u32, row: &TocRow) -> Result<bool, ()> {
        let start = offset as usize;
        let stored = start.checked_add(row.stored as usize).and_then(|end| plain.get(start..end)).ok_or(())?;
        self.decompress.decode(stored, row.plain).map(|decoded| sha256(decoded) == row.sha256).map_err(|_| ())
    }

    /// The ranges that hold no frame that decodes, by going from frame to frame: without a table of contents. What comes after bytes that are no
    /// frame cannot be found.
    fn walk(&mut self, plain: &[u8]) -> Vec<Range<u32>> {
        let (mut lost, mut at) = (Vec::new(), 0usize);
        let position = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        while let Some(rest) = plain.get(at..).filter(|rest| !rest.is_empty()) {
            let length = zstd_safe::find_frame_compressed_size(rest).ok().filter(|n| *n > 0 && *n <= rest.len());
            let Some(length) = length else { break };
            if !self.decodes(&rest[..length]) {
                lost.push(position(at)..position(at + length));
            }
            at += length;
        }
        // Also where the pack was cut short.
        lost.push(position(at)..u32::MAX);
        lost
    }

    fn decodes(&mut self, frame: &[u8]) -> bool {
        let magic = frame.first_chunk().map(|first| u32::from_le_bytes(*first));
        if magic.is_some_and(|magic| magic & SKIPPABLE_MASK == SKIPPABLE) {
            return true;
        }
        let length = zstd_safe::get_frame_content_size(frame).ok().flatten().and_then(|n| u32::try_from(n).ok());
        length.is_some_and(|n| n <= FRAME_PLAIN_MAX && self.decompress.decode(frame, n).is_ok())
    }
}

/// The ranges of a damaged age file that do not decrypt. Each chunk that does was not changed. `total` is the plain length that the row says.
fn age_harm(object: &[u8], total: Option<u64>, identity: &Identity) -> Harm {
    let Ok(opened) = Opened::new(object, identity) else { return Harm::All };
    let total = total.or_else(|| opened.plain_length(object.len() as u64).ok());
    let Some(total) = total else { return Harm::All };
    let mut lost: Vec<Range<u32>> = Vec::new();
    for start in (0..total).step_by(usize::try_from(AGE_CHUNK).unwrap_or(usize::MAX)) {
        let chunk = start..total.min(start + AGE_CHUNK);
        let stored = opened.stored_range(chunk.clone(), u64::MAX);
        let position = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        // The last chunk ends with its tag, not where a full one would.
        let end = position(stored.start + (chunk.end - chunk.start) + AGE_TAG);
        let opens =
            object.get(position(stored.start)..end).is_some_and(|c| opened.decrypt(chunk.clone(), c, total).is_ok());
        if !opens {
            let position = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
            lost.push(position(chunk.start)..position(chunk.end));
        }
    }
    Harm::of(lost)
}
