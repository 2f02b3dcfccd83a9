//! Secrets as a template sees them.
//!
//! The engine wants values of its own, so what a template names is copied once; the copies are
//! not wiped by us (the allocator of the binary does that).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use zeroize::Zeroizing;

use super::is_there;
use crate::agent::render::Secrets;
use crate::secret::{FieldPath, SecretName, SecretValue};

/// Where in the secrets a value is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) secret: SecretName,
    pub(super) field: FieldPath,
}

impl Place {
    fn child(&self, name: &str) -> Place {
        let name = name.to_owned();
        let field = match &self.field {
            FieldPath::Whole => FieldPath::Field(name),
            FieldPath::Field(first) => FieldPath::Pointer(vec![first.clone(), name]),
            FieldPath::Pointer(parts) => {
                FieldPath::Pointer(parts.iter().cloned().chain([name]).collect())
            }
        };
        Place { secret: self.secret.clone(), field }
    }
}

/// What the template asked for and was not there, and what it used though it is not text. The
/// engine's errors have no room for either.
#[derive(Clone, Debug)]
pub(super) struct Trace(Arc<Mutex<Seen>>);

#[derive(Debug)]
struct Seen {
    source: String,
    missing: Option<Place>,
    binary: Option<Place>,
}

impl Trace {
    /// A trace of the render of `source`.
    pub(super) fn of(source: &str) -> Trace {
        Trace(Arc::new(Mutex::new(Seen { source: source.to_owned(), missing: None, binary: None })))
    }

    /// Remembers that the field `name` of `parent` was asked for and is missing. A name that does
    /// not stand in the template was made of values, and must not get into an error.
    fn miss(&self, parent: &Place, name: &str) {
        self.with(|seen| {
            let known = seen.source.contains(name);
            seen.missing = known.then(|| parent.child(name));
        });
    }

    /// The last thing that was asked for and is missing: the one that an "undefined" error is
    /// about, because undefined values fail where they are used.
    pub(super) fn missing(&self) -> Option<Place> {
        self.with(|seen| seen.missing.take())
    }

    /// The first value that was written out though it is not text.
    pub(super) fn binary(&self) -> Option<Place> {
        self.with(|seen| seen.binary.take())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Seen) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

macro_rules! silent_debug {
    ($($kind:ident),*) => { $(
        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($kind))
            }
        }
    )* };
}
silent_debug!(Context, Fields, Items, Number, Binary);

/// The names of the secrets.
struct Context {
    names: BTreeSet<SecretName>,
    secrets: BTreeMap<String, Value>,
    trace: Trace,
}

/// All that the template can see: the secrets called `names`.
pub(super) fn context(names: &BTreeSet<SecretName>, secrets: &Secrets<'_>, trace: &Trace) -> Value {
    let present = names.iter().filter_map(|name| Some((name, secrets.get(name)?)));
    let values = present.map(|(name, secret)| {
        let place = Place { secret: name.clone(), field: FieldPath::Whole };
        (name.to_string(), seen(&secret.value, &place, trace))
    });
    Value::from_object(Context {
        secrets: values.collect(),
        names: names.clone(),
        trace: trace.clone(),
    })
}

impl Object for Context {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        if let Some(value) = self.secrets.get(name) {
            return Some(value.clone());
        }
        let secret = self.names.iter().find(|known| known.as_str() == name);
        let missing =
            secret.map(|secret| Place { secret: secret.clone(), field: FieldPath::Whole });
        self.trace.with(|seen| seen.missing = missing);
        None
    }
}

fn seen(value: &SecretValue, place: &Place, trace: &Trace) -> Value {
    match value {
        SecretValue::Null => Value::from(()),
        SecretValue::Bool(value) => Value::from(*value),
        SecretValue::Number(text) => number(&String::from_utf8_lossy(text.expose())),
        SecretValue::Text(bytes) => match std::str::from_utf8(bytes.expose()) {
            Ok(text) => Value::from(text),
            Err(_) => Value::from_object(Binary {
                bytes: Zeroizing::new(bytes.expose().to_vec()),
                place: place.clone(),
                trace: trace.clone(),
            }),
        },
        SecretValue::List(items) => {
            let items = items.iter().enumerate();
            let items = items.map(|(i, item)| seen(item, &place.child(&i.to_string()), trace));
            Value::from_object(Items {
                values: items.collect(),
                place: place.clone(),
                trace: trace.clone(),
            })
        }
        SecretValue::Map(fields) => {
            let values = fields.iter();
            let values = values.map(|(k, field)| (k.clone(), seen(field, &place.child(k), trace)));
            Value::from_object(Fields {
                values: values.collect(),
                place: place.clone(),
                trace: trace.clone(),
            })
        }
    }
}

/// A number that can be counted with where that does not change how it is written.
fn number(text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(n) if n.to_string() == text => Value::from(n),
        _ => Value::from_object(Number(Zeroizing::new(text.to_owned()))),
    }
}

/// Fields by name. One that is null is missing.
pub(super) struct Fields {
    values: BTreeMap<String, Value>,
    place: Place,
    trace: Trace,
}

impl Object for Fields {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        let found = self.values.get(name).filter(|value| is_there(value));
        if found.is_none() {
            self.trace.miss(&self.place, name);
        }
        found.cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let there = self.values.iter().filter(|(_, value)| is_there(value));
        Enumerator::Values(there.map(|(name, _)| Value::from(name.as_str())).collect())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_fields(self, f)
    }
}

/// An array. Written out it is its lines if it holds only text, and JSON otherwise.
/// An item that is null is missing.
pub(super) struct Items {
    values: Vec<Value>,
    place: Place,
    trace: Trace,
}

impl Object for Items {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let index = key.as_usize()?;
        let found = self.values.get(index)?;
        if is_there(found) {
            return Some(found.clone());
        }
        self.trace.with(|seen| seen.missing = Some(self.place.child(&index.to_string())));
        Some(Value::UNDEFINED)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.values.len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(lines) = self.values.iter().map(Value::as_str).collect::<Option<Vec<_>>>() else {
            return write_items(&self.values, f);
        };
        let mut lines = lines.into_iter().filter(|line| !line.is_empty()).peekable();
        while let Some(line) = lines.next() {
            match lines.peek() {
                Some(_) => writeln!(f, "{}", line.trim_end_matches(['\r', '\n']))?,
                None => f.write_str(line)?,
            }
        }
        Ok(())
    }
}

/// A number as it was written.
pub(super) struct Number(Zeroizing<String>);

impl Object for Number {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bytes that are not text. Only `b64encode` can use them; whoever writes them out leaves a trace
/// that makes the render fail.
pub(super) struct Binary {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    place: Place,
    trace: Trace,
}

impl Object for Binary {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.trace.with(|seen| seen.binary.get_or_insert_with(|| self.place.clone()).clone());
        Ok(())
    }
}

/// Whether this is an array or a map of a secret, and not one that the template made.
pub(super) fn is_ours(value: &Value) -> bool {
    value.downcast_object_ref::<Fields>().is_some()
        || value.downcast_object_ref::<Items>().is_some()
}

/// A value as compact JSON.
pub(super) fn write_json(value: &Value, f: &mut dyn fmt::Write) -> fmt::Result {
    if let Some(fields) = value.downcast_object_ref::<Fields>() {
        write_fields(fields, f)
    } else if let Some(items) = value.downcast_object_ref::<Items>() {
        write_items(&items.values, f)
    } else if let Some(text) = value.as_str() {
        f.write_str(&serde_json::Value::from(text).to_string())
    } else if value.is_none() {
        f.write_str("null")
    } else if let Ok(flag) = bool::try_from(value.clone()) {
        write!(f, "{flag}")
    } else {
        // Numbers, and binary values, which leave their trace.
        write!(f, "{value}")
    }
}

fn write_fields(fields: &Fields, f: &mut dyn fmt::Write) -> fmt::Result {
    for (i, (name, value)) in fields.values.iter().enumerate() {
        f.write_str(if i == 0 { "{" } else { "," })?;
        write!(f, "{}:", serde_json::Value::from(name.as_str()))?;
        write_json(value, f)?;
    }
    f.write_str(if fields.values.is_empty() { "{}" } else { "}" })
}

fn write_items(items: &[Value], f: &mut dyn fmt::Write) -> fmt::Result {
    f.write_str("[")?;
    for (i, item) in items.iter().enumerate() {
        f.write_str(if i == 0 { "" } else { "," })?;
        write_json(item, f)?;
    }
    f.write_str("]")
}
