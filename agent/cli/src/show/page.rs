//! A page of text in which tabs end cells: cells of lines that follow each other stand below each other.
//!
//! Source: Go `text/tabwriter` with a padding of two spaces, in which `velero describe` is written.

use std::{collections::BTreeMap, fmt::Display};

/// Spaces after the widest cell of a column.
const PADDING: usize = 2;

/// Lines with cells.
#[derive(Debug, Default)]
pub(crate) struct Page {
    lines: Vec<String>,
    prefix: &'static str,
}

impl Page {
    /// Adds a line. Line breaks within begin new ones.
    pub(crate) fn line(&mut self, text: impl Display) {
        let text = format!("{}{text}", self.prefix);
        self.lines.extend(text.split('\n').map(str::to_owned));
    }

    /// Adds an empty line.
    pub(crate) fn blank(&mut self) {
        self.line("");
    }

    /// Adds pairs below a heading, or says that there are none.
    pub(crate) fn map(&mut self, name: &str, pairs: &BTreeMap<String, String>) {
        let values: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        self.list("", name, &values);
    }

    /// Adds a list below a heading, `tabs` deep, or says that it is empty.
    pub(crate) fn list(&mut self, tabs: &str, name: &str, values: &[String]) {
        let Some((first, others)) = values.split_first() else {
            return self.line(format!("{tabs}{name}:\t{tabs}{}", super::NONE));
        };
        self.line(format!("{tabs}{name}:\t{first}"));
        for value in others {
            self.line(format!("{tabs}\t{value}"));
        }
    }

    /// What `write` adds is one cell deeper.
    pub(crate) fn indented(&mut self, write: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.prefix, "\t");
        write(self);
        self.prefix = before;
    }

    /// The text, with spaces for tabs.
    pub(crate) fn finish(self) -> String {
        let lines: Vec<Vec<&str>> = self.lines.iter().map(|line| line.split('\t').collect()).collect();
        let mut text = String::new();
        lay_out(&lines, &mut Vec::new(), &mut text);
        text
    }
}

/// Writes lines of which the widths of the first columns are known. A column is as long as lines that follow each other have it.
fn lay_out(lines: &[Vec<&str>], widths: &mut Vec<usize>, text: &mut String) {
    let column = widths.len();
    let has = |line: &Vec<&str>| column + 1 < line.len();
    for block in lines.chunk_by(|a, b| has(a) == has(b)) {
        if block.first().is_some_and(has) {
            let width = block.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
            widths.push(width + PADDING);
            lay_out(block, widths, text);
            widths.pop();
        } else {
            for line in block {
                write(line, widths, text);
            }
        }
    }
}

fn write(line: &[&str], widths: &[usize], text: &mut String) {
    for (index, cell) in line.iter().enumerate() {
        text.push_str(cell);
        if let Some(width) = widths.get(index).filter(|_| index + 1 < line.len()) {
            text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn cells_of_lines_that_follow_each_other_stand_below_each_other() {
        let mut page = Page::default();
        page.line("Name:\tb1");
        page.map("Annotations", &BTreeMap::from([("a".into(), "1".into()), ("b".into(), "2".into())]));
        page.blank();
        page.line("Phase:\tNew");
        page.line("Namespaces:");
        page.line("\tIncluded:\tx");
        page.list("\t\t", "Long name", &["one".into(), "two".into()]);
        page.list("\t", "Cluster", &[]);
        page.indented(|page| {
            page.line("TTL:\t1h");
            page.blank();
        });
        expect![[r"
            Name:         b1
            Annotations:  a=1
                          b=2

            Phase:  New
            Namespaces:
              Included:  x
                         Long name:  one
                                     two
              Cluster:               <none>
              TTL:       1h
            __
        "]]
        .assert_eq(&page.finish().replace("  \n", "__\n"));
    }
}
