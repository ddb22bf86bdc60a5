//! Reads single blocks of a generation's objects: from memory, from a copy on this machine, or from the store.
//!
//! Ids are hashes, so questions have no order: each answer is a block of its own, 4 KiB and one request. After
//! [`WHOLE_AT`] blocks of one object, the whole object (some 5 MB) is fetched once and kept in an unlinked file. So a backup that meets
//! few known frames makes one request for each, and one that meets millions makes some hundred and reads the rest locally.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;

use super::{blocks::Shape, scratch::Scratch};
use crate::{
    keys::SealKey,
    store::{Key, ObjectStore},
};

/// Blocks kept in memory: 4 MB.
pub(super) const CACHED_BLOCKS_MAX: usize = 1024;

/// Blocks of one object that are fetched alone; the next one fetches all of it.
pub(super) const WHOLE_AT: u32 = 16;

/// Bytes of copies on this machine, at most; objects beyond are read block by block.
const COPIES_BYTES_MAX: u64 = 1 << 30;

/// An object whose blocks are read.
#[derive(Debug)]
pub(super) struct Paged {
    pub(super) key: Key,
    pub(super) shape: Shape,
    pub(super) records: usize,
}

/// Blocks of several objects, read by any number of threads.
#[derive(Debug)]
pub(super) struct Pages {
    store: Arc<dyn ObjectStore>,
    seal: SealKey,
    objects: Vec<Paged>,
    state: Mutex<State>,
    complained: AtomicBool,
}

/// An object and the number of a block of it.
type Place = (usize, usize);

#[derive(Debug)]
struct State {
    cached: HashMap<Place, (u64, Arc<[u8]>)>,
    /// Places by when they were last asked for.
    used: BTreeMap<u64, Place>,
    clock: u64,
    objects: Vec<Object>,
    scratch: Option<Scratch>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Object {
    fetched: u32,
    /// Offset of its copy in the scratch file.
    copy: Option<u64>,
}

/// Where a block comes from.
enum Source {
    Memory(Arc<[u8]>),
    Copy(Bytes),
    Store,
    /// The store, with all other blocks of the object.
    Whole,
}

impl Pages {
    /// Nothing is read yet.
    pub(super) fn new(store: Arc<dyn ObjectStore>, seal: SealKey, objects: Vec<Paged>) -> Self {
        let state = State {
            cached: HashMap::new(),
            used: BTreeMap::new(),
            clock: 0,
            objects: vec![Object::default(); objects.len()],
            scratch: None,
        };
        Self { store, seal, objects, state: Mutex::new(state), complained: AtomicBool::new(false) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records of a block; empty where it is missing or damaged, which is said once and costs storing frames again.
    pub(super) async fn block(&self, object: usize, n: usize) -> Arc<[u8]> {
        let Some((paged, range)) =
            self.objects.get(object).and_then(|paged| Some((paged, paged.shape.range(paged.records, n)?)))
        else {
            return Arc::default();
        };
        let sealed = match self.source((object, n)) {
            Source::Memory(block) => return block,
            Source::Copy(sealed) => Ok(sealed),
            Source::Store => self.store.get_range(&paged.key, range).await,
            Source::Whole => match self.store.get(&paged.key).await {
                Ok(whole) => {
                    self.keep_copy(object, &whole);
                    let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(whole.len());
                    Ok(whole.slice(at(range.start)..at(range.end)))
                }
                Err(error) => Err(error),
            },
        };
        let opened = sealed.map(|sealed| paged.shape.open(&paged.key, n, &sealed, &self.seal));
        if !matches!(opened, Ok(Some(_))) && !self.complained.swap(true, Ordering::Relaxed) {
            let reason = opened.as_ref().err().map_or_else(|| "it is damaged".to_owned(), ToString::to_string);
            tracing::warn!(key = %paged.key, reason, "A part of the index cannot be read; frames may be stored again");
        }
        let block: Arc<[u8]> = opened.ok().flatten().unwrap_or_default().into();
        self.state().keep((object, n), &block);
        block
    }

    fn source(&self, (object, n): Place) -> Source {
        let mut state = self.state();
        if let Some(block) = state.touch((object, n)) {
            return Source::Memory(block);
        }
        let paged = &self.objects[object];
        if let (Some(copy), Some(range)) = (state.objects[object].copy, paged.shape.range(paged.records, n)) {
            let mut sealed = vec![0; usize::try_from(range.end - range.start).unwrap_or_default()];
            let read = state.scratch.as_ref().map(|scratch| scratch.read(copy + range.start, &mut sealed));
            if let Some(Ok(())) = read {
                return Source::Copy(sealed.into());
            }
        }
        let fetched = &mut state.objects[object].fetched;
        *fetched = fetched.saturating_add(1);
        if *fetched == WHOLE_AT + 1 { Source::Whole } else { Source::Store }
    }

    /// A copy that cannot be kept is done without.
    fn keep_copy(&self, object: usize, whole: &[u8]) {
        let mut state = self.state();
        if state.scratch.is_none() {
            state.scratch = Scratch::new().inspect_err(|error| tracing::info!(%error, "No copies of the index")).ok();
        }
        let room = |s: &&mut Scratch| s.len() + whole.len() as u64 <= COPIES_BYTES_MAX;
        state.objects[object].copy = state.scratch.as_mut().filter(room).and_then(|s| s.append(whole).ok());
    }
}

impl State {
    fn touch(&mut self, place: Place) -> Option<Arc<[u8]>> {
        let (used, block) = self.cached.get_mut(&place)?;
        self.clock += 1;
        self.used.remove(used);
        self.used.insert(self.clock, place);
        *used = self.clock;
        Some(block.clone())
    }

    fn keep(&mut self, place: Place, block: &Arc<[u8]>) {
        self.clock += 1;
        if let Some((before, _)) = self.cached.insert(place, (self.clock, block.clone())) {
            self.used.remove(&before);
        }
        self.used.insert(self.clock, place);
        while self.cached.len() > CACHED_BLOCKS_MAX {
            let Some((_, oldest)) = self.used.pop_first() else { break };
            self.cached.remove(&oldest);
        }
    }
}

#[cfg(test)]
impl Pages {
    /// Blocks in memory.
    pub(super) fn cached(&self) -> usize {
        self.state().cached.len()
    }
}
