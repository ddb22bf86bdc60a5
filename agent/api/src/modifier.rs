//! Changes that a Restore makes to objects on their way, as a `ConfigMap` holds them: which objects, and which patches.
//!
//! The types and what is wrong with them are here. How a patch is made is decided where objects are known.
//!
//! Source: Velero 1.18 internal/resourcemodifiers.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::selector::LabelSelector;

/// The only version of the format.
const VERSION: &str = "v1";

/// Why rules cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not YAML, a value of another type, or a key that is not known; the text names it.
    #[error("failed to decode yaml data into resource modifiers: {why}")]
    Yaml {
        /// Where and what.
        why: String,
    },
    /// A version that is not known.
    #[error("unsupported resource modifier version {found}")]
    Version {
        /// What the rules say.
        found: String,
    },
    /// A `ConfigMap` has exactly one key with rules.
    #[error("illegal resource modifiers {name}/{namespace} configmap: {count} keys instead of one")]
    Keys {
        /// Name of the `ConfigMap`.
        name: String,
        /// Its namespace.
        namespace: String,
        /// Its keys.
        count: usize,
    },
    /// A rule that no object can meet, or that says nothing.
    #[error("resourceModifierRules[{at}].{field}: {why}")]
    Rule {
        /// Its place in the list, from 0.
        at: usize,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// All rules; every one that an object meets changes it, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Modifiers {
    /// Version of the format.
    #[serde(default)]
    pub version: String,
    /// The rules.
    #[serde(default)]
    pub resource_modifier_rules: Vec<Rule>,
}

/// What is changed of which objects.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// All of them must hold.
    pub conditions: Conditions,
    /// Operations of RFC 6902, which are made all or not at all.
    #[serde(default)]
    pub patches: Vec<Operation>,
    /// Patches of RFC 7386.
    #[serde(default)]
    pub merge_patches: Vec<Patch>,
    /// Patches that know which lists of Kubernetes have keys.
    #[serde(default)]
    pub strategic_patches: Vec<Patch>,
}

/// What an object must be, as it was saved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Conditions {
    /// A pattern of its kind, such as `deployments.apps`.
    #[serde(default)]
    pub group_resource: String,
    /// Namespaces, or patterns of them; any where there are none.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// A regular expression that its name contains.
    #[serde(default)]
    pub resource_name_regex: String,
    /// Its labels.
    pub label_selector: Option<LabelSelector>,
    /// Values that it has.
    #[serde(default)]
    pub matches: Vec<Match>,
}

/// A value at a place.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// The place, as RFC 6901 writes it.
    pub path: String,
    /// What stands there, as [`value`] reads it.
    #[serde(default)]
    pub value: String,
}

/// One operation of RFC 6902.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// `add`, `remove`, `replace`, `move`, `copy` or `test`.
    pub operation: String,
    /// From where `move` and `copy` take.
    #[serde(default)]
    pub from: String,
    /// The place.
    pub path: String,
    /// What is put there, as [`value`] reads it.
    #[serde(default)]
    pub value: String,
}

/// A patch as text, in YAML or JSON.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Patch {
    /// The text.
    pub patch_data: String,
}

/// Operations that there are. Source: RFC 6902 §4.
const OPERATIONS: [&str; 6] = ["add", "remove", "replace", "move", "copy", "test"];

impl Modifiers {
    /// Reads the rules of a `ConfigMap`.
    ///
    /// # Errors
    /// More or fewer than one key, and all that [`Modifiers::parse`] refuses.
    pub fn of_config_map(namespace: &str, name: &str, data: &BTreeMap<String, String>) -> Result<Self, Error> {
        let mut texts = data.values();
        match (texts.next(), texts.next()) {
            (Some(text), None) => Self::parse(text),
            _ => Err(Error::Keys { name: name.to_owned(), namespace: namespace.to_owned(), count: data.len() }),
        }
    }

    /// Reads rules.
    ///
    /// # Errors
    /// What is not YAML, keys that are not known, another version, a rule of no kind, with no patch or several sorts of them.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let modifiers: Self = serde_saphyr::from_str(text).map_err(|e| Error::Yaml { why: e.to_string() })?;
        if modifiers.version != VERSION {
            return Err(Error::Version { found: modifiers.version });
        }
        modifiers.resource_modifier_rules.iter().enumerate().try_for_each(|(at, rule)| rule.check(at))?;
        Ok(modifiers)
    }
}

impl Rule {
    fn check(&self, at: usize) -> Result<(), Error> {
        let refuse = |field, why: &str| Err(Error::Rule { at, field, why: why.to_owned() });
        if self.conditions.group_resource.is_empty() {
            return refuse("conditions.groupResource", "groupResource cannot be empty");
        }
        let sorts = [self.patches.is_empty(), self.merge_patches.is_empty(), self.strategic_patches.is_empty()];
        if sorts.iter().filter(|is_empty| !**is_empty).count() > 1 {
            return refuse("patches", "only one of patches, mergePatches, strategicPatches can be specified");
        }
        let is_known = |operation: &Operation| OPERATIONS.contains(&operation.operation.as_str());
        match self.patches.iter().find(|operation| !is_known(operation)) {
            Some(unknown) => refuse("patches.operation", &format!("unsupported operation {}", unknown.operation)),
            None => Ok(()),
        }
    }
}

impl Patch {
    /// The patch as a value.
    ///
    /// # Errors
    /// It is neither YAML nor JSON.
    pub fn value(&self) -> Result<Value, String> {
        serde_saphyr::from_str(&self.patch_data).map_err(|error| error.to_string())
    }
}

/// A value as people write it into a string: `null`, `true`, numbers, objects and lists are what they look like, and so is
/// a text in quotes; anything else is a text.
///
/// Source: Velero `internal/resourcemodifiers/json_patch.go`, `addQuotes`. There a text in quotes is an error; here it is the
/// way to write the text `1`.
pub fn value(text: &str) -> Value {
    match text.to_lowercase().as_str() {
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    let looks_like_json = text == "null" || text.starts_with(['{', '[', '"']) || text.parse::<f64>().is_ok();
    let parsed = if looks_like_json { serde_json::from_str(text).ok() } else { None };
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RULES: &str = r#"
version: v1
resourceModifierRules:
- conditions:
    groupResource: persistentvolumeclaims
    resourceNameRegex: "^mysql.*$"
    namespaces: [bar, foo]
    labelSelector:
      matchLabels: {foo: bar}
    matches:
    - {path: /spec/storageClassName, value: standard}
  patches:
  - {operation: replace, path: /spec/storageClassName, value: premium}
- conditions: {groupResource: pods}
  mergePatches:
  - patchData: |
      {"metadata": {"annotations": {"foo": null}}}
"#;

    #[test]
    fn rules_are_read_as_people_write_them() {
        let rules = Modifiers::parse(RULES).unwrap().resource_modifier_rules;
        assert_eq!(rules[0].conditions.namespaces, ["bar", "foo"]);
        let operation = Operation {
            operation: "replace".to_owned(),
            from: String::new(),
            path: "/spec/storageClassName".to_owned(),
            value: "premium".to_owned(),
        };
        assert_eq!(rules[0].patches, [operation]);
        assert_eq!(rules[1].merge_patches[0].value(), Ok(json!({"metadata": {"annotations": {"foo": null}}})));
    }

    #[test]
    fn rules_that_say_nothing_are_refused_by_name() {
        let rule = |rest: &str| format!("version: v1\nresourceModifierRules:\n- {rest}\n");
        let rows = [
            ("version: v2\n".to_owned(), "unsupported resource modifier version v2"),
            (
                rule("conditions: {}"),
                "resourceModifierRules[0].conditions.groupResource: groupResource cannot be empty",
            ),
            (
                rule("{conditions: {groupResource: a}, patches: [{operation: put, path: /a}]}"),
                "resourceModifierRules[0].patches.operation: unsupported operation put",
            ),
            (
                rule(
                    "{conditions: {groupResource: a}, mergePatches: [{patchData: a}], strategicPatches: [{patchData: a}]}",
                ),
                "resourceModifierRules[0].patches: only one of patches, mergePatches, strategicPatches can be specified",
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(Modifiers::parse(&text).unwrap_err().to_string(), expected);
        }
        assert!(matches!(Modifiers::parse("version: v1\nrules: []\n"), Err(Error::Yaml { .. })));
    }

    #[test]
    fn a_value_is_what_it_looks_like() {
        let texts = ["", "null", "True", "1", "-2.5", "[1]", "{\"a\":1}", "\"1\"", "1Gi", "{broken", "nan"];
        let expected = json!(["", null, true, 1, -2.5, [1], {"a": 1}, "1", "1Gi", "{broken", "nan"]);
        assert_eq!(Value::Array(texts.map(value).to_vec()), expected);
    }
}
