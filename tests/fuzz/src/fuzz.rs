//! Feeds one parser, which TRYSAIL_FUZZ names, with what libFuzzer makes up.
#![no_main]

mod parsers;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

/// The parser, or the end of the process.
fn parser() -> parsers::Parser {
    let name = std::env::var("TRYSAIL_FUZZ").unwrap_or_default();
    let found = parsers::ALL.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("TRYSAIL_FUZZ names no parser: {name:?}")).1
}

fuzz_target!(|bytes: &[u8]| {
    static PARSER: OnceLock<parsers::Parser> = OnceLock::new();
    PARSER.get_or_init(parser)(bytes);
});
