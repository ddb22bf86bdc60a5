//! What the commands on a cluster have in common: lists, choices of objects, objects that are printed, the wait for an end.

use std::{cmp::Ordering, io::BufRead as _, time::Duration};

use anyhow::{Context as _, Result, bail};
use jiff::{Timestamp, tz::TimeZone};
use kube::{ResourceExt as _, api::DynamicObject};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::interval;

use crate::{
    Outcome,
    args::{
        Format,
        cluster::{Deleting, Form, Listing, Selecting},
    },
    cluster::{Cluster, Kind, Objects, noun, typed},
    output, program,
    show::{
        View,
        columns::{LabelColumns, Rows, table},
    },
};

/// How objects of a kind become a table.
pub(super) struct Sheet<K> {
    pub(super) columns: &'static [&'static str],
    pub(super) row: fn(&K, &View) -> Vec<String>,
    pub(super) order: fn(&str, &str) -> Ordering,
}

/// From where objects are looked at: here and now.
pub(super) fn view() -> View {
    let zone = TimeZone::try_system().unwrap_or(TimeZone::UTC);
    View { now: Timestamp::now(), zone, program: program() }
}

/// Lists objects.
pub(super) async fn get<K: Kind>(listing: &Listing, sheet: &Sheet<K>) -> Result<Outcome> {
    let cluster = Cluster::connect(&listing.connection).await?;
    let mut objects = cluster.objects::<K>(&listing.names, listing.selector.as_deref()).await?;
    objects.items.sort_by(|a, b| (sheet.order)(&a.name_any(), &b.name_any()));
    match listing.form() {
        Form::Name => objects.items.iter().try_for_each(|object| output::line(&object.name_any()))?,
        Form::Json => output::value(Format::Json, &whole::<K>(objects))?,
        Form::Yaml => output::value(Format::Yaml, &whole::<K>(objects))?,
        Form::Table => output::text(&tabled(objects.items, listing, sheet)?)?,
    }
    Ok(Outcome::Done)
}

/// One object as it is, others as a list of their kind. Source: Velero pkg/cmd/util/output/output.go.
fn whole<K: Kind>(mut objects: Objects) -> Value {
    if let [_] = objects.items[..]
        && let Some(object) = objects.items.pop()
    {
        return json!(object);
    }
    let version = objects.version.map_or_else(|| json!({}), |version| json!({ "resourceVersion": version }));
    let kind = format!("{}List", K::kind(&()));
    json!({ "apiVersion": K::api_version(&()), "kind": kind, "metadata": version, "items": objects.items })
}

fn tabled<K: Kind>(objects: Vec<DynamicObject>, listing: &Listing, sheet: &Sheet<K>) -> Result<String> {
    let view = view();
    let mut rows = Rows::default();
    for object in objects {
        let labels = object.labels().clone();
        let object: K = typed(object)?;
        rows.rows.push(((sheet.row)(&object, &view), labels));
    }
    let labels = LabelColumns { shows_all: listing.show_labels, keys: listing.label_columns.clone() };
    Ok(table(sheet.columns, rows, &labels))
}

/// Prints an object that is sent nowhere.
pub(super) fn print<T: Serialize>(form: Form, object: &T) -> Result<Outcome> {
    output::value(if form == Form::Json { Format::Json } else { Format::Yaml }, object)?;
    Ok(Outcome::Done)
}

/// Objects to which something is to be done, and whether some were named that are not there.
pub(super) struct Chosen<K> {
    pub(super) found: Vec<K>,
    missing: bool,
}

impl<K: Kind> Chosen<K> {
    /// Finds the objects. Those that are not there are told; where there are none at all, that is said as Velero says it.
    pub(super) async fn of(cluster: &Cluster, selecting: &Selecting) -> Result<Self> {
        let mut chosen = Self { found: Vec::new(), missing: false };
        for name in &selecting.names {
            if let Some(object) = cluster.find(name).await? {
                chosen.found.push(object);
            } else {
                chosen.missing = true;
                output::note(&format!("{}.{} \"{name}\" not found", K::plural(&()), K::group(&())));
            }
        }
        if selecting.names.is_empty() {
            chosen.found = cluster.list(selecting.selector.as_deref()).await?;
        }
        if chosen.found.is_empty() {
            output::line(&format!("No {}s found", noun::<K>()))?;
        }
        Ok(chosen)
    }

    /// How the command ends when the others are done: where none was there, nothing was to do.
    pub(super) fn outcome(&self) -> Outcome {
        if self.missing && !self.found.is_empty() { Outcome::Failed } else { Outcome::Done }
    }
}

/// Asks whether to go on, unless that was said.
pub(super) fn confirm(deleting: &Deleting) -> Result<bool> {
    if deleting.confirm {
        return Ok(true);
    }
    let mut answers = std::io::stdin().lock().lines();
    loop {
        output::ask("Are you sure you want to continue (Y/N)? ")?;
        let Some(answer) = answers.next().transpose()? else {
            bail!("nothing is deleted: nobody answered; --confirm does not ask");
        };
        match answer.trim() {
            "y" | "Y" => return Ok(true),
            "n" | "N" => return Ok(false),
            _ => {}
        }
    }
}

/// How a Backup or Restore ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    PartiallyFailed,
    Failed,
}

impl End {
    /// The exit code's word. Who calls the program `velero` gets what that does: success, however it ended.
    pub(super) fn outcome(self, program: &str) -> Outcome {
        match self {
            _ if program == "velero" => Outcome::Done,
            Self::Completed => Outcome::Done,
            Self::PartiallyFailed => Outcome::Incomplete,
            Self::Failed => Outcome::Failed,
        }
    }
}

/// Waits for the end of a Backup or Restore, with a dot a second; the object then.
pub(super) async fn wait<K: Kind + Sync>(cluster: &Cluster, name: &str, is_over: fn(&K) -> bool) -> Result<K> {
    let noun = noun::<K>();
    output::line(&format!(
        "Waiting for {noun} to complete. You may safely press ctrl-c to stop waiting - your {noun} will continue in the background."
    ))?;
    let mut ticks = interval(Duration::from_secs(1));
    ticks.tick().await;
    let mut end = std::pin::pin!(cluster.until::<K>(name, is_over));
    let end = loop {
        tokio::select! {
            end = &mut end => break end?,
            _ = ticks.tick() => output::ask(".")?,
        }
    };
    output::line("")?;
    end.with_context(|| format!("{noun} {name} was deleted meanwhile"))
}
