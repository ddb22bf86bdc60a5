//! The recipe: a snapshot's members as ranges of packs, in an order that fetches each pack once. Source: `FORMAT.md` §5.

use std::io::Write as _;

use crate::{
    session::SessionId,
    table::{Extent, PackId},
};

/// Lines that are sorted at once: 20 MB. Larger recipes are sorted piece by piece, which costs a rescue some fetches.
const SORT_LINES_MAX: usize = 400_000;

/// zstd level of recipes: text that is written once and read after a disaster.
const LEVEL: i32 = 3;

/// A range of one pack: one frame or several that touch, or a part of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The pack.
    pub pack: PackId,
    /// Where the range begins in the plain pack.
    pub offset: u32,
    /// Its length.
    pub stored: u32,
    /// Of one frame, the part that belongs to the stream: first byte and number of bytes; `None` is all of the range.
    pub part: Option<(u32, u32)>,
}

/// A line, and what it takes to see whether a part has become a whole frame.
#[derive(Debug, Clone, Copy)]
struct Draft {
    line: Line,
    /// Decoded length of the frame; 0 for whole frames.
    plain: u32,
}

impl Draft {
    fn new(extent: &Extent) -> Self {
        let part = (!extent.is_whole()).then_some((extent.skip, extent.take));
        let line = Line { pack: extent.pack, offset: extent.offset, stored: extent.stored, part };
        Self { line, plain: if part.is_some() { extent.plain } else { 0 } }
    }

    /// Appends what follows directly; says whether it did.
    fn join(&mut self, next: &Self) -> bool {
        let (a, b) = (self.line, next.line);
        if a.pack != b.pack {
            return false;
        }
        match (a.part, b.part) {
            (None, None) if a.offset.checked_add(a.stored) == Some(b.offset) => {
                let Some(stored) = a.stored.checked_add(b.stored) else { return false };
                self.line.stored = stored;
                true
            }
            (Some((skip, take)), Some((next_skip, next_take))) if a.offset == b.offset && skip + take == next_skip => {
                let take = take + next_take;
                self.line.part = if skip == 0 && take == self.plain { None } else { Some((skip, take)) };
                self.plain = if self.line.part.is_some() { self.plain } else { 0 };
                true
            }
            _ => false,
        }
    }
}

/// A member's lines, or several members' that follow one another.
#[derive(Debug, Clone, Copy)]
struct Unit {
    first: (SessionId, u32, u32, u32),
    from: u32,
    to: u32,
}

/// Collects members and writes the recipe.
pub(crate) struct RecipeWriter {
    lines: Vec<Draft>,
    units: Vec<Unit>,
    open: Option<u32>,
    last_of_all: Vec<Draft>,
    out: zstd::stream::write::Encoder<'static, Vec<u8>>,
    pending: Option<Draft>,
    written: u64,
}

impl std::fmt::Debug for RecipeWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecipeWriter {{ lines: {} }}", self.lines.len())
    }
}

impl RecipeWriter {
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut out = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
        out.include_checksum(true)?;
        Ok(Self {
            lines: Vec::new(),
            units: Vec::new(),
            open: None,
            last_of_all: Vec::new(),
            out,
            pending: None,
            written: 0,
        })
    }

    /// Adds the next extent of the member that is being added.
    pub(crate) fn extent(&mut self, extent: &Extent) {
        let draft = Draft::new(extent);
        let start = *self.open.get_or_insert_with(|| u32::try_from(self.lines.len()).unwrap_or(u32::MAX)) as usize;
        if self.lines.len() == start || !self.lines.last_mut().is_some_and(|last| last.join(&draft)) {
            self.lines.push(draft);
        }
    }

    /// Ends the member.
    pub(crate) fn end_member(&mut self) -> std::io::Result<()> {
        let Some(from) = self.open.take() else { return Ok(()) };
        let Some(first) = self.lines.get(from as usize).copied() else { return Ok(()) };
        // A member that directly follows the one before needs no line of its own.
        let follows = from > 0 && self.units.last().is_some_and(|u| u.to == from);
        if follows && self.lines[from as usize - 1].join(&first) {
            self.lines.remove(from as usize);
            let to = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
            if let Some(unit) = self.units.last_mut() {
                unit.to = to;
            }
            return Ok(());
        }
        let Line { pack, offset, part, .. } = first.line;
        let to = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
        self.units.push(Unit { first: (pack.session, pack.number, offset, part.map_or(0, |p| p.0)), from, to });
        if self.lines.len() >= SORT_LINES_MAX { self.flush() } else { Ok(()) }
    }

    /// Ends the member, which is a hard link: it comes after all others.
    pub(crate) fn end_link(&mut self) {
        if let Some(from) = self.open.take() {
            for draft in self.lines.drain(from as usize..) {
                if !self.last_of_all.last_mut().is_some_and(|last| last.join(&draft)) {
                    self.last_of_all.push(draft);
                }
            }
        }
    }

    /// Writes the members so far, in order of where they are stored.
    fn flush(&mut self) -> std::io::Result<()> {
        self.units.sort_unstable_by_key(|u| u.first);
        let (units, lines) = (std::mem::take(&mut self.units), std::mem::take(&mut self.lines));
        for unit in units {
            for draft in &lines[unit.from as usize..unit.to as usize] {
                self.put(*draft)?;
            }
        }
        Ok(())
    }

    fn put(&mut self, draft: Draft) -> std::io::Result<()> {
        if let Some(mut pending) = self.pending.take() {
            if pending.join(&draft) {
                self.pending = Some(pending);
                return Ok(());
            }
            self.print(&pending.line)?;
        }
        self.pending = Some(draft);
        Ok(())
    }

    fn print(&mut self, line: &Line) -> std::io::Result<()> {
        self.written += 1;
        let Line { pack, offset, stored, part } = line;
        write!(self.out, "{}/{:06} {offset} {stored}", pack.session, pack.number)?;
        match part {
            None => writeln!(self.out, " - -"),
            Some((skip, take)) => writeln!(self.out, " {skip} {take}"),
        }
    }

    /// The recipe's bytes (one zstd frame) and the number of its lines.
    pub(crate) fn finish(mut self) -> std::io::Result<(Vec<u8>, u64)> {
        self.flush()?;
        for draft in std::mem::take(&mut self.last_of_all) {
            self.put(draft)?;
        }
        if let Some(pending) = self.pending.take() {
            self.print(&pending.line)?;
        }
        Ok((self.out.finish()?, self.written))
    }
}

/// The lines of a recipe's text.
pub fn parse(text: &str) -> Option<Vec<Line>> {
    text.lines().map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Line> {
    let mut fields = line.split(' ');
    let (session, number) = fields.next()?.split_once('/')?;
    let pack = PackId { session: session.parse().ok()?, number: number.parse().ok()? };
    let (offset, stored) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let part = match (fields.next()?, fields.next()?) {
        ("-", "-") => None,
        (skip, take) => Some((skip.parse().ok()?, take.parse().ok()?)),
    };
    fields.next().is_none().then_some(Line { pack, offset, stored, part })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(session: u8, number: u32, offset: u32, part: Option<(u32, u32)>) -> Extent {
        let (skip, take) = part.unwrap_or((0, 100));
        let pack = PackId { session: SessionId::from_bytes([session; 16]), number };
        Extent { pack, offset, stored: 10, plain: 100, skip, take }
    }

    fn recipe(members: &[(bool, &[Extent])]) -> String {
        let mut writer = RecipeWriter::new().expect("starts");
        for (link, member) in members {
            for e in *member {
                writer.extent(e);
            }
            if *link { writer.end_link() } else { writer.end_member().expect("memory") }
        }
        let (bytes, lines) = writer.finish().expect("memory");
        let text = String::from_utf8(zstd::decode_all(bytes.as_slice()).expect("a frame")).expect("text");
        assert_eq!(parse(&text).map(|l| l.len() as u64), Some(lines));
        text.replace("0M2C1G60R30C1G60R30C1G60R3", "A").replace("01040G2081040G2081040G2081", "B")
    }

    #[test]
    fn what_was_stored_in_one_run_is_one_line_a_pack() {
        let text = recipe(&[
            (false, &[extent(1, 0, 0, Some((0, 40)))]),
            (false, &[extent(1, 0, 0, Some((40, 60)))]),
            (false, &[extent(1, 0, 10, None), extent(1, 0, 20, None), extent(1, 1, 0, None)]),
            (false, &[extent(1, 1, 10, None)]),
        ]);
        expect_test::expect![[r"
            B/000000 0 30 - -
            B/000001 0 20 - -
        "]]
        .assert_eq(&text);
    }

    #[test]
    fn members_are_ordered_by_place_large_ones_stay_whole_and_links_come_last() {
        let text = recipe(&[
            (true, &[extent(1, 0, 0, Some((5, 6)))]),
            (false, &[extent(2, 0, 0, None)]),
            (false, &[extent(1, 3, 0, None), extent(2, 5, 0, None), extent(1, 3, 30, None)]),
            (false, &[extent(1, 3, 10, None)]),
            (false, &[extent(1, 2, 0, Some((7, 1)))]),
        ]);
        let first = SessionId::from_bytes([1; 16]).to_string();
        let second = SessionId::from_bytes([2; 16]).to_string();
        let expected = [
            format!("{first}/000002 0 10 7 1"),
            format!("{first}/000003 0 10 - -"),
            format!("{second}/000005 0 10 - -"),
            format!("{first}/000003 30 10 - -"),
            format!("{first}/000003 10 10 - -"),
            format!("{second}/000000 0 10 - -"),
            format!("{first}/000000 0 10 5 6\n"),
        ];
        assert_eq!(text.replace('B', &first), expected.join("\n"));
    }
}
