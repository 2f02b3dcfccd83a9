//! The rows of an `SQLite` database, with the names of their columns.
//!
//! Short texts stand whole in the raw bytes. Long ones are cut into overflow pages, and what a text
//! is called stands elsewhere.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use super::zip::whole_or_partly;
use crate::scan::finding::{SkipReason, Via};
use crate::scan::image::feed::{Fault, Feed};
use crate::scan::image::look::Look;
use crate::scan::image::spot::Spot;

/// How a database begins.
pub const MAGIC: &[u8] = b"SQLite format 3\0";
/// The header, which stands in the first page.
const HEADER: usize = 100;
/// The most columns of a table that are read.
const COLUMNS: usize = 200;
/// What a row takes apart from its content.
const COST: usize = 4;

const DAMAGED: Fault = Fault::Corrupt("the database is damaged");

/// Shows the rows of every table as lines of `"column":"value"`.
pub fn walk(
    look: &Look<'_>,
    feed: &mut dyn Feed,
    spot: &Spot,
    size: Option<u64>,
) -> Result<(), Fault> {
    let Some(bytes) = whole_or_partly(look, feed, spot, size)? else { return Ok(()) };
    let database = Database::of(&bytes).ok_or(DAMAGED)?;
    let mut tables = Vec::new();
    database.rows(1, &mut |row| tables.extend(Table::of(&row)));
    for table in &tables {
        database.rows(table.root, &mut |row| {
            let inner = spot.member(Via::Sqlite, Some(&table.name), row.offset as u64);
            look.value(&inner, &row.line(&table.columns));
        });
    }
    if database.left.get() == 0 {
        look.outbox.skip(spot, SkipReason::Partly, None);
    }
    Ok(())
}

struct Table {
    name: Vec<u8>,
    root: u32,
    columns: Vec<Vec<u8>>,
}

impl Table {
    /// What a row of the schema says: type, name, table, root page, SQL.
    fn of(row: &Row) -> Option<Table> {
        match &row.fields[..] {
            [
                Field::Text(kind),
                Field::Text(name),
                _,
                Field::Number(root),
                Field::Text(sql),
                ..,
            ] if kind == b"table" => {
                Some(Table { name: name.clone(), root: *root, columns: columns(sql) })
            }
            _ => None,
        }
    }
}

/// The first word of each definition of `CREATE TABLE x (…, …)`.
fn columns(sql: &[u8]) -> Vec<Vec<u8>> {
    let Some(open) = sql.iter().position(|&b| b == b'(') else { return Vec::new() };
    let mut depth = 0_u32;
    let definitions = sql[open + 1..].split(|&b| {
        depth = match b {
            b'(' => depth + 1,
            b')' => depth.saturating_sub(1),
            _ => depth,
        };
        b == b',' && depth == 0
    });
    let first = |definition: &[u8]| {
        let trimmed = definition.trim_ascii_start();
        let name = trimmed.iter().copied().filter(|b| !b"\"'`[]".contains(b));
        name.take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').take(80).collect()
    };
    definitions.take(COLUMNS).map(first).collect()
}

enum Field {
    Text(Vec<u8>),
    Number(u32),
    Other,
}

struct Row {
    offset: usize,
    fields: Vec<Field>,
}

impl Row {
    fn line(&self, columns: &[Vec<u8>]) -> Vec<u8> {
        let mut line = Vec::new();
        for (number, field) in self.fields.iter().enumerate() {
            let Field::Text(text) = field else { continue };
            if let Some(column) = columns.get(number).filter(|column| !column.is_empty()) {
                line.extend_from_slice(&[b"\"", &column[..], b"\":"].concat());
            }
            line.push(b'"');
            for &byte in text {
                if byte == b'"' {
                    line.push(b'\\');
                }
                line.push(byte);
            }
            line.extend_from_slice(b"\",");
        }
        line.push(b'\n');
        line
    }
}

struct Database<'a> {
    bytes: &'a [u8],
    page: usize,
    /// Bytes of each page that hold content.
    usable: usize,
    wide: Option<fn([u8; 2]) -> u16>,
    visited: RefCell<BTreeSet<u32>>,
    /// How many bytes of rows may still be looked at: cells may overlap.
    left: Cell<usize>,
}

impl<'a> Database<'a> {
    fn of(bytes: &'a [u8]) -> Option<Database<'a>> {
        let page = match big(bytes, 16)? {
            1 => 1 << 16,
            size @ (512 | 1024 | 2048 | 4096 | 8192 | 16384 | 32768) => size,
            _ => return None,
        };
        let usable = page.checked_sub(usize::from(*bytes.get(20)?)).filter(|&size| size >= 480)?;
        let wide: Option<fn([u8; 2]) -> u16> = match bytes.get(59)? {
            2 => Some(u16::from_le_bytes),
            3 => Some(u16::from_be_bytes),
            _ => None,
        };
        let left = Cell::new(bytes.len());
        Some(Database { bytes, page, usable, wide, visited: RefCell::default(), left })
    }

    fn page(&self, number: u32) -> Option<&'a [u8]> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?.checked_mul(self.page)?;
        self.bytes.get(at..at.checked_add(self.usable)?)
    }

    /// The rows of the tree whose root is that page. Every page is visited once.
    fn rows(&self, root: u32, each: &mut dyn FnMut(Row)) {
        let mut waiting = vec![root];
        while let Some(number) = waiting.pop() {
            if !self.is_new(number) {
                continue;
            }
            let Some(page) = self.page(number) else { continue };
            let start = if number == 1 { HEADER } else { 0 };
            let cells = cells(page, start);
            match page.get(start) {
                Some(0x05) => {
                    waiting.extend(big32(page, start + 8));
                    waiting.extend(cells.filter_map(|cell| big32(page, cell)));
                }
                Some(0x0d) => {
                    cells.filter_map(|cell| self.row(number, page, cell)).for_each(&mut *each);
                }
                _ => {}
            }
        }
    }

    fn is_new(&self, page: u32) -> bool {
        self.visited.borrow_mut().insert(page)
    }

    fn row(&self, number: u32, page: &[u8], cell: usize) -> Option<Row> {
        let (length, after) = varint(page, cell)?;
        let (_, at) = varint(page, after)?;
        let length = usize::try_from(length).ok().filter(|&size| size <= self.bytes.len())?;
        self.left.set(self.left.get().saturating_sub(length + COST));
        if self.left.get() == 0 {
            return None;
        }
        let local = self.local(length);
        let mut payload = page.get(at..at.checked_add(local)?)?.to_vec();
        let mut next = if local < length { big32(page, at + local)? } else { 0 };
        while payload.len() < length && next != 0 && self.is_new(next) {
            let page = self.page(next)?;
            let count = (length - payload.len()).min(self.usable - 4);
            payload.extend_from_slice(&page[4..4 + count]);
            next = big32(page, 0)?;
        }
        let offset = (usize::try_from(number).ok()? - 1) * self.page + at;
        Some(Row { offset, fields: self.fields(&payload)? })
    }

    /// How much of a payload stands in the page of its cell.
    fn local(&self, length: usize) -> usize {
        let most = self.usable - 35;
        if length <= most {
            return length;
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let fitting = least + (length - least) % (self.usable - 4);
        if fitting <= most { fitting } else { least }
    }

    fn fields(&self, payload: &[u8]) -> Option<Vec<Field>> {
        let (size, mut at) = varint(payload, 0)?;
        let head = usize::try_from(size).ok().filter(|&size| size <= payload.len())?;
        let mut content = head;
        let mut fields = Vec::new();
        while at < head && fields.len() < COLUMNS {
            let (kind, after) = varint(payload, at)?;
            at = after;
            let length = match kind {
                0 | 8 | 9 => 0,
                1..=4 => kind,
                5 => 6,
                6 | 7 => 8,
                // 10 and 11 are reserved.
                _ => kind.checked_sub(12)? / 2,
            };
            let end = content.checked_add(usize::try_from(length).ok()?)?.min(payload.len());
            let bytes = payload.get(content..end)?;
            fields.push(self.field(kind, bytes));
            content = end;
        }
        Some(fields)
    }

    fn field(&self, kind: u64, bytes: &[u8]) -> Field {
        match (kind, self.wide) {
            (1..=4, _) => {
                Field::Number(bytes.iter().fold(0, |number, &b| number << 8 | u32::from(b)))
            }
            (9, _) => Field::Number(1),
            (13.., Some(unit)) if kind % 2 == 1 => {
                let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
                Field::Text(char::decode_utf16(units).flatten().collect::<String>().into_bytes())
            }
            (13.., None) if kind % 2 == 1 => Field::Text(bytes.to_vec()),
            // Settings are kept as blobs as well.
            (12.., _) if std::str::from_utf8(bytes).is_ok() => Field::Text(bytes.to_vec()),
            _ => Field::Other,
        }
    }
}

/// Where the cells of a page begin.
fn cells(page: &[u8], start: usize) -> impl Iterator<Item = usize> + use<'_> {
    let head = if page.get(start) == Some(&0x05) { 12 } else { 8 };
    let count = big(page, start + 3).unwrap_or(0);
    (0..count).map_while(move |cell| big(page, start + head + 2 * cell))
}

fn big(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.first_chunk().map(|two| usize::from(u16::from_be_bytes(*two)))
}

fn big32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}

/// Seven bits a byte, eight in the ninth.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for i in 0..8 {
        let byte = *bytes.get(at + i)?;
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, at + i + 1));
        }
    }
    Some((value << 8 | u64::from(*bytes.get(at + 8)?), at + 9))
}
