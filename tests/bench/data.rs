//! The data sets: what they hold, how they are made, and how one hundredth of them changes. The same seed makes the same bytes.

use std::{
    env, fs,
    io::{BufWriter, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// Least size of `tree`: that of the figure that is promised.
const TREE_BYTES_MIN: u64 = 1 << 30;
/// Least number of files in `tree`.
const TREE_FILES_MIN: usize = 50_000;
/// Files in `source`.
const SOURCE_FILES: usize = 20_000;
/// Files above this are no small source files.
const SOURCE_FILE_MAX: u64 = 64 << 10;
/// A page of a database.
const PAGE: usize = 8 << 10;
/// Pages in `pages`.
const PAGES: u64 = 65_536;
/// Changed pages are one in so many.
const CHANGED_SHARE: u64 = 100;
/// Current log files and lines in each.
const LOGS: usize = 8;
const LOG_LINES: usize = 180_000;
/// Bytes of `media`, in files of 1 to 64 MiB.
const MEDIA_BYTES: u64 = 512 << 20;
const MIB: u64 = 1 << 20;

/// What a set holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// A real tree of toolchains and module caches.
    Tree,
    /// Small source files.
    Source,
    /// Pages of a database.
    Pages,
    /// JSON logs.
    Logs,
    /// Files that do not compress.
    Media,
}

/// How a set changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// 1 % of all pages, anywhere.
    Uniform,
    /// As many pages, 80 % of them in one fifth of the file.
    Skewed,
    /// Lines at the ends of logs.
    Append,
    /// The oldest log goes, each other one takes the next number, and a new one begins.
    Rotate,
}

impl Change {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "1 % uniform",
            Self::Skewed => "1 % skewed",
            Self::Append => "1 % appended",
            Self::Rotate => "rotated",
        }
    }
}

impl Set {
    /// All sets.
    pub(crate) const ALL: [Self; 5] = [Self::Tree, Self::Source, Self::Pages, Self::Logs, Self::Media];

    /// Its name in tables and directories.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Source => "source",
            Self::Pages => "pages",
            Self::Logs => "logs",
            Self::Media => "media",
        }
    }

    /// How it changes, one after another.
    pub(crate) fn changes(self) -> &'static [Change] {
        match self {
            Self::Pages => &[Change::Uniform, Change::Skewed],
            Self::Logs => &[Change::Append, Change::Rotate],
            Self::Tree | Self::Source | Self::Media => &[],
        }
    }

    /// Makes the set as that directory.
    pub(crate) fn make(self, directory: &Path) -> Result<()> {
        fs::create_dir(directory)?;
        match self {
            Self::Tree => tree(directory),
            Self::Source => source(directory),
            Self::Pages => pages(&directory.join("base.db")),
            Self::Logs => {
                (0..LOGS).try_for_each(|n| log(&directory.join(format!("app.log.{n}")), n as u64, LOG_LINES, false))
            }
            Self::Media => media(directory),
        }
        .with_context(|| format!("make the set {}", self.name()))
    }
}

/// Changes a set; other seeds change other places.
pub(crate) fn change(directory: &Path, change: Change, seed: u64) -> Result<()> {
    match change {
        Change::Uniform => rewrite(&directory.join("base.db"), seed, |random| random.below(PAGES)),
        Change::Skewed => rewrite(&directory.join("base.db"), seed, |random| {
            if random.below(5) < 4 { random.below(PAGES / 5) } else { PAGES / 5 + random.below(PAGES - PAGES / 5) }
        }),
        Change::Append => (0..LOGS).try_for_each(|n| {
            log(&directory.join(format!("app.log.{n}")), seed << 8 | n as u64, LOG_LINES / 100, true)
        }),
        Change::Rotate => {
            let name = |n: usize| directory.join(format!("app.log.{n}"));
            fs::remove_file(name(LOGS - 1))?;
            (1..LOGS).rev().try_for_each(|n| fs::rename(name(n - 1), name(n)))?;
            log(&name(0), seed << 8 | 0xff, LOG_LINES, false)
        }
    }
}

/// Files and bytes below a directory.
pub(crate) fn measure(directory: &Path) -> Result<(usize, u64)> {
    let mut total = (0, 0);
    files(directory, &mut |_, size| {
        total = (total.0 + 1, total.1 + size);
        Ok(())
    })?;
    Ok(total)
}

/// Calls `each` for all regular files below a directory, in the order of their names.
fn files(directory: &Path, each: &mut dyn FnMut(&Path, u64) -> Result<()>) -> Result<()> {
    let mut entries = fs::read_dir(directory).and_then(Iterator::collect::<std::io::Result<Vec<_>>>)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_dir() {
            files(&path, each)?;
        } else if kind.is_file() {
            each(&path, entry.metadata()?.len())?;
        }
    }
    Ok(())
}

fn output_of(program: &str, arguments: &[&str]) -> Option<PathBuf> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim())).filter(|path| path.is_dir())
}

/// Directories of the machine's toolchains and caches, those with much source first.
fn origins() -> Vec<PathBuf> {
    let cargo = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let found = [
        cargo.map(|home| home.join("registry/src")).filter(|path| path.is_dir()),
        output_of("go", &["env", "GOROOT"]),
        output_of("rustc", &["--print", "sysroot"]),
        output_of("go", &["env", "GOMODCACHE"]),
    ];
    found.into_iter().flatten().collect()
}

fn tree(directory: &Path) -> Result<()> {
    let mut total = (0, 0);
    let enough = |total: (usize, u64)| total.0 >= TREE_FILES_MIN && total.1 >= TREE_BYTES_MIN;
    for (number, origin) in origins().iter().enumerate() {
        let below = directory.join(number.to_string());
        fs::create_dir(&below)?;
        let mut parts = fs::read_dir(origin).and_then(Iterator::collect::<std::io::Result<Vec<_>>>)?;
        parts.sort_by_key(fs::DirEntry::file_name);
        for part in parts {
            if !enough(total) {
                let status = Command::new("cp").arg("-a").arg(part.path()).arg(&below).status()?;
                ensure!(status.success(), "cp failed: {status}");
                let copied = below.join(part.file_name());
                if copied.is_dir() {
                    let (count, bytes) = measure(&copied)?;
                    total = (total.0 + count, total.1 + bytes);
                }
            }
        }
    }
    ensure!(
        enough(total),
        "the toolchains and caches of this machine hold only {} files of {} bytes",
        total.0,
        total.1
    );
    Ok(())
}

fn source(directory: &Path) -> Result<()> {
    let mut count = 0;
    for (number, origin) in origins().iter().enumerate() {
        files(origin, &mut |path, size| {
            let is_source =
                path.extension().is_some_and(|e| e == "rs" || e == "go" || e == "c" || e == "h" || e == "toml");
            if count >= SOURCE_FILES || !is_source || size > SOURCE_FILE_MAX {
                return Ok(());
            }
            count += 1;
            let target = directory.join(number.to_string()).join(path.strip_prefix(origin)?);
            fs::create_dir_all(target.parent().context("a file has a parent")?)?;
            fs::copy(path, &target)?;
            let times = fs::FileTimes::new().set_modified(fs::metadata(path)?.modified()?);
            // The mode may forbid writing to all but root; times are set through a descriptor for reading.
            Ok(fs::File::open(&target)?.set_times(times)?)
        })?;
    }
    ensure!(count == SOURCE_FILES, "the toolchains and caches of this machine hold only {count} small source files");
    Ok(())
}

/// The `SplitMix64` generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]);
        }
    }
}

const WORDS: [&str; 16] = [
    "pending", "shipped", "berlin", "invoice", "order", "customer", "2026-11-", "EUR", "returned", "null", "street",
    "normal", "true", "main", "account", "transfer",
];

/// A slotted page: header, line pointers, and from the end rows of numbers, words and random keys, about 2:1.
fn page(number: u64, random: &mut Random) -> Vec<u8> {
    let mut page = vec![0; PAGE];
    page[..8].copy_from_slice(&random.next().to_le_bytes());
    page[8..16].copy_from_slice(&number.to_le_bytes());
    let (mut pointer, mut end) = (24, PAGE);
    let mut row = Vec::new();
    loop {
        row.clear();
        row.extend_from_slice(&(number * 64 + pointer as u64).to_le_bytes());
        let mut key = vec![0; 24 + usize::try_from(random.below(24)).unwrap_or(0)];
        random.fill(&mut key);
        row.extend_from_slice(&key);
        for _ in 0..4 + random.below(6) {
            row.extend_from_slice(WORDS[usize::try_from(random.below(16)).unwrap_or(0)].as_bytes());
            row.push(b' ');
        }
        if end < pointer + 4 + row.len() + 400 {
            break;
        }
        end -= row.len();
        page[end..end + row.len()].copy_from_slice(&row);
        page[pointer..pointer + 2].copy_from_slice(&(end as u64).to_le_bytes()[..2]);
        page[pointer + 2..pointer + 4].copy_from_slice(&(row.len() as u64).to_le_bytes()[..2]);
        pointer += 4;
    }
    page
}

fn pages(path: &Path) -> Result<()> {
    let (mut file, mut random) = (BufWriter::new(fs::File::create(path)?), Random(1));
    (0..PAGES).try_for_each(|number| file.write_all(&page(number, &mut random)))?;
    Ok(file.flush()?)
}

fn rewrite(path: &Path, seed: u64, mut pick: impl FnMut(&mut Random) -> u64) -> Result<()> {
    let (file, mut random) = (fs::OpenOptions::new().write(true).open(path)?, Random(seed));
    for _ in 0..PAGES / CHANGED_SHARE {
        let number = pick(&mut random);
        file.write_all_at(&page(number, &mut random), number * PAGE as u64)?;
    }
    Ok(())
}

fn log(path: &Path, seed: u64, lines: usize, append: bool) -> Result<()> {
    let file = fs::OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(path)?;
    let (mut file, mut random) = (BufWriter::new(file), Random(seed ^ 0x10c5));
    for line in 0..lines {
        let (millis, id) = (line as u64 * 13 + random.below(13), random.next());
        let (route, word) =
            (WORDS[usize::try_from(id % 16).unwrap_or(0)], WORDS[usize::try_from(id / 16 % 16).unwrap_or(0)]);
        writeln!(
            file,
            r#"{{"ts":"2026-11-{:02}T{:02}:{:02}:{:02}.{:03}Z","level":"{}","service":"api-{}","trace":"{id:016x}","route":"/v1/{route}/{}","status":{},"ms":{},"msg":"request for {word} done"}}"#,
            1 + seed % 28,
            millis / 3_600_000 % 24,
            millis / 60_000 % 60,
            millis / 1000 % 60,
            millis % 1000,
            if id % 50 == 0 { "warn" } else { "info" },
            id % 7,
            random.below(100_000),
            if id % 40 == 0 { 500 } else { 200 },
            random.below(2000),
        )?;
    }
    Ok(file.flush()?)
}

fn media(directory: &Path) -> Result<()> {
    let (mut random, mut left, mut number) = (Random(2), MEDIA_BYTES, 0);
    let mut buffer = vec![0; usize::try_from(MIB)?];
    while left > 0 {
        let size = (MIB * (1 + random.below(64)) + random.below(MIB)).min(left);
        let mut file = fs::File::create(directory.join(format!("film-{number:03}.mp4")))?;
        let mut rest = size;
        while rest > 0 {
            let here = usize::try_from(rest.min(MIB))?;
            random.fill(&mut buffer[..here]);
            file.write_all(&buffer[..here])?;
            rest -= here as u64;
        }
        (left, number) = (left - size, number + 1);
    }
    Ok(())
}
