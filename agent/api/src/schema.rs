//! From the schema that schemars derives to the structural schema that a `CustomResourceDefinition` holds.
//!
//! Go and Rust differ in what is optional: a Go field may be absent and yet not be null. So `Option` says only that a
//! field may be absent here, and a field that may be null says `nullable` in an attribute of its own.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// Formats that the API server knows; a Go `int` has none, so schemars' `int32` is dropped.
const FORMATS: [&str; 3] = ["int64", "byte", "date-time"];

/// The schema of a kind with its spec and status.
pub(crate) fn root<Spec: JsonSchema, Status: JsonSchema>(about: &str) -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
        settings.transforms.clear();
    });
    let mut generator = settings.into_generator();
    json!({
        "description": about,
        "type": "object",
        "properties": {
            "apiVersion": { "type": "string", "description": "Group and version of the kind." },
            "kind": { "type": "string", "description": "The kind." },
            "metadata": { "type": "object" },
            "spec": part::<Spec>(&mut generator),
            "status": part::<Status>(&mut generator),
        },
    })
}

fn part<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    let mut schema = T::json_schema(generator).to_value();
    structural(&mut schema);
    schema
}

/// Makes a schema structural, with all schemas below it.
fn structural(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    unwrap_optional(object);
    object.remove("title");
    if object.get("format").and_then(Value::as_str).is_some_and(|format| !FORMATS.contains(&format)) {
        object.remove("format");
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(structural);
    }
    for below in ["items", "additionalProperties"] {
        if let Some(schema) = object.get_mut(below) {
            structural(schema);
        }
    }
}

/// Takes back what `Option` adds: the type `null`, the value `null`, or the choice between null and another schema.
fn unwrap_optional(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    let Some(Value::Array(choices)) = object.remove("anyOf") else { return };
    for choice in choices {
        let Value::Object(choice) = choice else { continue };
        if choice.get("type").is_none_or(|name| name != "null") {
            for (key, value) in choice {
                object.entry(key).or_insert(value);
            }
        }
    }
}
