//! The log of one Backup or Restore, and what went wrong in it: the two are kept together, so that its numbers of errors and
//! warnings are those of the lines in its log.
//!
//! Lines are logfmt text as stock Velero writes them, in gzip as they come; the server's own log gets them too.

use std::{
    io::{self, Write as _},
    panic::Location,
    sync::{Mutex, PoisonError},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Map, Value};
use trysail_api::time::Time;
use trysail_cluster::problem::{Place, Report};

use crate::{
    context::now,
    log::{Format, written},
};

/// Lines of a log; those beyond are counted. In gzip they take some MiB.
const LINES_MAX: usize = 100_000;

/// The log of a Backup or Restore that runs.
#[derive(Debug)]
pub(crate) struct RunLog {
    /// `backup` or `restore`.
    kind: &'static str,
    /// `namespace/name`.
    subject: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    gzip: GzEncoder<Vec<u8>>,
    /// What was written before the log was last ended: whole members of a gzip, which go on.
    ended: Vec<u8>,
    lines: usize,
    report: Report,
}

/// A log that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// As it is stored: text in gzip.
    pub(crate) stored: Vec<u8>,
    /// What went wrong.
    pub(crate) report: Report,
}

impl RunLog {
    /// The log of a `backup` or `restore`.
    pub(crate) fn new(kind: &'static str, namespace: &str, name: &str) -> Self {
        let gzip = GzEncoder::new(Vec::new(), Compression::default());
        let state = State { gzip, ended: Vec::new(), lines: 0, report: Report::default() };
        Self { kind, subject: format!("{namespace}/{name}"), state: Mutex::new(state) }
    }

    /// What happens.
    #[track_caller]
    pub(crate) fn info(&self, message: &str, fields: &[(&str, &str)]) {
        tracing::info!(kind = self.kind, subject = self.subject, "{message}");
        self.line("info", message, fields, Location::caller());
    }

    /// What a person should know.
    #[track_caller]
    pub(crate) fn warning(&self, place: Place, message: &str) {
        tracing::warn!(kind = self.kind, subject = self.subject, "{message}");
        self.line("warning", message, &fields_of(&place), Location::caller());
        self.lock().report.warnings.add(place, message);
    }

    /// What is missing although it was asked for.
    #[track_caller]
    pub(crate) fn error(&self, place: Place, message: &str) {
        tracing::error!(kind = self.kind, subject = self.subject, "{message}");
        self.line("error", message, &fields_of(&place), Location::caller());
        self.lock().report.errors.add(place, message);
    }

    /// How many errors and warnings there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.report.errors.count(), state.report.warnings.count())
    }

    /// Ends the log with a last line. Where it could not be stored, it goes on, and ends again.
    ///
    /// # Errors
    /// None that memory gives.
    #[track_caller]
    pub(crate) fn end(&self, summary: &str, fields: &[(&str, &str)]) -> io::Result<Ended> {
        tracing::info!(kind = self.kind, subject = self.subject, "{summary}");
        let missing = self.lock().lines.saturating_sub(LINES_MAX);
        if missing > 0 {
            let message = format!("{missing} lines are left out, as the log has {LINES_MAX}");
            self.write("warning", &message, &[], Location::caller());
        }
        self.write("info", summary, fields, Location::caller());
        let mut state = self.lock();
        let gzip = std::mem::replace(&mut state.gzip, GzEncoder::new(Vec::new(), Compression::default()));
        let member = gzip.finish()?;
        state.ended.extend(member);
        Ok(Ended { stored: state.ended.clone(), report: state.report.clone() })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, level: &str, message: &str, fields: &[(&str, &str)], from: &Location<'_>) {
        let mut state = self.lock();
        state.lines += 1;
        if state.lines <= LINES_MAX {
            drop(state);
            self.write(level, message, fields, from);
        }
    }

    /// `time`, `level`, `msg`, and the other fields by name, as logrus has them.
    fn write(&self, level: &str, message: &str, fields: &[(&str, &str)], from: &Location<'_>) {
        let text = |text: &str| Value::from(text.to_owned());
        let source = format!("{}:{}", from.file(), from.line());
        let mut others: Vec<(&str, &str)> = fields.to_vec();
        others.extend([(self.kind, self.subject.as_str()), ("logSource", source.as_str())]);
        others.sort_unstable();
        let first = [("time", Time::new(now()).to_string()), ("level", level.to_owned()), ("msg", message.to_owned())];
        let mut line: Map<String, Value> =
            first.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
        line.extend(others.into_iter().map(|(key, value)| (key.to_owned(), text(value))));
        // Memory takes what is written.
        let _ = writeln!(self.lock().gzip, "{}", written(Format::Text, line));
    }
}

fn fields_of(place: &Place) -> Vec<(&'static str, &str)> {
    match place {
        Place::Backup | Place::Cluster => Vec::new(),
        Place::Namespace(name) => vec![("namespace", name)],
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn text(ended: &Ended) -> String {
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(&*ended.stored).read_to_string(&mut text).unwrap();
        text
    }

    /// A line without its moment and its place in our source, which change.
    fn steady(line: &str) -> String {
        let words = line.split(' ').filter(|word| !word.starts_with("time=") && !word.starts_with("logSource="));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lines_are_those_of_stock_velero_and_problems_are_counted() {
        let log = RunLog::new("backup", "velero", "b1");
        log.info("Stored objects", &[("resource", "pods"), ("count", "3")]);
        log.warning(Place::Namespace("app".to_owned()), "the volume a is not saved");
        log.error(Place::Backup, "no \"node\"");
        assert_eq!(log.counts(), (1, 1));
        let ended = log.end("Backed up a total of 3 items", &[]).unwrap();
        let found: Vec<String> = text(&ended).lines().map(steady).collect();
        assert_eq!(
            found,
            [
                "level=info msg=\"Stored objects\" backup=velero/b1 count=3 resource=pods",
                "level=warning msg=\"the volume a is not saved\" backup=velero/b1 namespace=app",
                "level=error msg=\"no \\\"node\\\"\" backup=velero/b1",
                "level=info msg=\"Backed up a total of 3 items\" backup=velero/b1",
            ],
        );
        let first = text(&ended).lines().next().unwrap().to_owned();
        assert!(first.starts_with("time=\"2"), "{first}");
        assert!(first.contains("logSource=\"agent/controller/src/run_log.rs:"), "{first}");
    }

    #[test]
    fn a_log_that_could_not_be_stored_goes_on() {
        let log = RunLog::new("backup", "velero", "b1");
        log.end("done", &[]).unwrap();
        log.error(Place::Backup, "the bucket is gone");
        let text = text(&log.end("The backup failed", &[]).unwrap());
        let levels: Vec<&str> = text.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        assert_eq!(levels, ["level=info", "level=error", "level=info"]);
    }

    #[test]
    fn a_log_that_is_too_long_says_so_and_keeps_its_last_line() {
        let log = RunLog::new("backup", "velero", "b1");
        for _ in 0..LINES_MAX + 2 {
            log.line("info", "a", &[], Location::caller());
        }
        let text = text(&log.end("done", &[]).unwrap());
        assert_eq!(text.lines().count(), LINES_MAX + 2);
        let last: Vec<String> = text.lines().rev().take(2).map(steady).collect();
        let left_out =
            format!("level=warning msg=\"2 lines are left out, as the log has {LINES_MAX}\" backup=velero/b1");
        assert_eq!(last, ["level=info msg=done backup=velero/b1".to_owned(), left_out]);
    }
}
