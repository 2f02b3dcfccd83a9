//! The plaintext of a local store: YAML in, secrets out, and back. No error here quotes anything.

use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use zeroize::Zeroizing;

use super::error::YamlFault;
use crate::secret::{SecretBytes, SecretValue};

/// The secrets of a store by their names.
pub type Entries = BTreeMap<String, SecretValue>;

/// How deep a value may be nested: a secret's fields and a few levels within them.
const MAX_DEPTH: usize = 32;

/// Reads the plaintext.
///
/// Plain scalars follow the core schema of YAML 1.2; a number keeps its text. What is a number in
/// YAML but not in JSON (`0644`, `0x1F`, `.5`) stays text, so that it is delivered as it was
/// written. `!!str` and `!!binary` are understood, other tags refused, and aliases too.
///
/// # Errors
///
/// What is wrong and where. Duplicate keys are refused at any depth.
pub fn parse(text: &str) -> Result<Entries, YamlFault> {
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    let mut began = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| YamlFault::Syntax(place(error.marker())))?;
        let at = place(&span.start);
        let content =
            matches!(event, Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..));
        if content && began.is_none() {
            began = Some(at);
        }
        let done = match event {
            Event::Scalar(text, style, _, tag) => {
                if let Some(map) = open.last_mut().filter(|map| map.wants_key()) {
                    map.key(text.into_owned(), at)?;
                    continue;
                }
                Some(scalar(&text, style, tag.as_deref(), at)?)
            }
            Event::SequenceStart(_, tag) | Event::MappingStart(_, tag) if tag.is_some() => {
                return Err(YamlFault::Tag(at));
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                None
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(BTreeMap::new(), None));
                None
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().map(Open::close),
            Event::Alias(_) => return Err(YamlFault::Alias(at)),
            Event::DocumentStart(_) if root.is_some() => return Err(YamlFault::Second(at)),
            _ => None,
        };
        if open.len() > MAX_DEPTH {
            return Err(YamlFault::TooDeep(at));
        }
        if open.iter().rev().skip(1).any(|outer| outer.wants_key()) {
            return Err(YamlFault::KeyNotText(at));
        }
        if let Some(value) = done {
            match open.last_mut() {
                Some(outer) => outer.add(value).map_err(|()| YamlFault::KeyNotText(at))?,
                None => root = Some(value),
            }
        }
    }
    match root {
        None | Some(SecretValue::Null) => Ok(Entries::new()),
        Some(SecretValue::Map(entries)) => Ok(entries),
        Some(_) => Err(YamlFault::NotMapping(began.unwrap_or((1, 1)))),
    }
}

/// Line and column, both from 1.
fn place(marker: &Marker) -> (usize, usize) {
    (marker.line(), marker.col() + 1)
}

/// A list or a mapping that has not ended yet.
enum Open {
    List(Vec<SecretValue>),
    Map(BTreeMap<String, SecretValue>, Option<String>),
}

impl Open {
    fn wants_key(&self) -> bool {
        matches!(self, Open::Map(_, None))
    }

    fn key(&mut self, name: String, at: (usize, usize)) -> Result<(), YamlFault> {
        if let Open::Map(fields, key) = self {
            if fields.contains_key(&name) {
                return Err(YamlFault::DuplicateKey(at));
            }
            *key = Some(name);
        }
        Ok(())
    }

    fn add(&mut self, value: SecretValue) -> Result<(), ()> {
        match self {
            Open::List(items) => items.push(value),
            Open::Map(fields, key) => {
                fields.insert(key.take().ok_or(())?, value);
            }
        }
        Ok(())
    }

    fn close(self) -> SecretValue {
        match self {
            Open::List(items) => SecretValue::List(items),
            Open::Map(fields, _) => SecretValue::Map(fields),
        }
    }
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    at: (usize, usize),
) -> Result<SecretValue, YamlFault> {
    let as_text = || SecretValue::Text(SecretBytes::copy_of(text.as_bytes()));
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => return Ok(as_text()),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "binary" => {
            let packed: String = text.split_ascii_whitespace().collect();
            let packed = Zeroizing::new(packed);
            let bytes = STANDARD.decode(packed.as_bytes()).map_err(|_| YamlFault::NotBase64(at))?;
            return Ok(SecretValue::Text(SecretBytes::from(bytes)));
        }
        Some(_) => return Err(YamlFault::Tag(at)),
        None => {}
    }
    if style != ScalarStyle::Plain {
        return Ok(as_text());
    }
    // YAML 1.2.2 section 10.3.2.
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => SecretValue::Null,
        "true" | "True" | "TRUE" => SecretValue::Bool(true),
        "false" | "False" | "FALSE" => SecretValue::Bool(false),
        text if is_json_number(text) => SecretValue::Number(SecretBytes::copy_of(text.as_bytes())),
        _ => as_text(),
    })
}

/// RFC 8259 section 6.
fn is_json_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    digits(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|text| digits(text.strip_prefix(['+', '-']).unwrap_or(text)))
}

/// Writes the plaintext as a person would: one entry per secret, one line per field, text of
/// several lines as a block. [`parse`] gives back the same.
pub fn write(header: &str, entries: &Entries) -> SecretBytes {
    // Room for the usual case at once; a larger one leaves copies to the allocator, which wipes.
    let mut out = Zeroizing::new(String::with_capacity(64 << 10));
    out.push_str(header);
    if entries.is_empty() {
        out.push_str("{}\n");
    }
    for (name, value) in entries {
        key(name, &mut out);
        match value {
            SecretValue::Map(fields) if !fields.is_empty() => {
                out.push_str(":\n");
                for (field, value) in fields {
                    out.push_str("  ");
                    key(field, &mut out);
                    out.push(':');
                    block(value, 4, &mut out);
                }
            }
            value => {
                out.push(':');
                block(value, 2, &mut out);
            }
        }
    }
    SecretBytes::copy_of(out.as_bytes())
}

/// A value after its key, to the end of its last line.
fn block(value: &SecretValue, indent: usize, out: &mut String) {
    let lines = match value {
        SecretValue::Text(bytes) => std::str::from_utf8(bytes.expose()).ok(),
        _ => None,
    };
    match lines.filter(|text| suits_block(text)) {
        Some(text) => {
            out.push_str(if text.ends_with('\n') { " |\n" } else { " |-\n" });
            for line in text.lines() {
                out.extend(std::iter::repeat_n(' ', if line.is_empty() { 0 } else { indent }));
                out.push_str(line);
                out.push('\n');
            }
        }
        None => {
            out.push(' ');
            flow(value, out);
            out.push('\n');
        }
    }
}

/// Whether text of several lines comes back from a literal block as it was.
fn suits_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.starts_with([' ', '\n'])
        && !body.ends_with('\n')
        && body.chars().all(|c| c == '\n' || !needs_escape(c))
        && body.lines().all(|line| !line.trim_ascii().is_empty() || line.is_empty())
}

fn flow(value: &SecretValue, out: &mut String) {
    match value {
        SecretValue::Null => out.push_str("null"),
        SecretValue::Bool(true) => out.push_str("true"),
        SecretValue::Bool(false) => out.push_str("false"),
        SecretValue::Number(text) => out.push_str(&String::from_utf8_lossy(text.expose())),
        SecretValue::Text(bytes) => match std::str::from_utf8(bytes.expose()) {
            Ok(text) => quoted(text, out),
            Err(_) => {
                out.push_str("!!binary \"");
                STANDARD.encode_string(bytes.expose(), out);
                out.push('"');
            }
        },
        SecretValue::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                flow(item, out);
            }
            out.push(']');
        }
        SecretValue::Map(fields) => {
            out.push('{');
            for (i, (name, value)) in fields.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                quoted(name, out);
                out.push_str(": ");
                flow(value, out);
            }
            out.push('}');
        }
    }
}

fn key(name: &str, out: &mut String) {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b));
    if plain { out.push_str(name) } else { quoted(name, out) }
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if needs_escape(c) => {
                // A string takes everything.
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// What YAML calls not printable (1.2.2 section 5.1), or some readers take for the end of a line.
fn needs_escape(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests;
