//! What a plan says to people, and to programs.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::plan::{Plan, Waiting};

/// A plan in numbers, for `-o json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The store's time that the plan is based on.
    pub now: Timestamp,
    /// Packs to be condemned.
    pub condemn_packs: usize,
    /// Their stored bytes.
    pub condemn_bytes: u64,
    /// From when on these may be deleted, if they are condemned at once.
    pub condemn_due: Timestamp,
    /// Packs to be deleted.
    pub sweep_packs: usize,
    /// Their stored bytes.
    pub sweep_bytes: u64,
    /// Condemned sets whose time has not come.
    pub waiting: Vec<Waiting>,
    /// Condemned packs that are kept, because a snapshot needs them.
    pub held_packs: usize,
    /// Other objects to be deleted.
    pub clear_objects: usize,
    /// Condemned sets that do not decode.
    pub damaged: Vec<String>,
}

impl From<&Plan> for Summary {
    fn from(plan: &Plan) -> Self {
        Self {
            now: plan.now,
            condemn_packs: plan.condemn.len(),
            condemn_bytes: plan.condemn_bytes,
            condemn_due: plan.now.checked_add(plan.limits.grace).unwrap_or(Timestamp::MAX),
            sweep_packs: plan.sweep.len(),
            sweep_bytes: plan.sweep_bytes,
            waiting: plan.waiting.clone(),
            held_packs: plan.held,
            clear_objects: plan.leftovers.len(),
            damaged: plan.damaged.iter().map(ToString::to_string).collect(),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Summary::from(self).fmt(f)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        if self.sweep_packs > 0 {
            lines.push(format!("delete   {} now", amount(self.sweep_packs, self.sweep_bytes)));
        }
        if self.condemn_packs > 0 {
            let amount = amount(self.condemn_packs, self.condemn_bytes);
            lines.push(format!("condemn  {amount} now, freed after {:.0}", self.condemn_due));
        }
        for set in &self.waiting {
            lines.push(format!(
                "wait     {} condemned before, freed after {:.0}",
                amount(set.packs, set.bytes),
                set.due
            ));
        }
        if self.held_packs > 0 {
            lines.push(format!("keep     {} packs that were condemned, and are needed", self.held_packs));
        }
        if self.clear_objects > 0 {
            lines.push(format!("clear    {} small objects that nothing needs", self.clear_objects));
        }
        lines.extend(self.damaged.iter().map(|id| format!("damaged  condemned set {id}: its packs wait anew")));
        f.write_str(if lines.is_empty() { "nothing to prune" } else { "" })?;
        f.write_str(&lines.join("\n"))
    }
}

fn amount(packs: usize, bytes: u64) -> String {
    format!("{packs} packs, {}", size(bytes))
}

/// Bytes in the largest binary unit that they fill, with one decimal.
fn size(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if let whole @ 1.. = bytes >> shift {
            let tenth = ((bytes - (whole << shift)) * 10) >> shift;
            return format!("{whole}.{tenth} {unit}");
        }
    }
    format!("{bytes} B")
}
