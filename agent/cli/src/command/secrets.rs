//! `trysail secrets seal` and `open`: SOPS files, their rules and identities. Plain text goes to standard output or nowhere.

use std::{
    collections::HashMap,
    env, fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde::Serialize;
use trysail_sops::{
    Error, Format, Identities, Opened, Policy, Rules, Sealed, Value, file, guard::Guard, reference::Reference,
    rules::RULES,
};

use crate::{
    Outcome,
    args::{Format as Output, Shared},
    output,
    place::home,
};

/// Bytes of a file that is read: Secrets of Kubernetes have a megabyte at most.
pub(super) const FILE_MAX: u64 = 64 << 20;

/// The rules for a file, and its path below the directory that they are in.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The rules' file.
    pub(super) config: PathBuf,
    /// The file's path as patterns see it.
    pub(super) path: String,
}

impl Place {
    /// The place of a file, which need not exist; none where no rules are.
    pub(super) fn of(file: &Path, config: Option<&Path>) -> Result<Option<Self>> {
        let context = || file.display().to_string();
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // What is staged may have no directory any more.
        let directory = fs::canonicalize(parent).or_else(|_| std::path::absolute(parent)).with_context(context)?;
        let config = match config {
            Some(config) => Some(fs::canonicalize(config).with_context(|| config.display().to_string())?),
            None => directory.ancestors().map(|above| above.join(RULES)).find(|path| path.is_file()),
        };
        let Some(config) = config else { return Ok(None) };
        let file = directory.join(file.file_name().with_context(context)?);
        let below = config.parent().and_then(|root| file.strip_prefix(root).ok()).unwrap_or(&file);
        let path = below.to_str().with_context(|| format!("{}: the name is not UTF-8", file.display()))?.to_owned();
        Ok(Some(Self { config, path }))
    }

    /// The rules.
    pub(super) fn rules(&self) -> Result<Rules> {
        let context = || self.config.display().to_string();
        Rules::parse(&read(&self.config)?).with_context(context)
    }
}

/// Seals a file.
pub(super) fn seal(shared: &Shared, input: &Path, target: Option<&Path>, config: Option<&Path>) -> Result<Outcome> {
    let is_standard_input = input == Path::new("-");
    let target = match target {
        Some(target) => target,
        None if is_standard_input => bail!("say where the sealed file goes: trysail secrets seal - TARGET"),
        None => input,
    };
    let context = || target.display().to_string();
    let text = if is_standard_input { read_standard_input()? } else { read(input)? };
    let place = Place::of(target, config)?.with_context(|| format!("there is no {RULES} for {}", target.display()))?;
    let rules = place.rules()?;
    let rule = rules.rule(&place.path);
    let rule = rule.with_context(|| format!("no rule of {} matches {}", place.config.display(), place.path))?;
    let (policy, format) = (rule.policy().with_context(context)?, format_of(target)?);
    let in_place = !is_standard_input && is_same(input, target);
    let sealed = if in_place {
        seal_in_place(shared, &text, format, &policy, &Guard::new(&rules), &place.path)
    } else {
        let last = last(shared, target, format)?;
        seal_text(shared, &text, format, &policy, last.as_ref())
    };
    let sealed = sealed.with_context(context)?;
    if let Sealed::Changed(text) = &sealed {
        file::replace(target, text)?;
    }
    tell(shared, target, matches!(sealed, Sealed::Changed(_)))?;
    Ok(Outcome::Done)
}

#[derive(Serialize)]
struct Told {
    file: String,
    changed: bool,
}

fn tell(shared: &Shared, target: &Path, changed: bool) -> Result<()> {
    let file = output::path(target.as_os_str().as_encoded_bytes());
    match shared.format() {
        format @ (Output::Json | Output::Yaml) => output::value(format, &Told { file, changed }),
        Output::Table => output::line(&format!("{}  {file}", if changed { "sealed   " } else { "unchanged" })),
    }
}

/// A file that is sealed already is left alone, if all of it is.
fn seal_in_place(
    shared: &Shared,
    text: &str,
    format: Format,
    policy: &Policy,
    guard: &Guard<'_>,
    path: &str,
) -> Result<Sealed> {
    match seal_text(shared, text, format, policy, None) {
        Err(error) if is_sealed(&error) => match guard.check(path, text.as_bytes()).first() {
            None => Ok(Sealed::Unchanged),
            Some(finding) => bail!("it is sealed, but line {}: {}", finding.line, finding.what),
        },
        other => other,
    }
}

fn is_sealed(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Sealed))
}

fn seal_text(shared: &Shared, text: &str, format: Format, policy: &Policy, last: Option<&Opened>) -> Result<Sealed> {
    let mut identities: Option<Identities> = None;
    let mut files: HashMap<String, Opened> = HashMap::new();
    let mut lookup = |reference: &Reference| -> Result<Value, String> {
        if !files.contains_key(&reference.file) {
            // Without a reference nobody needs an identity.
            let identities = match &mut identities {
                Some(identities) => identities,
                none => none.insert(self::identities(shared).map_err(|e| format!("{e:#}"))?),
            };
            let path = Path::new(&reference.file);
            let opened = open_file(path, identities).map_err(|e| format!("{e:#}"))?;
            files.insert(reference.file.clone(), opened);
        }
        let file = files.get(&reference.file).ok_or("the file is not open")?;
        reference.value_in(file)
    };
    Ok(trysail_sops::seal(text, format, policy, last, &mut lookup, Timestamp::now())?)
}

/// The file that is to be replaced, if it is sealed and whole. One that was changed by hand is sealed anew.
fn last(shared: &Shared, target: &Path, format: Format) -> Result<Option<Opened>> {
    if !target.exists() {
        return Ok(None);
    }
    match trysail_sops::open(&read(target)?, format, &identities(shared)?) {
        Ok(opened) => Ok(Some(opened)),
        Err(error @ (Error::NoIdentity { .. } | Error::Identity(_))) => Err(error).with_context(|| {
            format!("{} is there; without what is in it, it would change for nothing", target.display())
        }),
        Err(Error::NotSealed) => Ok(None),
        Err(error) => {
            output::note(&format!("{} is sealed anew: {error}", target.display()));
            Ok(None)
        }
    }
}

/// Prints a sealed file, or one value of it.
pub(super) fn open(shared: &Shared, file: &Path, key: Option<&str>) -> Result<Outcome> {
    let opened = open_file(file, &identities(shared)?)?;
    let Some(key) = key else {
        output::bytes(opened.text().as_bytes())?;
        return Ok(Outcome::Done);
    };
    let keys = key.trim_start_matches('/').split('/').map(ToOwned::to_owned).collect();
    let reference = Reference { file: file.display().to_string(), keys };
    let context = || format!("{}: {key}", file.display());
    let value = reference.value_in(&opened).map_err(anyhow::Error::msg).with_context(context)?;
    match (shared.format(), &value) {
        (format @ (Output::Json | Output::Yaml), Value::Text(text)) => output::value(format, &text.as_str())?,
        (format @ (Output::Json | Output::Yaml), Value::Bool(value)) => output::value(format, value)?,
        (format @ (Output::Json | Output::Yaml), Value::Int(value)) => output::value(format, value)?,
        (format @ (Output::Json | Output::Yaml), Value::Float(value)) => output::value(format, value)?,
        _ => output::bytes(&[value.bytes().as_slice(), b"\n"].concat())?,
    }
    Ok(Outcome::Done)
}

fn open_file(file: &Path, identities: &Identities) -> Result<Opened> {
    let (text, format) = (read(file)?, format_of(file)?);
    trysail_sops::open(&text, format, identities).with_context(|| file.display().to_string())
}

fn format_of(file: &Path) -> Result<Format> {
    let name = file.to_string_lossy();
    Format::of(&name).with_context(|| format!("{name}: the name ends neither in .yaml or .yml nor in .json"))
}

fn is_same(a: &Path, b: &Path) -> bool {
    a == b || matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}

/// The text of a file.
fn read(path: &Path) -> Result<String> {
    let file = fs::File::open(path).with_context(|| path.display().to_string())?;
    read_text(file).with_context(|| path.display().to_string())
}

fn read_standard_input() -> Result<String> {
    read_text(std::io::stdin()).context("standard input")
}

fn read_text(from: impl std::io::Read) -> Result<String> {
    let mut text = String::new();
    from.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        bail!("it is larger than {}", output::size(FILE_MAX));
    }
    Ok(text)
}

/// What `--identity` names, else what sops would find.
fn identities(shared: &Shared) -> Result<Identities> {
    let mut identities = Identities::default();
    for file in &shared.identity {
        identities.add(&read(file)?).with_context(|| format!("--identity {}", file.display()))?;
    }
    if !shared.identity.is_empty() {
        return Ok(identities);
    }
    if let Ok(text) = env::var("SOPS_AGE_KEY") {
        // sops takes several on a line.
        let words = text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
        identities.add(&words.collect::<Vec<_>>().join("\n")).context("SOPS_AGE_KEY")?;
    }
    let named = env::var_os("SOPS_AGE_KEY_FILE").map(PathBuf::from);
    let usual = home("XDG_CONFIG_HOME", ".config").ok().map(|directory| directory.join("sops/age/keys.txt"));
    for file in named.into_iter().chain(usual.filter(|file| file.is_file())) {
        identities.add(&read(&file)?).with_context(|| file.display().to_string())?;
    }
    Ok(identities)
}
