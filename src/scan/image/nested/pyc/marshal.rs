//! The values that Python's `marshal` writes, as far as code needs them: texts, tuples, code.

use std::ops::Range;

/// The most values in one module.
const VALUES: usize = 100_000;
/// How deep they may stand in each other: functions in classes in functions.
const DEPTH: usize = 60;

/// A value, told by its place among all values.
pub(super) enum Value {
    /// Where its bytes stand.
    Text(Range<usize>),
    /// Its members.
    Tuple(Vec<usize>),
    /// Whatever else.
    Other,
}

/// The code of a module, a class or a function.
pub(super) struct Code {
    pub instructions: Range<usize>,
    pub constants: usize,
    pub names: usize,
    pub locals: usize,
}

/// Reads values one after the other.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Local names stand in one tuple, with their kinds behind.
    together: bool,
    pub values: Vec<Value>,
    references: Vec<usize>,
    pub codes: Vec<Code>,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8], at: usize, together: bool) -> Reader<'a> {
        let (values, references, codes) = (Vec::new(), Vec::new(), Vec::new());
        Reader { bytes, at, together, values, references, codes }
    }

    /// The members of the tuple at that place, if it is one.
    pub fn tuple(&self, index: usize) -> &[usize] {
        match self.values.get(index) {
            Some(Value::Tuple(members)) => members,
            _ => &[],
        }
    }

    /// Reads the next value. None if there is none that makes sense.
    pub fn value(&mut self, depth: usize) -> Option<usize> {
        let kind = self.byte()?;
        if kind & 0x7f == b'r' {
            let reference = self.number()?;
            return self.references.get(reference).copied();
        }
        if depth > DEPTH || self.values.len() >= VALUES {
            return None;
        }
        let index = self.values.len();
        self.values.push(Value::Other);
        if kind & 0x80 != 0 {
            self.references.push(index);
        }
        self.values[index] = self.body(kind & 0x7f, depth)?;
        Some(index)
    }

    fn body(&mut self, kind: u8, depth: usize) -> Option<Value> {
        match kind {
            b'N' | b'F' | b'T' | b'S' | b'.' | b'0' => {}
            b'i' => self.pass(4)?,
            b'I' | b'g' => self.pass(8)?,
            b'y' => self.pass(16)?,
            b'l' => {
                let digits = self.number()?;
                // A negative number has its sign in the count of its digits.
                let digits = u32::try_from(digits).ok()?.cast_signed().unsigned_abs();
                self.pass(2 * usize::try_from(digits).ok()?)?;
            }
            b'z' | b'Z' => {
                let length = usize::from(self.byte()?);
                return self.text(length);
            }
            b's' | b't' | b'u' | b'a' | b'A' => {
                let length = self.number()?;
                return self.text(length);
            }
            b')' => {
                let count = usize::from(self.byte()?);
                return self.members(count, depth);
            }
            b'(' | b'[' | b'<' | b'>' => {
                let count = self.number()?;
                return self.members(count, depth);
            }
            b'c' => self.code(depth)?,
            _ => return None,
        }
        Some(Value::Other)
    }

    fn members(&mut self, count: usize, depth: usize) -> Option<Value> {
        let mut members = Vec::new();
        for _ in 0..count {
            members.push(self.value(depth + 1)?);
        }
        Some(Value::Tuple(members))
    }

    fn code(&mut self, depth: usize) -> Option<()> {
        self.pass(if self.together { 20 } else { 24 })?;
        let instructions = self.value(depth + 1)?;
        let constants = self.value(depth + 1)?;
        let names = self.value(depth + 1)?;
        let locals = self.value(depth + 1)?;
        for _ in 0..4 {
            self.value(depth + 1)?;
        }
        self.pass(4)?;
        self.value(depth + 1)?;
        if self.together {
            self.value(depth + 1)?;
        }
        if let Some(Value::Text(instructions)) = self.values.get(instructions) {
            let instructions = instructions.clone();
            self.codes.push(Code { instructions, constants, names, locals });
        }
        Some(())
    }

    fn text(&mut self, length: usize) -> Option<Value> {
        let start = self.at;
        self.pass(length)?;
        Some(Value::Text(start..self.at))
    }

    fn pass(&mut self, length: usize) -> Option<()> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.bytes.len())?;
        self.at = end;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<usize> {
        let bytes = self.bytes.get(self.at..)?.first_chunk()?;
        self.at += 4;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    }
}
