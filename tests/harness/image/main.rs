//! `make image`: our image as a file, and its digest.

#![expect(clippy::print_stdout, reason = "it is what a person asked for")]

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use trysail_tests::{built, image};

/// The name under which the archive loads the image.
const REFERENCE: &str = concat!("localhost/trysail:", env!("CARGO_PKG_VERSION"));

fn main() -> Result<()> {
    let file = std::env::args_os().nth(1).map(PathBuf::from).context("usage: image FILE")?;
    let image = image::of_trysail(REFERENCE, built::trysail()?)?;
    fs::write(&file, &image.archive).with_context(|| format!("write {}", file.display()))?;
    println!("{} {REFERENCE}@{}", file.display(), image.digest);
    Ok(())
}
