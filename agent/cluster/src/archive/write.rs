//! Writes an archive, object by object, as Velero does.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use flate2::{Compression, GzBuilder, write::GzEncoder};
use tar::{EntryType, Header};

use super::{BLOCK, OBJECT_BYTES_MAX, VERSION, VERSION_PATH, path, path::ItemPath};
use crate::{
    error::{Error, Result},
    json,
    kind::Item,
};

/// Files in an archive can be executed: so Velero writes them.
const MODE: u32 = 0o755;

/// The system in a gzip header that says nothing. Source: RFC 1952 §2.3.1.
const UNKNOWN_SYSTEM: u8 = 255;

/// Longest path in the two fields of a header, and in one. Source: POSIX pax, ustar interchange format.
const NAME_BYTES: usize = 100;

/// Names of stored objects by kind (`apps/v1/Deployment`), as `-resource-list.json` holds them; it is its JSON.
pub type ResourceList = BTreeMap<String, BTreeSet<String>>;

/// An archive that is being written.
#[derive(Debug)]
pub struct Writer<W: Write> {
    gzip: GzEncoder<W>,
    at_seconds: u64,
    stored: ResourceList,
    count: usize,
}

impl<W: Write> Writer<W> {
    /// Begins an archive. Its files bear one time, in seconds since 1970: what is written depends on nothing else but the
    /// objects and their order.
    ///
    /// # Errors
    /// The bytes cannot be written.
    pub fn new(inner: W, at_seconds: u64) -> Result<Self> {
        let gzip = GzBuilder::new().operating_system(UNKNOWN_SYSTEM).write(inner, Compression::default());
        let mut writer = Self { gzip, at_seconds, stored: ResourceList::new(), count: 0 };
        writer.file(VERSION_PATH, format!("{VERSION}\n").as_bytes())?;
        Ok(writer)
    }

    /// Stores an object twice, under its classic path and under that of its version.
    ///
    /// The caller brings each object once.
    ///
    /// # Errors
    /// A name that is no part of a path, an object of more than [`OBJECT_BYTES_MAX`], bytes that cannot be written.
    pub fn append(&mut self, item: Item) -> Result<()> {
        let name = item.full_name();
        let unstorable = |why| Error::Unstorable { item: name.clone(), why };
        if let Some(why) = path::problem(&name) {
            return Err(unstorable(why));
        }
        let kind = item.kind.versioned_name();
        let paths = ItemPath::of(&item);
        let bytes = json::canonical(item.object).map_err(|_| unstorable("it is no JSON"))?;
        if bytes.len() as u64 > OBJECT_BYTES_MAX {
            return Err(unstorable("it is too large"));
        }
        for path in paths {
            self.file(&path.text(), &bytes)?;
        }
        self.stored.entry(kind).or_default().insert(name.within_kind());
        self.count += 1;
        Ok(())
    }

    /// How many objects are stored.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Ends the archive. Returns what it was written to, and what is in it.
    ///
    /// # Errors
    /// The bytes cannot be written.
    pub fn finish(mut self) -> Result<(W, ResourceList)> {
        let end = |source| Error::Write { path: "its end".to_owned(), source };
        self.gzip.write_all(&[0; 2 * BLOCK]).map_err(end)?;
        Ok((self.gzip.finish().map_err(end)?, self.stored))
    }

    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.entry(path, bytes).map_err(|source| Error::Write { path: path.to_owned(), source })
    }

    fn entry(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut header = self.header(EntryType::Regular, MODE, bytes.len())?;
        if header.set_path(path).is_err() {
            self.long_path(path)?;
            let end = path.floor_char_boundary(NAME_BYTES);
            header.set_path(&path[..end])?;
        }
        self.block(&mut header, bytes)
    }

    /// The record that carries a path for which a header is too short. Source: POSIX pax extended header.
    fn long_path(&mut self, path: &str) -> io::Result<()> {
        let record = pax_record("path", path);
        let mut header = self.header(EntryType::XHeader, 0, record.len())?;
        header.set_path("PaxHeaders.0/path")?;
        self.block(&mut header, record.as_bytes())
    }

    fn header(&self, entry_type: EntryType, mode: u32, bytes: usize) -> io::Result<Header> {
        let mut header = Header::new_ustar();
        header.set_entry_type(entry_type);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.at_seconds);
        header.set_size(bytes as u64);
        header.set_device_major(0)?;
        header.set_device_minor(0)?;
        Ok(header)
    }

    fn block(&mut self, header: &mut Header, bytes: &[u8]) -> io::Result<()> {
        let mut head = *header.as_bytes();
        let sum = checksum(&head);
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.gzip.write_all(&head)?;
        self.gzip.write_all(bytes)?;
        let padding = bytes.len().next_multiple_of(BLOCK) - bytes.len();
        self.gzip.write_all(&[0; BLOCK][..padding])
    }
}

/// The sum of a header's bytes, its own eight counted as spaces. Source: POSIX pax, ustar interchange format.
pub(super) fn checksum(head: &[u8; BLOCK]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(&head[..148]) + sum(&head[156..]) + 8 * u32::from(b' ')
}

/// `LENGTH key=value\n`, where the length counts itself.
fn pax_record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    loop {
        let record = format!("{length}{rest}");
        if record.len() == length {
            return record;
        }
        length = record.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pax_record_counts_its_own_length() {
        assert_eq!(pax_record("path", "abc"), "12 path=abc\n");
        // 97 bytes with two digits, and with a third one the length that it says.
        let records = [88, 89, 90, 91].map(|length| pax_record("path", &"a".repeat(length)));
        for record in records {
            let said: usize = record.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(said, record.len());
        }
    }
}
