//! The walk over a tar: every member, and every byte that is in no member.
//!
//! Container engines are written in Go, so where readers disagree (which name wins, whether a link
//! has content) this one decides as Go's `archive/tar` does. What another reader would see instead
//! is still shown, as hidden bytes.

use super::feed::{Fault, Feed, Section, take};
use super::tar_header::{BLOCK, Header, Records, is_zero};
use crate::scan::limits::{Bound, Limits};

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A file with content.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name of a member before it.
    Hardlink,
    /// A device or pipe.
    Special,
}

/// A member, as its headers tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, as written.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
    /// Where a link points to.
    pub link: Vec<u8>,
    /// Bytes of its content in the tar (of a sparse file: without the holes).
    pub size: u64,
    /// Counts from 0.
    pub ordinal: u32,
    /// Where its header stands.
    pub offset: u64,
    /// It stands after the end of the tar, where engines no longer look.
    pub beyond: bool,
}

/// Whom the walk shows things to.
pub trait Visit {
    /// A member, with its content. What is left of the content is passed over.
    fn member(&mut self, member: &Member, content: &mut Section<'_>) -> Result<(), Fault>;

    /// Bytes that are in no member: extended headers, gaps, padding, what follows the end.
    fn hidden(&mut self, name: &[u8], offset: u64, bytes: &[u8]);

    /// A header of the member that could not be read whole.
    fn partly(&mut self, name: &[u8], bound: Bound);
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Members seen.
    pub members: u32,
    /// The end of the tar was marked. Without it the tar may have been cut between two members.
    pub ended: bool,
}

/// Walks from here to the end of the feed.
///
/// After a fault what is left of the feed has been shown as hidden bytes, as far as it can be read.
pub fn walk(
    feed: &mut dyn Feed,
    limits: &Limits,
    entries: u32,
    visit: &mut dyn Visit,
) -> Result<Walked, Fault> {
    let mut walk = Walk { limits, entries, pending: Pending::default(), ordinal: 0, beyond: false };
    let result = walk.run(feed, visit);
    if let Err(fault) = &result
        && !matches!(fault, Fault::Timeout | Fault::Limit(Bound::LayerBytes | Bound::Ratio))
    {
        show_rest(feed, visit)?;
    }
    result.map(|ended| Walked { members: walk.ordinal, ended })
}

/// Shows what is left as hidden bytes.
pub fn show_rest(feed: &mut dyn Feed, visit: &mut dyn Visit) -> Result<(), Fault> {
    loop {
        let offset = feed.position();
        let shown = feed.peek(1)?;
        if shown.is_empty() {
            return Ok(());
        }
        let count = shown.len();
        if !is_zero(shown) {
            visit.hidden(b"", offset, shown);
        }
        feed.consume(count);
    }
}

/// What extended headers said about the next member.
#[derive(Default)]
struct Pending {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    records: Records,
    /// Bytes to show once the name is known.
    shown: Vec<(u64, Vec<u8>)>,
    over: bool,
}

struct Walk<'a> {
    limits: &'a Limits,
    entries: u32,
    pending: Pending,
    ordinal: u32,
    beyond: bool,
}

impl Walk<'_> {
    /// Whether the end was marked.
    fn run(&mut self, feed: &mut dyn Feed, visit: &mut dyn Visit) -> Result<bool, Fault> {
        loop {
            let offset = feed.position();
            let block = match next_block(feed)? {
                Next::Block(block) => block,
                Next::End => {
                    self.flush(visit);
                    return Ok(self.beyond);
                }
                Next::Short => return self.tail(feed, visit),
            };
            if is_zero(&block) {
                self.flush(visit);
                self.beyond = true;
                continue;
            }
            let Some(header) = Header::parse(&block) else {
                visit.hidden(b"", offset, &block);
                if !self.beyond {
                    return Err(Fault::Corrupt("a tar header has a wrong checksum"));
                }
                continue;
            };
            self.header(&header, &block, offset, feed, visit)?;
        }
    }

    /// Shows what was said about a member that does not come.
    fn flush(&mut self, visit: &mut dyn Visit) {
        let pending = std::mem::take(&mut self.pending);
        for (at, bytes) in &pending.shown {
            visit.hidden(b"", *at, bytes);
        }
        for name in [pending.long_name, pending.long_link].into_iter().flatten() {
            visit.hidden(b"", 0, &name);
        }
    }

    /// Fewer bytes than a block, at the end.
    fn tail(&mut self, feed: &mut dyn Feed, visit: &mut dyn Visit) -> Result<bool, Fault> {
        show_rest(feed, visit)?;
        if self.beyond { Ok(true) } else { Err(Fault::Truncated) }
    }

    fn header(
        &mut self,
        header: &Header,
        block: &[u8; BLOCK],
        offset: u64,
        feed: &mut dyn Feed,
        visit: &mut dyn Visit,
    ) -> Result<(), Fault> {
        match header.flag {
            b'x' | b'X' => {
                let bytes = self.extended(header, feed, visit)?;
                // A second one takes the place of the first, as in Go.
                self.pending.records = Records::default();
                self.pending.records.parse(&bytes);
                self.pending.shown.push((offset + BLOCK as u64, bytes));
            }
            // Go gives a global header to nobody, but its bytes are bytes.
            b'g' => {
                let bytes = self.extended(header, feed, visit)?;
                visit.hidden(b"", offset + BLOCK as u64, &bytes);
            }
            b'L' => self.pending.long_name = Some(self.name(header, feed, visit)?),
            b'K' => self.pending.long_link = Some(self.name(header, feed, visit)?),
            _ => self.member(header, block, offset, feed, visit)?,
        }
        Ok(())
    }

    fn name(
        &mut self,
        header: &Header,
        feed: &mut dyn Feed,
        visit: &mut dyn Visit,
    ) -> Result<Vec<u8>, Fault> {
        let offset = feed.position();
        let bytes = self.extended(header, feed, visit)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        if !is_zero(&bytes[end..]) {
            visit.hidden(b"", offset + end as u64, &bytes[end..]);
        }
        Ok(bytes[..end].to_vec())
    }

    /// The content of an extended header, as far as the limit allows; the rest is hidden bytes.
    fn extended(
        &mut self,
        header: &Header,
        feed: &mut dyn Feed,
        visit: &mut dyn Visit,
    ) -> Result<Vec<u8>, Fault> {
        let size = header.size.ok_or(Fault::Corrupt("a tar member has no size"))?;
        let most = self.limits.header_bytes as u64;
        let mut content = Section::new(feed, size);
        let bytes = take(&mut content, usize::try_from(size.min(most)).unwrap_or(0))?;
        if size > most {
            self.pending.over = true;
            show_rest(&mut content, visit)?;
        }
        padding(feed, size, b"", visit)?;
        Ok(bytes)
    }

    fn member(
        &mut self,
        header: &Header,
        block: &[u8; BLOCK],
        offset: u64,
        feed: &mut dyn Feed,
        visit: &mut dyn Visit,
    ) -> Result<(), Fault> {
        let pending = std::mem::take(&mut self.pending);
        let size = match pending.records.size {
            Some(size) => size,
            None => header.size.ok_or(Fault::Corrupt("a tar member has no size"))?,
        };
        let member = self.describe(header, &pending, size, offset);
        for (at, bytes) in &pending.shown {
            visit.hidden(&member.name, *at, bytes);
        }
        if pending.over {
            visit.partly(&member.name, Bound::HeaderBytes);
        }
        if let Some(gap) = header.gap(block) {
            visit.hidden(&member.name, offset, &gap);
        }
        self.ordinal += 1;
        if self.ordinal > self.entries {
            return Err(Fault::Limit(Bound::Entries));
        }
        for at in 0..header.sparse_blocks(feed)? {
            let map = take(feed, BLOCK)?;
            visit.hidden(&member.name, offset + (at + 1) * BLOCK as u64, &map);
        }
        let stored = if member.kind == MemberKind::File { size } else { stored(size, feed)? };
        let mut content = Section::new(feed, stored);
        visit.member(&Member { size: stored, ..member.clone() }, &mut content)?;
        content.pass_rest()?;
        padding(feed, stored, &member.name, visit)
    }

    fn describe(&self, header: &Header, pending: &Pending, size: u64, offset: u64) -> Member {
        let records = &pending.records;
        let name = pending.long_name.clone().or_else(|| records.path.clone());
        let link = pending.long_link.clone().or_else(|| records.link.clone());
        let name = name.unwrap_or_else(|| header.name());
        Member {
            kind: header.kind(&name),
            name,
            link: link.unwrap_or_else(|| header.link()),
            size,
            ordinal: self.ordinal,
            offset,
            beyond: self.beyond,
        }
    }
}

/// What a member has stored that should have no content: Go reads the next header right away, GNU tar
/// passes over the content first. Whichever leads to a header is followed.
fn stored(size: u64, feed: &mut dyn Feed) -> Result<u64, Fault> {
    if size == 0 {
        return Ok(0);
    }
    let shown = feed.peek(BLOCK)?;
    let is_header = shown
        .first_chunk::<BLOCK>()
        .is_some_and(|block| is_zero(block) || Header::parse(block).is_some());
    Ok(if is_header { 0 } else { size })
}

#[expect(clippy::large_enum_variant, reason = "it lives on the stack and is taken apart at once")]
enum Next {
    Block([u8; BLOCK]),
    Short,
    End,
}

fn next_block(feed: &mut dyn Feed) -> Result<Next, Fault> {
    let shown = feed.peek(BLOCK)?;
    if shown.is_empty() {
        return Ok(Next::End);
    }
    let Some(block) = shown.first_chunk::<BLOCK>() else {
        return Ok(Next::Short);
    };
    let block = *block;
    feed.consume(BLOCK);
    Ok(Next::Block(block))
}

/// What fills the last block of a content.
fn padding(
    feed: &mut dyn Feed,
    size: u64,
    name: &[u8],
    visit: &mut dyn Visit,
) -> Result<(), Fault> {
    let left = size % BLOCK as u64;
    if left == 0 {
        return Ok(());
    }
    let offset = feed.position();
    let count = BLOCK - usize::try_from(left).unwrap_or(0);
    let shown = feed.peek(count)?;
    let count = count.min(shown.len());
    if !is_zero(&shown[..count]) {
        visit.hidden(name, offset, &shown[..count]);
    }
    feed.consume(count);
    Ok(())
}
