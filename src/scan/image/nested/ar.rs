//! The members of an `ar` archive: a deb, a static library.

use crate::scan::finding::Via;
use crate::scan::image::feed::{Fault, Feed, Section, drain, take};
use crate::scan::image::look::Look;
use crate::scan::image::spot::Spot;
use crate::scan::limits::Bound;

const HEADER: usize = 60;

/// Walks from the magic to the end.
pub fn walk(look: &Look<'_>, feed: &mut dyn Feed, spot: &Spot) -> Result<(), Fault> {
    feed.consume(8);
    let mut names = Vec::new();
    for _ in 0..look.meter.limits.nested_entries {
        let offset = feed.position();
        if feed.peek(1)?.is_empty() {
            return Ok(());
        }
        let header = take(feed, HEADER)?;
        if header[58..] != *b"`\n" {
            return Err(Fault::Corrupt("an ar header is damaged"));
        }
        let size = std::str::from_utf8(&header[48..58]).ok().and_then(|s| s.trim().parse().ok());
        let size: u64 = size.ok_or(Fault::Corrupt("an ar member has no size"))?;
        let written = header[..16].trim_ascii_end();
        let mut content = Section::new(feed, size);
        if written == b"//" && names.is_empty() {
            let most = look.meter.limits.header_bytes as u64;
            names = take(&mut content, usize::try_from(size.min(most)).unwrap_or(0))?;
        } else {
            let inner = spot.member(Via::Ar, Some(name(written, &names)), offset);
            look.content(&mut content, &inner, Some(size))?;
        }
        drain(&mut content)?;
        if size % 2 == 1 && !feed.peek(1)?.is_empty() {
            feed.consume(1);
        }
    }
    Err(Fault::Limit(Bound::Entries))
}

/// `name/`, or `/123` for a name in the table of long names.
fn name<'a>(written: &'a [u8], names: &'a [u8]) -> &'a [u8] {
    let at = written.strip_prefix(b"/").and_then(|digits| std::str::from_utf8(digits).ok());
    let long = at.and_then(|digits| names.get(digits.parse::<usize>().ok()?..));
    let name =
        long.map_or(written, |rest| rest.split(|byte| *byte == b'\n').next().unwrap_or(rest));
    name.strip_suffix(b"/").unwrap_or(name)
}
