//! Shows how far a command is: a line that renews itself on a terminal, a line a minute elsewhere, nothing with `--quiet`.

use std::{
    io::IsTerminal as _,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use trysail_volume::backup::Counters;

use crate::output;

/// How often a terminal is renewed.
const TERMINAL_EVERY: Duration = Duration::from_millis(200);
/// How often a log gets a line.
const LOG_EVERY: Duration = Duration::from_mins(1);

/// Shows counters until it is dropped.
pub(crate) struct Progress {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins to show counters of a command.
    pub(crate) fn start(verb: &'static str, counters: Arc<Counters>, quiet: bool) -> Self {
        if quiet {
            return Self { stop: None, thread: None };
        }
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || show(verb, &counters, &stopped));
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn show(verb: &str, counters: &Counters, stopped: &Receiver<()>) {
    let terminal = std::io::stderr().is_terminal();
    let began = Instant::now();
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}") {
        bar.set_style(style);
    }
    let every = if terminal { TERMINAL_EVERY } else { LOG_EVERY };
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(every) {
        let (entries, bytes, stored) = (counters.entries.get(), counters.read.get(), counters.stored.get());
        let text =
            format!("{verb} {entries} entries, {} of data, {} stored", output::size(bytes), output::size(stored));
        if terminal {
            bar.set_message(text);
            bar.tick();
        } else {
            output::note(&format!("{:>5} s  {text}", began.elapsed().as_secs()));
        }
    }
    bar.finish_and_clear();
}
