//! The table of requirements (`tests/rows.toml`): each row has a test that shows it, or says why none does yet.

use std::{collections::BTreeMap, path::Path};

use trysail_tests::prerequisites::{Rights, are_met};

use super::{
    check, rust,
    tree::{text, texts},
};

/// `tests/rows.toml`. A row is in exactly one of the two.
struct Rows {
    /// Row → the test that shows it.
    shown: BTreeMap<String, String>,
    /// Row → why no test shows it whole.
    later: BTreeMap<String, String>,
}

fn rows() -> Rows {
    let tables: Result<BTreeMap<String, BTreeMap<String, String>>, _> = toml::from_str(text("tests/rows.toml"));
    let mut tables = tables.expect("tests/rows.toml is what its head says");
    let mut table = |name: &str| tables.remove(name).expect("tests/rows.toml has the tables `shown` and `later`");
    Rows { shown: table("shown"), later: table("later") }
}

/// Names of rows as the table writes them, with `…` and `/` between the first and the last of several.
fn expanded(name: &str) -> Vec<String> {
    let Some((first, last)) = name.split_once(['…', '/']) else { return vec![name.to_owned()] };
    let digits = last.trim_start_matches(|c: char| !c.is_ascii_digit());
    let number = |text: &str| text.parse::<u32>().expect("a number of a row");
    let stem = &first[..first.len() - digits.len()];
    let numbers = number(&first[stem.len()..])..=number(digits);
    numbers.map(|number| format!("{stem}{number:0width$}", width = digits.len())).collect()
}

/// The rows of the table of requirements.
fn required(table: &str) -> Vec<String> {
    let section = table.split("\n### ").find(|section| section.starts_with("1.1 ")).expect("a section 1.1");
    let names = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let is_row = |name: &&str| {
        let is_letter = name.starts_with(|c: char| c.is_ascii_uppercase());
        is_letter && name.as_bytes().get(1) == Some(&b'-')
    };
    names.filter(is_row).flat_map(expanded).collect()
}

#[test]
fn every_requirement_is_shown_by_a_test_or_says_why_not_yet() {
    let rows = rows();
    let suites = || texts().iter().filter(|file| file.path.starts_with("tests/nix/suites/"));
    let is_test = |name: &str| {
        let is_rust = rust().any(|file| file.body.contains(&format!("fn {name}(")));
        is_rust || suites().any(|file| file.body.contains(&format!("\"{name}\" =")))
    };
    let unshown = rows.shown.iter().filter(|(_, test)| !is_test(test));
    check("Each row names a test that exists:", unshown.map(|(row, test)| format!("{row}: {test}")));
    let silent = rows.later.iter().filter(|(_, why)| why.trim().len() < 8);
    check("Each row without a test says why:", silent.map(|(row, _)| row.clone()));
    let twice = rows.shown.keys().filter(|row| rows.later.contains_key(*row));
    check("A row is shown or not:", twice.cloned());
}

#[test]
fn every_row_of_the_table_of_requirements_is_known() {
    let golden = std::env::var_os("TRYSAIL_GOLDEN").unwrap_or_default();
    let table = Path::new(&golden).join("../design/product.md");
    let name = table.to_str().expect("a path in UTF-8");
    let test = "every_row_of_the_table_of_requirements_is_known";
    if !are_met(test, &[name], Rights::Any).expect("TRYSAIL_GOLDEN leads to the table of requirements") {
        return;
    }
    let table = std::fs::read_to_string(&table).expect("the table can be read");
    let (rows, required) = (rows(), required(&table));
    assert!(required.len() > 100, "the table is read: {required:?}");
    let missing = required.iter().filter(|row| !rows.shown.contains_key(*row) && !rows.later.contains_key(*row));
    check("These rows are missing in tests/rows.toml:", missing.cloned());
    let unknown = rows.shown.keys().chain(rows.later.keys()).filter(|row| !required.contains(row));
    check("These rows of tests/rows.toml are required by nobody:", unknown.cloned());
}

#[test]
fn a_range_of_rows_is_each_of_them() {
    assert_eq!(expanded("H-001…003"), ["H-001", "H-002", "H-003"]);
    assert_eq!(expanded("D-F1…F4"), ["D-F1", "D-F2", "D-F3", "D-F4"]);
    assert_eq!(expanded("N-PERF-001/002"), ["N-PERF-001", "N-PERF-002"]);
    assert_eq!(expanded("A-001-01"), ["A-001-01"]);
}
