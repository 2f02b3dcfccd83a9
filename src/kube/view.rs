//! A node as plain JSON, as `kubectl` would send it: aliases and merge keys resolved, plain words and
//! numbers by the rules of YAML 1.1.

use serde_json::{Map, Value};

use super::yaml::{Kind, Node, Style};

/// Values that one view may have, aliases expanded.
const MAX_VALUES: usize = 200_000;

/// The view of a node; nothing if it grows beyond all measure, or a key is no text or stands twice.
pub(super) fn of(node: &Node) -> Option<Value> {
    let mut left = MAX_VALUES;
    value(node, &mut left)
}

fn value(node: &Node, left: &mut usize) -> Option<Value> {
    *left = left.checked_sub(1)?;
    match &node.kind {
        Kind::Alias(target) => value(target, left),
        Kind::Scalar { text, style: Style::Plain } => Some(plain(text)),
        Kind::Scalar { text, .. } => Some(Value::String(text.clone())),
        Kind::List { items, .. } => {
            items.iter().map(|item| value(item, left)).collect::<Option<Vec<_>>>().map(Value::Array)
        }
        Kind::Map { entries, .. } => {
            let mut map = Map::new();
            for (key, node) in entries.iter().filter(|(key, _)| key.text() != Some("<<")) {
                let before = map.insert(key.text()?.to_owned(), value(node, left)?);
                if before.is_some() {
                    return None;
                }
            }
            for (_, merged) in entries.iter().filter(|(key, _)| key.text() == Some("<<")) {
                merge(&mut map, merged.meant(), left)?;
            }
            Some(Value::Object(map))
        }
    }
}

/// What `<<` brings: what stands in the mapping itself is stronger.
fn merge(map: &mut Map<String, Value>, merged: &Node, left: &mut usize) -> Option<()> {
    match &merged.kind {
        Kind::List { items, .. } => {
            items.iter().try_for_each(|item| merge(map, item.meant(), left))
        }
        _ => {
            let Value::Object(more) = value(merged, left)? else { return Some(()) };
            for (key, value) in more {
                map.entry(key).or_insert(value);
            }
            Some(())
        }
    }
}

/// A scalar without quotes.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        _ if is_word(text, &["true", "yes", "on"]) => Value::Bool(true),
        _ if is_word(text, &["false", "no", "off"]) => Value::Bool(false),
        _ => number(text).unwrap_or_else(|| Value::String(text.to_owned())),
    }
}

/// `yes`, `Yes` and `YES`, as YAML 1.1 has them.
fn is_word(text: &str, words: &[&str]) -> bool {
    let lower = text.to_ascii_lowercase();
    let head = text.get(1..).unwrap_or_default();
    let even = text == lower || text == text.to_ascii_uppercase() || head == &lower[1..];
    text.len() > 1 && even && words.contains(&lower.as_str())
}

fn number(text: &str) -> Option<Value> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let first = digits.bytes().next()?;
    if !(first.is_ascii_digit() || first == b'.') {
        return None;
    }
    let whole = match digits.get(..2) {
        Some("0x") => i64::from_str_radix(&digits[2..], 16).ok(),
        Some("0o") => i64::from_str_radix(&digits[2..], 8).ok(),
        Some("0b") => i64::from_str_radix(&digits[2..], 2).ok(),
        _ if digits.len() > 1 && digits.starts_with('0') => i64::from_str_radix(digits, 8).ok(),
        _ => digits.replace('_', "").parse().ok(),
    };
    let float = || text.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
    match whole {
        Some(whole) => Some(Value::from(sign * whole)),
        None => float().map(Value::Number),
    }
}

/// Whether a text would be read as something else than text if it stood without quotes.
pub(super) fn needs_quotes(text: &str) -> bool {
    plain(text) != Value::String(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_scalars_are_what_kubectl_makes_of_them() {
        for (text, meant) in [
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("nO", json!("nO")),
            ("0644", json!(420)),
            ("0o17", json!(15)),
            ("0x10", json!(16)),
            ("-3", json!(-3)),
            ("1.5", json!(1.5)),
            ("1.10.1", json!("1.10.1")),
            ("4Mi", json!("4Mi")),
            ("~", Value::Null),
            ("09", json!(9.0)),
            ("a", json!("a")),
        ] {
            assert_eq!(plain(text), meant, "{text}");
        }
    }

    #[test]
    fn a_merge_key_brings_what_is_not_there() {
        let text = "base: &b { a: 1, b: 2 }\nmap:\n  <<: *b\n  b: 3\n";
        let roots = super::super::yaml::parse(text).unwrap();
        assert_eq!(of(&roots[0]).unwrap()["map"], json!({ "a": 1, "b": 3 }));
    }
}
