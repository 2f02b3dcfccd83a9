//! Takes secrets out of the text around them: an instruction `ENV TOKEN=…` names what brought the
//! secret in, and would print it.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::secret::SecretBytes;

/// What stands where a secret stood.
pub const REDACTED: &str = "[secret]";

/// A shorter secret would take ordinary words apart.
const SECRET_AT_LEAST: usize = 3;

/// A line of a longer secret that is long enough to be looked for on its own.
const LINE_AT_LEAST: usize = 16;

/// Encoded forms shorter than this could be anything.
const ENCODED_AT_LEAST: usize = 12;

/// The secrets of an image, in the forms they may be written in.
#[derive(Default)]
pub struct Redactor {
    needles: Vec<Zeroizing<Vec<u8>>>,
}

impl Redactor {
    /// Looks for `secret` from now on.
    pub fn add(&mut self, secret: &SecretBytes) {
        let bytes = secret.expose();
        self.need(bytes.to_vec(), SECRET_AT_LEAST);
        for line in bytes.split(|&byte| byte == b'\n') {
            self.need(line.trim_ascii().to_vec(), LINE_AT_LEAST);
        }
        for encoded in encodings(bytes) {
            self.need(encoded.into_bytes(), ENCODED_AT_LEAST);
        }
    }

    /// The longest first, so that a secret within a secret does not leave its ends behind.
    #[must_use]
    pub fn ready(mut self) -> Redactor {
        self.needles.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.needles.dedup();
        self
    }

    /// `text` without the secrets.
    pub fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
    }

    /// `bytes` without the secrets.
    pub fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for needle in &self.needles {
            out = replaced(out, needle);
        }
        out
    }

    fn need(&mut self, needle: Vec<u8>, at_least: usize) {
        let needle = Zeroizing::new(needle);
        if needle.len() >= at_least
            && !REDACTED.as_bytes().windows(needle.len()).any(|w| w == &needle[..])
        {
            self.needles.push(needle);
        }
    }
}

/// Base64 at each of the three alignments (without the characters that depend on the neighbours),
/// hexadecimal, and JSON's escapes.
fn encodings(bytes: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    for shift in 0..3 {
        let mut padded = Zeroizing::new(vec![0; shift]);
        padded.extend_from_slice(bytes);
        let whole = padded.len() / 3 * 4;
        let from = [0, 2, 3][shift];
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded[..]);
            all.push(text.get(from..whole).unwrap_or_default().to_owned());
        }
    }
    let hex = super::fingerprint::hex(bytes);
    all.push(hex.to_uppercase());
    all.push(hex);
    let text = String::from_utf8_lossy(bytes);
    let json = serde_json::to_string(&text).unwrap_or_default();
    all.push(json.trim_matches('"').to_owned());
    all
}

fn replaced(text: Vec<u8>, needle: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = &text[..];
    while let Some(at) = rest.windows(needle.len()).position(|window| window == needle) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(REDACTED.as_bytes());
        rest = &rest[at + needle.len()..];
    }
    if out.is_empty() {
        return text;
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        let mut redactor = Redactor::default();
        for secret in secrets {
            redactor.add(&SecretBytes::copy_of(secret.as_bytes()));
        }
        redactor.ready()
    }

    #[test]
    fn every_occurrence_goes() {
        let text = redactor(&["hunter2"]).text("ENV A=hunter2 B=xhunter2x");
        assert_eq!(text, "ENV A=[secret] B=x[secret]x");
    }

    #[test]
    fn a_secret_within_a_secret_leaves_nothing_behind() {
        let text =
            redactor(&["pass", "postgres://u:pass@h/db"]).text("ENV U=postgres://u:pass@h/db");
        assert_eq!(text, "ENV U=[secret]");
    }

    #[test]
    fn encoded_forms_go_too_at_every_alignment() {
        let secret = "s3cret-value-0123456789";
        for before in ["", "a", "ab", "abc"] {
            let encoded = STANDARD_NO_PAD.encode(format!("{before}{secret}tail"));
            let text = redactor(&[secret]).text(&format!("RUN echo {encoded}"));
            assert!(text.contains(REDACTED), "{before:?}: {text}");
        }
        let hex = super::super::fingerprint::hex(secret.as_bytes());
        assert_eq!(redactor(&[secret]).text(&hex), REDACTED);
        assert_eq!(redactor(&[secret]).text(&hex.to_uppercase()), REDACTED);
    }

    #[test]
    fn a_key_on_one_line_is_found_by_its_lines() {
        let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----";
        let text = redactor(&[key]).text(&format!("ENV KEY={}", key.replace('\n', "\\n")));
        assert!(!text.contains("MIIEvQ"), "{text}");
    }

    #[test]
    fn a_redaction_is_not_redacted_again() {
        assert_eq!(redactor(&["hunter2", "secret"]).text("A=hunter2"), "A=[secret]");
    }
}
