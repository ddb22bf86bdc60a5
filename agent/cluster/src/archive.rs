//! Velero's archive of objects: a gzip of a tar of one JSON file for each object. `ARCHIVE.md` is the normative text.
//!
//! [`write`](mod@write) and [`read`](mod@read) go over `io::Write` and `io::Read` and hold one object at a time. Where the
//! bytes lie meanwhile, and whether they are encrypted, is the caller's matter.
#![doc = include_str!("../ARCHIVE.md")]

pub mod path;
pub mod read;
pub mod write;

pub use read::{Reader, StoredItem};
pub use write::{ResourceList, Writer};

/// The version that archives of ours bear, and the newest of which all is understood.
pub const VERSION: &str = "1.1.0";

/// Where it stands.
const VERSION_PATH: &str = "metadata/version";

/// The unit of a tar. Source: POSIX pax, ustar interchange format.
const BLOCK: usize = 512;

/// The largest object. etcd keeps 1.5 MiB by default, an API server sends at most some MiB more.
pub const OBJECT_BYTES_MAX: u64 = 32 << 20;
