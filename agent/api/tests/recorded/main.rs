//! Our types and definitions against recordings of stock Velero, which `TRYSAIL_GOLDEN` points to.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a recording that cannot be read fails here")]

mod definitions;
mod objects;

use std::{env, path::PathBuf};

/// The recordings. Without them a test prints a `SKIPPED` line, which CI counts; in CI itself it fails.
#[expect(clippy::print_stdout, reason = "CI counts these lines")]
fn golden() -> Option<PathBuf> {
    let place = env::var_os("TRYSAIL_GOLDEN").map(PathBuf::from);
    if place.is_none() {
        assert!(env::var_os("CI").is_none(), "TRYSAIL_GOLDEN must point to the recordings of stock Velero");
        println!("SKIPPED: comparison with stock Velero: TRYSAIL_GOLDEN is not set");
    }
    place
}
