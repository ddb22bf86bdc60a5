//! The house rules that no compiler knows. What is allowed stands in tables; a test says which lines offend.
//!
//! Rules of files are here, those of the format's text in `format`, those of crates and dependencies in `packages`, that of requirements in `rows`, those of
//! files that the program prints in `generated`.

mod format;
mod generated;
mod packages;
mod rows;
mod tree;

use std::{ffi::OsStr, path::Path};

use tree::{Text, text, texts};

/// Lines of a file above which its first lines must say why.
const LONG_LINES: usize = 800;

/// How such a file says it, within its first five lines.
const LONG_ON_PURPOSE: &str = "long on purpose: ";

/// Module names that say nothing. If a name needs one of these, its noun is missing.
const EMPTY_NAMES: [&str; 8] = ["common", "helper", "helpers", "manager", "misc", "util", "utilities", "utils"];

/// What must not stand in any text of ours, and why. In two halves, so that this file does not hold it.
const BANNED: [(&str, &str); 15] = [
    (concat!("TO", "DO"), "an issue is the place for what is left to do"),
    (concat!("FIX", "ME"), "an issue is the place for what is left to do"),
    (concat!("to", "do!"), "a program that is not written yet must not be merged"),
    (concat!("unimple", "mented!"), "a program that is not written yet must not be merged"),
    (concat!("db", "g!"), "a trace of a search for a bug"),
    (concat!("#[ig", "nore"), "a test that does not run promises nothing"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("crates", ".io"), "a registry, which is the user's to choose"),
    (concat!("proxy.golang", ".org"), "a registry, which is the user's to choose"),
    (concat!("sum.golang", ".org"), "a registry, which is the user's to choose"),
    (concat!("pypi", ".org"), "a registry, which is the user's to choose"),
    (concat!("registry.npmjs", ".org"), "a registry, which is the user's to choose"),
    (concat!("deb.debian", ".org"), "a registry, which is the user's to choose"),
    (concat!("<<<", "<<<<"), "a merge that is not finished"),
];

/// Fails with a sentence and the lines that offend.
fn check(rule: &str, offences: impl IntoIterator<Item = String>) {
    let offences: Vec<String> = offences.into_iter().collect();
    assert!(offences.is_empty(), "{rule}\n  {}\n", offences.join("\n  "));
}

fn rust() -> impl Iterator<Item = &'static Text> {
    texts().iter().filter(|t| t.is("rs"))
}

#[test]
fn the_whole_tree_is_looked_at() {
    for path in ["Cargo.toml", "Makefile", ".ci/run", "agent/repository/FORMAT.md", "tests/scenarios/tidy/main.rs"] {
        assert!(!text(path).is_empty(), "{path}");
    }
}

#[test]
fn every_rust_file_begins_by_saying_what_lives_in_it() {
    let silent = rust().filter(|t| !t.body.starts_with("//! "));
    check("The first line of a module is `//!` and a sentence:", silent.map(|t| t.path.clone()));
}

#[test]
fn no_text_holds_what_is_banned() {
    let offences = texts().iter().flat_map(|t| {
        t.lines().flat_map(move |(number, line)| {
            let found = BANNED.iter().filter(move |(word, _)| line.contains(word));
            found.map(move |(word, why)| format!("{}:{number}: `{word}`: {why}", t.path))
        })
    });
    check("These must not be committed:", offences);
}

#[test]
fn no_line_ends_in_space_and_no_file_in_empty_lines() {
    let is_bad = |t: &Text| t.body.lines().any(|l| l.ends_with([' ', '\t', '\r']));
    let ends_badly = |t: &Text| !t.body.is_empty() && (!t.body.ends_with('\n') || t.body.ends_with("\n\n"));
    let offences = texts().iter().filter(|t| is_bad(t) || ends_badly(t));
    check("White space at the end of a line or file:", offences.map(|t| t.path.clone()));
}

#[test]
fn tabs_are_only_in_makefiles_and_where_gofmt_puts_them() {
    let offences = texts().iter().filter(|t| !t.path.ends_with("Makefile") && !t.is("go") && t.body.contains('\t'));
    check("Indent with spaces:", offences.map(|t| t.path.clone()));
}

#[test]
fn a_long_file_says_why_it_is_long() {
    let is_long = |t: &&Text| t.body.lines().count() > LONG_LINES;
    let says_why = |t: &&Text| t.body.lines().take(5).any(|l| l.contains(LONG_ON_PURPOSE));
    let offences = texts().iter().filter(|t| is_long(t) && !says_why(t));
    check("Divide the file, or say `long on purpose: …` in its first lines:", offences.map(|t| t.path.clone()));
}

#[test]
fn every_module_is_named_after_a_noun_of_its_own() {
    let is_empty = |part: &OsStr| EMPTY_NAMES.iter().any(|empty| part == *empty);
    let offences = rust().filter(|t| Path::new(&t.path).with_extension("").iter().any(is_empty));
    check("A name that says nothing:", offences.map(|t| t.path.clone()));
}

/// Scenarios lie in a directory that cargo does not search, so one that is not listed would never run.
#[test]
fn every_scenario_is_a_test_that_runs() {
    let listed = text("tests/Cargo.toml");
    let scenarios = rust().filter_map(|t| {
        let below = t.path.strip_prefix("tests/")?;
        let is_root = below.strip_prefix("scenarios/")?.split('/').skip(1).all(|name| name == "main.rs");
        is_root.then_some(below)
    });
    let offences = scenarios.filter(|path| !listed.contains(&format!("path = \"{path}\"")));
    check("Not listed in tests/Cargo.toml:", offences.map(str::to_owned));
}
