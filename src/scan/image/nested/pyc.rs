//! Compiled Python: which constant is assigned to which name.
//!
//! The strings themselves stand in the raw bytes. What is lost there is what they are called: names
//! and constants are kept apart, and only the code brings them together.

mod marshal;

use self::marshal::{Reader, Value};
use super::zip::whole_or_partly;
use crate::scan::finding::Via;
use crate::scan::image::feed::{Fault, Feed};
use crate::scan::image::look::Look;
use crate::scan::image::spot::Spot;

/// What stands before the code: a magic number, flags, and the source's time and size or hash.
const HEADER: usize = 16;
/// The first version whose code is read here: Python 3.8.
const FIRST: u16 = 3400;
/// Python 3.11 keeps all local names together.
const LOCALS_TOGETHER: u16 = 3450;
/// Python 3.13 numbers its instructions anew.
const RENUMBERED: u16 = 3560;
/// The first version after the last that is known.
const UNKNOWN: u16 = 3600;

/// The most names of one literal or call.
const KEYS: usize = 64;

/// Whether a compiled module begins here.
pub fn is_pyc(head: &[u8]) -> bool {
    head.get(2..4) == Some(b"\r\n")
        && head.get(HEADER).is_some_and(|&kind| kind & 0x7f == b'c')
        && (FIRST..UNKNOWN).contains(&version(head))
}

fn version(head: &[u8]) -> u16 {
    head.first_chunk().map_or(0, |magic| u16::from_le_bytes(*magic))
}

/// Shows the assignments of a module as if they stood in its source.
pub fn walk(
    look: &Look<'_>,
    feed: &mut dyn Feed,
    spot: &Spot,
    size: Option<u64>,
) -> Result<(), Fault> {
    let Some(bytes) = whole_or_partly(look, feed, spot, size)? else { return Ok(()) };
    let source = assignments(&bytes, look.meter.limits.whole / 4)
        .ok_or(Fault::Corrupt("compiled Python is damaged"))?;
    let inner = spot.member(Via::Pyc, Some(&source_name(&spot.name)), HEADER as u64);
    look.value(&inner, &source);
    Ok(())
}

/// `settings.py` of `app/__pycache__/settings.cpython-312.pyc`.
fn source_name(path: &[u8]) -> Vec<u8> {
    let name = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    let stem = name.split(|&b| b == b'.').next().unwrap_or_default();
    [stem, b".py"].concat()
}

/// Lines `name = "constant"`, at most `most` bytes of them. None if it can't be read.
fn assignments(bytes: &[u8], most: usize) -> Option<Vec<u8>> {
    let version = version(bytes);
    let mut reader = Reader::new(bytes, HEADER, version >= LOCALS_TOGETHER);
    reader.value(0)?;
    let mut out = Vec::new();
    for code in &reader.codes {
        Lines { reader: &reader, bytes, most, out: &mut out }.of(code, version);
    }
    Some(out)
}

/// The instructions that matter, by their numbers.
struct Numbers {
    constant: u8,
    name: u8,
    global: u8,
    attribute: u8,
    local: u8,
    extended: u8,
    keywords: u8,
}

impl Numbers {
    fn of(version: u16) -> Numbers {
        if version >= RENUMBERED {
            let [constant, name, global, attribute, local, extended] = [83, 114, 113, 108, 110, 71];
            return Numbers { constant, name, global, attribute, local, extended, keywords: 83 };
        }
        let [constant, name, global, attribute, local, extended] = [100, 90, 97, 95, 125, 144];
        Numbers { constant, name, global, attribute, local, extended, keywords: 172 }
    }
}

struct Lines<'a, 'b> {
    reader: &'a Reader<'b>,
    bytes: &'b [u8],
    most: usize,
    out: &'a mut Vec<u8>,
}

impl Lines<'_, '_> {
    fn of(&mut self, code: &marshal::Code, version: u16) {
        let numbers = Numbers::of(version);
        let names = self.reader.tuple(code.names);
        let locals = self.reader.tuple(code.locals);
        let constants = self.reader.tuple(code.constants);
        let mut loaded: Vec<usize> = Vec::new();
        let mut high = 0_usize;
        for pair in self.bytes[code.instructions.clone()].chunks_exact(2) {
            let (number, argument) = (pair[0], high | usize::from(pair[1]));
            high = if number == numbers.extended { argument << 8 & 0xff_ff00 } else { 0 };
            let constant = constants.get(argument).copied();
            if number == numbers.constant || number == numbers.keywords {
                let keys = constant.map(|it| self.reader.tuple(it)).unwrap_or_default();
                self.keyed(keys, &loaded);
                loaded.extend(constant.filter(|_| number == numbers.constant));
                continue;
            }
            let from = match number {
                n if n == numbers.local => locals,
                n if [numbers.name, numbers.global, numbers.attribute].contains(&n) => names,
                n if n == numbers.extended => continue,
                _ => &[],
            };
            if let (Some(&name), Some(&value)) = (from.get(argument), loaded.last()) {
                self.line(name, value);
            }
            loaded.clear();
        }
    }

    /// `{"a": 1, "b": 2}` and `f(a=1, b=2)`: the values come first, then all names at once.
    fn keyed(&mut self, keys: &[usize], loaded: &[usize]) {
        let Some(first) = loaded.len().checked_sub(keys.len()) else { return };
        if keys.len() > KEYS {
            return;
        }
        for (&key, &value) in keys.iter().zip(&loaded[first..]) {
            self.line(key, value);
        }
    }

    fn line(&mut self, name: usize, value: usize) {
        let (Some(Value::Text(name)), Some(Value::Text(value))) =
            (self.reader.values.get(name), self.reader.values.get(value))
        else {
            return;
        };
        let (name, value) = (&self.bytes[name.clone()], &self.bytes[value.clone()]);
        if self.out.len() + name.len() + 2 * value.len() + 6 > self.most {
            return;
        }
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(b" = \"");
        for &byte in value {
            match byte {
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', byte]),
                _ => self.out.push(byte),
            }
        }
        self.out.extend_from_slice(b"\"\n");
    }
}
