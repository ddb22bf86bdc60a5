//! `trysail repo`: care of a repository.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;
use trysail_repository::{
    layout,
    prune::{self, Prune},
    store::each,
    table::PackKind,
};

use crate::{
    Outcome,
    args::{Format, Recipients, Shared},
    output,
    place::{IfAbsent, Place},
};

/// Makes a repository.
pub(super) async fn init(place: &Place, recipients: &Recipients) -> Result<Outcome> {
    let opened = place.init_new(recipients).await?;
    output::line(&format!("root key   {}", opened.repository.config().root))?;
    Ok(Outcome::Done)
}

/// Takes over a repository.
pub(super) async fn adopt(place: &Place, root: Option<&str>) -> Result<Outcome> {
    let root = root.map(|text| text.parse().with_context(|| format!("--root {text}: not a root key"))).transpose()?;
    let root = place.adopt(root).await?;
    output::line(&format!("adopted    {}\nroot key   {root}", place.url()))?;
    Ok(Outcome::Done)
}

/// Plans a prune and, unless it is a dry run, carries it out.
pub(super) async fn prune(place: &Place, shared: &Shared, dry_run: bool) -> Result<Outcome> {
    let opened = place.open(IfAbsent::Refuse).await?;
    let prune = Prune::of(&opened.repository)?;
    let plan = prune.plan(Timestamp::now()).await?;
    if dry_run {
        match shared.format() {
            Format::Json | Format::Yaml => output::value(shared.format(), &prune::Summary::from(&plan))?,
            Format::Table => output::line(&plan.to_string())?,
        }
        return Ok(Outcome::Done);
    }
    let report = prune.execute(&plan).await?;
    match shared.format() {
        Format::Json | Format::Yaml => output::value(shared.format(), &report)?,
        Format::Table => {
            let due = report.condemned_due.map(|t| format!(", to be deleted from {t} on")).unwrap_or_default();
            let condemned = output::size(report.condemned_bytes);
            output::line(&format!("condemned  {} packs, {condemned}{due}", report.condemned_packs))?;
            output::line(&format!("deleted    {} packs, {}", report.swept_packs, output::size(report.swept_bytes)))?;
        }
    }
    if report.ballast_spent {
        prune::create_ballast(&**opened.repository.store()).await?;
    }
    Ok(Outcome::Done)
}

/// Removes snapshots.
pub(super) async fn forget(place: &Place, snapshots: &[String]) -> Result<Outcome> {
    let opened = place.open(IfAbsent::Refuse).await?;
    // All names are looked up before the first snapshot goes: a typing error in the last one forgets nothing.
    let mut found = Vec::new();
    for name in snapshots {
        found.push(opened.repository.find(name).await?.id);
    }
    for id in found {
        prune::forget(&**opened.repository.store(), &id).await?;
        output::line(&format!("forgot     {id}"))?;
    }
    Ok(Outcome::Done)
}

#[derive(Serialize)]
struct Stats {
    url: String,
    encrypted: bool,
    recipients: Vec<String>,
    root: String,
    volumes: usize,
    snapshots: usize,
    packs: u64,
    pack_bytes: u64,
    other_objects: u64,
    other_bytes: u64,
}

/// Counts what there is.
pub(super) async fn stats(place: &Place, shared: &Shared) -> Result<Outcome> {
    let opened = place.open(IfAbsent::Refuse).await?;
    let (repository, store) = (&opened.repository, opened.repository.store());
    let snapshots = repository.snapshots(None).await?;
    let mut volumes: Vec<_> = snapshots.iter().map(|s| &s.id.volume).collect();
    volumes.dedup();
    let (mut packs, mut pack_bytes, mut other_objects, mut other_bytes) = (0, 0, 0, 0);
    each(&**store, "v1/", |object| {
        let is_pack =
            [PackKind::Data, PackKind::Meta].iter().any(|k| object.key.as_str().starts_with(layout::packs_prefix(*k)));
        let (count, bytes) =
            if is_pack { (&mut packs, &mut pack_bytes) } else { (&mut other_objects, &mut other_bytes) };
        *count += 1;
        *bytes += object.size;
    })
    .await?;
    let config = repository.config();
    let stats = Stats {
        url: place.url().to_owned(),
        encrypted: !config.recipients.is_empty(),
        recipients: config.recipients.clone(),
        root: config.root.to_string(),
        volumes: volumes.len(),
        snapshots: snapshots.len(),
        packs,
        pack_bytes,
        other_objects,
        other_bytes,
    };
    if shared.format() != Format::Table {
        output::value(shared.format(), &stats)?;
        return Ok(Outcome::Done);
    }
    let encrypted =
        if stats.encrypted { format!("for {}", stats.recipients.join(", ")) } else { "not encrypted".to_owned() };
    output::line(&format!("repository {}\nencryption {encrypted}\nroot key   {}", stats.url, stats.root))?;
    output::line(&format!("snapshots  {} of {} volumes", stats.snapshots, stats.volumes))?;
    output::line(&format!("packs      {}, {}", stats.packs, output::size(stats.pack_bytes)))?;
    output::line(&format!("other      {} objects, {}", stats.other_objects, output::size(stats.other_bytes)))?;
    Ok(Outcome::Done)
}
