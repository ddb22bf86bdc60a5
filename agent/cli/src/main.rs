//! The `trysail` program: reads arguments, sets up the runtime and the log, runs one command, tells how it ended.

mod args;
mod cluster;
mod command;
mod doctor;
mod draft;
mod output;
mod place;
mod preview;
mod progress;
mod restore_helper;
mod show;
mod state;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser as _;

/// How a command ended, as the exit code says it. A usage error is 2, by clap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Everything was done.
    Done,
    /// It was done, but for some files, each of which was named.
    Incomplete,
    /// Damage was found.
    Damaged,
    /// It was not done; why was told.
    Failed,
}

/// The name by which scripts call the program that were written for Velero.
const VELERO: &str = "velero";

/// The name by which this program was called, as far as it matters: commands that it tells begin with it.
fn program() -> &'static str {
    let called = std::env::args_os().next().map(PathBuf::from);
    let is_velero = called.as_deref().and_then(Path::file_name) == Some(VELERO.as_ref());
    if is_velero { VELERO } else { "trysail" }
}

/// Threads that read and write files of a store and decrypt. The allocator keeps freed packs for each thread that had them, so
/// more threads mean more memory.
const BLOCKING_THREADS_MAX: usize = 4;

fn main() -> ExitCode {
    let program = std::env::args_os().next().map(PathBuf::from);
    if program.as_deref().and_then(Path::file_name) == Some(restore_helper::NAME.as_ref()) {
        return match restore_helper::run(std::env::args_os()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                output::error(&error);
                ExitCode::from(1)
            }
        };
    }
    let args = args::Args::parse();
    // What serves logs in its own way, and starts that itself.
    if !matches!(args.command, args::Command::Server(_) | args::Command::NodeAgent(_)) {
        log_for_people(&args.shared);
    }
    // Rights are given up before there are threads, which would keep theirs.
    if matches!(args.command, args::Command::NodeAgent(args::NodeAgent::Server(_)))
        && let Err(error) = trysail_controller::node::posture::enter()
    {
        output::error(&anyhow::Error::from(error).context("give up rights that are not needed"));
        return ExitCode::from(1);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| command::run(args, runtime.handle()));
    let outcome = outcome.and_then(|outcome| output::flush().map(|()| outcome));
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Damaged | Outcome::Failed) => ExitCode::from(1),
        Ok(Outcome::Incomplete) => ExitCode::from(3),
        // As a shell tells the end by SIGPIPE, and as quietly.
        Err(error) if output::is_reader_gone(&error) => ExitCode::from(141),
        Err(error) => {
            output::error(&error);
            ExitCode::from(1)
        }
    }
}

/// What goes wrong besides, on standard error, in plain words.
fn log_for_people(shared: &args::Shared) {
    let level = if shared.quiet { "error" } else { "warn" };
    let log = tracing_subscriber::EnvFilter::try_from_env("TRYSAIL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(log)
        .with_writer(std::io::stderr)
        .with_ansi(output::is_coloured(&std::io::stderr()))
        .without_time()
        .with_target(false)
        .init();
}
