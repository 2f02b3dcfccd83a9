//! From nodes to what a user may write. A mistake is noted and decoding goes on, so that all of them
//! are found at once. One definition holds a key's name, doc, type, decoder and schema.
//!
//! This is by hand, and not by serde, because serde stops at the first mistake.

use serde_json::{Value, json};

use super::mistake::{Mistake, Span, suggest};
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
        T::decode(node, sink).map(|value| At { value, span: node.span.clone() })
    }

    fn schema() -> Value {
        T::schema()
    }
}

/// Notes that `node` is not what belongs there.
pub fn wrong(node: &Node, wanted: &str, hint: &str, sink: &mut Sink) {
    let what = match node.text() {
        Some(text) if !node.is_null() => format!("`{}` is not {wanted}", text.escape_debug()),
        _ => format!("{} stands where {wanted} belongs", node.noun()),
    };
    sink.push(Mistake::new(&node.span, what, format!("{wanted} belongs here"), hint));
}

impl Decode for String {
    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        if node.is_null() || node.text().is_none() {
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
            Kind::Scalar { text, plain: true } if text == "true" => Some(true),
            Kind::Scalar { text, plain: true } if text == "false" => Some(false),
            _ => {
                wrong(node, "a yes or no", "write `true` or `false`, without quotes", sink);
                None
            }
        }
    }

    fn schema() -> Value {
        json!({ "type": "boolean" })
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
        json!({ "type": "integer", "minimum": 0 })
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
pub type Named<T> = Vec<(At<String>, At<T>)>;

impl<T: Decode> Decode for Named<T> {
    fn decode(node: &Node, sink: &mut Sink) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            wrong(node, "a mapping", "write `name: …`, one a line", sink);
            return None;
        };
        let decoded = entries.iter().filter_map(|(key, value)| {
            let name = At { value: key.text()?.to_owned(), span: key.span.clone() };
            Some((name, At::decode(value, sink)?))
        });
        Some(decoded.collect())
    }

    fn schema() -> Value {
        json!({ "type": "object", "additionalProperties": T::schema() })
    }
}

/// The entries of a mapping whose keys are known; a key that is not is a mistake.
pub fn entries<'a>(
    node: &'a Node,
    noun: &str,
    known: &[&str],
    sink: &mut Sink,
) -> Option<Vec<(&'a str, &'a Node)>> {
    let Kind::Map(entries) = &node.kind else {
        if node.is_null() {
            return Some(Vec::new());
        }
        wrong(node, &format!("a mapping ({noun})"), &format!("keys: {}", known.join(", ")), sink);
        return None;
    };
    let mut found = Vec::new();
    for (key, value) in entries {
        let Some(name) = key.text() else { continue };
        if known.contains(&name) {
            found.push((name, value));
        } else {
            sink.push(Mistake::new(
                &key.span,
                format!("unknown key `{}` in {noun}", name.escape_debug()),
                "no such key here",
                suggest(name, known),
            ));
        }
    }
    Some(found)
}

/// Defines what a user may write at one place: a struct of optional keys.
macro_rules! record {
    ($(
        $(#[doc = $doc:literal])*
        $noun:literal $name:ident { $( $(#[doc = $fdoc:literal])* $key:ident: $type:ty, )* }
    )*) => { $(
        $(#[doc = $doc])*
        #[derive(Clone, Debug, Default)]
        pub struct $name { $( $(#[doc = $fdoc])* pub $key: Option<$crate::agent::config::decode::At<$type>>, )* }

        impl $crate::agent::config::decode::Decode for $name {
            fn decode(
                node: &$crate::agent::config::yaml::Node,
                sink: &mut $crate::agent::config::decode::Sink,
            ) -> Option<Self> {
                const KEYS: &[&str] = &[$(stringify!($key),)*];
                let mut record = $name::default();
                for (key, value) in $crate::agent::config::decode::entries(node, $noun, KEYS, sink)? {
                    match key {
                        $( stringify!($key) => {
                            record.$key = $crate::agent::config::decode::Decode::decode(value, sink);
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
                    "type": "object", "additionalProperties": false, "properties": properties,
                })
            }
        }
    )* };
}
pub(super) use record;
