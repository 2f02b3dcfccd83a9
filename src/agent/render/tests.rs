//! Parts, lists, whole secrets and decoding.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::testing::{Vault, entries, file, map, part, parts, path, template, text};
use super::{FormatFailure, RenderError, Renderer};
use crate::agent::config::{Content, Format};
use crate::agent::reason::Reason;
use crate::secret::SecretValue;

const FORMATS: [Format; 5] =
    [Format::Json, Format::Yaml, Format::Dotenv, Format::Properties, Format::Shell];

#[test]
fn raw_delivers_a_mebibyte_of_any_bytes_unchanged() {
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let vault = Vault::of([("db", map([("blob", text(&bytes))]))]);
    assert_eq!(vault.render(&file(parts(&["db.blob"]))).unwrap(), bytes);
}

proptest! {
    #[test]
    fn raw_delivers_any_bytes_unchanged(bytes: Vec<u8>) {
        prop_assume!(!bytes.is_empty());
        let vault = Vault::of([("db", text(&bytes))]);
        prop_assert_eq!(vault.render(&file(parts(&["db"]))).unwrap(), bytes);
    }
}

#[test]
fn a_list_has_exactly_one_newline_between_two_parts() {
    let vault = Vault::db(
        r#"{"a": "A", "n": "N\n", "nn": "NN\n\n\n", "crlf": "C\r\n\r\n", "none": "", "two": "1\n2"}"#,
    );
    for (names, joined) in [
        (&["db.a", "db.a"][..], "A\nA"),
        (&["db.n", "db.a"], "N\nA"),
        (&["db.nn", "db.nn"], "NN\nNN\n\n\n"),
        (&["db.crlf", "db.n"], "C\nN\n"),
        (&["db.a", "db.none?", "db.a"], "A\nA"),
        (&["db.a", "db.gone?", "db.n"], "A\nN\n"),
        (&["db.gone?", "db.a"], "A"),
        (&["db.two", "db.a"], "1\n2\nA"),
    ] {
        assert_eq!(vault.show(parts(names)).unwrap(), joined, "{names:?}");
    }
}

#[test]
fn an_array_of_strings_is_joined_like_a_list() {
    let vault = Vault::db(r#"{"chain": ["one\n", "two\n\n", "three\n"], "key": "k", "no": []}"#);
    assert_eq!(vault.show(parts(&["db.key", "db.chain"])).unwrap(), "k\none\ntwo\nthree\n");
    assert_eq!(vault.show(parts(&["db.chain", "db.key"])).unwrap(), "one\ntwo\nthree\nk");
    assert_eq!(vault.show(parts(&["db.key", "db.no?"])).unwrap(), "k");
}

#[test]
fn numbers_booleans_and_objects_are_their_json_text() {
    let vault = Vault::db(r#"{"n": 1.10, "t": true, "o": {"b": [1, "x"], "a": null}}"#);
    for (name, shown) in [
        ("db.n", "1.10"),
        ("db.t", "true"),
        ("db.o", r#"{"a":null,"b":[1,"x"]}"#),
        ("db/o/b/1", "x"),
    ] {
        assert_eq!(vault.show(parts(&[name])).unwrap(), shown);
    }
}

#[test]
fn missing_and_null_name_the_secret_and_the_field_in_every_format() {
    let vault = Vault::db(r#"{"user": "u", "password": null}"#);
    let missing = |content| match vault.show(content) {
        Err(RenderError::FieldMissing { secret, field, have, .. }) => {
            (format!("{secret}{field}"), have)
        }
        other => panic!("{other:?}"),
    };
    let have = vec!["password".to_owned(), "user".to_owned()];
    for name in ["db.password", "db.nothing", "db/a/b"] {
        assert_eq!(missing(parts(&[name])), (name.to_owned(), have.clone()));
        for format in FORMATS {
            let content = entries(format, &[("A", "db.user"), ("B", name)]);
            assert_eq!(missing(content), (name.to_owned(), have.clone()));
        }
    }
    let absent = vault.show(parts(&["other.x"])).unwrap_err();
    assert!(matches!(absent, RenderError::SecretMissing { .. }));
    assert_eq!(absent.reason(), Reason::NotFound);
}

#[test]
fn what_is_marked_optional_is_left_out_when_it_is_missing() {
    let vault = Vault::db(r#"{"user": "u", "password": null}"#);
    let content = entries(Format::Shell, &[("A", "db.user"), ("B", "db.password?"), ("C", "x?")]);
    assert_eq!(vault.show(content).unwrap(), "A='u'\n");
}

#[test]
fn nothing_at_all_is_an_error() {
    let vault = Vault::db(r#"{"none": "", "null": null, "empty": {}}"#);
    for content in [
        parts(&["db.none"]),
        Content::Whole(Format::Json, part("db.empty")),
        Content::Whole(Format::Json, part("db/empty")),
        entries(Format::Json, &[("a", "db.null?")]),
    ] {
        assert_eq!(vault.show(content.clone()).unwrap_err().reason(), Reason::SecretEmpty);
    }
}

#[test]
fn a_whole_secret_is_all_its_fields() {
    let vault = Vault::db(r#"{"user": "u", "port": 5432, "on": true, "gone": null}"#);
    let whole = |format| vault.show(Content::Whole(format, part("db"))).unwrap();
    assert_eq!(whole(Format::Json), r#"{"on":true,"port":5432,"user":"u"}"#);
    assert_eq!(whole(Format::Yaml), "\"on\": true\nport: 5432\nuser: \"u\"\n");
    assert_eq!(whole(Format::Dotenv), "on='true'\nport='5432'\nuser='u'\n");
    assert_eq!(whole(Format::Shell), "on='true'\nport='5432'\nuser='u'\n");
    assert_eq!(whole(Format::Properties), "on=true\nport=5432\nuser=u\n");
    assert_eq!(
        vault.show(parts(&["db"])).unwrap(),
        r#"{"gone":null,"on":true,"port":5432,"user":"u"}"#
    );
}

#[test]
fn a_secret_without_fields_has_no_lines() {
    let vault = Vault::of([("db", text(b"just text"))]);
    for format in [Format::Dotenv, Format::Properties, Format::Shell] {
        let error = vault.show(Content::Whole(format, part("db"))).unwrap_err();
        assert!(matches!(error, RenderError::Refused { why: FormatFailure::NoFields, .. }));
    }
    let json = vault.show(Content::Whole(Format::Json, part("db")));
    assert_eq!(json.unwrap(), r#""just text""#);
}

#[test]
fn base64_is_taken_off_in_one_piece_or_in_lines() {
    let vault = Vault::db(
        r#"{"one": "AP8B", "lines": "AP\r\n8B\n", "bare": "AP8", "list": ["QQ==", "Qg=="], "bad": "s3cret!"}"#,
    );
    let decoded = |name| {
        let mut file = file(parts(&[name]));
        file.decode_base64 = true;
        vault.render(&file)
    };
    assert_eq!(decoded("db.one").unwrap(), [0, 255, 1]);
    assert_eq!(decoded("db.lines").unwrap(), [0, 255, 1]);
    assert_eq!(decoded("db.bare").unwrap(), [0, 255]);
    assert_eq!(decoded("db.list").unwrap(), b"A\nB");
    let error = decoded("db.bad").unwrap_err();
    assert_eq!(error.reason(), Reason::FormatRefused);
    assert!(!error.report().to_string().contains("s3cret"));
}

#[test]
fn bytes_that_are_not_text_are_refused_by_every_format_but_the_shell() {
    let vault = Vault::of([("db", map([("blob", text(b"\xff\xfe"))]))]);
    for format in FORMATS {
        let result = vault.render(&file(entries(format, &[("A", "db.blob")])));
        match (format, result) {
            (Format::Shell, Ok(bytes)) => assert_eq!(bytes, b"A='\xff\xfe'\n"),
            (_, Err(RenderError::Refused { why: FormatFailure::NotText, key, .. })) => {
                assert_eq!(key, "A");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_no_secret_could_make_right_is_found_at_the_start_and_all_at_once() {
    let mut decoded = file(template("{{ db.x }}"));
    decoded.decode_base64 = true;
    let files = BTreeMap::from([
        (path(), file(entries(Format::Raw, &[("A", "db")]))),
        (crate::secret::FilePath::parse("b").unwrap(), decoded),
        (crate::secret::FilePath::parse("c").unwrap(), file(template("x\n{% if %}"))),
    ]);
    let errors = Renderer::compile(&files).err().unwrap();
    assert_eq!(errors.len(), 3);
    assert!(matches!(errors[2], RenderError::TemplateSyntax { line: 2, .. }));
}

#[test]
fn no_error_shows_a_value() {
    let canary = "cAnArY\0\r'\"\\$";
    let vault =
        Vault::of([("db", map([("x", text(canary.as_bytes())), ("n", SecretValue::Null)]))]);
    let mut errors = Vec::new();
    for format in FORMATS {
        errors.extend(vault.show(entries(format, &[("A", "db.x"), ("B", "db.n")])).err());
        errors.extend(vault.show(entries(format, &[("A", "db.x")])).err());
    }
    for error in errors {
        let shown = format!("{error:?} {}", error.report());
        assert!(!shown.to_lowercase().contains("canary"), "{shown}");
    }
}
