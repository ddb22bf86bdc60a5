//! Places in an object that may be anything: what is not there, or is not what it should be, is left alone.
//!
//! Indexing a value to write into it makes places that are not there, and panics where something else is.

use serde_json::{Map, Value};

/// Removes keys of the map at a pointer of RFC 6901.
pub(super) fn remove(object: &mut Value, pointer: &str, keys: &[&str]) {
    if let Some(map) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
        for key in keys {
            map.shift_remove(*key);
        }
    }
}

/// Removes the key of a map where it holds an empty map or list.
pub(super) fn remove_empty(object: &mut Value, pointer: &str, key: &str) {
    let Some(map) = object.pointer_mut(pointer).and_then(Value::as_object_mut) else { return };
    let is_empty = match map.get(key) {
        Some(Value::Object(inner)) => inner.is_empty(),
        Some(Value::Array(inner)) => inner.is_empty(),
        _ => false,
    };
    if is_empty {
        map.shift_remove(key);
    }
}

/// Sets a key of the map at a pointer, if there is one.
pub(super) fn set(object: &mut Value, pointer: &str, key: &str, value: Value) {
    if let Some(map) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
        map.insert(key.to_owned(), value);
    }
}

/// The map at a key of the map at a pointer, made where there is none; nothing where there is no place for it.
pub(super) fn map<'a>(object: &'a mut Value, pointer: &str, key: &str) -> Option<&'a mut Map<String, Value>> {
    let parent = object.pointer_mut(pointer)?.as_object_mut()?;
    let place = parent.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    place.as_object_mut()
}

/// The elements of the list at a pointer.
pub(super) fn each<'a>(object: &'a mut Value, pointer: &str) -> impl Iterator<Item = &'a mut Value> {
    object.pointer_mut(pointer).and_then(Value::as_array_mut).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_place_that_is_something_else_is_left_alone() {
        for odd in [json!(null), json!("a"), json!([1]), json!({"a": "text"}), json!({"a": null})] {
            let mut object = odd.clone();
            remove(&mut object, "/a/b", &["c"]);
            remove_empty(&mut object, "/a/b", "c");
            set(&mut object, "/a/b", "c", json!(1));
            assert_eq!(each(&mut object, "/a/b").count(), 0);
            assert_eq!(map(&mut object, "/a/b", "c"), None);
            assert_eq!(object, odd);
        }
    }

    #[test]
    fn places_that_are_there_are_changed() {
        let mut object = json!({"a": {"b": {"c": 1, "d": 2, "e": {}, "f": []}}, "l": [1, 2]});
        remove(&mut object, "/a/b", &["c", "x"]);
        remove_empty(&mut object, "/a/b", "e");
        remove_empty(&mut object, "/a/b", "f");
        remove_empty(&mut object, "/a/b", "d");
        set(&mut object, "/a", "x", json!(3));
        map(&mut object, "/a", "m").unwrap().insert("k".to_owned(), json!(4));
        each(&mut object, "/l").for_each(|element| *element = json!(0));
        assert_eq!(object, json!({"a": {"b": {"d": 2}, "x": 3, "m": {"k": 4}}, "l": [0, 0]}));
    }
}
