//! Selectors as people type and read them: `app=web,tier in (a,b),!legacy`.
//!
//! Source: k8s.io/apimachinery `labels.Parse`, `metav1.ParseToLabelSelector` and `metav1.FormatLabelSelector`.

use std::{fmt, str::FromStr};

use super::{LabelSelector, Labels, Requirement};

/// A text that is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse the selector string {text:?}: {why}")]
pub struct ParseError {
    /// What was read.
    pub text: String,
    /// What is wrong with it, as a clause.
    pub why: String,
}

impl FromStr for LabelSelector {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = |why: String| ParseError { text: text.to_owned(), why };
        let mut labels = Labels::new();
        let mut rules = Vec::new();
        for part in parts(text).filter(|_| !text.trim().is_empty()) {
            match term(part.trim()).map_err(error)? {
                Term::Label(key, value) => drop(labels.insert(key, value)),
                Term::Rule(rule) => rules.push(rule),
            }
        }
        Ok(Self {
            match_labels: Some(labels).filter(|labels| !labels.is_empty()),
            match_expressions: Some(rules).filter(|rules| !rules.is_empty()),
        })
    }
}

/// One thing that a selector asks for.
enum Term {
    Label(String, String),
    Rule(Requirement),
}

/// The texts between commas that stand in no parentheses.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

fn term(part: &str) -> Result<Term, String> {
    let rule = |key: &str, operator: &str, values: Option<Vec<String>>| {
        Ok(Term::Rule(Requirement { key: word(key)?, operator: operator.to_owned(), values }))
    };
    if let Some(set) = part.strip_suffix(')') {
        let (head, values) = set.split_once('(').ok_or("found ')', expected: '('")?;
        let values: Vec<String> = values.split(',').map(value).collect::<Result<_, _>>()?;
        let (key, operator) = head.trim().rsplit_once(char::is_whitespace).unwrap_or(("", head));
        return match operator {
            "in" => rule(key, "In", Some(values)),
            "notin" => rule(key, "NotIn", Some(values)),
            other => Err(format!("found '{other}', expected: in, notin")),
        };
    }
    if let Some(key) = part.strip_prefix('!') {
        return rule(key, "DoesNotExist", None);
    }
    if let Some((key, text)) = part.split_once("!=") {
        return rule(key, "NotIn", Some(vec![value(text)?]));
    }
    match part.split_once("==").or_else(|| part.split_once('=')) {
        Some((key, text)) => Ok(Term::Label(word(key)?, value(text)?)),
        None => rule(part, "Exists", None),
    }
}

/// A key: letters, digits and `-_./`.
fn word(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("a key is missing".to_owned());
    }
    value(text)
}

/// A value, which may be empty.
fn value(text: &str) -> Result<String, String> {
    let text = text.trim();
    let strange = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "-_./".contains(*c)));
    strange.map_or_else(|| Ok(text.to_owned()), |c| Err(format!("found '{c}', expected: ',' or 'end of string'")))
}

/// All that it asks for, by key; nothing where it asks for nothing.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.match_labels.iter().flatten().map(|(key, value)| (key, format!("{key}={value}")));
        let rules = self.match_expressions.iter().flatten().map(|rule| (&rule.key, rule.to_string()));
        let mut all: Vec<(&String, String)> = labels.chain(rules).collect();
        all.sort_by_key(|(key, _)| key.as_str());
        let all: Vec<String> = all.into_iter().map(|(_, text)| text).collect();
        f.pad(&all.join(","))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut values = self.values.clone().unwrap_or_default();
        values.sort();
        let (key, values) = (&self.key, values.join(","));
        match self.operator.as_str() {
            "In" => write!(f, "{key} in ({values})"),
            "NotIn" => write!(f, "{key} notin ({values})"),
            "Exists" => f.write_str(key),
            "DoesNotExist" => write!(f, "!{key}"),
            other => write!(f, "{key} {other} ({values})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_read_and_shown_by_key() {
        let rows = [
            ("app=web", r#"{"matchLabels":{"app":"web"}}"#, "app=web"),
            ("tier==a, app=web", r#"{"matchLabels":{"app":"web","tier":"a"}}"#, "app=web,tier=a"),
            ("x!=y", r#"{"matchExpressions":[{"key":"x","operator":"NotIn","values":["y"]}]}"#, "x notin (y)"),
            ("!x", r#"{"matchExpressions":[{"key":"x","operator":"DoesNotExist"}]}"#, "!x"),
            ("a.b/c", r#"{"matchExpressions":[{"key":"a.b/c","operator":"Exists"}]}"#, "a.b/c"),
            (
                "z in (b,a),y notin (c),k=",
                r#"{"matchExpressions":[{"key":"z","operator":"In","values":["b","a"]},{"key":"y","operator":"NotIn","values":["c"]}],"matchLabels":{"k":""}}"#,
                "k=,y notin (c),z in (a,b)",
            ),
            ("", "{}", ""),
        ];
        for (typed, object, shown) in rows {
            let selector: LabelSelector = typed.parse().unwrap();
            assert_eq!(serde_json::to_string(&selector).unwrap(), object, "{typed}");
            assert_eq!(selector.to_string(), shown, "{typed}");
        }
    }

    #[test]
    fn what_is_no_selector_is_quoted() {
        let why = |text: &str| text.parse::<LabelSelector>().unwrap_err().to_string();
        let expected = r#"couldn't parse the selector string "a=b=c": found '=', expected: ',' or 'end of string'"#;
        assert_eq!(why("a=b=c"), expected);
        assert_eq!(why("a=b,,c"), r#"couldn't parse the selector string "a=b,,c": a key is missing"#);
        assert!(why("a near (b)").ends_with("found 'near', expected: in, notin"));
        assert!(why("a b").ends_with("found ' ', expected: ',' or 'end of string'"));
    }
}
