//! What the node agent may do on its node. Where our modules start it, it gives up everything but the right to read before its
//! first thread starts; the stock chart's agent stays root with what the runtime gives, as it also restores.
//!
//! The two are told apart by the capabilities that it was started with. A process that has no right to change them, such as a
//! person's, goes on as it is.

use std::{io, path::Path};

use landlock::{
    ABI, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, path_beneath_rules,
};
use rustix::{
    process::{Gid, Uid, getuid},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities, set_no_new_privs,
        set_thread_res_gid, set_thread_res_uid,
    },
};

/// The user and group that nobody is.
const NOBODY: u32 = 65534;

/// How the agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posture {
    /// Nobody, with the right to read alone.
    Own,
    /// Root, with what the runtime gives.
    Chart,
    /// As whoever started it.
    Person,
}

impl Posture {
    /// Its word in the metrics.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Chart => "chart",
            Self::Person => "person",
        }
    }
}

/// What our modules give: the right to read, and what is needed to give up the rest.
fn given() -> CapabilitySet {
    CapabilitySet::DAC_READ_SEARCH | CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SETPCAP
}

/// Which posture these rights mean. Pure.
fn decide(user: Uid, permitted: CapabilitySet) -> Posture {
    let reads = permitted.contains(CapabilitySet::DAC_READ_SEARCH);
    match (user.is_root(), user.as_raw() == NOBODY) {
        (true, _) if reads && given().contains(permitted) => Posture::Own,
        (true, _) => Posture::Chart,
        (_, true) if reads => Posture::Own,
        _ => Posture::Person,
    }
}

/// The posture of this process.
///
/// # Errors
/// Where the kernel does not tell our rights.
pub(super) fn now() -> io::Result<Posture> {
    Ok(decide(getuid(), capabilities(None)?.permitted))
}

/// Takes the posture that this process was started for. It counts for threads that start afterwards.
///
/// # Errors
/// Where the kernel refuses to take rights away.
pub fn enter() -> io::Result<()> {
    if now()? == Posture::Own && getuid().is_root() {
        set_no_new_privs(true)?;
        set_keep_capabilities(true)?;
        let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)?;
        let reads = CapabilitySet::DAC_READ_SEARCH;
        let inheritable = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: reads, permitted: reads, inheritable })?;
        forbid_writes(&std::env::temp_dir()).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Newest rights that are asked for; an older kernel gives up those that it knows. Source: Linux 6.2.
const RIGHTS: ABI = ABI::V3;

/// From now on this thread and those that it starts can make, change and remove files below one directory alone, whatever the mounts
/// and the capabilities allow. A kernel without Landlock does nothing of this.
fn forbid_writes(but_below: &Path) -> Result<RulesetStatus, RulesetError> {
    let writes = AccessFs::from_write(RIGHTS);
    let rules = Ruleset::default().handle_access(writes)?.create()?;
    let rules = rules.add_rules(path_beneath_rules([but_below], writes))?;
    Ok(rules.restrict_self()?.ruleset)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::ErrorKind, thread};

    use super::*;

    #[test]
    fn a_thread_that_gave_up_writing_writes_nowhere_but_for_temporary_files() {
        let (open, closed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(closed.path().join("there"), "kept").unwrap();
        let (inside, outside) = (open.path().to_owned(), closed.path().to_owned());
        let confined = thread::spawn(move || {
            let status = forbid_writes(&inside).unwrap();
            let refused = [
                fs::write(outside.join("new"), "x"),
                fs::write(outside.join("there"), "x"),
                fs::remove_file(outside.join("there")),
            ];
            let kinds = refused.map(|outcome| outcome.err().map(|error| error.kind()));
            let read = fs::read_to_string(outside.join("there")).unwrap();
            (status, kinds, fs::write(inside.join("new"), "x").is_ok(), read)
        });
        let (status, refused, is_open, read) = confined.join().unwrap();
        // Where the kernel has no Landlock there is nothing to see; where the tests count, it has.
        if status == RulesetStatus::NotEnforced {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "this kernel has no Landlock");
            return;
        }
        let denied = Some(ErrorKind::PermissionDenied);
        assert_eq!((refused, is_open, read.as_str()), ([denied; 3], true, "kept"));
    }

    #[test]
    fn postures_are_told_apart_by_the_rights_at_the_start() {
        let runtime = CapabilitySet::CHOWN | CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER;
        let (root, nobody) = (Uid::ROOT, Uid::from_raw(NOBODY));
        let found = [
            decide(root, given()),
            decide(root, CapabilitySet::DAC_READ_SEARCH),
            decide(nobody, CapabilitySet::DAC_READ_SEARCH),
            decide(root, runtime),
            decide(root, CapabilitySet::all()),
            decide(root, CapabilitySet::empty()),
            decide(nobody, CapabilitySet::empty()),
        ];
        let (own, chart) = (Posture::Own, Posture::Chart);
        assert_eq!(found, [own, own, own, chart, chart, chart, Posture::Person]);
    }
}
