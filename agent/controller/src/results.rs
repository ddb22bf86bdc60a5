//! The `-results.gz` of a Backup or Restore: errors and warnings, those of itself, of the cluster, and of each namespace. Pure.
//!
//! Source: Velero `pkg/util/results/result.go`.

use std::collections::BTreeMap;

use serde::Serialize;
use trysail_cluster::problem::{Place, Problems, Report};

/// The file.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    errors: Part,
    warnings: Part,
}

#[derive(Debug, Default, Serialize)]
struct Part {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    velero: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cluster: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    namespaces: BTreeMap<String, Vec<String>>,
}

impl Results {
    pub(crate) fn of(report: &Report) -> Self {
        Self { errors: part(&report.errors), warnings: part(&report.warnings) }
    }
}

fn part(problems: &Problems) -> Part {
    let mut part = Part::default();
    for problem in problems.kept() {
        let list = match &problem.place {
            Place::Backup => &mut part.velero,
            Place::Cluster => &mut part.cluster,
            Place::Namespace(name) => part.namespaces.entry(name.clone()).or_default(),
        };
        list.push(problem.message.clone());
    }
    let more = problems.count() - problems.kept().len();
    if more > 0 {
        part.velero.push(format!("{more} more are in the log"));
    }
    part
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trysail_cluster::problem::PROBLEMS_MAX;

    use super::*;

    fn of(report: &Report) -> serde_json::Value {
        serde_json::to_value(Results::of(report)).unwrap()
    }

    #[test]
    fn problems_stand_where_velero_puts_them() {
        let mut report = Report::default();
        assert_eq!(of(&report), json!({ "errors": {}, "warnings": {} }));
        report.errors.add(Place::Backup, "a");
        report.warnings.add(Place::Cluster, "b");
        report.warnings.add(Place::Namespace("app".to_owned()), "c");
        report.warnings.add(Place::Namespace("app".to_owned()), "d");
        let warnings = json!({ "cluster": ["b"], "namespaces": { "app": ["c", "d"] } });
        assert_eq!(of(&report), json!({ "errors": { "velero": ["a"] }, "warnings": warnings }));
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let mut report = Report::default();
        (0..PROBLEMS_MAX + 3).for_each(|_| report.errors.add(Place::Cluster, "x"));
        assert_eq!(of(&report)["errors"]["velero"], json!(["3 more are in the log"]));
    }
}
