//! The tables, as Markdown.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::measure::Cost;

/// Data set, step and program.
type Case = (&'static str, &'static str, &'static str);

/// What was measured, by data set, step and program; each in the order in which it was added first.
#[derive(Debug, Default)]
pub(crate) struct Results {
    order: Vec<Case>,
    costs: BTreeMap<Case, Vec<Cost>>,
    sizes: BTreeMap<Case, Vec<(usize, u64)>>,
    remarks: BTreeMap<(&'static str, &'static str), String>,
}

/// Least, middle and greatest of some numbers, at least one.
fn spread(mut numbers: Vec<f64>) -> [f64; 3] {
    numbers.sort_by(f64::total_cmp);
    let at = |n: usize| numbers.get(n).copied().unwrap_or(f64::NAN);
    [at(0), at(numbers.len() / 2), at(numbers.len().saturating_sub(1))]
}

fn shown([least, middle, greatest]: [f64; 3], digits: usize) -> String {
    format!("{middle:.digits$} ({least:.digits$}–{greatest:.digits$})")
}

/// A number of bytes as mebibytes.
#[expect(clippy::cast_precision_loss, reason = "sizes of some gigabytes, shown with one digit after the point")]
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Results {
    /// Adds a run and what the repository holds after it.
    pub(crate) fn add(
        &mut self,
        set: &'static str,
        step: &'static str,
        program: &'static str,
        cost: Cost,
        size: (usize, u64),
    ) {
        let key = (set, step, program);
        if !self.order.contains(&key) {
            self.order.push(key);
        }
        self.costs.entry(key).or_default().push(cost);
        self.sizes.entry(key).or_default().push(size);
    }

    /// Notes what a program did not restore.
    pub(crate) fn remark(&mut self, set: &'static str, program: &'static str, text: String) {
        self.remarks.insert((set, program), text);
    }

    /// A table of one set: a row for each step and program.
    pub(crate) fn table(&self, set: &str, bytes: u64) -> String {
        let mut text = String::from(
            "| step | program | wall s | CPU s | CPU s/GB | peak MiB | repository MiB | objects |\n|---|---|--:|--:|--:|--:|--:|--:|\n",
        );
        let gigabytes = mebibytes(bytes) * 1.048_576 / 1000.0;
        for key in self.order.iter().filter(|(of, ..)| *of == set) {
            let costs = self.costs.get(key).cloned().unwrap_or_default();
            let (wall, cpu) =
                (spread(costs.iter().map(|c| c.wall).collect()), spread(costs.iter().map(|c| c.cpu).collect()));
            let peak = mebibytes(costs.iter().map(|c| c.peak_kib).max().unwrap_or(0) << 10);
            let (objects, stored) = self.sizes.get(key).and_then(|sizes| sizes.last().copied()).unwrap_or_default();
            let per_gigabyte = cpu[1] / gigabytes;
            let (_, step, program) = key;
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                text,
                "| {step} | {program} | {} | {} | {per_gigabyte:.2} | {peak:.0} | {:.1} | {objects} |",
                shown(wall, 2),
                shown(cpu, 2),
                mebibytes(stored),
            );
        }
        for ((of, program), remark) in &self.remarks {
            if *of == set {
                let _ = writeln!(text, "\n{program} did not restore as it was: {remark}.");
            }
        }
        text
    }
}
