//! dotenv, which has no standard: what is written here means the same to every common reader.
//!
//! The readers are python-dotenv, Node (`dotenv` and `node --env-file`) and Docker Compose's
//! `env_file`. They agree on
//!
//! 1. `'…'`, in which everything stands for itself, newlines too: unless it holds a `'`, two
//!    backslashes in a row or one at the end (python-dotenv unescapes those);
//! 2. `"…"` without `"`, `\` and `$`;
//! 3. no quotes at all, for visible ASCII that does not begin with a quote and has no `#` and `$`.
//!
//! The first that fits is taken; Rust's `dotenvy` agrees on the first two. They disagree on
//! carriage returns (Node drops them) and on `${…}` (python-dotenv replaces it inside any quotes),
//! so these are refused by name, and so is what fits none of the three.

use super::FormatFailure;
use super::buffer::Buffer;
use super::lines::is_name;

/// Writes `KEY=value`.
pub(super) fn line(key: &str, value: &[u8], out: &mut Buffer) -> Result<(), FormatFailure> {
    if !is_name(key) {
        return Err(FormatFailure::KeyNotName);
    }
    let text = std::str::from_utf8(value).map_err(|_| FormatFailure::NotText)?;
    let quote = quote_for(text)?;
    out.extend(key.as_bytes());
    out.push(b'=');
    out.extend(quote);
    out.extend(value);
    out.extend(quote);
    out.push(b'\n');
    Ok(())
}

/// The quotes that all readers take off in the same way.
fn quote_for(text: &str) -> Result<&'static [u8], FormatFailure> {
    if text.contains('\0') {
        Err(FormatFailure::Nul)
    } else if text.contains('\r') {
        Err(FormatFailure::CarriageReturn)
    } else if text.split_once("${").is_some_and(|(_, rest)| rest.contains('}')) {
        Err(FormatFailure::Substitution)
    } else if !text.contains('\'') && !text.contains("\\\\") && !text.ends_with('\\') {
        Ok(b"'")
    } else if !text.contains(['"', '\\', '$']) {
        Ok(b"\"")
    } else if stands_alone(text) {
        Ok(b"")
    } else {
        Err(FormatFailure::Quotes)
    }
}

fn stands_alone(text: &str) -> bool {
    !text.starts_with(['\'', '"', '`'])
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#' && b != b'$')
}

#[cfg(test)]
mod tests;
