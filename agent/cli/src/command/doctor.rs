//! `trysail doctor`: what is dangerous about the backups of a cluster. Nothing is changed.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::{Api, Client, Resource, api::ListParams};
use serde::de::DeserializeOwned;
use trysail_api::schedule::Schedule;
use trysail_cluster::discover::discover;

use crate::{
    Outcome,
    args::{Format, Shared, cluster::Connection},
    cluster::Cluster,
    doctor::{self, Hazard, Weight, hazards},
    output,
    show::columns::{LabelColumns, Rows, table},
};

/// The label of node agents' pods. Source: Velero, `velero install`.
const AGENTS: &str = "name=node-agent";

/// Objects in one page of a list.
const PAGE: u32 = 500;

/// Tells all hazards; the exit code says whether something is unsafe.
pub(super) async fn run(shared: &Shared, connection: &Connection) -> Result<Outcome> {
    let cluster = Cluster::connect(connection).await?;
    let found = hazards(&gather(&cluster).await?);
    match shared.format() {
        Format::Table => output::text(&told(&found))?,
        format => output::value(format, &found)?,
    }
    let is_unsafe = found.iter().any(|hazard| hazard.weight == Weight::Unsafe);
    Ok(if is_unsafe { Outcome::Damaged } else { Outcome::Done })
}

async fn gather(cluster: &Cluster) -> Result<doctor::Cluster> {
    let client = cluster.client();
    let (catalog, _) = discover(client).await.context("ask for the kinds of the cluster")?;
    let mut schedules: Vec<Schedule> = cluster.list(None).await?;
    // A template may say `pvc`.
    for schedule in &mut schedules {
        schedule.spec.template = catalog.resolve(&schedule.spec.template);
    }
    Ok(doctor::Cluster {
        namespace: cluster.namespace().to_owned(),
        locations: cluster.list(None).await?,
        repositories: cluster.list(None).await?,
        schedules,
        backups: cluster.list(None).await?,
        nodes: all::<Node>(client).await?,
        agents: cluster.list::<Pod>(Some(AGENTS)).await?,
        claims: all::<PersistentVolumeClaim>(client).await?,
    })
}

/// All objects of a kind in the whole cluster, page after page.
async fn all<K>(client: &Client) -> Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let api: Api<K> = Api::all(client.clone());
    let mut parameters = ListParams::default().limit(PAGE);
    let mut found = Vec::new();
    loop {
        let page = api.list(&parameters).await.with_context(|| format!("list {}", K::plural(&())))?;
        found.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters.continue_token = Some(token),
            None => return Ok(found),
        }
    }
}

fn told(hazards: &[Hazard]) -> String {
    if hazards.is_empty() {
        return "Nothing dangerous was found.\n".to_owned();
    }
    let row = |hazard: &Hazard| {
        let weight = if hazard.weight == Weight::Unsafe { "unsafe" } else { "advice" };
        let cells = [weight, &hazard.object, &hazard.finding, &hazard.remedy];
        (cells.map(str::to_owned).to_vec(), BTreeMap::new())
    };
    let rows = Rows { rows: hazards.iter().map(row).collect() };
    table(&["WEIGHT", "OBJECT", "FINDING", "REMEDY"], rows, &LabelColumns::default())
}
