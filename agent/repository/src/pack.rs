//! Packs: frames one after another, their table of contents and seek table, perhaps as one age file. Source: `FORMAT.md` §3.

use sha2::{Digest as _, Sha256};

use crate::{
    frame::FRAME_PLAIN_MAX,
    pack_table::PackRow,
    seal::{self, Recipient, Sink},
    wire::{Decoder, Encoder, Malformed},
};

/// Target length of a pack in bytes: large enough for few requests, small enough that three of them fit the agent's memory.
pub const DEFAULT_PACK_BYTES: u32 = 16 << 20;

const TOC_MAGIC: u32 = 0x184D_2A5D;
const SEEK_MAGIC: u32 = 0x184D_2A5E;
/// Ends a seek table. Source: zstd's seekable format.
const SEEKABLE: u32 = 0x8F92_EAB1;
const TOC_ROW_BYTES: usize = 39;
const SEEK_ROW_BYTES: usize = 8;
/// Header of a skippable frame and footer of the seek table, in bytes.
const SKIPPABLE_HEADER: usize = 8;
const SEEK_FOOTER: usize = 9;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// Members of small files.
    Bundle,
    /// A member's header, or a piece of it.
    Header,
    /// A piece of a large file.
    Chunk,
    /// A block, list or root of a file table.
    Meta,
}

/// One frame, as a pack's table of contents names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TocRow {
    /// What it holds.
    pub kind: FrameKind,
    /// Stored length in bytes.
    pub stored: u32,
    /// Decoded length in bytes.
    pub plain: u32,
    /// SHA-256 of the decoded bytes.
    pub sha256: [u8; 32],
}

/// A pack that is being filled.
#[derive(Debug)]
pub struct PackBuilder {
    sink: Sink,
    toc: Vec<TocRow>,
    length: u32,
}

/// A pack that is ready to be stored.
#[derive(Debug)]
pub struct FinishedPack {
    /// The object.
    pub body: Vec<u8>,
    /// Its row of the pack table.
    pub row: PackRow,
}

impl PackBuilder {
    /// An empty pack for these recipients; its buffer has room for `target` bytes.
    pub fn new(recipients: &[Recipient], target: u32) -> Result<Self, seal::Error> {
        // The last frame may exceed the target by a mebibyte, and tables follow: reserving that avoids a copy of 16 MiB.
        let capacity = target as usize + (1 << 20) + (64 << 10);
        Ok(Self { sink: Sink::new(recipients, capacity)?, toc: Vec::new(), length: 0 })
    }

    /// Appends a frame; gives its offset in the plain pack.
    pub fn add(&mut self, frame: &[u8], row: TocRow) -> Result<u32, seal::Error> {
        debug_assert_eq!(frame.len(), row.stored as usize, "the table of contents tells the frame's length");
        let offset = self.length;
        self.sink.write(frame)?;
        self.length += row.stored;
        self.toc.push(row);
        Ok(offset)
    }

    /// Plain length of the frames so far, in bytes.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Whether there is no frame yet.
    pub fn is_empty(&self) -> bool {
        self.toc.is_empty()
    }

    /// Ends the pack: writes its tables and, where it is encrypted, the last chunk.
    pub fn finish(mut self) -> Result<FinishedPack, seal::Error> {
        let tables = tables(&self.toc);
        self.sink.write(&tables)?;
        let body = self.sink.finish()?;
        let row = PackRow {
            stored: u32::try_from(body.len()).unwrap_or(u32::MAX),
            plain: self.length + u32::try_from(tables.len()).unwrap_or(u32::MAX),
            frames: u32::try_from(self.toc.len()).unwrap_or(u32::MAX),
            decoded: self.toc.iter().map(|r| u64::from(r.plain)).sum(),
            sha256: Sha256::digest(&body).into(),
        };
        Ok(FinishedPack { body, row })
    }
}

fn tables(toc: &[TocRow]) -> Vec<u8> {
    let length = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut e = Encoder::default();
    let toc_bytes = toc.len() * TOC_ROW_BYTES;
    e.u32(TOC_MAGIC);
    e.u32(length(toc_bytes));
    for row in toc {
        e.u8(match row.kind {
            FrameKind::Bundle => 0,
            FrameKind::Header => 1,
            FrameKind::Chunk => 2,
            FrameKind::Meta => 3,
        });
        e.u24(row.stored);
        e.u24(row.plain);
        e.raw(&row.sha256);
    }
    e.u32(SEEK_MAGIC);
    e.u32(length((toc.len() + 1) * SEEK_ROW_BYTES + SEEK_FOOTER));
    for row in toc {
        e.u32(row.stored);
        e.u32(row.plain);
    }
    e.u32(length(toc_bytes + SKIPPABLE_HEADER));
    e.u32(0);
    e.u32(length(toc.len() + 1));
    e.u8(0);
    e.u32(SEEKABLE);
    e.0
}

/// The table of contents of a plain pack, checked against its seek table and its length: each frame with its offset.
pub fn read_toc(plain: &[u8]) -> Result<Vec<(u32, TocRow)>, Malformed> {
    let footer = plain.len().checked_sub(SEEK_FOOTER).ok_or(Malformed::Short("the seek table"))?;
    let mut d = Decoder::new(&plain[footer..]);
    let rows = d.u32("the seek table")? as usize;
    let frames = rows.checked_sub(1).filter(|n| *n <= plain.len()).ok_or(Malformed::Field("the seek table"))?;
    let tables_len = 2 * SKIPPABLE_HEADER + frames * TOC_ROW_BYTES + rows * SEEK_ROW_BYTES + SEEK_FOOTER;
    let start = plain.len().checked_sub(tables_len).ok_or(Malformed::Short("the table of contents"))?;
    let mut d = Decoder::new(&plain[start + SKIPPABLE_HEADER..]);
    let mut toc = Vec::with_capacity(frames);
    let mut offset = 0u32;
    for _ in 0..frames {
        let row = toc_row(&mut d)?;
        toc.push((offset, row));
        offset = offset.checked_add(row.stored).ok_or(Malformed::Field("a frame's stored length"))?;
    }
    // Writing the tables again compares every byte of both of them, magics and lengths included.
    let same = tables(&toc.iter().map(|(_, row)| *row).collect::<Vec<_>>()) == plain[start..];
    if same && offset as usize == start { Ok(toc) } else { Err(Malformed::Field("the seek table")) }
}

fn toc_row(d: &mut Decoder<'_>) -> Result<TocRow, Malformed> {
    let kind = match d.u8("a frame's kind")? {
        0 => FrameKind::Bundle,
        1 => FrameKind::Header,
        2 => FrameKind::Chunk,
        3 => FrameKind::Meta,
        _ => return Err(Malformed::Field("a frame's kind")),
    };
    let row = TocRow { kind, stored: d.u24("a frame")?, plain: d.u24("a frame")?, sha256: d.array("a frame's hash")? };
    if row.plain > FRAME_PLAIN_MAX {
        return Err(Malformed::Field("a frame's length"));
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Compressor, sha256};

    fn pack() -> FinishedPack {
        let mut builder = PackBuilder::new(&[], 1 << 16).expect("starts");
        let mut compressor = Compressor::new(1).expect("starts");
        for (kind, plain) in [(FrameKind::Bundle, &b"one"[..]), (FrameKind::Chunk, &[7; 5000])] {
            let frame = compressor.frame(plain).expect("compresses");
            let row = TocRow {
                kind,
                stored: u32::try_from(frame.len()).expect("short"),
                plain: u32::try_from(plain.len()).expect("short"),
                sha256: sha256(plain),
            };
            builder.add(&frame, row).expect("fits");
        }
        builder.finish().expect("finishes")
    }

    #[test]
    fn a_pack_decodes_to_its_frames_with_any_zstd() {
        let decoded = zstd::stream::decode_all(pack().body.as_slice()).expect("skippable frames are skipped");
        assert_eq!(decoded, [&b"one"[..], &[7; 5000]].concat());
    }

    #[test]
    fn the_tables_tell_each_frame_and_every_change_of_them_is_detected() {
        let FinishedPack { mut body, row } = pack();
        let toc = read_toc(&body).expect("its own tables");
        assert_eq!(
            toc.iter().map(|(o, r)| (*o, r.kind, r.plain, r.sha256)).collect::<Vec<_>>(),
            [(0, FrameKind::Bundle, 3, sha256(b"one")), (toc[0].1.stored, FrameKind::Chunk, 5000, sha256(&[7; 5000])),]
        );
        assert_eq!((row.plain as usize, row.frames, row.decoded, row.sha256), (body.len(), 2, 5003, sha256(&body)));
        let start = toc.iter().map(|(_, r)| r.stored as usize).sum::<usize>();
        for bit in start * 8..body.len() * 8 {
            body[bit / 8] ^= 1 << (bit % 8);
            // A hash in the table of contents is compared with the frame, not with itself.
            assert!(read_toc(&body).is_ok_and(|t| t != toc) || read_toc(&body).is_err(), "bit {bit}");
            body[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
