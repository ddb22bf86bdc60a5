//! What went wrong while the rest went on, as data: a bounded list of sentences, each with the place where it belongs.

use crate::error::Error;

/// Errors, and as many warnings, that are kept word by word; more are counted. A results file is read by people.
pub const PROBLEMS_MAX: usize = 1000;

/// Where a problem belongs in a results file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// To the backup itself.
    Backup,
    /// To a cluster-scoped object.
    Cluster,
    /// To a namespace.
    Namespace(String),
}

impl Place {
    /// The place of objects of a namespace, or of none.
    pub fn of(namespace: Option<&str>) -> Self {
        namespace.map_or(Self::Cluster, |namespace| Self::Namespace(namespace.to_owned()))
    }
}

/// A sentence and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it belongs.
    pub place: Place,
    /// What it is.
    pub message: String,
}

/// Problems of one kind, the first [`PROBLEMS_MAX`] of them with their words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    kept: Vec<Problem>,
    count: usize,
}

impl Problems {
    /// Adds one.
    pub fn add(&mut self, place: Place, message: impl Into<String>) {
        self.count += 1;
        if self.kept.len() < PROBLEMS_MAX {
            self.kept.push(Problem { place, message: message.into() });
        }
    }

    /// Those that are kept, in the order in which they came.
    pub fn kept(&self) -> &[Problem] {
        &self.kept
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.count
    }
}

/// What was not as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What is missing from the backup although it was asked for.
    pub errors: Problems,
    /// What a person should know.
    pub warnings: Problems,
}

impl Report {
    /// Adds an error that stopped one part of the work.
    pub fn error(&mut self, place: Place, error: &Error) {
        self.errors.add(place, error.sentence());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_the_count_is_not() {
        let mut problems = Problems::default();
        for number in 0..PROBLEMS_MAX + 5 {
            problems.add(Place::Backup, number.to_string());
        }
        let last = problems.kept().last().map(|problem| problem.message.as_str());
        assert_eq!((problems.kept().len(), problems.count(), last), (PROBLEMS_MAX, PROBLEMS_MAX + 5, Some("999")));
    }
}
