//! Reads a repository into an inventory: listings page by page, then what few objects say. Decides nothing.
//!
//! Memory: ten bytes for each stored pack and some tens for each needed one; a few bodies at a time; pages are not kept.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    error::{Error, Result},
    inventory::{CondemnedSet, Generation, Inventory, Published, SnapshotObjects},
};
use crate::{
    commit::Commit,
    error,
    frame::sha256,
    index::{self, Description},
    layout::{self, Beside, GenerationPart, SnapshotId},
    pack_set::PackSet,
    session::SessionId,
    signature::PublicKey,
    store::{self, ErrorKind, Key, ObjectStore, each},
    table::PackKind,
};

/// Bodies that are fetched at once: hides a round trip of 20 ms; four sets of a 10 TiB snapshot are some 10 MiB.
const GETS_IN_FLIGHT: usize = 4;

/// Longest `.open` that is read, in bytes: 30,000 adopted sessions.
const OPEN_BYTES_MAX: u64 = 1 << 20;

/// Lists and reads a repository whose commits these keys sign.
///
/// # Errors
/// [`Error::Unreadable`] where a commit that counts, or its `.refs`, is missing a part, damaged or signed by another key.
pub async fn gather(store: &dyn ObjectStore, signers: &[PublicKey]) -> Result<Inventory> {
    let mut inventory = Inventory::default();
    // The order is part of the proof: see `Inventory`.
    list_packs(store, &mut inventory).await?;
    list_condemned(store, &mut inventory).await?;
    list_sessions(store, &mut inventory).await?;
    list_index(store, &mut inventory).await?;
    list_snapshots(store, &mut inventory).await?;
    let counting = inventory.snapshots.iter().filter(|s| s.counts()).map(|s| s.id.clone());
    let counting: Vec<SnapshotId> = counting.collect();
    let mut sets = stream::iter(counting)
        .map(|id| async move { needs(store, signers, &id).await })
        .buffer_unordered(GETS_IN_FLIGHT);
    while let Some(set) = sets.try_next().await? {
        inventory.needed.merge(&set.unwrap_or_default());
    }
    drop(sets);
    Ok(inventory)
}

/// The body, or `None` where another prune or an expiry was faster.
async fn body(store: &dyn ObjectStore, key: &Key) -> store::Result<Option<bytes::Bytes>> {
    match store.get(key).await {
        Ok(body) => Ok(Some(body)),
        Err(store::Error { kind: ErrorKind::Missing, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn list_packs(store: &dyn ObjectStore, inventory: &mut Inventory) -> Result<()> {
    for kind in [PackKind::Data, PackKind::Meta] {
        let Inventory { packs, newest, .. } = inventory;
        each(store, layout::packs_prefix(kind), |object| {
            *newest = object.modified.max(*newest);
            if let Some(pack) = layout::parse_pack(&object.key) {
                packs.add(pack, object.size, object.modified);
            }
        })
        .await?;
    }
    Ok(())
}

/// `gc/x/` before `gc/c/`: the other way round, the mark of a set made in between would look like one whose set is gone.
async fn list_condemned(store: &dyn ObjectStore, inventory: &mut Inventory) -> Result<()> {
    let mut newest = inventory.newest;
    each(store, layout::SWEPT, |object| {
        newest = object.modified.max(newest);
        inventory.swept.extend(layout::parse_swept(&object.key).map(|id| (id, object.modified)));
    })
    .await?;
    let mut listed: Vec<(SessionId, Timestamp)> = Vec::new();
    each(store, layout::CONDEMNED, |object| {
        newest = object.modified.max(newest);
        listed.extend(layout::parse_condemned(&object.key).map(|id| (id, object.modified)));
    })
    .await?;
    inventory.newest = newest;
    let bodies = listed
        .into_iter()
        .map(|(id, at)| async move { Ok::<_, store::Error>((id, at, body(store, &layout::condemned(id)).await?)) });
    let mut bodies = stream::iter(bodies).buffer_unordered(GETS_IN_FLIGHT);
    while let Some((id, at, body)) = bodies.try_next().await? {
        match body.map(|body| PackSet::decode(&body)) {
            Some(Ok(packs)) => drop(inventory.condemned.insert(id, CondemnedSet { at, packs })),
            Some(Err(_)) => inventory.damaged.push(id),
            None => {}
        }
    }
    inventory.damaged.sort_unstable();
    Ok(())
}

async fn list_sessions(store: &dyn ObjectStore, inventory: &mut Inventory) -> Result<()> {
    let mut readable: Vec<SessionId> = Vec::new();
    let Inventory { sessions, newest, .. } = inventory;
    each(store, layout::SESSIONS, |object| {
        *newest = object.modified.max(*newest);
        if let Some(id) = layout::parse_session_open(&object.key) {
            sessions.entry(id).or_default().opened = Some(object.modified);
            readable.extend((object.size <= OPEN_BYTES_MAX).then_some(id));
        } else if let Some(id) = layout::parse_session_packs(&object.key) {
            sessions.entry(id).or_default().table = true;
        }
    })
    .await?;
    let bodies = readable
        .into_iter()
        .map(|id| async move { Ok::<_, store::Error>((id, body(store, &layout::session_open(id)).await?)) });
    let mut bodies = stream::iter(bodies).buffer_unordered(GETS_IN_FLIGHT);
    while let Some((id, body)) = bodies.try_next().await? {
        sessions.entry(id).or_default().adopts = body.and_then(|body| adopts(&body));
    }
    Ok(())
}

/// The sessions that a `.open` says it adopts; `None` where it does not read as one. That is no reason to stop: adoption spares
/// packs that would be written again, it is not what keeps a commit whole.
fn adopts(open: &[u8]) -> Option<Vec<SessionId>> {
    #[derive(Deserialize)]
    struct Open {
        #[serde(default)]
        adopts: Vec<String>,
    }
    let Open { adopts } = serde_json::from_slice(open).ok()?;
    adopts.iter().map(|text| text.parse().ok()).collect()
}

async fn list_index(store: &dyn ObjectStore, inventory: &mut Inventory) -> Result<()> {
    let Inventory { deltas, newest, generations, .. } = inventory;
    each(store, layout::INDEX_DELTAS, |object| {
        *newest = object.modified.max(*newest);
        deltas.extend(layout::parse_index_delta(&object.key).map(|delta| (delta, object.modified)));
    })
    .await?;
    each(store, layout::INDEX_GENERATIONS, |object| {
        *newest = object.modified.max(*newest);
        let Some((id, part)) = layout::parse_generation(&object.key) else { return };
        let generation = generations.entry(id).or_insert_with(|| Generation {
            objects: Vec::new(),
            newest: object.modified,
            published: None,
            offers: None,
        });
        generation.objects.push(part);
        generation.newest = generation.newest.max(object.modified);
        if part == GenerationPart::Description {
            let (at, deltas) = (object.modified, BTreeSet::new());
            generation.published = Some(Published { at, opened: at, deltas });
        }
    })
    .await?;
    for (id, generation) in generations {
        describe(store, *id, generation).await?;
    }
    Ok(())
}

/// Reads what a generation says of itself. Where that cannot be read, it is not published, and may offer any pack.
async fn describe(store: &dyn ObjectStore, id: SessionId, generation: &mut Generation) -> Result<()> {
    let Some(published) = generation.published.take() else { return Ok(()) };
    let object = body(store, &layout::generation(id, GenerationPart::Description)).await?;
    let Some(description) = object.and_then(|object| Description::parse(id, &object)) else { return Ok(()) };
    let offers = body(store, &layout::generation(id, GenerationPart::Offers)).await?;
    generation.offers = offers.and_then(|object| index::offers(&description, &object));
    generation.published = Some(Published { opened: description.opened, deltas: description.deltas.0, ..published });
    Ok(())
}

/// The objects of one snapshot follow one another in a listing. Their times do not count for `newest`, which dates the listing's begin.
async fn list_snapshots(store: &dyn ObjectStore, inventory: &mut Inventory) -> Result<()> {
    let snapshots = &mut inventory.snapshots;
    each(store, layout::SNAPSHOTS, |object| {
        let Some((id, what)) = layout::parse_beside(&object.key) else { return };
        match snapshots.last_mut().filter(|last| last.id == id) {
            Some(last) => {
                last.objects.push(what);
                last.newest = last.newest.max(object.modified);
            }
            None => snapshots.push(SnapshotObjects { id, objects: vec![what], newest: object.modified }),
        }
    })
    .await?;
    Ok(())
}

/// The packs that a snapshot needs; `None` where it was forgotten since it was listed.
async fn needs(store: &dyn ObjectStore, signers: &[PublicKey], id: &SnapshotId) -> Result<Option<PackSet>> {
    let unreadable = |error| Error::Unreadable(Box::new(error));
    let key = layout::beside(id, Beside::Commit);
    let Some(object) = body(store, &key).await? else { return Ok(None) };
    let commit = Commit::parse(&object, id, signers)
        .map_err(|source| unreadable(error::Error::Commit { key: key.clone(), source }))?;
    let refs = layout::beside(id, Beside::Refs);
    let damaged = |what: &str| unreadable(error::Error::Damaged { key: refs.clone(), what: what.to_owned() });
    let Some(bytes) = body(store, &refs).await? else {
        // A commit is deleted before what lies beside it.
        return if body(store, &key).await?.is_none() { Ok(None) } else { Err(damaged("it is not beside its commit")) };
    };
    if sha256(&bytes) != commit.refs.sha256.0 {
        return Err(damaged("its hash is not the one in the commit"));
    }
    let set = PackSet::decode(&bytes);
    set.map(Some).map_err(|source| unreadable(error::Error::Malformed { key: refs, source }))
}
