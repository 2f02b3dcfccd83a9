//! Formats of one line per value: the frame they share, and those of the shell and of Java.

use super::FormatFailure;
use super::base::{self, Document};
use super::buffer::Buffer;
use crate::agent::render::RenderError;
use crate::secret::SecretBytes;

/// Writes each field by `line`, which says why where it can't.
pub(super) fn write(
    document: &Document<'_>,
    line: impl Fn(&str, &[u8], &mut Buffer) -> Result<(), FormatFailure>,
    refuse: &dyn Fn(&str, FormatFailure) -> RenderError,
) -> Result<SecretBytes, RenderError> {
    let Document::Fields(fields) = document else {
        return Err(refuse("", FormatFailure::NoFields));
    };
    let mut out = Buffer::with_room(1024);
    for (key, held) in fields {
        base::deliver(held.value())
            .and_then(|bytes| line(key, bytes.expose(), &mut out))
            .map_err(|why| refuse(key, why))?;
    }
    Ok(out.finish())
}

/// Whether `key` is the name of a variable: POSIX 8.1, and lower case too.
pub(super) fn is_name(key: &str) -> bool {
    let bytes = key.as_bytes();
    bytes.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
        && bytes.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `KEY='value'` for a POSIX shell: inside single quotes everything but the quote stands for
/// itself (POSIX 2.2.2).
pub(super) fn shell(key: &str, value: &[u8], out: &mut Buffer) -> Result<(), FormatFailure> {
    if !is_name(key) {
        return Err(FormatFailure::KeyNotName);
    }
    if value.contains(&0) {
        return Err(FormatFailure::Nul);
    }
    out.extend(key.as_bytes());
    out.extend(b"='");
    for (i, piece) in value.split(|&b| b == b'\'').enumerate() {
        out.extend(if i == 0 { b"" } else { b"'\\''" });
        out.extend(piece);
    }
    out.extend(b"'\n");
    Ok(())
}

/// `key=value` for `java.util.Properties.load`: ASCII, so that it does not matter whether the
/// reader thinks of Latin-1 or UTF-8.
pub(super) fn properties(key: &str, value: &[u8], out: &mut Buffer) -> Result<(), FormatFailure> {
    if key.is_empty() {
        return Err(FormatFailure::KeyEmpty);
    }
    let value = std::str::from_utf8(value).map_err(|_| FormatFailure::NotText)?;
    key.chars().for_each(|c| property_char(c, true, out));
    out.push(b'=');
    for (i, c) in value.chars().enumerate() {
        property_char(c, i == 0, out);
    }
    out.push(b'\n');
    Ok(())
}

/// Writes one character. `before_text`: where a blank would be taken for a separator.
fn property_char(c: char, before_text: bool, out: &mut Buffer) {
    match c {
        '\n' => out.extend(b"\\n"),
        '\r' => out.extend(b"\\r"),
        '\t' => out.extend(b"\\t"),
        '\x0c' => out.extend(b"\\f"),
        ' ' if !before_text => out.push(b' '),
        ' ' | '\\' | '=' | ':' | '#' | '!' => {
            out.push(b'\\');
            out.push_char(c);
        }
        '\x21'..='\x7e' => out.push_char(c),
        c => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.extend(format!("\\u{unit:04X}").as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests;
