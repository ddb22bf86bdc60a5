//! Tables as kubectl prints them: columns three spaces apart, the last one as long as it is.

use std::collections::BTreeMap;

/// Spaces between columns.
const GAP: usize = 3;

/// Rows of a table, each with the labels of its object.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// Cells and labels.
    pub(crate) rows: Vec<(Vec<String>, BTreeMap<String, String>)>,
}

/// Labels as columns.
#[derive(Debug, Clone, Default)]
pub(crate) struct LabelColumns {
    /// Whether all labels stand in the last column.
    pub(crate) shows_all: bool,
    /// Labels with columns of their own.
    pub(crate) keys: Vec<String>,
}

/// A table with its header; nothing where there are no rows.
pub(crate) fn table(header: &[&str], rows: Rows, labels: &LabelColumns) -> String {
    if rows.rows.is_empty() {
        return String::new();
    }
    let mut head: Vec<String> = header.iter().map(|&cell| cell.to_owned()).collect();
    // Source: kubectl: the part of a key after its slash, in capitals.
    head.extend(labels.keys.iter().map(|key| key.rsplit('/').next().unwrap_or_default().to_uppercase()));
    head.extend(labels.shows_all.then(|| "LABELS".to_owned()));
    let mut lines = vec![head];
    for (mut cells, own) in rows.rows {
        // Source: Velero 1.18: what has no such label has an empty cell, where kubectl prints `<none>`.
        cells.extend(labels.keys.iter().map(|key| own.get(key).cloned().unwrap_or_default()));
        cells.extend(labels.shows_all.then(|| all(&own)));
        lines.push(cells);
    }
    laid_out(&lines)
}

/// All labels in one cell.
fn all(labels: &BTreeMap<String, String>) -> String {
    if labels.is_empty() {
        return super::NONE.to_owned();
    }
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn laid_out(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| lines.iter().filter_map(|l| l.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        for (column, cell) in line.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < line.len() {
                let pad = widths[column] + GAP - cell.chars().count();
                text.extend(std::iter::repeat_n(' ', pad));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_labels_come_last() {
        let row = |name: &str, label: &str| {
            (vec![name.to_owned(), String::new()], BTreeMap::from([("a.b/tier".to_owned(), label.to_owned())]))
        };
        let rows = || Rows { rows: vec![row("long-name", "x"), row("b", "y")] };
        let labels = LabelColumns { shows_all: true, keys: vec!["a.b/tier".to_owned(), "none".to_owned()] };
        expect![[r"
            NAME        AT   TIER   NONE   LABELS
            long-name        x             a.b/tier=x
            b                y             a.b/tier=y
        "]]
        .assert_eq(&table(&["NAME", "AT"], rows(), &labels));
        assert_eq!(table(&["NAME"], Rows::default(), &labels), "");
    }
}
