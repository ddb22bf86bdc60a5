//! What a machine must have for a test; where it lacks something, the test fails in CI and says so elsewhere.

use std::{
    env,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

/// Whether the machine lacks nothing of what is named. Elsewhere than in CI a lack is one line `SKIPPED, …` on standard
/// error; with `CI=true` it is an error.
///
/// `programs` are looked for as a shell does; a name with `/` is a file.
pub fn are_met(what: &str, programs: &[&str], needs: Rights) -> Result<bool> {
    let mut lacks: Vec<&str> = programs.iter().copied().filter(|program| find(program).is_none()).collect();
    if needs == Rights::Root && !rustix::process::geteuid().is_root() {
        lacks.push("root");
    }
    if lacks.is_empty() {
        return Ok(true);
    }
    let lacks = lacks.join(", ");
    if env::var_os("CI").is_some_and(|ci| ci == "true") {
        bail!("{what} needs {lacks}");
    }
    writeln!(std::io::stderr(), "SKIPPED, needs {lacks}: {what}")?;
    Ok(false)
}

/// As whom a test must run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Anybody.
    Any,
    /// The superuser, with the right to mount and to make namespaces.
    Root,
}

/// Where a program lies, as a shell looks for it.
pub fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.is_file());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]).find_map(|directory| {
        let file = Path::new(&directory).join(program);
        file.is_file().then_some(file)
    })
}
