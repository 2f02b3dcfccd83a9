//! Examples without a token in them: `{A30}` stands for 30 letters and digits, different for each
//! seed, so that no scanner stops this repository and no rule is written for one value.

use super::proof::checksum_of;

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
/// | `{b20}` `{w20}` `{t20}` | the alphabets of base64, base64url, base32 |
/// | `{crc}` | the checksum of the word before it |
/// | `{~}` | nothing |
///
/// The same seed gives the same text.
pub fn expand(template: &str, seed: u64) -> String {
    let mut chance = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66;
    let mut text = String::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        text.push_str(&rest[..open]);
        let form = rest[open + 1..].split('}').next().unwrap_or_default();
        match form {
            "~" => {}
            "crc" => {
                let sum = checksum_of(text.as_bytes());
                text.push_str(&sum);
            }
            _ => match filler(form) {
                Some((alphabet, count)) => {
                    text.extend((0..count).map(|_| draw(&alphabet, &mut chance)));
                }
                None => {
                    text.push('{');
                    rest = &rest[open + 1..];
                    continue;
                }
            },
        }
        rest = &rest[open + 2 + form.len()..];
    }
    text.push_str(rest);
    text
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
        "t" => [UPPER, "234567"].concat(),
        _ => return None,
    };
    Some((alphabet.into_bytes(), count.parse().ok()?))
}

/// `SplitMix64`: any seed gives a good sequence.
fn draw(alphabet: &[u8], state: &mut u64) -> char {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let index = ((z ^ (z >> 31)) >> 8) as usize % alphabet.len();
    char::from(alphabet[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_filled_and_other_braces_stay() {
        let text = expand("x={h8} {\"a\":{d3}} ${HOME}", 1);
        assert_eq!(text.len(), "x=12345678 {\"a\":123} ${HOME}".len());
        assert!(text.ends_with(" ${HOME}"), "{text}");
        assert_eq!(text, expand("x={h8} {\"a\":{d3}} ${HOME}", 1));
        assert_ne!(text, expand("x={h8} {\"a\":{d3}} ${HOME}", 2));
    }
}
