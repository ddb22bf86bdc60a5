//! `repo.json`: parameters, recipients and trusted signers of a repository. Source: `FORMAT.md` §9.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    cut::{ChunkSizes, DEFAULT_SIZES},
    keys::Signer,
    pack::DEFAULT_PACK_BYTES,
    signature::{self, PublicKey, Purpose, Unsigned},
};

/// The format that this program reads and writes.
pub const FORMAT: &str = "tarext/1";

/// The number that `min_reader` and `min_writer` are compared with.
pub const FORMAT_LEVEL: u32 = 1;

/// Members of files below this many bytes go into bundles; a bundle is closed when it holds as many.
pub const DEFAULT_BUNDLE_BYTES: u32 = 256 << 10;

/// zstd level of new frames.
pub const DEFAULT_ZSTD_LEVEL: i32 = 1;

/// Longest session in seconds, by the store's clock.
pub const SESSION_MAX_SECONDS: i64 = 24 * 3600;

/// Time between condemning a pack and sweeping it in seconds, by the store's clock.
pub const GRACE_SECONDS: i64 = 72 * 3600;

/// The content of `repo.json`, without its signature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepoConfig {
    /// Always [`FORMAT`].
    pub format: String,
    /// Programs below this level must not read.
    pub min_reader: u32,
    /// Programs below this level must not write.
    pub min_writer: u32,
    /// Name of the repository, a ULID.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    /// Epoch of the domain key.
    pub epoch: u32,
    /// Number of the `keys/<n>` object that holds the keys.
    pub keys: u32,
    /// How large files are cut.
    pub chunk: ChunkConfig,
    /// Target length of a data pack in bytes.
    pub pack: u32,
    /// Length at which a bundle is closed, in bytes.
    pub bundle: u32,
    /// Files below this many bytes go into bundles.
    pub small_max: u32,
    /// zstd level of new frames.
    pub zstd: i32,
    /// Times of the prune protocol.
    pub gc: GcConfig,
    /// age recipients as text; none means that nothing is encrypted.
    pub recipients: Vec<String>,
    /// Keys whose commits count.
    pub signers: Vec<PublicKey>,
    /// The key that signs this object.
    pub root: PublicKey,
}

/// How large files are cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChunkConfig {
    /// Always `fastcdc-v2020`.
    pub algo: String,
    /// Normalisation level, always 2.
    pub level: u32,
    /// Smallest chunk in bytes.
    pub min: u32,
    /// Expected chunk in bytes.
    pub avg: u32,
    /// Largest chunk in bytes.
    pub max: u32,
}

/// Times of the prune protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GcConfig {
    /// Longest session in seconds.
    pub session_max_s: i64,
    /// Grace in seconds.
    pub grace_s: i64,
    /// Live share of a pack below which writers leave it, 0 to 1.
    pub retire_below: f64,
}

/// Why a `repo.json` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is another program's, or damaged.
    #[error("it is not the repo.json of a Trysail repository; choose another place")]
    NotOurs,
    /// It is a newer program's.
    #[error("it is of format {0}; this program reads {FORMAT} up to level {FORMAT_LEVEL}: use a newer trysail")]
    Newer(String),
    /// Its signature does not count.
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
    /// A parameter is outside of what the format allows.
    #[error("its field `{0}` is out of bounds")]
    Parameter(&'static str),
}

impl RepoConfig {
    /// The parameters of a new repository.
    pub fn new(id: String, created: Timestamp, recipients: Vec<String>, root: PublicKey, signer: PublicKey) -> Self {
        let ChunkSizes { min, avg, max } = DEFAULT_SIZES;
        Self {
            format: FORMAT.to_owned(),
            min_reader: FORMAT_LEVEL,
            min_writer: FORMAT_LEVEL,
            id,
            created,
            epoch: 1,
            keys: 1,
            chunk: ChunkConfig { algo: "fastcdc-v2020".to_owned(), level: 2, min, avg, max },
            pack: DEFAULT_PACK_BYTES,
            bundle: DEFAULT_BUNDLE_BYTES,
            small_max: DEFAULT_BUNDLE_BYTES,
            zstd: DEFAULT_ZSTD_LEVEL,
            gc: GcConfig { session_max_s: SESSION_MAX_SECONDS, grace_s: GRACE_SECONDS, retire_below: 0.5 },
            recipients,
            signers: vec![signer],
            root,
        }
    }

    /// The object, signed by the root key.
    pub fn sign(&self, root: &Signer) -> Vec<u8> {
        signature::sign(Purpose::Repo, self, root)
    }

    /// The parameters in an object, verified by the key that it names itself: whether that key is to be trusted is the caller's
    /// question.
    pub fn parse(object: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Header {
            format: String,
            min_reader: u32,
        }
        let unverified = signature::unverified(object).map_err(|_| Error::NotOurs)?;
        let header: Header = serde_json::from_slice(&unverified).map_err(|_| Error::NotOurs)?;
        if header.format != FORMAT || header.min_reader > FORMAT_LEVEL {
            return Err(if header.format.starts_with("tarext/") {
                Error::Newer(format!("{} level {}", header.format, header.min_reader))
            } else {
                Error::NotOurs
            });
        }
        let config: Self = serde_json::from_slice(&unverified).map_err(|_| Error::NotOurs)?;
        signature::verify(Purpose::Repo, object, config.root)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Error> {
        let ChunkConfig { algo, level, min, avg, max } = &self.chunk;
        let even = [min, avg, max].iter().all(|n| **n % 2 == 0);
        let ordered = (64..=*avg).contains(min) && *avg <= *max && *max <= 1 << 20 && *avg >= 256;
        let checks = [
            ("chunk", algo == "fastcdc-v2020" && *level == 2 && even && ordered),
            ("pack", (1 << 16..=1 << 26).contains(&self.pack)),
            ("bundle", (1 << 10..=1 << 20).contains(&self.bundle)),
            ("small_max", (1 << 10..=1 << 20).contains(&self.small_max)),
            ("zstd", (-7..=19).contains(&self.zstd)),
            ("gc", self.gc.session_max_s >= 60 && self.gc.grace_s > self.gc.session_max_s),
            ("signers", !self.signers.is_empty() && self.signers.len() <= 1000),
        ];
        checks.iter().find(|(_, fine)| !fine).map_or(Ok(()), |(field, _)| Err(Error::Parameter(field)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    fn config() -> (RepoConfig, Signer) {
        let keys = Keys::from_parts([1; 32], [2; 32]);
        let created = Timestamp::from_second(1_795_000_000).expect("a time");
        let id = "01KB0000000000000000000000".to_owned();
        (
            RepoConfig::new(id, created, vec!["age1x".to_owned()], keys.root().public(), keys.signer().public()),
            keys.root(),
        )
    }

    #[test]
    fn its_bytes_never_change() {
        let (config, root) = config();
        let object = config.sign(&root);
        expect_test::expect![[r#"{"format":"tarext/1","min_reader":1,"min_writer":1,"id":"01KB0000000000000000000000","created":"2026-11-18T11:06:40Z","epoch":1,"keys":1,"chunk":{"algo":"fastcdc-v2020","level":2,"min":65536,"avg":262144,"max":1048576},"pack":16777216,"bundle":262144,"small_max":262144,"zstd":1,"gc":{"session_max_s":86400,"grace_s":259200,"retire_below":0.5},"recipients":["age1x"],"signers":["EzSem20Ws2lKlTPVriHP2EAg6/OVVz7pOcaO3HACYRY="],"root":"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=","sig":"Z3csqbjBXFWiVu+tWzbu00Y30i7FlP5vQylpkp3TtG29xR43jXX8/KM8EAAFD7dnEC2Zzby32kUGqnhbAlYVDw=="}"#]].assert_eq(std::str::from_utf8(&object).expect("text"));
        assert_eq!(RepoConfig::parse(&object), Ok(config));
    }

    #[test]
    fn another_programs_a_newer_and_a_forged_one_are_refused_each_with_its_reason() {
        let (config, root) = config();
        assert_eq!(RepoConfig::parse(b"{\"version\":2}"), Err(Error::NotOurs));
        let newer = RepoConfig { min_reader: 2, ..config.clone() }.sign(&root);
        assert_eq!(RepoConfig::parse(&newer), Err(Error::Newer("tarext/1 level 2".to_owned())));
        let forged = config.sign(&Keys::from_parts([9; 32], [2; 32]).root());
        assert_eq!(RepoConfig::parse(&forged), Err(Error::Unsigned(Unsigned::Wrong)));
        let hostile = RepoConfig { chunk: ChunkConfig { max: 1 << 30, ..config.chunk.clone() }, ..config };
        assert_eq!(RepoConfig::parse(&hostile.sign(&root)), Err(Error::Parameter("chunk")));
    }
}
