//! What a restore leaves out because it was asked to: devices, and rights that a program takes from its file. Listed, never silent.

use std::collections::BTreeSet;

use trysail_repository::table::{Kind, Row};

/// Entries of [`WithheldList`] that are named; further ones are only counted.
pub const WITHHELD_MAX: usize = 1000;

/// Withheld devices whose further names are known; those of later ones count as lost.
const DEVICES_MAX: usize = 100_000;

/// Setuid and setgid.
const SET_ID: u16 = 0o6000;

/// The attribute with the capabilities of an executable.
const CAPABILITY: &[u8] = b"security.capability";

/// What can be withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withhold {
    /// Character and block devices: they are not made.
    Devices,
    /// Setuid and setgid bits and capabilities of files: the files are made without them. Directories keep setgid, which gives nobody a right.
    Setuid,
}

/// Something that was withheld from the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// Path below the volume's root.
    pub path: Vec<u8>,
    /// What it does not have, or is.
    pub what: &'static str,
}

/// What was withheld.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WithheldList {
    /// The first of it.
    pub listed: Vec<Withheld>,
    /// All of it.
    pub count: u64,
    devices: BTreeSet<Vec<u8>>,
}

impl WithheldList {
    fn add(&mut self, path: &[u8], what: &'static str) {
        self.count += 1;
        if self.listed.len() < WITHHELD_MAX {
            self.listed.push(Withheld { path: path.to_vec(), what });
        }
    }

    /// Whether that path is a device that was withheld.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        self.devices.contains(path)
    }

    /// Takes from a row what is withheld, and notes it. False where that is all of the entry.
    pub(super) fn pass(&mut self, row: &mut Row, withhold: &[Withhold]) -> bool {
        let device = match &row.kind {
            Kind::CharDevice { .. } | Kind::BlockDevice { .. } => true,
            Kind::Hardlink { target } => self.has(target),
            _ => false,
        };
        if device && withhold.contains(&Withhold::Devices) {
            self.add(&row.path, "device");
            if self.devices.len() < DEVICES_MAX {
                self.devices.insert(row.path.clone());
            }
            return false;
        }
        if matches!(row.kind, Kind::File(_)) && withhold.contains(&Withhold::Setuid) {
            self.strip(row);
        }
        true
    }

    fn strip(&mut self, row: &mut Row) {
        if row.metadata.mode & SET_ID != 0 {
            row.metadata.mode &= !SET_ID;
            self.add(&row.path, "setuid or setgid");
        }
        let before = row.metadata.xattrs.len();
        row.metadata.xattrs.retain(|(name, _)| name != CAPABILITY);
        if row.metadata.xattrs.len() < before {
            self.add(&row.path, "capabilities");
        }
    }
}

#[cfg(test)]
mod tests {
    use trysail_repository::table::{Content, Flags, Inode, Metadata};

    use super::*;

    fn row(path: &str, kind: Kind, mode: u16) -> Row {
        let xattrs = vec![(CAPABILITY.to_vec(), vec![1]), (b"user.note".to_vec(), vec![2])];
        let metadata = Metadata { mode, xattrs, ..Metadata::default() };
        Row { path: path.into(), kind, metadata, inode: Inode::default(), flags: Flags::default(), member: Vec::new() }
    }

    #[test]
    fn only_what_is_named_is_withheld_and_all_of_it_is_listed() {
        let device = || row("null", Kind::CharDevice { major: 1, minor: 3 }, 0o666);
        let link = || row("also", Kind::Hardlink { target: b"null".to_vec() }, 0o666);
        let program = || row("program", Kind::File(Content::default()), 0o6755);
        let directory = || row("shared", Kind::Directory, 0o2775);
        let play = |withhold: &[Withhold]| {
            let mut list = WithheldList::default();
            let mut rows = [device(), link(), program(), directory()];
            let made: Vec<Row> =
                rows.iter_mut().filter_map(|row| list.pass(row, withhold).then(|| row.clone())).collect();
            let listed: Vec<String> =
                list.listed.iter().map(|w| format!("{}: {}", w.path.escape_ascii(), w.what)).collect();
            assert_eq!(list.count, listed.len() as u64);
            (made, listed)
        };
        assert_eq!(play(&[]), (vec![device(), link(), program(), directory()], vec![]));
        let (made, listed) = play(&[Withhold::Devices]);
        assert_eq!(made, [program(), directory()]);
        assert_eq!(listed, ["null: device", "also: device"]);
        let (made, listed) = play(&[Withhold::Setuid]);
        let mut plain = program();
        plain.metadata.mode = 0o755;
        plain.metadata.xattrs.remove(0);
        assert_eq!(made, [device(), link(), plain, directory()]);
        assert_eq!(listed, ["program: setuid or setgid", "program: capabilities"]);
    }
}
