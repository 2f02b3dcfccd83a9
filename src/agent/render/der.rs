//! As much of DER (X.690) as PKCS#12 needs: a writer, and two private keys put into PKCS#8.

use zeroize::Zeroize;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// Writes elements one after another; wiped at the end.
#[derive(Default)]
pub(super) struct Der {
    pub(super) bytes: Vec<u8>,
}

impl Drop for Der {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl Der {
    /// What was written.
    pub(super) fn finish(mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    fn element(&mut self, tag: u8, content: &[u8]) {
        self.bytes.push(tag);
        let length = content.len().to_be_bytes();
        let digits = &length[length.iter().take_while(|&&byte| byte == 0).count()..];
        match (content.len(), u8::try_from(digits.len())) {
            (short @ 0..=0x7f, _) => self.bytes.push(u8::try_from(short).unwrap_or_default()),
            (_, Ok(count)) => {
                self.bytes.push(0x80 | count);
                self.bytes.extend_from_slice(digits);
            }
            (_, Err(_)) => {}
        }
        self.bytes.extend_from_slice(content);
    }

    fn nested(&mut self, tag: u8, write: impl FnOnce(&mut Der)) {
        let mut inner = Der::default();
        write(&mut inner);
        self.element(tag, &inner.bytes);
    }

    pub(super) fn sequence(&mut self, write: impl FnOnce(&mut Der)) {
        self.nested(0x30, write);
    }

    pub(super) fn set(&mut self, write: impl FnOnce(&mut Der)) {
        self.nested(0x31, write);
    }

    pub(super) fn explicit(&mut self, number: u8, write: impl FnOnce(&mut Der)) {
        self.nested(0xa0 | number, write);
    }

    pub(super) fn implicit_octets(&mut self, number: u8, content: &[u8]) {
        self.element(0x80 | number, content);
    }

    pub(super) fn octets(&mut self, content: &[u8]) {
        self.element(0x04, content);
    }

    pub(super) fn oid(&mut self, content: &[u8]) {
        self.element(0x06, content);
    }

    pub(super) fn null(&mut self) {
        self.element(0x05, &[]);
    }

    pub(super) fn bmp_string(&mut self, text: &str) {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        self.element(0x1e, &units);
    }

    pub(super) fn integer(&mut self, number: u32) {
        let bytes = u64::from(number).to_be_bytes();
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count().min(7);
        // The first bit is the sign.
        let from = if bytes[zeros] & 0x80 == 0 { zeros } else { zeros - 1 };
        self.element(0x02, &bytes[from..]);
    }
}

/// An `RSAPrivateKey` (RFC 8017) in PKCS#8 (RFC 5208).
pub(super) fn pkcs8_of_rsa(key: &[u8]) -> Vec<u8> {
    pkcs8(key, |algorithm| {
        algorithm.oid(RSA);
        algorithm.null();
    })
}

/// An `ECPrivateKey` (RFC 5915) in PKCS#8; its curve stands in its element `[0]`.
pub(super) fn pkcs8_of_ec(key: &[u8]) -> Option<Vec<u8>> {
    let (_, mut fields, _) = element(key)?;
    let curve = loop {
        let (tag, content, rest) = element(fields)?;
        if tag == 0xa0 {
            break content;
        }
        fields = rest;
    };
    Some(pkcs8(key, |algorithm| {
        algorithm.oid(EC);
        algorithm.bytes.extend_from_slice(curve);
    }))
}

fn pkcs8(key: &[u8], algorithm: impl FnOnce(&mut Der)) -> Vec<u8> {
    let mut der = Der::default();
    der.sequence(|info| {
        info.integer(0);
        info.sequence(algorithm);
        info.octets(key);
    });
    der.finish()
}

/// The first element: its tag, its content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_numbers_are_as_short_as_they_can_be() {
        for (number, bytes) in [
            (0, &[0x02, 1, 0][..]),
            (3, &[0x02, 1, 3]),
            (127, &[0x02, 1, 127]),
            (128, &[0x02, 2, 0, 128]),
            (10_000, &[0x02, 2, 0x27, 0x10]),
            (u32::MAX, &[0x02, 5, 0, 255, 255, 255, 255]),
        ] {
            let mut der = Der::default();
            der.integer(number);
            assert_eq!(der.bytes, bytes, "{number}");
        }
        for (length, header) in [
            (0, &[0x04, 0][..]),
            (127, &[0x04, 127]),
            (128, &[0x04, 0x81, 128]),
            (70_000, &[0x04, 0x83, 1, 0x11, 0x70]),
        ] {
            let mut der = Der::default();
            der.octets(&vec![7; length]);
            assert!(der.bytes.starts_with(header) && der.bytes.len() == header.len() + length);
            let (tag, content, rest) = element(&der.bytes).unwrap();
            assert_eq!((tag, content.len(), rest.len()), (0x04, length, 0));
        }
    }

    #[test]
    fn what_is_cut_short_is_no_key() {
        let mut key = Der::default();
        key.sequence(|key| {
            key.integer(1);
            key.octets(&[9; 32]);
            key.explicit(0, |curve| curve.oid(&[1, 2, 3]));
        });
        assert!(pkcs8_of_ec(&key.bytes).is_some());
        for cut in 0..key.bytes.len() {
            assert!(pkcs8_of_ec(&key.bytes[..cut]).is_none(), "{cut}");
        }
    }
}
