//! Our types and definitions against recordings of stock Velero, which `TRYSAIL_GOLDEN` points to.

mod definitions;
mod objects;

use std::{env, path::PathBuf};

/// The recordings. Without them a test prints a `SKIPPED` line, which CI counts; in CI itself it fails.
fn golden() -> Option<PathBuf> {
    let place = env::var_os("TRYSAIL_GOLDEN").map(PathBuf::from);
    if place.is_none() {
        assert!(env::var_os("CI").is_none(), "TRYSAIL_GOLDEN must point to the recordings of stock Velero");
        println!("SKIPPED: comparison with stock Velero: TRYSAIL_GOLDEN is not set");
    }
    place
}
