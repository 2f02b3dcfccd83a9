//! `STORE:PATH[#FIELD][@VERSION]`, and `NAME`, `NAME.FIELD`, `NAME/a/b`.

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
}

/// Reads `STORE:PATH[#FIELD][@VERSION]`.
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
        Some((path, field)) => (path, FieldPath::Field(decode(field)?)),
        None => (rest, FieldPath::Whole),
    };
    if path.is_empty() {
        return Err(ReferenceError::NoPath);
    }
    Ok(SecretRef { store: name, path: decode(path)?, field, version })
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
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| ReferenceError::BadPercent)
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
        Some('/') if rest.len() > 1 => {
            let parts = rest[1..].split('/');
            FieldPath::Pointer(
                parts.map(|part| part.replace("~1", "/").replace("~0", "~")).collect(),
            )
        }
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
        ] {
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
        for bad in ["", ".a", "db.", "db/", "a b.c", "1db"] {
            assert_eq!(parse_field(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_path_and_field_survive_percent_encoding(path in ".{1,40}", field in ".{1,20}") {
            let encode = |text: &str| text.replace('%', "%25").replace('#', "%23").replace('@', "%40");
            let parsed = parse(&format!("vault:{}#{}", encode(&path), encode(&field))).unwrap();
            prop_assert_eq!(parsed.path, path);
            prop_assert_eq!(parsed.field, FieldPath::Field(field));
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = parse(&text);
            let _ = parse_field(&text);
        }
    }
}
