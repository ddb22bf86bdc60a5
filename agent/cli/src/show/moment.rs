//! Moments and spans, as Go prints them.

use jiff::{SignedDuration, Timestamp};
use trysail_api::time::Time;

use super::View;

/// `2026-11-21 06:37:33 +0000 UTC`. Source: Go `time.Time.String`.
pub(crate) fn moment(at: Timestamp, view: &View) -> String {
    at.to_zoned(view.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// A moment, or what stands for none.
pub(crate) fn moment_or(at: Option<Time>, instead: &str, view: &View) -> String {
    at.map_or_else(|| instead.to_owned(), |at| moment(at.timestamp(), view))
}

/// How far a moment is: `29d` before it, `3h ago` after it, `n/a` without it.
pub(crate) fn from_now(at: Option<Timestamp>, view: &View) -> String {
    let Some(at) = at else { return "n/a".to_owned() };
    if at >= view.now {
        short(at.duration_since(view.now))
    } else {
        format!("{} ago", short(view.now.duration_since(at)))
    }
}

/// A span in its largest whole unit. Source: k8s.io/apimachinery `duration.ShortHumanDuration`.
fn short(span: SignedDuration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    if seconds < 60 {
        format!("{seconds}s")
    } else if minutes < 60 {
        format!("{minutes}m")
    } else if hours < 24 {
        format!("{hours}h")
    } else if days < 365 {
        format!("{days}d")
    } else {
        format!("{}y", days / 365)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::tests::view;

    #[test]
    fn the_largest_whole_unit_is_told() {
        let at = |seconds: i64| view().now.checked_add(SignedDuration::from_secs(seconds)).ok();
        let rows = [
            (0, "0s"),
            (59, "59s"),
            (-61, "1m ago"),
            (3600, "1h"),
            (-86_399, "23h ago"),
            (86_400 * 30 - 1, "29d"),
            (86_400 * 400, "1y"),
        ];
        for (seconds, expected) in rows {
            assert_eq!(from_now(at(seconds), &view()), expected);
        }
        assert_eq!(from_now(None, &view()), "n/a");
        assert_eq!(moment(view().now, &view()), "2026-11-21 07:00:00 +0000 UTC");
    }
}
