//! What a condition would say: Velero's kinds have none, and unchanged definitions drop unknown fields.
//!
//! So it is said four times: in `status.message`, in an annotation, as an Event and as a metric.

/// One thing that is to be said of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    /// One word, for machines.
    pub(crate) reason: &'static str,
    /// What is so, and what helps; a clause for people.
    pub(crate) sentence: String,
}

impl Condition {
    pub(crate) fn new(reason: &'static str, sentence: impl Into<String>) -> Self {
        Self { reason, sentence: sentence.into() }
    }
}

/// All of them as a message that begins with a reason; empty where there are none.
pub(crate) fn message(conditions: &[Condition]) -> String {
    conditions.iter().map(|c| format!("{}: {}", c.reason, c.sentence)).collect::<Vec<_>>().join("; ")
}

/// Their reasons, as the annotation lists them.
pub(crate) fn reasons(conditions: &[Condition]) -> Vec<&'static str> {
    conditions.iter().map(|condition| condition.reason).collect()
}
