//! Files on disk: sealed texts replace one another in one step. Plaintext is never written here.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::{Error, Result};

/// Replaces the content of a file, or makes it, such that after a crash it is the old or the new one.
///
/// The mode of the old file is kept; a new one is readable by its owner alone until `git` or the user says otherwise. A symbolic
/// link is followed.
///
/// # Errors
/// [`Error::File`]; the old file is then as it was.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let failed = |e: std::io::Error| Error::File { path: path.display().to_string(), what: e.to_string() };
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.map_or_else(|| PathBuf::from("."), Path::to_owned);
    let mut file = NamedTempFile::new_in(&directory).map_err(failed)?;
    if let Ok(old) = fs::metadata(&target) {
        file.as_file().set_permissions(old.permissions()).map_err(failed)?;
    }
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(&target).map_err(|e| failed(e.error))?;
    // The name is on disk when the directory is.
    fs::File::open(&directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_lies_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("a"), directory.path().join("b"));
        replace(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("a", &link).unwrap();
        replace(&link, "two").unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let names = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode, names), ("two", 0o640, 2));
        assert!(fs::read_link(&link).is_ok(), "the link is one still");
    }
}
