//! Hooks that are owed: those after a pod's volumes were read, from the moment before its hooks before run. Whatever becomes of
//! the backup then, they are run, so that nothing stays frozen: by the backup, by who clears up after one that is deleted, or,
//! as an annotation of the Backup names the pods, by the next server.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use trysail_api::{backup::Backup, names::own};
use trysail_cluster::{
    discover::discover,
    hooks::{self, Plan, Stage, exec},
    kind::Item,
    select::resource,
};

use crate::{Error, Result, context::Context, patch};

/// Pods whose hooks after are owed, by `namespace/name`.
#[derive(Debug, Default)]
pub(super) struct Owed(Mutex<BTreeMap<String, (Item, Plan)>>);

impl Owed {
    fn pods(&self) -> MutexGuard<'_, BTreeMap<String, (Item, Plan)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the hooks of a pod are owed. It is written before this returns.
    pub(super) async fn add(&self, context: &Context, backup: &Backup, pod: &Item, after: &Plan) {
        if !after.hooks.is_empty() {
            self.pods().insert(pod.full_name().within_kind(), (pod.clone(), after.clone()));
            self.write(context, backup).await;
        }
    }

    /// They have run.
    pub(super) async fn settle(&self, context: &Context, backup: &Backup, pod: &Item) {
        let was_owed = self.pods().remove(&pod.full_name().within_kind()).is_some();
        if was_owed {
            self.write(context, backup).await;
        }
    }

    async fn write(&self, context: &Context, backup: &Backup) {
        let names: Vec<String> = self.pods().keys().cloned().collect();
        let value = if names.is_empty() { Value::Null } else { names.join(",").into() };
        let fields = json!({ "metadata": { "annotations": { own::OWED_HOOKS: value } } });
        patch::persist::<Backup>(context, &backup.name_any(), &fields).await;
    }

    /// Runs them, for a backup that does not go on.
    pub(super) async fn run(&self, context: &Context) {
        let owed = std::mem::take(&mut *self.pods());
        for (pod, plan) in owed.into_values() {
            run(context, &pod, &plan).await;
        }
    }
}

async fn run(context: &Context, pod: &Item, plan: &Plan) {
    let outcome = exec::run_all(&context.client, pod, plan).await;
    let name = pod.full_name().within_kind();
    tracing::warn!(pod = name, attempted = outcome.attempted, "Ran the hooks that a backup owed");
    for error in outcome.failed {
        tracing::error!(pod = name, error = error.sentence(), "A hook that a backup owed failed");
    }
}

/// Runs the hooks that a Backup of a dead server owes.
///
/// # Errors
/// The cluster cannot be asked.
pub(super) async fn run_named(context: &Context, backup: &Backup) -> Result<()> {
    let Some(names) = backup.annotations().get(own::OWED_HOOKS) else { return Ok(()) };
    let failed = |source| Error::Collect { backup: backup.name_any(), source };
    let (catalog, _) = discover(&context.client).await.map_err(failed)?;
    let Some(kind) = catalog.kind(resource::PODS) else { return Ok(()) };
    let hooks = catalog.resolve(&backup.spec).hooks.and_then(|hooks| hooks.resources).unwrap_or_default();
    for (namespace, name) in names.split(',').filter_map(|name| name.split_once('/')) {
        let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
        let found = pods.get_opt(name).await.map_err(Error::kubernetes(format!("get pod {namespace}/{name}")))?;
        // With a pod goes what was frozen in it.
        let Some(pod) = found.and_then(|pod| serde_json::to_value(pod).ok()) else { continue };
        let pod = Item::new(kind.clone(), pod);
        let plan = hooks::of_pod(&pod, &hooks, Stage::Post).map_err(failed)?;
        run(context, &pod, &plan).await;
    }
    let fields = json!({ "metadata": { "annotations": { own::OWED_HOOKS: Value::Null } } });
    patch::persist::<Backup>(context, &backup.name_any(), &fields).await;
    Ok(())
}
