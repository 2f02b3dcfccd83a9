//! The payload of an rpm, behind its lead, its signature and its header.

use crate::scan::finding::Via;
use crate::scan::image::feed::{Fault, Feed, Section, drain, take};
use crate::scan::image::look::Look;
use crate::scan::image::spot::Spot;

const LEAD: u64 = 96;

/// Passes over what stands before the payload, and opens the payload.
pub fn walk(look: &Look<'_>, feed: &mut dyn Feed, spot: &Spot) -> Result<(), Fault> {
    drain(&mut Section::new(feed, LEAD))?;
    pass_header(feed)?;
    let over = feed.position() % 8;
    if over > 0 {
        drain(&mut Section::new(feed, 8 - over))?;
    }
    pass_header(feed)?;
    let inner = spot.member(Via::Rpm, Some(b"payload"), feed.position());
    look.content(feed, &inner, None)
}

fn pass_header(feed: &mut dyn Feed) -> Result<(), Fault> {
    let intro = take(feed, 16)?;
    let number = |at: usize| {
        intro[at..].first_chunk().map_or(0, |bytes| u64::from(u32::from_be_bytes(*bytes)))
    };
    if intro[..3] != [0x8e, 0xad, 0xe8] {
        return Err(Fault::Corrupt("an rpm header is damaged"));
    }
    drain(&mut Section::new(feed, number(8) * 16 + number(12)))?;
    Ok(())
}
