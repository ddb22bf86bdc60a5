//! `trysail schedule`: backups that are made again and again.

use anyhow::{Result, ensure};
use kube::ResourceExt as _;
use serde_json::json;
use trysail_api::{backup_storage_location::BackupStorageLocation, schedule::Schedule};

use super::cluster::{self, Chosen, Sheet, confirm, view};
use crate::{
    Outcome,
    args::{
        backup::{self as args, Pausing, ScheduleCreate},
        cluster::{Deleting, Describing, Form},
    },
    cluster::{Cluster, typed},
    draft::backup as draft,
    output,
    show::schedule::{COLUMNS, describe as described, row},
};

/// Runs the command that was typed.
pub(super) async fn run(command: args::Schedule) -> Result<Outcome> {
    match command {
        args::Schedule::Create(create) => self::create(&create).await,
        args::Schedule::Get(listing) => {
            cluster::get(&listing, &Sheet { columns: &COLUMNS, row, order: str::cmp }).await
        }
        args::Schedule::Describe(describing) => describe(&describing).await,
        args::Schedule::Delete(deleting) => delete(&deleting).await,
        args::Schedule::Pause(pausing) => set_paused(&pausing, Pause::Begin).await,
        args::Schedule::Unpause(pausing) => set_paused(&pausing, Pause::End).await,
    }
}

async fn create(create: &ScheduleCreate) -> Result<Outcome> {
    let schedule = draft::schedule(create);
    if let Some(form) = create.draft.form() {
        return cluster::print(form, &schedule);
    }
    let cluster = Cluster::connect(&create.connection).await?;
    if let Some(name) = &schedule.spec.template.storage_location {
        cluster.get::<BackupStorageLocation>(name).await?;
    }
    let name = cluster.create(&schedule).await?.name_any();
    output::line(&format!("Schedule \"{name}\" created successfully."))?;
    Ok(Outcome::Done)
}

async fn describe(describing: &Describing) -> Result<Outcome> {
    ensure!(describing.form() != Form::Json, "a schedule is described in plain text; schedule get -o json prints it");
    let cluster = Cluster::connect(&describing.connection).await?;
    let found = cluster.objects::<Schedule>(&describing.names, describing.selector.as_deref()).await?;
    let mut texts = Vec::new();
    for object in found.items {
        texts.push(described(&typed(object)?, &view()));
    }
    output::text(&texts.join("\n\n"))?;
    Ok(Outcome::Done)
}

async fn delete(deleting: &Deleting) -> Result<Outcome> {
    if !confirm(deleting)? {
        return Ok(Outcome::Done);
    }
    let cluster = Cluster::connect(&deleting.selecting.connection).await?;
    let chosen = Chosen::<Schedule>::of(&cluster, &deleting.selecting).await?;
    for schedule in &chosen.found {
        let name = schedule.name_any();
        cluster.delete::<Schedule>(&name).await?;
        output::line(&format!("Schedule deleted: {name}"))?;
    }
    Ok(chosen.outcome())
}

/// What happens to a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    Begin,
    End,
}

async fn set_paused(pausing: &Pausing, pause: Pause) -> Result<Outcome> {
    let cluster = Cluster::connect(&pausing.selecting.connection).await?;
    let chosen = Chosen::<Schedule>::of(&cluster, &pausing.selecting).await?;
    let word = if pause == Pause::Begin { "paused" } else { "unpaused" };
    for schedule in &chosen.found {
        let name = schedule.name_any();
        if schedule.spec.paused.unwrap_or(false) == (pause == Pause::Begin) {
            output::line(&format!("Schedule {name} is already {word}, skip"))?;
            continue;
        }
        let fields = json!({ "paused": pause == Pause::Begin, "skipImmediately": pausing.skip_immediately });
        cluster.merge::<Schedule>(&name, &json!({ "spec": fields })).await?;
        output::line(&format!("Schedule {name} {word} successfully"))?;
    }
    Ok(chosen.outcome())
}
