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

/// Ends a value without quotes in the middle of something else.
pub(super) fn ends_word(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b"\"'`<>;,&)}]|".contains(&byte)
}

/// The second letters of the most frequent pairs in the words of manuals and programs.
const PAIRS: [&str; 26] = [
    "bcdgiklmnprstuvy",
    "aeiloru",
    "acehiklortu",
    "adeiosu",
    "abcdefgilmnpqrstvwxy",
    "aefioru",
    "aehinrsu",
    "aeiot",
    "abcdefglmnoprstvz",
    "e",
    "eis",
    "adeilostuy",
    "aeimopsu",
    "acdefginostuv",
    "bcdfglmnoprstuvw",
    "aeiloprstuy",
    "u",
    "acdegiklmnorstuy",
    "acehilopstuy",
    "acehiloprstuy",
    "abceilmnprst",
    "aei",
    "aehior",
    "epst",
    "ps",
    "e",
];

/// [`PAIRS`] as a bit for each second letter.
const USUAL: [u32; 26] = usual();

const fn usual() -> [u32; 26] {
    let mut rows = [0; 26];
    let mut row = 0;
    while row < 26 {
        let letters = PAIRS[row].as_bytes();
        let mut i = 0;
        while i < letters.len() {
            rows[row] |= 1 << (letters[i] - b'a');
            i += 1;
        }
        row += 1;
    }
    rows
}

/// How much of it no word would have, from 0 to 1: letters that rarely follow each other, digits
/// between letters, changes of case within a word.
#[expect(clippy::cast_precision_loss, reason = "lengths of values are far below 2^23")]
pub(super) fn strangeness(value: &[u8]) -> f32 {
    let mut pairs = 0_usize;
    let mut strange = 0_usize;
    for pair in value.windows(2) {
        let [a, b] = [pair[0], pair[1]];
        if !a.is_ascii_alphanumeric() || !b.is_ascii_alphanumeric() {
            continue;
        }
        pairs += 1;
        let usual = match (a.is_ascii_alphabetic(), b.is_ascii_alphabetic()) {
            (true, true) => {
                let row = USUAL[usize::from(a.to_ascii_lowercase() - b'a')];
                let falls = a.is_ascii_lowercase() && b.is_ascii_uppercase();
                falls || row >> (b.to_ascii_lowercase() - b'a') & 1 == 1
            }
            (false, false) => true,
            _ => false,
        };
        strange += usize::from(!usual);
    }
    if pairs == 0 { 0.0 } else { strange as f32 / pairs as f32 }
}

pub(super) fn find(data: &[u8], needle: &[u8]) -> Option<usize> {
    // Values are short: preparing a search for each of a hundred words takes longer than it saves.
    if data.len() <= 256 && !needle.is_empty() {
        return data.windows(needle.len()).position(|part| part == needle);
    }
    memchr::memmem::find(data, needle)
}

pub(super) fn contains(data: &[u8], needle: &[u8]) -> bool {
    find(data, needle).is_some()
}

/// The words of a list that is written as one string.
pub(super) fn words(list: &str) -> impl Iterator<Item = &[u8]> {
    list.split_ascii_whitespace().map(str::as_bytes)
}

/// A list of words that something may begin with; most things are told apart by their first byte.
pub(super) struct Starts {
    list: &'static str,
    first: [bool; 256],
}

impl Starts {
    pub const fn new(list: &'static str) -> Starts {
        let bytes = list.as_bytes();
        let mut first = [false; 256];
        let mut at = 0;
        while at < bytes.len() {
            if !bytes[at].is_ascii_whitespace() && (at == 0 || bytes[at - 1].is_ascii_whitespace())
            {
                first[bytes[at] as usize] = true;
            }
            at += 1;
        }
        Starts { list, first }
    }

    /// How long the longest word of the list is that stands here.
    pub fn longest(&self, bytes: &[u8]) -> Option<usize> {
        let first = *bytes.first()?;
        if !self.first[usize::from(first)] {
            return None;
        }
        words(self.list).filter(|word| bytes.starts_with(word)).map(<[u8]>::len).max()
    }
}

pub(super) fn listed(list: &str, word: &[u8]) -> bool {
    let list = list.as_bytes();
    let is_end = |at: usize| list.get(at).is_none_or(u8::is_ascii_whitespace);
    if word.is_empty() || word.iter().any(u8::is_ascii_whitespace) {
        return false;
    }
    let mut from = 0;
    while let Some(found) = memchr::memmem::find(&list[from..], word) {
        let at = from + found;
        if (at == 0 || is_end(at - 1)) && is_end(at + word.len()) {
            return true;
        }
        from = at + 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_word_that_something_begins_with_is_found() {
        const WORDS: Starts = Starts::new(
            "\
            String( Some( Some(String::from( \
            []byte( <<",
        );
        let cases = [
            ("Some(x", Some(5)),
            ("Some(String::from(x", Some(18)),
            ("[]byte(x", Some(7)),
            ("<<x", Some(2)),
            ("Str", None),
            ("x", None),
            ("", None),
        ];
        for (text, length) in cases {
            assert_eq!(WORDS.longest(text.as_bytes()), length, "{text}");
        }
    }

    #[test]
    fn only_whole_words_of_a_list_are_listed() {
        let list = "pass password  wd\n  x";
        for word in ["pass", "password", "wd", "x"] {
            assert!(listed(list, word.as_bytes()), "{word}");
        }
        for word in ["", "pas", "word", "pass password", "w", "assword"] {
            assert!(!listed(list, word.as_bytes()), "{word}");
        }
    }
}
