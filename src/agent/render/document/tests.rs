//! What JSON and YAML readers get back.

use proptest::prelude::*;

use crate::agent::config::{Content, Format};
use crate::agent::render::testing::{Vault, entries, file, map, part, text};

fn yaml_of(value: &str) -> String {
    let vault = Vault::of([("db", map([("x", text(value.as_bytes()))]))]);
    vault.show(entries(Format::Yaml, &[("key", "db.x")])).unwrap()
}

fn read_yaml(yaml: &str) -> std::collections::BTreeMap<String, serde_json::Value> {
    serde_saphyr::from_str(yaml).unwrap()
}

#[test]
fn text_stays_text_in_yaml() {
    for text in [
        "",
        " ",
        "yes",
        "NO",
        "on",
        "null",
        "~",
        "true",
        "0644",
        "0o17",
        "0x1F",
        "1e3",
        "1_000",
        ".inf",
        "12:30:45",
        "2026-11-24",
        "- a",
        "a: b",
        "#x",
        "'",
        "\"",
        "\\",
        "\\n",
        "a\nb\n",
        "a\r\nb",
        "\t",
        " lead",
        "trail ",
        "{a}",
        "[b]",
        "%x",
        "@x",
        "`x",
        "|",
        ">",
        "*a",
        "&a",
        "!t",
        "---",
        "...",
        "\0\u{1}\u{1b}\u{7f}\u{85}\u{a0}\u{2028}\u{2029}\u{feff}\u{fffe}",
        "ünïcode 😀",
        "<<",
    ] {
        assert_eq!(read_yaml(&yaml_of(text))["key"], text, "{text:?}");
    }
}

#[test]
fn keys_stay_text_in_yaml() {
    let keys = ["yes", "1", "a b", "a: b", "null", "<<", "~", "-", "", "plain_1", "ä", "a.b", "\n"];
    let vault = Vault::of([("db", map(keys.map(|key| (key, text(b"v")))))]);
    let yaml = vault.show(Content::Whole(Format::Yaml, part("db"))).unwrap();
    let back = read_yaml(&yaml);
    assert_eq!(back.len(), keys.len());
    assert!(keys.iter().all(|key| back[*key] == "v"), "{yaml}");
}

#[test]
fn nested_values_and_numbers_keep_their_shape() {
    let json = r#"{"nest":{"list":["a",1,null,true,{"k":[]}],"empty":{}},"price":1.10,"big":1E+2}"#;
    let vault = Vault::db(json);
    let yaml = vault.show(Content::Whole(Format::Yaml, part("db"))).unwrap();
    assert_eq!(
        yaml,
        "big: 1E+2\nnest: {\"empty\": {}, \"list\": [\"a\", 1, null, true, {\"k\": []}]}\nprice: 1.10\n"
    );
    let back = read_yaml(&yaml);
    assert_eq!(back["nest"]["list"][4]["k"], serde_json::json!([]));
    assert_eq!(back["price"], 1.1);
    let whole = vault.show(Content::Whole(Format::Json, part("db"))).unwrap();
    assert_eq!(
        whole,
        r#"{"big":1E+2,"nest":{"empty":{},"list":["a",1,null,true,{"k":[]}]},"price":1.10}"#
    );
}

#[test]
fn a_key_that_no_yaml_line_can_hold_is_refused() {
    let long = "k".repeat(2000);
    let vault = Vault::of([("db", map([(long.as_str(), text(b"v"))]))]);
    assert!(vault.show(Content::Whole(Format::Yaml, part("db"))).is_err());
    assert!(vault.show(Content::Whole(Format::Json, part("db"))).is_ok());
}

proptest! {
    #[test]
    fn any_text_reads_back_equal(value: String, key in "[a-zA-Z0-9_.\" \\\\é-]{0,9}") {
        let vault = Vault::of([("db", map([(key.as_str(), text(value.as_bytes()))]))]);
        let show = |format| vault.render(&file(Content::Whole(format, part("db")))).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&show(Format::Json)).unwrap();
        prop_assert_eq!(&json[&key], &value);
        let yaml = read_yaml(std::str::from_utf8(&show(Format::Yaml)).unwrap());
        prop_assert_eq!(&yaml[&key], &value);
    }
}
