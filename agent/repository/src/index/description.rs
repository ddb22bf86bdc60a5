//! The description of a merged generation: the one small object in clear that makes it exist. Source: `FORMAT.md` §10.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{
    commit::{Sha256Hex, as_text},
    config::FORMAT,
    error::{Error, Result},
    keys::SealKey,
    layout::{self, GenerationPart},
    seal,
    session::SessionId,
    store::{Key, ObjectStore, each},
};

const MAGIC: [u8; 8] = *b"TSIXGEN1";

/// Generations that are tried, newest first, where the newest cannot be read.
const TRIED_MAX: usize = 3;

/// Deltas that a description names: 2 MB of text.
const NAMED_MAX: usize = 50_000;

/// What a generation is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Always [`FORMAT`].
    pub format: String,
    /// Its name.
    #[serde(with = "as_text")]
    pub generation: SessionId,
    /// The store's time of the `.open` of the session that wrote it.
    pub opened: Timestamp,
    /// The Bloom filter.
    pub bloom: Sha256Hex,
    /// The first ids of all blocks of all shards.
    pub firsts: Sha256Hex,
    /// The packs that it offers.
    pub offers: Sha256Hex,
    /// The objects of rows, in order.
    pub packs: Vec<Part>,
    /// The shards, in order: a power of two of them.
    pub shards: Vec<Part>,
    /// The deltas that are in it.
    pub deltas: Contained,
}

/// An object of records in blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its records.
    pub records: usize,
    /// SHA-256 of the object.
    pub sha256: Sha256Hex,
}

/// Deltas by session and number; as text, their names under `ix/0/`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contained(pub BTreeSet<(SessionId, u32)>);

impl Serialize for Contained {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.0.iter().map(|(session, k)| format!("{session}-{k}")))
    }
}

impl<'de> Deserialize<'de> for Contained {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(d)?;
        if names.len() > NAMED_MAX {
            return Err(D::Error::custom("it names too many deltas"));
        }
        let delta = |name: &String| {
            let key = Key::parse(&format!("{}{name}", layout::INDEX_DELTAS))?;
            layout::parse_index_delta(&key)
        };
        let deltas = names.iter().map(|name| delta(name).ok_or_else(|| D::Error::custom("a delta's name")));
        deltas.collect::<Result<_, _>>().map(Self)
    }
}

impl Description {
    /// The key of one of its objects.
    pub(super) fn key(&self, part: GenerationPart) -> Key {
        layout::generation(self.generation, part)
    }

    /// Its entries.
    pub(super) fn entries(&self) -> usize {
        self.shards.iter().map(|shard| shard.records).sum()
    }

    /// Whether it was created, at `at`, while the session that wrote it could commit. A later one may offer packs that were
    /// condemned, deleted and forgotten meanwhile.
    pub fn in_time(&self, at: Timestamp, session_max: SignedDuration) -> bool {
        at.duration_since(self.opened) <= session_max
    }

    /// The object: JSON whose last member seals it.
    pub(super) fn seal(&self, index: &SealKey) -> Result<Vec<u8>> {
        let key = self.key(GenerationPart::Description);
        let text = serde_json::to_string(self).map_err(|_| Error::Bug("a description is no JSON"))?;
        let seal = seal::seal(MAGIC, &format!("{key}#{text}"), &[], index)
            .map_err(|source| Error::Seal { key: key.clone(), source })?;
        let open = text.strip_suffix('}').ok_or(Error::Bug("a description is no JSON object"))?;
        Ok(format!("{open},\"seal\":\"{}\"}}", hex::encode(seal)).into_bytes())
    }

    /// The description in an object, as one without the key reads it: nothing says that it is authentic.
    pub fn parse(id: SessionId, object: &[u8]) -> Option<Self> {
        let found: Self = serde_json::from_slice(object).ok()?;
        let whole = found.generation == id && found.format == FORMAT && found.shards.len().is_power_of_two();
        whole.then_some(found)
    }

    /// The description in an object that the holder of the index key wrote as this generation's.
    pub(super) fn open(id: SessionId, object: &[u8], index: &SealKey) -> Option<Self> {
        let text = std::str::from_utf8(object).ok()?;
        let (open, rest) = text.rsplit_once(",\"seal\":\"")?;
        let seal = hex::decode(rest.strip_suffix("\"}")?).ok()?;
        let key = layout::generation(id, GenerationPart::Description);
        seal::unseal(MAGIC, &format!("{key}#{open}}}"), &seal, index).ok()?;
        Self::parse(id, format!("{open}}}").as_bytes())
    }
}

/// The descriptions that can be read, newest first and at most [`TRIED_MAX`], and the newest name that is taken.
pub(super) async fn newest(
    store: &dyn ObjectStore,
    index: &SealKey,
    session_max: SignedDuration,
) -> Result<(Vec<Description>, Option<SessionId>)> {
    let (mut taken, mut published) = (None, BTreeMap::new());
    each(store, layout::INDEX_GENERATIONS, |object| {
        let Some((id, part)) = layout::parse_generation(&object.key) else { return };
        taken = taken.max(Some(id));
        if part == GenerationPart::Description {
            published.insert(id, object.modified);
        }
        // However many a prune has left there: no more are held than are tried.
        if published.len() > TRIED_MAX {
            published.pop_first();
        }
    })
    .await?;
    let mut found = Vec::new();
    for (id, at) in published.into_iter().rev() {
        let key = layout::generation(id, GenerationPart::Description);
        let body = store.get(&key).await;
        let description = body.as_ref().ok().and_then(|body| Description::open(id, body, index));
        if let Some(description) = description.filter(|d| d.in_time(at, session_max)) {
            found.push(description);
        } else {
            tracing::warn!(%key, "Left out a generation of the index that is damaged or late");
        }
    }
    Ok((found, taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        let session = SessionId::from_bytes([4; 16]);
        let (hash, part) = (Sha256Hex([7; 32]), Part { records: 3, sha256: Sha256Hex([8; 32]) });
        Description {
            format: FORMAT.to_owned(),
            generation: session,
            opened: Timestamp::UNIX_EPOCH,
            bloom: hash,
            firsts: hash,
            offers: hash,
            packs: vec![part],
            shards: vec![part],
            deltas: Contained([(session, 0), (session, 12)].into()),
        }
    }

    #[test]
    fn it_reads_as_the_format_text_says_and_opens_to_what_was_sealed() {
        let (seal, id) = (SealKey(zeroize::Zeroizing::new([6; 32])), description().generation);
        let object = description().seal(&seal).expect("seals");
        let text = std::str::from_utf8(&object).expect("text");
        let text = text.replace(&"07".repeat(32), "H").replace(&"08".repeat(32), "I").replace(&id.to_string(), "S");
        let (open, _) = text.rsplit_once("\"seal\"").expect("it has a seal");
        expect_test::expect![[r#"{"format":"tarext/1","generation":"S","opened":"1970-01-01T00:00:00Z","bloom":"H","firsts":"H","offers":"H","packs":[{"records":3,"sha256":"I"}],"shards":[{"records":3,"sha256":"I"}],"deltas":["S-0","S-12"],"#]].assert_eq(open);
        assert_eq!(Description::open(id, &object, &seal), Some(description()));
        assert_eq!(Description::parse(id, &object), Some(description()));
        assert_eq!(Description::open(SessionId::from_bytes([5; 16]), &object, &seal), None, "another name");
    }

    #[test]
    fn every_flipped_bit_is_detected() {
        let (seal, id) = (SealKey(zeroize::Zeroizing::new([6; 32])), description().generation);
        let object = description().seal(&seal).expect("seals");
        for bit in 0..object.len() * 8 {
            let mut damaged = object.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // The case of a hex digit is the one bit that says nothing.
            let same = damaged.eq_ignore_ascii_case(&object);
            assert!(same || Description::open(id, &damaged, &seal).is_none(), "bit {bit}");
        }
    }
}
