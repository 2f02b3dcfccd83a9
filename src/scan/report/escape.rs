//! Escaping: an image chooses its names, labels and history, and must not choose what a terminal or
//! a browser does.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Characters that change how the text around them is read: controls, bidirectional marks, line and
/// paragraph separators, and what has no width.
pub fn is_unruly(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}' | '\u{e0000}'..='\u{e007f}')
}

/// For a terminal, a log, one line. In the log of a GitHub workflow, `::` at the beginning and `##[`
/// anywhere begin a command.
pub fn plain(text: &str) -> Cow<'_, str> {
    if let Some(rest) = text.trim_start().strip_prefix("::") {
        return Cow::Owned(format!("\\x3a:{}", plain(rest)));
    }
    if text.contains("##[") {
        return Cow::Owned(plain(&text.replace("##[", "##\\x5b")).into_owned());
    }
    if !text.contains(is_unruly) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_unruly(c) && u32::from(c) < 0x80 => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if is_unruly(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Bytes as text: what is no UTF-8 becomes `\xNN`.
pub fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    Cow::Owned(out)
}

/// Bytes for a terminal.
pub fn plain_bytes(bytes: &[u8]) -> String {
    plain(&utf8(bytes)).into_owned()
}

/// JSON on its way out: unruly characters, which can only be in strings there, become `\u` escapes.
pub struct JsonWriter<W> {
    out: W,
    /// `<`, `>` and `&` too, so that the JSON may stand in a page.
    html: bool,
}

impl<W: Write> JsonWriter<W> {
    /// For a file or a terminal.
    pub fn new(out: W) -> JsonWriter<W> {
        JsonWriter { out, html: false }
    }

    /// For the inside of a `<script>`.
    pub fn for_html(out: W) -> JsonWriter<W> {
        JsonWriter { out, html: true }
    }

    /// Where the next character is that is written as an escape. `##[` begins a command in the log
    /// of a GitHub workflow, wherever it stands.
    fn next(&self, text: &str) -> Option<(usize, char)> {
        let mut marks = 0;
        text.char_indices().find(|&(_, c)| {
            let command = c == '[' && marks >= 2;
            marks = if c == '#' { marks + 1 } else { 0 };
            let markup = self.html && matches!(c, '<' | '>' | '&');
            command || markup || (is_unruly(c) && c != '\n')
        })
    }
}

impl<W: Write> Write for JsonWriter<W> {
    /// `serde_json` writes whole characters at a time.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        };
        let mut rest = text;
        while let Some((at, c)) = self.next(rest) {
            self.out.write_all(&rest.as_bytes()[..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(self.out, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        self.out.write_all(rest.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_spelt_out() {
        assert_eq!(plain("a\x1b]52;c;x\x07b"), "a\\x1b]52;c;x\\x07b");
        assert_eq!(plain("evil\u{202e}gnp.sh\u{9b}31m"), "evil\\u{202e}gnp.sh\\u{9b}31m");
        assert_eq!(plain("two\nlines\r"), "two\\nlines\\r");
        assert!(matches!(plain("grüße, 世界"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_a_workflow_takes_for_a_command_is_spelt_out() {
        assert_eq!(plain("::error::x"), "\\x3a:error::x");
        assert_eq!(plain("  ::x"), "\\x3a:x");
        assert_eq!(plain("a ##[group]"), "a ##\\x5bgroup]");
    }

    #[test]
    fn bytes_that_are_no_text_are_spelt_out() {
        assert_eq!(plain_bytes(b"caf\xe9/\xff"), "caf\\xe9/\\xff");
    }

    #[test]
    fn json_is_the_same_value_without_unruly_characters() {
        let value = serde_json::json!({ "a\u{202e}": "\x1b</script>\u{e0041}\u{2028}&##[x]" });
        for html in [false, true] {
            let mut out = Vec::new();
            let writer = JsonWriter { out: &mut out, html };
            serde_json::to_writer(writer, &value).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(!text.contains(is_unruly), "{text:?}");
            assert!(!text.contains("##["));
            assert_eq!(text.contains('<'), !html);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        }
    }
}
