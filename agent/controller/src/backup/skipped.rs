//! The annotation that names volumes which a backup left out, so that `velero backup describe` shows them. Pure.

use trysail_cluster::volumes::Skipped;

/// What an annotation says of volumes that are left out: a screen. All of them are in the log.
const SKIPPED_BYTES_MAX: usize = 4000;

/// The volumes that are left out, with why, as `velero backup describe` shows annotations; none where all are saved.
pub(super) fn annotation_of(skipped: &[Skipped]) -> Option<String> {
    let (mut text, count) = (String::new(), skipped.len());
    for (at, skipped) in skipped.iter().enumerate() {
        let sentence = skipped.to_string();
        if text.len() + sentence.len() > SKIPPED_BYTES_MAX {
            return Some(format!("{text}; {} more are in the log", count - at));
        }
        if at > 0 {
            text.push_str("; ");
        }
        text.push_str(&sentence);
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use trysail_cluster::volumes::Reason;

    use super::*;

    fn skipped(volume: &str) -> Skipped {
        Skipped {
            namespace: "app".to_owned(),
            pod: Some("web".to_owned()),
            volume: volume.to_owned(),
            claim: None,
            reason: Reason::Policy,
        }
    }

    #[test]
    fn volumes_that_are_left_out_are_named_and_those_beyond_a_screen_counted() {
        assert_eq!(annotation_of(&[]), None);
        let sentence =
            |volume: &str| format!("volume {volume} of pod app/web is not saved: the resource policy says skip");
        let both = format!("{}; {}", sentence("a"), sentence("b"));
        assert_eq!(annotation_of(&[skipped("a"), skipped("b")]), Some(both));
        let many: Vec<Skipped> = (0..1000).map(|_| skipped("a")).collect();
        let text = annotation_of(&many).unwrap();
        let (named, counted) = text.rsplit_once("; ").unwrap();
        let named_volumes = named.matches("volume a of pod").count();
        assert_eq!(counted, format!("{} more are in the log", 1000 - named_volumes));
        assert!((SKIPPED_BYTES_MAX - 100..SKIPPED_BYTES_MAX + 100).contains(&named.len()), "{}", named.len());
    }
}
