//! Objects as bytes: the JSON that Go writes for a map, so that equal objects are equal bytes, here and in Velero.

use serde_json::Value;

/// One line of JSON: keys sorted by bytes, no spaces, and `<`, `>`, `&`, U+2028 and U+2029 escaped.
///
/// Source: Go encoding/json, `Marshal` of a map.
///
/// # Errors
/// None that is known: a value of JSON can be written as JSON.
pub(crate) fn canonical(mut object: Value) -> serde_json::Result<Vec<u8>> {
    object.sort_all_objects();
    let plain = serde_json::to_string(&object)?;
    let mut escaped = String::with_capacity(plain.len());
    // Outside of strings JSON has none of these characters, so all of them may be escaped.
    for character in plain.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => escaped.extend(escape(character)),
            other => escaped.push(other),
        }
    }
    Ok(escaped.into_bytes())
}

/// The six characters `\u` and four digits. All that are escaped are below U+10000.
fn escape(character: char) -> impl Iterator<Item = char> {
    let digits = [12, 8, 4, 0].map(|shift| char::from_digit((u32::from(character) >> shift) & 0xf, 16).unwrap_or('0'));
    ['\\', 'u'].into_iter().chain(digits)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_and_signs_of_markup_are_escaped() {
        let object =
            json!({"b": [1, 1.5, null, true], "a": {"y": "<&>\u{2028}\u{e4}\"\\\n", "x": -9_007_199_254_740_993_i64}});
        let expected = "{\"a\":{\"x\":-9007199254740993,\"y\":\"\\u003c\\u0026\\u003e\\u2028\u{e4}\\\"\\\\\\n\"},\"b\":[1,1.5,null,true]}";
        assert_eq!(String::from_utf8(canonical(object).unwrap()).unwrap(), expected);
    }
}
