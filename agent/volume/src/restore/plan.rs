//! Which bytes of which frames a batch of files needs, in an order that reads each pack once. Pure.

use std::collections::BTreeMap;

use trysail_repository::table::{Extent, PackId, Row};

use crate::member::{content_length, padding};

/// Stored bytes of one window: half a pack, so that several fit in memory.
pub(super) const WINDOW_BYTES: u64 = 8 << 20;

/// Files of one window, which bounds its paths and metadata.
const WINDOW_FILES_MAX: usize = 4096;

/// Bytes between two wanted ranges of a pack that are fetched with them: cheaper than a further request.
const GAP_BYTES: u32 = 256 << 10;

/// A part of a frame that belongs to a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) extent: Extent,
    /// Where it belongs in the content stream.
    pub(super) at: u64,
}

/// A file to be restored and the content it has.
#[derive(Debug, Clone)]
pub(super) struct FilePlan {
    pub(super) row: Row,
    pub(super) wanted: Vec<Wanted>,
}

/// Content of several files, or a piece of one large file, that is fetched together.
#[derive(Debug)]
pub(super) enum Window {
    /// Whole files.
    Files(Vec<FilePlan>),
    /// A piece of the large file of that number.
    Piece {
        /// The large file, among those of the batch.
        file: usize,
        /// Which piece of it, from 0.
        number: u32,
        /// Its parts of frames.
        wanted: Vec<Wanted>,
    },
}

/// The content of a row's member: the member without its header and its padding, whose lengths the row tells.
///
/// `None` where the member is shorter than the content.
pub(super) fn content(row: &Row) -> Option<Vec<Wanted>> {
    let length = content_length(row);
    let total: u64 = row.member.iter().map(|e| u64::from(e.take)).sum();
    let mut header = total.checked_sub(length)?.checked_sub(padding(length) as u64)?;
    let mut wanted = Vec::with_capacity(row.member.len());
    let mut at = 0;
    for extent in &row.member {
        let skipped = header.min(extent.take.into());
        header -= skipped;
        let take = (u64::from(extent.take) - skipped).min(length - at);
        let (skipped, take) = (u32::try_from(skipped).ok()?, u32::try_from(take).ok()?);
        if take > 0 {
            wanted.push(Wanted { extent: Extent { skip: extent.skip + skipped, take, ..*extent }, at });
            at += u64::from(take);
        }
    }
    (at == length).then_some(wanted)
}

/// Sorts a batch by place and splits it into windows; gives the large files that are cut into pieces.
pub(super) fn windows(mut files: Vec<FilePlan>) -> (Vec<Window>, Vec<(Row, u32)>) {
    files.sort_by_key(|f| f.wanted.first().map(|w| (w.extent.pack, w.extent.offset, w.extent.skip)));
    let (mut windows, mut large) = (Vec::new(), Vec::new());
    let (mut open, mut bytes) = (Vec::new(), 0);
    for file in files {
        let stored: u64 = stored_bytes(&file.wanted);
        if !open.is_empty() && (bytes + stored > WINDOW_BYTES || open.len() >= WINDOW_FILES_MAX) {
            windows.push(Window::Files(std::mem::take(&mut open)));
            bytes = 0;
        }
        if stored > WINDOW_BYTES {
            let pieces = pieces(file.wanted);
            let number = large.len();
            large.push((file.row, u32::try_from(pieces.len()).unwrap_or(u32::MAX)));
            windows.extend(pieces.into_iter().zip(0..).map(|(wanted, n)| Window::Piece {
                file: number,
                number: n,
                wanted,
            }));
        } else {
            // Files of one bundle share its frame; counting it for each of them would make windows too small.
            let same_frame = |f: &FilePlan| {
                let frame = |w: &Wanted| (w.extent.pack, w.extent.offset);
                f.wanted.last().map(frame) == file.wanted.first().map(frame)
            };
            bytes += if open.last().is_some_and(same_frame) { 0 } else { stored };
            open.push(file);
        }
    }
    if !open.is_empty() {
        windows.push(Window::Files(open));
    }
    (windows, large)
}

fn stored_bytes(wanted: &[Wanted]) -> u64 {
    wanted.iter().map(|w| u64::from(w.extent.stored)).sum()
}

fn pieces(wanted: Vec<Wanted>) -> Vec<Vec<Wanted>> {
    let mut pieces: Vec<Vec<Wanted>> = Vec::new();
    let mut bytes = 0;
    for one in wanted {
        bytes += u64::from(one.extent.stored);
        match pieces.last_mut() {
            Some(piece) if bytes <= WINDOW_BYTES => piece.push(one),
            _ => {
                bytes = u64::from(one.extent.stored);
                pieces.push(vec![one]);
            }
        }
    }
    pieces
}

/// A range of a pack that is fetched with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fetch {
    pub(super) pack: PackId,
    pub(super) from: u32,
    pub(super) to: u32,
}

/// The ranges to fetch for these parts of frames: sorted, and joined where little lies between.
pub(super) fn fetches<'a>(wanted: impl Iterator<Item = &'a Wanted>) -> Vec<Fetch> {
    let mut frames: BTreeMap<(PackId, u32), u32> = BTreeMap::new();
    for Wanted { extent, .. } in wanted {
        frames.insert((extent.pack, extent.offset), extent.stored);
    }
    let mut fetches: Vec<Fetch> = Vec::new();
    for ((pack, from), stored) in frames {
        let to = from.saturating_add(stored);
        match fetches.last_mut() {
            Some(last) if last.pack == pack && from.saturating_sub(last.to) <= GAP_BYTES => last.to = last.to.max(to),
            _ => fetches.push(Fetch { pack, from, to }),
        }
    }
    fetches
}

#[cfg(test)]
mod tests {
    use trysail_repository::{
        session::SessionId,
        table::{Content, Flags, Inode, Kind, Metadata},
    };

    use super::*;

    fn extent(number: u32, offset: u32, plain: u32) -> Extent {
        let pack = PackId { session: SessionId::from_bytes([1; 16]), number };
        Extent { pack, offset, stored: plain / 2, plain, skip: 0, take: plain }
    }

    fn row(size: u64, member: Vec<Extent>) -> Row {
        let kind = Kind::File(Content { size, ..Content::default() });
        let (metadata, inode, flags) = (Metadata::default(), Inode::default(), Flags::default());
        Row { path: b"f".to_vec(), kind, metadata, inode, flags, member }
    }

    #[test]
    fn content_is_the_member_without_header_and_padding() {
        let one = content(&row(600, vec![Extent { skip: 100, take: 512 + 1024, ..extent(0, 0, 5000) }]));
        assert_eq!(one, Some(vec![Wanted { extent: Extent { skip: 612, take: 600, ..extent(0, 0, 5000) }, at: 0 }]));
        let parts = vec![extent(0, 0, 1024), extent(0, 512, 4000), extent(1, 0, 1120)];
        let two = content(&row(5100, parts)).expect("long enough");
        assert_eq!(
            two.iter().map(|w| (w.extent.pack.number, w.extent.skip, w.extent.take, w.at)).collect::<Vec<_>>(),
            [(0, 0, 4000, 0), (1, 0, 1100, 4000)],
            "a header in a frame of its own is not wanted"
        );
        assert_eq!(content(&row(600, vec![extent(0, 0, 512)])), None, "a member that is too short");
        assert_eq!(content(&row(0, vec![extent(0, 0, 512)])), Some(vec![]));
    }

    #[test]
    fn near_ranges_are_fetched_together_and_far_ones_apart() {
        let wanted: Vec<Wanted> =
            [extent(0, 0, 2000), extent(0, 5000, 2000), extent(0, 900_000, 2000), extent(1, 0, 2)]
                .into_iter()
                .map(|extent| Wanted { extent, at: 0 })
                .collect();
        let ranges: Vec<_> = fetches(wanted.iter().rev()).iter().map(|f| (f.pack.number, f.from, f.to)).collect();
        assert_eq!(ranges, [(0, 0, 6000), (0, 900_000, 901_000), (1, 0, 1)]);
    }

    #[test]
    fn a_large_file_is_cut_into_pieces_and_small_files_go_together() {
        let large: Vec<Extent> = (0..40).map(|n| extent(n, 0, 2 << 20)).collect();
        let plan = |path: &str, member: Vec<Extent>| {
            let size = member.iter().map(|e| u64::from(e.take)).sum();
            let row = Row { path: path.into(), ..row(size, member) };
            FilePlan { wanted: content(&row).expect("whole"), row }
        };
        let files =
            vec![plan("b", vec![extent(50, 0, 1024)]), plan("large", large), plan("a", vec![extent(49, 0, 512)])];
        let (windows, large) = windows(files);
        let shown: Vec<String> = windows
            .iter()
            .map(|w| match w {
                Window::Files(f) => f.iter().map(|f| String::from_utf8_lossy(&f.row.path).into_owned()).collect(),
                Window::Piece { file, number, wanted } => format!("{file}.{number}:{}", wanted.len()),
            })
            .collect();
        assert_eq!(shown, ["0.0:8", "0.1:8", "0.2:8", "0.3:8", "0.4:8", "ab"]);
        assert_eq!(large.iter().map(|(_, pieces)| *pieces).collect::<Vec<_>>(), [5]);
    }
}
