//! Windows that are fetched before the threads need them, and the jobs that they make: whole files, or single frames of a large one.

use std::sync::Arc;

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use trysail_repository::{Error, read::packs::PackReader};

use super::{
    RestoreError,
    fetch::{Decoder, Fetched, fetch},
    large::LargeFile,
    plan::{FilePlan, Wanted, Window},
    write::FileWriter,
};

/// Begins to fetch windows, a bounded number at once.
pub(super) struct Ahead<'a> {
    runtime: &'a Handle,
    reader: &'a Arc<PackReader>,
    room: Arc<Semaphore>,
}

/// A window under way; its room is given back when the last of its jobs is dropped.
struct Loading {
    fetched: Shared<BoxFuture<'static, Arc<Fetched>>>,
    _room: Option<OwnedSemaphorePermit>,
}

/// What one thread does next.
pub(super) struct Job {
    loading: Arc<Loading>,
    work: Work,
}

enum Work {
    Files(Vec<FilePlan>),
    Frame { file: usize, number: u32, wanted: Wanted },
}

impl<'a> Ahead<'a> {
    /// Fetches through this reader, at most `windows_max` windows at once.
    pub(super) fn new(runtime: &'a Handle, reader: &'a Arc<PackReader>, windows_max: usize) -> Self {
        Self { runtime, reader, room: Arc::new(Semaphore::new(windows_max)) }
    }

    /// Begins to fetch a window as soon as there is room, and gives its jobs in the order in which threads must take them.
    pub(super) fn jobs(&self, window: Window) -> Vec<Job> {
        // Nobody closes the semaphore.
        let room = self.runtime.block_on(self.room.clone().acquire_owned()).ok();
        let (wanted, work) = match window {
            Window::Files(files) => {
                (files.iter().flat_map(|f| f.wanted.iter().copied()).collect(), vec![Work::Files(files)])
            }
            Window::Frames { file, first, wanted } => {
                let frames =
                    wanted.iter().zip(first..).map(|(wanted, number)| Work::Frame { file, number, wanted: *wanted });
                let frames = frames.collect();
                (wanted, frames)
            }
        };
        let task = self.runtime.spawn(fetch(self.reader.clone(), wanted));
        // A task that panicked has fetched nothing, and each frame says so.
        let fetched = async move { Arc::new(task.await.unwrap_or_default()) }.boxed().shared();
        let loading = Arc::new(Loading { fetched, _room: room });
        work.into_iter().map(|work| Job { loading: loading.clone(), work }).collect()
    }
}

impl Job {
    /// Waits for the bytes of its window.
    pub(super) fn fetched(&self, runtime: &Handle) -> Arc<Fetched> {
        runtime.block_on(self.loading.fetched.clone())
    }

    /// Makes the files, or restores the frame.
    pub(super) fn run(
        self,
        writer: &FileWriter<'_>,
        large: &[LargeFile],
        fetched: &Fetched,
        decoder: &mut Decoder,
    ) -> Result<(), RestoreError> {
        match self.work {
            Work::Files(files) => writer.files(&files, fetched, decoder),
            Work::Frame { file, number, wanted } => match large.get(file) {
                Some(file) => file.frame(writer, number, &wanted, fetched, decoder),
                None => Err(Error::Bug("a frame of no file").into()),
            },
        }
    }
}
