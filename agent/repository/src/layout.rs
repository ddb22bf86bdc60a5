//! Where objects lie: every key of a repository is made, and taken apart, here. Source: `FORMAT.md` §2.

use std::fmt;

use crate::{
    session::SessionId,
    store::Key,
    table::{PackKind, PackRef},
};

/// Name of a volume: any bytes but NUL, 1 to 255 of them; escaped where it is part of a key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeName(String);

/// A digit below 16 as upper-case hexadecimal.
fn hex_digit(n: u8) -> char {
    char::from(if n < 10 { b'0' + n } else { b'A' + n - 10 })
}

/// The name is empty, too long or has a byte that no name has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot name a volume: 1 to 255 bytes, no NUL")]
pub struct NotAVolumeName(pub String);

impl VolumeName {
    /// The volume of that plain name (`db/data`).
    pub fn new(plain: &str) -> Result<Self, NotAVolumeName> {
        if plain.is_empty() || plain.len() > 255 || plain.contains('\0') {
            return Err(NotAVolumeName(plain.escape_debug().to_string()));
        }
        Ok(Self(plain.to_owned()))
    }

    /// The plain name.
    pub fn plain(&self) -> &str {
        &self.0
    }

    /// The name as part of a key (`db~2Fdata`).
    pub fn escaped(&self) -> String {
        let mut text = String::new();
        for (i, byte) in self.0.bytes().enumerate() {
            let kept = byte.is_ascii_alphanumeric() || b"_-".contains(&byte) || (byte == b'.' && i > 0);
            if kept {
                text.push(char::from(byte));
            } else {
                text.extend(['~', hex_digit(byte >> 4), hex_digit(byte & 0xf)]);
            }
        }
        text
    }

    /// The volume whose escaped name this is; `None` where it is not in the one spelling that [`Self::escaped`] gives.
    pub fn from_escaped(text: &str) -> Option<Self> {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            if byte == b'~' {
                let (hex, tail) = rest.split_at_checked(2)?;
                bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
                rest = tail;
            } else {
                bytes.push(byte);
            }
        }
        let name = Self::new(std::str::from_utf8(&bytes).ok()?).ok()?;
        (name.escaped() == text).then_some(name)
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One snapshot: a session's commit of a volume.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId {
    /// The volume.
    pub volume: VolumeName,
    /// The session that committed it.
    pub session: SessionId,
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.volume.escaped(), self.session)
    }
}

/// What lies beside a snapshot's commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Beside {
    /// The commit itself.
    Commit,
    /// The packs that it needs.
    Refs,
    /// Its recipe.
    Recipe,
    /// The file table so far, part k.
    Part(u32),
    /// The commit does not count.
    Void,
}

fn key(text: impl AsRef<str>) -> Key {
    Key::parse(text.as_ref()).expect("keys of a repository are made of escaped names, ULIDs and numbers")
}

/// `repo.json` (n is 0) or a later state of it.
pub fn repo_json(n: u32) -> Key {
    key(if n == 0 { "v1/repo.json".to_owned() } else { format!("v1/repo.json.{n}") })
}

/// Prefix of all states of `repo.json`.
pub const REPO_JSON: &str = "v1/repo.json";

/// The n that a key says, where it is a state of `repo.json`.
pub fn parse_repo_json(key: &Key) -> Option<u32> {
    match key.as_str().strip_prefix(REPO_JSON)? {
        "" => Some(0),
        rest => decimal(rest.strip_prefix('.')?).filter(|n| *n > 0),
    }
}

/// Wrapped keys, number n.
pub fn wrapped_keys(n: u32) -> Key {
    key(format!("v1/keys/{n}"))
}

/// The format text.
pub fn format_text() -> Key {
    key("v1/FORMAT.md")
}

/// The recovery script.
pub fn rescue_script() -> Key {
    key("v1/rescue.sh")
}

/// Prefix of all session objects.
pub const SESSIONS: &str = "v1/s/";

/// The mark that a session has begun.
pub fn session_open(session: SessionId) -> Key {
    key(format!("v1/s/{session}.open"))
}

/// The session whose `.open` this key is.
pub fn parse_session_open(key: &Key) -> Option<SessionId> {
    key.as_str().strip_prefix(SESSIONS)?.strip_suffix(".open")?.parse().ok()
}

/// The table of a session's packs.
pub fn session_packs(session: SessionId) -> Key {
    key(format!("v1/s/{session}.packs"))
}

/// The session whose pack table this key is.
pub fn parse_session_packs(key: &Key) -> Option<SessionId> {
    key.as_str().strip_prefix(SESSIONS)?.strip_suffix(".packs")?.parse().ok()
}

/// Prefix of all packs of that series.
pub const fn packs_prefix(kind: PackKind) -> &'static str {
    match kind {
        PackKind::Data => "v1/p/",
        PackKind::Meta => "v1/m/",
    }
}

/// A pack.
pub fn pack(pack: PackRef) -> Key {
    key(format!("{}{}/{:06}.pk", packs_prefix(pack.kind), pack.session, pack.number))
}

/// The pack whose key this is.
pub fn parse_pack(key: &Key) -> Option<PackRef> {
    let kind = [PackKind::Data, PackKind::Meta].into_iter().find(|k| key.as_str().starts_with(packs_prefix(*k)))?;
    let (session, number) = key.as_str().strip_prefix(packs_prefix(kind))?.strip_suffix(".pk")?.split_once('/')?;
    let (session, parsed) = (session.parse().ok()?, number.parse().ok()?);
    (format!("{parsed:06}") == number).then_some(PackRef { session, kind, number: parsed })
}

/// Prefix of all snapshots.
pub const SNAPSHOTS: &str = "v1/snap/";

/// Prefix of all snapshots of a volume.
pub fn snapshots_of(volume: &VolumeName) -> String {
    format!("{SNAPSHOTS}{}/", volume.escaped())
}

/// A snapshot's commit, or what lies beside it.
pub fn beside(snapshot: &SnapshotId, what: Beside) -> Key {
    key(match what {
        Beside::Commit => format!("{SNAPSHOTS}{snapshot}.json"),
        Beside::Refs => format!("{SNAPSHOTS}{snapshot}.refs"),
        Beside::Recipe => format!("{SNAPSHOTS}{snapshot}.recipe"),
        Beside::Part(k) => format!("{SNAPSHOTS}{snapshot}.{k}.part"),
        Beside::Void => format!("{SNAPSHOTS}{snapshot}.void"),
    })
}

/// The snapshot and the part of it that this key is.
pub fn parse_beside(key: &Key) -> Option<(SnapshotId, Beside)> {
    let (volume, name) = key.as_str().strip_prefix(SNAPSHOTS)?.split_once('/')?;
    let (session, suffix) = name.split_once('.')?;
    let what = match suffix {
        "json" => Beside::Commit,
        "refs" => Beside::Refs,
        "recipe" => Beside::Recipe,
        "void" => Beside::Void,
        part => Beside::Part(decimal(part.strip_suffix(".part")?)?),
    };
    Some((SnapshotId { volume: VolumeName::from_escaped(volume)?, session: session.parse().ok()? }, what))
}

/// Prefix of all index deltas.
pub const INDEX_DELTAS: &str = "v1/ix/0/";

/// Prefix of all merged generations of the index.
pub const INDEX_GENERATIONS: &str = "v1/ix/g/";

/// A session's index delta, number k.
pub fn index_delta(session: SessionId, k: u32) -> Key {
    key(format!("{INDEX_DELTAS}{session}-{k}"))
}

/// The session and number of the index delta whose key this is.
pub fn parse_index_delta(key: &Key) -> Option<(SessionId, u32)> {
    let (session, k) = key.as_str().strip_prefix(INDEX_DELTAS)?.split_once('-')?;
    Some((session.parse().ok()?, decimal(k)?))
}

/// One of the objects of a merged generation of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GenerationPart {
    /// Its description, in clear; the generation exists when this does.
    Description,
    /// The packs that it offers, in clear.
    Offers,
    /// The Bloom filter over its ids.
    Bloom,
    /// The first id of each block of its shards.
    Firsts,
    /// Rows of its packs, object n.
    Packs(u32),
    /// Its entries, shard n.
    Shard(u32),
}

/// An object of a merged generation.
pub fn generation(id: SessionId, part: GenerationPart) -> Key {
    key(match part {
        GenerationPart::Description => format!("{INDEX_GENERATIONS}{id}.json"),
        GenerationPart::Offers => format!("{INDEX_GENERATIONS}{id}/offers"),
        GenerationPart::Bloom => format!("{INDEX_GENERATIONS}{id}/bloom"),
        GenerationPart::Firsts => format!("{INDEX_GENERATIONS}{id}/firsts"),
        GenerationPart::Packs(n) => format!("{INDEX_GENERATIONS}{id}/{n}.packs"),
        GenerationPart::Shard(n) => format!("{INDEX_GENERATIONS}{id}/{n}.shard"),
    })
}

/// The generation and the object of it that this key is.
pub fn parse_generation(key: &Key) -> Option<(SessionId, GenerationPart)> {
    let rest = key.as_str().strip_prefix(INDEX_GENERATIONS)?;
    if let Some(id) = rest.strip_suffix(".json") {
        return Some((id.parse().ok()?, GenerationPart::Description));
    }
    let (id, name) = rest.split_once('/')?;
    let part = match name.split_once('.') {
        None if name == "offers" => GenerationPart::Offers,
        None if name == "bloom" => GenerationPart::Bloom,
        None if name == "firsts" => GenerationPart::Firsts,
        Some((n, "packs")) => GenerationPart::Packs(decimal(n)?),
        Some((n, "shard")) => GenerationPart::Shard(decimal(n)?),
        _ => return None,
    };
    Some((id.parse().ok()?, part))
}

/// Prefix of all condemned sets.
pub const CONDEMNED: &str = "v1/gc/c/";

/// A condemned set.
pub fn condemned(id: SessionId) -> Key {
    key(format!("{CONDEMNED}{id}"))
}

/// The condemned set whose key this is.
pub fn parse_condemned(key: &Key) -> Option<SessionId> {
    key.as_str().strip_prefix(CONDEMNED)?.parse().ok()
}

/// Prefix of all marks of swept sets.
pub const SWEPT: &str = "v1/gc/x/";

/// The mark that no pack of a condemned set is stored any more.
pub fn swept(id: SessionId) -> Key {
    key(format!("{SWEPT}{id}"))
}

/// The condemned set whose mark this is.
pub fn parse_swept(key: &Key) -> Option<SessionId> {
    key.as_str().strip_prefix(SWEPT)?.parse().ok()
}

/// The filler that is deleted first when a store is full.
pub fn ballast() -> Key {
    key("v1/gc/ballast")
}

/// Prefix of the marks of damaged packs.
pub const BAD: &str = "v1/bad/";

/// The mark that a pack was found damaged.
pub fn bad(pack: PackRef) -> Key {
    let series = match pack.kind {
        PackKind::Data => 'p',
        PackKind::Meta => 'm',
    };
    key(format!("{BAD}{}.{series}.{:06}", pack.session, pack.number))
}

/// The pack that this key marks as damaged.
pub fn parse_bad(key: &Key) -> Option<PackRef> {
    let mut parts = key.as_str().strip_prefix(BAD)?.splitn(3, '.');
    let session = parts.next()?.parse().ok()?;
    let kind = match parts.next()? {
        "p" => PackKind::Data,
        "m" => PackKind::Meta,
        _ => return None,
    };
    Some(PackRef { session, kind, number: parts.next()?.parse().ok()? })
}

/// A number in decimal without leading zeros.
fn decimal(text: &str) -> Option<u32> {
    text.parse().ok().filter(|n: &u32| n.to_string() == text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn session() -> SessionId {
        SessionId::from_bytes([7; 16])
    }

    #[test]
    fn keys_read_as_the_format_text_says() {
        let id = SnapshotId { volume: VolumeName::new("db/data").expect("a name"), session: session() };
        let p = PackRef { session: session(), kind: PackKind::Data, number: 12 };
        let keys = [
            repo_json(0),
            repo_json(2),
            wrapped_keys(1),
            session_open(session()),
            session_packs(session()),
            pack(p),
            pack(PackRef { kind: PackKind::Meta, number: 1_234_567, ..p }),
            beside(&id, Beside::Commit),
            beside(&id, Beside::Part(3)),
            index_delta(session(), 4),
            generation(session(), GenerationPart::Description),
            generation(session(), GenerationPart::Shard(3)),
            condemned(session()),
            swept(session()),
            bad(p),
        ];
        let text: Vec<String> = keys.iter().map(|k| k.to_string().replace("070W3GE1R70W3GE1R70W3GE1R7", "S")).collect();
        expect_test::expect![[r"
            v1/repo.json
            v1/repo.json.2
            v1/keys/1
            v1/s/S.open
            v1/s/S.packs
            v1/p/S/000012.pk
            v1/m/S/1234567.pk
            v1/snap/db~2Fdata/S.json
            v1/snap/db~2Fdata/S.3.part
            v1/ix/0/S-4
            v1/ix/g/S.json
            v1/ix/g/S/3.shard
            v1/gc/c/S
            v1/gc/x/S
            v1/bad/S.p.000012"]]
        .assert_eq(&text.join("\n"));
    }

    #[test]
    fn a_key_is_taken_apart_into_what_it_was_made_of() {
        let id = SnapshotId { volume: VolumeName::new(".hidden ~ü").expect("a name"), session: session() };
        for what in [Beside::Commit, Beside::Refs, Beside::Recipe, Beside::Part(0), Beside::Part(17), Beside::Void] {
            assert_eq!(parse_beside(&beside(&id, what)), Some((id.clone(), what)));
        }
        for kind in [PackKind::Data, PackKind::Meta] {
            for number in [0, 999_999, 1_000_000] {
                let p = PackRef { session: session(), kind, number };
                assert_eq!((parse_pack(&pack(p)), parse_bad(&bad(p))), (Some(p), Some(p)));
            }
        }
        assert_eq!(parse_repo_json(&repo_json(0)), Some(0));
        assert_eq!(parse_repo_json(&repo_json(10)), Some(10));
        assert_eq!(parse_index_delta(&index_delta(session(), 9)), Some((session(), 9)));
        let parts = [
            GenerationPart::Description,
            GenerationPart::Offers,
            GenerationPart::Bloom,
            GenerationPart::Firsts,
            GenerationPart::Packs(0),
            GenerationPart::Shard(12),
        ];
        for part in parts {
            assert_eq!(parse_generation(&generation(session(), part)), Some((session(), part)));
        }
        assert_eq!(parse_session_open(&session_open(session())), Some(session()));
        assert_eq!(parse_session_packs(&session_open(session())), None);
    }

    proptest! {
        #[test]
        fn every_volume_name_has_one_escaped_spelling(plain in "[^\0]{1,60}") {
            let name = VolumeName::new(&plain).expect("short enough");
            let escaped = name.escaped();
            prop_assert!(Key::parse(&escaped).is_some());
            prop_assert_eq!(VolumeName::from_escaped(&escaped), Some(name));
        }
    }
}
