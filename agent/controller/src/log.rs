//! Log lines as Velero writes them: `level`, `logSource`, `msg`, `time`, then the fields of the event and of its spans; as
//! JSON or as logfmt text.
//!
//! Source: Velero pkg/util/logging (logrus with these keys).

use std::fmt;

use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    Layer,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::context::now;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// `key=value` pairs, as logrus writes them.
    Text,
}

/// Logs to standard error from now on, with a filter such as `info` or `trysail_controller=debug`. Later calls change nothing.
pub fn start(format: Format, filter: &str) {
    let filter = tracing_subscriber::EnvFilter::new(filter);
    let lines = tracing_subscriber::fmt::layer().event_format(Lines { format }).with_writer(std::io::stderr);
    // A log that is set up already is the one to use.
    let _ = tracing_subscriber::registry().with(filter).with(Fields).with(lines).try_init();
}

struct Lines {
    format: Format,
}

/// Keeps the fields of spans, for the lines within.
struct Fields;

#[derive(Default)]
struct Collected(Map<String, Value>);

impl Visit for Collected {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(key(field), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(key(field), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(key(field), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(key(field), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(key(field), value.into());
    }
}

fn key(field: &Field) -> String {
    if field.name() == "message" { "msg".to_owned() } else { field.name().to_owned() }
}

/// Logrus' word.
fn word(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warning",
        Level::ERROR => "error",
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Fields {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut collected = Collected::default();
        attributes.record(&mut collected);
        span.extensions_mut().insert(collected);
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Map::new();
        let metadata = event.metadata();
        line.insert("level".to_owned(), word(*metadata.level()).into());
        let source = format!("{}:{}", metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
        line.insert("logSource".to_owned(), source.into());
        let mut own = Collected::default();
        event.record(&mut own);
        line.insert("msg".to_owned(), own.0.remove("msg").unwrap_or_default());
        line.insert("time".to_owned(), trysail_api::time::Time::new(now()).to_string().into());
        for span in context.event_scope().into_iter().flatten() {
            if let Some(Collected(fields)) = span.extensions().get::<Collected>() {
                for (key, value) in fields {
                    own.0.entry(key).or_insert_with(|| value.clone());
                }
            }
        }
        line.extend(own.0);
        to.write_str(&written(self.format, line))?;
        to.write_char('\n')
    }
}

/// One line, without its end.
pub(crate) fn written(format: Format, line: Map<String, Value>) -> String {
    match format {
        Format::Json => Value::Object(line).to_string(),
        Format::Text => {
            let pair = |(key, value): (String, Value)| match value {
                Value::String(text) if text.bytes().all(is_plain) && !text.is_empty() => format!("{key}={text}"),
                other => format!("{key}={other}"),
            };
            line.into_iter().map(pair).collect::<Vec<_>>().join(" ")
        }
    }
}

/// What logrus writes without quotes.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_has_the_keys_of_velero_in_their_order() {
        let line =
            json!({ "level": "info", "logSource": "a.rs:1", "msg": "Two words", "time": "t", "name": "default" });
        let line = || line.as_object().cloned().unwrap();
        let json = r#"{"level":"info","logSource":"a.rs:1","msg":"Two words","time":"t","name":"default"}"#;
        assert_eq!(written(Format::Json, line()), json);
        let text = r#"level=info logSource="a.rs:1" msg="Two words" time=t name=default"#;
        assert_eq!(written(Format::Text, line()), text);
    }
}
