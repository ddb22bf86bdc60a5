//! What the node agent may do on its node. Where our modules start it, it gives up everything but the right to read before its
//! first thread starts; the stock chart's agent stays root with what the runtime gives, as it also restores.
//!
//! The two are told apart by the capabilities that it was started with. A process that has no right to change them, such as a
//! person's, goes on as it is.

use std::io;

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
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
