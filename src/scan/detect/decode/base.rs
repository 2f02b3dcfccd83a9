//! base64, base64url and hexadecimal, also in lines, and gzip inside them.

use std::io::Read as _;
use std::ops::Range;

use super::Decoded;
use crate::scan::detect::matcher::View;
use crate::scan::finding::Via;

/// The shortest run: 24 bytes of text.
const SHORTEST: usize = 32;
/// The shortest line of a run that goes on in the next one.
const LINE: usize = 56;
/// Runs are found by whole blocks of this size: wherever they are counted from, the shortest run has one.
const BLOCK: usize = 16;
/// The most that is inflated out of one run.
const INFLATED: u64 = 2 << 20;
/// Bytes at the beginning that have to be text: less than the shortest run has.
const SAMPLE: usize = 21;

/// The six bits of a digit, or 255.
const VALUES: [u8; 256] = values();

const fn values() -> [u8; 256] {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [255; 256];
    let mut value = 0_u8;
    while value < 64 {
        table[alphabet[value as usize] as usize] = value;
        value += 1;
    }
    table[b'-' as usize] = 62;
    table[b'_' as usize] = 63;
    table
}

fn is_digit(byte: u8) -> bool {
    VALUES[usize::from(byte)] < 64
}

/// Puts every run in the part that is looked at, and decodes to text, into `out`.
pub(super) fn find(view: &View<'_>, out: &mut Vec<Decoded>) {
    // A run may have begun before the part, and its first whole block may begin behind it.
    let mut at = view.from.saturating_sub(SHORTEST - 1);
    while at < view.to + BLOCK
        && let Some(block) = view.data.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>())
    {
        if !all_digits(block) {
            at += BLOCK;
            continue;
        }
        let run = run_around(view.data, at);
        let unknown = run.start == 0 && !view.is_start;
        (0..if unknown { 4 } else { 1 }).for_each(|skip| {
            decode(view.data, &(run.start + skip..run.end), out);
        });
        at = run.end.max(at + BLOCK);
    }
}

/// Without a branch in it, so that it is a few instructions.
fn all_digits(block: &[u8; BLOCK]) -> bool {
    let others = block.iter().fold(0, |others, &b| {
        let letter = u8::from((b | 0x20).wrapping_sub(b'a') < 26);
        let number = u8::from(b.wrapping_sub(b'/') <= b'9' - b'/');
        let sign = u8::from(b == b'+') | u8::from(b == b'-') | u8::from(b == b'_');
        others | (letter | number | sign) ^ 1
    });
    others == 0
}

/// The run of digits that the byte at `at` is in, with its line breaks.
fn run_around(data: &[u8], at: usize) -> Range<usize> {
    let start = at - data[..at].iter().rev().take_while(|&&b| is_digit(b)).count();
    let mut end = start;
    loop {
        let line = data[end..].iter().take_while(|&&b| is_digit(b)).count();
        end += line;
        let next = line_break(&data[end..]);
        let goes_on = line >= LINE && is_line(&data[end + next..]);
        if next == 0 || !goes_on {
            return start..end;
        }
        end += next;
    }
}

/// More than a word of the next line.
fn is_line(rest: &[u8]) -> bool {
    let digits = rest.iter().take(8).take_while(|&&b| is_digit(b)).count();
    digits == 8 || digits > 0 && rest.get(digits) == Some(&b'=')
}

/// How long the line break and the indentation are.
fn line_break(rest: &[u8]) -> usize {
    let length = match rest {
        [b'\r', b'\n', ..] | [b'\\', b'n', ..] => 2,
        [b'\n', ..] => 1,
        _ => return 0,
    };
    length + rest[length..].iter().take(40).take_while(|&&b| b == b' ' || b == b'\t').count()
}

fn decode(data: &[u8], run: &Range<usize>, out: &mut Vec<Decoded>) {
    if run.len() < SHORTEST {
        return;
    }
    let digits = &data[run.clone()];
    let sample = sample(digits);
    if is_text(&sample) || is_wide(&sample) {
        out.push(Decoded { via: Via::Base64, span: run.clone(), bytes: from_base64(digits) });
    } else if sample.starts_with(&[0x1f, 0x8b, 8]) {
        let mut bytes = Vec::new();
        let packed = from_base64(digits);
        let inflated = flate2::read::GzDecoder::new(&packed[..]).take(INFLATED);
        // What was inflated before an error is looked at too.
        let _ = std::io::BufReader::new(inflated).read_to_end(&mut bytes);
        out.push(Decoded { via: Via::Gzip, span: run.clone(), bytes });
    }
    if digits[..SHORTEST].iter().all(u8::is_ascii_hexdigit)
        && is_text(&from_hex(&digits[..digits.len().min(2 * SAMPLE)]))
    {
        out.push(Decoded { via: Via::Hex, span: run.clone(), bytes: from_hex(digits) });
    }
}

/// What the first digits decode to: most runs are names and digests, and end here.
fn sample(digits: &[u8]) -> [u8; SAMPLE] {
    let mut sample = [0; SAMPLE];
    for (bytes, digits) in sample.chunks_exact_mut(3).zip(digits.chunks_exact(4)) {
        let bits = digits.iter().fold(0, |bits, &b| bits << 6 | u32::from(VALUES[usize::from(b)]));
        bytes.copy_from_slice(&bits.to_be_bytes()[1..]);
    }
    sample
}

fn is_text(sample: &[u8]) -> bool {
    sample.len() >= 15 && sample.iter().all(|&b| is_readable(b))
}

fn is_readable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r')
}

/// UTF-16, as `powershell -EncodedCommand` takes it.
fn is_wide(sample: &[u8]) -> bool {
    let is = |pair: &[u8]| pair[1] == 0 && is_readable(pair[0]);
    sample.chunks_exact(2).all(is)
}

fn from_base64(digits: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 3);
    let (mut bits, mut count) = (0_u32, 0);
    for value in digits.iter().map(|&b| VALUES[usize::from(b)]).filter(|&value| value < 64) {
        bits = bits << 6 | u32::from(value);
        count += 1;
        if count == 4 {
            bytes.extend_from_slice(&bits.to_be_bytes()[1..]);
            (bits, count) = (0, 0);
        }
    }
    if count > 1 {
        let rest = (bits << (6 * (4 - count))).to_be_bytes();
        bytes.extend_from_slice(&rest[1..count]);
    }
    bytes
}

fn from_hex(digits: &[u8]) -> Vec<u8> {
    let value = |byte: u8| char::from(byte).to_digit(16);
    let mut nibbles = digits.iter().map_while(|&b| value(b));
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    while let (Some(high), Some(low)) = (nibbles.next(), nibbles.next()) {
        bytes.push((high << 4 | low).to_le_bytes()[0]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;

    #[test]
    fn runs_decode_wherever_they_stand_and_however_they_are_broken() {
        let text = b"some text that is long enough to be looked at, and some more of it!!";
        for length in 24..text.len() {
            let encoded = base64::engine::general_purpose::STANDARD.encode(&text[..length]);
            let data = format!("key: {encoded}\nnext");
            let mut out = Vec::new();
            find(&View::whole(data.as_bytes()), &mut out);
            assert_eq!(out[0].bytes, &text[..length], "{length}");
            assert_eq!(out[0].span.start, 5);
        }
        let lines = "c29tZSB0ZXh0IHRoYXQgaXMgbG9uZyBlbm91Z2ggdG8gYmUgbG9va2VkIGF0LCBh\n  bmQgc29tZSBtb3JlIG9mIGl0";
        let mut out = Vec::new();
        find(&View::whole(lines.as_bytes()), &mut out);
        assert!(out[0].bytes.ends_with(b"and some more of it"));
    }

    #[test]
    fn words_and_paths_are_no_text_in_disguise() {
        let data = b"usr/share/a-very/long_path/that-has/only/digits/of/base64/in/itself";
        let mut out = Vec::new();
        find(&View::whole(data), &mut out);
        assert!(out.is_empty());
    }
}
