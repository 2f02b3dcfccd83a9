//! `STORE:PATH[#FIELD][@VERSION]`, and `NAME`, `NAME.FIELD`, `NAME/a/b`.

use std::fmt;

use percent_encoding::percent_decode_str;

use super::model::{FieldRef, SecretRef};
use crate::secret::{FieldPath, SecretName, StoreName};

/// Why a text is not a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// There is no `:`.
    #[error("a reference is STORE:PATH[#FIELD][@VERSION], and there is no `:`")]
    NoStore,
    /// What stands before the `:` is not a name.
    #[error("`{0}` before the `:` is not the name of a store")]
    BadStore(String),
    /// No such store.
    #[error("there is no store `{0}`")]
    UnknownStore(String),
    /// Nothing between `:` and the rest.
    #[error("the path is empty")]
    NoPath,
    /// `#` without a field, or `@` without a version.
    #[error("nothing follows the `{0}`")]
    NothingAfter(char),
    /// A second `#` or `@`.
    #[error("a second `{0}`: inside a path or field it is written %23 (`#`) or %40 (`@`)")]
    Second(char),
    /// `@` before `#`.
    #[error("the version comes last: STORE:PATH#FIELD@VERSION")]
    VersionFirst,
    /// A `%` without two hexadecimal digits, or bytes that are no UTF-8.
    #[error("a `%` begins two hexadecimal digits of UTF-8; a percent sign itself is %25")]
    BadPercent,
    /// An empty, `.` or `..` part, which a URL would turn into another path.
    #[error("a path has no `/` at its ends, and no empty, `.` or `..` part")]
    BadPath,
    /// A control character, encoded or not.
    #[error("there is a control character in it")]
    Control,
    /// A `~` in a pointer that is neither `~0` nor `~1`.
    #[error("in a JSON pointer `~` is written `~0`, and `/` inside of a key `~1`")]
    BadPointer,
}

/// Reads `STORE:PATH[#FIELD][@VERSION]`. A field that begins with `/` is a JSON pointer; one whose
/// name begins so is written `%2F…`.
pub fn parse_reference(
    text: &str,
    is_store: &dyn Fn(&str) -> bool,
) -> Result<SecretRef, ReferenceError> {
    let (store, rest) = text.split_once(':').ok_or(ReferenceError::NoStore)?;
    let name = StoreName::parse(store).map_err(|_| ReferenceError::BadStore(store.to_owned()))?;
    if !is_store(store) {
        return Err(ReferenceError::UnknownStore(store.to_owned()));
    }
    let (hash, at) = (rest.find('#'), rest.find('@'));
    if let (Some(hash), Some(at)) = (hash, at)
        && at < hash
    {
        return Err(ReferenceError::VersionFirst);
    }
    for sign in ['#', '@'] {
        if rest.matches(sign).count() > 1 {
            return Err(ReferenceError::Second(sign));
        }
    }
    let (rest, version) = match rest.split_once('@') {
        Some((_, "")) => return Err(ReferenceError::NothingAfter('@')),
        Some((rest, version)) => (rest, Some(decode(version)?)),
        None => (rest, None),
    };
    let (path, field) = match rest.split_once('#') {
        Some((_, "")) => return Err(ReferenceError::NothingAfter('#')),
        Some((path, field)) => match field.strip_prefix('/') {
            Some(rest) => (path, FieldPath::Pointer(pointer(&decode(rest)?)?)),
            None => (path, FieldPath::Field(decode(field)?)),
        },
        None => (rest, FieldPath::Whole),
    };
    if path.is_empty() {
        return Err(ReferenceError::NoPath);
    }
    let path = decode(path)?;
    check_path(&path)?;
    Ok(SecretRef { store: name, path, field, version })
}

/// Refuses what a store, or a URL on the way to it, would read as another path.
pub(super) fn check_path(path: &str) -> Result<(), ReferenceError> {
    if path.is_empty() {
        return Err(ReferenceError::NoPath);
    }
    if path.chars().any(char::is_control) {
        return Err(ReferenceError::Control);
    }
    let bad = |part: &str| matches!(part, "" | "." | "..");
    // Names in AWS may begin with a slash of their own: `ssm//app/prod/key`.
    let aws = ["ssm//", "secretsmanager//"].iter().find_map(|service| path.strip_prefix(service));
    if aws.unwrap_or(path).split('/').any(bad) { Err(ReferenceError::BadPath) } else { Ok(()) }
}

/// The field of a long form: literal, or a pointer if it begins with `/`.
pub(super) fn long_field(text: &str) -> Result<FieldPath, ReferenceError> {
    match text.strip_prefix('/') {
        _ if text.is_empty() => Err(ReferenceError::NothingAfter('#')),
        Some(rest) => Ok(FieldPath::Pointer(pointer(rest)?)),
        None => Ok(FieldPath::Field(text.to_owned())),
    }
}

/// The parts of a JSON pointer (RFC 6901) whose first `/` was taken off.
fn pointer(text: &str) -> Result<Vec<String>, ReferenceError> {
    let part = |part: &str| {
        let plain = part.replace("~0", "").replace("~1", "");
        let unescaped = || part.replace("~1", "/").replace("~0", "~");
        if plain.contains('~') { Err(ReferenceError::BadPointer) } else { Ok(unescaped()) }
    };
    text.split('/').map(part).collect()
}

/// Percent-decodes, strictly.
fn decode(text: &str) -> Result<String, ReferenceError> {
    let bytes = text.as_bytes();
    for (i, _) in text.match_indices('%') {
        let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
        if !hex(i + 1) || !hex(i + 2) {
            return Err(ReferenceError::BadPercent);
        }
    }
    let decoded = percent_decode_str(text).decode_utf8();
    let text = decoded.map_err(|_| ReferenceError::BadPercent)?.into_owned();
    if text.chars().any(char::is_control) { Err(ReferenceError::Control) } else { Ok(text) }
}

impl fmt::Display for SecretRef {
    /// The short form, which [`parse_reference`] reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.store, encode(&self.path))?;
        match &self.field {
            FieldPath::Whole => {}
            FieldPath::Pointer(_) => write!(f, "#{}", encode(&self.field.to_string()))?,
            FieldPath::Field(field) => match field.strip_prefix('/') {
                Some(rest) => write!(f, "#%2F{}", encode(rest))?,
                None => write!(f, "#{}", encode(field))?,
            },
        }
        match &self.version {
            Some(version) => write!(f, "@{}", encode(version)),
            None => Ok(()),
        }
    }
}

fn encode(text: &str) -> String {
    text.replace('%', "%25").replace('#', "%23").replace('@', "%40")
}

/// Reads `NAME`, `NAME.FIELD` or `NAME/a/b`, perhaps with a `?` behind. `None`: not such a text.
pub fn parse_field(text: &str) -> Option<FieldRef> {
    let (text, optional) = match text.strip_suffix('?') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let end = text.find(['.', '/']).unwrap_or(text.len());
    let secret = SecretName::parse(&text[..end]).ok()?;
    let rest = &text[end..];
    let field = match rest.chars().next() {
        None => FieldPath::Whole,
        Some('.') if rest.len() > 1 => FieldPath::Field(rest[1..].to_owned()),
        Some('/') if rest.len() > 1 => FieldPath::Pointer(pointer(&rest[1..]).ok()?),
        Some(_) => return None,
    };
    Some(FieldRef { secret, field, optional })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<SecretRef, ReferenceError> {
        parse_reference(text, &|store| store == "vault")
    }

    #[test]
    fn the_parts_of_a_reference() {
        for (text, path, field, version) in [
            ("vault:secret/data/x", "secret/data/x", None, None),
            ("vault:secret/data/x#a.b/c", "secret/data/x", Some("a.b/c"), None),
            ("vault:secret/data/x#a@3", "secret/data/x", Some("a"), Some("3")),
            ("vault:secret/data/x@3", "secret/data/x", None, Some("3")),
            ("vault:a%23b%40c%25d:e#f%40g", "a#b@c%d:e", Some("f@g"), None),
        ] {
            let field = field.map_or(FieldPath::Whole, |f: &str| FieldPath::Field(f.into()));
            let store = StoreName::parse("vault").unwrap();
            let version = version.map(str::to_owned);
            assert_eq!(
                parse(text),
                Ok(SecretRef { store, path: path.into(), field, version }),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_a_reference_is_told_why() {
        use ReferenceError::*;
        for (text, error) in [
            ("secret/data/x", NoStore),
            ("my store:x", BadStore("my store".into())),
            ("valut:x", UnknownStore("valut".into())),
            ("vault:", NoPath),
            ("vault:#a", NoPath),
            ("vault:x#", NothingAfter('#')),
            ("vault:x@", NothingAfter('@')),
            ("vault:x#a#b", Second('#')),
            ("vault:x@1@2", Second('@')),
            ("vault:x@1#a", VersionFirst),
            ("vault:a%2", BadPercent),
            ("vault:a%zz", BadPercent),
            ("vault:a%ff", BadPercent),
            ("vault:/secret/x", BadPath),
            ("vault:secret/../sys", BadPath),
            ("vault:secret/%2e%2e/sys", BadPath),
            ("vault:secret//x", BadPath),
            ("vault:x%0a", Control),
            ("vault:x#a%00", Control),
            ("vault:x#/a~2", BadPointer),
        ] {
            assert!(!error.to_string().is_empty());
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn fields_are_literal_after_the_first_dot_and_pointers_after_a_slash() {
        let field =
            |text: &str| parse_field(text).map(|f| (f.secret.to_string(), f.field, f.optional));
        let pointer =
            |parts: &[&str]| FieldPath::Pointer(parts.iter().map(|&p| p.into()).collect());
        for (text, name, path, optional) in [
            ("db", "db", FieldPath::Whole, false),
            (
                "db.spring.datasource.password",
                "db",
                FieldPath::Field("spring.datasource.password".into()),
                false,
            ),
            ("db.a/b", "db", FieldPath::Field("a/b".into()), false),
            ("db/a/b~1c", "db", pointer(&["a", "b/c"]), false),
            ("tls.ca_chain?", "tls", FieldPath::Field("ca_chain".into()), true),
        ] {
            assert_eq!(field(text), Some((name.into(), path, optional)), "{text}");
        }
        for bad in ["", ".a", "db.", "db/", "a b.c", "1db", "db/a~b"] {
            assert_eq!(parse_field(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_field_that_begins_with_a_slash_is_a_pointer_unless_it_is_encoded() {
        let field = |text: &str| parse(text).unwrap().field;
        let pointer = FieldPath::Pointer(vec!["a".into(), "b/c".into()]);
        assert_eq!(field("vault:x#/a/b~1c"), pointer);
        assert_eq!(field("vault:x#%2Fa"), FieldPath::Field("/a".into()));
    }

    fn field() -> impl Strategy<Value = FieldPath> {
        prop_oneof![
            Just(FieldPath::Whole),
            "[^\\p{Cc}]{1,12}".prop_map(FieldPath::Field),
            prop::collection::vec("[^\\p{Cc}]{0,6}", 1..4).prop_map(FieldPath::Pointer),
        ]
    }

    proptest! {
        #[test]
        fn a_reference_that_is_written_is_read_back(
            parts in prop::collection::vec("[^\\p{Cc}/]{1,8}", 1..4),
            field in field(),
            version in prop::option::of("[^\\p{Cc}]{1,6}"),
        ) {
            prop_assume!(parts.iter().all(|part| part != "." && part != ".."));
            let store = StoreName::parse("vault").unwrap();
            let reference = SecretRef { store, path: parts.join("/"), field, version };
            prop_assert_eq!(parse(&reference.to_string()), Ok(reference));
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = parse(&text);
            let _ = parse_field(&text);
        }
    }
}
