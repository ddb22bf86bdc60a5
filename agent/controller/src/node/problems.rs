//! What a transfer tells of single files: an annotation that the server copies into the backup's log and results.

use std::error::Error as _;

use serde::{Deserialize, Serialize};
use trysail_volume::{backup::Problems, walk::Problem};

/// Files that are named in each list; all are counted.
pub(crate) const NAMED_MAX: usize = 100;

/// Bytes of one of these texts: all together stay far below the 256 KiB that annotations may have.
const TEXT_MAX: usize = 500;

/// The value of the annotation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Told {
    /// The first files that could not be saved, with the reason.
    pub(crate) errors: Vec<String>,
    /// How many there are.
    pub(crate) error_count: u64,
    /// The first files that changed while they were read.
    pub(crate) unstable: Vec<String>,
}

impl Told {
    pub(super) fn new(problems: &Problems) -> Self {
        let errors = problems.errors.iter().take(NAMED_MAX).map(|problem| cut(describe(problem)));
        let unstable = problems.unstable.iter().take(NAMED_MAX).map(|path| cut(path.escape_ascii().to_string()));
        Self { errors: errors.collect(), error_count: problems.error_count, unstable: unstable.collect() }
    }

    /// Whether there is nothing to tell.
    pub(crate) fn is_empty(&self) -> bool {
        self.error_count == 0 && self.unstable.is_empty()
    }

    /// The same in one sentence; none where everything was saved.
    pub(super) fn message(&self) -> Option<String> {
        let first = self.errors.first()?;
        let others = self.error_count.saturating_sub(1);
        Some(if others == 0 { format!("not saved: {first}") } else { format!("not saved: {first}, and {others} more") })
    }
}

fn describe(problem: &Problem) -> String {
    match problem.source() {
        Some(source) => format!("{problem}: {source}"),
        None => problem.to_string(),
    }
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        text.truncate(text.floor_char_boundary(TEXT_MAX));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_are_named_up_to_a_bound_and_counted_beyond_it() {
        let mut problems = Problems { error_count: 150, ..Problems::default() };
        let path = |n: usize| format!("dir/{n}{}", "x".repeat(TEXT_MAX)).into_bytes();
        problems.errors = (0..150).map(|n| Problem::Replaced { path: path(n) }).collect();
        problems.unstable = vec![b"a\n".to_vec()];
        let told = Told::new(&problems);
        assert_eq!((told.errors.len(), told.error_count, told.unstable.clone()), (100, 150, vec!["a\\n".to_owned()]));
        assert!(serde_json::to_vec(&told).unwrap().len() < 128 << 10);
        assert!(told.message().unwrap().ends_with(", and 149 more"), "{:?}", told.message());
    }

    #[test]
    fn the_annotation_has_the_fields_that_the_server_reads() {
        let problems = Problems {
            errors: vec![Problem::Replaced { path: b"a".to_vec() }],
            error_count: 1,
            unstable: vec![b"b".to_vec()],
            ..Problems::default()
        };
        let told = serde_json::to_value(Told::new(&problems)).unwrap();
        let expected = json!({ "errors": ["a was replaced during the walk"], "errorCount": 1, "unstable": ["b"] });
        assert_eq!(told, expected);
    }
}
