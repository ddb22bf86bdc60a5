//! Path order: bytewise with `/` as if it were byte 0, so that a directory comes before what is in it, and what is in it before the next
//! name. It is the order of a depth-first walk that sorts the names of each directory. Source: `FORMAT.md` §7.

use std::cmp::Ordering;

/// Compares two paths below a volume's root.
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let common = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let rank = |path: &[u8]| path.get(common).map(|byte| if *byte == b'/' { 0 } else { *byte });
    // `None` (the path has ended) sorts before any byte; names hold no byte 0, so `/` as 0 is free.
    rank(a).cmp(&rank(b))
}

/// Whether `path` is `top` or lies below it; everything lies below the root.
pub fn is_within(path: &[u8], top: &[u8]) -> bool {
    top.is_empty() || path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paths() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::collection::vec(prop::sample::select(b"\x01!/.a~\xff".to_vec()), 1..4), 0..4)
            .prop_map(|parts| {
                let parts: Vec<Vec<u8>> =
                    parts.into_iter().map(|p| p.into_iter().filter(|b| *b != b'/').collect()).collect();
                parts.into_iter().filter(|p: &Vec<u8>| !p.is_empty()).collect::<Vec<_>>().join(&b'/')
            })
    }

    proptest! {
        #[test]
        fn path_order_is_the_order_of_the_lists_of_names(a in paths(), b in paths()) {
            let parts = |p: &[u8]| -> Vec<Vec<u8>> {
                if p.is_empty() { Vec::new() } else { p.split(|c| *c == b'/').map(<[u8]>::to_vec).collect() }
            };
            prop_assert_eq!(compare(&a, &b), parts(&a).cmp(&parts(&b)));
        }
    }

    #[test]
    fn a_directory_is_followed_by_its_content_and_then_by_longer_names() {
        let mut paths: Vec<&[u8]> = vec![b"a!", b"a/b", b"", b"b", b"a", b"a/b/c", b"a.b"];
        paths.sort_by(|a, b| compare(a, b));
        assert_eq!(paths, [&b""[..], b"a", b"a/b", b"a/b/c", b"a!", b"a.b", b"b"]);
        assert!(is_within(b"a/b", b"a") && is_within(b"a", b"a") && is_within(b"a", b"") && !is_within(b"a.b", b"a"));
    }
}
