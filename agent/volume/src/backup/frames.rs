//! The threads that turn plain bytes into frames: hash, look for an equal frame, compress, decode again.

use std::sync::{
    Mutex, PoisonError,
    mpsc::{Receiver, SyncSender, sync_channel},
};

use trysail_repository::{
    Error,
    frame::{Compressor, sha256},
    pack::FrameKind,
    table::Extent,
    write::{Known, NewFrame},
};

/// Jobs that wait for a thread; their bytes are bounded by the budget.
const JOBS_WAITING_MAX: usize = 64;

/// What became of plain bytes.
#[derive(Debug)]
pub(super) enum Framed {
    /// An equal frame is stored.
    Known(Extent),
    /// A frame to be stored.
    New(NewFrame),
}

/// The answer to a job, when it is ready.
pub(super) type Answer = Receiver<Result<Framed, Error>>;

struct Job {
    plain: Vec<u8>,
    kind: FrameKind,
    answer: SyncSender<Result<Framed, Error>>,
}

/// Where jobs are handed in.
#[derive(Clone)]
pub(super) struct Jobs(SyncSender<Job>);

/// Where threads take jobs from.
pub(super) struct Queue(Mutex<Receiver<Job>>);

/// Empty buffers that wait for the reader; more are given back to the allocator.
pub(super) const BUFFERS_MAX: usize = 8;

/// Empty buffers go back to the reader, which would else ask the allocator for a mebibyte a chunk.
pub(super) type Buffers = SyncSender<Vec<u8>>;

pub(super) fn queue() -> (Jobs, Queue) {
    let (jobs, queue) = sync_channel(JOBS_WAITING_MAX);
    (Jobs(jobs), Queue(Mutex::new(queue)))
}

impl Jobs {
    /// Hands in plain bytes; `None` when the threads have ended.
    pub(super) fn submit(&self, plain: Vec<u8>, kind: FrameKind) -> Option<Answer> {
        let (answer, receiver) = sync_channel(1);
        self.0.send(Job { plain, kind, answer }).ok()?;
        Some(receiver)
    }
}

impl Queue {
    /// Works until all handles for handing in are gone.
    pub(super) fn work(&self, level: i32, known: &Known, buffers: &Buffers) {
        let mut compressor = Compressor::new(level);
        loop {
            let job = self.0.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { mut plain, kind, answer }) = job else { return };
            let framed = match &mut compressor {
                Ok(compressor) => frame(compressor, &plain, kind, known),
                Err(error) => Err(Error::Compress(error.clone())),
            };
            plain.clear();
            // A buffer that finds no room is dropped; nobody waits for answers once the packer has failed.
            let _ = buffers.try_send(plain);
            let _ = answer.send(framed);
        }
    }
}

fn frame(compressor: &mut Compressor, plain: &[u8], kind: FrameKind, known: &Known) -> Result<Framed, Error> {
    let hash = sha256(plain);
    // Bundles hold headers with times and owners: they are not equal to others.
    let id = (kind == FrameKind::Chunk).then(|| known.frame_id(&hash));
    if let Some(extent) = id.and_then(|id| known.find(id)) {
        return Ok(Framed::Known(extent));
    }
    let frame = compressor.frame(plain).map_err(Error::Compress)?;
    let length = u32::try_from(plain.len()).map_err(|_| Error::Bug("a chunk is longer than 4 GiB"))?;
    Ok(Framed::New(NewFrame { kind, id, sha256: hash, plain: length, frame }))
}
