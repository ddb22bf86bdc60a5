//! `trysail volume backup` and `restore`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde::Serialize;
use tokio::runtime::Handle;
use trysail_repository::{
    commit::{Commit, CommitKind},
    layout::VolumeName,
    write::{Session, SessionPlan},
};
use trysail_volume::{
    backup::{self, BackupOptions, CHECKPOINT_EVERY, Counters, HELD_PIECES_MAX, Problems},
    nar,
    restore::{self, RestoreError, RestoreOptions, RestoreReport},
    target::{Step, TargetError, TargetPolicy},
    walk::{Exclude, Mounts, WalkOptions},
};

use super::browse;
use crate::{
    Outcome,
    args::{self, Backup, Format, Restore, Shared},
    output::{self, PathText},
    place::{IfAbsent, Place},
    progress::Progress,
};

/// Problems that are printed one by one; the rest are counted.
const PRINTED_MAX: usize = 20;

#[derive(Serialize)]
struct BackupResult<'a> {
    snapshot: String,
    commit: &'a Commit,
    packs: u32,
    unchanged: u64,
    seconds: f64,
    errors: Vec<String>,
    error_count: u64,
    unstable: Vec<String>,
    notices: Vec<String>,
    restore: String,
}

fn volume_name(args: &Backup) -> Result<VolumeName> {
    if let Some(name) = &args.volume {
        return Ok(VolumeName::new(name)?);
    }
    let path = canonical(&args.path)?;
    let name = path.file_name().map_or("root".into(), |name| name.to_string_lossy());
    Ok(VolumeName::new(&name)?)
}

fn canonical(path: &Path) -> Result<PathBuf> {
    path.canonicalize()
        .with_context(|| format!("{}: the directory that is to be saved cannot be found", path.display()))
}

/// The path of a repository that lies in its own source, where each backup would save those before it.
fn own_repository(place: &Place, source: &Path) -> Result<Option<String>> {
    let Some(Ok(repository)) = place.directory().map(Path::canonicalize) else { return Ok(None) };
    let source = canonical(source)?;
    if source.starts_with(&repository) {
        bail!("{}: this is the repository itself, or lies in it; back up another directory", source.display());
    }
    let within = repository.strip_prefix(&source).ok().and_then(Path::to_str);
    Ok(within.map(str::to_owned))
}

/// The pattern that matches exactly that path.
fn literal(path: &str) -> String {
    let escape = |c: char| "?*[]{}\\".contains(c).then_some('\\').into_iter().chain([c]);
    std::iter::once('/').chain(path.chars().flat_map(escape)).collect()
}

/// Makes a snapshot of a directory.
pub(super) fn backup(place: &Place, shared: &Shared, args: &Backup, runtime: &Handle) -> Result<Outcome> {
    let volume = volume_name(args)?;
    if !args.path.is_dir() {
        bail!("{}: not a directory; a volume is a directory with all that is in it", args.path.display());
    }
    let mut exclude = Exclude::new(&args.exclude)?;
    let mounts = if args.cross_mounts { Mounts::Cross } else { Mounts::Refuse };
    let began = Instant::now();
    let opened = runtime.block_on(place.open(IfAbsent::Init(&args.recipients)))?;
    let own = own_repository(place, &args.path)?;
    if let Some(own) = &own {
        let anchored = literal(own);
        exclude = Exclude::new(&args.exclude.iter().chain([&anchored]).collect::<Vec<_>>())?;
    }
    let walk = WalkOptions { mounts, exclude };
    let now = Timestamp::now();
    let plan = SessionPlan { keys: opened.keys()?.for_volume(&volume), volume, uid: String::new(), now };
    let session = runtime.block_on(Session::begin(&opened.repository, plan))?;
    let counters = Arc::new(Counters::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let options =
        BackupOptions { walk, threads, now, checkpoint_every: CHECKPOINT_EVERY, held_pieces_max: HELD_PIECES_MAX };
    let progress = Progress::start("read", counters.clone(), shared.quiet);
    let done = backup::backup(&opened.repository, session, &args.path, &options, &counters, runtime);
    drop(progress);
    let report = done?;
    let id = report.finished.id.to_string();
    let mut restore = format!("trysail volume restore {id} TARGET");
    if shared.repo.is_some() {
        restore = format!("{restore} --repo '{}'", place.url());
    }
    if !opened.repository.config().recipients.is_empty() {
        restore.push_str(" --identity FILE");
    }
    let texts = |list: &[trysail_volume::walk::Problem]| list.iter().map(describe).collect::<Vec<_>>();
    let mut notices = texts(&report.problems.notices);
    notices.extend(own.map(|path| format!("{path}: the repository itself, not saved")));
    let result = BackupResult {
        snapshot: id,
        commit: &report.finished.commit,
        packs: report.finished.packs,
        unchanged: counters.unchanged.get(),
        seconds: began.elapsed().as_secs_f64(),
        errors: texts(&report.problems.errors),
        error_count: report.problems.error_count,
        unstable: report.problems.unstable.iter().map(|p| output::path(p)).collect(),
        notices,
        restore,
    };
    match shared.format() {
        Format::Json | Format::Yaml => output::value(shared.format(), &result)?,
        Format::Table => print_backup(&result)?,
    }
    print_problems(&result, &report.problems);
    Ok(if report.problems.error_count > 0 { Outcome::Incomplete } else { Outcome::Done })
}

/// A problem with its cause.
fn describe(problem: &trysail_volume::walk::Problem) -> String {
    match std::error::Error::source(problem) {
        Some(source) => format!("{problem}: {source}"),
        None => problem.to_string(),
    }
}

fn print_backup(result: &BackupResult<'_>) -> Result<()> {
    let Commit { entries, bytes, kind, .. } = result.commit;
    let part = if *kind == CommitKind::Partial { " (the first part; run again to go on)" } else { "" };
    let other = entries.symlinks + entries.hardlinks + entries.specials + entries.sockets;
    output::line(&format!("snapshot   {}{part}", result.snapshot))?;
    output::line(&format!(
        "entries    {} files, {} directories, {other} other; {} unchanged",
        entries.files, entries.directories, result.unchanged
    ))?;
    output::line(&format!(
        "bytes      {} in all, {} read, {} new, {} stored in {} packs",
        output::size(bytes.logical),
        output::size(bytes.read),
        output::size(bytes.new),
        output::size(bytes.stored),
        result.packs
    ))?;
    output::line(&format!("time       {:.1} s", result.seconds))?;
    output::line(&format!("restore    {}", result.restore))
}

fn print_problems(result: &BackupResult<'_>, problems: &Problems) {
    for path in result.unstable.iter().take(PRINTED_MAX) {
        output::note(&format!("warning: {path} changed while it was read; the snapshot has a mixture of its states"));
    }
    for notice in result.notices.iter().take(PRINTED_MAX) {
        output::note(&format!("warning: {notice}"));
    }
    for error in result.errors.iter().take(PRINTED_MAX) {
        output::note(&format!("not saved: {error}"));
    }
    if problems.error_count > PRINTED_MAX as u64 {
        output::note(&format!("not saved: {} entries in all; -o json names up to 1000", problems.error_count));
    }
}

#[derive(Serialize)]
struct RestoreResult {
    snapshot: String,
    target: String,
    entries: u64,
    bytes: u64,
    unchanged: u64,
    seconds: f64,
    lost: Vec<LostEntry>,
    lost_count: u64,
    not_set: Vec<String>,
    not_set_count: u64,
    withheld: Vec<WithheldEntry>,
    withheld_count: u64,
    nar: Option<String>,
}

#[derive(Serialize)]
struct LostEntry {
    #[serde(flatten)]
    path: PathText,
    reason: String,
}

#[derive(Serialize)]
struct WithheldEntry {
    #[serde(flatten)]
    path: PathText,
    what: &'static str,
}

/// Restores a snapshot, or parts of it, into a directory.
pub(super) fn restore(place: &Place, shared: &Shared, args: &Restore, runtime: &Handle) -> Result<Outcome> {
    let began = Instant::now();
    let opened = runtime.block_on(place.open(IfAbsent::Refuse))?;
    let id = runtime.block_on(opened.repository.find(&args.snapshot))?.id;
    if !args.path.is_empty() {
        runtime.block_on(browse::all_there(&opened, &id, &args.path))?;
    }
    let policy = match (args.overwrite, args.delta) {
        (true, _) => TargetPolicy::Overwrite,
        (_, true) => TargetPolicy::Delta,
        _ => TargetPolicy::Empty,
    };
    let paths = args.path.iter().map(|p| trim(p).to_vec()).filter(|p| !p.is_empty()).collect();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let withhold = args.withhold.iter().map(|what| match what {
        args::Withhold::Devices => restore::Withhold::Devices,
        args::Withhold::Setuid => restore::Withhold::Setuid,
    });
    let options = RestoreOptions { policy, paths, threads, withhold: withhold.collect() };
    let counters = Arc::new(Counters::default());
    let progress = Progress::start("restored", counters.clone(), shared.quiet);
    let identity = opened.identity(&id.volume)?;
    let done = restore::restore(&opened.repository, &id, &identity, &args.target, &options, &counters, runtime);
    drop(progress);
    let report = done.map_err(|error| explain(error, &args.target))?;
    let nar = if args.nar { Some(format!("sha256-{}", base64(&nar::hash(&args.target)?))) } else { None };
    let result = result(&id.to_string(), args, &report, &counters, began, nar);
    match shared.format() {
        Format::Json | Format::Yaml => output::value(shared.format(), &result)?,
        Format::Table => print_restore(&result)?,
    }
    for lost in report.lost.iter().take(PRINTED_MAX) {
        output::note(&format!("not restored: {}: {}", output::path(&lost.path), lost.reason));
    }
    for not_set in result.not_set.iter().take(PRINTED_MAX) {
        output::note(&format!("not set: {not_set}"));
    }
    for withheld in report.withheld.listed.iter().take(PRINTED_MAX) {
        output::note(&format!("withheld: {}: {}", output::path(&withheld.path), withheld.what));
    }
    let counts = [report.lost_count, report.not_set.count, report.withheld.count];
    let hidden: u64 = counts.iter().map(|count| count.saturating_sub(PRINTED_MAX as u64)).sum();
    if hidden > 0 {
        output::note(&format!("… and {hidden} more; -o json names up to 1000 of each"));
    }
    Ok(if report.lost_count + report.not_set.count > 0 { Outcome::Incomplete } else { Outcome::Done })
}

/// An error of a restore with the name of its target, and what to do.
fn explain(error: RestoreError, target: &Path) -> anyhow::Error {
    let RestoreError::Target(error) = error else { return error.into() };
    let next = match &error {
        TargetError::NotEmpty { .. } => "choose an empty one, or add --overwrite or --delta",
        TargetError::Failed { action: Step::Root, .. } => "a target is a directory that can be written",
        _ => "when that is repaired, the same command with --delta goes on",
    };
    let cause = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
    anyhow::anyhow!("{}: {error}{cause}; {next}", target.display())
}

/// A path as rows have it: without `./` and slashes at its ends.
pub(super) fn trim(path: &str) -> &[u8] {
    path.strip_prefix("./").unwrap_or(path).trim_matches('/').trim_start_matches("./").as_bytes()
}

fn base64(hash: &[u8; 32]) -> String {
    trysail_repository::signature::PublicKey(*hash).to_string()
}

fn result(
    snapshot: &str,
    args: &Restore,
    report: &RestoreReport,
    counters: &Counters,
    began: Instant,
    nar: Option<String>,
) -> RestoreResult {
    let lost = report.lost.iter().map(|l| LostEntry { path: PathText::new(&l.path), reason: l.reason.clone() });
    let withheld = report.withheld.listed.iter().map(|w| WithheldEntry { path: PathText::new(&w.path), what: w.what });
    RestoreResult {
        snapshot: snapshot.to_owned(),
        target: args.target.display().to_string(),
        entries: counters.entries.get(),
        bytes: counters.read.get(),
        unchanged: report.unchanged,
        seconds: began.elapsed().as_secs_f64(),
        lost: lost.collect(),
        lost_count: report.lost_count,
        not_set: report.not_set.listed.iter().map(|n| format!("{n}: {}", n.why)).collect(),
        not_set_count: report.not_set.count,
        withheld: withheld.collect(),
        withheld_count: report.withheld.count,
        nar,
    }
}

fn print_restore(result: &RestoreResult) -> Result<()> {
    output::line(&format!("restored   {} to {}", result.snapshot, result.target))?;
    output::line(&format!("entries    {} restored, {} unchanged", result.entries, result.unchanged))?;
    output::line(&format!("bytes      {}, each file compared with its SHA-256", output::size(result.bytes)))?;
    output::line(&format!("time       {:.1} s", result.seconds))?;
    match &result.nar {
        Some(nar) => output::line(&format!("nar        {nar}")),
        None => Ok(()),
    }
}
