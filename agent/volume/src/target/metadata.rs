//! Setting owner, mode, attributes and times of one entry in an order in which no step undoes another.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat, fstat,
    removexattr, setxattr, utimensat,
};
use rustix::io::Errno;
use trysail_repository::table::Metadata;

use super::Shared;
use super::error::{Step, TargetError, What, ends_everything};
use crate::acl;
use crate::beneath::proc_path;
use crate::xattr::{self, Last, Xattrs};

/// Capabilities of an executable; the kernel drops them when the owner changes.
const CAPABILITY: &[u8] = b"security.capability";

/// Setuid and setgid.
const SET_ID: u16 = 0o6000;

/// Times from 1970 to 2038, which every file system keeps as they are.
const TIMES_KEPT_BY_ALL: std::ops::Range<i64> = 0..1 << 31;

/// One entry whose metadata are being set, reached through a descriptor that may only locate it.
pub(super) struct Setter<'a> {
    shared: &'a Shared,
    path: &'a [u8],
    wanted: &'a Metadata,
    /// Path of the descriptor in `/proc`: the calls that take a descriptor refuse one that only locates.
    at: String,
    found: Stat,
}

impl<'a> Setter<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        fd: &(impl AsFd + AsRawFd),
        path: &'a [u8],
        wanted: &'a Metadata,
    ) -> Result<Self, TargetError> {
        let found = fstat(fd).map_err(|error| TargetError::failed(path, Step::Examine, error))?;
        Ok(Self { shared, path, wanted, at: proc_path(fd), found })
    }

    /// What the entry was before.
    pub(super) fn found(&self) -> &Stat {
        &self.found
    }

    /// Sets everything. Attributes come first, while the mode still allows them; changing the owner drops setuid bits and
    /// capabilities, so these follow it; times come last, because everything else changes them.
    pub(super) fn apply(&self) -> Result<(), TargetError> {
        let symlink = rustix::fs::FileType::from_raw_mode(self.found.st_mode) == rustix::fs::FileType::Symlink;
        let present = self.clear_xattrs()?;
        self.set_xattrs(&present, |name| !late(name))?;
        let owned = self.set_owner()?;
        if !symlink {
            self.set_mode(owned)?;
        }
        if owned == Owned::AsWanted {
            self.set_xattrs(&present, late)?;
        } else {
            self.set_xattrs(&present, |name| late(name) && name != CAPABILITY)?;
            if self.wanted.xattrs.iter().any(|(name, _)| name == CAPABILITY) {
                self.missing(What::Xattr(CAPABILITY.to_vec()), Errno::PERM)?;
            }
        }
        self.set_times()
    }

    /// Removes attributes that the row does not have, such as ACLs inherited from a directory. Gives those that are left.
    fn clear_xattrs(&self) -> Result<Xattrs, TargetError> {
        let mut present = match xattr::read(self.at.as_bytes(), Last::Descriptor) {
            Ok(present) => present,
            Err(error) => {
                self.missing(What::Xattrs, error)?;
                return Ok(Vec::new());
            }
        };
        for (name, _) in &present {
            let wanted = self.wanted.xattrs.iter().any(|(wanted, _)| wanted == name);
            // All other attributes, such as security labels, belong to the machine unless the row brings its own.
            let ours = name.starts_with(b"user.") || name.starts_with(b"trusted.") || late(name);
            if !wanted
                && ours
                && let Err(error) = removexattr(self.at.as_str(), name.as_slice())
            {
                self.missing(What::Xattr(name.clone()), error)?;
            }
        }
        // The owner's change drops them, so they are set again in any case.
        present.retain(|(name, _)| name != CAPABILITY);
        Ok(present)
    }

    fn set_xattrs(&self, present: &[(Vec<u8>, Vec<u8>)], which: impl Fn(&[u8]) -> bool) -> Result<(), TargetError> {
        for pair in self.wanted.xattrs.iter().filter(|(name, _)| which(name)) {
            let (name, value) = pair;
            // An access ACL is changed by setting the mode.
            if name != acl::ACCESS && present.contains(pair) {
                continue;
            }
            match setxattr(self.at.as_str(), name.as_slice(), value, XattrFlags::empty()) {
                Ok(()) => {}
                // Here it says that one inode has no room for it, not that the file system is full.
                Err(error @ Errno::NOSPC) => self.shared.not_set(self.path, What::Xattr(name.clone()), error),
                Err(error) => self.missing(What::Xattr(name.clone()), error)?,
            }
        }
        Ok(())
    }

    fn set_owner(&self) -> Result<Owned, TargetError> {
        let (uid, gid) = (self.wanted.uid, self.wanted.gid);
        if (uid, gid) == (self.found.st_uid, self.found.st_gid) {
            return Ok(Owned::AsWanted);
        }
        if uid == u32::MAX || gid == u32::MAX {
            // To the kernel these mean "leave it".
            self.missing(if uid == u32::MAX { What::Owner } else { What::Group }, Errno::INVAL)?;
            return Ok(Owned::Otherwise);
        }
        let own = |uid: Option<u32>, gid: u32| {
            chownat(CWD, self.at.as_str(), uid.map(Uid::from_raw), Some(Gid::from_raw(gid)), AtFlags::empty())
        };
        let Err(error) = own(Some(uid), gid) else { return Ok(Owned::AsWanted) };
        self.missing(if uid == self.found.st_uid { What::Group } else { What::Owner }, error)?;
        // Without rights over owners, a group one is a member of can still be set.
        if uid != self.found.st_uid
            && gid != self.found.st_gid
            && let Err(error) = own(None, gid)
        {
            self.missing(What::Group, error)?;
        }
        Ok(Owned::Otherwise)
    }

    /// A setuid bit must never act for another owner than the one it was given for.
    fn set_mode(&self, owned: Owned) -> Result<(), TargetError> {
        let wanted = self.wanted.mode & 0o7777;
        let directory = rustix::fs::FileType::from_raw_mode(self.found.st_mode) == rustix::fs::FileType::Directory;
        let withheld = if owned == Owned::AsWanted || directory { 0 } else { wanted & SET_ID };
        if let Err(error) =
            chmodat(CWD, self.at.as_str(), Mode::from_raw_mode(u32::from(wanted & !withheld)), AtFlags::empty())
        {
            return self.missing(What::Mode, error);
        }
        if withheld != 0 {
            return self.missing(What::Mode, Errno::PERM);
        }
        if wanted & SET_ID != 0 {
            // The kernel drops setgid without an error if the group is not ours.
            let now = self.stat()?;
            if now.st_mode & 0o7777 != u32::from(wanted) {
                return self.missing(What::Mode, Errno::PERM);
            }
        }
        Ok(())
    }

    fn set_times(&self) -> Result<(), TargetError> {
        let mtime = self.wanted.mtime;
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() },
        };
        if mtime.nanoseconds >= 1_000_000_000 {
            return self.missing(What::Mtime, Errno::INVAL);
        }
        if let Err(error) = utimensat(CWD, self.at.as_str(), &times, AtFlags::empty()) {
            return self.missing(What::Mtime, error);
        }
        if !TIMES_KEPT_BY_ALL.contains(&mtime.seconds) && self.stat()?.st_mtime != mtime.seconds {
            // The file system keeps the nearest time it can.
            return self.missing(What::Mtime, Errno::RANGE);
        }
        Ok(())
    }

    fn stat(&self) -> Result<Stat, TargetError> {
        rustix::fs::stat(self.at.as_str()).map_err(|error| TargetError::failed(self.path, Step::Examine, error))
    }

    /// Notes what could not be set, unless the file system itself fails.
    fn missing(&self, what: What, error: Errno) -> Result<(), TargetError> {
        if ends_everything(error) {
            return Err(TargetError::failed(self.path, Step::Metadata, error));
        }
        self.shared.not_set(self.path, what, error);
        Ok(())
    }
}

/// Attributes that are set after owner and mode.
fn late(name: &[u8]) -> bool {
    name == CAPABILITY || name == acl::ACCESS || name == acl::DEFAULT
}

/// Whether an entry belongs to whom its row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owned {
    AsWanted,
    Otherwise,
}
