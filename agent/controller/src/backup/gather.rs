//! Objects of a backup on their way from the API server into its archive. A thread writes; objects wait in a short queue.
//!
//! Pods that have hooks are not stored at once: one whose hook fails is not stored at all. What is seen of pods, claims and
//! volumes on the way decides later about their data.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use jiff::Timestamp;
use kube::Client;
use serde_json::Value;
use tokio::sync::mpsc;
use trysail_api::{backup::BackupSpec, hook::BackupHook};
use trysail_cluster::{
    Error as ClusterError, archive,
    collect::{Collected, Request, collect},
    discover::discover,
    hooks::{self, Plan, Stage},
    kind::{Item, Kind},
    problem::Place,
    select::resource,
    volumes::Seen,
};
use trysail_repository::store::OBJECT_BYTES_MAX;

use super::{prepare::is_left_out, volume_info::Bound};
use crate::{Error, Result, run_log::RunLog};

/// Objects between the one who reads and the one who writes.
const WAITING: usize = 16;

/// Pods with hooks, which are held in memory until their hooks have run.
const HOOKED_PODS_MAX: usize = 10_000;

/// An archive in memory, as large as an object of a store can be.
#[derive(Debug, Default)]
pub(super) struct Sink(pub(super) Vec<u8>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.0.len() + bytes.len()) as u64 > OBJECT_BYTES_MAX - AGE_BYTES {
            let mib = OBJECT_BYTES_MAX >> 20;
            return Err(io::Error::other(format!("it is larger than {mib} MiB: divide the backup by namespaces")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What encryption adds at most to an archive: a header, and a tag for each chunk. Source: age v1, 16 bytes in 64 KiB.
const AGE_BYTES: u64 = 1 << 20;

/// A pod that has hooks, and is not in the archive yet.
#[derive(Debug)]
pub(super) struct HookedPod {
    pub(super) pod: Item,
    pub(super) before: Plan,
    pub(super) after: Plan,
}

/// What was collected.
pub(super) struct Gathered {
    pub(super) archive: archive::Writer<Sink>,
    pub(super) collected: Collected,
    pub(super) seen: Seen,
    pub(super) hooked: Vec<HookedPod>,
    /// The volumes of claims.
    pub(super) bound: Bound,
}

/// Collects all objects; `count` is how many are stored so far.
///
/// # Errors
/// Nothing could be collected, or not be written.
pub(super) async fn gather(
    client: &Client,
    backup: &str,
    spec: BackupSpec,
    began: Timestamp,
    log: &Arc<RunLog>,
    count: &Arc<AtomicUsize>,
) -> Result<Gathered> {
    let failed = |source| Error::Collect { backup: backup.to_owned(), source };
    let (catalog, _) = discover(client).await.map_err(failed)?;
    let hooks = catalog.resolve(&spec).hooks.and_then(|hooks| hooks.resources).unwrap_or_default();
    let (sender, receiver) = mpsc::channel(WAITING);
    let seconds = u64::try_from(began.as_second()).unwrap_or_default();
    let intake = Intake { log: Arc::clone(log), count: Arc::clone(count), hooks };
    let writing = tokio::task::spawn_blocking(move || intake.run(receiver, seconds));
    let request = Request { backup: backup.to_owned(), spec };
    let collected = collect(client, &request, sender).await;
    let stopped = |_| ClusterError::Closed;
    let written = writing.await.map_err(stopped).and_then(|written| written);
    // Where the writer has stopped, the collector says only that nobody listens.
    let (archive, taken) = written.map_err(failed)?;
    let collected = collected.map_err(failed)?;
    Ok(Gathered { archive, collected, seen: taken.seen, hooked: taken.hooked, bound: taken.bound })
}

/// What takes objects in.
struct Intake {
    log: Arc<RunLog>,
    count: Arc<AtomicUsize>,
    hooks: Vec<BackupHook>,
}

#[derive(Default)]
struct Taken {
    seen: Seen,
    hooked: Vec<HookedPod>,
    bound: Bound,
}

impl Intake {
    fn run(
        self,
        mut items: mpsc::Receiver<Item>,
        seconds: u64,
    ) -> trysail_cluster::Result<(archive::Writer<Sink>, Taken)> {
        let mut archive = archive::Writer::new(Sink::default(), seconds)?;
        let mut taken = Taken::default();
        while let Some(item) = items.blocking_recv() {
            if is_left_out(&item.kind.resource()) {
                continue;
            }
            taken.seen.observe(&item);
            taken.bound.observe(&item);
            if let Some(item) = self.hold(item, &mut taken.hooked)? {
                store(&mut archive, item, &self.log)?;
            }
            self.count.store(archive.count() + taken.hooked.len(), Ordering::Relaxed);
        }
        Ok((archive, taken))
    }

    /// Keeps a pod that has hooks; gives back everything else.
    fn hold(&self, item: Item, hooked: &mut Vec<HookedPod>) -> trysail_cluster::Result<Option<Item>> {
        if item.kind.resource() != resource::PODS {
            return Ok(Some(item));
        }
        let before = hooks::of_pod(&item, &self.hooks, Stage::Pre)?;
        let after = hooks::of_pod(&item, &self.hooks, Stage::Post)?;
        for warning in before.warnings.iter().chain(&after.warnings) {
            let message = format!("pod {}: {warning}", item.full_name().within_kind());
            self.log.warning(Place::of(item.namespace()), &message);
        }
        if before.hooks.is_empty() && after.hooks.is_empty() {
            return Ok(Some(item));
        }
        if hooked.len() == HOOKED_PODS_MAX {
            return Err(ClusterError::Selection {
                field: "spec.hooks",
                why: format!("more than {HOOKED_PODS_MAX} pods have hooks: divide the backup"),
            });
        }
        hooked.push(HookedPod { pod: item, before, after });
        Ok(None)
    }
}

/// Stores an object. One that has no place in an archive is an error of the backup, and the others go on.
///
/// # Errors
/// The archive cannot be written.
pub(super) fn store(archive: &mut archive::Writer<Sink>, item: Item, log: &RunLog) -> trysail_cluster::Result<()> {
    let place = Place::of(item.namespace());
    match archive.append(item) {
        Err(error @ ClusterError::Unstorable { .. }) => {
            log.error(place, &error.sentence());
            Ok(())
        }
        other => other,
    }
}

/// How many objects of each kind are stored, in lines of the log.
pub(super) fn tell(list: &archive::ResourceList, log: &RunLog) {
    for (kind, names) in list {
        log.info(&format!("Stored {} items", names.len()), &[("resource", kind)]);
    }
}

/// The kind of claims, where the cluster has it.
pub(super) fn claims(collected: &Collected) -> Option<&Arc<Kind>> {
    collected.catalog.kind(resource::CLAIMS)
}

/// Labels of a stored object, as they are.
pub(super) fn labels(object: &Value) -> Option<BTreeMap<String, String>> {
    serde_json::from_value(object["metadata"]["labels"].clone()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(plural: &str, kind: &str) -> Arc<Kind> {
        Arc::new(Kind {
            group: String::new(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            is_namespaced: true,
            aliases: Vec::new(),
        })
    }

    fn pod(name: &str, annotations: &Value) -> Item {
        let metadata = json!({ "name": name, "namespace": "app", "annotations": annotations });
        let spec = json!({ "containers": [{ "name": "main" }] });
        Item::new(kind("pods", "Pod"), json!({ "metadata": metadata, "spec": spec, "status": { "phase": "Running" } }))
    }

    #[test]
    fn pods_with_hooks_wait_and_all_else_is_stored() {
        let log = Arc::new(RunLog::new("backup", "velero", "b"));
        let intake = Intake { log: Arc::clone(&log), count: Arc::default(), hooks: Vec::new() };
        let count = Arc::clone(&intake.count);
        let (sender, receiver) = mpsc::channel(8);
        let frozen =
            json!({ "pre.hook.backup.velero.io/command": "freeze", "pre.hook.backup.velero.io/on-error": "no" });
        let map = json!({ "metadata": { "name": "a/b", "namespace": "app" } });
        for item in [pod("db", &frozen), pod("web", &Value::Null), Item::new(kind("configmaps", "ConfigMap"), map)] {
            sender.try_send(item).unwrap();
        }
        drop(sender);
        let (archive, taken) = intake.run(receiver, 0).unwrap();
        let (_, list) = archive.finish().unwrap();
        assert_eq!(json!(list), json!({ "v1/Pod": ["app/web"] }));
        let held: Vec<&str> = taken.hooked.iter().map(|hooked| hooked.pod.name()).collect();
        assert_eq!((held, count.load(Ordering::Relaxed)), (vec!["db"], 2));
        // The word in the annotation, and the name that is no part of a path.
        assert_eq!(log.counts(), (1, 1));
    }

    #[test]
    fn an_archive_that_no_store_takes_is_refused() {
        let mut sink = Sink::default();
        let block = vec![0; 1 << 20];
        let refused = (0..64).find_map(|_| sink.write_all(&block).err()).unwrap();
        assert_eq!(refused.to_string(), "it is larger than 64 MiB: divide the backup by namespaces");
    }
}
