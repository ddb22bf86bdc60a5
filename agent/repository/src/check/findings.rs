//! Collects findings with bounds: all are counted, the first are kept.

use std::{collections::BTreeMap, ops::Range};

use super::{
    listing::Absent,
    report::{CheckReport, Finding, LostPaths, Severity},
};
use crate::{
    error::{Error, Result},
    layout,
    pack_set::PackSet,
    store::{ErrorKind, Key},
    table::PackRef,
};

/// Findings that are kept: more of them say no more, and take 10 MB at most.
const FINDINGS_MAX: usize = 10_000;
/// Missing or damaged packs that are kept: 80 GiB of packs; some 20 MB.
const BROKEN_MAX: usize = 100_000;
/// Damaged ranges of one pack that are told apart; beyond them the rest of the pack counts as damaged.
const RANGES_MAX: usize = 4096;
/// Snapshots that one finding tells with what they lose; all are counted.
const AFFECTED_MAX: usize = 1000;

/// What is left of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Harm {
    /// Nothing: it is not stored.
    Missing,
    /// Nobody looked yet: its length is wrong.
    Unseen,
    /// Nothing that can be read.
    All,
    /// All but these ranges of the plain pack, ascending.
    Ranges(Vec<Range<u32>>),
}

impl Harm {
    /// The harm of these ranges, ascending.
    pub(super) fn of(mut ranges: Vec<Range<u32>>) -> Self {
        if let Some(first) = ranges.get(RANGES_MAX) {
            let rest = first.start..u32::MAX;
            ranges.truncate(RANGES_MAX);
            ranges.push(rest);
        }
        Self::Ranges(ranges)
    }

    /// Whether a frame of the pack cannot be read.
    pub(super) fn meets(&self, offset: u32, stored: u32) -> bool {
        let end = offset.saturating_add(stored);
        match self {
            Self::Missing | Self::Unseen | Self::All => true,
            Self::Ranges(ranges) => ranges.iter().any(|r| r.start < end && offset < r.end),
        }
    }
}

/// A pack that is missing or damaged, and whom that hurts.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) what: String,
    pub(super) harm: Harm,
    pub(super) affected: Vec<LostPaths>,
    pub(super) snapshots: u64,
}

impl Broken {
    pub(super) fn new(what: impl Into<String>, harm: Harm) -> Self {
        Self { what: what.into(), harm, affected: Vec::new(), snapshots: 0 }
    }

    /// Adds what one snapshot loses.
    pub(super) fn costs(&mut self, lost: LostPaths) {
        self.snapshots += 1;
        if self.affected.len() < AFFECTED_MAX {
            self.affected.push(lost);
        }
    }
}

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
    damage: u64,
    notices: u64,
    pub(super) broken: BTreeMap<PackRef, Broken>,
    more_broken: u64,
}

impl Findings {
    /// An object that is gone or wrong.
    pub(super) fn damage(&mut self, key: Key, what: impl Into<String>, affected: Vec<LostPaths>) {
        self.damage += 1;
        self.keep(Severity::Damage, key, what.into(), affected);
    }

    /// An object worth a look.
    pub(super) fn notice(&mut self, key: Key, what: impl Into<String>) {
        self.notices += 1;
        self.keep(Severity::Notice, key, what.into(), Vec::new());
    }

    fn keep(&mut self, severity: Severity, key: Key, what: String, mut affected: Vec<LostPaths>) {
        if self.list.len() < FINDINGS_MAX {
            let snapshots = affected.len() as u64;
            affected.truncate(AFFECTED_MAX);
            self.list.push(Finding { severity, key, what, affected, snapshots });
        }
    }

    /// A pack that is missing or damaged. What is said of it later is more exact.
    pub(super) fn broken(&mut self, pack: PackRef, broken: Broken) {
        if self.broken.len() < BROKEN_MAX || self.broken.contains_key(&pack) {
            self.broken.insert(pack, broken);
        } else {
            self.more_broken += 1;
        }
    }

    /// Puts the findings into a report. `marked` are the packs that are marked as damaged already.
    pub(super) fn tell(self, marked: &PackSet, report: &mut CheckReport) {
        report.damage = self.damage + self.broken.len() as u64 + self.more_broken;
        report.notices = self.notices;
        report.bad_packs = self.broken.keys().filter(|pack| !marked.contains(**pack)).copied().collect();
        let packs = self.broken.into_iter().map(|(pack, broken)| {
            let Broken { what, affected, snapshots, .. } = broken;
            Finding { severity: Severity::Damage, key: layout::pack(pack), what, affected, snapshots }
        });
        report.findings = self.list;
        report.findings.extend(packs);
        report.findings.sort_by(|a, b| (a.severity, &a.key).cmp(&(b.severity, &b.key)));
        report.findings.truncate(FINDINGS_MAX);
    }
}

/// The object that an error finds missing or damaged, and what it says of it.
///
/// # Errors
/// The error itself where it is the store's or the caller's: that is no finding.
pub(super) fn blamed(error: Error) -> Result<(Key, String)> {
    match error {
        Error::Store(source) if source.kind == ErrorKind::Missing => match Key::parse(&source.key) {
            Some(key) => Ok((key, Absent::Missing.to_string())),
            None => Err(Error::Store(source)),
        },
        Error::Store(source) if source.kind == ErrorKind::Corrupt => match Key::parse(&source.key) {
            Some(key) => Ok((key, Absent::Unreadable(source.detail).to_string())),
            None => Err(Error::Store(source)),
        },
        Error::Damaged { key, what } => Ok((key, what)),
        Error::Malformed { key, source } => Ok((key, source.to_string())),
        Error::Frame { key, offset, source } => Ok((key, format!("at byte {offset}: {source}"))),
        Error::Commit { key, source } => Ok((key, source.to_string())),
        Error::Config { key, source } => Ok((key, source.to_string())),
        Error::Keys { key, source } => Ok((key, source.to_string())),
        Error::Seal { key, source } if matches!(source, crate::seal::Error::Damaged(_)) => {
            Ok((key, source.to_string()))
        }
        other => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_harmed_where_it_meets_a_damaged_range() {
        let harm = Harm::of(vec![10..20, 30..31]);
        let met: Vec<bool> =
            [(0, 10), (0, 11), (19, 1), (20, 10), (30, 1), (31, 5)].map(|(o, n)| harm.meets(o, n)).into();
        assert_eq!(met, [false, true, true, false, true, false]);
        let many = Harm::of((0..5000).map(|n| n * 2..n * 2 + 1).collect());
        assert!(many.meets(8190, 1) && !many.meets(8191, 1) && many.meets(9_000_001, 1));
    }
}
