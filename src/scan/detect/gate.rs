//! The gate that every byte passes: finds where a literal of any rule stands.
//!
//! Four bytes at every second position, letters folded, are looked up in a bitmap of 8 KiB. Each
//! literal is entered at both parities, so none is missed, and letter case costs nothing. An
//! automaton over the same literals (about a thousand, without regard to case) reads every byte
//! and takes about four times as long; a packed searcher holds 64 literals.

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

/// What may follow a literal of only four bytes, so that its second word can be entered too.
const FOLLOW: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789_-.:=\"' \t\\/[]()<>,;@$%&?+*{}|~!`";

#[derive(Clone, Copy)]
struct Entry {
    /// The folded word.
    word: u32,
    literal: u16,
    /// How far into the literal the word stands: 0 or 1.
    shift: u8,
}

/// All literals, ready to be looked for.
pub(super) struct Gate {
    literals: Vec<Literal>,
    seen: Box<[u64; 1024]>,
    /// For each of 4,096 parts of the hash, where its entries begin.
    starts: Vec<u16>,
    entries: Vec<Entry>,
}

fn fold(word: u32) -> u32 {
    word | 0x2020_2020
}

fn hash(word: u32) -> u32 {
    word.wrapping_mul(0x9E37_79B1) >> 16
}

impl Gate {
    /// Literals shorter than [`SHORTEST`] never match; the rules' reader refuses them.
    pub fn new(literals: Vec<Literal>) -> Gate {
        let mut entries = Vec::new();
        for (number, literal) in literals.iter().enumerate() {
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            for (word, shift) in words(&literal.text) {
                entries.push(Entry { word, literal: number, shift });
            }
        }
        entries.sort_by_key(|entry| (hash(entry.word), entry.word, entry.literal, entry.shift));
        entries.dedup_by_key(|entry| (entry.word, entry.literal, entry.shift));
        let mut seen = Box::new([0_u64; 1024]);
        let mut starts = vec![0_u16; 4097];
        for entry in &entries {
            let slot = hash(entry.word) as usize;
            seen[slot >> 6] |= 1 << (slot & 63);
            starts[(slot >> 4) + 1] += 1;
        }
        for part in 1..starts.len() {
            starts[part] += starts[part - 1];
        }
        Gate { literals, seen, starts, entries }
    }

    /// Puts the anchors that begin in `from..to` into `found`, in order.
    pub fn find(&self, data: &[u8], from: usize, to: usize, found: &mut Vec<Anchor>) {
        let mut at = from;
        while at <= to {
            let Some(block) = data.get(at..).and_then(|rest| rest.first_chunk::<{ TURN + 2 }>())
            else {
                break;
            };
            let mut mask = self.turn(block);
            while mask != 0 {
                self.confirm(data, at + 2 * mask.trailing_zeros() as usize, from, to, found);
                mask &= mask - 1;
            }
            at += TURN;
        }
        // Every position of the last turn: a literal of four bytes may end with the data.
        while at <= to && at + SHORTEST <= data.len() {
            self.confirm(data, at, from, to, found);
            at += 1;
        }
        found.sort_unstable();
        found.dedup();
    }

    fn turn(&self, block: &[u8; TURN + 2]) -> u32 {
        let mut mask = 0;
        let mut k = 0;
        while k < TURN / 2 {
            let i = 2 * k;
            let word = u32::from_le_bytes([block[i], block[i + 1], block[i + 2], block[i + 3]]);
            let slot = hash(fold(word));
            let bit = (self.seen[(slot >> 6) as usize] >> (slot & 63)) & 1;
            mask |= u32::from(bit != 0) << k;
            k += 1;
        }
        mask
    }

    fn confirm(&self, data: &[u8], at: usize, from: usize, to: usize, found: &mut Vec<Anchor>) {
        let Some(word) = data.get(at..).and_then(|rest| rest.first_chunk::<4>()) else { return };
        let word = fold(u32::from_le_bytes(*word));
        let part = (hash(word) >> 4) as usize;
        let entries = usize::from(self.starts[part])..usize::from(self.starts[part + 1]);
        for entry in self.entries[entries].iter().filter(|entry| entry.word == word) {
            let Some(start) = at.checked_sub(usize::from(entry.shift)) else { continue };
            let literal = &self.literals[usize::from(entry.literal)];
            let Some(bytes) = data.get(start..start + literal.text.len()) else { continue };
            let equal = literal.is(bytes);
            if equal && (from..to).contains(&start) {
                found.push(Anchor { at: start, literal: entry.literal });
            }
        }
    }
}

/// The folded words under which a literal is entered, with their shifts.
fn words(text: &[u8]) -> Vec<(u32, u8)> {
    let word = |bytes: [u8; 4]| fold(u32::from_le_bytes(bytes));
    match *text {
        [first, b, c, d] => {
            let second = FOLLOW.iter().map(|&next| (word([b, c, d, next]), 1));
            std::iter::once((word([first, b, c, d]), 0)).chain(second).collect()
        }
        [first, b, c, d, next, ..] => {
            vec![(word([first, b, c, d]), 0), (word([b, c, d, next]), 1)]
        }
        _ => Vec::new(),
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
