//! Examples without a token in them: `{A30}` stands for 30 letters and digits, different for each
//! seed, so that no scanner stops this repository and no rule is written for one value.

use super::proof::checksum_of;
use super::sample::sample;

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGIT: &str = "0123456789";

/// Replaces what stands in braces:
///
/// | form | stands for |
/// | --- | --- |
/// | `{A20}` | letters and digits |
/// | `{a20}` `{U20}` | lower case (upper case) letters and digits |
/// | `{l20}` `{L20}` | lower case letters, letters |
/// | `{h20}` `{H20}` `{d20}` | hexadecimal, in capitals, decimal digits |
/// | `{b20}` `{w20}` `{t20}` `{g20}` | the alphabets of base64, base64url, base32, bech32 |
/// | `{crc}` | the checksum of the word before it |
/// | `{@pem-rsa}` | a key or token with a structure of its own |
/// | `{~}` | nothing |
///
/// The same seed gives the same bytes.
pub fn expand(template: &str, seed: u64) -> Vec<u8> {
    let mut chance = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66;
    let mut out = Vec::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        out.extend_from_slice(&rest.as_bytes()[..open]);
        let form = rest[open + 1..].split('}').next().unwrap_or_default();
        match fill(form, &out, &mut chance) {
            Some(filled) => {
                out.extend_from_slice(&filled);
                rest = &rest[open + 2 + form.len()..];
            }
            None => {
                out.push(b'{');
                rest = &rest[open + 1..];
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn fill(form: &str, before: &[u8], chance: &mut u64) -> Option<Vec<u8>> {
    match form {
        "~" => Some(Vec::new()),
        "crc" => Some(checksum_of(before).into_bytes()),
        _ => match form.strip_prefix('@') {
            Some(name) => sample(name, &mut || next(chance)),
            None => {
                let (alphabet, count) = filler(form)?;
                Some(
                    (0..count)
                        .map(|_| alphabet[usize::from(next(chance)) % alphabet.len()])
                        .collect(),
                )
            }
        },
    }
}

fn filler(form: &str) -> Option<(Vec<u8>, usize)> {
    let (kind, count) = form.split_at_checked(1)?;
    let alphabet = match kind {
        "A" => [LOWER, UPPER, DIGIT].concat(),
        "a" => [LOWER, DIGIT].concat(),
        "U" => [UPPER, DIGIT].concat(),
        "l" => LOWER.to_owned(),
        "L" => [LOWER, UPPER].concat(),
        "h" => [DIGIT, "abcdef"].concat(),
        "H" => [DIGIT, "ABCDEF"].concat(),
        "d" => DIGIT.to_owned(),
        "b" => [LOWER, UPPER, DIGIT, "+/"].concat(),
        "w" => [LOWER, UPPER, DIGIT, "-_"].concat(),
        "g" => "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L".to_owned(),
        "t" => [UPPER, "234567"].concat(),
        _ => return None,
    };
    Some((alphabet.into_bytes(), count.parse().ok()?))
}

/// `SplitMix64`: any seed gives a good sequence.
fn next(state: &mut u64) -> u8 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)).to_le_bytes()[1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_filled_and_other_braces_stay() {
        let text = expand("x={h8} {\"a\":{d3}} ${HOME}", 1);
        assert_eq!(text.len(), "x=12345678 {\"a\":123} ${HOME}".len());
        assert!(text.ends_with(b" ${HOME}"));
        assert_eq!(text, expand("x={h8} {\"a\":{d3}} ${HOME}", 1));
        assert_ne!(text, expand("x={h8} {\"a\":{d3}} ${HOME}", 2));
    }
}
