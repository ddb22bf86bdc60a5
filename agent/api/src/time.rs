//! Points in time as `metav1.Time` writes them: RFC 3339 in UTC, whole seconds.

use std::{borrow::Cow, fmt};

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time, to the second.
///
/// Source: k8s.io/apimachinery `metav1.Time`, which drops fractions of a second when it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Timestamp);

impl Time {
    /// The second in which a timestamp lies.
    pub fn new(at: Timestamp) -> Self {
        let down = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Floor);
        // Only the very first second that can be said has none below it.
        Self(at.round(down).unwrap_or(at))
    }

    /// The same as a timestamp.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self::new(at)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(from)?;
        let at: Timestamp =
            text.parse().map_err(|e| de::Error::custom(format!("`{text}` is no RFC 3339 time: {e}")))?;
        Ok(Self::new(at))
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let time: Time = serde_json::from_value(text.into()).unwrap();
        serde_json::to_value(time).unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn a_time_is_written_in_utc_with_whole_seconds() {
        assert_eq!(
            ["2026-11-21T06:37:33Z", "2026-11-21T07:37:33.999999999+01:00", "1969-12-31T23:59:59.5Z"].map(written),
            ["2026-11-21T06:37:33Z", "2026-11-21T06:37:33Z", "1969-12-31T23:59:59Z"],
        );
    }

    #[test]
    fn a_text_that_is_no_time_is_refused_by_name() {
        let error = serde_json::from_value::<Time>("yesterday".into()).unwrap_err().to_string();
        assert!(error.starts_with("`yesterday` is no RFC 3339 time"), "{error}");
    }
}
