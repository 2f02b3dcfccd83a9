//! What a real shell and a Java reader get back.

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use crate::agent::config::{Content, Format};
use crate::agent::render::testing::{Vault, entries, file, map, part, text};
use crate::agent::render::{FormatFailure, RenderError};

fn render(format: Format, value: &[u8]) -> Result<Vec<u8>, RenderError> {
    let vault = Vault::of([("db", map([("x", text(value))]))]);
    vault.render(&file(entries(format, &[("KEY", "db.x")])))
}

/// The values of `KEY_0`, `KEY_1`, … after `/bin/sh` has read `script`.
#[expect(clippy::disallowed_methods, reason = "a real shell reads what we wrote")]
fn read_by_sh(mut script: Vec<u8>, count: usize) -> Vec<Vec<u8>> {
    for i in 0..count {
        script.extend(format!("printf '%s\\000' \"$KEY_{i}\"\n").as_bytes());
    }
    let mut sh = Command::new("/bin/sh");
    let mut sh = sh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = sh.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&script).unwrap());
    let out = sh.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(out.status.success() && out.stderr.is_empty());
    let mut values: Vec<_> = out.stdout.split(|&b| b == 0).map(<[u8]>::to_vec).collect();
    values.pop();
    values
}

fn shell_round_trip(values: &[Vec<u8>]) {
    let names: Vec<_> = (0..values.len()).map(|i| format!("KEY_{i}")).collect();
    let fields = names.iter().zip(values).map(|(name, value)| (name.as_str(), text(value)));
    let vault = Vault::of([("db", map(fields))]);
    let script = vault.render(&file(Content::Whole(Format::Shell, part("db")))).unwrap();
    assert_eq!(read_by_sh(script, values.len()), values);
}

#[test]
fn a_real_shell_reads_every_byte_but_nul() {
    let every: Vec<u8> = (1..=255).collect();
    let awkward =
        ["", "'", "''", "\\", "a'b'c", "$(id)", "`id`", "\"", "\n\n", " x ", "#x", "!x", "*"];
    let mut values: Vec<_> = awkward.iter().map(|text| text.as_bytes().to_vec()).collect();
    values.push(every);
    shell_round_trip(&values);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn a_real_shell_reads_any_bytes_back(
        values in proptest::collection::vec(proptest::collection::vec(1_u8.., 0..20), 1..20)
    ) {
        shell_round_trip(&values);
    }
}

#[test]
fn nul_and_names_that_are_none_are_refused_by_name() {
    let refusal = |result: Result<Vec<u8>, RenderError>| match result {
        Err(RenderError::Refused { key, why, .. }) => (key, why),
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal(render(Format::Shell, b"a\0b")), ("KEY".into(), FormatFailure::Nul));
    for bad in ["1A", "A-B", "A B", "A=B", "", "Ä", "A\nB", "A;rm"] {
        let vault = Vault::of([("db", map([(bad, text(b"v"))]))]);
        let whole = vault.render(&file(Content::Whole(Format::Shell, part("db"))));
        assert_eq!(refusal(whole), (bad.to_owned(), FormatFailure::KeyNotName));
    }
}

fn read_properties(bytes: &[u8]) -> std::collections::HashMap<String, String> {
    java_properties::read(bytes).unwrap()
}

#[test]
fn java_reads_every_kind_of_text() {
    for value in [
        "",
        " ",
        "  lead",
        "trail  ",
        "a=b",
        "a:b",
        "#x",
        "!x",
        "\\",
        "\\u0041",
        "a\\",
        "a\nb",
        "\r\n",
        "\t\x0c",
        "\0\u{1}",
        "ünïcode \u{2028}",
        "plain",
    ] {
        let bytes = render(Format::Properties, value.as_bytes()).unwrap();
        assert!(bytes.is_ascii());
        assert_eq!(read_properties(&bytes)["KEY"], value, "{value:?}");
    }
}

#[test]
fn java_reads_every_kind_of_key() {
    let keys =
        ["spring.datasource.url", "a b", " a", "a=b", "a:b", "#a", "!a", "a\\b", "ä", "a\nb"];
    let vault = Vault::of([("db", map(keys.map(|key| (key, text(b"v")))))]);
    let bytes = vault.render(&file(Content::Whole(Format::Properties, part("db")))).unwrap();
    let back = read_properties(&bytes);
    assert!(keys.iter().all(|key| back.get(*key).is_some_and(|value| value == "v")), "{back:?}");
    let nameless = Vault::of([("db", map([("", text(b"v"))]))]);
    let error = nameless.render(&file(Content::Whole(Format::Properties, part("db")))).unwrap_err();
    assert!(matches!(error, RenderError::Refused { why: FormatFailure::KeyEmpty, .. }));
}

#[test]
fn java_gets_what_is_beyond_16_bits_as_a_surrogate_pair() {
    let bytes = render(Format::Properties, "😀".as_bytes()).unwrap();
    assert_eq!(bytes, b"KEY=\\uD83D\\uDE00\n");
}

proptest! {
    #[test]
    fn java_reads_any_text_back(key in "\\PC{1,9}", value: String) {
        // The reader of the tests does not put surrogate pairs together, as Java does.
        let small = |text: &str| text.chars().filter(|&c| c < '\u{10000}').collect::<String>();
        let (key, value) = (small(&key), small(&value));
        prop_assume!(!key.is_empty());
        let vault = Vault::of([("db", map([(key.as_str(), text(value.as_bytes()))]))]);
        let bytes = vault.render(&file(Content::Whole(Format::Properties, part("db")))).unwrap();
        let back = read_properties(&bytes);
        prop_assert_eq!(back.get(&key), Some(&value));
    }
}
