//! Reads an archive, object by object: ours, Velero's, or any bytes at all, with bounded memory.
//!
//! What an archive says is not believed: its end must be there, sums must be right, and a path that leads elsewhere, a
//! link or a second file of one name is damage, or an attack.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
    io::{self, Read},
};

use flate2::read::MultiGzDecoder;
use tar::{EntryType, Header, PaxExtensions};

use super::{BLOCK, OBJECT_BYTES_MAX, VERSION_PATH, path, path::ItemPath, write::checksum};
use crate::error::{Error, Result};

/// Files of an archive, each of which takes 16 bytes of memory. Objects are there twice, so this is half as many of them.
pub const FILES_MAX: usize = 2_000_000;

/// The longest path with its record: twice the longest names that Kubernetes has.
const PATH_BYTES_MAX: u64 = 4096;

/// The longest text of a version.
const VERSION_BYTES_MAX: u64 = 64;

/// Zeros behind the end; programs that write tars fill up to 10 KiB or more.
const PADDING_BYTES_MAX: u64 = 1 << 20;

/// The only first part of a version that can be read.
const MAJOR: &str = "1";

/// An object of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredItem {
    /// Where it lies.
    pub path: ItemPath,
    /// Its JSON, not looked at.
    pub json: Vec<u8>,
}

/// An archive that is being read.
#[derive(Debug)]
pub struct Reader<R: Read> {
    bytes: MultiGzDecoder<R>,
    names: Names,
    /// The last entry, for errors.
    after: String,
    version: Option<String>,
    ignored: usize,
    is_at_end: bool,
}

/// Names that were seen, by two hashes with keys of this run: an archive cannot be made so that two of them meet.
#[derive(Debug, Default)]
struct Names {
    seen: HashSet<(u64, u64)>,
    keys: [RandomState; 2],
}

impl Names {
    fn is_new(&mut self, name: &str) -> bool {
        let [one, other] = &self.keys;
        self.seen.insert((one.hash_one(name), other.hash_one(name)))
    }
}

/// A file of the tar, its content not read yet.
struct File {
    path: String,
    size: u64,
}

impl<R: Read> Reader<R> {
    /// Begins to read.
    pub fn new(inner: R) -> Self {
        Self {
            bytes: MultiGzDecoder::new(inner),
            names: Names::default(),
            after: "the beginning".to_owned(),
            version: None,
            ignored: 0,
            is_at_end: false,
        }
    }

    /// The version that the archive says, once it was read; Velero writes it first.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Files that are no objects and were passed over.
    pub fn ignored(&self) -> usize {
        self.ignored
    }

    /// The next object, under each of its paths; none at the end, when all sums were right.
    ///
    /// # Errors
    /// Bytes that cannot be read, that are no archive, or that end too early; a path that leads elsewhere, a link, a
    /// second file of one name, a file that is too large, a version that is not known.
    pub fn next_item(&mut self) -> Result<Option<StoredItem>> {
        while let Some(file) = self.next_file()? {
            if file.path == VERSION_PATH {
                let text = self.content(&file, VERSION_BYTES_MAX)?;
                self.version = Some(understood(&file.path, &text)?);
                continue;
            }
            let json = self.content(&file, OBJECT_BYTES_MAX)?;
            match ItemPath::parse(&file.path) {
                Some(path) => return Ok(Some(StoredItem { path, json })),
                None => self.ignored += 1,
            }
        }
        Ok(None)
    }

    fn next_file(&mut self) -> Result<Option<File>> {
        let mut long_path = None;
        while let Some(header) = self.header()? {
            let size = header.size().map_err(|_| self.damage("its size cannot be read"))?;
            match header.entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    return self.named(&header, long_path, size).map(Some);
                }
                EntryType::XHeader => long_path = self.pax_path(size)?.or(long_path),
                EntryType::GNULongName => long_path = Some(self.gnu_path(size)?),
                EntryType::XGlobalHeader => self.skip(size)?,
                // Directories hold nothing. Programs that unpack and pack an archive again add them.
                EntryType::Directory => {
                    self.skip(size)?;
                    long_path = None;
                }
                _ => return Err(self.damage("an entry that is neither a file nor a directory")),
            }
        }
        Ok(None)
    }

    fn named(&mut self, header: &Header, long_path: Option<Vec<u8>>, size: u64) -> Result<File> {
        let bytes = long_path.unwrap_or_else(|| header.path_bytes().into_owned());
        let path = String::from_utf8(bytes).map_err(|_| self.damage("a path that is no text"))?;
        // Programs that pack a directory begin paths with the directory itself.
        let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
        if !path::is_clean(&path) {
            return Err(damaged(&path, "its path leads elsewhere"));
        }
        if !self.names.is_new(&path) {
            return Err(damaged(&path, "it is there twice"));
        }
        if self.names.seen.len() > FILES_MAX {
            return Err(damaged(&path, format!("more than {FILES_MAX} files")));
        }
        self.after.clone_from(&path);
        Ok(File { path, size })
    }

    /// The next header; none at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>> {
        if self.is_at_end {
            return Ok(None);
        }
        let mut header = Header::new_old();
        self.fill(header.as_mut_bytes())?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            self.end()?;
            self.is_at_end = true;
            return Ok(None);
        }
        let said = header.cksum().map_err(|_| self.damage("a header that is none"))?;
        if said != checksum(header.as_bytes()) {
            return Err(self.damage("a header whose sum is wrong"));
        }
        Ok(Some(header))
    }

    /// A second empty block, then zeros at most, then the end of the gzip with its own sum.
    fn end(&mut self) -> Result<()> {
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        let mut padding = 0;
        loop {
            if block.iter().any(|byte| *byte != 0) {
                return Err(self.damage("something follows the end"));
            }
            let count = self.bytes.read(&mut block).map_err(|e| self.broken(e))?;
            block[count..].fill(0);
            padding += count as u64;
            if count == 0 {
                return Ok(());
            }
            if padding > PADDING_BYTES_MAX {
                return Err(self.damage("too much follows the end"));
            }
        }
    }

    fn content(&mut self, file: &File, max: u64) -> Result<Vec<u8>> {
        self.take(file.size, max)
    }

    /// So many bytes and the padding behind them. Memory is used for bytes that are there, not for a size that is said.
    fn take(&mut self, size: u64, max: u64) -> Result<Vec<u8>> {
        if size > max {
            return Err(damaged(&self.after, format!("{size} bytes are more than {max}")));
        }
        let mut content = Vec::new();
        let count = (&mut self.bytes).take(size).read_to_end(&mut content).map_err(|e| self.broken(e))?;
        if (count as u64) < size {
            return Err(self.broken(io::ErrorKind::UnexpectedEof.into()));
        }
        let padding = count.next_multiple_of(BLOCK) - count;
        self.fill(&mut [0; BLOCK][..padding])?;
        Ok(content)
    }

    fn skip(&mut self, size: u64) -> Result<()> {
        self.take(size, PATH_BYTES_MAX).map(drop)
    }

    fn gnu_path(&mut self, size: u64) -> Result<Vec<u8>> {
        let mut path = self.take(size, PATH_BYTES_MAX)?;
        path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(path.len()));
        Ok(path)
    }

    fn pax_path(&mut self, size: u64) -> Result<Option<Vec<u8>>> {
        let records = self.take(size, PATH_BYTES_MAX)?;
        let mut path = None;
        for record in PaxExtensions::new(&records) {
            let record = record.map_err(|_| self.damage("a record that cannot be read"))?;
            match record.key_bytes() {
                b"path" => path = Some(record.value_bytes().to_vec()),
                b"size" => return Err(self.damage("a record that changes a size")),
                key if key.starts_with(b"GNU.sparse") => return Err(self.damage("a file with holes")),
                _ => {}
            }
        }
        Ok(path)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.bytes.read_exact(buffer).map_err(|e| self.broken(e))
    }

    fn broken(&self, source: io::Error) -> Error {
        Error::Read { after: self.after.clone(), source }
    }

    fn damage(&self, why: &str) -> Error {
        damaged(&format!("after {}", self.after), why)
    }
}

fn damaged(entry: &str, why: impl Into<String>) -> Error {
    Error::Archive { entry: entry.to_owned(), why: why.into() }
}

fn understood(path: &str, text: &[u8]) -> Result<String> {
    let version = String::from_utf8_lossy(text).trim().to_owned();
    if version.split('.').next() != Some(MAJOR) {
        return Err(damaged(path, format!("version {version:?} is not known; {MAJOR} is")));
    }
    Ok(version)
}
