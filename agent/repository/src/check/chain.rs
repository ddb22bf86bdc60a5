//! The chain of a volume's commits: each names the one before, so that one that is hidden leaves a gap.

use std::collections::BTreeSet;

use crate::{commit::NO_COMMIT, layout::SnapshotId};

/// Gaps that one notice tells one by one.
const GAPS_TOLD_MAX: usize = 20;

/// A commit's place in the chain of its volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) id: SnapshotId,
    pub(super) seq: u64,
    pub(super) prev: [u8; 32],
    pub(super) hash: [u8; 32],
}

/// What is missing in the chain of one volume: the commit before which it is, and a sentence; `None` where nothing is. Two sessions of a volume
/// that run at once make a fork, which is no gap.
pub(super) fn gap(links: &[&Link]) -> Option<(SnapshotId, String)> {
    let hashes: BTreeSet<[u8; 32]> = links.iter().map(|link| link.hash).collect();
    let known = |link: &Link| link.prev == NO_COMMIT.0 || hashes.contains(&link.prev);
    let after: Vec<&&Link> =
        links.iter().filter(|link| !known(link) || (link.seq > 1 && link.prev == NO_COMMIT.0)).collect();
    let last = after.iter().max_by_key(|link| link.seq)?;
    let seqs: BTreeSet<u64> = links.iter().map(|link| link.seq).collect();
    let (mut next, mut runs) = (1, Vec::new());
    for seq in seqs {
        if seq > next {
            runs.push(if seq - 1 == next { format!("{next}") } else { format!("{next} to {}", seq - 1) });
        }
        next = seq.saturating_add(1);
    }
    // A fork's other branch may have the number: then only the hash tells.
    let told = if runs.is_empty() {
        format!("another commit {} than the one there is", last.seq.saturating_sub(1))
    } else {
        let more = if runs.len() > GAPS_TOLD_MAX {
            format!(" and {} more", runs.len() - GAPS_TOLD_MAX)
        } else {
            String::new()
        };
        runs.truncate(GAPS_TOLD_MAX);
        format!("commit {}{more}", runs.join(", "))
    };
    let what = format!("RollbackSuspected: of its volume, {told} is missing: it expired, or was removed or hidden");
    Some((last.id.clone(), what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{layout::VolumeName, session::SessionId};

    fn link(n: u8, seq: u64, prev: u8) -> Link {
        let volume = VolumeName::new("v").expect("a name");
        let id = SnapshotId { volume, session: SessionId::from_bytes([n; 16]) };
        Link { id, seq, prev: [prev; 32], hash: [n; 32] }
    }

    fn told(links: &[Link]) -> Option<(u8, String)> {
        let found = gap(&links.iter().collect::<Vec<_>>())?;
        let missing = found.1.strip_prefix("RollbackSuspected: of its volume, ")?.split(" is missing").next()?;
        Some((found.0.session.to_bytes()[0], missing.to_owned()))
    }

    #[test]
    fn whole_chains_and_forks_have_no_gap() {
        assert_eq!(told(&[link(1, 1, 0), link(2, 2, 1), link(3, 2, 1), link(4, 3, 3)]), None);
        assert_eq!(told(&[]), None);
    }

    #[test]
    fn a_gap_names_the_missing_numbers_and_the_commit_after_it() {
        assert_eq!(told(&[link(3, 3, 2), link(4, 4, 3)]), Some((3, "commit 1 to 2".to_owned())));
        let holes = [link(1, 1, 0), link(3, 3, 2), link(6, 6, 5)];
        assert_eq!(told(&holes), Some((6, "commit 2, 4 to 5".to_owned())));
        let fork = [link(1, 1, 0), link(2, 2, 1), link(4, 3, 9)];
        assert_eq!(told(&fork), Some((4, "another commit 2 than the one there is".to_owned())));
    }
}
