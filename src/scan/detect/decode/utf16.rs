//! UTF-16, in files and between the other bytes of programs.

use super::Decoded;
use crate::scan::detect::matcher::View;
use crate::scan::finding::Via;

/// The shortest run in characters.
const SHORTEST: usize = 12;
/// Bytes that are asked at once whether there is a zero among them; a multiple of a word.
const BLOCK: usize = 64;
const HIGH: u64 = 0xff00_ff00_ff00_ff00;

/// Puts every run in the part that is looked at into `out`.
pub(super) fn find(view: &View<'_>, out: &mut Vec<Decoded>) {
    let mut at = view.from;
    let mut mixed = 0;
    while let Some(word) = view.data.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        if at >= view.to {
            break;
        }
        if at >= mixed {
            if is_plain(&view.data[at..]) {
                at += BLOCK;
                continue;
            }
            mixed = at + BLOCK;
        }
        let word = u64::from_le_bytes(*word);
        let wide = word != 0 && (word & HIGH == 0 || word & !HIGH == 0);
        at = if wide { run(view, at, out) } else { at + 8 };
    }
}

/// Whether a block follows, and has no zero: most text has none at all.
fn is_plain(rest: &[u8]) -> bool {
    let block = rest.first_chunk::<BLOCK>();
    // Without a branch in it, so that it is a few instructions.
    block.is_some_and(|block| block.iter().fold(0, |zeros, &b| zeros | u8::from(b == 0)) == 0)
}

/// Handles the run around `at`; says where to go on.
fn run(view: &View<'_>, at: usize, out: &mut Vec<Decoded>) -> usize {
    let data = view.data;
    let first = if data[at] == 0 { at + 1 } else { at };
    let is_char =
        |i: usize| data.get(i).is_some_and(|&b| matches!(b, b' '..=b'~' | b'\t' | b'\n' | b'\r'));
    let mut start = first;
    while start >= 2 && is_char(start - 2) && data[start - 1] == 0 {
        start -= 2;
    }
    let mut end = first;
    while is_char(end) && (data.get(end + 1) == Some(&0) || data.get(end + 1).is_none()) {
        end += 2;
    }
    let bytes: Vec<u8> =
        data[start.min(end)..data.len().min(end)].iter().copied().step_by(2).collect();
    if bytes.len() >= SHORTEST {
        let big = start > 0 && data[start - 1] == 0 && data.get(end.wrapping_sub(1)) != Some(&0);
        let bom = start > 1 && data[start - 2..start] == [0xfe, 0xff];
        let via = if big || bom { Via::Utf16be } else { Via::Utf16le };
        let via = if start >= 3 && data[start - 3..start - 1] == [0xfe, 0xff] {
            Via::Utf16be
        } else {
            via
        };
        out.push(Decoded { via, span: start..end.min(data.len()), bytes });
    }
    end.max(at + 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(data: &[u8]) -> Vec<(Via, Vec<u8>)> {
        let mut out = Vec::new();
        find(&View::whole(data), &mut out);
        out.iter().map(|piece| (piece.via, piece.bytes.clone())).collect()
    }

    #[test]
    fn both_orders_are_read_at_any_offset() {
        let text = "password = a secret value";
        for pad in 0..9 {
            let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let data = [&vec![0xff; pad][..], &little].concat();
            assert_eq!(found(&data), [(Via::Utf16le, text.as_bytes().to_vec())], "{pad}");
        }
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(
            found(&[&[0xfe, 0xff][..], &big].concat()),
            [(Via::Utf16be, text.as_bytes().to_vec())]
        );
    }

    #[test]
    fn zeros_and_small_numbers_are_no_text() {
        assert!(found(&[0; 400]).is_empty());
        assert!(found(&[1, 0, 2, 0, 3, 0, 4, 0].repeat(20)).is_empty());
    }
}
