//! Objects of a cluster as text, as `velero` shows them: tables, descriptions, moments. Pure; `output` prints it.

pub(crate) mod backup;
pub(crate) mod columns;
pub(crate) mod files;
pub(crate) mod location;
pub(crate) mod moment;
pub(crate) mod page;
pub(crate) mod repository;
pub(crate) mod restore;
pub(crate) mod schedule;

use jiff::{Timestamp, tz::TimeZone};

/// From where objects are looked at.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// The time.
    pub(crate) now: Timestamp,
    /// The zone in which moments are shown.
    pub(crate) zone: TimeZone,
    /// The name by which this program is called: commands that are told begin with it.
    pub(crate) program: &'static str,
}

/// What stands for nothing.
const NONE: &str = "<none>";

/// A list with commas between; `instead` where it is empty.
fn joined(list: Option<&Vec<String>>, instead: &str) -> String {
    list.filter(|list| !list.is_empty()).map_or_else(|| instead.to_owned(), |list| list.join(", "))
}

/// `true`, `false`, or `auto` where nothing was said.
fn switch(value: Option<bool>) -> &'static str {
    match value {
        Some(true) => "true",
        Some(false) => "false",
        None => "auto",
    }
}

/// A span; Go's zero where nothing was said.
fn span(duration: Option<&trysail_api::duration::Duration>) -> String {
    let nanoseconds = duration.map_or(0, trysail_api::duration::Duration::nanoseconds);
    trysail_api::duration::Duration::from_nanoseconds(nanoseconds).to_string()
}

/// A selector; `<none>` where it asks for nothing.
fn selector(selector: Option<&trysail_api::selector::LabelSelector>) -> String {
    selector.map(ToString::to_string).filter(|text| !text.is_empty()).unwrap_or_else(|| NONE.to_owned())
}

#[cfg(test)]
mod tests;
