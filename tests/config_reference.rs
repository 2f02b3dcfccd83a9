//! The config reference in the docs is what the types say: their doc comments, key by key.
//!
//! `SIDEKEY_TEST_WRITE=1 cargo test --test config_reference` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;
use std::path::Path;

/// What a user may write at one place.
struct Record {
    name: String,
    keys: Vec<Key>,
}

struct Key {
    doc: String,
    name: String,
    kind: String,
}

/// The records of `raw.rs`, in their order.
fn records(source: &str) -> Vec<Record> {
    let (mut records, mut doc): (Vec<Record>, Vec<String>) = (Vec::new(), Vec::new());
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            doc.push(text.to_owned());
        } else if let Some(head) = line.strip_suffix(" {").filter(|head| head.starts_with('"')) {
            let name = head.rsplit(' ').next().unwrap().to_owned();
            records.push(Record { name, keys: Vec::new() });
            doc.clear();
        } else if let Some((name, kind)) = line.strip_suffix(',').and_then(|l| l.split_once(": ")) {
            let key = Key { doc: doc.join(" "), name: name.into(), kind: kind.into() };
            records.last_mut().unwrap().keys.push(key);
            doc.clear();
        }
    }
    records
}

/// The type in a user's words, and the record it leads to.
fn words(kind: &str) -> (String, Option<&str>) {
    let inner = |prefix: &str| kind.strip_prefix(prefix)?.strip_suffix('>');
    if let Some(inner) = inner("Named<") {
        let (word, record) = words(inner);
        return (format!("names, each with {word}"), record);
    }
    if let Some(inner) = inner("Vec<At<").and_then(|inner| inner.strip_suffix('>')) {
        let (word, record) = words(inner);
        return (format!("list of {word}"), record);
    }
    let word = match kind {
        "String" => "text",
        "bool" => "`true` or `false`",
        "u32" => "number",
        "Span" => "duration: `500ms`, `30s`, `5m`, `1h30m`",
        "Size" => "size: `4MiB`, `512KiB`",
        "Mode" => "mode: `\"0440\"`",
        "Node" => "see right",
        record if record.starts_with("Raw") => return ("keys, below".into(), Some(record)),
        other => panic!("no words for {other}"),
    };
    (word.to_owned(), None)
}

/// Writes a record's table, and then those that it leads to.
fn write(out: &mut String, records: &[Record], record: &Record, place: &str, level: usize) {
    out.push_str("| key | is | means |\n| --- | --- | --- |\n");
    for key in &record.keys {
        let (kind, doc) = (words(&key.kind).0, key.doc.replace('|', "\\|"));
        writeln!(out, "| `{}` | {kind} | {doc} |", key.name).unwrap();
    }
    for key in &record.keys {
        let (_, Some(inner)) = words(&key.kind) else { continue };
        let named = if key.kind.starts_with("Named<") { ".NAME" } else { "" };
        let list = if key.kind.starts_with("Vec<") { "[]" } else { "" };
        let place = format!("{place}{}{named}{list}", key.name);
        let inner = records.iter().find(|record| record.name == inner).unwrap();
        write!(out, "\n{} `{place}`\n\n{}\n\n", "#".repeat(level), key.doc).unwrap();
        write(out, records, inner, &format!("{place}."), (level + 1).min(4));
    }
}

const HEAD: &str = "# The config, key by key

Written by a test from the doc comments of the types that read the config (`src/agent/config/raw.rs`); `sidekey check --schema` has the
same for editors. Put this on the first line of a config, and an editor with a YAML language server completes and checks it:

```yaml
# yaml-language-server: $schema=./sidekey.schema.json
```

Every key may be left out unless its words say otherwise; an unknown one is an error that names the nearest known one. `${NAME}` and
`${NAME:-default}` in a text are replaced from the environment (not in `template`), `$$` is a dollar.

";

#[test]
fn the_config_reference_says_what_the_types_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(root.join("src/agent/config/raw.rs")).unwrap();
    let records = records(&source);
    assert!(records.len() > 20 && records[0].name == "RawConfig", "{}", records.len());
    let mut page = HEAD.to_owned();
    write(&mut page, &records, &records[0], "", 2);
    let path = root.join("docs/config.md");
    if std::env::var_os("SIDEKEY_TEST_WRITE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == page,
        "docs/config.md is out of date: SIDEKEY_TEST_WRITE=1 cargo test --test config_reference"
    );
    for key in records.iter().flat_map(|record| &record.keys) {
        assert!(!key.doc.is_empty(), "`{}` is not explained", key.name);
    }
}
