//! Pack tables: what signed objects say of each pack that is needed, against what is stored.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Run,
    commits::{sidecar, table_of},
    findings::{Broken, Harm},
    listing::{Absent, Lengths, body},
    report::{LostPaths, Scope, Stage},
};
use crate::{
    commit::Sidecar,
    error::Result,
    layout,
    pack_set::PackSet,
    pack_table::{PackRow, PackTable},
    session::SessionId,
    store::OBJECT_BYTES_MAX,
    table::{PackKind, PackRef},
};

/// What is known of the needed packs. Rows of data packs are not kept: a table is read again when its packs are.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    /// Plain lengths of all packs that a table names.
    pub(super) plain: Lengths,
    /// Rows of meta packs, and of packs of a wrong length.
    pub(super) rows: BTreeMap<PackRef, PackRow>,
    /// Where the rows are.
    pub(super) tables: Vec<TableRef>,
    /// Needed packs that no table names.
    pub(super) unlisted: PackSet,
}

/// A pack table.
#[derive(Debug, Clone, Copy)]
pub(super) struct TableRef {
    pub(super) session: SessionId,
    /// What a commit says of it; `None` where its session's commit expired: its rows are then taken as they are.
    pub(super) named: Option<Sidecar>,
}

/// Reads all pack tables that needed packs are in.
pub(super) async fn check(run: &mut Run<'_>) -> Result<()> {
    let signed = run.snapshots.iter().filter_map(|s| Some((s.link.id.clone(), s.packs?)));
    let signed: Vec<_> = signed.collect();
    let of = signed.len();
    for (done, (id, named)) in signed.into_iter().enumerate() {
        let table = TableRef { session: id.session, named: Some(named) };
        match load(run, table).await? {
            Ok(rows) => take(run, table, &rows),
            Err(what) => {
                let mut broken = Broken::new(what, Harm::Ranges(Vec::new()));
                broken.costs(LostPaths::new(id, Scope::Paths));
                run.tables.insert(table.session, broken);
            }
        }
        run.tell(Stage::Packs, done + 1, of);
    }
    for session in unlisted(run).iter().map(|(pack, _)| pack.session).collect::<BTreeSet<_>>() {
        let table = TableRef { session, named: table_of(run, session).await? };
        match load(run, table).await? {
            Ok(rows) => take(run, table, &rows),
            Err(what) => drop(run.tables.entry(session).or_insert_with(|| Broken::new(what, Harm::Ranges(Vec::new())))),
        }
    }
    run.catalog.unlisted = unlisted(run);
    for (pack, _) in run.catalog.unlisted.iter() {
        let what = "it does not name packs that snapshots need";
        run.tables.entry(pack.session).or_insert_with(|| Broken::new(what, Harm::Ranges(Vec::new())));
        if run.listing.packs.get(pack).is_none() {
            run.findings.broken(pack, Broken::new("it is missing", Harm::Missing));
        }
    }
    Ok(())
}

fn unlisted(run: &Run<'_>) -> PackSet {
    run.needed.iter().filter(|(pack, _)| run.catalog.plain.get(*pack).is_none()).collect()
}

/// A pack table, or what is wrong with it.
pub(super) async fn load(run: &Run<'_>, table: TableRef) -> Result<Result<PackTable, String>> {
    let key = layout::session_packs(table.session);
    let listed = run.listing.tables.get(&table.session).copied();
    let object = match (&table.named, listed) {
        (Some(named), _) => sidecar(run.store(), &key, listed, named).await?,
        (None, Some(size)) if size <= OBJECT_BYTES_MAX => {
            body(run.store(), &key).await?.map_err(|absent| absent.to_string())
        }
        (None, Some(size)) => Err(format!("it is {size} bytes long, which no table is")),
        (None, None) => Err(Absent::Missing.to_string()),
    };
    Ok(object.and_then(|object| PackTable::decode(&object).map_err(|error| error.to_string())))
}

/// Compares the rows of needed packs with what is stored.
fn take(run: &mut Run<'_>, table: TableRef, rows: &PackTable) {
    run.catalog.tables.push(table);
    for (pack, row) in &rows.0 {
        if !run.needed.contains(*pack) || run.catalog.plain.get(*pack).is_some() {
            continue;
        }
        run.catalog.plain.set(*pack, row.plain.into());
        let stored = run.listing.packs.get(*pack);
        match stored {
            None => run.findings.broken(*pack, Broken::new("it is missing", Harm::Missing)),
            Some(stored) if stored != row.stored => {
                let what = format!("it is {stored} bytes long, not {}", row.stored);
                run.findings.broken(*pack, Broken::new(what, Harm::Unseen));
            }
            Some(_) => {}
        }
        if pack.kind == PackKind::Meta || stored.is_some_and(|stored| stored != row.stored) {
            run.catalog.rows.insert(*pack, *row);
        }
    }
}
