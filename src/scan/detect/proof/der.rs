//! As much of DER as keys need.

/// One element: its tag, its content, and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Element<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    pub rest: &'a [u8],
}

pub(in super::super) const INTEGER: u8 = 0x02;
pub(in super::super) const BITS: u8 = 0x03;
pub(in super::super) const OCTETS: u8 = 0x04;
pub(in super::super) const OID: u8 = 0x06;
pub(in super::super) const SEQUENCE: u8 = 0x30;

/// Reads the element that `data` begins with; none if it does not fit.
pub(in super::super) fn read(data: &[u8]) -> Option<Element<'_>> {
    let [tag, first, rest @ ..] = data else { return None };
    let (length, rest) = match *first {
        short @ 0..0x80 => (usize::from(short), rest),
        long => {
            let count = usize::from(long & 0x7f);
            let bytes = rest.get(..count).filter(|_| (1..=4).contains(&count))?;
            let length = bytes.iter().fold(0_usize, |n, &b| n << 8 | usize::from(b));
            (length, &rest[count..])
        }
    };
    let content = rest.get(..length)?;
    Some(Element { tag: *tag, content, rest: &rest[length..] })
}

/// The content, if the element has that tag; and what follows.
pub(in super::super) fn expect(data: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    read(data).filter(|element| element.tag == tag).map(|element| (element.content, element.rest))
}

/// Puts tag and length before the parts.
pub(in super::super) fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    let bytes = length.to_be_bytes();
    let skip = bytes.iter().take_while(|&&b| b == 0).count();
    match u8::try_from(length) {
        Ok(short @ 0..0x80) => out.push(short),
        _ => {
            out.push(0x80 | u8::try_from(bytes.len() - skip).unwrap_or(8));
            out.extend_from_slice(&bytes[skip..]);
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_can_be_read() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![7; length];
            let wrapped = wrap(OCTETS, &[&content]);
            assert_eq!(expect(&wrapped, OCTETS), Some((&content[..], &[][..])), "{length}");
        }
    }

    #[test]
    fn what_does_not_fit_is_none() {
        for data in [&[][..], &[0x30], &[0x30, 5, 1], &[0x30, 0x85, 1, 1, 1, 1, 1], &[0x30, 0x80]] {
            assert_eq!(read(data), None);
        }
    }
}
