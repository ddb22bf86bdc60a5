//! Which replica acts: the one that holds the Lease. Of several servers one works and the others wait.
//!
//! The rules are those of client-go's leader election: nobody compares clocks. Who waits takes a Lease only after having
//! seen it unchanged for its whole duration, by its own clock; who holds it stops acting before that, by its own clock.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, api::PostParams};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{Error, Result, context::now, error::code};

/// How long a Lease that nobody renews still counts: a server that dies is replaced within that time.
const DURATION: Duration = Duration::from_secs(30);

/// How long after its last renewal a holder stops acting: earlier than others take the Lease.
const DEADLINE: Duration = Duration::from_secs(20);

/// Pause between renewals, and between looks of those who wait.
const PERIOD: Duration = Duration::from_secs(8);

/// Pause before a renewal that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// A Lease and who wants it.
pub(crate) struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
}

/// What is to be done about a Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// There is none: make it.
    Create,
    /// It is ours, or nobody's, or of someone who is gone: write our name.
    Take,
    /// Another one holds it.
    Wait,
}

/// A Lease as it was last seen, and since when it looks so.
struct Seen {
    version: Option<String>,
    since: Instant,
}

fn decide(lease: Option<&Lease>, me: &str, unchanged: Duration) -> Claim {
    let Some(lease) = lease else { return Claim::Create };
    let spec = lease.spec.as_ref();
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|s| u64::try_from(s).ok());
    let duration = seconds.map_or(DURATION, Duration::from_secs);
    if holder.is_empty() || holder == me || unchanged >= duration { Claim::Take } else { Claim::Wait }
}

/// The Lease with our name in it.
fn taken(lease: Option<Lease>, name: &str, me: &str, now: jiff::Timestamp) -> Lease {
    let mut lease = lease.unwrap_or_default();
    lease.metadata.name = Some(name.to_owned());
    let old = lease.spec.take().unwrap_or_default();
    let is_ours = old.holder_identity.as_deref() == Some(me);
    let changes = old.lease_transitions.unwrap_or_default();
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        acquire_time: if is_ours { old.acquire_time } else { Some(MicroTime(now)) },
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(if is_ours { changes } else { changes.saturating_add(1) }),
        ..old
    });
    lease
}

impl Election {
    pub(crate) fn new(api: Api<Lease>, name: &str, identity: &str) -> Self {
        Self { api, name: name.to_owned(), identity: identity.to_owned() }
    }

    /// Waits until the Lease is ours. Returns the moment from which our time runs.
    pub(crate) async fn acquire(&self) -> Instant {
        let mut seen = Seen { version: None, since: Instant::now() };
        loop {
            match self.attempt(&mut seen).await {
                Ok(Some(since)) => return since,
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, lease = self.name, "The Lease could not be looked at"),
            }
            sleep(PERIOD).await;
        }
    }

    /// Renews the Lease; returns when it is ours no more, or may not be.
    pub(crate) async fn keep(&self, mut since: Instant) {
        loop {
            sleep(PERIOD.min((since + DEADLINE).saturating_duration_since(Instant::now()))).await;
            let mut seen = Seen { version: None, since: Instant::now() };
            loop {
                match timeout_at(since + DEADLINE, self.attempt(&mut seen)).await {
                    Ok(Ok(Some(renewed))) => {
                        since = renewed;
                        break;
                    }
                    Ok(Ok(None)) | Err(_) => return,
                    Ok(Err(error)) => tracing::warn!(%error, lease = self.name, "The Lease could not be renewed"),
                }
                if timeout_at(since + DEADLINE, sleep(RETRY)).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Gives the Lease back, so that another one need not wait for its end.
    pub(crate) async fn release(&self) {
        let released = async {
            let mut lease = self.api.get(&self.name).await?;
            let Some(spec) = lease.spec.as_mut().filter(|s| s.holder_identity.as_deref() == Some(&*self.identity))
            else {
                return Ok(());
            };
            spec.holder_identity = Some(String::new());
            spec.renew_time = Some(MicroTime(now()));
            self.api.replace(&self.name, &PostParams::default(), &lease).await.map(|_| ())
        };
        let released: std::result::Result<(), kube::Error> = released.await;
        if let Err(error) = released {
            tracing::warn!(%error, lease = self.name, "The Lease could not be given back");
        }
    }

    /// One look and, where it is due, one write that succeeds only if nobody was faster. The moment before the write if
    /// the Lease is ours now.
    async fn attempt(&self, seen: &mut Seen) -> Result<Option<Instant>> {
        let lease = self.api.get_opt(&self.name).await;
        let lease = lease.map_err(Error::kubernetes(format!("get lease {}", self.name)))?;
        let version = lease.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        if version != seen.version {
            *seen = Seen { version, since: Instant::now() };
        }
        let claim = decide(lease.as_ref(), &self.identity, seen.since.elapsed());
        let wanted = taken(lease, &self.name, &self.identity, now());
        let before = Instant::now();
        let parameters = PostParams::default();
        let written = match claim {
            Claim::Wait => return Ok(None),
            Claim::Create => self.api.create(&parameters, &wanted).await,
            Claim::Take => self.api.replace(&self.name, &parameters, &wanted).await,
        };
        match written {
            Ok(_) => Ok(Some(before)),
            Err(error) if code(&error) == Some(409) => Ok(None),
            Err(error) => Err(Error::kubernetes(format!("write lease {}", self.name))(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str) -> Lease {
        taken(None, "trysail", holder, "2026-11-21T06:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_lease_is_taken_only_when_it_is_nobodys_or_its_holder_is_gone() {
        let (ours, theirs, free) = (lease("a"), lease("b"), lease(""));
        let late = DURATION.checked_sub(Duration::from_millis(1)).unwrap();
        let found = [
            decide(None, "a", Duration::ZERO),
            decide(Some(&ours), "a", Duration::ZERO),
            decide(Some(&free), "a", Duration::ZERO),
            decide(Some(&theirs), "a", late),
            decide(Some(&theirs), "a", DURATION),
        ];
        assert_eq!(found, [Claim::Create, Claim::Take, Claim::Take, Claim::Wait, Claim::Take]);
    }

    #[test]
    fn the_duration_that_the_holder_wrote_counts() {
        let mut theirs = lease("b");
        theirs.spec.as_mut().unwrap().lease_duration_seconds = Some(120);
        assert_eq!(decide(Some(&theirs), "a", Duration::from_secs(119)), Claim::Wait);
        assert_eq!(decide(Some(&theirs), "a", Duration::from_mins(2)), Claim::Take);
    }

    #[test]
    fn a_renewal_keeps_the_time_since_which_it_is_ours() {
        let first = lease("a");
        let renewed = taken(Some(first.clone()), "trysail", "a", "2026-11-21T06:01:00Z".parse().unwrap()).spec.unwrap();
        let lost = taken(Some(first.clone()), "trysail", "b", "2026-11-21T06:01:00Z".parse().unwrap()).spec.unwrap();
        let first = first.spec.unwrap();
        assert_eq!((&renewed.acquire_time, renewed.lease_transitions), (&first.acquire_time, Some(1)));
        assert_eq!((&lost.acquire_time, lost.lease_transitions), (&lost.renew_time, Some(2)));
    }

    #[test]
    fn a_holder_stops_before_another_one_takes_over() {
        assert!(DEADLINE < DURATION && PERIOD + RETRY < DEADLINE);
    }
}
