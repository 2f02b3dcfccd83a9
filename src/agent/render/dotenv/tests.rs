//! What a dotenv reader gets back, and what is refused.

use proptest::prelude::*;

use crate::agent::config::Format;
use crate::agent::render::testing::{Vault, entries, map, text};
use crate::agent::render::{FormatFailure, RenderError};

fn line(value: &str) -> Result<String, FormatFailure> {
    let vault = Vault::of([("db", map([("x", text(value.as_bytes()))]))]);
    vault.show(entries(Format::Dotenv, &[("KEY", "db.x")])).map_err(|error| match error {
        RenderError::Refused { key, why, .. } if key == "KEY" => why,
        other => panic!("{other:?}"),
    })
}

fn read(line: &str) -> String {
    let pairs: Vec<_> = dotenvy::from_read_iter(line.as_bytes()).map(Result::unwrap).collect();
    let [(key, value)] = &pairs[..] else { panic!("{} pairs", pairs.len()) };
    assert_eq!(key, "KEY");
    value.clone()
}

/// Compared by hand with python-dotenv 1.2.4, dotenv 18 and `node --env-file` of Node 20, on
/// 30,000 random values.
#[test]
fn the_quotes_are_those_that_every_reader_takes_off_alike() {
    for (value, written) in [
        ("", "KEY=''"),
        ("plain", "KEY='plain'"),
        (" lead and trail ", "KEY=' lead and trail '"),
        ("a#b \"c\" $d `e`", "KEY='a#b \"c\" $d `e`'"),
        ("${half", "KEY='${half'"),
        (r"C:\new", r"KEY='C:\new'"),
        ("two\nlines\n", "KEY='two\nlines\n'"),
        ("it's #1", "KEY=\"it's #1\""),
        ("it's\nfine", "KEY=\"it's\nfine\""),
        (r"a'b\c", r"KEY=a'b\c"),
        (r#"a'b"c\\"#, r#"KEY=a'b"c\\"#),
        ("ünï 😀", "KEY='ünï 😀'"),
    ] {
        assert_eq!(line(value).unwrap(), format!("{written}\n"));
    }
}

#[test]
fn what_readers_take_differently_is_refused_by_name() {
    for (value, why) in [
        ("a\0b", FormatFailure::Nul),
        ("a\r\nb", FormatFailure::CarriageReturn),
        ("a${HOME}b", FormatFailure::Substitution),
        ("'\"", FormatFailure::Quotes),
        ("it's $5", FormatFailure::Quotes),
        ("a' b\\", FormatFailure::Quotes),
        ("\\\\ ", FormatFailure::Quotes),
        ("'#\"", FormatFailure::Quotes),
    ] {
        assert_eq!(line(value), Err(why), "{value:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_back_or_refused(value in "[ab '\"`\\\\$#{}\n\t=é😀]{0,8}|\\PC{0,12}") {
        match line(&value) {
            // Without quotes, dotenvy follows the shell and the others do not.
            Ok(line) if line.starts_with("KEY='") || line.starts_with("KEY=\"") => {
                prop_assert_eq!(read(&line), value);
            }
            Ok(line) => prop_assert_eq!(line, format!("KEY={value}\n")),
            Err(why) => prop_assert!(matches!(
                why,
                FormatFailure::Substitution | FormatFailure::Quotes
            )),
        }
    }
}
