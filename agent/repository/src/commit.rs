//! The commit object: the one small signed object that makes a snapshot exist. Source: `FORMAT.md` §8.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{
    config::FORMAT,
    keys::Signer,
    layout::{SnapshotId, VolumeName},
    session::SessionId,
    signature::{self, PublicKey, Purpose, Unsigned},
    table::{Kind, MetaRef, PackId, Row},
};

/// Longest commit object in bytes.
pub const COMMIT_BYTES_MAX: usize = 1 << 20;

/// `prev` of a volume's first commit.
pub const NO_COMMIT: Sha256Hex = Sha256Hex([0; 32]);

/// A SHA-256; as text, lower-case hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sha256Hex(pub [u8; 32]);

impl Serialize for Sha256Hex {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Sha256Hex {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let mut hash = [0; 32];
        let text = String::deserialize(d)?;
        hex::decode_to_slice(&text, &mut hash).map_err(|_| D::Error::custom("a hash is 64 hex digits"))?;
        Ok(Self(hash))
    }
}

/// What a commit says, without its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Always [`FORMAT`].
    pub format: String,
    /// The session that wrote it.
    #[serde(with = "as_text")]
    pub session: SessionId,
    /// The escaped name of the volume.
    #[serde(with = "as_escaped")]
    pub volume: VolumeName,
    /// What the volume is outside of its name (the uid of a claim; empty for a directory).
    pub uid: String,
    /// The whole volume, or its first part.
    pub kind: CommitKind,
    /// When the walk began, by the writer's clock.
    pub started: Timestamp,
    /// Number of the volume's commits up to this one.
    pub seq: u64,
    /// SHA-256 of the commit before.
    pub prev: Sha256Hex,
    /// The session whose snapshot this one was compared with.
    #[serde(with = "as_optional_text")]
    pub base: Option<SessionId>,
    /// How many entries of each kind.
    pub entries: Entries,
    /// How many bytes.
    pub bytes: Bytes,
    /// The file table.
    pub table: Table,
    /// The tar stream.
    pub tar: Tar,
    /// The session's pack table, where it wrote or adopted packs.
    pub packs: Option<Packs>,
    /// The packs that the snapshot needs.
    pub refs: Sidecar,
    /// The recipe.
    pub recipe: Recipe,
    /// The key that signed it.
    pub signer: PublicKey,
}

/// How much of a volume a snapshot has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommitKind {
    /// All of it.
    Complete,
    /// The first part, in path order: the session reached its deadline.
    Partial,
}

/// Entries by kind, and what befell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Entries {
    /// Directories, the root included.
    pub directories: u64,
    /// Regular files, unreadable ones included.
    pub files: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Further paths of files.
    pub hardlinks: u64,
    /// Named pipes and devices.
    pub specials: u64,
    /// Sockets: in the file table, not in the tar stream.
    pub sockets: u64,
    /// Files that changed while they were read.
    pub unstable: u64,
    /// Files that could not be read.
    pub unreadable: u64,
}

impl Entries {
    /// Counts a row.
    pub fn count(&mut self, row: &Row) {
        match &row.kind {
            Kind::Directory => self.directories += 1,
            Kind::File(_) => self.files += 1,
            Kind::Symlink { .. } => self.symlinks += 1,
            Kind::Hardlink { .. } => self.hardlinks += 1,
            Kind::Fifo | Kind::CharDevice { .. } | Kind::BlockDevice { .. } => self.specials += 1,
            Kind::Socket => self.sockets += 1,
        }
        self.unstable += u64::from(row.flags.unstable);
        self.unreadable += u64::from(row.flags.unreadable);
    }
}

/// Bytes of a snapshot and of the run that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bytes {
    /// Length of all files, holes included.
    pub logical: u64,
    /// Read from the volume.
    pub read: u64,
    /// Decoded length of new frames.
    pub new: u64,
    /// Stored length of new packs.
    pub stored: u64,
}

/// Where the file table is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its root frames.
    pub root: Vec<RootFrame>,
    /// Number of rows.
    pub rows: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// The Merkle root.
    pub merkle: Sha256Hex,
}

/// A root frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFrame {
    /// The meta pack.
    #[serde(with = "as_pack")]
    pub pack: PackId,
    /// Offset in the plain pack.
    pub offset: u32,
    /// Stored length.
    pub stored: u32,
    /// Decoded length.
    pub plain: u32,
    /// SHA-256 of the decoded bytes.
    pub sha256: Sha256Hex,
}

impl From<MetaRef> for RootFrame {
    fn from(frame: MetaRef) -> Self {
        let MetaRef { pack, offset, stored, plain, sha256 } = frame;
        Self { pack, offset, stored, plain, sha256: Sha256Hex(sha256) }
    }
}

impl From<RootFrame> for MetaRef {
    fn from(frame: RootFrame) -> Self {
        let RootFrame { pack, offset, stored, plain, sha256 } = frame;
        Self { pack, offset, stored, plain, sha256: sha256.0 }
    }
}

/// The tar stream of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tar {
    /// Its length, the two zero blocks at its end included.
    pub bytes: u64,
}

/// An object that belongs to the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecar {
    /// Its stored length.
    pub bytes: u64,
    /// SHA-256 of its stored bytes.
    pub sha256: Sha256Hex,
}

/// The pack table's object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packs {
    /// Its stored length.
    pub bytes: u64,
    /// SHA-256 of its stored bytes.
    pub sha256: Sha256Hex,
    /// How many of its rows are packs of other sessions.
    pub adopted: u64,
}

impl Packs {
    /// The object, without what its rows are.
    pub fn sidecar(&self) -> Sidecar {
        Sidecar { bytes: self.bytes, sha256: self.sha256 }
    }
}

/// The recipe's object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// Its stored length.
    pub bytes: u64,
    /// SHA-256 of its stored bytes.
    pub sha256: Sha256Hex,
    /// Number of its lines.
    pub lines: u64,
}

/// Why a commit does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no commit of this format.
    #[error("it is not a commit of {FORMAT}")]
    Shape,
    /// Its signature does not count.
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
    /// A key that the repository does not trust signed it.
    #[error("it is signed by {0}, which this repository does not trust")]
    UnknownSigner(PublicKey),
    /// It lies under another name than it says.
    #[error("it says that it is {0}")]
    Misplaced(SnapshotId),
}

impl Commit {
    /// The snapshot that it commits.
    pub fn id(&self) -> SnapshotId {
        SnapshotId { volume: self.volume.clone(), session: self.session }
    }

    /// The object.
    pub fn sign(&self, signer: &Signer) -> Vec<u8> {
        signature::sign(Purpose::Commit, self, signer)
    }

    /// The commit in an object that lies where `id`'s commit lies, verified by the trusted signers.
    pub fn parse(object: &[u8], id: &SnapshotId, signers: &[PublicKey]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Header {
            signer: PublicKey,
        }
        if object.len() > COMMIT_BYTES_MAX {
            return Err(Error::Shape);
        }
        let unverified = signature::unverified(object)?;
        // Only the key's name is taken from unverified bytes; everything else is parsed after the signature is.
        let Header { signer } = serde_json::from_slice(&unverified).map_err(|_| Error::Shape)?;
        if !signers.contains(&signer) {
            return Err(Error::UnknownSigner(signer));
        }
        let verified = signature::verify(Purpose::Commit, object, signer)?;
        let commit: Self = serde_json::from_slice(&verified).map_err(|_| Error::Shape)?;
        if commit.format != FORMAT {
            return Err(Error::Shape);
        }
        if commit.id() == *id { Ok(commit) } else { Err(Error::Misplaced(commit.id())) }
    }
}

pub(crate) mod as_text {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(id: &SessionId, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(id)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<SessionId, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

mod as_optional_text {
    use super::*;

    #[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub(super) fn serialize<S: Serializer>(id: &Option<SessionId>, s: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => s.collect_str(id),
            None => s.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SessionId>, D::Error> {
        Option::<String>::deserialize(d)?.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

mod as_escaped {
    use super::*;

    pub(super) fn serialize<S: Serializer>(name: &VolumeName, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&name.escaped())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<VolumeName, D::Error> {
        VolumeName::from_escaped(&String::deserialize(d)?).ok_or_else(|| D::Error::custom("not an escaped name"))
    }
}

mod as_pack {
    use super::*;

    pub(super) fn serialize<S: Serializer>(pack: &PackId, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{}/{:06}", pack.session, pack.number))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<PackId, D::Error> {
        let text = String::deserialize(d)?;
        let parsed =
            text.split_once('/').and_then(|(s, n)| Some(PackId { session: s.parse().ok()?, number: n.parse().ok()? }));
        parsed.ok_or_else(|| D::Error::custom("a pack is <session>/<number>"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    fn commit(signer: &Signer) -> Commit {
        let session = SessionId::from_bytes([1; 16]);
        let side = Sidecar { bytes: 7, sha256: Sha256Hex([0xaa; 32]) };
        let frame = MetaRef { pack: PackId { session, number: 3 }, offset: 1, stored: 2, plain: 3, sha256: [0xbb; 32] };
        Commit {
            format: FORMAT.to_owned(),
            session,
            volume: VolumeName::new("db/data").expect("a name"),
            uid: String::new(),
            kind: CommitKind::Complete,
            started: Timestamp::from_second(1_795_000_000).expect("a time"),
            seq: 1,
            prev: NO_COMMIT,
            base: None,
            entries: Entries { files: 2, ..Entries::default() },
            bytes: Bytes { logical: 10, read: 10, new: 10, stored: 9 },
            table: Table { root: vec![frame.into()], rows: 3, blocks: 1, merkle: Sha256Hex([0xcc; 32]) },
            tar: Tar { bytes: 4096 },
            packs: Some(Packs { bytes: 7, sha256: Sha256Hex([0xaa; 32]), adopted: 0 }),
            refs: side,
            recipe: Recipe { bytes: 8, sha256: Sha256Hex([0xdd; 32]), lines: 1 },
            signer: signer.public(),
        }
    }

    #[test]
    fn its_bytes_never_change() {
        let signer = Keys::from_parts([1; 32], [2; 32]).signer();
        let commit = commit(&signer);
        let object = commit.sign(&signer);
        expect_test::expect![[r#"{"format":"tarext/1","session":"01040G2081040G2081040G2081","volume":"db~2Fdata","uid":"","kind":"complete","started":"2026-11-18T11:06:40Z","seq":1,"prev":"0000000000000000000000000000000000000000000000000000000000000000","base":null,"entries":{"directories":0,"files":2,"symlinks":0,"hardlinks":0,"specials":0,"sockets":0,"unstable":0,"unreadable":0},"bytes":{"logical":10,"read":10,"new":10,"stored":9},"table":{"root":[{"pack":"01040G2081040G2081040G2081/000003","offset":1,"stored":2,"plain":3,"sha256":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}],"rows":3,"blocks":1,"merkle":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"},"tar":{"bytes":4096},"packs":{"bytes":7,"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","adopted":0},"refs":{"bytes":7,"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},"recipe":{"bytes":8,"sha256":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","lines":1},"signer":"EzSem20Ws2lKlTPVriHP2EAg6/OVVz7pOcaO3HACYRY=","sig":"yAyNI2l8/+er8SZLGRC2Fcm1haiQ7INQM7hwJrJz35WjSOeLb/k800zgFSCOwVCeIw1C5nheaC6a0XmTVTV8Ag=="}"#]].assert_eq(std::str::from_utf8(&object).expect("text"));
        assert_eq!(Commit::parse(&object, &commit.id(), &[signer.public()]), Ok(commit));
    }

    #[test]
    fn a_commit_of_another_key_or_in_another_place_does_not_count() {
        let (ours, theirs) = (Keys::from_parts([1; 32], [2; 32]).signer(), Keys::from_parts([1; 32], [3; 32]).signer());
        let commit = commit(&ours);
        let object = commit.sign(&ours);
        assert_eq!(Commit::parse(&object, &commit.id(), &[theirs.public()]), Err(Error::UnknownSigner(ours.public())));
        assert_eq!(
            Commit::parse(&commit.sign(&theirs), &commit.id(), &[ours.public()]),
            Err(Error::Unsigned(Unsigned::Wrong))
        );
        let elsewhere = SnapshotId { volume: VolumeName::new("other").expect("a name"), ..commit.id() };
        assert_eq!(Commit::parse(&object, &elsewhere, &[ours.public()]), Err(Error::Misplaced(commit.id())));
    }
}
