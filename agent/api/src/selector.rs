//! Selection of objects by their labels, as Kubernetes writes and judges it. How people type and read it is in `text`.

mod text;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

pub use self::text::ParseError;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// What labels must be. Everything that it asks for must hold; a selector that asks for nothing selects all.
///
/// Source: Kubernetes meta/v1 `LabelSelector`.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct LabelSelector {
    /// Rules for single labels.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Option<Vec<Requirement>>,
    /// Labels with the values that they must have.
    pub match_labels: Option<Labels>,
}

/// A rule for one label.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// The values of `In` and `NotIn`.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Option<Vec<String>>,
}

/// Why a selector says nothing that can be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An operator that Kubernetes does not have.
    #[error("label {key:?}: {operator:?} is not a valid label selector operator")]
    Operator {
        /// The label.
        key: String,
        /// What stands for an operator.
        operator: String,
    },
    /// `In` or `NotIn` of nothing.
    #[error("label {key:?}: for 'in', 'notin' operators, values set can't be empty")]
    NoValues {
        /// The label.
        key: String,
    },
    /// `Exists` or `DoesNotExist` with values.
    #[error("label {key:?}: values set must be empty for exists and does not exist")]
    Values {
        /// The label.
        key: String,
    },
}

impl LabelSelector {
    /// Whether labels are what they must be.
    ///
    /// # Errors
    /// A requirement that Kubernetes refuses.
    pub fn matches(&self, labels: &Labels) -> Result<bool, Error> {
        let equal = self.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
        let mut all = equal;
        // Every requirement is looked at: one that is wrong must not hide behind one that does not hold.
        for requirement in self.match_expressions.iter().flatten() {
            all &= requirement.holds(labels)?;
        }
        Ok(all)
    }

    /// Everything that Kubernetes refuses in it.
    pub fn problems(&self) -> Vec<Error> {
        let nothing = Labels::new();
        self.match_expressions.iter().flatten().filter_map(|r| r.holds(&nothing).err()).collect()
    }
}

impl Requirement {
    /// Source: k8s.io/apimachinery `labels.Requirement`: `NotIn` also holds for an object without the label.
    fn holds(&self, labels: &Labels) -> Result<bool, Error> {
        let values = self.values.as_deref().unwrap_or_default();
        let key = || self.key.clone();
        let found = labels.get(&self.key);
        match (self.operator.as_str(), values) {
            ("In" | "NotIn", []) => Err(Error::NoValues { key: key() }),
            ("In", _) => Ok(found.is_some_and(|value| values.contains(value))),
            ("NotIn", _) => Ok(found.is_none_or(|value| !values.contains(value))),
            ("Exists", []) => Ok(found.is_some()),
            ("DoesNotExist", []) => Ok(found.is_none()),
            ("Exists" | "DoesNotExist", _) => Err(Error::Values { key: key() }),
            (operator, _) => Err(Error::Operator { key: key(), operator: operator.to_owned() }),
        }
    }
}

/// Whether an object is selected by a Backup's or Restore's `labelSelector` and `orLabelSelectors`: by the first, or, in
/// its absence, by any of the others. Where there is neither, all objects are.
///
/// # Errors
/// A requirement that Kubernetes refuses.
pub fn selects(one: Option<&LabelSelector>, any: &[LabelSelector], labels: &Labels) -> Result<bool, Error> {
    match (one, any) {
        (Some(one), _) => one.matches(labels),
        (None, []) => Ok(true),
        (None, any) => any.iter().try_fold(false, |found, selector| Ok(found | selector.matches(labels)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        text.split_whitespace().filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    }

    fn selector(json: &str) -> LabelSelector {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_selector_asks_for_everything_that_it_says() {
        let rows = [
            ("{}", "", Ok(true)),
            (r#"{"matchLabels":{"app":"db"}}"#, "app=db tier=a", Ok(true)),
            (r#"{"matchLabels":{"app":"db"}}"#, "app=web", Ok(false)),
            (r#"{"matchExpressions":[{"key":"app","operator":"In","values":["db","web"]}]}"#, "app=web", Ok(true)),
            (r#"{"matchExpressions":[{"key":"app","operator":"In","values":["db"]}]}"#, "", Ok(false)),
            (r#"{"matchExpressions":[{"key":"app","operator":"NotIn","values":["db"]}]}"#, "", Ok(true)),
            (r#"{"matchExpressions":[{"key":"app","operator":"NotIn","values":["db"]}]}"#, "app=db", Ok(false)),
            (r#"{"matchExpressions":[{"key":"app","operator":"Exists"}]}"#, "app=", Ok(true)),
            (r#"{"matchExpressions":[{"key":"app","operator":"DoesNotExist","values":[]}]}"#, "app=", Ok(false)),
            (
                r#"{"matchLabels":{"app":"x"},"matchExpressions":[{"key":"app","operator":"In"}]}"#,
                "",
                Err(Error::NoValues { key: "app".into() }),
            ),
            (
                r#"{"matchExpressions":[{"key":"app","operator":"Exists","values":["a"]}]}"#,
                "",
                Err(Error::Values { key: "app".into() }),
            ),
            (
                r#"{"matchExpressions":[{"key":"app","operator":"in","values":["a"]}]}"#,
                "",
                Err(Error::Operator { key: "app".into(), operator: "in".into() }),
            ),
        ];
        for (json, of, expected) in rows {
            assert_eq!(selector(json).matches(&labels(of)), expected, "{json} of {of:?}");
        }
    }

    #[test]
    fn one_of_several_selectors_is_enough_and_none_selects_all() {
        let (a, b) = (selector(r#"{"matchLabels":{"a":"1"}}"#), selector(r#"{"matchLabels":{"b":"1"}}"#));
        let any = [a.clone(), b];
        let found = ["a=1", "b=1", "c=1"].map(|l| selects(None, &any, &labels(l)).unwrap());
        assert_eq!(found, [true, true, false]);
        assert_eq!(selects(None, &[], &labels("c=1")), Ok(true));
        assert_eq!(selects(Some(&a), &[], &labels("b=1")), Ok(false));
    }
}
