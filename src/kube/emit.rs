//! Values as the text of a manifest: block style as a person would write it, or JSON where the
//! surroundings are in braces.

use serde_json::{Map, Value};

use super::view;

/// The lines of a value that stands behind `key:` or `-`: of a scalar or an empty thing one, to be put
/// on the same line; of others those below, without their first indentation.
pub(super) enum Lines {
    /// On the line of its key.
    Inline(String),
    /// Below it.
    Below(Vec<String>),
    /// `|` and what comes below it.
    Literal(Vec<String>),
}

/// How far a list stands to the right of its key.
pub(super) type Dash = usize;

/// A value in block style.
pub(super) fn block(value: &Value, dash: Dash) -> Lines {
    match value {
        Value::Object(map) if !map.is_empty() => Lines::Below(
            named_first(map).flat_map(|(key, value)| entry(key, value, dash)).collect(),
        ),
        Value::Array(items) if !items.is_empty() => {
            Lines::Below(items.iter().flat_map(|value| item(value, dash)).collect())
        }
        Value::String(text) if is_literal(text) => {
            Lines::Literal(text.lines().map(str::to_owned).collect())
        }
        _ => Lines::Inline(flow(value)),
    }
}

/// `key: value`, on as many lines as it takes.
pub(super) fn entry(key: &str, value: &Value, dash: Dash) -> Vec<String> {
    let key = scalar(key);
    let deep = if value.is_array() { dash } else { 2 };
    match block(value, dash) {
        Lines::Inline(text) => vec![format!("{key}: {text}")],
        Lines::Below(lines) => below(format!("{key}:"), lines, deep),
        Lines::Literal(lines) => below(format!("{key}: |"), lines, 2),
    }
}

/// `- value`, on as many lines as it takes.
pub(super) fn item(value: &Value, dash: Dash) -> Vec<String> {
    match block(value, dash) {
        Lines::Inline(text) => vec![format!("- {text}")],
        Lines::Literal(lines) => below("- |".to_owned(), lines, 2),
        Lines::Below(lines) => {
            let lines = lines.into_iter().enumerate();
            lines.map(|(i, line)| format!("{}{line}", if i == 0 { "- " } else { "  " })).collect()
        }
    }
}

/// Entries in the order of the alphabet, after the name: that is what a reader looks for.
fn named_first(map: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let (named, others): (Vec<_>, Vec<_>) = map.iter().partition(|(key, _)| *key == "name");
    named.into_iter().chain(others)
}

fn below(first: String, lines: Vec<String>, deep: usize) -> Vec<String> {
    let lines = lines.into_iter().map(|line| format!("{}{line}", " ".repeat(deep)));
    std::iter::once(first).chain(lines).collect()
}

/// Whether a text can stand below `|` and come back byte for byte.
fn is_literal(text: &str) -> bool {
    text.ends_with('\n')
        && !text.ends_with("\n\n")
        && !text.starts_with([' ', '\n'])
        && !text.contains(|c: char| c.is_control() && c != '\n')
}

/// A value on one line.
pub(super) fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let entries: Vec<String> = named_first(map)
                .map(|(key, value)| format!("{}: {}", scalar(key), flow(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

/// A text, with as few quotes as it can bear.
fn scalar(text: &str) -> String {
    let tame = |c: char| c.is_ascii_alphanumeric() || "/._-:@".contains(c);
    let bare = text.trim_start_matches("--");
    let first = bare.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '/');
    if first && text.chars().all(tame) && !text.ends_with(':') && !view::needs_quotes(text) {
        return text.to_owned();
    }
    let plain = !text.contains(|c: char| c.is_control()) && text.is_ascii();
    if plain && text.contains('"') {
        return format!("'{}'", text.replace('\'', "''"));
    }
    Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_comes_back_as_it_was() {
        for text in ["a", "yes", "0644", "", "a: b", "it's \"it\"", "tab\t", "é", "-", "x:", "10m"]
        {
            let roots = super::super::yaml::parse(&format!("k: {}\n", scalar(text))).unwrap();
            let back = view::of(&roots[0]).unwrap();
            assert_eq!(back["k"], json!(text), "{}", scalar(text));
        }
    }

    #[test]
    fn blocks_are_written_as_a_person_would() {
        let value = json!({ "a": [{ "b": 1, "c": ["x"] }], "d": "one\ntwo\n" });
        let Lines::Below(lines) = block(&value, 2) else { panic!() };
        let text = lines.join("\n");
        assert_eq!(text, "a:\n  - b: 1\n    c:\n      - x\nd: |\n  one\n  two");
        assert_eq!(view::of(&super::super::yaml::parse(&text).unwrap()[0]).unwrap(), value);
    }
}
