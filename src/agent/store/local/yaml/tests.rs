//! What is read, what is refused where, and that writing and reading agree.

use proptest::prelude::*;

use super::*;
use crate::secret::FieldPath;

fn shown(entries: &Entries) -> String {
    let texts = entries.iter().map(|(name, value)| format!("{name}={}", show(value)));
    texts.collect::<Vec<_>>().join(" ")
}

fn show(value: &SecretValue) -> String {
    let text = |bytes: &SecretBytes| String::from_utf8_lossy(bytes.expose()).into_owned();
    match value {
        SecretValue::Null => "null".into(),
        SecretValue::Bool(flag) => format!("bool:{flag}"),
        SecretValue::Number(bytes) => format!("number:{}", text(bytes)),
        SecretValue::Text(bytes) => format!("{:?}", text(bytes)),
        SecretValue::List(items) => format!("{:?}", items.iter().map(show).collect::<Vec<_>>()),
        SecretValue::Map(fields) => format!("{{{}}}", shown(fields)),
    }
}

#[test]
fn scalars_follow_the_core_schema_and_keep_their_text() {
    for (scalar, read) in [
        ("hunter2", "\"hunter2\""),
        ("5432", "number:5432"),
        ("-1.10", "number:-1.10"),
        ("1e3", "number:1e3"),
        ("1E+2", "number:1E+2"),
        ("true", "bool:true"),
        ("FALSE", "bool:false"),
        ("~", "null"),
        ("", "null"),
        ("Null", "null"),
        ("yes", "\"yes\""),
        ("0644", "\"0644\""),
        ("0x1F", "\"0x1F\""),
        ("0o17", "\"0o17\""),
        (".5", "\".5\""),
        ("+1", "\"+1\""),
        (".inf", "\".inf\""),
        ("1.", "\"1.\""),
        ("-", "null"),
        ("1_000", "\"1_000\""),
        ("12:30:45", "\"12:30:45\""),
        ("2026-11-24", "\"2026-11-24\""),
        ("'5432'", "\"5432\""),
        ("\"true\"", "\"true\""),
        ("!!str 5", "\"5\""),
        ("!!binary aGk=", "\"hi\""),
        ("|\n  a\n  b\n", "\"a\\nb\\n\""),
        (">-\n  a\n  b\n", "\"a b\""),
    ] {
        let Ok(entries) = parse(&format!("k: {scalar}\n")) else {
            // A lonely dash begins a list, which may not stand there.
            assert_eq!(scalar, "-");
            continue;
        };
        assert_eq!(shown(&entries), format!("k={read}"), "{scalar:?}");
    }
}

#[test]
fn entries_are_names_with_fields_or_a_value() {
    let text = "# comment\ndb:\n  user: ada\n  port: 5432\ntoken: s3cret\n? chain\n: [a, b]\n1: {x: {y: z}}\n";
    let read =
        r#"1={x={y="z"}} chain=["\"a\"", "\"b\""] db={port=number:5432 user="ada"} token="s3cret""#;
    assert_eq!(shown(&parse(text).unwrap()), read);
    for empty in ["", "# nothing\n", "{}", "---\n", "null"] {
        assert!(parse(empty).unwrap().is_empty(), "{empty:?}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_no_text() {
    for (text, fault) in [
        ("db:\n  user: [ada\n", "line 3, column 1: this is not YAML"),
        ("db:\n  user: a\n  user: b\n", "line 3, column 3: this key was there already"),
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: this key was there already"),
        ("- a\n", "line 1, column 1: this is not a mapping of names"),
        ("just text\n", "line 1, column 1: this is not a mapping of names"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: a second document begins"),
        ("a: &x 1\nb: *x\n", "line 2, column 4: aliases are not understood here"),
        ("a: !!float 1\n", "line 1, column 4: this tag means nothing here"),
        ("a: !secret x\n", "line 1, column 4: this tag means nothing here"),
        ("a: !!binary '*'\n", "line 1, column 4: this is not base64"),
        ("a: !!map {}\n", "line 1, column 4: this tag means nothing here"),
        ("? [a, b]\n: c\n", "line 1, column 3: a key must be a text on one line"),
        ("? {a: b}\n: c\n", "line 1, column 3: a key must be a text on one line"),
    ] {
        assert_eq!(parse(text).unwrap_err().sentence(), fault, "{text:?}");
    }
    let deep = format!("a: {}{}", "[".repeat(50), "]".repeat(50));
    assert!(matches!(parse(&deep), Err(YamlFault::TooDeep(_))));
}

#[test]
fn what_is_written_is_pleasant_to_edit() {
    let pem = "-----BEGIN X-----\nAAAA\n-----END X-----\n";
    let mut entries =
        parse("token: t\ndb: {password: 'hunter2', port: 5432}\nlist: [a, 1]\nno: {}\n").unwrap();
    entries.insert(
        "tls".into(),
        SecretValue::Map(BTreeMap::from([
            ("key".into(), SecretValue::Text(SecretBytes::copy_of(pem.as_bytes()))),
            ("bin".into(), SecretValue::Text(SecretBytes::copy_of(b"\xff\x00"))),
        ])),
    );
    let written = write("# head\n", &entries);
    assert_eq!(
        std::str::from_utf8(written.expose()).unwrap(),
        "# head\ndb:\n  password: \"hunter2\"\n  port: 5432\nlist: [\"a\", 1]\nno: {}\ntls:\n  bin: !!binary \"/wA=\"\n  \
         key: |\n    -----BEGIN X-----\n    AAAA\n    -----END X-----\ntoken: \"t\"\n"
    );
    assert_eq!(write("", &Entries::new()).expose(), b"{}\n");
}

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z \\n\\t#:'\"\\\\|>{}*&!%@`-]{0,20}",
        "([a-z ]{0,5}\\n){1,4}",
        Just("\u{feff}\u{85}\u{2028}\r\n".to_owned()),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        fields in proptest::collection::btree_map(any_value(), any_value(), 0..5),
        name in any_value(), single in any_value(), bytes: Vec<u8>,
    ) {
        let text = |value: &str| SecretValue::Text(SecretBytes::copy_of(value.as_bytes()));
        let map = fields.iter().map(|(key, value)| (key.clone(), text(value))).collect();
        let mut entries = Entries::from([("single".to_owned(), text(&single))]);
        entries.insert("bytes".to_owned(), SecretValue::Text(SecretBytes::copy_of(&bytes)));
        entries.insert(name, SecretValue::Map(map));
        let written = write("", &entries);
        // A key has at most 1024 characters in YAML.
        let back = parse(std::str::from_utf8(written.expose()).unwrap());
        prop_assert_eq!(back.as_ref().map(shown), Ok(shown(&entries)), "{}", String::from_utf8_lossy(written.expose()));
        let found = back.unwrap().remove("bytes").and_then(|value| value.into_part(&FieldPath::Whole));
        if let Some(SecretValue::Text(found)) = found {
            prop_assert_eq!(found.expose(), &bytes[..]);
        }
    }
}
