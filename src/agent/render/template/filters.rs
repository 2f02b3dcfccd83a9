//! The filters that secrets need beyond the builtin ones. None of them can do I/O.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};

use super::values::{self, Binary};
use crate::agent::render::base;

/// Makes `b64encode`, `b64decode` and `tojson` known. `urlencode` is a builtin.
pub(super) fn add_to(engine: &mut Environment<'static>) {
    engine.add_filter("b64encode", b64encode);
    engine.add_filter("b64decode", b64decode);
    engine.add_filter("tojson", tojson);
}

/// RFC 4648 section 4, padded.
fn b64encode(value: &Value) -> Result<String, Error> {
    there(value)?;
    Ok(match value.downcast_object_ref::<Binary>() {
        Some(binary) => STANDARD.encode(binary.bytes.as_slice()),
        None => STANDARD.encode(value.to_string()),
    })
}

fn b64decode(value: &Value) -> Result<String, Error> {
    there(value)?;
    let decoded = base::decode_base64(value.to_string().as_bytes());
    let text = decoded.and_then(|bytes| String::from_utf8(bytes.expose().to_vec()).ok());
    text.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "not base64 of text"))
}

/// Compact JSON.
fn tojson(value: &Value) -> Result<String, Error> {
    there(value)?;
    let foreign = matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable)
        && !values::is_ours(value);
    if foreign {
        return Err(Error::new(ErrorKind::BadSerialization, "not a part of a secret"));
    }
    let mut json = String::new();
    values::write_json(value, &mut json)?;
    Ok(json)
}

fn there(value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Undefined => Err(ErrorKind::UndefinedError.into()),
        _ => Ok(()),
    }
}
