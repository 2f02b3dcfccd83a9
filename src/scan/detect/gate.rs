//! The gate that every byte passes: finds where a literal of any rule stands.
//!
//! Five bytes at a time, letters folded, every second place: the three in the middle choose a row of a
//! table, and its bits say whether a literal may begin with them or one byte before. Only there are
//! literals compared, by their first eight bytes first. It costs about one cycle a byte, however many
//! literals there are and whatever their case. An automaton over the same literals (two thousand,
//! without regard to case) depends on one load after the other, and a packed searcher holds 64 literals.

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
/// Bits of the hash of three bytes.
const BITS: u32 = 12;
/// Rows of the table: 32 KiB.
const ROWS: usize = 1 << BITS;

/// A literal by its first bytes, folded.
#[derive(Clone, Copy)]
struct Entry {
    head: u64,
    /// The bytes of `head` that the literal has.
    mask: u64,
    literal: u16,
}

/// All literals, ready to be looked for.
pub(super) struct Gate {
    literals: Vec<Literal>,
    /// For three bytes in the middle of five: bits for the bytes that may follow them, if a literal
    /// begins with the three, and above those bits for the bytes that may stand before them.
    rows: Box<[u64; ROWS]>,
    /// For each hash of four bytes, where its entries begin.
    starts: Vec<u16>,
    entries: Vec<Entry>,
}

/// On the heap from the beginning, with its length known where it is looked at.
fn zeros() -> Box<[u64; ROWS]> {
    let words = vec![0; ROWS].into_boxed_slice();
    words.try_into().unwrap_or_else(|_| unreachable!("it is as long as it was made"))
}

/// Letters of either case are equal, and so are some signs: a literal is compared afterwards.
const fn fold(bytes: u64) -> u64 {
    bytes | 0x2020_2020_2020_2020
}

fn head(bytes: [u8; 8]) -> u64 {
    fold(u64::from_le_bytes(bytes))
}

fn hash(word: u32) -> usize {
    (word.wrapping_mul(0x9E37_79B1) >> (32 - BITS)) as usize
}

/// The row of the second to fourth byte.
fn row(five: u64) -> usize {
    hash(low(five) & 0xffff_ff00)
}

/// The first four bytes.
#[expect(clippy::cast_possible_truncation, reason = "the upper half is another word")]
fn low(word: u64) -> u32 {
    word as u32
}

/// The number of a byte's bit in half a row.
fn bit(byte: u64) -> u64 {
    byte & 31
}

impl Entry {
    fn new(literal: u16, text: &[u8]) -> Option<Entry> {
        text.get(..SHORTEST)?;
        let (mut bytes, mut mask) = ([0; 8], [0; 8]);
        for ((byte, mask), &from) in bytes.iter_mut().zip(&mut mask).zip(text) {
            (*byte, *mask) = (from, 0xff);
        }
        let mask = u64::from_le_bytes(mask);
        Some(Entry { head: head(bytes) & mask, mask, literal })
    }

    /// Its hash, and what it is sorted by within it.
    fn key(&self) -> (usize, u32, u16) {
        (hash(low(self.head)), low(self.head), self.literal)
    }
}

impl Gate {
    /// Literals shorter than [`SHORTEST`] never match; the rules' reader refuses them.
    pub fn new(literals: Vec<Literal>) -> Gate {
        let numbered = (0_u16..).zip(&literals);
        let mut entries: Vec<Entry> =
            numbered.filter_map(|(number, literal)| Entry::new(number, &literal.text)).collect();
        entries.sort_by_key(Entry::key);
        let mut rows = zeros();
        let mut starts = vec![0_u16; ROWS + 1];
        for entry in &entries {
            // As the last four of five bytes, and as the first four.
            let (last, first) = (entry.head << 8, entry.head);
            rows[row(last)] |= 1 << bit(last >> 32);
            rows[row(first)] |= 1 << (32 + bit(first));
            starts[hash(low(entry.head)) + 1] += 1;
        }
        for part in 1..starts.len() {
            starts[part] += starts[part - 1];
        }
        Gate { literals, rows, starts, entries }
    }

    /// Puts the anchors that begin in `from..to` into `found`, in order.
    pub fn find(&self, data: &[u8], from: usize, to: usize, found: &mut Vec<Anchor>) {
        let mut at = from;
        while at + TURN <= to {
            let Some(block) = data.get(at..).and_then(|rest| rest.first_chunk::<{ TURN + 4 }>())
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

    /// Where a literal may begin, a bit each.
    #[inline]
    fn turn(&self, block: &[u8; TURN + 4]) -> u32 {
        let mut mask = 0;
        let mut i = 0;
        while i < TURN {
            let eight = block[i..].first_chunk().map_or(0, |bytes| head(*bytes));
            mask |= (self.pair(eight) | self.pair(eight >> 16) << 2) << i;
            i += 4;
        }
        mask
    }

    /// Whether a literal may begin at the first byte of five, and at the second.
    #[inline]
    fn pair(&self, five: u64) -> u32 {
        let row = self.rows[row(five)];
        // A folded byte has the bit of 32: its last six bits are places in the upper half.
        let first = row >> (five & 63);
        let second = u64::from(low(row) >> (low(five >> 32) & 31));
        low(first & 1 | (second & 1) << 1)
    }

    fn confirm(&self, data: &[u8], at: usize, found: &mut Vec<Anchor>) {
        let Some(rest) = data.get(at..) else { return };
        let eight = match rest.first_chunk::<8>() {
            Some(eight) => *eight,
            None if rest.len() < SHORTEST => return,
            None => std::array::from_fn(|i| rest.get(i).copied().unwrap_or_default()),
        };
        let eight = head(eight);
        let part = hash(low(eight));
        let entries = usize::from(self.starts[part])..usize::from(self.starts[part + 1]);
        for entry in &self.entries[entries] {
            if eight & entry.mask != entry.head {
                continue;
            }
            let literal = &self.literals[usize::from(entry.literal)];
            if rest.get(..literal.text.len()).is_some_and(|bytes| literal.is(bytes)) {
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
