//! The filters that secrets need beyond the builtin ones, and builtin ones made strict: some of
//! those take a missing value for an empty one. None of them can do I/O.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, filters};

use super::values::{self, Binary};
use crate::agent::render::base;

/// Adds what is ours and takes away what could deliver a missing value as nothing.
pub(super) fn add_to(engine: &mut Environment<'static>) {
    engine.add_filter("b64encode", b64encode);
    engine.add_filter("b64decode", b64decode);
    engine.add_filter("tojson", tojson);
    engine.add_filter("urlencode", |value: &Value| there(value).and_then(filters::urlencode));
    engine.add_filter("escape", escape);
    engine.add_filter("e", escape);
    engine.add_filter("join", join);
    engine.add_filter("indent", indent);
    for name in ["chain", "sum", "zip"] {
        engine.remove_filter(name);
    }
}

/// Lets a value pass that is there.
pub(super) fn there(value: &Value) -> Result<&Value, Error> {
    match value.kind() {
        ValueKind::Undefined => Err(ErrorKind::UndefinedError.into()),
        ValueKind::None => Err(Error::new(ErrorKind::InvalidOperation, super::NONE)),
        _ => Ok(value),
    }
}

/// RFC 4648 section 4, padded.
fn b64encode(value: &Value) -> Result<String, Error> {
    Ok(match there(value)?.downcast_object_ref::<Binary>() {
        Some(binary) => STANDARD.encode(binary.bytes.as_slice()),
        None => STANDARD.encode(value.to_string()),
    })
}

fn b64decode(value: &Value) -> Result<String, Error> {
    let decoded = base::decode_base64(there(value)?.to_string().as_bytes());
    let text = decoded.and_then(|bytes| String::from_utf8(bytes.expose().to_vec()).ok());
    text.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "not base64 of text"))
}

/// `&`, `<`, `>` and quotes as HTML and XML want them.
fn escape(state: &mut State<'_, '_>, value: &Value) -> Result<Value, Error> {
    filters::escape(state, there(value)?)
}

/// Compact JSON, of parts of secrets and of what the template puts together.
fn tojson(state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
    let mut json = String::new();
    add_json(state, value, &mut json)?;
    Ok(json)
}

fn add_json(state: &State<'_, '_>, value: &Value, json: &mut String) -> Result<(), Error> {
    there(value)?;
    state.consume_fuel(1)?;
    let foreign = !values::is_ours(value);
    match value.kind() {
        ValueKind::Map if foreign => {
            let mut separator = "{";
            for key in value.try_iter()? {
                json.push_str(separator);
                json.push_str(&serde_json::Value::from(key.to_string()).to_string());
                json.push(':');
                add_json(state, &value.get_item(&key)?, json)?;
                separator = ",";
            }
            json.push_str(if separator == "{" { "{}" } else { "}" });
        }
        ValueKind::Seq | ValueKind::Iterable if foreign => {
            let mut separator = "[";
            for item in value.try_iter()? {
                json.push_str(separator);
                add_json(state, &item, json)?;
                separator = ",";
            }
            json.push_str(if separator == "[" { "[]" } else { "]" });
        }
        _ => values::write_json(value, json)?,
    }
    Ok(())
}

/// The items with `joiner` between them.
fn join(state: &State<'_, '_>, value: &Value, joiner: Option<&str>) -> Result<String, Error> {
    let joiner = joiner.unwrap_or_default();
    let mut out = String::new();
    for (i, item) in there(value)?.try_iter()?.enumerate() {
        let item = there(&item)?.to_string();
        pay(state, item.len() + joiner.len())?;
        if i > 0 {
            out.push_str(joiner);
        }
        out.push_str(&item);
    }
    Ok(out)
}

/// `indent(4)`: blanks in front of every line but the first (`first=true`: of that too) and but
/// empty ones.
#[expect(clippy::needless_pass_by_value, reason = "the engine hands options over by value")]
fn indent(
    state: &State<'_, '_>,
    value: &Value,
    width: Option<usize>,
    options: Kwargs,
) -> Result<String, Error> {
    let width = width.map_or_else(|| options.get::<Option<usize>>("width"), |w| Ok(Some(w)))?;
    let first = options.get::<Option<bool>>("first")?.unwrap_or(false);
    options.assert_all_used()?;
    let width = width.unwrap_or(4);
    let text = there(value)?.to_string();
    let mut indented = String::new();
    for (i, line) in text.split_inclusive('\n').enumerate() {
        let blanks = if (i > 0 || first) && !line.trim().is_empty() { width } else { 0 };
        pay(state, line.len().saturating_add(blanks))?;
        indented.extend(std::iter::repeat_n(' ', blanks));
        indented.push_str(line);
    }
    Ok(indented)
}

/// Charges for bytes before they are made. The engine's own price: one step for 64 of them.
fn pay(state: &State<'_, '_>, bytes: usize) -> Result<(), Error> {
    state.consume_fuel(1 + bytes as u64 / 64)
}
