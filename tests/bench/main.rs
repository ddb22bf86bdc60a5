//! The bench: Trysail beside restic, kopia and `tar | zstd | age`, on the same data in the same run, alternating. Prints Markdown.
//!
//! `TRYSAIL_BENCH_DIR` is where data and repositories go (some 20 GB; else the directory for temporary files),
//! `TRYSAIL_BENCH_ROUNDS` how often everything is repeated (3), `TRYSAIL_BENCH_SETS` and `TRYSAIL_BENCH_PARTS` a choice of data sets
//! and parts (`peers`, `memory`, `requests`, `index`), separated by commas. Sets are measured with a warm page cache. `index` is of no
//! set; alone it needs none of the other programs.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the tables are the result of this program")]

mod compare;
mod data;
mod index;
mod measure;
mod programs;
mod proxy;
mod table;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use data::{Set, change};
use measure::{Bounded, run_to_end};
use programs::{Bench, Installed, Program};
use proxy::Proxy;
use table::{Results, mebibytes};
use trysail_tests::minio::{ACCESS_KEY, Minio, SECRET_KEY};

/// Memory that Trysail must do with, page cache included.
const MEMORY_BYTES: u64 = 128 << 20;
/// How often everything is repeated, unless told otherwise.
const ROUNDS: u64 = 3;

fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1);
    if let (Some(step), Some(place)) = (arguments.next(), arguments.next()) {
        let step = step.to_str().and_then(|step| index::step(step, Path::new(&place)));
        return step.context("the bench takes no arguments but those that it gives itself")?;
    }
    let chosen = |variable| env::var(variable).ok().map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>());
    let (sets, parts) = (chosen("TRYSAIL_BENCH_SETS"), chosen("TRYSAIL_BENCH_PARTS"));
    let is_chosen = |list: &Option<Vec<String>>, name: &str| {
        list.as_ref().is_none_or(|list| list.iter().any(|chosen| chosen == name))
    };
    let rounds = env::var("TRYSAIL_BENCH_ROUNDS")
        .map_or(Ok(ROUNDS), |text| text.parse())
        .context("TRYSAIL_BENCH_ROUNDS is a number")?;
    let scratch = match env::var_os("TRYSAIL_BENCH_DIR") {
        Some(directory) => tempfile::tempdir_in(directory),
        None => tempfile::tempdir(),
    };
    let scratch = scratch.context("make a directory for the bench")?;
    if is_chosen(&parts, "index") {
        index::measure(scratch.path())?;
    }
    if parts.as_ref().is_some_and(|parts| parts == &["index"]) {
        return Ok(());
    }
    let installed = Installed::new(scratch.path())?;
    println!("{}\n", installed.versions()?.join(" · "));
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{processors} processors; {rounds} rounds; median (least–greatest); all programs alternate within a round."
    );
    for set in Set::ALL.into_iter().filter(|set| is_chosen(&sets, set.name())) {
        let source = scratch.path().join(set.name());
        set.make(&source)?;
        let (files, bytes) = data::measure(&source)?;
        println!("\n## {}: {files} files, {:.0} MiB", set.name(), mebibytes(bytes));
        let bench = Subject { set, source: &source, bytes, installed: &installed, scratch: scratch.path() };
        if is_chosen(&parts, "memory") {
            bench.memory()?;
        }
        if is_chosen(&parts, "requests") {
            bench.requests()?;
        }
        if is_chosen(&parts, "peers") {
            bench.peers(rounds)?;
        }
        fs::remove_dir_all(&source)?;
    }
    Ok(())
}

/// A data set and what is needed to measure with it.
struct Subject<'a> {
    set: Set,
    source: &'a Path,
    bytes: u64,
    installed: &'a Installed,
    scratch: &'a Path,
}

impl Subject<'_> {
    /// A fresh directory for a purpose.
    fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.scratch.join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// All programs, all steps.
    fn peers(&self, rounds: u64) -> Result<()> {
        let mut results = Results::default();
        for round in 0..rounds {
            let homes = self.fresh("homes")?;
            let fresh = |(n, program): (usize, &Program)| {
                Bench::new(*program, self.installed, homes.join(n.to_string()), self.source)
            };
            let benches = Program::ALL.iter().enumerate().map(fresh).collect::<Result<Vec<_>>>()?;
            self.save(&benches, "first", &mut results)?;
            let (tar, incremental): (Vec<_>, Vec<_>) =
                benches.into_iter().partition(|bench| bench.program == Program::Tar);
            self.save(&incremental, "no change", &mut results)?;
            for (number, way) in self.set.changes().iter().enumerate() {
                change(self.source, *way, 1 + round * 16 + number as u64)?;
                self.save(&incremental, way.name(), &mut results)?;
            }
            if !self.set.changes().is_empty() {
                tar.iter().try_for_each(|tar| tar.save().map(drop))?;
            }
            for bench in incremental.iter().chain(&tar) {
                let target = self.fresh("restored")?.join("tree");
                let cost = bench.restore(&target)?;
                let name = bench.program.name();
                results.add(self.set.name(), "restore", name, cost, bench.stored()?);
                if let Some(text) = compare::differences(self.source, &target)? {
                    results.remark(self.set.name(), name, text);
                }
            }
            fs::remove_dir_all(self.scratch.join("restored"))?;
            fs::remove_dir_all(homes)?;
            eprintln!("{}: round {} of {rounds}", self.set.name(), round + 1);
        }
        println!("\n{}", results.table(self.set.name(), self.bytes));
        Ok(())
    }

    fn save(&self, benches: &[Bench<'_>], step: &'static str, results: &mut Results) -> Result<()> {
        for bench in benches {
            let cost = bench.save()?;
            results.add(self.set.name(), step, bench.program.name(), cost, bench.stored()?);
        }
        Ok(())
    }

    /// Trysail for one recipient on a store.
    fn trysail(&self, mut command: Command, home: &Path, url: &str) -> Command {
        command.env("HOME", home).arg("--identity").arg(&self.installed.identity);
        command.args(["-q", "-o", "json", "--repo", url]);
        command
    }

    /// Trysail's commands in bounded memory: peak, and whether they came to their end.
    fn memory(&self) -> Result<()> {
        let home = self.fresh("bounded")?;
        let url = format!("file://{}/repository", home.display());
        let target = home.join("tree");
        let (source, target, recipient) = (path(self.source)?, path(&target)?, self.installed.recipient.as_str());
        let steps: [(&str, &[&str]); 5] = [
            ("first", &["volume", "backup", source, "--volume", "v", "--recipient", recipient]),
            ("no change", &["volume", "backup", source, "--volume", "v"]),
            ("restore", &["volume", "restore", "latest", target]),
            ("check", &["repo", "check", "--read-data", "1/1"]),
            ("prune", &["repo", "prune"]),
        ];
        println!("\nIn a control group of {:.0} MiB, page cache included:\n", mebibytes(MEMORY_BYTES));
        println!("| step | end | wall s | CPU s | peak RSS MiB |\n|---|---|--:|--:|--:|");
        for (name, arguments) in steps {
            // A group of its own for each step: what the page cache of the step before holds is charged to that one.
            let group = Bounded::new(MEMORY_BYTES)?;
            let ended = run_to_end(self.trysail(group.command(&self.installed.trysail), &home, &url).args(arguments))?;
            let end = match (ended.code, ended.signal) {
                (Some(0), _) => "done".to_owned(),
                (Some(code), _) => format!("exit code {code}: {}", ended.errors.lines().next().unwrap_or_default()),
                (_, signal) => format!("killed by signal {}", signal.unwrap_or_default()),
            };
            let cost = ended.cost;
            println!("| {name} | {end} | {:.2} | {:.2} | {:.0} |", cost.wall, cost.cpu, mebibytes(cost.peak_kib << 10));
        }
        Ok(fs::remove_dir_all(home)?)
    }

    /// Trysail's requests to a MinIO.
    fn requests(&self) -> Result<()> {
        let home = self.fresh("requests")?;
        let minio = Minio::start_on(&self.fresh("minio")?, tempfile::tempdir_in(&home)?)?;
        minio.make_bucket("bench")?;
        let proxy = Proxy::start(minio.endpoint().trim_start_matches("http://"))?;
        let url = format!("s3://bench/{}?endpoint={}&region=us-east-1", self.set.name(), proxy.endpoint());
        let target = home.join("tree");
        let (source, recipient) = (path(self.source)?, self.installed.recipient.as_str());
        let steps: [(&str, &[&str]); 4] = [
            ("init", &["repo", "init", "--recipient", recipient]),
            ("first", &["volume", "backup", source, "--volume", "v"]),
            ("no change", &["volume", "backup", source, "--volume", "v"]),
            ("restore", &["volume", "restore", "latest", path(&target)?]),
        ];
        println!("\nRequests to a MinIO:\n\n| step | packs | requests | of which |\n|---|--:|--:|---|");
        for (name, arguments) in steps {
            let command = Command::new(&self.installed.trysail);
            let mut command = self.trysail(command, &home, &url);
            command.envs([("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)]).args(arguments);
            let ended = run_to_end(&mut command)?;
            ensure!(ended.code == Some(0), "{name} on MinIO failed: {}", ended.errors);
            let packs = serde_json::from_str::<serde_json::Value>(&ended.output)
                .ok()
                .and_then(|result| result["packs"].as_u64());
            let counts = proxy.take();
            let verbs: Vec<_> = counts.iter().map(|(verb, count)| format!("{count} {verb}")).collect();
            let packs = packs.map(|n| n.to_string()).unwrap_or_default();
            println!("| {name} | {packs} | {} | {} |", counts.values().sum::<u64>(), verbs.join(", "));
        }
        drop(minio);
        fs::remove_dir_all(self.scratch.join("minio"))?;
        Ok(fs::remove_dir_all(home)?)
    }
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("the path of the bench is UTF-8")
}
