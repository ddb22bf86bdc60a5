//! The table: medians of all rounds, one row for each step, and what ours is as a part of the other's.

use std::{collections::BTreeMap, fmt::Write as _};

use super::peer::Peer;

/// What a step cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// Seconds from the command to the end of what it asked for.
    pub(crate) wall: f64,
    /// Seconds of processor time of server, agents, Jobs and plugins.
    pub(crate) cpu: f64,
    /// The greatest sum of their resident memory.
    pub(crate) peak_mib: f64,
    /// Requests to the store.
    pub(crate) requests: Option<u64>,
    /// Bytes of the repository afterwards.
    pub(crate) stored: Option<u64>,
}

/// All costs.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// Steps in their order.
    steps: Vec<(String, String)>,
    costs: BTreeMap<(String, String, Peer), Vec<Cost>>,
}

impl Results {
    pub(crate) fn add(&mut self, set: &str, step: &str, peer: Peer, cost: Cost) {
        let name = (set.to_owned(), step.to_owned());
        if !self.steps.contains(&name) {
            self.steps.push(name.clone());
        }
        self.costs.entry((name.0, name.1, peer)).or_default().push(cost);
    }

    pub(crate) fn table(&self, rounds: u64, scale: u64) -> String {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let mut text = format!("{processors} processors; {rounds} rounds; data divided by {scale}; medians.\n\n");
        text.push_str("| data | step | trysail | velero 1.18 | wall | CPU |\n|---|---|---|---|---|---|\n");
        for (set, step) in &self.steps {
            let [ours, stock] = Peer::ALL.map(|peer| self.median(set, step, peer));
            let part = |of: fn(&Cost) -> f64| match (&ours, &stock) {
                (Some(ours), Some(stock)) if of(stock) > 0.0 => format!("{:.2}", of(ours) / of(stock)),
                _ => "–".to_owned(),
            };
            let (wall, cpu) = (part(|cost| cost.wall), part(|cost| cost.cpu));
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "| {set} | {step} | {} | {} | {wall} | {cpu} |", cell(ours), cell(stock));
        }
        text
    }

    fn median(&self, set: &str, step: &str, peer: Peer) -> Option<Cost> {
        let all = self.costs.get(&(set.to_owned(), step.to_owned(), peer))?;
        let of = |field: fn(&Cost) -> f64| {
            let mut numbers: Vec<f64> = all.iter().map(field).collect();
            numbers.sort_by(f64::total_cmp);
            numbers.get(numbers.len() / 2).copied().unwrap_or_default()
        };
        let last = all.last().copied().unwrap_or_default();
        Some(Cost { wall: of(|cost| cost.wall), cpu: of(|cost| cost.cpu), peak_mib: of(|cost| cost.peak_mib), ..last })
    }
}

/// Wall seconds · CPU seconds · peak MiB · requests · MiB in the repository.
fn cell(cost: Option<Cost>) -> String {
    let Some(cost) = cost else { return "–".to_owned() };
    let number = |number: Option<u64>| number.map_or_else(|| "–".to_owned(), |number| number.to_string());
    let stored = number(cost.stored.map(|bytes| bytes >> 20));
    format!("{:.1} · {:.2} · {:.0} · {} · {stored}", cost.wall, cost.cpu, cost.peak_mib, number(cost.requests))
}
