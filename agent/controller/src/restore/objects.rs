//! Brings the objects of a Restore back, in the order of its plan.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::future::join_all;
use serde_json::Value;
use tokio::{runtime::Handle, sync::Mutex, task::spawn_blocking};
use trysail_api::{names::label_value, pod_volume_backup::PodVolumeBackup};
use trysail_cluster::{
    archive::Reader,
    discover::{Catalog, discover},
    kind::{Item, ItemName},
    problem::{Place, Report},
    restore::{
        Action, Restored,
        apply::Applier,
        batch::{Batch, divide},
        contents::Contents,
        hooks::ExecHook,
        modify::Modify,
        order::Order,
        plan::{Grounds, Plan, Skip, Step, Trust},
        prepare::{Outcome, Preparation},
        rules::Rules,
    },
};

use super::{
    archive::Archive,
    run::Run,
    transfers::Transfers,
    volumes::{Assignment, PodName, assign, saved_claims},
};
use crate::{Error, Result};

/// Objects of one kind that are made at once.
const AT_ONCE: usize = 8;

/// A pod that was made, and commands that run in it.
#[derive(Debug, Clone)]
pub(super) struct Hooked {
    pub(super) pod: Item,
    pub(super) hooks: Vec<ExecHook>,
}

/// How many objects there are, and how many are done.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) total: AtomicUsize,
    pub(super) done: AtomicUsize,
}

/// What was made.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) restored: Restored,
    pub(super) hooked: Vec<Hooked>,
}

/// What is known before the first object is made.
struct Work<'a> {
    run: &'a Run<'a>,
    preparation: &'a Preparation<'a>,
    assignment: &'a Assignment,
    /// Claims of which the backup has files.
    saved: BTreeSet<(String, String)>,
    applier: Applier,
    archive: Arc<Archive>,
    transfers: &'a Transfers<'a>,
    progress: &'a Progress,
    made: Mutex<Objects>,
}

/// Makes all objects.
pub(super) async fn restore(
    run: &Run<'_>,
    archive: Arc<Archive>,
    saved: &[PodVolumeBackup],
    transfers: &Transfers<'_>,
    progress: &Progress,
) -> Result<Objects> {
    let failed = |source| Error::Restore { restore: run.name(), source };
    let (catalog, doubts) = discover(&run.context.client).await.map_err(failed)?;
    for doubt in doubts.kept() {
        run.log.warning(doubt.place.clone(), &doubt.message);
    }
    let rules = Arc::new(Rules::new(&run.spec, &catalog).map_err(failed)?);
    let contents = read(&archive, &rules).await?.map_err(failed)?;
    let plan = make_plan(run, &contents, &rules, &catalog, saved);
    run.relay(&plan.report);
    let assignment = assign(&contents, &plan, saved);
    run.relay(&assignment.report);
    progress.total.store(plan.definitions.len() + plan.namespaces.len() + plan.steps.len(), Ordering::Relaxed);
    let modify = run.modifiers.clone().map_or_else(|| Ok(Modify::default()), Modify::new).map_err(failed)?;
    let hooks = run.hooks(&catalog);
    let volumes = assignment
        .pods
        .iter()
        .map(|(pod, wanted)| (pod.clone(), wanted.iter().map(|one| one.volume.clone()).collect()))
        .collect();
    let (backup, name, uid) = (run.backup_name(), run.name(), run.uid());
    let preparation = Preparation {
        rules: &rules,
        plan: &plan,
        mappings: &run.mappings,
        modify: &modify,
        hooks: &hooks,
        wait: &run.wait,
        volumes: &volumes,
        backup: &backup,
        restore: &name,
        restore_uid: &uid,
    };
    let applier = Applier {
        client: run.client.clone(),
        policy: rules.existing,
        made_before: run.is_resumed.then(|| label_value(&name)),
    };
    let made = Mutex::new(Objects::default());
    let work = Work {
        run,
        preparation: &preparation,
        assignment: &assignment,
        saved: saved_claims(saved),
        applier,
        archive,
        transfers,
        progress,
        made,
    };
    work.make_definitions().await?;
    work.make_namespaces().await?;
    work.make_steps(&plan.steps).await?;
    transfers.start_shared().await;
    Ok(work.made.into_inner())
}

fn make_plan(run: &Run<'_>, contents: &Contents, rules: &Rules, catalog: &Catalog, saved: &[PodVolumeBackup]) -> Plan {
    if contents.entries.is_empty() {
        run.log.warning(Place::Backup, "the backup has no objects: zero items will be restored");
    }
    let trust = if run.evidence.doubt.is_none() { Trust::Whole } else { Trust::Unsigned };
    let plan =
        Plan::new(Grounds { contents, rules, catalog, order: &Order::default(), saved: &saved_claims(saved), trust });
    if let Some(doubt) = &run.evidence.doubt
        && plan.steps.iter().any(|step| step.skip == Some(Skip::Withheld))
    {
        run.log.warning(Place::Backup, &format!("objects that give rights are not restored: {doubt}"));
    }
    plan
}

async fn read(archive: &Arc<Archive>, rules: &Arc<Rules>) -> Result<trysail_cluster::Result<Contents>> {
    let (archive, rules, runtime) = (Arc::clone(archive), Arc::clone(rules), Handle::current());
    let read = spawn_blocking(move || archive.pass(&runtime, |bytes| Contents::read(Reader::new(bytes), &rules)));
    read.await.map_err(|_| Error::Broken("the reader of an archive"))?
}

impl Work<'_> {
    /// Definitions of kinds, and waits until their kinds are served.
    async fn make_definitions(&self) -> Result<()> {
        let steps = &self.preparation.plan.definitions;
        self.make_steps(steps).await?;
        let Some(kind) = steps.first().map(|step| step.kind.clone()) else { return Ok(()) };
        let names: Vec<String> = steps.iter().filter(|s| s.skip.is_none()).map(|s| s.item.name.clone()).collect();
        let patience = self.run.resource_timeout();
        match self.applier.await_definitions(&kind, &names, patience).await {
            Ok(missing) => {
                for name in missing {
                    let message =
                        format!("CustomResourceDefinition {name} is not served after {} s", patience.as_secs());
                    self.run.log.error(Place::Cluster, &message);
                }
            }
            Err(error) => self.run.log.error(Place::Cluster, &error.sentence()),
        }
        Ok(())
    }

    async fn make_namespaces(&self) -> Result<()> {
        let namespaces = &self.preparation.plan.namespaces;
        let items: Vec<ItemName> =
            namespaces.iter().map(|(name, _)| ItemName::cluster_scoped("namespaces", name)).collect();
        let mut batch = self.batch(items.clone()).await?;
        for (item, (_, target)) in items.iter().zip(namespaces) {
            let stored = batch.take_if_there(item);
            match self.applier.ensure_namespace(target, stored, self.run.resource_timeout()).await {
                Ok(Some(made)) => {
                    self.run.log.info(&format!("Created namespace {target}"), &[("resource", "namespaces")]);
                    let entry = format!("{target}({})", Action::Created);
                    let mut objects = self.made.lock().await;
                    objects.restored.count += 1;
                    objects.restored.list.entry("v1/Namespace".to_owned()).or_default().insert(entry);
                    drop((objects, made));
                }
                Ok(None) => {}
                Err(error) => self.run.log.error(Place::Namespace(target.clone()), &error.sentence()),
            }
            self.progress.done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Batches in order; within a batch the objects of one kind together.
    async fn make_steps(&self, steps: &[Step]) -> Result<()> {
        for range in divide(steps) {
            let steps = &steps[range];
            let names = steps.iter().filter(|step| step.skip.is_none()).map(|step| step.item.clone()).collect();
            let batch = Mutex::new(self.batch(names).await?);
            for kind in steps.chunk_by(|a, b| a.item.resource == b.item.resource) {
                let queue = std::sync::Mutex::new(kind.iter());
                join_all((0..AT_ONCE).map(|_| self.work_off(&queue, &batch))).await;
            }
        }
        Ok(())
    }

    async fn work_off(&self, queue: &std::sync::Mutex<std::slice::Iter<'_, Step>>, batch: &Mutex<Batch>) {
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some(step) = next() {
            self.make_step(step, batch).await;
        }
    }

    async fn batch(&self, names: Vec<ItemName>) -> Result<Batch> {
        if names.is_empty() {
            return Ok(Batch::default());
        }
        let (archive, runtime) = (Arc::clone(&self.archive), Handle::current());
        let read = spawn_blocking(move || {
            let names: BTreeSet<&ItemName> = names.iter().collect();
            archive.pass(&runtime, |bytes| Batch::read(Reader::new(bytes), &names))
        });
        let read = read.await.map_err(|_| Error::Broken("the reader of an archive"))??;
        read.map_err(|source| Error::Restore { restore: self.run.name(), source })
    }

    async fn make_step(&self, step: &Step, batch: &Mutex<Batch>) {
        if let Some(skip) = step.skip {
            self.leave(step, skip).await;
        } else {
            let taken = batch.lock().await.take(step);
            match taken {
                Ok(item) => self.make(step, item).await,
                Err(error) => self.run.log.error(Place::of(step.target.as_deref()), &error.sentence()),
            }
        }
        self.progress.done.fetch_add(1, Ordering::Relaxed);
    }

    async fn leave(&self, step: &Step, skip: Skip) {
        let name = step.restored_name();
        self.run.log.info(&format!("{name}: {skip}"), &[("resource", &step.item.resource)]);
        // What has no next life is in no list, as with Velero.
        if matches!(skip, Skip::Provisioned(_) | Skip::Withheld | Skip::MadeByCluster) {
            self.made.lock().await.restored.note(&step.kind, &name, Action::Skipped);
        }
    }

    async fn make(&self, step: &Step, item: Item) {
        let place = || Place::of(step.target.as_deref());
        let name = step.restored_name();
        let prepared = match self.preparation.prepare(step, item) {
            Outcome::Make(prepared) => prepared,
            Outcome::Leave(why) => {
                self.run.log.info(&format!("{name}: {why}"), &[("resource", &step.item.resource)]);
                self.made.lock().await.restored.note(&step.kind, &name, Action::Skipped);
                return;
            }
        };
        let applied = self.applier.apply(&prepared).await;
        let mut report = Report::default();
        for error in prepared.errors.iter().chain(&applied.errors) {
            report.errors.add(place(), error);
        }
        for warning in prepared.warnings.iter().chain(&applied.warnings) {
            report.warnings.add(place(), warning);
        }
        self.run.relay(&report);
        self.run.log.info(&format!("Restored {name}: {}", applied.action), &[("resource", &step.item.resource)]);
        self.made.lock().await.restored.note(&step.kind, &name, applied.action);
        if applied.action == Action::Created {
            self.tell_empty(step);
        }
        if let Some(object) = applied.object.filter(|_| step.item.resource == "pods") {
            self.pod(step, applied.action, object, prepared.hooks).await;
        }
    }

    /// A claim whose files the backup has, and that no pod brings back with it, is empty: that is said.
    fn tell_empty(&self, step: &Step) {
        let Some(namespace) = step.item.namespace.clone().filter(|_| step.item.resource == "persistentvolumeclaims")
        else {
            return;
        };
        let claim = (namespace, step.item.name.clone());
        if self.saved.contains(&claim) && !self.assignment.claims.contains(&claim) {
            let name = step.restored_name().within_kind();
            let message = format!("PersistentVolumeClaim {name} is restored empty: no pod that mounts it is restored");
            self.run.log.warning(Place::of(step.target.as_deref()), &message);
        }
    }

    /// A pod that was made gets its volumes and its hooks; of one that was there, nothing is touched.
    async fn pod(&self, step: &Step, action: Action, object: Value, hooks: Vec<ExecHook>) {
        let name: PodName = (step.item.namespace.clone().unwrap_or_default(), step.item.name.clone());
        let wanted = self.assignment.pods.get(&name).map_or(&[][..], Vec::as_slice);
        if action != Action::Created {
            if !wanted.is_empty() {
                let volumes: Vec<&str> = wanted.iter().map(|one| one.volume.as_str()).collect();
                let message = format!(
                    "the volumes {} of pod {} are not restored, since the pod is there: delete it first",
                    volumes.join(", "),
                    step.restored_name().within_kind()
                );
                self.run.log.warning(Place::of(step.target.as_deref()), &message);
            }
            return;
        }
        self.transfers.start(&object, wanted).await;
        if !hooks.is_empty() {
            let pod = Item::new(step.kind.clone(), object);
            self.made.lock().await.hooked.push(Hooked { pod, hooks });
        }
    }
}
