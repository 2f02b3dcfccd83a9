//! The shape of a secret: a tree whose leaves are secret bytes.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::SecretBytes;

/// How deep a value may be nested. Deeper is refused, so that no answer of a store can exhaust the
/// stack; `serde_json` has the same bound.
pub const MAX_DEPTH: usize = 128;

/// A value as a store handed it out. Numbers and booleans keep their JSON text.
#[derive(Debug)]
pub enum SecretValue {
    /// Nothing: treated as missing wherever it is asked for.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as the text it was written with, so that `1.10` stays `1.10`.
    Number(SecretBytes),
    /// Text or any other bytes.
    Text(SecretBytes),
    /// An array.
    List(Vec<SecretValue>),
    /// Fields by name.
    Map(BTreeMap<String, SecretValue>),
}

/// Which part of a secret is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldPath {
    /// All of it.
    Whole,
    /// One field by its literal name, dots and slashes included.
    Field(String),
    /// A JSON pointer (RFC 6901), already split and unescaped.
    Pointer(Vec<String>),
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldPath::Whole => Ok(()),
            FieldPath::Field(field) => write!(f, ".{field}"),
            FieldPath::Pointer(parts) => parts
                .iter()
                .try_for_each(|part| write!(f, "/{}", part.replace('~', "~0").replace('/', "~1"))),
        }
    }
}

/// Why bytes are not a value. It holds positions, never the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON.
    #[error("not JSON at line {line}, column {column}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// One object has the same key twice, and readers differ in which one counts.
    #[error("an object has the same key twice")]
    DuplicateKey,
    /// Deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Bytes that are not UTF-8 cannot become JSON.
    #[error("bytes that are not UTF-8 cannot be written as JSON")]
    NotText,
}

impl SecretValue {
    /// Reads JSON, with duplicate keys refused and numbers kept as they were written.
    pub fn from_json(json: &[u8]) -> Result<SecretValue, JsonError> {
        let raw: &RawValue = serde_json::from_slice(json).map_err(|e| position(&e))?;
        SecretValue::from_raw(raw, 0)
    }

    /// As [`SecretValue::from_json`], from a part of a document that is being read already.
    pub fn from_raw_json(raw: &RawValue) -> Result<SecretValue, JsonError> {
        SecretValue::from_raw(raw, 0)
    }

    fn from_raw(raw: &RawValue, depth: usize) -> Result<SecretValue, JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        let json = raw.get();
        Ok(match json.as_bytes().first() {
            Some(b'n') => SecretValue::Null,
            Some(b't') => SecretValue::Bool(true),
            Some(b'f') => SecretValue::Bool(false),
            Some(b'"') => {
                let text: String = serde_json::from_str(json).map_err(|e| position(&e))?;
                SecretValue::Text(SecretBytes::from(text))
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(json).map_err(|e| position(&e))?;
                let items = items.into_iter().map(|item| SecretValue::from_raw(item, depth + 1));
                SecretValue::List(items.collect::<Result<_, _>>()?)
            }
            Some(b'{') => {
                let fields = serde_json::Deserializer::from_str(json)
                    .deserialize_map(UniqueKeys)
                    .map_err(|e| position(&e))?
                    .ok_or(JsonError::DuplicateKey)?;
                let fields = fields
                    .into_iter()
                    .map(|(key, raw)| Ok((key, SecretValue::from_raw(raw, depth + 1)?)));
                SecretValue::Map(fields.collect::<Result<_, _>>()?)
            }
            _ => SecretValue::Number(SecretBytes::copy_of(json.as_bytes())),
        })
    }

    /// The part that `path` names; `None` if it is missing or null.
    pub fn at(&self, path: &FieldPath) -> Option<&SecretValue> {
        let found = match (path, self) {
            (FieldPath::Whole, value) => Some(value),
            (FieldPath::Field(name), SecretValue::Map(fields)) => fields.get(name),
            (FieldPath::Field(_), _) => None,
            (FieldPath::Pointer(parts), value) => {
                parts.iter().try_fold(value, |value, part| match value {
                    SecretValue::Map(fields) => fields.get(part),
                    SecretValue::List(items) => {
                        part.parse::<usize>().ok().and_then(|i| items.get(i))
                    }
                    _ => None,
                })
            }
        };
        found.filter(|value| !matches!(value, SecretValue::Null))
    }

    /// Takes the part that `path` names and wipes the rest; `None` if it is missing or null.
    pub fn into_part(self, path: &FieldPath) -> Option<SecretValue> {
        let found = match (path, self) {
            (FieldPath::Whole, value) => Some(value),
            (FieldPath::Field(name), SecretValue::Map(mut fields)) => fields.remove(name),
            (FieldPath::Field(_), _) => None,
            (FieldPath::Pointer(parts), value) => {
                parts.iter().try_fold(value, |value, part| match value {
                    SecretValue::Map(mut fields) => fields.remove(part),
                    SecretValue::List(items) => {
                        part.parse::<usize>().ok().and_then(|i| items.into_iter().nth(i))
                    }
                    _ => None,
                })
            }
        };
        found.filter(|value| !matches!(value, SecretValue::Null))
    }

    /// Names of the fields, for error messages. Empty where there are none.
    pub fn field_names(&self) -> Vec<&str> {
        match self {
            SecretValue::Map(fields) => fields.keys().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// The bytes this value is delivered as: text unchanged, numbers and booleans as their JSON
    /// text, lists and maps as compact JSON. `Null` has none.
    pub fn to_bytes(&self) -> Result<Option<SecretBytes>, JsonError> {
        match self {
            SecretValue::Null => Ok(None),
            SecretValue::Text(bytes) | SecretValue::Number(bytes) => {
                Ok(Some(SecretBytes::copy_of(bytes.expose())))
            }
            value => value.to_json().map(Some),
        }
    }

    /// Compact JSON, keys in order.
    pub fn to_json(&self) -> Result<SecretBytes, JsonError> {
        let mut out = Vec::with_capacity(self.json_len_hint());
        self.write_json(&mut out)?;
        Ok(SecretBytes::from(out))
    }

    /// An upper guess, so that the buffer seldom grows and leaves no copies behind.
    fn json_len_hint(&self) -> usize {
        match self {
            SecretValue::Null | SecretValue::Bool(_) => 5,
            SecretValue::Number(text) => text.len(),
            SecretValue::Text(text) => 2 * text.len() + 2,
            SecretValue::List(items) => {
                2 + items.iter().map(|item| item.json_len_hint() + 1).sum::<usize>()
            }
            SecretValue::Map(fields) => {
                let fields = fields.iter();
                2 + fields.map(|(key, v)| 2 * key.len() + 4 + v.json_len_hint()).sum::<usize>()
            }
        }
    }

    fn write_json(&self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        match self {
            SecretValue::Null => out.extend(b"null"),
            SecretValue::Bool(value) => out.extend(value.to_string().as_bytes()),
            SecretValue::Number(text) => out.extend(text.expose()),
            SecretValue::Text(text) => {
                let text = std::str::from_utf8(text.expose()).map_err(|_| JsonError::NotText)?;
                write_json_string(text, out)?;
            }
            SecretValue::List(items) => {
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    item.write_json(out)?;
                }
                out.push(b']');
            }
            SecretValue::Map(fields) => {
                out.push(b'{');
                for (i, (key, value)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    write_json_string(key, out)?;
                    out.push(b':');
                    value.write_json(out)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }
}

fn write_json_string(text: &str, out: &mut Vec<u8>) -> Result<(), JsonError> {
    serde_json::to_writer(out, text).map_err(|e| position(&e))
}

/// Keeps of an error where it happened and drops the text, which may quote the secret.
fn position(error: &serde_json::Error) -> JsonError {
    JsonError::Syntax { line: error.line(), column: error.column() }
}

/// Reads an object; `None` if a key comes twice.
struct UniqueKeys;

impl<'de> Visitor<'de> for UniqueKeys {
    type Value = Option<BTreeMap<String, &'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = BTreeMap::new();
        let mut unique = true;
        while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
            unique &= fields.insert(key, value).is_none();
        }
        if fields.len() > MAX_FIELDS {
            return Err(A::Error::custom("too many fields"));
        }
        Ok(unique.then_some(fields))
    }
}

/// Fields one object may have: far above any real secret, far below what would cost memory.
const MAX_FIELDS: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> SecretValue {
        SecretValue::from_json(text.as_bytes()).unwrap()
    }

    fn delivered(value: &SecretValue) -> String {
        String::from_utf8(value.to_bytes().unwrap().unwrap().expose().to_vec()).unwrap()
    }

    #[test]
    fn numbers_keep_the_text_they_were_written_with() {
        let value = json(r#"{"n": 1.10, "big": 12345678901234567890123, "e": 1E+2}"#);
        for (field, text) in [("n", "1.10"), ("big", "12345678901234567890123"), ("e", "1E+2")] {
            assert_eq!(delivered(value.at(&FieldPath::Field(field.into())).unwrap()), text);
        }
    }

    #[test]
    fn objects_are_delivered_as_compact_json_with_the_keys_in_order() {
        let value = json(r#" { "b" : [ 1 , true , null ] , "a" : "x\ny\u0041" } "#);
        assert_eq!(delivered(&value), r#"{"a":"x\nyA","b":[1,true,null]}"#);
    }

    #[test]
    fn null_is_missing() {
        let value = json(r#"{"a": null, "b": {"c": null}}"#);
        assert!(value.at(&FieldPath::Field("a".into())).is_none());
        assert!(value.at(&FieldPath::Pointer(vec!["b".into(), "c".into()])).is_none());
    }

    #[test]
    fn pointers_walk_objects_and_arrays() {
        let value = json(r#"{"a": {"b": ["x", {"c/d": "deep"}]}}"#);
        let path = FieldPath::Pointer(["a", "b", "1", "c/d"].map(str::to_owned).to_vec());
        assert_eq!(delivered(value.at(&path).unwrap()), "deep");
        assert_eq!(path.to_string(), "/a/b/1/c~1d");
    }

    #[test]
    fn a_part_can_be_taken_out_as_it_can_be_looked_at() {
        let text = r#"{"a": {"b": ["x", {"c": "deep"}], "n": null}, "p.q": "dotted"}"#;
        let pointer = |parts: &[&str]| {
            FieldPath::Pointer(parts.iter().map(|&part| part.to_owned()).collect())
        };
        for path in [
            FieldPath::Whole,
            FieldPath::Field("p.q".into()),
            FieldPath::Field("absent".into()),
            pointer(&["a", "b", "1", "c"]),
            pointer(&["a", "n"]),
            pointer(&["a", "b", "9"]),
        ] {
            let seen = json(text).at(&path).map(delivered);
            assert_eq!(json(text).into_part(&path).as_ref().map(delivered), seen, "{path}");
        }
    }

    #[test]
    fn a_key_that_comes_twice_is_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":2}"#, r#"[{"x":{"a":1,"a":1}}]"#] {
            assert_eq!(
                SecretValue::from_json(text.as_bytes()).unwrap_err(),
                JsonError::DuplicateKey
            );
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(SecretValue::from_json(deep(100).as_bytes()).is_ok());
        assert!(SecretValue::from_json(deep(100_000).as_bytes()).is_err());
    }

    #[test]
    fn errors_hold_a_position_and_no_text() {
        let error = SecretValue::from_json(b"{\"password\": \"hunter2\" oops}").unwrap_err();
        assert_eq!(error.to_string(), "not JSON at line 1, column 24");
    }
}
