//! JSON and YAML: one document, in which every text is quoted and so stays text.
//!
//! YAML is written here and not by a serializer, because numbers must keep the text they were
//! written with (`1.10`), and because nothing shall pass through another library's buffers. The
//! top level is a block mapping; what is nested is in flow style.

use super::FormatFailure;
use super::base::{self, Document, Held};
use super::buffer::Buffer;
use crate::agent::render::RenderError;
use crate::secret::{SecretBytes, SecretValue};

type Refuse<'a> = dyn Fn(&str, FormatFailure) -> RenderError + 'a;

/// One compact JSON document, without a newline at the end.
pub(super) fn json(
    document: &Document<'_>,
    refuse: &Refuse<'_>,
) -> Result<SecretBytes, RenderError> {
    let value_of =
        |key: &str, held: &Held<'_>| base::json(held.value()).map_err(|why| refuse(key, why));
    let fields = match document {
        Document::One(held) => return value_of("", held),
        Document::Fields(fields) => fields,
    };
    let values = fields.iter().map(|(key, held)| Ok((*key, value_of(key, held)?)));
    let values: Vec<_> = values.collect::<Result<_, RenderError>>()?;
    let room = values.iter().map(|(key, value)| 2 * key.len() + value.len() + 4).sum::<usize>();
    let mut out = Buffer::with_room(room + 2);
    for (i, (key, value)) in values.iter().enumerate() {
        out.push(if i == 0 { b'{' } else { b',' });
        json_key(key, &mut out);
        out.push(b':');
        out.extend(value.expose());
    }
    out.push(b'}');
    Ok(out.finish())
}

fn json_key(key: &str, out: &mut Buffer) {
    // A text always has a JSON form, and the buffer takes everything.
    out.extend(serde_json::Value::from(key).to_string().as_bytes());
}

/// One YAML document, readable alike by rules 1.1 and 1.2.
pub(super) fn yaml(
    document: &Document<'_>,
    refuse: &Refuse<'_>,
) -> Result<SecretBytes, RenderError> {
    let mut out = Buffer::with_room(1024);
    match document {
        Document::One(held) => {
            flow(held.value(), &mut out).map_err(|why| refuse("", why))?;
            out.push(b'\n');
        }
        Document::Fields(fields) => {
            for (key, held) in fields {
                yaml_key(key, &mut out).map_err(|why| refuse(key, why))?;
                out.extend(b": ");
                flow(held.value(), &mut out).map_err(|why| refuse(key, why))?;
                out.push(b'\n');
            }
        }
    }
    Ok(out.finish())
}

/// Writes a key plainly where no reader can take it for something else than text.
fn yaml_key(key: &str, out: &mut Buffer) -> Result<(), FormatFailure> {
    /// What YAML 1.1 or 1.2 reads as a boolean or null.
    const RESERVED: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let bytes = key.as_bytes();
    let plain = bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'_')
        && !RESERVED.iter().any(|word| word.eq_ignore_ascii_case(key));
    if plain && key.len() <= MAX_KEY {
        out.extend(bytes);
        return Ok(());
    }
    quoted_key(key, out)
}

/// Characters that a YAML key on one line may have, less some for quotes and escapes: YAML 1.2
/// section 7.4.2 sets 1024.
const MAX_KEY: usize = 250;

fn quoted_key(key: &str, out: &mut Buffer) -> Result<(), FormatFailure> {
    if key.len() > MAX_KEY {
        return Err(FormatFailure::KeyNotName);
    }
    quoted(key, out);
    Ok(())
}

fn flow(value: &SecretValue, out: &mut Buffer) -> Result<(), FormatFailure> {
    match value {
        SecretValue::Null => out.extend(b"null"),
        SecretValue::Bool(value) => out.extend(value.to_string().as_bytes()),
        SecretValue::Number(text) => out.extend(text.expose()),
        SecretValue::Text(text) => {
            let text = std::str::from_utf8(text.expose()).map_err(|_| FormatFailure::NotText)?;
            quoted(text, out);
        }
        SecretValue::List(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                out.extend(if i == 0 { b"" } else { b", " });
                flow(item, out)?;
            }
            out.push(b']');
        }
        SecretValue::Map(fields) => {
            out.push(b'{');
            for (i, (key, value)) in fields.iter().enumerate() {
                out.extend(if i == 0 { b"" } else { b", " });
                quoted_key(key, out)?;
                out.extend(b": ");
                flow(value, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// A double-quoted scalar. What YAML does not call printable (1.2 section 5.1), and what some
/// readers take for the end of a line, is escaped.
fn quoted(text: &str, out: &mut Buffer) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend(b"\\\""),
            '\\' => out.extend(b"\\\\"),
            '\n' => out.extend(b"\\n"),
            '\r' => out.extend(b"\\r"),
            '\t' => out.extend(b"\\t"),
            '\0'..' ' | '\u{7f}'..='\u{9f}' => {
                out.extend(format!("\\x{:02x}", u32::from(c)).as_bytes());
            }
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                out.extend(format!("\\u{:04x}", u32::from(c)).as_bytes());
            }
            c => out.push_char(c),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests;
