//! `trysail backup create --dry-run` and `trysail restore create --dry-run`: what is asked of a cluster for it. Nothing is
//! made but the request by which the objects of a backup are fetched.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures::future::join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams},
};
use tokio::sync::mpsc;
use trysail_api::{
    backup::{Backup, BackupPhase, BackupSpec},
    download_request::DownloadTargetKind,
    names::{label, label_value, own},
    pod_volume_backup::PodVolumeBackup,
    policy::Policy,
    restore::Restore,
    transfer::TransferPhase,
};
use trysail_cluster::{
    archive::Reader,
    collect::{Request, collect},
    discover::discover,
    kind::{Item, ItemName, Kind},
    restore::{
        contents::Contents,
        order::Order,
        plan::{self, Plan, Trust},
        rules::Rules,
    },
    volumes::{Seen, Settings, select},
};
use trysail_repository::seal;

use crate::{
    Outcome,
    args::{Format, Shared, cluster::Form},
    cluster::{Cluster, download::Downloads},
    output,
    place::identity,
    preview::{
        backup::{self, Sizes},
        restore::{Forecast, Grounds},
    },
};

/// Objects that wait for the one who counts them.
const WAITING: usize = 16;

/// Longest time until the server has signed the URL of the archive.
const SIGNED_WITHIN: Duration = Duration::from_mins(1);

/// Objects that are looked up at once.
const AT_ONCE: usize = 16;

/// Objects that are looked up at all: beyond, whether one is there is not told.
const LOOKED_UP_MAX: usize = 5_000;

/// Tells what a backup would take.
pub(super) async fn backup(cluster: &Cluster, form: Option<Form>, backup: &Backup) -> Result<Outcome> {
    let policy = policy(cluster, &backup.spec).await?;
    let spec = without_labelled(cluster, backup.spec.clone()).await?;
    let (sender, mut receiver) = mpsc::channel::<Item>(WAITING);
    let request = Request { backup: backup.name_any(), spec };
    let mut objects: BTreeMap<String, usize> = BTreeMap::new();
    let (mut seen, mut sizes) = (Seen::default(), Sizes::default());
    let counting = async {
        while let Some(item) = receiver.recv().await {
            *objects.entry(item.kind.versioned_name()).or_default() += 1;
            seen.observe(&item);
            note_request(&item, &mut sizes);
        }
    };
    let (collected, ()) = tokio::join!(collect(cluster.client(), &request, sender), counting);
    let collected = collected.context("collect the objects of a backup")?;
    sizes.saved = cluster.list::<PodVolumeBackup>(None).await?;
    let mut settings = Settings::of(&request.spec, policy);
    if let Some(claims) = collected.catalog.kind("persistentvolumeclaims") {
        settings = settings.with_claims(&collected.rules, claims);
    }
    let mut forecast = backup::Forecast::of(objects, &select(&seen, &settings), &sizes, &collected.report);
    if settings.default.is_none() {
        let note = "Where the server runs with --default-volumes-to-fs-backup, that decides about volumes too.";
        forecast.notes.push(note.to_owned());
    }
    match form {
        Some(Form::Json) => output::value(Format::Json, &forecast)?,
        Some(Form::Yaml) => output::value(Format::Yaml, &forecast)?,
        _ => output::text(&forecast.table())?,
    }
    Ok(Outcome::Done)
}

/// What a claim asks for.
fn note_request(item: &Item, sizes: &mut Sizes) {
    let requested = item.object["spec"]["resources"]["requests"]["storage"].as_str();
    if let (Some(requested), Some(namespace), "persistentvolumeclaims") =
        (requested, item.namespace(), item.kind.resource().as_str())
    {
        sizes.requested.insert((namespace.to_owned(), item.name().to_owned()), requested.to_owned());
    }
}

/// The rules of the `ConfigMap` that a backup names.
async fn policy(cluster: &Cluster, spec: &BackupSpec) -> Result<Option<Policy>> {
    let Some(reference) = &spec.resource_policy else { return Ok(None) };
    let map = cluster.get::<ConfigMap>(&reference.name).await?;
    let policy = Policy::of_config_map(cluster.namespace(), &reference.name, &map.data.unwrap_or_default());
    Ok(Some(policy.with_context(|| format!("ConfigMap {}", reference.name))?))
}

/// Namespaces that say by a label that they are left out, where the backup leaves out none.
async fn without_labelled(cluster: &Cluster, mut spec: BackupSpec) -> Result<BackupSpec> {
    if spec.excluded_namespaces.as_ref().is_none_or(Vec::is_empty) {
        let labels = format!("{}=true", label::EXCLUDE_FROM_BACKUP);
        let api = Api::<Namespace>::all(cluster.client().clone());
        let namespaces = api.list(&ListParams::default().labels(&labels)).await.context("list namespaces")?;
        let names: Vec<String> = namespaces.items.iter().map(kube::ResourceExt::name_any).collect();
        spec.excluded_namespaces = Some(names).filter(|names| !names.is_empty());
    }
    Ok(spec)
}

/// Tells what a restore would do.
pub(super) async fn restore(
    cluster: &Cluster,
    shared: &Shared,
    form: Option<Form>,
    restore: &Restore,
) -> Result<Outcome> {
    let backup = backup_of(cluster, restore).await?;
    let archive = archive(cluster, shared, &backup).await?;
    let (catalog, _) = discover(cluster.client()).await.context("ask for the kinds of the cluster")?;
    let rules = Rules::new(&restore.spec, &catalog)?;
    let contents = Contents::read(Reader::new(&archive[..]), &rules)?;
    let labels = format!("{}={}", label::BACKUP_NAME, label_value(&backup.name_any()));
    let saved: Vec<PodVolumeBackup> = cluster.list(Some(&labels)).await?;
    let (order, claims) = (Order::default(), saved_claims(&saved));
    let of = |trust| plan::Grounds {
        contents: &contents,
        rules: &rules,
        catalog: &catalog,
        order: &order,
        saved: &claims,
        trust,
    };
    let allows = restore.annotations().get(own::ALLOW_UNSIGNED).is_some_and(|value| value == "true");
    let (plan, unsigned) =
        (Plan::new(of(Trust::Whole)), Plan::new(of(if allows { Trust::Whole } else { Trust::Unsigned })));
    let wanted = wanted(&plan);
    let existing = existing(cluster, &wanted).await?;
    let grounds = Grounds {
        contents: &contents,
        rules: &rules,
        plan: &plan,
        unsigned: &unsigned,
        saved: &saved,
        existing: &existing,
    };
    let mut forecast = Forecast::of(&grounds);
    if wanted.len() > LOOKED_UP_MAX {
        forecast.notes.push(format!("only the first {LOOKED_UP_MAX} objects were looked up in the cluster"));
    }
    match form {
        Some(Form::Json) => output::value(Format::Json, &forecast)?,
        Some(Form::Yaml) => output::value(Format::Yaml, &forecast)?,
        _ => output::text(&forecast.table())?,
    }
    Ok(Outcome::Done)
}

/// The backup that a restore names, or the newest Completed one of its schedule.
async fn backup_of(cluster: &Cluster, restore: &Restore) -> Result<Backup> {
    if let Some(name) = &restore.spec.backup_name {
        return cluster.get(name).await;
    }
    let schedule = restore.spec.schedule_name.as_deref().unwrap_or_default();
    let labels = format!("{}={}", label::SCHEDULE_NAME, label_value(schedule));
    let backups = cluster.list::<Backup>(Some(&labels)).await?;
    let is_completed = |backup: &Backup| backup.status.as_ref().and_then(|s| s.phase) == Some(BackupPhase::Completed);
    let began = |backup: &Backup| backup.status.as_ref().and_then(|status| status.start_timestamp);
    let newest = backups.into_iter().filter(is_completed).max_by_key(began);
    newest.with_context(|| format!("schedule {schedule} has no Completed backup"))
}

/// The objects of a backup, in clear.
async fn archive(cluster: &Cluster, shared: &Shared, backup: &Backup) -> Result<Vec<u8>> {
    let name = backup.name_any();
    let identity = identity(&shared.identity)?;
    let downloads = Downloads::of(cluster, Some(backup), &crate::args::cluster::Trust::default()).await?;
    let whole = downloads.whole(DownloadTargetKind::BackupContents, &name, SIGNED_WITHIN).await;
    let whole = whole.map_err(|missing| missing.of(&format!("the objects of backup {name}")))?;
    ensure!(
        !seal::is_age(&whole) || !shared.identity.is_empty(),
        "backup {name} is encrypted: --identity FILE opens it here; the restore itself takes its identity from a Secret"
    );
    let opened = seal::decrypt(&whole, &identity).with_context(|| format!("open backup {name}"))?;
    Ok(opened.to_vec())
}

/// Claims of which the backup has files.
fn saved_claims(saved: &[PodVolumeBackup]) -> BTreeSet<(String, String)> {
    let has_files = |saved: &&PodVolumeBackup| {
        saved.status.as_ref().is_some_and(|status| {
            status.phase == Some(TransferPhase::Completed)
                && status.snapshot_id.as_ref().is_some_and(|id| !id.is_empty())
        })
    };
    saved.iter().filter(has_files).filter_map(crate::preview::claim_of).collect()
}

/// Objects that would be made, by their names in the cluster.
fn wanted(plan: &Plan) -> Vec<(Kind, ItemName)> {
    let namespace = Kind {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        plural: "namespaces".to_owned(),
        is_namespaced: false,
        aliases: Vec::new(),
    };
    let namespaces = plan.namespaces.iter().map(|(_, target)| ItemName::cluster_scoped("namespaces", target));
    let steps = plan.definitions.iter().chain(&plan.steps).filter(|step| step.skip.is_none());
    let steps = steps.map(|step| ((*step.kind).clone(), step.restored_name()));
    namespaces.map(|item| (namespace.clone(), item)).chain(steps).collect()
}

/// Which of them are there.
async fn existing(cluster: &Cluster, wanted: &[(Kind, ItemName)]) -> Result<BTreeSet<ItemName>> {
    let mut existing = BTreeSet::new();
    for some in wanted[..wanted.len().min(LOOKED_UP_MAX)].chunks(AT_ONCE) {
        for found in join_all(some.iter().map(|(kind, item)| is_there(cluster, kind, item))).await {
            existing.extend(found?);
        }
    }
    Ok(existing)
}

async fn is_there(cluster: &Cluster, kind: &Kind, item: &ItemName) -> Result<Option<ItemName>> {
    let resource = ApiResource {
        group: kind.group.clone(),
        version: kind.version.clone(),
        api_version: kind.api_version(),
        kind: kind.kind.clone(),
        plural: kind.plural.clone(),
    };
    let client = cluster.client().clone();
    let api: Api<DynamicObject> = match &item.namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let found = api.get_metadata_opt(&item.name).await.with_context(|| format!("look for {item}"))?;
    Ok(found.map(|_| item.clone()))
}
