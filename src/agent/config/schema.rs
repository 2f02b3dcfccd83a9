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

/// What an editor may offer at each place.
fn examples() -> [(&'static str, Value); 15] {
    [
        (
            "/properties/stores",
            json!({ "vault": { "kind": "vault", "address": "https://vault.internal:8200", "login": { "kubernetes": { "role": "orders" } } } }),
        ),
        (
            "/properties/stores/additionalProperties/properties/login",
            json!({ "kubernetes": { "role": "orders" } }),
        ),
        ("/properties/secrets", json!({ "db": { "from": "vault:database/creds/orders" } })),
        (
            "/properties/secrets/additionalProperties/properties/from",
            json!("vault:secret/data/stripe#api_key"),
        ),
        (
            "/properties/secrets/additionalProperties/properties/with",
            json!({ "common_name": "orders.svc", "ttl": "24h" }),
        ),
        ("/properties/secrets/additionalProperties/properties/refresh", json!("5m")),
        (
            "/properties/files",
            json!({ "app.env": { "format": "dotenv", "from": { "DB_USER": "db.username" } } }),
        ),
        (
            "/properties/files/additionalProperties/properties/from",
            json!(["tls.private_key", "tls.certificate", "tls.ca_chain?"]),
        ),
        ("/properties/files/additionalProperties/properties/mode", json!("0440")),
        ("/properties/env", json!({ "STRIPE_KEY": "stripe.api_key" })),
        ("/properties/volume", json!({ "path": "/run/secrets/sidekey", "size": "4MiB" })),
        ("/properties/state", json!({ "path": "/run/sidekey" })),
        (
            "/properties/on_change",
            json!([{ "http": { "url": "http://127.0.0.1:8080/-/reload" }, "confirm": { "status": 200 } }]),
        ),
        ("/properties/when_down", json!({ "serve_stale_for": "12h", "then": "keep" })),
        ("/properties/health", json!({ "listen": "127.0.0.1:8087" })),
    ]
}

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
    for (place, example) in examples() {
        if let Some(there) = schema.pointer_mut(place).and_then(Value::as_object_mut) {
            there.insert("examples".into(), json!([example]));
        }
    }
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
    fn examples_stand_where_the_schema_has_a_place_for_them() {
        let schema = schema();
        for (place, example) in examples() {
            let there = schema.pointer(place).unwrap_or_else(|| panic!("no {place}"));
            assert_eq!(there["examples"], json!([example]), "{place}");
        }
    }

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
