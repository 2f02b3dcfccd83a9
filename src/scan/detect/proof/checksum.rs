//! Checksums that tokens carry.

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The last six characters say the CRC-32 of the ones after the prefix's underscore.
pub(in super::super) fn crc32_fits(token: &[u8]) -> bool {
    let Some((head, sum)) = token.split_last_chunk::<6>() else { return false };
    let Some(underscore) = head.iter().rposition(|&b| b == b'_') else { return false };
    crc32_base62(&head[underscore + 1..]) == *sum
}

/// The CRC-32 of `bytes`, in base 62, six characters.
pub(in super::super) fn crc32_base62(bytes: &[u8]) -> [u8; 6] {
    let mut rest = crc32(bytes) as usize;
    let mut text = [b'0'; 6];
    for place in text.iter_mut().rev() {
        *place = BASE62[rest % 62];
        rest /= 62;
    }
    text
}

pub(in super::super) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_the_one_of_zip() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_published_token_of_github_fits_and_a_changed_one_does_not() {
        let token = ["ghp", "_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ", "0mLq17"].concat();
        assert!(crc32_fits(token.as_bytes()));
        assert!(!crc32_fits(token.replace("zQW", "zQX").as_bytes()));
    }
}
