//! `${NAME}`, `${NAME:-default}` and `$$` in string values; templates are left alone.

use super::decode::Sink;
use super::mistake::{Mistake, Span};
use super::yaml::{Kind, Node};

/// Replaces in every string value of the tree but templates. `document` is the text of it all.
pub fn tree(
    node: &mut Node,
    document: &str,
    env: &dyn Fn(&str) -> Option<String>,
    sink: &mut Sink,
) {
    match &mut node.kind {
        Kind::Scalar { text, written, .. } if text.contains('$') => match value(text, env) {
            Ok(replaced) => *written = Some(std::mem::replace(text, replaced)),
            Err(errors) => {
                sink.extend(errors.iter().map(|error| error.mistake(&node.span, document)));
                // What is not there can't be checked further.
                node.broken = true;
            }
        },
        Kind::Scalar { .. } => {}
        Kind::List(items) => items.iter_mut().for_each(|item| tree(item, document, env, sink)),
        Kind::Map(entries) => {
            let template = |key: &Node, value: &Node| {
                key.text() == Some("template") && matches!(value.kind, Kind::Scalar { .. })
            };
            let values = entries.iter_mut().filter(|(key, value)| !template(key, value));
            values.for_each(|(_, value)| tree(value, document, env, sink));
        }
    }
}

/// Why a value can't be replaced.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// The variable is not set and has no default.
    Unset(String),
    /// `${` without `}`, or a name that is none.
    Malformed,
    /// A variable inside the default of another.
    Nested,
}

impl Error {
    fn mistake(&self, span: &Span, document: &str) -> Mistake {
        match self {
            Error::Unset(name) => Mistake::new(
                &span.find(document, &format!("${{{name}}}")),
                format!("`${{{name}}}` is not set"),
                "this variable is not in Sidekey's environment",
                format!("set {name}, or give a default: `${{{name}:-…}}`"),
            ),
            Error::Malformed => Mistake::new(
                &span.find(document, "$"),
                "a `$` stands here alone",
                "`$` begins `${NAME}` or `${NAME:-default}`",
                "write `$$` for a dollar",
            ),
            Error::Nested => Mistake::new(
                &span.find(document, "${"),
                "a variable stands in the default of another",
                "a default is text up to the next `}`",
                "write one variable, and its default without `$`",
            ),
        }
    }
}

/// Replaces in one value; every variable that can't be replaced is told.
pub fn value(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Vec<Error>> {
    let mut out = String::with_capacity(text.len());
    let mut errors = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let Some((inner, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'))
        else {
            errors.push(Error::Malformed);
            continue;
        };
        match variable(inner, env) {
            Ok(value) => out.push_str(&value),
            Err(error) => errors.push(error),
        }
        rest = after;
    }
    out.push_str(rest);
    if errors.is_empty() { Ok(out) } else { Err(errors) }
}

/// What stands between `${` and `}`.
fn variable(inner: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Error> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    if !is_variable(name) {
        return Err(Error::Malformed);
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err(Error::Nested);
    }
    // As in a shell, `:-` stands in for an empty variable too.
    match (env(name).filter(|v| default.is_none() || !v.is_empty()), default) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Error::Unset(name.to_owned())),
    }
}

/// Whether this is how a variable of the environment may be called.
pub fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_defaults_and_dollars() {
        let env = |name: &str| match name {
            "A" => Some("a".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (text, result) in [
            ("x${A}y${A}", Ok("xaya")),
            ("${B:-b}", Ok("b")),
            ("${EMPTY:-b}", Ok("b")),
            ("${EMPTY}", Ok("")),
            ("${B:-}", Ok("")),
            ("$$5 and $${A}", Ok("$5 and ${A}")),
            ("plain", Ok("plain")),
            ("${B}", Err(vec![Error::Unset("B".into())])),
            ("${B}${A}${C}", Err(vec![Error::Unset("B".into()), Error::Unset("C".into())])),
            ("$A", Err(vec![Error::Malformed])),
            ("${A", Err(vec![Error::Malformed])),
            ("${}", Err(vec![Error::Malformed])),
            ("${1A}", Err(vec![Error::Malformed])),
            ("${B:-${A}}", Err(vec![Error::Nested])),
        ] {
            assert_eq!(value(text, &env), result.map(str::to_owned), "{text}");
        }
    }
}
