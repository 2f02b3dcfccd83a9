//! A tar that comes in order: what is no document is read as a blob while it passes, and documents
//! are kept until the end, because `manifest.json` may come last.

use std::fs::File;

use super::drive::Drive;
use crate::scan::finding::SkipReason;
use crate::scan::image::feed::{Fault, Feed, Input, Reader, Section, take};
use crate::scan::image::layer::{self, Expected};
use crate::scan::image::path::{normal, target};
use crate::scan::image::plan::blob_key;
use crate::scan::image::store::Kept;
use crate::scan::image::tar::{self, Member, MemberKind, Visit};
use crate::scan::image::unpack::{Level, Meter, Packing, Unpack};
use crate::scan::limits::Bound;

/// Room for the archive, as it comes and unpacked.
const ROOM: usize = 64 << 10;

/// Documents of one archive that are kept, in bytes: twice the largest that is allowed.
const MOST_KEPT: usize = 8 << 20;

/// Reads to the end of the archive.
pub fn pass(drive: &Drive<'_>, source: usize, file: &File) -> Kept {
    let mut visit = Streamed { drive, source, kept: Kept::default(), bytes: 0 };
    let mut stored = Input::new(file, ROOM);
    let limits = drive.limits;
    let packing = stored.peek(64).ok().and_then(Packing::of);
    // Where the archive breaks, the blob that is being read says so; later ones are missing.
    let _ = match packing {
        None => tar::walk(&mut stored, limits, limits.nested_entries, &mut visit),
        Some(packing) => {
            let meter = Meter::new(limits, drive.deadline, drive.room);
            let mut aside = |_: &[u8]| {};
            let unpack = Unpack::new(&mut stored, packing, Level::Layer, &meter, &mut aside);
            let mut plain = Input::new(unpack, ROOM);
            tar::walk(&mut plain, limits, limits.nested_entries, &mut visit)
        }
    };
    visit.kept
}

struct Streamed<'a, 'b> {
    drive: &'a Drive<'b>,
    source: usize,
    kept: Kept,
    bytes: usize,
}

impl Streamed<'_, '_> {
    /// Whether a member is a document, told by how it begins.
    fn is_document(&self, size: u64, content: &mut Section<'_>) -> Result<bool, Fault> {
        let left = MOST_KEPT - self.bytes;
        let small = size <= self.drive.limits.document_bytes.min(left) as u64;
        let begins = content.peek(64)?.trim_ascii_start().first().copied();
        Ok(small && matches!(begins, Some(b'{' | b'[')))
    }
}

impl Visit for Streamed<'_, '_> {
    fn member(&mut self, member: &Member, content: &mut Section<'_>) -> Result<(), Fault> {
        let bytes = normal(&member.name);
        let path = String::from_utf8_lossy(&bytes).into_owned();
        match member.kind {
            _ if member.beyond => {}
            MemberKind::Symlink => {
                let to = target(&bytes, &member.link);
                self.kept.links.insert(path, String::from_utf8_lossy(&to).into_owned());
            }
            MemberKind::Hardlink => {
                let to = normal(&member.link);
                self.kept.links.insert(path, String::from_utf8_lossy(&to).into_owned());
            }
            MemberKind::File if self.is_document(member.size, content)? => {
                let bytes = take(content, usize::try_from(member.size).unwrap_or(0))?;
                self.bytes += bytes.len();
                self.kept.documents.insert(path, bytes);
            }
            MemberKind::File if member.size > 0 && !self.drive.plan_only => {
                let key = blob_key(self.source, &path);
                if self.drive.is_new(&key) {
                    let digest = key.starts_with("sha256:").then(|| key.clone());
                    let expected = Expected { digest, ..Expected::default() };
                    let cut = member.size;
                    self.drive.with_look(&key, |look| {
                        let mut passage = layer::pass(look, Reader(content), &expected);
                        if passage.size < cut && passage.faults.is_empty() {
                            passage.faults.push((SkipReason::LayerTruncated, None));
                        }
                        passage
                    });
                }
            }
            MemberKind::File | MemberKind::Directory | MemberKind::Special => {}
        }
        Ok(())
    }

    fn hidden(&mut self, _: &[u8], _: u64, _: &[u8]) {}

    fn partly(&mut self, _: &[u8], _: Bound) {}
}
