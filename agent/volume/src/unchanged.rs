//! Which entries need not be read again. Source: `FORMAT.md` §7 (racy), and the rule that a wrong "unchanged" is a lost change.

use trysail_repository::table::{Content, Kind, Row, Time};

/// How long before a walk a change may have been so that a further one could leave all times as they are, in seconds: the coarsest clock of
/// a file system in use (FAT).
pub const RACY_SECONDS: i64 = 2;

/// Whether `now`, as the walk sees it without attributes and content, is what `before` recorded.
///
/// Strict: kind, size, owner, mode, mtime, ctime and inode agree, and the recorded state was neither racy nor incomplete. Attributes
/// cannot change without ctime.
pub fn is_unchanged(before: &Row, now: &Row) -> bool {
    let settled = !before.flags.racy && !before.flags.unstable && !before.flags.unreadable;
    let (a, b) = (&before.metadata, &now.metadata);
    settled
        && same_kind(&before.kind, &now.kind)
        && before.inode == now.inode
        && (a.mode, a.uid, a.gid, a.mtime) == (b.mode, b.uid, b.gid, b.mtime)
}

fn same_kind(before: &Kind, now: &Kind) -> bool {
    match (before, now) {
        (Kind::File(Content { size: a, .. }), Kind::File(Content { size: b, .. })) => a == b,
        _ => before == now,
    }
}

/// Whether an entry changed so shortly before the walk that the next one must read it again.
pub fn is_racy(row: &Row, walk_began: Time) -> bool {
    let limit = Time { seconds: walk_began.seconds - RACY_SECONDS, ..walk_began };
    row.metadata.mtime >= limit || row.inode.ctime >= limit
}

#[cfg(test)]
mod tests {
    use trysail_repository::table::{Flags, Inode, Metadata};

    use super::*;

    fn file() -> Row {
        let time = Time { seconds: 100, nanoseconds: 5 };
        Row {
            path: b"f".to_vec(),
            kind: Kind::File(Content { size: 7, ..Content::default() }),
            metadata: Metadata { mode: 0o644, uid: 1, gid: 2, mtime: time, xattrs: vec![] },
            inode: Inode { number: 9, ctime: time },
            flags: Flags::default(),
            member: vec![],
        }
    }

    #[test]
    fn each_recorded_difference_makes_a_file_changed() {
        type Change = fn(&mut Row);
        let later = Time { seconds: 100, nanoseconds: 6 };
        let changes: [(&str, Change); 7] = [
            ("size", |r| r.kind = Kind::File(Content { size: 8, ..Content::default() })),
            ("kind", |r| r.kind = Kind::Fifo),
            ("mode", |r| r.metadata.mode = 0o600),
            ("owner", |r| r.metadata.uid = 3),
            ("mtime", |r| r.metadata.mtime.nanoseconds += 1),
            ("ctime", |r| r.inode.ctime.nanoseconds += 1),
            ("inode", |r| r.inode.number += 1),
        ];
        assert!(is_unchanged(&file(), &file()) && later > file().metadata.mtime);
        for (what, change) in changes {
            let mut now = file();
            change(&mut now);
            assert!(!is_unchanged(&file(), &now), "{what}");
        }
    }

    #[test]
    fn what_was_racy_unstable_or_unreadable_is_read_again() {
        let flags = [
            Flags { racy: true, ..Flags::default() },
            Flags { unstable: true, ..Flags::default() },
            Flags { unreadable: true, ..Flags::default() },
        ];
        for flags in flags {
            assert!(!is_unchanged(&Row { flags, ..file() }, &file()), "{flags:?}");
        }
    }

    #[test]
    fn a_change_within_two_seconds_of_the_walk_is_racy() {
        let began = |seconds, nanoseconds| Time { seconds, nanoseconds };
        assert!(is_racy(&file(), began(102, 5)) && is_racy(&file(), began(50, 0)));
        assert!(!is_racy(&file(), began(102, 6)));
    }
}
