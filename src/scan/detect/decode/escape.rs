//! Percent escapes, and the escapes of JSON, JavaScript and shells.

use super::Decoded;
use crate::scan::detect::matcher::View;
use crate::scan::finding::Via;

/// The longest stretch to both sides.
const REACH: usize = 4 << 10;

/// Puts every stretch with escapes in the part that is looked at into `out`.
pub(super) fn find(view: &View<'_>, out: &mut Vec<Decoded>) {
    each(view, b'%', Via::Percent, out);
    each(view, b'\\', Via::Escape, out);
}

fn each(view: &View<'_>, sign: u8, via: Via, out: &mut Vec<Decoded>) {
    let mut at = view.from;
    while let Some(found) = view.data.get(at..view.to).and_then(|rest| memchr::memchr(sign, rest)) {
        at += found;
        if escaped(&view.data[at..]).is_none() {
            at += 1;
            continue;
        }
        let before = view.data[..at].iter().rev().take(REACH).take_while(|&&b| is_part(b)).count();
        let after = view.data[at..].iter().take(REACH).take_while(|&&b| is_part(b)).count();
        let span = at - before..at + after;
        out.push(Decoded { via, bytes: decode(&view.data[span.clone()]), span });
        at += after;
    }
}

fn is_part(byte: u8) -> bool {
    byte > b' ' && byte < 0x7f && !b"<>".contains(&byte)
}

/// The byte that an escape stands for, if it is readable, and how long the escape is.
fn escaped(rest: &[u8]) -> Option<(u8, usize)> {
    let (digits, length) = match rest {
        [b'%', digits @ ..] => (digits, 3),
        [b'\\', b'x', digits @ ..] => (digits, 4),
        [b'\\', b'u', b'0', b'0', digits @ ..] => (digits, 6),
        _ => return None,
    };
    let value = |byte: u8| char::from(byte).to_digit(16);
    let byte = value(*digits.first()?)? << 4 | value(*digits.get(1)?)?;
    let byte = byte.to_le_bytes()[0];
    matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t').then_some((byte, length))
}

fn decode(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let (byte, length) = match (byte, text.get(at + 1)) {
            (b'\\', Some(b'n')) => (b'\n', 2),
            (b'\\', Some(b'r')) => (b'\r', 2),
            (b'\\', Some(b't')) => (b'\t', 2),
            (b'\\', Some(&quoted @ (b'"' | b'\'' | b'\\' | b'/'))) => (quoted, 2),
            _ => escaped(&text[at..]).unwrap_or((byte, 1)),
        };
        bytes.push(byte);
        at += length;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_what_they_stand_for() {
        let cases = [
            ("a token%3Dabc%26x b", Via::Percent, "token=abc&x"),
            (r#"x = "\u0061b\x63\n";"#, Via::Escape, "\"abc\n\";"),
        ];
        for (text, via, expected) in cases {
            let mut out = Vec::new();
            find(&View::whole(text.as_bytes()), &mut out);
            assert_eq!((out[0].via, &out[0].bytes[..]), (via, expected.as_bytes()));
        }
    }
}
