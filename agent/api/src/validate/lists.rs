//! Lists of what is included and excluded: whether they say anything that can be.
//!
//! Source: Velero `pkg/util/collections/includes_excludes.go` and pkg/util/wildcard/expand.go.

use std::collections::BTreeSet;

use crate::names::namespace_problems;

/// Characters that no pattern of a namespace may have.
const UNSUPPORTED: [char; 7] = ['|', '(', ')', '!', '{', '}', ','];

type List<'a> = Option<&'a Vec<String>>;

/// The different items of a list, in order.
fn items(list: List<'_>) -> BTreeSet<&str> {
    list.into_iter().flatten().map(String::as_str).collect()
}

/// Items of both lists.
fn contradictions(included: &BTreeSet<&str>, excluded: &BTreeSet<&str>) -> Vec<String> {
    let both = excluded.intersection(included);
    both.map(|item| format!("excludes list cannot contain an item in the includes list: {item}")).collect()
}

/// Problems of unscoped lists: `*` stands alone where it includes, and excludes nowhere.
pub(super) fn unscoped(included: List<'_>, excluded: List<'_>) -> Vec<String> {
    let (included, excluded) = (items(included), items(excluded));
    let mut problems = Vec::new();
    if included.len() > 1 && included.contains("*") {
        problems.push("includes list must either contain '*' only, or a non-empty list of items".to_owned());
    }
    if excluded.contains("*") {
        problems.push("excludes list cannot contain '*'".to_owned());
    }
    problems.extend(contradictions(&included, &excluded));
    problems
}

/// Problems of scoped lists: `*` stands alone, and where it excludes nothing is included.
pub(super) fn scoped(included: List<'_>, excluded: List<'_>) -> Vec<String> {
    let (included, excluded) = (items(included), items(excluded));
    let mut problems = Vec::new();
    if included.len() > 1 && included.contains("*") {
        problems.push("includes list must either contain '*' only, or a non-empty list of items".to_owned());
    }
    if excluded.len() > 1 && excluded.contains("*") {
        problems.push("excludes list must either contain '*' only, or a non-empty list of items".to_owned());
    }
    if !included.is_empty() && excluded.contains("*") {
        problems.push("when exclude is '*', include cannot have value".to_owned());
    }
    problems.extend(contradictions(&included, &excluded));
    problems
}

/// Problems of lists of namespaces, which may hold patterns.
pub(super) fn namespaces(included: List<'_>, excluded: List<'_>) -> Vec<String> {
    let names = [items(included), items(excluded)].into_iter().flatten();
    unscoped(included, excluded).into_iter().chain(names.flat_map(namespace)).collect()
}

fn namespace(name: &str) -> Vec<String> {
    // Velero takes the empty text for "no namespace".
    if name.is_empty() {
        return Vec::new();
    }
    if let Some(problem) = pattern_problem(name) {
        return vec![problem.to_owned()];
    }
    let plain = name.replace(['*', '?', '[', ']'], "x");
    namespace_problems(&plain).into_iter().map(|problem| format!("invalid namespace {name:?}: {problem}")).collect()
}

fn pattern_problem(pattern: &str) -> Option<&'static str> {
    if pattern.contains(UNSUPPORTED) {
        return Some("wildcard pattern contains unsupported characters: |, (, ), !, {, }, ,");
    }
    if pattern.contains("**") {
        return Some("wildcard pattern contains consecutive asterisks (only single * allowed)");
    }
    let mut rest = pattern;
    while let Some(at) = rest.find(['[', ']']) {
        if rest[at..].starts_with(']') {
            return Some("wildcard pattern contains unmatched closing bracket ']'");
        }
        let inside = &rest[at + 1..];
        match inside.find(']') {
            None => return Some("wildcard pattern contains unclosed bracket '['"),
            Some(0) => return Some("wildcard pattern contains empty bracket pattern '[]'"),
            Some(end) => rest = &inside[end + 1..],
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn lists_that_contradict_themselves_are_refused() {
        let unscoped = |i: &str, e: &str| unscoped(Some(&list(i)), Some(&list(e)));
        let scoped = |i: &str, e: &str| scoped(Some(&list(i)), Some(&list(e)));
        assert_eq!(unscoped("*", "a b"), Vec::<String>::new());
        assert_eq!(
            unscoped("* a", "* a"),
            [
                "includes list must either contain '*' only, or a non-empty list of items",
                "excludes list cannot contain '*'",
                "excludes list cannot contain an item in the includes list: *",
                "excludes list cannot contain an item in the includes list: a",
            ],
        );
        assert_eq!(scoped("", "*"), Vec::<String>::new());
        assert_eq!(
            scoped("a", "* b"),
            [
                "excludes list must either contain '*' only, or a non-empty list of items",
                "when exclude is '*', include cannot have value",
            ],
        );
    }

    #[test]
    fn namespaces_are_names_or_patterns_of_names() {
        let problems = |name: &str| namespaces(Some(&vec![name.to_owned()]), None);
        for good in ["a", "ns-*", "ns-?", "ns-[ab]", "*", ""] {
            assert_eq!(problems(good), Vec::<String>::new(), "{good}");
        }
        let bad = ["a|b", "{a,b}", "a**", "[", "[]", "a]"].map(|name| problems(name).join("; "));
        assert_eq!(
            bad,
            [
                "wildcard pattern contains unsupported characters: |, (, ), !, {, }, ,",
                "wildcard pattern contains unsupported characters: |, (, ), !, {, }, ,",
                "wildcard pattern contains consecutive asterisks (only single * allowed)",
                "wildcard pattern contains unclosed bracket '['",
                "wildcard pattern contains empty bracket pattern '[]'",
                "wildcard pattern contains unmatched closing bracket ']'",
            ],
        );
        assert!(
            problems("App")[0].starts_with("invalid namespace \"App\": a lowercase RFC 1123 label must consist of")
        );
    }
}
