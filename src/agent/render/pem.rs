//! PEM (RFC 7468), strictly enough to find what a store or a hand has broken.

use super::base;
use super::{CheckFailure, PemFault};
use crate::secret::SecretBytes;

/// One block of a PEM file.
pub(super) struct Block<'a> {
    /// What stands after `BEGIN`.
    pub(super) label: &'a str,
    /// The line of its `BEGIN`, from 1.
    pub(super) line: usize,
    /// What is inside; `None` for kinds that we don't look into.
    pub(super) der: Option<SecretBytes>,
}

/// Whether a file begins as PEM does.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"-----BEGIN")
}

/// The blocks of a file. Text between the blocks is allowed, as RFC 7468 section 2 does.
pub(super) fn blocks(bytes: &[u8]) -> Result<Vec<Block<'_>>, CheckFailure> {
    let mut lines = bytes.split(|&b| b == b'\n').map(<[u8]>::trim_ascii).enumerate();
    let mut blocks = Vec::new();
    while let Some((i, line)) = lines.next() {
        if !line.starts_with(b"-----BEGIN") {
            continue;
        }
        let fail = |at: usize, fault| CheckFailure::Pem { line: at + 1, fault };
        let label = label(line, b"-----BEGIN ").ok_or(fail(i, PemFault::NoEnd))?;
        let mut body = Vec::new();
        loop {
            let (at, line) = lines.next().ok_or(fail(i, PemFault::NoEnd))?;
            if !line.starts_with(b"-----") {
                body.push((at, line));
                continue;
            }
            let end = self::label(line, b"-----END ");
            if end != Some(label) {
                return Err(fail(i, PemFault::NoEnd));
            }
            break;
        }
        blocks.push(Block { label, line: i + 1, der: decode(label, i, &body)? });
    }
    Ok(blocks)
}

fn label<'a>(line: &'a [u8], before: &[u8]) -> Option<&'a str> {
    std::str::from_utf8(line.strip_prefix(before)?.strip_suffix(b"-----")?).ok()
}

/// Decodes the kinds that are looked into. Others (PGP, OpenSSH, encrypted keys) have headers and
/// checksums of their own.
fn decode(
    label: &str,
    begin: usize,
    body: &[(usize, &[u8])],
) -> Result<Option<SecretBytes>, CheckFailure> {
    let headers = body.iter().any(|(_, line)| line.contains(&b':'));
    if headers
        || !matches!(label, "CERTIFICATE" | "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY")
    {
        return Ok(None);
    }
    let fail = |at: usize, fault| CheckFailure::Pem { line: at + 1, fault };
    let stranger = |b: &u8| !(b.is_ascii_alphanumeric() || b"+/=".contains(b));
    if let Some((at, _)) = body.iter().find(|(_, line)| line.iter().any(stranger)) {
        return Err(fail(*at, PemFault::NotBase64));
    }
    let mut packed = super::buffer::Buffer::with_room(body.iter().map(|(_, l)| l.len()).sum());
    for (_, line) in body {
        packed.extend(line);
    }
    if packed.is_empty() {
        return Err(fail(begin, PemFault::Empty));
    }
    let der = base::decode_base64(packed.finish().expose());
    der.map(Some).ok_or(fail(begin, PemFault::NotBase64))
}
