//! From nodes to what a user may write. A mistake is noted and decoding goes on, so that all of them
//! are found at once. One definition holds a key's name, doc, type, decoder and schema.
//!
//! This is by hand, and not by serde, because serde stops at the first mistake.

use serde_json::{Value, json};

use super::mistake::{Mistake, Span, nearest, suggest};
use super::yaml::{Kind, Node};

/// Where mistakes are noted.
pub type Sink = Vec<Mistake>;

/// A value and its place.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
    /// Its text as a message may quote it: what a variable of the environment held is not in it.
    /// Empty where it is no single value.
    pub shown: String,
}

/// What can be read from a node.
pub trait Decode: Sized {
    /// The value; `None` when there is none, with the mistake noted.
    fn decode(node: &Node, sink: &mut Sink) -> Option<Self>;

    /// Its JSON Schema.
    fn schema() -> Value;
}

impl<T: Decode> Decode for At<T> {
    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        let value = T::decode(node, sink)?;
        Some(At { value, span: node.span.clone(), shown: node.shown().unwrap_or_default() })
    }

    fn schema() -> Value {
        T::schema()
    }
}

/// Notes that `node` is not what belongs there.
pub fn wrong(node: &Node, wanted: &str, hint: &str, sink: &mut Sink) {
    if node.broken {
        return;
    }
    let what = match node.shown() {
        Some(text) if !node.is_null() => format!("`{text}` is not {wanted}"),
        _ => format!("{} stands where {wanted} belongs", node.noun()),
    };
    sink.push(Mistake::new(&node.span, what, format!("{wanted} belongs here"), hint));
}

/// The schema of a text that is put together of variables.
pub fn variable() -> Value {
    json!({ "type": "string", "pattern": "\\$\\{" })
}

impl Decode for String {
    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        if node.broken || node.is_null() || node.text().is_none() {
            wrong(node, "a text", "write a text, in quotes if it holds `:` or `#`", sink);
            return None;
        }
        node.text().map(str::to_owned)
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

impl Decode for bool {
    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        match &node.kind {
            Kind::Scalar { text, plain: true, .. } if text == "true" => Some(true),
            Kind::Scalar { text, plain: true, .. } if text == "false" => Some(false),
            _ => {
                wrong(node, "a yes or no", "write `true` or `false`, without quotes", sink);
                None
            }
        }
    }

    fn schema() -> Value {
        json!({ "anyOf": [{ "type": "boolean" }, variable()] })
    }
}

impl Decode for u32 {
    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        let number = node.text().and_then(|text| text.parse().ok());
        if number.is_none() {
            wrong(node, "a whole number", "write a number from 0 to 4294967295", sink);
        }
        number
    }

    fn schema() -> Value {
        json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, variable()] })
    }
}

impl Decode for Node {
    fn decode(node: &Node, _: &mut Sink) -> Option<Self> {
        Some(node.clone())
    }

    fn schema() -> Value {
        json!({})
    }
}

impl<T: Decode> Decode for Vec<At<T>> {
    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        match &node.kind {
            Kind::List(items) => Some(items.iter().filter_map(|i| At::decode(i, sink)).collect()),
            _ => {
                wrong(node, "a list", "write `[a, b]`, or one `- item` a line", sink);
                None
            }
        }
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": T::schema() })
    }
}

/// Named things, in the order of the text.
#[derive(Clone, Debug)]
pub struct Named<T> {
    /// Those that could be read.
    pub entries: Vec<(At<String>, At<T>)>,
    /// The names of all, so that a thing with a mistake in it is not taken for one that is missing.
    pub names: Vec<String>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Named { entries: Vec::new(), names: Vec::new() }
    }
}

impl<T> Named<T> {
    /// The names, for suggestions.
    pub fn known(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }
}

impl<T: Decode> Decode for Named<T> {
    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        let mut named = Named::default();
        let Kind::Map(entries) = &node.kind else {
            if node.is_null() {
                return Some(named);
            }
            wrong(node, "a mapping", "write `name: …`, one a line", sink);
            return None;
        };
        for (key, value) in entries {
            let (Some(name), Some(shown)) = (key.text(), key.shown()) else { continue };
            named.names.push(name.to_owned());
            let name = At { value: name.to_owned(), span: key.span.clone(), shown };
            if let Some(value) = At::decode(value, sink) {
                named.entries.push((name, value));
            }
        }
        Some(named)
    }

    fn schema() -> Value {
        json!({ "type": "object", "additionalProperties": T::schema() })
    }
}

/// The entries of a mapping whose keys are known; a key that is not is a mistake, and the key that
/// was probably meant is added to `wrong`.
pub fn entries<'a>(
    node: &'a Node,
    noun: &str,
    known: &[&'static str],
    wrong: &mut Vec<&'static str>,
    sink: &mut Sink,
) -> Option<Vec<(&'a str, &'a Node)>> {
    if node.broken {
        wrong.extend(known);
    }
    let Kind::Map(entries) = &node.kind else {
        if node.is_null() {
            return Some(Vec::new());
        }
        let hint = format!("keys: {}", known.join(", "));
        self::wrong(node, &format!("a mapping ({noun})"), &hint, sink);
        return None;
    };
    let mut found = Vec::new();
    for (key, value) in entries {
        let Some(name) = key.text() else { continue };
        if known.contains(&name) {
            found.push((name, value));
            continue;
        }
        wrong.extend(nearest(name, known.iter().copied()));
        sink.push(Mistake::new(
            &key.span,
            format!("unknown key `{}` in {noun}", name.escape_debug()),
            "no such key here",
            FOREIGN
                .iter()
                .find(|(foreign, _)| *foreign == name)
                .map_or_else(|| suggest(name, known), |(_, hint)| (*hint).to_owned()),
        ));
    }
    Some(found)
}

/// Keys that people bring along from other tools, and what takes their place.
const FOREIGN: [(&str, &str); 12] = [
    ("tls_skip_verify", "verification can't be switched off: name the store's CA with `ca_file`"),
    ("skip_verify", "verification can't be switched off: name the store's CA with `ca_file`"),
    ("insecure", "verification can't be switched off: name the store's CA with `ca_file`"),
    ("token_path", "write `login: { token: { file: PATH } }`"),
    ("role", "the role belongs to a login: `login: { kubernetes: { role: NAME } }`"),
    ("perms", "write `mode: \"0440\"`"),
    ("destination", "the path of a file is its key below `files:`"),
    ("contents", "write `template: |` and the text below it"),
    ("source", "templates stand in the config: `template: |` and the text below it"),
    ("ttl", "parameters of a request stand below `with:`; how often we ask is `refresh`"),
    ("interval", "write `refresh: 5m`"),
    ("type", "write `kind:` for a store, `format:` for a file"),
];

/// Defines what a user may write at one place: a struct of optional keys.
macro_rules! record {
    ($(
        $(#[doc = $doc:literal])*
        $noun:literal $name:ident { $( $(#[doc = $fdoc:literal])* $key:ident: $type:ty, )* }
    )*) => { $(
        $(#[doc = $doc])*
        #[derive(Clone, Debug, Default)]
        pub struct $name {
            $( $(#[doc = $fdoc])* pub $key: Option<$crate::agent::config::decode::At<$type>>, )*
            /// Keys that are written, but wrongly: nothing is to be said about their absence.
            pub wrong: Vec<&'static str>,
        }

        impl $crate::agent::config::decode::Decode for $name {
            fn decode(
                node: &$crate::agent::config::yaml::Node,
                sink: &mut $crate::agent::config::decode::Sink,
            ) -> Option<Self> {
                const KEYS: &[&str] = &[$(stringify!($key),)*];
                let mut record = $name::default();
                let wrong = &mut record.wrong;
                for (key, value) in
                    $crate::agent::config::decode::entries(node, $noun, KEYS, wrong, sink)?
                {
                    match key {
                        $( stringify!($key) => {
                            record.$key = $crate::agent::config::decode::Decode::decode(value, sink);
                            if record.$key.is_none() {
                                record.wrong.push(stringify!($key));
                            }
                        } )*
                        _ => {}
                    }
                }
                Some(record)
            }

            fn schema() -> serde_json::Value {
                let mut properties = serde_json::Map::new();
                $(
                    let mut schema = <$type as $crate::agent::config::decode::Decode>::schema();
                    let doc = [$($fdoc),*].map(str::trim).join(" ");
                    if let Some(schema) = schema.as_object_mut() {
                        schema.insert("description".to_owned(), doc.into());
                    }
                    properties.insert(stringify!($key).to_owned(), schema);
                )*
                serde_json::json!({
                    "type": "object", "title": $noun.replace('`', ""),
                    "additionalProperties": false, "properties": properties,
                })
            }
        }
    )* };
}
pub(super) use record;
