//! `${NAME}`, `${NAME:-default}` and `$$` in string values; templates are left alone.

use super::decode::Sink;
use super::mistake::Mistake;
use super::yaml::{Kind, Node};

/// Replaces in every string value of the tree but templates.
pub fn tree(node: &mut Node, env: &dyn Fn(&str) -> Option<String>, sink: &mut Sink) {
    match &mut node.kind {
        Kind::Scalar { text, .. } if text.contains('$') => match value(text, env) {
            Ok(replaced) => *text = replaced,
            Err(error) => sink.push(error.mistake(node)),
        },
        Kind::Scalar { .. } => {}
        Kind::List(items) => items.iter_mut().for_each(|item| tree(item, env, sink)),
        Kind::Map(entries) => {
            let values = entries.iter_mut().filter(|(key, _)| key.text() != Some("template"));
            values.for_each(|(_, value)| tree(value, env, sink));
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
}

impl Error {
    fn mistake(&self, node: &Node) -> Mistake {
        match self {
            Error::Unset(name) => Mistake::new(
                &node.span,
                format!("`${{{name}}}` is not set"),
                "this variable is not in Sidekey's environment",
                format!("set {name}, or give a default: `${{{name}:-…}}`"),
            ),
            Error::Malformed => Mistake::new(
                &node.span,
                "a `$` stands here alone",
                "`$` begins `${NAME}` or `${NAME:-default}`",
                "write `$$` for a dollar",
            ),
        }
    }
}

/// Replaces in one value.
pub fn value(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Error> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let inner = rest.strip_prefix('{').ok_or(Error::Malformed)?;
        let end = inner.find('}').ok_or(Error::Malformed)?;
        let (name, default) = match inner[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inner[..end], None),
        };
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty()
            || name.starts_with(|c: char| c.is_ascii_digit())
            || !name.bytes().all(good)
        {
            return Err(Error::Malformed);
        }
        // As in a shell, `:-` stands in for an empty variable too.
        match (env(name).filter(|v| default.is_none() || !v.is_empty()), default) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => return Err(Error::Unset(name.to_owned())),
        }
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
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
            ("${B}", Err(Error::Unset("B".into()))),
            ("$A", Err(Error::Malformed)),
            ("${A", Err(Error::Malformed)),
            ("${}", Err(Error::Malformed)),
            ("${1A}", Err(Error::Malformed)),
        ] {
            assert_eq!(value(text, &env), result.map(str::to_owned), "{text}");
        }
    }
}
