//! The gate that every byte passes: finds where a literal of any rule stands.
//!
//! The four bytes at each position, letters folded, are looked up in a bitmap of 32 KiB; only where
//! the bit is set are literals compared. It costs about two cycles a byte, however many literals
//! there are and whatever their case. An automaton over the same literals (two thousand, without
//! regard to case) depends on one load after the other, and a packed searcher holds 64 literals.

/// A literal, and how it is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Literal {
    /// The bytes; in lower case when `fold` is set.
    pub text: Vec<u8>,
    /// Letters of either case are equal.
    pub fold: bool,
}

impl Literal {
    pub fn exact(text: &str) -> Literal {
        Literal { text: text.as_bytes().to_vec(), fold: false }
    }

    fn is(&self, bytes: &[u8]) -> bool {
        bytes == self.text || self.fold && bytes.eq_ignore_ascii_case(&self.text)
    }

    pub fn folded(text: &str) -> Literal {
        Literal { text: text.to_ascii_lowercase().into_bytes(), fold: true }
    }
}

/// Where a literal begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Anchor {
    pub at: usize,
    pub literal: u16,
}

/// The shortest literal: one four-byte word.
pub(super) const SHORTEST: usize = 4;

/// Bytes looked at in one turn.
const TURN: usize = 32;
/// Bits of the hash that the bitmap is addressed by.
const BITS: u32 = 18;
/// Words of the bitmap.
const WORDS: usize = 1 << (BITS - 6);
/// Bits of the hash that are left out where entries are looked up.
const COARSE: u32 = 6;

#[derive(Clone, Copy)]
struct Entry {
    /// The first four bytes, folded.
    word: u32,
    literal: u16,
}

/// All literals, ready to be looked for.
pub(super) struct Gate {
    literals: Vec<Literal>,
    seen: Box<[u64; WORDS]>,
    /// For each part of the hash, where its entries begin.
    starts: Vec<u16>,
    entries: Vec<Entry>,
}

/// On the heap from the beginning, with its length known where it is looked at.
fn zeros() -> Box<[u64; WORDS]> {
    let words = vec![0; WORDS].into_boxed_slice();
    words.try_into().unwrap_or_else(|_| unreachable!("it is as long as it was made"))
}

fn fold(word: u32) -> u32 {
    word | 0x2020_2020
}

fn hash(word: u32) -> u32 {
    word.wrapping_mul(0x9E37_79B1) >> (32 - BITS)
}

impl Gate {
    /// Literals shorter than [`SHORTEST`] never match; the rules' reader refuses them.
    pub fn new(literals: Vec<Literal>) -> Gate {
        let numbered = (0_u16..).zip(&literals);
        let mut entries: Vec<Entry> = numbered
            .filter_map(|(literal, Literal { text, .. })| {
                let word = fold(u32::from_le_bytes(*text.first_chunk()?));
                Some(Entry { word, literal })
            })
            .collect();
        entries.sort_by_key(|entry| (hash(entry.word), entry.word, entry.literal));
        let mut seen: Box<[u64; WORDS]> = zeros();
        let mut starts = vec![0_u16; (1 << (BITS - COARSE)) + 1];
        for entry in &entries {
            let slot = hash(entry.word) as usize;
            seen[slot >> 6] |= 1 << (slot & 63);
            starts[(slot >> COARSE) + 1] += 1;
        }
        for part in 1..starts.len() {
            starts[part] += starts[part - 1];
        }
        Gate { literals, seen, starts, entries }
    }

    /// Puts the anchors that begin in `from..to` into `found`, in order.
    pub fn find(&self, data: &[u8], from: usize, to: usize, found: &mut Vec<Anchor>) {
        let mut at = from;
        while at + TURN <= to {
            let Some(block) = data.get(at..).and_then(|rest| rest.first_chunk::<{ TURN + 3 }>())
            else {
                break;
            };
            let mut mask = self.turn(block);
            while mask != 0 {
                self.confirm(data, at + mask.trailing_zeros() as usize, found);
                mask &= mask - 1;
            }
            at += TURN;
        }
        for at in at..to {
            self.confirm(data, at, found);
        }
    }

    fn turn(&self, block: &[u8; TURN + 3]) -> u32 {
        let mut mask = 0;
        let mut i = 0;
        while i < TURN {
            let word = u32::from_le_bytes([block[i], block[i + 1], block[i + 2], block[i + 3]]);
            let slot = hash(fold(word));
            let bit = (self.seen[(slot >> 6) as usize] >> (slot & 63)) & 1;
            mask |= u32::from(bit != 0) << i;
            i += 1;
        }
        mask
    }

    fn confirm(&self, data: &[u8], at: usize, found: &mut Vec<Anchor>) {
        let Some(word) = data.get(at..).and_then(|rest| rest.first_chunk::<4>()) else { return };
        let word = fold(u32::from_le_bytes(*word));
        let part = (hash(word) >> COARSE) as usize;
        let entries = usize::from(self.starts[part])..usize::from(self.starts[part + 1]);
        for entry in self.entries[entries].iter().filter(|entry| entry.word == word) {
            let literal = &self.literals[usize::from(entry.literal)];
            if data.get(at..at + literal.text.len()).is_some_and(|bytes| literal.is(bytes)) {
                found.push(Anchor { at, literal: entry.literal });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gate() -> Gate {
        let exact = ["ghp_", "AKIA", "xoxb-", "-----BEGIN"].map(Literal::exact);
        let folded = ["password", "secret", "_key"].map(Literal::folded);
        Gate::new(exact.into_iter().chain(folded).collect())
    }

    fn slowly(gate: &Gate, data: &[u8]) -> Vec<Anchor> {
        let mut found = Vec::new();
        for at in 0..data.len() {
            for (number, literal) in gate.literals.iter().enumerate() {
                let bytes = data.get(at..at + literal.text.len()).unwrap_or_default();
                if literal.is(bytes) {
                    found.push(Anchor { at, literal: u16::try_from(number).unwrap() });
                }
            }
        }
        found
    }

    proptest! {
        #[test]
        fn every_literal_is_found_wherever_it_stands(
            parts in proptest::collection::vec("ghp_|AKIA|xoxb-|-----BEGIN|PassWord|secret|_KEY=|[a-z ]{0,9}", 0..40),
            cut in 0_usize..200,
        ) {
            let mut data = parts.concat().into_bytes();
            data.extend_from_slice(b" .");
            let gate = gate();
            let mut found = Vec::new();
            let cut = cut.min(data.len());
            gate.find(&data, 0, cut, &mut found);
            let mut rest = Vec::new();
            gate.find(&data, cut, data.len(), &mut rest);
            found.extend(rest);
            prop_assert_eq!(found, slowly(&gate, &data));
        }
    }

    #[test]
    fn letter_case_matters_only_where_it_does_not_fold() {
        let mut found = Vec::new();
        gate().find(b"GHP_abc PASSWORD akia", 0, 21, &mut found);
        assert_eq!(found, [Anchor { at: 8, literal: 4 }]);
    }
}
