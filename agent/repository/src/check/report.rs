//! What a check says: findings, and which paths of which snapshots they cost. Plain data that serializes for machines.

use serde::{Serialize, Serializer};

use super::subset::Subset;
use crate::{
    layout::{self, SnapshotId},
    store::Key,
    table::PackRef,
};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// How deep it could look.
    pub level: Level,
    /// Snapshots that count.
    pub snapshots: u64,
    /// Packs that they need.
    pub packs: u64,
    /// The part of the packs that was to be read.
    pub read_data: Option<Subset>,
    /// Packs that were read.
    pub packs_read: u64,
    /// Stored bytes of these.
    pub bytes_read: u64,
    /// How many findings are damage, all of them counted.
    pub damage: u64,
    /// How many findings are notices, all of them counted.
    pub notices: u64,
    /// The first findings, damage first, each of these in order of its key.
    pub findings: Vec<Finding>,
    /// Packs that are missing or damaged and not marked yet: after [`mark_bad`](super::mark_bad) the next backup reads from its source
    /// again what they held.
    #[serde(serialize_with = "as_keys")]
    pub bad_packs: Vec<PackRef>,
}

impl CheckReport {
    /// Whether there is no damage.
    pub fn is_sound(&self) -> bool {
        self.damage == 0
    }
}

/// How deep a check could look, by what it could open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Stored bytes against signed hashes.
    Stored,
    /// File tables too.
    Tables,
    /// Everything.
    Contents,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something that a reader or the next writer needs is gone or wrong.
    Damage,
    /// Worth a look; nothing is lost by it.
    Notice,
}

/// One object that is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The object.
    #[serde(serialize_with = "as_text")]
    pub key: Key,
    /// What is wrong with it, as the rest of a sentence that begins with its key.
    pub what: String,
    /// What the first of the affected snapshots lose.
    pub affected: Vec<LostPaths>,
    /// How many snapshots are affected.
    pub snapshots: u64,
}

/// What one snapshot loses by one finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LostPaths {
    /// The snapshot.
    #[serde(serialize_with = "as_text")]
    pub snapshot: SnapshotId,
    /// How much is known.
    pub scope: Scope,
    /// The first paths below the volume's root whose content is lost, in path order; in JSON as text with `\xHH` for bytes that are not UTF-8 and
    /// `\\` for a backslash.
    #[serde(serialize_with = "as_paths")]
    pub paths: Vec<Vec<u8>>,
    /// Number of all such paths.
    pub count: u64,
    /// Number of further entries (directories, links, empty files) that lose their tar member only: a restore makes them from the file
    /// table, `rescue.sh` does not.
    pub members: u64,
    /// Stretches of the file table that are lost, with every path in them.
    pub ranges: Vec<PathRange>,
}

impl LostPaths {
    /// Nothing yet, of a snapshot.
    pub fn new(snapshot: SnapshotId, scope: Scope) -> Self {
        Self { snapshot, scope, paths: Vec::new(), count: 0, members: 0, ranges: Vec::new() }
    }
}

/// How much is known of a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The paths and ranges named, and no others; where there are none, nothing.
    Paths,
    /// The whole snapshot.
    All,
    /// Some of it: the file table could not be read.
    Unknown,
}

/// Neighbouring rows of a file table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathRange {
    /// Path of the first row.
    #[serde(serialize_with = "as_path")]
    pub first: Vec<u8>,
    /// Path of the first row after it; `None` at the table's end.
    #[serde(serialize_with = "as_optional_path")]
    pub end: Option<Vec<u8>>,
    /// Number of its rows.
    pub rows: u64,
}

/// How far a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub stage: Stage,
    /// How many of `of` are done.
    pub done: u64,
    /// How many there are.
    pub of: u64,
    /// Stored bytes read so far.
    pub bytes: u64,
}

/// What a check is doing; in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Commits and what lies beside them.
    Commits,
    /// Pack tables.
    Packs,
    /// File tables.
    Tables,
    /// Contents of packs.
    Data,
    /// Which paths damaged packs cost.
    Losses,
}

/// A path as text: `\xHH` for bytes that are not UTF-8, `\\` for a backslash.
pub fn path_text(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', r"\\"));
        for byte in chunk.invalid() {
            text.push_str(r"\x");
            text.push_str(&hex::encode_upper([*byte]));
        }
    }
    text
}

fn as_text<T: std::fmt::Display, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(value)
}

fn as_keys<S: Serializer>(packs: &[PackRef], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(packs.iter().map(|pack| layout::pack(*pack).to_string()))
}

fn as_path<S: Serializer>(path: &[u8], s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&path_text(path))
}

fn as_paths<S: Serializer>(paths: &[Vec<u8>], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(paths.iter().map(|path| path_text(path)))
}

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
fn as_optional_path<S: Serializer>(path: &Option<Vec<u8>>, s: S) -> Result<S::Ok, S::Error> {
    path.as_deref().map(path_text).serialize(s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_as_text_tells_every_byte() {
        assert_eq!(path_text("a/ü\n".as_bytes()), "a/ü\n");
        assert_eq!(path_text(b"a\\x\xff\xc3b"), r"a\\x\xFF\xC3b");
    }
}
