//! The bench on a cluster: Trysail beside stock Velero 1.18 with kopia, with the same data on equal clusters, one after the other, round by
//! round. Prints Markdown.
//!
//! `TRYSAIL_BENCH_ROUNDS` is how often everything is repeated (1), `TRYSAIL_BENCH_SCALE` a divisor of the data (1: 3 GB in 10,004 files, and
//! 100,000 files of 600 MB), `TRYSAIL_BENCH_PEERS` a choice of `trysail` and `velero`. Needs what the tests on clusters need, and 20 GB.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the tables are the result of this program")]

mod data;
mod measure;
mod peer;
mod table;

use std::{
    env, fs,
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use data::Set;
use measure::Meter;
use peer::{Installed, Peer};
use table::{Cost, Results};
use trysail_tests::cluster::Cluster;

/// How long a cluster is watched that does nothing.
const REST: Duration = Duration::from_mins(2);

/// How long figures of MinIO are behind.
const LAG: Duration = Duration::from_secs(11);

fn main() -> Result<()> {
    ensure!(Cluster::can_start("the bench")?, "this machine cannot run clusters");
    let number = |name: &str, default: u64| -> Result<u64> {
        env::var(name).map_or(Ok(default), |text| text.parse()).with_context(|| format!("{name} is a number"))
    };
    let (rounds, scale) = (number("TRYSAIL_BENCH_ROUNDS", 1)?, number("TRYSAIL_BENCH_SCALE", 1)?.max(1));
    let chosen = env::var("TRYSAIL_BENCH_PEERS").ok();
    let is_chosen = |peer: &Peer| chosen.as_ref().is_none_or(|chosen| chosen.split(',').any(|one| one == peer.name()));
    let scratch = tempfile::tempdir().context("make a directory for the bench")?;
    for set in Set::ALL {
        eprintln!("making {}", set.name());
        set.make(&scratch.path().join(set.name()), scale)?;
    }
    let mut results = Results::default();
    for round in 1..=rounds {
        for peer in Peer::ALL.into_iter().filter(is_chosen) {
            eprintln!("round {round}: {}", peer.name());
            measure(peer, scratch.path(), &mut results).with_context(|| peer.name())?;
        }
    }
    println!("{}", results.table(rounds, scale));
    Ok(())
}

/// Everything with one of them, on a cluster of its own.
fn measure(peer: Peer, sets: &Path, results: &mut Results) -> Result<()> {
    let installed = peer.install()?;
    let rest = rest()?;
    results.add("at rest", "2 min", peer, rest);
    for set in Set::ALL {
        let name = set.name();
        let source = sets.join(name);
        let volumes = installed.application(name, set.volumes())?;
        for volume in &volumes {
            copy(&source, volume)?;
        }
        let backup = |word: &str| format!("{name}-{word}");
        for word in ["first", "no-change"] {
            eprintln!("{} {name} {word}", peer.name());
            let cost = observe(&installed, &["backup", "create", &backup(word), "--include-namespaces", name])?;
            results.add(name, word, peer, Cost { stored: Some(installed.stored(name)?), ..cost });
        }
        installed.lose(name)?;
        eprintln!("{} {name} restore", peer.name());
        let from = backup("first");
        let cost = observe(&installed, &["restore", "create", &backup("restore"), "--from-backup", &from])?;
        results.add(name, "restore", peer, cost);
        for volume in installed.volumes(name)? {
            compare(&source, &volume)?;
        }
        installed.lose(name)?;
    }
    Ok(())
}

/// Runs a command of the stock command line to the end of what it asks for.
fn observe(installed: &Installed, arguments: &[&str]) -> Result<Cost> {
    let before = installed.requests()?;
    let meter = Meter::start();
    let began = Instant::now();
    installed.velero(&[arguments, &["--wait"]].concat())?;
    let wall = began.elapsed().as_secs_f64();
    let used = meter.stop()?;
    installed.ensure_completed(arguments[0], arguments[2])?;
    sleep(LAG);
    let requests = installed.requests()?.saturating_sub(before);
    Ok(Cost { wall, cpu: used.cpu, peak_mib: used.peak_mib, requests: Some(requests), stored: None })
}

fn rest() -> Result<Cost> {
    // What follows an installation is over.
    sleep(Duration::from_secs(20));
    let meter = Meter::start();
    sleep(REST);
    let used = meter.stop()?;
    Ok(Cost { wall: REST.as_secs_f64(), cpu: used.cpu, peak_mib: used.peak_mib, requests: None, stored: None })
}

fn copy(source: &Path, target: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").arg(source.join(".")).arg(target).status()?;
    ensure!(status.success(), "cp: {status}");
    // Written data must not be flushed while somebody is measured.
    let status = Command::new("sync").status()?;
    ensure!(status.success(), "sync: {status}");
    Ok(())
}

/// What stock Velero leaves in a volume is no difference.
fn compare(source: &Path, restored: &Path) -> Result<()> {
    ensure!(fs::read_dir(restored)?.next().is_some(), "{} is empty", restored.display());
    let output = Command::new("diff").args(["-rq", "--exclude=.velero"]).arg(source).arg(restored).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout).lines().take(5).collect::<String>());
    Ok(())
}
