//! The config's JSON Schema, for editors: what [`super::raw`] says, and the words that may stand where
//! only a few may.

use serde_json::{Value, json};

use super::decode::{Decode, Named, variable};
use super::raw::{RawConfig, RawReference};

/// Where only these words may stand.
const WORDS: [(&str, &[&str]); 10] = [
    ("/properties/stores/additionalProperties/properties/kind", &["vault", "local", "aws"]),
    ("/properties/secrets/additionalProperties/properties/engine", &["kv1", "kv2", "raw"]),
    ("/properties/secrets/additionalProperties/properties/on_delete", &["keep", "remove", "fail"]),
    (
        "/properties/files/additionalProperties/properties/format",
        &["raw", "json", "yaml", "dotenv", "properties", "shell", "pkcs12"],
    ),
    ("/properties/files/additionalProperties/properties/decode", &["base64"]),
    ("/properties/volume/properties/allow/items", &["persistent", "swap"]),
    ("/properties/volumes/additionalProperties/properties/allow/items", &["persistent", "swap"]),
    ("/properties/state/properties/allow/items", &["persistent"]),
    ("/properties/when_down/properties/then", &["keep", "unready", "exit"]),
    (
        "/properties/on_change/items/properties/confirm/properties/otherwise",
        &["report", "roll_back", "restart"],
    ),
];

/// A JSON Schema (draft 2020-12) of the config.
pub fn schema() -> Value {
    let mut schema = RawConfig::schema();
    for (place, words) in WORDS {
        put(&mut schema, place, json!({ "anyOf": [{ "enum": words }, variable()] }));
    }
    put(
        &mut schema,
        "/properties/secrets/additionalProperties/properties/from",
        json!({ "anyOf": [{ "type": "string" }, RawReference::schema()] }),
    );
    let text = String::schema();
    put(
        &mut schema,
        "/properties/files/additionalProperties/properties/from",
        json!({ "anyOf": [text, { "type": "array", "items": text }, Named::<String>::schema()] }),
    );
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        schema.insert("title".into(), "Sidekey".into());
    }
    schema
}

/// Says more of what may stand at `place`; its description stays.
fn put(schema: &mut Value, place: &str, more: Value) {
    let there = schema.pointer_mut(place).and_then(Value::as_object_mut);
    debug_assert!(there.is_some(), "no {place}");
    if let (Some(there), Value::Object(more)) = (there, more) {
        there.remove("type");
        there.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_where_the_schema_has_a_place_for_them() {
        let schema = schema();
        for (place, words) in WORDS {
            let there = schema.pointer(place).unwrap_or_else(|| panic!("no {place}"));
            assert_eq!(there["anyOf"][0]["enum"], json!(words), "{place}");
            assert!(place.ends_with("items") || there["description"].is_string(), "{place}");
        }
    }
}
