//! The program `velero-restore-helper`: keeps a restored pod from starting until each of its volumes bears the mark of its restore.
//!
//! Source: Velero `cmd/velero-restore-helper`.

use std::{ffi::OsString, fs, io, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result};

use crate::output;

/// The name under which the program is this one.
pub(crate) const NAME: &str = "velero-restore-helper";

/// Below it, each volume is mounted under its name.
const VOLUMES: &str = "/restores";

/// Pause between looks.
const LOOK: Duration = Duration::from_secs(1);

/// Waits for the mark that the first argument names.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> Result<()> {
    let mark = arguments.skip(1).find(|argument| !argument.as_encoded_bytes().starts_with(b"-"));
    let mark = mark.context("the UID of the restore is the only argument")?;
    while !is_filled(Path::new(VOLUMES), &mark)? {
        thread::sleep(LOOK);
    }
    output::line("All restores are done")
}

/// Whether all volumes bear the mark.
fn is_filled(volumes: &Path, mark: &OsString) -> Result<bool> {
    let context = || volumes.display().to_string();
    for volume in fs::read_dir(volumes).with_context(context)? {
        let path = volume.with_context(context)?.path();
        if !path.is_dir() {
            continue;
        }
        let path = path.join(".velero").join(mark);
        match fs::symlink_metadata(&path) {
            Ok(_) => output::line(&format!("Found the done file {}", path.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                output::line(&format!(
                    "The filesystem restore done file {} is not found yet. Retry later.",
                    path.display()
                ))?;
                return Ok(false);
            }
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_volume_must_bear_the_mark_of_this_restore() {
        let volumes = tempfile::tempdir().unwrap();
        let mark = |volume: &str, uid: &str| {
            let directory = volumes.path().join(volume).join(".velero");
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(uid), "").unwrap();
        };
        let is_filled = || is_filled(volumes.path(), &OsString::from("u2")).unwrap();
        mark("data", "u1");
        mark("scratch", "u2");
        assert!(!is_filled());
        mark("data", "u2");
        assert!(is_filled());
    }
}
