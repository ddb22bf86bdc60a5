//! Carries a prune out. Every order here is such that a crash between two requests leaves a repository that is whole, and a next
//! prune that goes on. No lock is taken: any number of prunes may run at once.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::{
    error::{Error, Result},
    gather::gather,
    plan::{Limits, Plan},
};
use crate::{
    layout,
    pack_set::PackSet,
    repository::Repository,
    session::SessionId,
    signature::PublicKey,
    store::{self, Created, ErrorKind, Key, ObjectStore, PAGE_KEYS_MAX},
};

/// Most that the store's clock and the caller's differ. A request's signature allows 15 minutes; 10 leave room for slow ones.
pub const CLOCKS_APART_MAX: SignedDuration = SignedDuration::from_mins(10);

/// Most packs in one condemned set: at two bytes a pack and 18 a session, a set fits in what the ballast frees in all but absurd cases.
const CONDEMN_PACKS_MAX: usize = 50_000;

/// The prune of one repository.
#[derive(Debug, Clone, Copy)]
pub struct Prune<'a> {
    store: &'a dyn ObjectStore,
    signers: &'a [PublicKey],
    limits: Limits,
}

/// What a prune did.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Report {
    /// Packs that it condemned.
    pub condemned_packs: usize,
    /// Their stored bytes.
    pub condemned_bytes: u64,
    /// From when on a prune deletes these.
    pub condemned_due: Option<Timestamp>,
    /// Condemned packs that it deleted.
    pub swept_packs: usize,
    /// Their stored bytes.
    pub swept_bytes: u64,
    /// Other objects that it deleted.
    pub cleared_objects: usize,
    /// Whether the ballast had to go, so that there was room to condemn. [`super::create_ballast`] makes a new one.
    pub ballast_spent: bool,
}

impl<'a> Prune<'a> {
    /// The prune of a repository by its own limits.
    pub fn of(repository: &'a Repository) -> Result<Self> {
        let config = repository.config();
        Self::new(&**repository.store(), &config.signers, Limits::from(&config.gc))
    }

    /// The prune of a store whose commits these keys sign.
    ///
    /// # Errors
    /// [`Error::Limits`].
    pub fn new(store: &'a dyn ObjectStore, signers: &'a [PublicKey], limits: Limits) -> Result<Self> {
        limits.check()?;
        Ok(Self { store, signers, limits })
    }

    /// What there is to do. `machine` is the caller's clock; it decides nothing, but it must agree with the store's.
    ///
    /// On a full store, which gives no new time, the time of the newest object stands for the store's clock: that clock has shown
    /// it, so it is never too late, and being too early only postpones work.
    pub async fn plan(&self, machine: Timestamp) -> Result<Plan> {
        let fresh = self.server_time(machine).await?;
        if let Some(store) = fresh.filter(|store| store.duration_since(machine).abs() > CLOCKS_APART_MAX) {
            return Err(Error::Clocks { store, machine });
        }
        let inventory = gather(self.store, self.signers).await?;
        let now = fresh.unwrap_or(inventory.newest);
        if now.duration_since(machine) > CLOCKS_APART_MAX {
            return Err(Error::Clocks { store: now, machine });
        }
        Ok(Plan::of(&inventory, self.limits, now))
    }

    /// Does what a plan says, as far as a fresh look at the repository confirms it.
    ///
    /// The plan may be old: what is condemned stays condemned, and what commits need is asked for again. Deletes come first and
    /// need no room, so a full store can be emptied.
    pub async fn execute(&self, plan: &Plan) -> Result<Report> {
        if plan.is_empty() {
            return Ok(Report::default());
        }
        let plan = self.confirmed(plan).await?;
        let mut report = Report::default();
        for batch in plan.sweep.chunks(PAGE_KEYS_MAX) {
            let keys: Vec<Key> = batch.iter().map(|pack| layout::pack(*pack)).collect();
            self.store.delete(&keys).await?;
        }
        (report.swept_packs, report.swept_bytes) = (plan.sweep.len(), plan.sweep_bytes);
        for stage in plan.leftovers.stages() {
            for batch in stage.chunks(PAGE_KEYS_MAX) {
                self.store.delete(batch).await?;
            }
            report.cleared_objects += stage.len();
        }
        self.condemn(&plan, &mut report).await?;
        self.mark_gone(&plan).await?;
        Ok(report)
    }

    async fn confirmed(&self, plan: &Plan) -> Result<Plan> {
        let inventory = gather(self.store, self.signers).await?;
        // The plan's time is a lower bound of the store's clock at this later listing, too.
        Ok(plan.confirmed_by(&Plan::of(&inventory, plan.limits, plan.now), &inventory))
    }

    async fn condemn(&self, plan: &Plan, report: &mut Report) -> Result<()> {
        let packs: Vec<_> = plan.condemn.iter().collect();
        for some in packs.chunks(CONDEMN_PACKS_MAX) {
            let set: PackSet = some.iter().copied().collect();
            let key = layout::condemned(SessionId::new(plan.now)?);
            let body = Bytes::from(set.encode());
            let mut created = self.store.create(&key, body.clone()).await;
            if full(&created) {
                self.store.delete(&[layout::ballast()]).await?;
                report.ballast_spent = true;
                created = self.store.create(&key, body).await;
            }
            // The name is random: where it is taken, an attempt whose answer was lost has stored this very set.
            let at = match created? {
                Created::New { at } => at,
                Created::AlreadyThere => plan.now,
            };
            report.condemned_due = Some(at.checked_add(self.limits.grace).unwrap_or(Timestamp::MAX));
        }
        (report.condemned_packs, report.condemned_bytes) = (plan.condemn.len(), plan.condemn_bytes);
        Ok(())
    }

    /// Marks begin the time after which condemned sets go; a full store has them later.
    async fn mark_gone(&self, plan: &Plan) -> Result<()> {
        for id in &plan.gone {
            let created = self.store.create(&layout::swept(*id), Bytes::new()).await;
            if full(&created) {
                return Ok(());
            }
            created?;
        }
        Ok(())
    }

    /// The store's clock, from an object made for that and removed at once; `None` where the store is full. If this ends in
    /// between, the object is a mark without a condemned set, and a later prune removes it.
    async fn server_time(&self, machine: Timestamp) -> Result<Option<Timestamp>> {
        let key = layout::swept(SessionId::new(machine)?);
        let created = self.store.create(&key, Bytes::new()).await;
        if full(&created) {
            return Ok(None);
        }
        let at = match created? {
            Created::New { at } => Some(at),
            Created::AlreadyThere => {
                self.store.list(key.as_str(), None).await?.objects.first().map(|object| object.modified)
            }
        };
        self.store.delete(&[key]).await?;
        Ok(at)
    }
}

fn full<T>(result: &store::Result<T>) -> bool {
    matches!(result, Err(error) if error.kind == ErrorKind::Full)
}
