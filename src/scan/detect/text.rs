//! Small questions about bytes.

use std::ops::Range;

/// How many bits a byte of it says, by the frequencies in it alone.
#[expect(clippy::cast_precision_loss, reason = "lengths of values are far below 2^23")]
pub(super) fn entropy(bytes: &[u8]) -> f32 {
    let mut counts = [0_u32; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    let total = bytes.len() as f32;
    counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| count as f32 / total)
        .map(|p| -p * p.log2())
        .sum()
}

/// No letter, digit or underscore touches it, so that it is no piece of something longer. A letter
/// before it may belong to an escape (`\n`, `%3D`).
pub(super) fn stands_alone(data: &[u8], span: &Range<usize>) -> bool {
    let after = data.get(span.end).is_some_and(|&b| is_word(b));
    let before = &data[span.start.saturating_sub(3)..span.start];
    let touched = before.last().is_some_and(|&b| is_word(b));
    let escape = match *before {
        [.., b'\\', b'n' | b'r' | b't'] => true,
        [b'%', a, b] => a.is_ascii_hexdigit() && b.is_ascii_hexdigit(),
        _ => false,
    };
    !after && (!touched || escape)
}

pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The line that the span begins in, at most 200 bytes to both sides.
pub(super) fn line_around<'a>(data: &'a [u8], span: &Range<usize>) -> &'a [u8] {
    let before = &data[span.start.saturating_sub(200)..span.start];
    let after = &data[span.end..data.len().min(span.end + 200)];
    let start = span.start - before.iter().rev().position(|&b| b == b'\n').unwrap_or(before.len());
    let end = span.end + after.iter().position(|&b| b == b'\n').unwrap_or(after.len());
    &data[start..end]
}
