//! What is stored: every listing a check needs, made once and page by page.
//!
//! Memory: ten bytes for a pack, some two hundred for a snapshot; pages are not kept.

use std::collections::BTreeMap;

use crate::{
    error::Result,
    layout::{self, Beside, SnapshotId},
    pack_set::PackSet,
    session::SessionId,
    store::{self, ErrorKind, Key, ObjectStore, each},
    table::{PackKind, PackRef},
};

/// Snapshots that are checked at once: 40 MB of names.
const SNAPSHOTS_MAX: usize = 200_000;

/// A number for each pack, such as a length: about ten bytes each.
#[derive(Debug, Default)]
pub(super) struct Lengths(BTreeMap<SessionId, [BTreeMap<u32, u32>; 2]>);

fn series(kind: PackKind) -> usize {
    usize::from(kind == PackKind::Meta)
}

impl Lengths {
    /// Sets a pack's length (cut to `u32::MAX`).
    pub(super) fn set(&mut self, pack: PackRef, length: u64) {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.0.entry(pack.session).or_default()[series(pack.kind)].insert(pack.number, length);
    }

    /// A pack's length; `None` where it has none.
    pub(super) fn get(&self, pack: PackRef) -> Option<u32> {
        self.0.get(&pack.session)?[series(pack.kind)].get(&pack.number).copied()
    }
}

/// The objects of one snapshot, with their stored lengths.
#[derive(Debug)]
pub(super) struct ListedSnapshot {
    pub(super) id: SnapshotId,
    pub(super) commit: Option<u64>,
    pub(super) refs: Option<u64>,
    pub(super) recipe: Option<u64>,
    pub(super) void: bool,
}

/// What is stored.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) snapshots: Vec<ListedSnapshot>,
    pub(super) tables: BTreeMap<SessionId, u64>,
    pub(super) packs: Lengths,
    pub(super) condemned: Vec<(Key, u64)>,
    pub(super) bad: PackSet,
    pub(super) configs: Vec<(u32, u64)>,
}

/// Lists a repository.
///
/// Snapshots come first: a pack that a commit names was stored before it, and is therefore in a listing that is made after.
pub(super) async fn list(store: &dyn ObjectStore) -> Result<Listing> {
    let mut all = Listing::default();
    list_snapshots(store, &mut all.snapshots).await?;
    each(store, layout::SESSIONS, |object| {
        all.tables.extend(layout::parse_session_packs(&object.key).map(|session| (session, object.size)));
    })
    .await?;
    for kind in [PackKind::Data, PackKind::Meta] {
        let packs = &mut all.packs;
        each(store, layout::packs_prefix(kind), |object| {
            if let Some(pack) = layout::parse_pack(&object.key) {
                packs.set(pack, object.size);
            }
        })
        .await?;
    }
    each(store, layout::CONDEMNED, |object| {
        all.condemned.extend(layout::parse_condemned(&object.key).map(|_| (object.key.clone(), object.size)));
    })
    .await?;
    each(store, layout::BAD, |object| {
        if let Some(pack) = layout::parse_bad(&object.key) {
            all.bad.add(pack, 0);
        }
    })
    .await?;
    each(store, layout::REPO_JSON, |object| {
        all.configs.extend(layout::parse_repo_json(&object.key).map(|n| (n, object.size)));
    })
    .await?;
    all.configs.sort_unstable();
    Ok(all)
}

/// The objects of one snapshot follow one another in a listing.
async fn list_snapshots(store: &dyn ObjectStore, snapshots: &mut Vec<ListedSnapshot>) -> store::Result<()> {
    let mut left_out = 0u64;
    each(store, layout::SNAPSHOTS, |object| {
        let Some((id, what)) = layout::parse_beside(&object.key) else { return };
        if snapshots.last().is_none_or(|last| last.id != id) {
            if snapshots.len() >= SNAPSHOTS_MAX {
                left_out += 1;
                return;
            }
            snapshots.push(ListedSnapshot { id, commit: None, refs: None, recipe: None, void: false });
        }
        let Some(last) = snapshots.last_mut() else { return };
        match what {
            Beside::Commit => last.commit = Some(object.size),
            Beside::Refs => last.refs = Some(object.size),
            Beside::Recipe => last.recipe = Some(object.size),
            Beside::Void => last.void = true,
            Beside::Part(_) => {}
        }
    })
    .await?;
    if left_out == 0 {
        return Ok(());
    }
    let detail = format!("more than {SNAPSHOTS_MAX} snapshots");
    Err(store::Error::new(ErrorKind::TooMany, layout::SNAPSHOTS, detail))
}

/// Why an object has no bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Absent {
    /// There is none.
    #[error("it is missing")]
    Missing,
    /// The store has it and cannot give it back, as from a disk with bad sectors.
    #[error("the store cannot read it: {0}")]
    Unreadable(String),
}

/// The body of an object, or why there is none.
pub(super) async fn body(store: &dyn ObjectStore, key: &Key) -> store::Result<Result<bytes::Bytes, Absent>> {
    match store.get(key).await {
        Ok(body) => Ok(Ok(body)),
        Err(store::Error { kind: ErrorKind::Missing, .. }) => Ok(Err(Absent::Missing)),
        Err(store::Error { kind: ErrorKind::Corrupt, detail, .. }) => Ok(Err(Absent::Unreadable(detail))),
        Err(error) => Err(error),
    }
}
