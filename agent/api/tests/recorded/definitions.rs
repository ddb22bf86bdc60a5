//! The `CustomResourceDefinitions` equal those of stock Velero 1.18, field by field, but for their descriptions.

use std::{collections::BTreeMap, fs};

use serde_json::Value;
use trysail_api::crds;

use super::golden;

/// What may differ: the path, and why.
const ALLOWED: [(&str, &str); 2] = [
    ("metadata.annotations", "stock names the version of the program that made its definitions; it did not make ours"),
    (
        "metadata.creationTimestamp",
        "a null that Go writes for a time that it does not know; the API server sets the field",
    ),
];

/// Definitions by name, each as its fields by path, without descriptions.
type Fields = BTreeMap<String, BTreeMap<String, Value>>;

#[test]
fn definitions_equal_those_of_stock_velero_field_by_field() {
    let Some(golden) = golden() else { return };
    let text = fs::read_to_string(golden.join("install/crds-1.18.yaml")).unwrap();
    let stock: Value = serde_saphyr::from_str(&text).unwrap();
    let ours = crds::list(&crds::velero().unwrap()).unwrap();
    let (stock, ours) = (fields(&stock), fields(&ours));
    assert_eq!(stock.len(), 13, "definitions in the recording");
    let names = |fields: &Fields| fields.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&stock));
    let mut differences = Vec::new();
    for (name, stock) in &stock {
        let ours = &ours[name];
        let mut paths: Vec<&String> = stock.keys().chain(ours.keys()).collect();
        paths.sort();
        paths.dedup();
        for path in paths.into_iter().filter(|path| stock.get(*path) != ours.get(*path)) {
            differences.push(format!("{name} {path}: stock {:?}, ours {:?}", stock.get(path), ours.get(path)));
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// A difference that no definition has any more must leave the list.
#[test]
fn every_allowed_difference_exists() {
    let Some(golden) = golden() else { return };
    let text = fs::read_to_string(golden.join("install/crds-1.18.yaml")).unwrap();
    let stock: Value = serde_saphyr::from_str(&text).unwrap();
    for (path, why) in ALLOWED {
        let mut at = &stock["items"][0];
        let parts: Vec<&str> = path.split('.').collect();
        for part in &parts {
            at = at.get(part).unwrap_or_else(|| panic!("stock has no {path} ({why})"));
        }
    }
}

#[test]
fn the_order_is_that_of_stock_velero() {
    let Some(golden) = golden() else { return };
    let text = fs::read_to_string(golden.join("install/crds-1.18.yaml")).unwrap();
    let stock: Value = serde_saphyr::from_str(&text).unwrap();
    let ours = crds::list(&crds::velero().unwrap()).unwrap();
    let names = |list: &Value| -> Vec<String> {
        list["items"].as_array().unwrap().iter().map(|crd| crd["metadata"]["name"].to_string()).collect()
    };
    assert_eq!(names(&ours), names(&stock));
}

fn fields(list: &Value) -> Fields {
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|crd| {
            let mut fields = BTreeMap::new();
            flatten(crd, "", &mut fields);
            (crd["metadata"]["name"].as_str().unwrap().to_owned(), fields)
        })
        .collect()
}

/// Puts all leaves of a value below their paths. Empty objects and lists are leaves; descriptions of schemas and columns are
/// none.
fn flatten(value: &Value, path: &str, into: &mut BTreeMap<String, Value>) {
    if ALLOWED.iter().any(|(allowed, _)| *allowed == path) {
        return;
    }
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                // A property may be called `description`; then it is a schema and no text.
                if key != "description" || !value.is_string() {
                    flatten(value, &below(key), into);
                }
            }
        }
        Value::Array(list) if !list.is_empty() => {
            list.iter().enumerate().for_each(|(at, value)| flatten(value, &below(&at.to_string()), into));
        }
        leaf => {
            into.insert(path.to_owned(), leaf.clone());
        }
    }
}
